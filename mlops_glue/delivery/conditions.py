"""Why a version may not be champion, by what is known of itself: each condition gives its reasons, none if it holds."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlops_glue import metrics
from mlops_glue.delivery import history
from mlops_glue.delivery.describe import missed

CHANCE = 0.5  # of the order of rows


def unsound(thresholds: list[dict[str, Any]], parity: dict[str, Any], *, signed: bool, registered: bool) -> list[str]:
    """Its thresholds, the parity of its ONNX model, its signature, and the digest of its bundle."""
    refused = missed(thresholds)
    if not parity["faithful"] and parity["format"] == "onnx":
        refused.append(f"parity: {parity['reason']}")
    if not signed:
        refused.append("signature: the version has none")
    if not registered:
        refused.append("bundle: its digest is not the one that was registered")
    return refused


def former(version: int, tags: dict[str, str], line: list[int], champion: int | None, alias: str) -> list[str]:
    """Why a run may not make a former champion champion again: somebody, or a better version, took its place."""
    if history.ROLLED_BACK in tags:
        return [f"v{version} was rolled back at {tags[history.ROLLED_BACK]}: glue promote {version} takes it anew"]
    if alias == "champion" and champion is not None and version in line:
        return [f"v{version} was champion before v{champion} took its place: glue promote {version} takes it anew"]
    return []


def on_fresh(candidate: dict[str, Any], champion: dict[str, Any] | None, version: int, *, by_person: bool) -> list[str]:
    """Why a version that a retraining made may not be champion, by the order in which models put the fresh rows.

    A holdout out of a poisoned feed likes a poisoned model. What it cannot like is a model of random labels; and where
    labels were turned round, the champion puts its rows in the reverse order. A concept may truly have turned round:
    then a person promotes the version.

    Args:
        candidate: what `bootstrap.ranking` says of it on the fresh rows that were held out.
        champion: the same; None where there is no comparison.
        version: the candidate.
        by_person: a person named the version.
    """
    refused = []
    if not _known(candidate["low"]) > CHANCE:
        value = _known(candidate["value"])
        problem = "is not defined" if np.isnan(value) else f"is {value:z.4f}, not surely better than chance, {CHANCE}"
        refused.append(f"fresh rows: the order in which v{version} puts the {candidate['rows']:,} held out {problem}")
    if not by_person and champion is not None and _known(champion["high"]) < CHANCE:
        refused.append(
            f"fresh rows: their labels turn round what was known: the champion puts them in an order of "
            f"{champion['value']:.4f}, by chance {CHANCE}; if the labels are right: glue promote {version}"
        )
    return refused


def _known(value: float | None) -> float:
    """NaN for null, which JSON has for it."""
    return float("nan") if value is None else value


def worse_than_trivial(task: str, scores: dict[str, dict[str, Any]]) -> list[str]:
    """A line where the first metric is worse than that of the target's mean or class shares, as measured.

    The point estimates decide: a model that is only as good by chance has nothing to show for itself. One that is equal
    but for a tie is not worse.
    """
    name, score = next(iter(scores.items()))
    value, trivial = score["value"], score["trivial"]
    if value is None or trivial is None:
        return [f"{name} is not defined on this holdout, so it cannot be held against the trivial predictor's"]
    higher = metrics.METRICS[task][name].higher_is_better
    if metrics.is_at_least(value, trivial, higher_is_better=higher):
        return []
    off = "promote: {worse_than_trivial: accept} takes it"
    return [f"{name} {value:z.4f} is worse than the trivial predictor's {trivial:z.4f} ({off})"]
