"""Join the labels with their features, and check the result: features not found, or the target among the features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import feature_skew, layout, row_groups, tables
from mlops_glue import features as feast
from mlops_glue.config import Config
from mlops_glue.errors import CheckFailed
from mlops_glue.records import FeatureList, FeatureView

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from mlops_glue.adapters.feast.repository import Joined, Repository

    Array = np.ndarray[Any, Any]

JOIN_ROWS = 1 << 20  # rows that are joined at a time: each time, the sources are read completely
FEW = 30  # rows; with more, a feature that determines the target without error is not chance
JUST_BEFORE_S = 1e-6  # the smallest difference of two times


@dataclass(frozen=True)
class Join:
    """Label rows that were joined with features."""

    repository: Repository
    features: FeatureList
    labels: pa.Table
    moments: Array  # the time of each row's request, datetime64[us] in UTC, shape (rows,)
    rows: pa.Table  # the labels' rows with their features
    result: Joined  # which features the join found


def write(config: Config, root: Path, repository: Repository, features: FeatureList, moments: Array) -> None:
    """Write `joined.parquet`: the labels' table with its features, joined in pieces and checked.

    `moments` has the times of all label rows.

    Raises:
        CheckFailed: too few features were found, some are not known at the time of a request, or one is the target.
    """
    import numpy as np

    path, fresh, at = root / layout.TABLE, root / layout.STATE / "joined.parquet", 0
    whole = row_groups.rows(path) <= JOIN_ROWS
    parts: dict[str, list[Array]] = {}
    try:
        with row_groups.writing(fresh, combined=not whole) as file:
            for labels in [tables.read_parquet(path)] if whole else row_groups.pieces(path, most=JOIN_ROWS):
                here = slice(at, at := at + labels.num_rows)
                rows, result = feast.joined(repository, features, labels, moments[here])
                check_before(Join(repository, features, labels, moments[here], rows, result))
                for name, found in result.found.items():
                    parts.setdefault(name, []).append(found)
                file.write(rows)
        every = {name: np.concatenate(found) for name, found in parts.items()}
        _check_found(config, root, features, repository, moments, every)
        _check_no_target(fresh, features, config.data.labels.target, config.data.labels.task or "")
        (root / layout.JOINED).parent.mkdir(parents=True, exist_ok=True)
        fresh.replace(root / layout.JOINED)
    finally:
        fresh.unlink(missing_ok=True)


def _check_found(
    config: Config,
    root: Path,
    features: FeatureList,
    repository: Repository,
    moments: Array,
    every: dict[str, Array],
) -> None:
    """Check that no view lacks rows for more than `features.unmatched` of the label rows; name the likely cause."""
    for view in features.views:
        if view.name not in every:
            continue
        found = every[view.name]
        share = 1 - float(found.mean())
        if share > config.features.unmatched:
            cause = _cause(root, repository, view, moments, found)
            raise CheckFailed(
                f"view {view.name} has no row for {share:.1%} of the label rows, and the limit is "
                f"{config.features.unmatched:.0%}: {cause}",
                hint=f"features.unmatched in {layout.CONFIG} sets the limit",
            )


def _cause(root: Path, repository: Repository, view: FeatureView, moments: Array, found: Array) -> str:
    """Return the likely reason why so many rows found nothing, from the rows of the source."""
    import pandas as pd
    import pyarrow as pa

    if view.path is None or not (root / view.path).is_file():
        return "its source cannot be read here"
    clock, _ = repository.clock(view.of)
    source = tables.to_pandas(feast.source_rows(root, view, [*view.keys, clock]))
    source[clock] = pd.to_datetime(source[clock], utc=True)
    labels = tables.read_parquet(root / layout.TABLE, [*view.keys.values()])
    requests = tables.to_pandas(pa.table({key: labels.column(column) for key, column in view.keys.items()}))
    requests = requests.assign(requested_at=pd.to_datetime(moments, utc=True))[~found]
    keys = list(view.keys)
    if not keys:
        return f"the first row of {view.path} is from {source[clock].min()}"
    merged = requests.merge(source.groupby(keys)[clock].agg(["min", "max"]).reset_index(), on=keys, how="left")
    unknown, before = merged["min"].isna().mean(), (merged["requested_at"] < merged["min"]).mean()
    if unknown > 0.5:
        example = tuple(requests[keys].iloc[0])
        there = tuple(source[keys].iloc[0])
        named = ", ".join(keys)
        return f"most of their {named} are not in {view.path}: requested {example!r}, the file has {there!r}"
    if before > 0.5:
        gap = (merged["min"] - merged["requested_at"]).median()
        return f"most are before the first row of their {', '.join(keys)}, by {gap} (another time zone?)"
    if view.ttl_s and unknown + before < 0.5:
        return f"the rows that exist are older than the view's TTL of {view.ttl_s:g} s"
    return f"{unknown:.0%} of them are not in {view.path}, {before:.0%} are before their first row"


def check_before(join: Join) -> None:
    """Check that no label learned from a row with exactly its own time: such a row reaches the online store too late.

    Feast's join includes what became known at exactly the given time. With `features.delay` the join uses an earlier
    time, so there is nothing to check.

    Raises:
        CheckFailed: without the rows of that time, a feature has another value.
    """
    import numpy as np

    features, labels, moments = join.features, join.labels, join.moments
    at = np.flatnonzero(join.result.at_once)
    if features.delay_s or not len(at):
        return
    earlier = replace(features, delay_s=JUST_BEFORE_S)
    before, _ = feast.joined(join.repository, earlier, labels.take(at), moments[at])
    kinds = feast.kinds(features)
    for column, ref in features.columns.items():
        trained, served = join.rows.column(column).take(at), before.column(column)
        wrong = feature_skew.differing_rows(trained, served, kinds[column])
        if len(wrong):
            first = wrong[0]
            key = {name: labels.column(name)[at[first]].as_py() for name in features.keys}
            difference = feature_skew.describe(
                features, ref, key, moments[at[first]], trained[first].as_py(), served[first].as_py()
            )
            raise CheckFailed(
                f"{difference} just before ({len(wrong):,} of {len(moments):,} label rows): "
                f"{feature_skew.NOT_YET_KNOWN}",
                hint=feature_skew.DELAY_HINT,
            )


def _check_no_target(path: Path, features: FeatureList, target: str, task: str) -> None:
    """Check that no feature is the target in disguise: its values and the target's correspond one to one."""
    for column, feature in features.columns.items():
        names = [column, target]
        head = next(row_groups.pieces(path, names))
        if _differ(_known(head, names), task):  # then they also differ in all rows
            continue
        both = _known(tables.read_parquet(path, names), names)
        if len(both) >= FEW and both["target"].nunique() > 1 and not _differ(both, task):
            raise CheckFailed(
                f"feature {feature} is the target {target!r} in disguise: each of its values corresponds to one of "
                "the target's",
                hint="remove it from features.use, or compute it from what was known before",
            )


def _known(rows: pa.Table, names: list[str]) -> pd.DataFrame:
    """Return a feature and the target, for the rows that have both."""
    import pandas as pd

    feature, target = (rows.column(name).to_pandas() for name in names)
    return pd.DataFrame({"feature": feature, "target": target}).dropna()


def _differ(both: pd.DataFrame, task: str) -> bool:
    """Return whether the values do not correspond one to one; in a regression, whether they are not equal.

    Numbers without ties always correspond one to one, so that a regression compares the values themselves.
    """
    pairs = len(both.drop_duplicates())
    if not pairs == both["target"].nunique() == both["feature"].nunique():
        return True
    return task == "regression" and not (both["feature"] == both["target"]).all()
