"""What may be wrong with features that were joined to labels: nothing found, or the target found in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import feature_skew, layout, tables
from mlops_glue import features as feast
from mlops_glue.config import Config
from mlops_glue.errors import CheckFailed
from mlops_glue.records import FeatureList, FeatureView

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from mlops_glue.adapters.feast.repository import Joined, Repository

    Array = np.ndarray[Any, Any]

FEW = 30  # rows, from which on a feature that tells the target without a mistake is no chance
JUST_BEFORE_S = 1e-6  # the finest difference of two times


@dataclass(frozen=True)
class Join:
    """Label rows that were joined with features."""

    repository: Repository
    features: FeatureList
    labels: pa.Table
    moments: Array  # that each row is asked about, datetime64[us] in UTC, shape (rows,)
    rows: pa.Table  # the labels' with their features
    result: Joined  # what the join has found


def check(config: Config, root: Path, join: Join) -> None:
    """Check the features that labels were joined with.

    Raises:
        CheckFailed: too few were found, some are not known at the time of a request, or one is the target.
    """
    _check_found(config, root, join)
    check_before(join)
    _check_no_target(join, config.data.labels.target, config.data.labels.task or "")


def _check_found(config: Config, root: Path, join: Join) -> None:
    """No view may find nothing for more than `features.unmatched` of the label rows; the likely cause is named."""
    found = join.result.found
    for view in join.features.views:
        if view.name not in found:
            continue
        share = 1 - float(found[view.name].mean())
        if share > config.features.unmatched:
            cause = _cause(root, join, view, found[view.name])
            raise CheckFailed(
                f"view {view.name} has nothing for {share:.1%} of the label rows, and at most "
                f"{config.features.unmatched:.0%} may find nothing: {cause}",
                hint=f"features.unmatched in {layout.CONFIG} is the share that may",
            )


def _cause(root: Path, join: Join, view: FeatureView, found: Array) -> str:
    """Why so many rows found nothing, by the rows of the source."""
    import pandas as pd
    import pyarrow as pa

    if view.path is None or not (root / view.path).is_file():
        return "its source cannot be looked at"
    clock, _ = join.repository.clock(view.of)
    source = tables.to_pandas(feast.source_rows(root, view, [*view.keys, clock]))
    source[clock] = pd.to_datetime(source[clock], utc=True)
    asked = tables.to_pandas(pa.table({key: join.labels.column(column) for key, column in view.keys.items()}))
    asked = asked.assign(asked_at=pd.to_datetime(join.moments, utc=True))[~found]
    keys = list(view.keys)
    if not keys:
        return f"the first row of {view.path} is of {source[clock].min()}"
    merged = asked.merge(source.groupby(keys)[clock].agg(["min", "max"]).reset_index(), on=keys, how="left")
    unknown, before = merged["min"].isna().mean(), (merged["asked_at"] < merged["min"]).mean()
    if unknown > 0.5:
        example = tuple(asked[keys].iloc[0])
        there = tuple(source[keys].iloc[0])
        named = ", ".join(keys)
        return f"most of their {named} are not in {view.path}: asked is {example!r}, there is {there!r}"
    if before > 0.5:
        gap = (merged["min"] - merged["asked_at"]).median()
        return f"most are of before the first row of their {', '.join(keys)}, by {gap} (another time zone?)"
    if view.ttl_s and unknown + before < 0.5:
        return f"what is there is older than the view's TTL of {view.ttl_s:g} s"
    return f"{unknown:.0%} of them are not in {view.path}, {before:.0%} are of before their first row"


def check_before(join: Join) -> None:
    """No label has learned from a row of its very moment: that row is not in the online store when the request comes.

    Feast's join takes what was known at a time, that moment included. With `features.delay` it is asked about an
    earlier one, so there is nothing to find here.

    Raises:
        CheckFailed: without the rows of that moment a feature is another.
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


def _check_no_target(join: Join, target: str, task: str) -> None:
    """No feature is the target in other words: each of its values goes with one of the target's, and vice versa."""
    import pandas as pd

    truth = join.rows.column(target).to_pandas()
    for column, feature in join.features.columns.items():
        both = pd.DataFrame({"feature": join.rows.column(column).to_pandas(), "target": truth}).dropna()
        if len(both) < FEW or both["target"].nunique() < 2:
            continue
        pairs = len(both.drop_duplicates())
        if pairs == both["target"].nunique() == both["feature"].nunique():
            if task == "regression" and not (both["feature"] == both["target"]).all():
                continue  # two columns of numbers without a tie go with each other in any case
            raise CheckFailed(
                f"feature {feature} is the target {target!r} in other words: each of its values goes "
                "with one of the target's",
                hint="take it from features.use, or compute it from what was known before",
            )
