"""`glue config`: effective values of an environment and their origins; differences between environments."""

from __future__ import annotations

import os
from typing import Any

from mlops_glue import config as configs
from mlops_glue import console, layout
from mlops_glue.errors import UsageError

NONE = "no environment"


def config(*, action: str, names: tuple[str, ...] = (), as_json: bool = False, env: str | None = None) -> int:
    """Show every value, or the values that differ between two environments, or between an environment and none."""
    root = layout.find_root()
    if action == "show":
        if names:
            raise UsageError(
                f"glue config show takes no argument {names[0]!r}", hint=f"glue config show --env {names[0]}"
            )
        return _show(configs.effective(root, env), as_json)
    if env is not None or len(names) not in (1, 2):
        known = list(configs.load(root, "", tables=False, needs=()).environments)
        hint = f"glue config diff {' '.join([*known, 'dev', 'prod'][:2])}"
        raise UsageError(
            "glue config diff compares two environments, or one environment with no environment", hint=hint
        )
    one, other = ("", *names) if len(names) == 1 else names
    return _diff(configs.effective(root, one), configs.effective(root, other), (one or NONE, other), as_json)


def _show(values: dict[str, configs.Value], as_json: bool) -> int:
    if as_json:
        console.result_json({key: _described(value) for key, value in values.items()})
    else:
        rows = [[key, *reversed(_cells(value))] for key, value in values.items()]
        console.table(rows, ["key", "from", "value"])  # last, because a value may be long
    return 0


def _diff(one: dict[str, configs.Value], other: dict[str, configs.Value], names: tuple[str, str], as_json: bool) -> int:
    found = configs.differences(one, other)
    if as_json:
        sides = {key: {n: _described(v) for n, v in zip(names, pair, strict=True)} for key, pair in found.items()}
        console.result_json(sides)
    elif not found:
        console.result(f"{names[0]} and {names[1]}: all values are the same")
    else:
        rows = [[key, *(cell for value in pair for cell in _cells(value))] for key, pair in found.items()]
        console.table(rows, ["key", names[0], "from", names[1], "from"])
    return 0


def _cells(value: configs.Value | None) -> list[str]:
    """Return the value as YAML, and its origin, including variables that are not set."""
    if value is None:
        return ["-", ""]
    unset = [name for name in value.variables if not os.environ.get(name)]
    missing = f"; {', '.join(unset)} {'are' if unset[1:] else 'is'} not set" if unset else ""
    origin = f"{value.origin}{missing}"
    return [configs.one_line(value.shown), origin]


def _described(value: configs.Value | None) -> dict[str, Any] | None:
    if value is None:
        return None
    variables = {name: bool(os.environ.get(name)) for name in value.variables}
    return {
        "value": value.shown,
        "origin": value.origin,
        "line": value.line,
        "environment": value.environment,
        "is_set": variables,
    }
