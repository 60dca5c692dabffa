"""What is asked of a candidate, and of a pull request: each condition is a value that says whether it holds, and why.

Decided once here, it is shown by `describe` wherever somebody asks.
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

CHANCE = 0.5  # of the order of rows
SHOWN = 3  # of many things that are wrong


class Condition(TypedDict):
    """One thing that was looked at before a promotion."""

    name: str
    holds: bool | None  # None: it decides nothing here, and the detail says why
    value: float | str | None  # what was found
    limit: float | str | None  # what it must meet
    detail: str  # a sentence; where it does not hold, the reason of the refusal


def condition(
    name: str,
    holds: bool | None,
    detail: str = "",
    *,
    value: float | str | None = None,
    limit: float | str | None = None,
) -> Condition:
    """A condition; a number that is not defined becomes None, as JSON has no other word for it."""
    value, limit = (None if one != one else one for one in (value, limit))
    return {"name": name, "holds": holds, "value": value, "limit": limit, "detail": detail}


def refusals(conditions: Iterable[Condition]) -> list[str]:
    """Why the candidate is refused: a sentence for each condition that does not hold."""
    return [one["detail"] for one in conditions if one["holds"] is False]


def of_validation(folder: Path | None) -> Condition:
    """How many expectations do not hold: those that are only warnings do not refuse, and are counted."""
    results = sorted(folder.rglob("result.json")) if folder is not None else []
    every = [entry for path in results for entry in files.read_json(path)["results"]]
    if not every:
        return condition("validation", None, "no expectation is recorded")
    failed = [entry["expectation_config"] for entry in every if not entry["success"]]
    critical = [entry for entry in failed if entry.get("severity", "critical") == "critical"]
    names = [f"{entry['type']} {entry['kwargs'].get('column', '')}".strip() for entry in critical or failed]
    detail = f"validation: {len(failed)} of {len(every)} expectations do not hold"
    detail += f", {'' if critical else 'all as warnings, '}such as {names[0]}" if names else ""
    return condition("validation", not critical, detail, value=len(failed))


def of_thresholds(thresholds: Sequence[Limit]) -> list[Condition]:
    """Each threshold."""
    if not thresholds:
        return [condition("thresholds", None, "evaluate.thresholds sets none")]
    return [
        condition(
            f"threshold {one['metric']}", one["met"], "".join(missed([one])), value=one["value"], limit=bounds(one)
        )
        for one in thresholds
    ]


def of_parity(parity: Mapping[str, Any]) -> Condition:
    """Does the ONNX model predict as the fitted estimator?"""
    if parity["format"] != "onnx":
        return condition("parity", None, "the model is kept in skops form, so it is the fitted estimator itself")
    return condition("parity", bool(parity["faithful"]), "" if parity["faithful"] else f"parity: {parity['reason']}")


def of_bundle(*, signed: bool, registered: bool) -> list[Condition]:
    """The version's signature, and the digest of its bundle."""
    return [
        condition("signature", signed, "" if signed else "signature: the version has none"),
        condition("bundle", registered, "" if registered else "bundle: its digest is not the one that was registered"),
    ]


def former(version: int, tags: Mapping[str, str], line: list[int], champion: int | None, alias: str) -> str | None:
    """Why a run may not make a former champion champion again: somebody, or a better version, took its place."""
    if history.ROLLED_BACK in tags:
        return f"v{version} was rolled back at {tags[history.ROLLED_BACK]}: glue promote {version} takes it anew"
    if alias == "champion" and champion is not None and version in line:
        return f"v{version} was champion before v{champion} took its place: glue promote {version} takes it anew"
    return None


def of_fresh(candidate: Ranking, champion: Ranking | None, version: int, *, by_person: bool) -> list[Condition]:
    """May a version that a retraining made be champion, by the order in which models put the fresh rows?

    A holdout from a poisoned feed likes a poisoned model. It cannot like a model of random labels; and where labels are
    reversed, the champion puts its rows in the reverse order. A concept may truly have reversed: then a person promotes
    the version. Without a comparison nothing is known of the champion.
    """
    low, value = _known(candidate["low"]), _known(candidate["value"])
    problem = "is not defined" if np.isnan(value) else f"is {value:z.4f}, not surely better than chance, {CHANCE}"
    problem = f"fresh rows: the order in which v{version} puts the {candidate['rows']:,} held out {problem}"
    found = [condition("fresh rows", low > CHANCE, problem * (not low > CHANCE), value=value, limit=CHANCE)]
    if by_person or champion is None:
        why = "a person names the version" if by_person else "nothing was compared"
        return [*found, condition("labels not turned round", None, why)]
    turned = _known(champion["high"]) < CHANCE
    problem = (
        "fresh rows: their labels turn round what was known: the champion puts them in an order of "
        f"{number(champion['value'])}, by chance {CHANCE}; if the labels are right: glue promote {version}"
    )
    value = _known(champion["value"])
    return [*found, condition("labels not turned round", not turned, problem * turned, value=value, limit=CHANCE)]


def _known(value: float | None) -> float:
    """NaN for null, which JSON has for it."""
    return float("nan") if value is None else value


def of_trivial(task: str, scores: Mapping[str, Score], rule: str) -> Condition:
    """Is the first metric as good as that of the target's mean or class shares, as measured?

    The point estimates decide: a model that is only as good by chance has nothing to show for itself. One that is equal
    but for a tie is not worse.
    """
    metric, score = next(iter(scores.items()))
    name, value, trivial = "trivial predictor", score["value"], score["trivial"]
    if value is None or trivial is None:
        problem = f"{metric} is not defined on this holdout, so it cannot be held against the trivial predictor's"
        return condition(name, None if rule == "accept" else False, problem)
    higher = higher_is_better(task, metric, score)
    if metrics.is_at_least(value, trivial, higher_is_better=higher):
        return condition(name, True, value=value, limit=trivial)
    problem = f"{metric} {value:z.4f} is worse than the trivial predictor's {trivial:z.4f}"
    if rule == "accept":
        return condition(name, None, f"{problem}, which promote.worse_than_trivial accepts", value=value, limit=trivial)
    off = "(promote: {worse_than_trivial: accept} takes it)"
    return condition(name, False, f"{problem} {off}", value=value, limit=trivial)


def of_leaks(evaluation: Evaluation, rule: str) -> Condition:
    """Does the holdout know more than it should, as far as `evaluate` can see?"""
    leaks = evaluation.get("leaks")
    if leaks is None:
        return condition("leak", None, "the evaluation is of a former glue, and does not say")
    if not leaks:
        return condition("leak", True, value=0)
    detail = few(leaks)
    if rule == "accept":
        return condition("leak", None, f"{detail}; promote: {{leak: refuse}} refuses it", value=len(leaks))
    return condition("leak", False, f"leak: {detail} (promote: {{leak: accept}} takes it)", value=len(leaks), limit=0)


def few(lines: Sequence[str]) -> str:
    """The first of many things that are wrong, and how many more there are."""
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return "; ".join(lines[:SHOWN]) + more


def beside(name: str, compared: Measured, rule: str, other: str, than: str = "") -> Condition:
    """Do the rows that both were held against speak against the candidate, by rule not_worse or better?

    The value is the end of the gain's interval that the rule asks for.
    """
    better = rule == "better"
    value, limit = compared["low" if better else "high"], 0.0 if better else -compared["slack"]
    if compared["finding"] == "better" or (compared["finding"] != "worse" and rule == "not_worse"):
        return condition(name, True, compared["finding"], value=value, limit=limit)
    problem = "no difference is shown, and promote.rule asks for a better one"
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
    """Does no slice fall: is there none whose interval, widened for the number of slices, lies wholly below -slack?"""
    if not values:
        return condition("slices", None, "evaluate.slices names no column that these rows have")
    seed, level, slack = config.train.seed, config.promote.confidence, compared["slack"]
    found = paired.by_slice(task, metric, values, mine, theirs, seed, level)
    if not found:
        enough = f"{paired.SLICE_ROWS}, and of two classes {paired.SLICE_CLASS_ROWS} of each"
        return condition("slices", None, f"no slice has enough rows ({enough})")
    worst = min(found, key=lambda one: one["high"])
    fell = sorted((one for one in found if one["high"] < -slack), key=lambda one: one["high"])
    lines = [
        f"{one['column']} = {one['value'] or 'null'} ({one['rows']:,} rows) by {number(-one['gain'])} "
        f"({number(one['low'], '+')} to {number(one['high'], '+')})"
        for one in fell
    ]
    detail = f"slices: {compared['metric']} falls in {few(lines)}; " if fell else ""
    detail += f"intervals widened for {len(found)} slices (Bonferroni)"
    return condition("slices", not fell, detail, value=worst["high"], limit=-slack)
