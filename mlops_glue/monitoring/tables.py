"""Drift between two tables, without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import config as configs
from mlops_glue import tables
from mlops_glue.drift import Reference
from mlops_glue.errors import DataError
from mlops_glue.monitoring.drift import DriftMonitor, Version
from mlops_glue.monitoring.wording import Verdict
from mlops_glue.pipeline.featurize import column_of
from mlops_glue.pipeline.profile import STEADY, Profile, find_timestamp, infer_task, profile
from mlops_glue.reading import reading_facts
from mlops_glue.schema import Kind, Schema
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa


def compared(
    reference: pa.Table, current: Callable[[Schema], Iterable[pa.Table]], settings: configs.Monitor, where: Path
) -> tuple[Verdict, Version]:
    """Compare a table, in pieces, with a reference table. Return the verdict, and the reference as a version."""
    version, left_out = as_version(where, reference)
    monitor = DriftMonitor(version)
    for piece in current(version.schema):
        monitor.add(piece)
    verdict = monitor.verdict(settings)
    del verdict["version"]
    verdict["other_columns"] = [name for name in verdict["other_columns"] if name not in left_out]
    return verdict | {"left_out": left_out}, version


def as_version(path: Path, table: pa.Table) -> tuple[Version, dict[str, str]]:
    """Build a reference from a table. Return it with the excluded columns and the reasons.

    Empty and constant columns are useless for a model, but are included here, because they may change.
    """
    names = table.column_names
    task, labels = "regression", None
    if "prediction" in names:
        task = infer_task(table.column("prediction"))
        labels = None if task == "regression" else sorted(table.column("prediction").unique().drop_null().to_pylist())
    predicted = [name for name in Schema(task, "", [], labels).answers if name in names]
    profiles = profile(table.drop_columns(predicted))
    when = find_timestamp(profiles)  # differs between any two periods, which is not drift
    clock = [when] if isinstance(when, str) else when or []
    kinds = {p.name: p.kind or steady(p, table.column(p.name)) for p in profiles if p.name not in clock}
    decimal = reading_facts(table)["decimal"]
    columns = [column_of(name, kind, table.column(name), decimal) for name, kind in kinds.items() if kind is not None]
    if not columns:
        raise DataError(f"{path}: no columns left to compare", hint=did_you_mean("", names))
    schema = Schema(task, "", columns, labels, decimal=decimal)
    reference = Reference.of(table, table, schema, where=str(path))
    reasons = {p.name: p.reason for p in profiles if p.name not in clock and kinds[p.name] is None}
    left_out = reasons | dict.fromkeys(clock, "timestamp of the rows")
    return Version(0, schema, reference, path), left_out


def steady(found: Profile, values: pa.ChunkedArray) -> Kind | None:
    """Return the kind of an empty or constant column; None if its type is not supported.

    A constant date is excluded: it dates the table, and differs in every other table.
    """
    import pyarrow as pa

    if found.reason not in STEADY or pa.types.is_temporal(values.type):
        return None
    if pa.types.is_boolean(values.type):
        return "boolean"
    return "number" if tables.is_number(values.type) or pa.types.is_decimal(values.type) else "category"
