"""Formats the differences between two values of a parameter for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

MAX_VALUE = 60  # characters of a value


def differences(key: str, old: Any, new: Any) -> Iterator[tuple[str, str, str]]:
    """Compare two values.

    Yields:
        Each dotted key below `key` whose value differs, with its old and its new value, as YAML would show them; for
        lists, the removed and the added entries.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(n for n in new if n not in old)]:
            yield from differences(f"{key}.{name}", old.get(name), new.get(name))
    elif isinstance(old, list) and isinstance(new, list) and any((v in old) != (v in new) for v in old + new):
        yield from _list_differences(key, old, new)
    elif old != new:
        yield key, _shown(old), _shown(new)


def _list_differences(key: str, old: list[Any], new: list[Any]) -> Iterator[tuple[str, str, str]]:
    """Pair each removed entry with the entry that replaced it, and compare them."""
    gone, added = [v for v in old if v not in new], [v for v in new if v not in old]
    for value in gone:
        identity = _identity(value)
        successor = next((v for v in added if identity and _identity(v) == identity), None)
        if successor is not None:
            added.remove(successor)
        columns = [column for column in identity.values() if column is not None]
        name = f"{key}[{columns[0]}]" if successor is not None and columns else key
        yield from differences(name, value, successor)
    for value in added:
        yield from differences(key, None, value)


def _identity(entry: Any) -> dict[str, Any]:
    """Return what identifies an entry of a list when its values change: its keys and, for expectations, the column."""
    if not isinstance(entry, dict):
        return {}
    return {name: value.get("column") if isinstance(value, dict) else None for name, value in entry.items()}


def _shown(value: Any) -> str:
    if value is None:
        return "absent"
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else str(value)
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"
