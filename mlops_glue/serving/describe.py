"""What a person reads about a model that can be served: its fields, and a request to paste."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

from mlops_glue import config, files
from mlops_glue.serving.contract import without_looked_up
from mlops_glue.serving.model import Model
from mlops_glue.suggest import did_you_mean

LONG = 600  # characters of an example; a longer one is in a file


def as_record(model: Model, answers: list[dict[str, Any]]) -> dict[str, Any]:
    """The contract, the example and its answers, for JSON."""
    return {
        "name": model.name,
        "version": model.version,
        "format": model.format,
        "digest": model.digest,
        "schema": model.contract.json_schema,
        "example": model.examples,
        "answers": answers,
    }


def field_lines(model: Model) -> list[str]:
    """One line for each field of a row: first the keys, then the columns in the order of a row without names."""
    order = {name: at for at, name in enumerate(model.contract.order)}
    lines = []
    for field in sorted(model.contract.fields, key=lambda field: order.get(field.name, -1)):
        kinds = sorted({kind.__name__ for kind in field.types} - ({"int"} if float in field.types else set()))
        needed = "required" if field.required else "may be left out"
        null = ", may be null" if field.nullable else ""
        lines.append(f"  {field.name}  {field.kind} ({' or '.join(kinds)}), {needed}{null}")
    return lines


def curl(model: Model, url: str, examples: Path | None, *, with_key: bool) -> str:
    """A request that can be pasted, with a row of the training data; a long one is in a file of `examples`, if any."""
    body = json.dumps(without_looked_up(model.examples, model.features)[0], ensure_ascii=False)
    data = shlex.quote(body)
    if len(data) > LONG and examples is not None:
        file = examples / "example.json"
        files.write_text(file, body + "\n")
        data = shlex.quote(f"@{os.path.relpath(file)}")
    key = " -H 'Authorization: Bearer KEY'" if with_key else ""
    url = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")  # nobody can ask all addresses
    return f"curl -s {url}/predict -H 'Content-Type: application/json'{key} -d {data}"


def log_warnings(model: Model, log: config.PredictionLog) -> list[str]:
    """A misspelt name hides nothing. It is no error, because another version may have such a field."""
    return [
        f"serve.log.{key}: v{model.version} takes no {name!r} ({did_you_mean(name, list(model.contract.position))})"
        for key, names in (("omit", log.omit), ("hash", log.hash))
        for name in names
        if name not in model.contract.position
    ]
