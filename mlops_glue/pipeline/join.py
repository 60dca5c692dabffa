"""What may be wrong with features that were joined to labels: nothing found, or the target found in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import feature_skew, layout, tables
from mlops_glue import features as feast
from mlops_glue.adapters.feast.repository import Repository
from mlops_glue.config import Config
from mlops_glue.errors import CheckFailed
from mlops_glue.records import FeatureList, FeatureView

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

FEW = 30  # rows, from which on a feature that tells the target without a mistake is no chance
JUST_BEFORE_S = 1e-6  # the finest difference of two times


def check_found(
    config: Config,
    root: Path,
    repository: Repository,
    features: FeatureList,
    table: pa.Table,
    moments: Array,
    found: dict[str, Array],
) -> None:
    """No view may find nothing for more than `features.unmatched` of the label rows.

    Raises:
        CheckFailed: one does; the likely cause is named.
    """
    for view in features.views:
        if view.name not in found:
            continue
        share = 1 - float(found[view.name].mean())
        if share > config.features.unmatched:
            cause = _cause(root, repository, view, table, moments, found[view.name])
            raise CheckFailed(
                f"view {view.name} has nothing for {share:.1%} of the label rows, and at most "
                f"{config.features.unmatched:.0%} may find nothing: {cause}",
                hint=f"features.unmatched in {layout.CONFIG} is the share that may",
            )


def _cause(root: Path, repository: Repository, view: FeatureView, table: pa.Table, moments: Array, found: Array) -> str:
    """Why so many rows found nothing, by the rows of the source."""
    import pandas as pd
    import pyarrow as pa

    if view.path is None or not (root / view.path).is_file():
        return "its source cannot be looked at"
    clock, _ = repository.clock(view.of)
    source = tables.to_pandas(feast.source_rows(root, view, [*view.keys, clock]))
    source[clock] = pd.to_datetime(source[clock], utc=True)
    asked = tables.to_pandas(pa.table({key: table.column(column) for key, column in view.keys.items()}))
    asked = asked.assign(asked_at=pd.to_datetime(moments, utc=True))[~found]
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


def check_before(
    repository: Repository,
    features: FeatureList,
    table: pa.Table,
    moments: Array,
    joined: pa.Table,
    at_once: Array,
) -> None:
    """No label has learned from a row of its very moment: that row is not in the online store when the request comes.

    Feast's join takes what was known at a time, that moment included. With `features.delay` it is asked about an
    earlier one, so there is nothing to find here.

    Args:
        repository: the definitions.
        features: which features.
        table: the labels' table.
        moments: when each row is asked about.
        joined: the table with its features.
        at_once: the rows that may have found something of their very moment.

    Raises:
        CheckFailed: without the rows of that moment a feature is another.
    """
    import numpy as np

    at = np.flatnonzero(at_once)
    if features.delay_s or not len(at):
        return
    earlier = replace(features, delay_s=JUST_BEFORE_S)
    before, _ = feast.joined(repository, earlier, table.take(at), moments[at])
    kinds = feast.kinds(features)
    for column, ref in features.columns.items():
        trained, served = joined.column(column).take(at), before.column(column)
        wrong = feature_skew.differing_rows(trained, served, kinds[column])
        if len(wrong):
            first = wrong[0]
            key = {name: table.column(name)[at[first]].as_py() for name in features.keys}
            difference = feature_skew.describe(
                features, ref, key, moments[at[first]], trained[first].as_py(), served[first].as_py()
            )
            raise CheckFailed(
                f"{difference} just before ({len(wrong):,} of {len(moments):,} label rows): "
                f"{feature_skew.NOT_YET_KNOWN}",
                hint=feature_skew.DELAY_HINT,
            )


def check_no_target(table: pa.Table, features: FeatureList, target: str, task: str) -> None:
    """No feature is the target in other words.

    Raises:
        CheckFailed: each value of a feature goes with one value of the target, and the other way round.
    """
    import pandas as pd

    truth = table.column(target).to_pandas()
    for column in features.columns:
        both = pd.DataFrame({"feature": table.column(column).to_pandas(), "target": truth}).dropna()
        if len(both) < FEW or both["target"].nunique() < 2:
            continue
        pairs = len(both.drop_duplicates())
        if pairs == both["target"].nunique() == both["feature"].nunique():
            if task == "regression" and not (both["feature"] == both["target"]).all():
                continue  # two columns of numbers without a tie go with each other in any case
            raise CheckFailed(
                f"feature {features.columns[column]} is the target {target!r} in other words: each of its values goes "
                "with one of the target's",
                hint="take it from features.use, or compute it from what was known before",
            )
