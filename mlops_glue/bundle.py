"""Checks of a bundle before anything in it is trusted or loaded, because others can write to its registry.

This module imports no tools and starts no processes: it runs wherever a model is loaded. Three checks are elsewhere:
the signature, if `serve.verify` is set (`delivery.signature`, called by `Store.download_bundle`); skops' types, on
loading (`adapters.skops.TRUSTED`); and whether the model scores its own example in time (`delivery.trial`).
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mlops_glue import files, layout, trusted
from mlops_glue.adapters import onnx_files
from mlops_glue.errors import DataError
from mlops_glue.metrics import TASKS
from mlops_glue.records import FeatureList
from mlops_glue.schema import Decision, Schema
from mlops_glue.trusted import Trusted

MODELS = ("model.onnx", "model.skops")
JSON_OBJECTS = ("parity.json", "signature.json", layout.HOLDOUT)
MODEL_FILES = {*MODELS, "schema.json", "features.json", trusted.FILE}
FILES = {*MODEL_FILES, layout.SAMPLE, *JSON_OBJECTS, "input_example.json"}
MAX_JSON_BYTES = 64 << 20
MAX_TABLE_BYTES = 1 << 30  # on disk and in memory
MAX_ROWS = 1_000_000  # for the table and the example
MAX_COLUMNS = 50_000
MAX_ARCHIVE_MEMBERS = 100_000
Record = TypeVar("Record", Schema, FeatureList, Trusted)


@dataclass(frozen=True)
class Contents:
    """The contents of a bundle; `features` are the features that come from Feast."""

    schema: Schema
    features: FeatureList | None
    examples: list[dict[str, Any]]
    model: Path
    trust: Trusted  # the code that the model runs; none for an ONNX model


def check(folder: Path, digest: str | None = None, *, others: bool = False) -> Contents:
    """Check that a bundle consists of plain files within limits, and that its model neither runs code nor reads files.

    In order: the folder and its files, the digest, the model (`onnx_files`: only ONNX's own operators, no functions,
    training, sparse or external tensors, at most 100,000 nodes and 1 GiB; for skops, the unpacked archive), the JSON
    files, the schema's types and rules, the features, the examples, the form of `trust.json`.

    Args:
        folder: the folder of the bundle.
        digest: the digest that was recorded at registration; None if the bundle comes from no registry.
        others: whether to ignore other files, which the folder of an MLflow model has.

    Raises:
        DataError: a check fails; the message names the file.
    """
    if not folder.is_dir() or folder.is_symlink():
        raise DataError(f"{folder}: is not a bundle")
    for path in sorted(p for p in folder.iterdir() if p.name in MODEL_FILES or not others):
        _check_file(folder, path)
    model = next((folder / name for name in MODELS if (folder / name).is_file()), None)
    if model is None:
        raise DataError(f"{folder.name}: contains neither {MODELS[0]} nor {MODELS[1]}")
    if digest is not None and files.digest(folder) != digest:
        raise DataError(f"{folder.name}: is not the bundle that was registered: its digest differs")
    if model.suffix == ".onnx":
        onnx_files.check_file(model)
    else:
        _check_archive(model)
    for name in () if others else JSON_OBJECTS:
        if (folder / name).is_file() and not isinstance(_json(folder / name), dict):
            raise _invalid(folder / name, "it is not an object")
    schema, listed = _schema(folder), folder / "features.json"
    features = _record(FeatureList, listed) if listed.is_file() else None
    return Contents(schema, features, [] if others else _examples(folder), model, _trust(folder, model))


def _trust(folder: Path, model: Path) -> Trusted:
    """Read `trust.json` of a model in skops form. The bundle itself does not decide whether it may be loaded."""
    path = folder / trusted.FILE
    if not path.is_file():
        return Trusted()
    made = _record(Trusted, path)
    if model.suffix == ".onnx" or not made.names:
        raise _invalid(path, "the model has no code")
    return made


def check_table(folder: Path) -> None:
    """Check the limits of a bundle's table, using its footer.

    Raises:
        DataError: the table exceeds a limit, or is not a Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / layout.SAMPLE
    if not path.is_file():
        return
    try:
        footer = pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{folder.name}/{path.name}: is not a Parquet file") from error
    size = sum(footer.row_group(at).total_byte_size for at in range(footer.num_row_groups))
    _check_limit(path, size, MAX_TABLE_BYTES, "bytes")
    _check_limit(path, footer.num_rows, MAX_ROWS, "rows")
    _check_limit(path, footer.num_columns, MAX_COLUMNS, "columns")


def _check_limit(path: Path, number: int, limit: int, what: str) -> None:
    if number > limit:
        raise DataError(f"{path.parent.name}/{path.name}: has {number:,} {what}; the limit is {limit:,}")


def _check_file(folder: Path, path: Path) -> None:
    if path.is_symlink() or not path.is_file():
        raise DataError(f"{folder.name}/{path.name}: is not a plain file")
    if path.name not in FILES:
        raise DataError(f"{folder.name}/{path.name}: is not part of a bundle")
    if path.name not in MODELS:
        limit = MAX_JSON_BYTES if path.suffix == ".json" else MAX_TABLE_BYTES
        _check_limit(path, path.stat().st_size, limit, "bytes")


def _check_archive(path: Path) -> None:
    """Check the unpacked size of a skops file, using only the archive's directory."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise DataError(f"{path.name}: is not a model that is safe to load: {type(error).__name__}") from error
    size = sum(member.file_size for member in members)
    if size > onnx_files.MAX_BYTES or len(members) > MAX_ARCHIVE_MEMBERS:
        raise DataError(f"{path.name}: has {size:,} bytes unpacked; the limit is {onnx_files.MAX_BYTES:,}")


def _json(path: Path) -> Any:
    try:
        return files.read_json(path)
    except (OSError, DataError) as error:
        raise _invalid(path, "not JSON, or nested too deeply") from error


def _record(kind: type[Record], path: Path) -> Record:
    """Read a record, and check its values against the types that its class declares.

    Raises:
        DataError: a value has another type, or is unknown.
    """
    from pydantic import TypeAdapter, ValidationError

    value = _json(path)
    try:
        TypeAdapter(kind).validate_json(path.read_bytes(), strict=True)
        return kind.from_dict(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise _invalid(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (TypeError, KeyError, ValueError) as error:
        raise _invalid(path, str(error)) from error


def _schema(folder: Path) -> Schema:
    path = folder / "schema.json"
    if not path.is_file():
        raise DataError(f"{folder}: is not a bundle: schema.json is missing")
    value = _json(path)
    columns = value.get("columns") if isinstance(value, dict) else None
    if isinstance(columns, list):
        _check_limit(path, len(columns), MAX_COLUMNS, "columns")
    schema = _record(Schema, path)
    for problem, is_valid in _rules(schema):
        if not is_valid:
            raise _invalid(path, problem)
    return schema


def _rules(schema: Schema) -> Iterator[tuple[str, bool]]:
    """Yield the rules of every schema beyond the types of its values; a rule may rely on earlier rules."""
    labels, names = schema.labels, [column.name for column in schema.columns]
    yield f"task is not one of {', '.join(TASKS)}", schema.task in TASKS
    yield "two columns have the same name", len(set(names)) == len(names)
    yield "decimal is not a decimal sign", schema.decimal in (".", ",")
    yield "base is not a number", all(math.isfinite(column.base) for column in schema.columns)
    yield "labels do not fit the task", (schema.task == "regression") == (labels is None)
    classes = [*(labels or []), *(schema.trained or []), *([] if schema.positive is None else [schema.positive])]
    yield "labels are not classes", all(isinstance(label, str | int | float) for label in classes)
    yield "labels are empty, or repeated", labels is None or 0 < len(labels) == len(set(labels))
    yield "trained or positive is not among the labels", set(classes) == set(labels or []) and schema.trained != []
    yield "decision does not fit the labels", schema.decision is None or _decides(schema.decision, len(labels or []))


def _decides(decision: Decision, classes: int) -> bool:
    """Return whether a decision is a threshold for two classes, or a matrix of costs for all classes."""
    if decision.threshold is not None:
        return classes == 2 and decision.costs is None and 0 < decision.threshold < 1
    costs = decision.costs or []
    is_square = len(costs) == classes > 1 and all(len(row) == classes for row in costs)
    return is_square and all(math.isfinite(cost) for row in costs for cost in row)


def _examples(folder: Path) -> list[dict[str, Any]]:
    path = folder / "input_example.json"
    if not path.is_file():
        return []
    value = _json(path)
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value) or len(value) > MAX_ROWS:
        raise _invalid(path, "it is not a list of rows")
    return value


def _invalid(path: Path, why: str) -> DataError:
    return DataError(f"{path.parent.name}/{path.name}: does not belong to a bundle: {why:.200}")
