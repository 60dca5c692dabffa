"""What pydantic finds wrong, worded for people."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from mlops_glue.config.fields import PATTERN_HELP, VARIABLE
from mlops_glue.config.models import Config
from mlops_glue.suggest import did_you_mean

Problem = tuple[tuple[Any, ...], str]  # where, and what is wrong there


def worded(loc: tuple[Any, ...], what: str) -> str:
    return f"{'.'.join(map(str, loc))}: {what}"


def pydantic_problem(tree: Any, error: Any) -> Problem:
    """What pydantic finds wrong, for people."""
    # pydantic adds the branch of a union to the location; only what is in the file helps the reader
    loc: tuple[Any, ...] = ()
    node: Any = tree
    for part in error["loc"]:
        inside = (isinstance(node, dict) and part in node) or (
            isinstance(node, list) and isinstance(part, int) and part < len(node)
        )
        if not inside and not (part == error["loc"][-1] and error["type"] == "missing"):
            continue
        loc = (*loc, part)
        node = node[part] if inside else None
    if error["type"] == "extra_forbidden":
        return loc, f"unknown key ({did_you_mean(str(loc[-1]), _known_keys(loc[:-1]))})"
    if error["type"] == "missing":
        return loc, "is required"
    said = error["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    if error["type"] in ("model_type", "dict_type"):
        said = "should be a section, with keys of its own"
    elif error["type"] == "string_pattern_mismatch":
        said = PATTERN_HELP.get(error["ctx"]["pattern"], said)
    # a URL may hold a secret, and what should name a variable may be one
    secret = "://" in str(node) or error.get("ctx", {}).get("pattern") == VARIABLE
    value = "" if isinstance(node, dict | list) or node is None or secret else f", not {node!r}"
    return loc, said + value


def _known_keys(loc: tuple[Any, ...]) -> list[str]:
    model: Any = Config
    for part in loc:
        field = model.model_fields.get(part) if isinstance(model, type) and issubclass(model, BaseModel) else None
        annotation = field.annotation if field is not None else model
        model = _section_in(annotation)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _section_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((s for a in getattr(annotation, "__args__", ()) if (s := _section_in(a)) is not None), None)
