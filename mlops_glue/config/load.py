"""Reading and checking `glue.yaml`, for one environment or for none."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlops_glue import secrets
from mlops_glue.config.edit import set_key
from mlops_glue.config.environments import environment_problems, in_environment
from mlops_glue.config.models import Config
from mlops_glue.config.parse import parse, read
from mlops_glue.config.problems import worded
from mlops_glue.config.references import references
from mlops_glue.config.validate import validate
from mlops_glue.errors import ConfigError, UsageError
from mlops_glue.layout import CONFIG

A_MODEL = ("model",)  # for `needs` of `load`


def load(
    root: Path,
    env: str | None = None,
    overrides: Mapping[str, str] | None = None,
    *,
    tables: bool = True,
    needs: Sequence[str] = ("data", "train"),
    text: str | None = None,
) -> Config:
    """Read and check `glue.yaml`.

    Args:
        root: the project folder.
        env: name of an entry of `environments`; default `GLUE_ENV`; "" for none, whatever is set.
        overrides: dotted keys to YAML text, e.g. `{"train.params.max_iter": "300"}`; not written back.
        tables: must the tables be there? In a new clone they are not yet.
        needs: sections that must be there, or `A_MODEL`: a pipeline or a registered model.
        text: what the file will hold; default what it holds.

    Raises:
        ConfigError: with every problem found, in file order.
    """
    document = parse(read(root / CONFIG) if text is None else text.removeprefix("\ufeff"))
    values = document.values
    for key, value in (overrides or {}).items():
        set_key(values, key, value)
    secrets.note(references(values))
    config, problems = validate(values, root, tables=tables)
    if config is not None:
        problems += environment_problems(config, document, root, problems)
    only = only_does(config) if config is not None and needs and not problems else None
    if only is not None and not (needs == A_MODEL and only[0].startswith("serves")):
        raise UsageError(f"this project only {only[0]}: {CONFIG} has no data and no train", hint=only[1])
    problems += [((key,), "is required") for key in needs if key not in values and needs != A_MODEL]
    if problems or config is None:
        shown = sorted({(document.line(problem[0]), worded(problem)) for problem in problems})
        raise ConfigError([f"{CONFIG}:{line} {text}" for line, text in shown])
    return in_environment(config, os.environ.get("GLUE_ENV") if env is None else env)


def only_does(config: Config) -> tuple[str, str] | None:
    """What a project without a pipeline does, and its command; None where it has a pipeline, or does nothing."""
    given = config.model_fields_set
    if {"data", "train"} & given:
        return None
    if {"registry", "serve", "package"} & given:
        return f"serves {config.model_name}", "glue serve; a newer version of it: glue adopt .. --model NAME/VERSION"
    if "tracking" in given:
        return "tracks", "glue track -- python train.py"
    return ("monitors", "glue monitor --reference TABLE --current TABLE") if "monitor" in given else None


def located(root: Path, error: ConfigError) -> ConfigError:
    """An error whose problems begin with `glue.yaml a.b.c: …`, with the line of each such key."""
    document = parse(read(root / CONFIG))

    def with_line(key: re.Match[str]) -> str:
        location = tuple(int(part) if part.isdigit() else part for part in key[1].split("."))
        return f"{CONFIG}:{document.line(location)} {key[1]}"

    named_key = re.compile(rf"^{re.escape(CONFIG)} ([^ :]+)")
    return ConfigError([named_key.sub(with_line, problem) for problem in error.problems], hint=error.hint)
