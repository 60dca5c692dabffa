"""A bundle, looked at before anything of it is believed or loaded: others can write to the registry that it is from.

Nothing here imports a tool or asks another process: it is called wherever a model is loaded.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_glue import files, layout
from mlops_glue.adapters import onnx_files
from mlops_glue.errors import DataError
from mlops_glue.records import FeatureList
from mlops_glue.schema import Schema

MODELS = ("model.onnx", "model.skops")
TABLES = (layout.SAMPLE,)
RECORDS = ("parity.json", "signature.json", layout.HOLDOUT)  # objects
OF_MODEL = {*MODELS, "schema.json", "features.json"}
FILES = {*OF_MODEL, *TABLES, *RECORDS, "input_example.json"}
TASKS = ("binary", "multiclass", "regression")
MOST_JSON = 64 << 20  # bytes of a file
MOST_TABLE = 1 << 30  # bytes of a table, as it is kept and as it is in memory
MOST_ROWS = 1_000_000  # of a table, and of the example
MOST_COLUMNS = 50_000
MOST_MEMBERS = 100_000  # of a skops archive


@dataclass(frozen=True)
class Contents:
    """What a bundle says of its model."""

    schema: Schema
    features: FeatureList | None  # what Feast has of them
    examples: list[dict[str, Any]]
    model: Path


def check(folder: Path, digest: str | None = None, *, others: bool = False) -> Contents:
    """Is it a bundle of plain files within their limits, whose model runs no code and reads no other file?

    Args:
        folder: the bundle.
        digest: what was recorded when it was registered; None: it comes from no registry.
        others: is it the folder of a model of MLflow's, which has other files too, of which nothing is read?

    Raises:
        DataError: it is not; the message names the file.
    """
    if not folder.is_dir() or folder.is_symlink():
        raise DataError(f"{folder}: is no bundle")
    for path in sorted(p for p in folder.iterdir() if p.name in OF_MODEL or not others):
        _check_kind(folder, path)
    there = [folder / name for name in MODELS if (folder / name).is_file()]
    if not there:
        raise DataError(f"{folder.name}: holds neither {MODELS[0]} nor {MODELS[1]}")
    if digest is not None and files.digest(folder) != digest:
        raise DataError(f"{folder.name}: is not the bundle that was registered: its digest is another")
    model = there[0]
    if model.name == "model.onnx":
        onnx_files.check_file(model)
    else:
        _check_archive(model)
    for name in () if others else RECORDS:
        if (folder / name).is_file() and not isinstance(_json(folder / name), dict):
            raise _other(folder / name, "it is no object")
    return Contents(_schema(folder), _features(folder), [] if others else _examples(folder), model)


def check_tables(folder: Path) -> None:
    """Are its tables within their limits, as their own heads say?

    Raises:
        DataError: one is not, or is no Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in (folder / name for name in TABLES if (folder / name).is_file()):
        try:
            about = pq.read_metadata(path)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{folder.name}/{path.name}: is no Parquet file") from error
        size = sum(about.row_group(at).total_byte_size for at in range(about.num_row_groups))
        for what, number, most in (
            ("bytes", size, MOST_TABLE),
            ("rows", about.num_rows, MOST_ROWS),
            ("columns", about.num_columns, MOST_COLUMNS),
        ):
            if number > most:
                raise DataError(f"{folder.name}/{path.name}: has {number:,} {what}; the limit is {most:,}")


def _check_kind(folder: Path, path: Path) -> None:
    if path.is_symlink() or not path.is_file():
        raise DataError(f"{folder.name}/{path.name}: is no plain file")
    if path.name not in FILES:
        raise DataError(f"{folder.name}/{path.name}: is no part of a bundle")
    most = MOST_JSON if path.suffix == ".json" else MOST_TABLE
    if path.name not in MODELS and (size := path.stat().st_size) > most:
        raise DataError(f"{folder.name}/{path.name}: has {size:,} bytes; the limit is {most:,}")


def _check_archive(path: Path) -> None:
    """What a skops file is once it is unpacked: its own head says so, and no more of it is read than that."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise DataError(f"{path.name}: is not a model that is safe to load: {type(error).__name__}") from error
    size = sum(member.file_size for member in members)
    if size > onnx_files.MAX_BYTES or len(members) > MOST_MEMBERS:
        raise DataError(f"{path.name}: has {size:,} bytes unpacked; the limit is {onnx_files.MAX_BYTES:,}")


def _json(path: Path) -> Any:
    try:
        return files.read_json(path)
    except (OSError, DataError) as error:
        raise _other(path, "no JSON, or nested too deeply") from error


def _of_kind(kind: Any, path: Path) -> Any:
    """A record of this kind, where each of its values is of the type that the record says.

    Raises:
        DataError: one is not, or is one too many.
    """
    from pydantic import TypeAdapter, ValidationError

    value = _json(path)
    try:
        TypeAdapter(kind).validate_json(path.read_bytes(), strict=True)
        return kind.from_dict(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise _other(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (TypeError, KeyError, ValueError) as error:
        raise _other(path, str(error)) from error


def _schema(folder: Path) -> Schema:
    path = folder / "schema.json"
    if not path.is_file():
        raise DataError(f"{folder}: is no bundle: schema.json is missing")
    value = _json(path)
    columns = value.get("columns") if isinstance(value, dict) else None
    if isinstance(columns, list) and len(columns) > MOST_COLUMNS:
        raise DataError(f"{folder.name}/{path.name}: has {len(columns):,} columns; the limit is {MOST_COLUMNS:,}")
    made: Schema = _of_kind(Schema, path)
    wrong = next((told for told, holds in _claims(made) if not holds), None)
    if wrong is not None:
        raise _other(path, wrong)
    return made


def _claims(schema: Schema) -> Iterator[tuple[str, bool]]:
    """What holds for each schema of glue's beyond the types of its values; a claim may need those before it."""
    labels, names = schema.labels, [column.name for column in schema.columns]
    yield f"task is none of {', '.join(TASKS)}", schema.task in TASKS
    yield "two columns have one name", len(set(names)) == len(names)
    yield "decimal is no decimal sign", schema.decimal in (".", ",")
    yield "base is no number", all(math.isfinite(column.base) for column in schema.columns)
    yield "labels go with classes, and with nothing else", (schema.task == "regression") == (labels is None)
    of_classes = [*(labels or []), *(schema.trained or []), *([] if schema.positive is None else [schema.positive])]
    yield "labels are no classes", all(isinstance(label, str | int | float) for label in of_classes)
    yield "labels are none, or twice", labels is None or 0 < len(labels) == len(set(labels))
    yield "trained or positive is none of the labels", set(of_classes) == set(labels or []) and schema.trained != []


def _features(folder: Path) -> FeatureList | None:
    path = folder / "features.json"
    return _of_kind(FeatureList, path) if path.is_file() else None


def _examples(folder: Path) -> list[dict[str, Any]]:
    path = folder / "input_example.json"
    if not path.is_file():
        return []
    value = _json(path)
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value) or len(value) > MOST_ROWS:
        raise _other(path, "it is no list of rows")
    return value


def _other(path: Path, why: str) -> DataError:
    return DataError(f"{path.parent.name}/{path.name}: is no bundle's: {why:.200}")
