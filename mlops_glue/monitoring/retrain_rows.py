"""Conversion of labelled log rows to rows of the labels table, and a transaction for the files of a retraining."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlops_glue import files, layout, streaming, tables
from mlops_glue.config import Config
from mlops_glue.errors import DataError, first_line
from mlops_glue.monitoring.labels import TRUTH
from mlops_glue.parsing import is_text
from mlops_glue.words import FALSE, TRUE

if TYPE_CHECKING:
    import pyarrow as pa

PARTS = ("year", "month", "day", "hour", "minute")


def as_source(config: Config, root: Path, answered: list[pa.Table]) -> pa.Table:
    """Return labelled rows of the log with the columns of the labels table. Columns missing from the log are null.

    The rows are sorted by the time of their answers, latest last, across all versions.

    Raises:
        DataError: the log omits columns, or a value does not fit its column.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    hidden = sorted({*config.serve.log.omit, *config.serve.log.hash})
    if hidden:
        raise DataError(
            f"serve.log omits or hashes {', '.join(hidden)}, so its rows cannot be used for training",
            hint="monitor: {retrain: {data: reread}}",
        )
    path = root / config.source.path
    if path.is_dir():
        problem = f"{config.source.path} is a folder, so rows cannot be appended to it"
        raise DataError(problem, hint="monitor: {retrain: {data: reread}}")
    complete = cache(partial(tables.read_table, path))  # read only if needed
    schema = pq.read_schema(path) if streaming.suffix(path) == ".parquet" else complete().schema
    types = {field.name: field.type for field in schema}
    target, clock = config.data.labels.target, config.source.timestamps
    made = []
    for table in answered:
        columns = {}
        for name, kind in types.items():
            if name == target:
                values = table.column(TRUTH)
            elif name in table.column_names:
                values = table.column(name)
            elif name in clock and len(clock) == 1:
                values = table.column("glue_time")
            elif name in clock:
                values = getattr(pc, PARTS[clock.index(name)])(table.column("glue_time"))
            else:
                values = pa.nulls(table.num_rows)
            if pa.types.is_boolean(values.type) and is_text(kind):
                values = _in_words(values, complete().column(name))
            columns[name] = _cast(values, kind, name)
        made.append(pa.table(columns))
    times = np.concatenate([table.column("glue_time").to_numpy() for table in answered])
    return pa.concat_tables(made).take(np.argsort(times, kind="stable"))


def _in_words(values: pa.ChunkedArray, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Convert booleans to the words that a text column uses, such as yes and no, which its expectations know."""
    import pyarrow.compute as pc

    counted = column.drop_null().value_counts().sort("descending", by="counts").field("values").to_pylist()

    def written(words: set[str], otherwise: str) -> str:
        return next((word for word in counted if word.strip().lower() in words), otherwise)

    return pc.if_else(values, written(TRUE, "true"), written(FALSE, "false"))


def _cast(values: pa.ChunkedArray, kind: pa.DataType, name: str) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(values.type) and is_text(kind):
        values = pc.strftime(values, "%Y-%m-%dT%H:%M:%S")
    elif is_text(values.type) and pa.types.is_boolean(kind):
        values = pc.utf8_lower(values)
    if pa.types.is_timestamp(values.type) and pa.types.is_timestamp(kind):
        values = values.cast(pa.timestamp(kind.unit, values.type.tz), safe=False)
    try:
        return values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"column {name!r} is {kind} in the labels table: {first_line(error, 120)}") from None


@contextlib.contextmanager
def transaction(root: Path, paths: list[str]) -> Iterator[contextlib.ExitStack]:
    """Copy files before the block, and restore them after it unless it calls `pop_all`.

    DVC has each version of a tracked table, because a pipeline run saves its inputs. If the process is killed in the
    block, the copies remain, and the next retraining restores them.
    """
    making, before = root / f"{layout.BEFORE}.making", root / layout.BEFORE
    shutil.rmtree(making, ignore_errors=True)
    for path in paths:
        copy = making / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(
                (root / path).resolve(), copy
            )  # files are replaced, never modified in place, so the link keeps the old content
        except OSError:
            shutil.copy2(root / path, copy)
    making.rename(before)
    with contextlib.ExitStack() as undo:
        undo.callback(restore, root)
        yield undo
    _forget(before)


def restore(root: Path) -> list[str]:
    """Restore the files from before a failed retraining, and return their names."""
    before = root / layout.BEFORE
    copies = sorted(path.relative_to(before) for path in before.rglob("*") if path.is_file())
    for path in copies:
        with files.atomic(root / path) as temporary:  # writes through a symbolic link, as the retraining did
            shutil.copyfile(before / path, temporary)
    _forget(before)
    return [path.as_posix() for path in copies]


def _forget(before: Path) -> None:
    """Remove the copies atomically, so that a crash never leaves only some of them."""
    gone = before.with_name(f"{before.name}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    if before.is_dir():
        before.rename(gone)
        shutil.rmtree(gone)
