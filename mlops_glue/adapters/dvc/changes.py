"""What differs between two values of a parameter, for people to read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

MAX_VALUE = 60  # characters of a value


def differences(key: str, old: Any, new: Any) -> Iterator[tuple[str, str, str]]:
    """Compare two values.

    Yields:
        Each dotted key below `key` with another value, its old value and its new one, as YAML would show them. Of
        lists, the entries that went and those that came.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(n for n in new if n not in old)]:
            yield from differences(f"{key}.{name}", old.get(name), new.get(name))
    elif isinstance(old, list) and isinstance(new, list) and any((v in old) != (v in new) for v in old + new):
        yield from _list_differences(key, old, new)
    elif old != new:
        yield key, _shown(old), _shown(new)


def _list_differences(key: str, old: list[Any], new: list[Any]) -> Iterator[tuple[str, str, str]]:
    """Pair each entry that went with the one that took its place, and compare them."""
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
    """What makes two entries of a list the same with other values: their keys and, of expectations, the column."""
    if not isinstance(entry, dict):
        return {}
    return {name: value.get("column") if isinstance(value, dict) else None for name, value in entry.items()}


def _shown(value: Any) -> str:
    if value is None:
        return "absent"
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else str(value)
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"
