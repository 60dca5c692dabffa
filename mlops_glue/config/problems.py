"""What pydantic finds wrong with `glue.yaml`, worded for people."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from mlops_glue.config.fields import PATTERN_HELP, VARIABLE
from mlops_glue.config.models import Config
from mlops_glue.config.parse import Location
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Problem = tuple[Location, str]  # where, and what is wrong there


def worded(problem: Problem) -> str:
    """`section.key: what is wrong`."""
    location, text = problem
    return f"{'.'.join(map(str, location))}: {text}"


def pydantic_problem(values: dict[str, Any], error: ErrorDetails) -> Problem:
    """One error of pydantic's, with the location that the file has."""
    location, value = _in_file(values, error)
    if error["type"] == "extra_forbidden":
        return location, f"unknown key ({did_you_mean(str(location[-1]), known_keys(location[:-1]))})"
    if error["type"] == "missing":
        return location, "is required"
    pattern = error.get("ctx", {}).get("pattern")
    text = error["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    if error["type"] in ("model_type", "dict_type"):
        text = "should be a section, with keys of its own"
    elif error["type"] == "string_pattern_mismatch":
        text = PATTERN_HELP.get(str(pattern), text)
    # a URL may hold a secret, and so may a text in the place of a variable's name
    may_be_secret = "://" in str(value) or pattern == VARIABLE
    is_shown = not (may_be_secret or value is None or isinstance(value, dict | list))
    return location, f"{text}, not {value!r}" if is_shown else text


def _in_file(values: Any, error: ErrorDetails) -> tuple[Location, Any]:
    """The location of an error and the value there, without the branches of unions that pydantic adds."""
    location: Location = ()
    for part in error["loc"]:
        with contextlib.suppress(LookupError, TypeError):
            location, values = (*location, part), values[part]
    return ((*location, error["loc"][-1]), None) if error["type"] == "missing" else (location, values)


def known_keys(location: Location) -> list[str]:
    """The keys of the section at a location, empty where it has no model."""
    annotation: Any = Config
    for part in location:
        model = _model_in(annotation)
        field = model.model_fields.get(part) if model is not None else None
        annotation = field.annotation if field is not None else annotation  # an item of a list, or a name of the user's
    model = _model_in(annotation)
    return list(model.model_fields) if model is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in an annotation such as `dict[str, Source]` or `Canary | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part)) is not None), None)
