"""The conditions for a promotion and for a pull request: each records whether it is met, and the reason.

They are evaluated here, once; `describe` formats them for every output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from mlops_glue import files, metrics, paired
from mlops_glue.delivery import history
from mlops_glue.delivery.describe import missed
from mlops_glue.metrics import Metric
from mlops_glue.pages import bounds, number
from mlops_glue.pipeline.evaluation import higher_is_better

if TYPE_CHECKING:
    from mlops_glue.bootstrap import Ranking
    from mlops_glue.config import Config
    from mlops_glue.delivery.compare import Measured
    from mlops_glue.pipeline.evaluation import Evaluation, Limit, Score

CHANCE = 0.5  # the score of a random ranking
SHOWN = 3  # problems listed in a detail


class Condition(TypedDict):
    """A condition that was checked before a promotion."""

    name: str
    holds: bool | None  # None: not applied, for the reason in `detail`
    value: float | str | None  # the measured value
    limit: float | str | None  # the limit for the value
    detail: str  # a sentence; if the condition is not met, the reason for the refusal


def condition(
    name: str,
    holds: bool | None,
    detail: str = "",
    *,
    value: float | str | None = None,
    limit: float | str | None = None,
) -> Condition:
    """Build a condition. NaN becomes None, because JSON has no NaN."""
    value, limit = (None if number != number else number for number in (value, limit))
    return {"name": name, "holds": holds, "value": value, "limit": limit, "detail": detail}


def refusals(conditions: Iterable[Condition]) -> list[str]:
    """Return the reasons for refusing the candidate: a sentence for each condition that is not met."""
    return [checked["detail"] for checked in conditions if checked["holds"] is False]


def of_validation(folder: Path | None) -> Condition:
    """Check the number of failed expectations. Failed warnings are counted, but do not refuse the candidate."""
    results = sorted(folder.rglob("result.json")) if folder is not None else []
    every = [entry for path in results for entry in files.read_json(path)["results"]]
    if not every:
        return condition("validation", None, "no expectations recorded")
    failed = [entry["expectation_config"] for entry in every if not entry["success"]]
    critical = [entry for entry in failed if entry.get("severity", "critical") == "critical"]
    names = [f"{entry['type']} {entry['kwargs'].get('column', '')}".strip() for entry in critical or failed]
    detail = f"validation: {len(failed)} of {len(every)} expectations not met"
    detail += f", {'' if critical else 'all of them warnings, '}such as {names[0]}" if names else ""
    return condition("validation", not critical, detail, value=len(failed))


def of_thresholds(thresholds: Sequence[Limit]) -> list[Condition]:
    """Check each threshold."""
    if not thresholds:
        return [condition("thresholds", None, "evaluate.thresholds is not set")]
    return [
        condition(
            f"threshold {limit['metric']}",
            limit["met"],
            "".join(missed([limit])),
            value=limit["value"],
            limit=bounds(limit),
        )
        for limit in thresholds
    ]


def of_parity(parity: Mapping[str, Any]) -> Condition:
    """Check that the ONNX model predicts the same as the fitted estimator."""
    if parity["format"] != "onnx":
        return condition("parity", None, "the model is stored in skops format, so it is the fitted estimator itself")
    return condition("parity", bool(parity["faithful"]), "" if parity["faithful"] else f"parity: {parity['reason']}")


def of_bundle(*, signed: bool, registered: bool) -> list[Condition]:
    """Check that the version has a model signature, and that its bundle is unchanged since registration."""
    return [
        condition("signature", signed, "" if signed else "signature: the version has no model signature"),
        condition("bundle", registered, "" if registered else "bundle: its digest differs from the registered digest"),
    ]


def former(version: int, tags: Mapping[str, str], line: list[int], champion: int | None, alias: str) -> str | None:
    """Return why a run may not promote a former champion again: it was rolled back or replaced; None if it may."""
    again = f"to promote it again: glue promote {version}"
    if history.ROLLED_BACK in tags:
        return f"v{version} was rolled back at {tags[history.ROLLED_BACK]}; {again}"
    if alias == "champion" and champion is not None and version in line:
        return f"v{version} was champion before v{champion} replaced it; {again}"
    return None


def of_fresh(candidate: Ranking, champion: Ranking | None, version: int, *, by_person: bool) -> list[Condition]:
    """Check a retrained version by how both models rank the fresh held-out rows.

    If the labels are poisoned, the holdout is too, so its metrics favour a poisoned model. But a model of random labels
    cannot rank rows better than chance, and if labels are reversed, the champion ranks the rows in reverse. The concept
    may really have reversed: then a person promotes the version. Without a comparison, the champion is not checked.
    """
    low, value = _known(candidate["low"]), _known(candidate["value"])
    problem = "is undefined" if np.isnan(value) else f"scores {value:z.4f}, not clearly better than chance ({CHANCE})"
    problem = f"fresh rows: v{version}'s ranking of the {candidate['rows']:,} held-out rows {problem}"
    found = [condition("fresh rows", low > CHANCE, problem * (not low > CHANCE), value=value, limit=CHANCE)]
    if by_person or champion is None:
        why = "a person named the version" if by_person else "no comparison"
        return [*found, condition("labels not reversed", None, why)]
    is_reversed = _known(champion["high"]) < CHANCE
    problem = (
        "fresh rows: their labels seem to be reversed: the champion's ranking of them scores "
        f"{number(champion['value'])}, where chance is {CHANCE}; if the labels are correct: glue promote {version}"
    )
    value = _known(champion["value"])
    return [*found, condition("labels not reversed", not is_reversed, problem * is_reversed, value=value, limit=CHANCE)]


def _known(value: float | None) -> float:
    """Return NaN for None, which replaces it in JSON."""
    return float("nan") if value is None else value


def of_trivial(task: str, scores: Mapping[str, Score], rule: str) -> Condition:
    """Check that the first metric is at least as good as the metric of predicting the target's mean or class shares.

    The point estimates are compared. An equal value is not worse.
    """
    metric, score = next(iter(scores.items()))
    name, value, trivial = "trivial predictor", score["value"], score["trivial"]
    if value is None or trivial is None:
        problem = f"{metric} is undefined on this holdout, so it cannot be compared with the trivial predictor"
        return condition(name, None if rule == "accept" else False, problem)
    higher = higher_is_better(task, metric, score)
    if metrics.is_at_least(value, trivial, higher_is_better=higher):
        return condition(name, True, value=value, limit=trivial)
    ours, its = metrics.apart(value, trivial)
    problem = f"{metric} {ours} is worse than the trivial predictor's {its}"
    if rule == "accept":
        return condition(name, None, f"{problem}; accepted by promote.worse_than_trivial", value=value, limit=trivial)
    way = "(to accept it, set promote: {worse_than_trivial: accept})"
    return condition(name, False, f"{problem} {way}", value=value, limit=trivial)


def of_leaks(evaluation: Evaluation, rule: str) -> Condition:
    """Check that `evaluate` found no leaks."""
    leaks = evaluation.get("leaks")
    if leaks is None:
        return condition("leak", None, "the evaluation is from an older glue and has no leak check")
    if not leaks:
        return condition("leak", True, value=0)
    detail = few(leaks)
    if rule == "accept":
        return condition("leak", None, f"{detail}; to refuse it, set promote: {{leak: refuse}}", value=len(leaks))
    return condition(
        "leak", False, f"leak: {detail} (to accept it, set promote: {{leak: accept}})", value=len(leaks), limit=0
    )


def few(lines: Sequence[str]) -> str:
    """Join the first problems of a list, with the number of others."""
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return "; ".join(lines[:SHOWN]) + more


def of_comparison(name: str, compared: Measured, rule: str, other: str, than: str = "") -> Condition:
    """Check a candidate's gain over another model on the same rows.

    Args:
        name: the condition's name.
        compared: the comparison. The condition's value is the end of the gain's interval that the rule limits.
        rule: `not_worse` or `better`.
        other: the other model, in words.
        than: completes "the candidate is worse".
    """
    better = rule == "better"
    value, limit = compared["low" if better else "high"], 0.0 if better else -compared["slack"]
    if compared["finding"] == "better" or (compared["finding"] != "worse" and rule == "not_worse"):
        return condition(name, True, compared["finding"], value=value, limit=limit)
    problem = "no difference shown, but promote.rule requires a better model"
    if compared["finding"] == "worse":
        problem = f"the candidate is worse{than}"
    scores = f"{compared['metric']} {number(compared['candidate'])}, {other} {number(compared['champion'])}"
    return condition(name, False, f"{scores} on the same holdout: {problem}", value=value, limit=limit)


def of_slices(
    config: Config,
    task: str,
    metric: Metric,
    compared: Measured,
    values: Mapping[str, Any],
    mine: paired.Outcome,
    theirs: paired.Outcome,
) -> Condition:
    """Check that no slice is worse: that no interval, widened for the number of slices, is entirely below -slack."""
    if not values:
        return condition("slices", None, "these rows have none of the columns in evaluate.slices")
    seed, level, slack = config.train.seed, config.promote.confidence, compared["slack"]
    found = paired.by_slice(task, metric, values, mine, theirs, seed, level)
    if not found:
        enough = f"{paired.SLICE_ROWS}; with two classes, {paired.SLICE_CLASS_ROWS} of each"
        return condition("slices", None, f"no slice has enough rows ({enough})")
    worst = min(found, key=lambda part: part["high"])
    worse = sorted((part for part in found if part["high"] < -slack), key=lambda part: part["high"])
    lines = [
        f"{part['column']} = {part['value'] or 'null'} ({part['rows']:,} rows) by {number(-part['gain'])} "
        f"({number(part['low'], '+')} to {number(part['high'], '+')})"
        for part in worse
    ]
    detail = f"slices: {compared['metric']} is worse in {few(lines)}; " if worse else ""
    detail += f"intervals widened for {len(found)} slices (Bonferroni)"
    return condition("slices", not worse, detail, value=worst["high"], limit=-slack)
