"""Can the target be learnt? `glue init` asks before it writes anything."""

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
MANY_CLASSES = 50  # and more than every second row has a class of its own: it is a number or a name


def check_target(label: Table, target: str, notes: list[str]) -> None:
    """The target has values of at least two kinds.

    Raises:
        DataError: it has not, or glue reads no such type.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    of = label.profile_of(target)
    values = label.rows.column(target)
    if (reason := unread(values.type)) is not None and of.nulls < label.rows.num_rows:
        raise DataError(f"--target {target}: is {reason}")
    if of.distinct < 2:
        others = [p.name for p in label.profiles if p.kind is not None and p.name != target]
        nulls = f" besides {of.nulls:,} nulls (NA, None and the like)" if of.nulls and of.distinct else ""
        raise DataError(
            f"--target {target}: has {of.distinct} distinct value in {label.file.name}{nulls}; "
            "there is nothing to tell apart",
            hint=did_you_mean("", others) if others else None,
        )
    infinite = pc.sum(pc.is_inf(values)).as_py() or 0 if pa.types.is_floating(values.type) else 0
    if lacking := of.nulls + infinite:
        notes.append(f"target {target!r}: {lacking:,} row{'s' * (lacking != 1)} without a value left out")


def check_task(label: Table, target: str, task: str) -> None:
    """The target's values allow the task that the user asked for.

    Raises:
        UsageError: they do not.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    values = label.rows.column(target).drop_null()
    if pa.types.is_floating(values.type):
        values = values.filter(pc.is_finite(values))  # the others have no target
    try:
        held = as_target(values, task, target)
    except DataError:
        found = f"holds {values.type}, not numbers: {shown(values.unique().to_pylist())}"
        raise UsageError(
            f"task regression: {target!r} of {label.file.name} {found}",
            hint="--task multiclass takes classes; or name another --target",
        ) from None
    if task == "binary" and len(classes := sorted(held.unique().to_pylist())) > 2:
        raise UsageError(
            f"--task binary: {target!r} of {label.file.name} has {len(classes):,} values: {shown(classes)}",
            hint="leave --task out: it is taken from the target",
        )


def check_classes(label: Table, target: str, task: str, notes: list[str], *, asked: bool) -> None:
    """Classes have some rows each, and differ by more than blanks and case, which is noted; `asked` for by the user.

    Raises:
        DataError: nearly every row has a class of its own, or the classes are dates.
    """
    if task == "regression":
        return
    of = label.profile_of(target)
    values = label.rows.column(target)
    if of.kind == "datetime" and not asked:
        hint = "write it as a number, such as days since a day, or name another --target; --task multiclass for classes"
        raise DataError(f"--target {target}: holds dates, which are no classes", hint=hint)
    present = len(values) - values.null_count
    if of.distinct > MANY_CLASSES and of.distinct > 0.5 * present:
        why = f": {of.reason}" if of.reason and is_text(values.type) else ""
        hint = "--task regression, with numbers written as 1234.5; or name another --target"
        many = f"{of.distinct:,} classes in {present:,} rows are more than can be learnt"
        raise DataError(f"--target {target}: {many}{why}", hint=hint)
    if is_text(values.type):
        notes += _twins(target, values)


def _twins(target: str, values: pa.ChunkedArray) -> list[str]:
    """A note for each group of classes that differ only in blanks, case, or as 1 and 1.0 do."""
    groups: dict[str, list[str]] = {}
    for word in sorted(values.unique().drop_null().to_pylist()):
        groups.setdefault(canonical_category(word.strip().casefold(), "double"), []).append(word)
    twins = [", ".join(map(repr, words[:4])) for words in groups.values() if len(words) > 1][:MOST_TWINS]
    return [f"target {target!r}: {words} are written differently, and are different classes" for words in twins]
