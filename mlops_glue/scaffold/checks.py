"""Check whether the target can be learned, before `glue init` writes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_glue.errors import DataError, UsageError
from mlops_glue.parsing import is_text
from mlops_glue.pipeline.featurize import as_target, shown
from mlops_glue.pipeline.profile import unread
from mlops_glue.scaffold.infer import Table
from mlops_glue.suggest import did_you_mean
from mlops_glue.words import canonical_category

if TYPE_CHECKING:
    import pyarrow as pa

MOST_TWINS = 3  # groups of classes that differ only in how they are written
MANY_CLASSES = 50  # with more, and more classes than half the rows, the target is a number or a name


def check_target(label: Table, target: str, notes: list[str]) -> None:
    """Check that the target has at least two distinct values.

    Raises:
        DataError: it has fewer, or glue cannot read its type.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    of = label.profile_of(target)
    values = label.rows.column(target)
    if (reason := unread(values.type)) is not None and of.nulls < label.rows.num_rows:
        raise DataError(f"--target {target}: is {reason}")
    if of.distinct < 2:
        others = [p.name for p in label.profiles if p.kind is not None and p.name != target]
        nulls = f" and {of.nulls:,} nulls (NA, None and the like)" if of.nulls and of.distinct else ""
        raise DataError(
            f"--target {target}: has {of.distinct} distinct value{'s' * (of.distinct != 1)} in "
            f"{label.file.name}{nulls}; at least two are needed",
            hint=did_you_mean("", others) if others else None,
        )
    infinite = pc.sum(pc.is_inf(values)).as_py() or 0 if pa.types.is_floating(values.type) else 0
    if lacking := of.nulls + infinite:
        notes.append(f"target {target!r}: {lacking:,} row{'s' * (lacking != 1)} without a value left out")


def check_task(label: Table, target: str, task: str) -> None:
    """Check that the target's values fit the task that the user requested.

    Raises:
        UsageError: they do not.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    values = label.rows.column(target).drop_null()
    if pa.types.is_floating(values.type):
        values = values.filter(pc.is_finite(values))  # the other rows have no target
    try:
        labels = as_target(values, task, target)
    except DataError:
        found = f"has {values.type} values, not numbers: {shown(values.unique().to_pylist())}"
        raise UsageError(
            f"task regression: {target!r} of {label.file.name} {found}",
            hint="--task multiclass for classes; or name another --target",
        ) from None
    if task == "binary" and len(classes := sorted(labels.unique().to_pylist())) > 2:
        raise UsageError(
            f"--task binary: {target!r} of {label.file.name} has {len(classes):,} values: {shown(classes)}",
            hint="leave out --task: it is inferred from the target",
        )


def check_classes(label: Table, target: str, task: str, notes: list[str], *, asked: bool) -> None:
    """Check that the classes have rows to learn from; a note names classes that differ only in blanks or case.

    Args:
        label: the labels' table.
        target: the target column.
        task: the task.
        notes: receives the notes.
        asked: whether the user requested the task.

    Raises:
        DataError: most rows have a class of their own, or the classes are dates.
    """
    if task == "regression":
        return
    of = label.profile_of(target)
    values = label.rows.column(target)
    if of.kind == "datetime" and not asked:
        hint = "write it as a number, such as days since a date; or name another --target; or --task multiclass"
        raise DataError(f"--target {target}: contains dates, which are not classes", hint=hint)
    present = len(values) - values.null_count
    if of.distinct > MANY_CLASSES and of.distinct > 0.5 * present:
        why = f": {of.reason}" if of.reason and is_text(values.type) else ""
        hint = "--task regression, with numbers written as 1234.5; or name another --target"
        many = f"{of.distinct:,} classes in {present:,} rows are too many to learn"
        raise DataError(f"--target {target}: {many}{why}", hint=hint)
    if is_text(values.type):
        notes += _twins(target, values)


def _twins(target: str, values: pa.ChunkedArray) -> list[str]:
    """Return a note for each group of classes that differ only in blanks or case, or as 1 and 1.0 do."""
    groups: dict[str, list[str]] = {}
    for word in sorted(values.unique().drop_null().to_pylist()):
        groups.setdefault(canonical_category(word.strip().casefold(), "double"), []).append(word)
    twins = [", ".join(map(repr, words[:4])) for words in groups.values() if len(words) > 1][:MOST_TWINS]
    return [f"target {target!r}: {words} are written differently and count as different classes" for words in twins]
