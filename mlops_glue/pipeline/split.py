"""split: training rows and a holdout, by time, by entity, or at random (stratified by class).

Retrainings may have added rows to the table (`split.fresh_after`): its rows are then in batches, the first one and one
for each retraining. Each batch has its own holdout, and no row of any holdout is trained on. The model is evaluated
only on the holdout of the last batch, that is, on the latest rows.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import files, layout, row_groups, tables
from mlops_glue.config import Config
from mlops_glue.errors import DataError
from mlops_glue.metrics import MIN_FRESH_ROWS, MIN_ROWS
from mlops_glue.parsing import is_text

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)
Array = np.ndarray[Any, Any]


def split(config: Config, root: Path) -> None:
    """Write `train.parquet` and `test.parquet`, which contain every feature row at most once.

    With fresh rows, also write `fresh.json`: how many there are and how they are used; with `train.rows`, also write
    `sampled.json`.

    Raises:
        DataError: one side would have no row, or only one class; no fresh row would be trained on.
    """
    path, of_target = root / layout.FEATURES, f"target:{config.data.labels.target}"
    known = row_groups.empty(path).column_names
    by = {"time": layout.TIMESTAMP_COLUMN, "entity": layout.ENTITY_COLUMN}.get(config.split.by)
    when = layout.TIMESTAMP_COLUMN if config.split.fresh_after else None
    deciding = [name for name in known if name in (layout.ROW, of_target, by, when)]
    table = tables.read_parquet(path, deciding)  # the split does not depend on the features
    task = files.read_json(root / layout.COLUMNS)["schema"]["task"]
    bounds = config.split.fresh_after
    batch = batches(bounds, table)
    held = _held_out(config, table, task, batch)
    last = batch == len(bounds)
    test, train = held & last, ~held
    if config.train.rows is not None:
        train = _sampled(config, root, train)
    _check(config, table, task, test, train)
    if bounds:
        counts = {"rows": int(last.sum()), "trained": int((train & last).sum()), "held_out": int(test.sum())}
        if not counts["trained"]:
            raise DataError(f"split: none of the {counts['rows']:,} fresh rows would be trained on")
        files.write_json(root / layout.FRESH, counts)
    del table
    first = 0
    with (
        row_groups.writing(root / layout.TRAIN, combined=True) as learned,
        row_groups.writing(root / layout.TEST, combined=True) as measured,
    ):
        for piece in row_groups.pieces(path):
            here = slice(first, first := first + piece.num_rows)
            for part, file in ((train, learned), (test, measured)):
                file.write(piece.take(np.flatnonzero(part[here])))


def _sampled(config: Config, root: Path, train: Array) -> Array:
    """Keep at most `train.rows` of the training rows, chosen at random; write both numbers to `sampled.json`."""
    rows, of = config.train.rows, int(train.sum())
    assert rows is not None
    if rows < of:
        kept = np.random.default_rng(config.train.seed).choice(np.flatnonzero(train), rows, replace=False)
        train = np.zeros(len(train), bool)
        train[kept] = True
        log.info(f"training on a sample: {rows:,} of {of:,} rows (train.rows)")
    files.write_json(root / layout.SAMPLED, {"rows": min(rows, of), "of": of})
    return train


def _check(config: Config, table: pa.Table, task: str, test: Array, train: Array) -> None:
    """Raise if nothing can be learned or evaluated; warn if the holdout is small."""
    if not train.any() or not test.any():
        raise DataError(f"split: {table.num_rows} rows give an empty training set or holdout")
    held = int(test.sum())
    size = f"the holdout has {held} of {table.num_rows:,} rows"
    more = f"split: {{test_size: {config.split.test_size:g}}} in {layout.CONFIG} is its share"
    if held < 2:
        share = math.ceil(200 / table.num_rows) / 100  # of two rows
        hint = f"glue run --set split.test_size={max(share, config.split.test_size):g}" if share <= 0.5 else "add rows"
        raise DataError(f"split: {size}: too few to evaluate a model", hint=hint)
    if held < MIN_ROWS:
        log.warning("warning: %s: metrics on so few rows are mostly chance; %s", size, more)
    if task != "regression":
        learnt = table.column(f"target:{config.data.labels.target}").filter(train).unique()
        if len(learnt) < 2:
            raise DataError(f"split: the training rows have only one class: {learnt[0].as_py()!r}")


def training_rows(config: Config, root: Path, columns: list[str] | None = None) -> pa.Table:
    """Return the rows that the last run's model was trained on, with all columns or some.

    A retraining may have left out older rows.
    """
    table, learned = tables.read_parquet(root / layout.TRAIN, columns), _learned(config, root)
    return table if learned is None else table.filter(learned)


def training_columns(config: Config, root: Path) -> Callable[[str], pa.ChunkedArray]:
    """Return a function that reads a column of `training_rows` by name."""
    columns_of, learned = tables.column_reader(root / layout.TRAIN), _learned(config, root)

    def read(name: str) -> pa.ChunkedArray:
        column = columns_of([name]).column(0)
        return column if learned is None else column.filter(learned)

    return read


def _learned(config: Config, root: Path) -> Array | None:
    """Return which rows of the training part the model learned from; None for all of them."""
    bounds = files.read_json(root / layout.LEARNED)["after"] if config.split.fresh_after else []
    if not bounds:
        return None
    when = tables.read_parquet(
        root / layout.TRAIN, [layout.ROW, *([layout.TIMESTAMP_COLUMN] if config.source.timestamps else [])]
    )
    learned: Array = np.any([_is_after(bound, when) for bound in bounds], axis=0)
    return learned


def folds(
    config: Config, table: pa.Table, target: Array, count: int, seed: int, *, classes: bool
) -> list[tuple[Array, Array]]:
    """Return folds of the training rows, built like the holdout.

    Later rows are predicted from earlier ones, an entity is on one side only, or rows are drawn at random (stratified
    by class).

    Returns:
        For each fold the numbers of the rows to train on, and of the rows to predict.

    Raises:
        DataError: there are fewer rows or entities than folds.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit

    rows, kind, groups = table.num_rows, KFold, None
    if config.split.by == "time":
        order = np.argsort(table.column(layout.TIMESTAMP_COLUMN).to_numpy(), kind="stable")
        _check_folds(rows - 1, count, "rows")
        return [(order[before], order[after]) for before, after in TimeSeriesSplit(count).split(order)]
    if config.split.by == "entity":
        kind = GroupKFold
        groups = _numbers(table.column(layout.ENTITY_COLUMN))
        _check_folds(int(groups.max()) + 1, count, "entities")
    elif classes and np.unique(target, return_counts=True)[1].min() >= count:
        kind = StratifiedKFold
    _check_folds(rows, count, "rows")
    return list(kind(count, shuffle=True, random_state=seed).split(np.arange(rows), target, groups))


def _check_folds(number: int, count: int, what: str) -> None:
    if number < count:
        hint = f"use fewer folds, such as tune: {{folds: 2}} in {layout.CONFIG}"
        raise DataError(f"cross-validation: {number} {what} for training are too few for {count} folds", hint=hint)


def batches(bounds: Sequence[int | str], table: pa.Table) -> Array:
    """Return the batch of each row of an artifact, shape (rows,): 0, or the number of the last bound before it.

    Args:
        bounds: from `split.fresh_after`; each is a number of rows of the labels' table, or a time.
        table: the rows, with their number in the labels' table and their time.

    Raises:
        DataError: a bound is a time and the rows have none, or no row is after the last bound.
    """
    out = np.zeros(table.num_rows, np.int64)
    where = f"{layout.CONFIG} split.fresh_after"
    for number, bound in enumerate(bounds, 1):
        if isinstance(bound, str) and layout.TIMESTAMP_COLUMN not in table.column_names:
            raise DataError(f"{where}: {bound} is a time, and the labels' table has no timestamp")
        out[_is_after(bound, table)] = number
    if bounds and not (out == len(bounds)).any():
        problem = f"{where}: no labelled row is after {bounds[-1]}"
        raise DataError(problem, hint=f"if the table was rebuilt, remove {bounds[-1]} from {where}")
    return out


def _is_after(bound: int | str, table: pa.Table) -> Array:
    """Return which rows come after a bound of `split.fresh_after`."""
    if isinstance(bound, str):
        later: Array = table.column(layout.TIMESTAMP_COLUMN).to_numpy() > np.datetime64(bound)
        return later
    added: Array = table.column(layout.ROW).to_numpy() >= bound
    return added


def _held_out(config: Config, table: pa.Table, task: str, batch: Array) -> Array:
    """Return for each row whether it is in the holdout of its batch, shape (rows,)."""
    by, size = config.split.by, config.split.test_size
    held = np.zeros(table.num_rows, bool)
    when = table.column(layout.TIMESTAMP_COLUMN).to_numpy() if by == "time" else np.arange(table.num_rows)
    whom = _numbers(table.column(layout.ENTITY_COLUMN)) if by == "entity" else None
    first = np.flatnonzero(batch == 0)
    if len(first):
        some = table if len(first) == len(held) else table.take(first)
        held[first] = _first_holdout(config, some, task)
    for number in range(1, len(config.split.fresh_after) + 1):
        fresh = np.flatnonzero(batch == number)
        if not len(fresh):  # the table may no longer have the rows of an older retraining
            continue
        many = fresh_holdout(len(fresh), size)
        if whom is None:
            held[fresh] = late(when[fresh], many)
        else:
            trained, kept = set(whom[(batch < number) & ~held]), set(whom[(batch < number) & held])
            held[fresh] = late_entities(whom[fresh], many, trained, kept)
    return held


def fresh_holdout(rows: int, size: float) -> int:
    """Return how many of the fresh rows are held out: their share, or enough to evaluate on, but at most half.

    Raises:
        DataError: half of the rows is not enough.
    """
    if rows < 2 * MIN_FRESH_ROWS:
        raise DataError(
            f"split: {rows:,} fresh rows are too few to train on some of them and evaluate on the others",
            hint=f"at least {2 * MIN_FRESH_ROWS} are needed, of which {MIN_FRESH_ROWS} are held out",
        )
    return min(max(MIN_FRESH_ROWS, round(rows * size)), rows // 2)


def late(when: Array, many: int) -> Array:
    """Return for each row whether it is among the `many` latest; rows with equal times stay together.

    So there may be a few more. If all rows would be late, as most have the same time, only the rows after it are.
    """
    cut = np.sort(when)[len(when) - many]
    found: Array = when >= cut
    after: Array = when > cut
    return after if found.all() else found


def late_entities(whom: Array, many: int, trained: set[Any], held: set[Any]) -> Array:
    """Return for each fresh row whether it is held out: no entity is on both sides in any batch.

    Rows of an entity that is already on a side stay on that side. The latest new entities are held out until there are
    `many` rows.
    """
    number = {entity: at for at, entity in enumerate(dict.fromkeys(whom[::-1].tolist()))}  # the latest first
    codes = np.array([number[entity] for entity in whom.tolist()])
    rows = np.bincount(codes)
    is_held: Array = np.array([entity in held for entity in number])
    new = np.flatnonzero([entity not in held and entity not in trained for entity in number])
    before = np.cumsum(rows[new]) - rows[new] + rows[is_held].sum()
    is_held[new[before < many]] = True
    found: Array = is_held[codes]
    return found


def _first_holdout(config: Config, table: pa.Table, task: str) -> Array:
    """Return for each row of a table without added rows whether it is held out, shape (rows,)."""
    strata = None if task == "regression" else _numbers(table.column(f"target:{config.data.labels.target}"))
    return set_apart(config, table, strata, config.split.test_size)


def _numbers(values: pa.ChunkedArray) -> Array:
    """Return text as the rank of each value in sorted order, from 0, to save memory; other types unchanged."""
    import pyarrow.compute as pc

    if not is_text(values.type):
        return np.asarray(values.to_numpy())
    coded = pc.dictionary_encode(values, "encode").combine_chunks()
    place = np.empty(len(coded.dictionary), np.int64)
    place[pc.sort_indices(coded.dictionary).to_numpy()] = np.arange(len(place))
    numbers: Array = place[coded.indices.to_numpy(zero_copy_only=False)]
    return numbers


def set_apart(config: Config, table: pa.Table, strata: Array | None, size: float) -> Array:
    """Return for each row whether it is in a share of the rows that is chosen by `split.by`, shape (rows,).

    The share is the latest rows, whole entities, or random rows, stratified by `strata`.
    """
    from sklearn.model_selection import GroupShuffleSplit, train_test_split

    rows, seed = np.arange(table.num_rows), config.train.seed
    if config.split.by == "time":
        when = table.column(layout.TIMESTAMP_COLUMN).to_numpy()
        return late(when, len(when) - min(int(len(when) * (1 - size)), len(when) - 1))
    if config.split.by == "entity":
        groups = _numbers(table.column(layout.ENTITY_COLUMN))
        _, test = next(GroupShuffleSplit(test_size=size, random_state=seed).split(rows, groups=groups))
    else:
        if strata is not None:
            _, counts = np.unique(strata, return_counts=True)
            if counts.min() < 2 or len(counts) > size * len(rows):
                strata = None  # a class with one row cannot be on both sides
        _, test = train_test_split(rows, test_size=size, random_state=seed, stratify=strata)
    held = np.zeros(len(rows), bool)
    held[test] = True
    return held
