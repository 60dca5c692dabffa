"""Texts about a version: its description in MLflow, the decisions on it, and its comparison with the champion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlops_glue import files, metrics
from mlops_glue.pages import bounds, number
from mlops_glue.pipeline.evaluation import scale_in_words, trained_on

if TYPE_CHECKING:
    from mlops_glue.delivery.compare import Comparison, Measured
    from mlops_glue.delivery.condition import Condition
    from mlops_glue.delivery.history import Decision, Verdict
    from mlops_glue.pipeline.evaluation import Evaluation, Fresh, Limit, Score

LONGEST = 1000  # characters of a decision; a description has at most 5,000
LONGEST_STATED = 200  # characters of a field of the card


def described(
    named: str, report: Evaluation, tables: Mapping[str, str], commit: str, stated: Mapping[str, str | None]
) -> str:
    """Return a short model card as Markdown for MLflow, which accepts 5,000 characters.

    Args:
        named: the model and version.
        report: the version's evaluation.
        tables: the MD5 of each training table.
        commit: the git commit, in words.
        stated: the fields that people fill in under `card` in `glue.yaml`.
    """
    limits = {threshold["metric"]: threshold for threshold in report["thresholds"]}
    cells = [score_cells(name, score, limits.get(name)) for name, score in report["metrics"].items()]
    data = ", ".join(f"{name} `{md5[:12]}`" for name, md5 in tables.items())
    return "\n".join(
        [
            headline(report),
            "",
            f"{named} predicts `{report['target']}` ({report['task']}) with {report['model']}.",
            "",
            *([f"The model is {scale_in_words(report['scale'])}.", ""] if "scale" in report else []),
            f"| holdout, {report['rows']:,} rows | value | 95 % interval | trivial | threshold |",
            "|---|---|---|---|---|",
            *(f"| {' | '.join(row)} |" for row in cells),
            "",
            *(f"* {key.replace('_', ' ').capitalize()}: {_line(text)}" for key, text in stated.items() if text),
            *[""] * any(stated.values()),
            f"Complete card: `glue card {named.rpartition(' v')[2]}`.",
            "",
            f"Trained on {trained_on(report)} of {data}; {commit}.",
        ]
    )


def _line(text: str) -> str:
    """Shorten a field of the card to one line."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_STATED else f"{line[: LONGEST_STATED - 1]}…"


def headline(report: Evaluation) -> str:
    """Return the first metric and whether the thresholds are met, short enough for a list of versions."""
    name, score = next(iter(report["metrics"].items()))
    missed = [threshold["metric"] for threshold in report["thresholds"] if not threshold["met"]]
    met = "all thresholds met" if report["thresholds"] else "no thresholds set"
    summary = f"thresholds missed: {', '.join(missed)}" if missed else met
    return f"{name} {number(score['value'])}, trivial predictor {number(score['trivial'])}; {summary}."


def score_cells(name: str, score: Score, limit: Limit | None) -> list[str]:
    """Return a metric as table cells: name, value, interval, the trivial predictor's value, and threshold."""
    value, low, high, trivial = map(number, (score["value"], score["low"], score["high"], score["trivial"]))
    mark = "" if limit is None else f"{bounds(limit)} {'met' if limit['met'] else '**missed**'}"
    return [name, value, f"{low} to {high}", trivial, mark]


def missed(thresholds: Iterable[Limit]) -> list[str]:
    """Return a sentence for each threshold that the model does not meet."""
    return [
        f"{threshold['metric']} is undefined on this holdout, so threshold {bounds(threshold)} is not met"
        if threshold["value"] is None
        else f"{threshold['metric']} {_off(threshold)} misses threshold {bounds(threshold)}"
        for threshold in thresholds
        if not threshold["met"]
    ]


def _off(threshold: Limit) -> str:
    """Format the value of a missed threshold; a value that would look like the limit gets more decimals."""
    value, shown = threshold["value"], number(threshold["value"])
    near = [end for end in (threshold["min"], threshold["max"]) if end is not None and number(end) == shown]
    return metrics.apart(value, near[0])[0] if near else shown


def warnings(evaluation: Evaluation | None, *, published: bool) -> list[str]:
    """Return the evaluation's warnings; if no version is published, also the thresholds that are not met."""
    if evaluation is None:
        return []
    refused = (
        [] if published else [f"{line}: a promotion would be refused" for line in missed(evaluation["thresholds"])]
    )
    return [*evaluation["warnings"], *refused]


def parameters(model: Any) -> dict[str, Any]:
    """Return a fitted model's parameters by scikit-learn's names, without nested estimators.

    If glue added preprocessing to the estimator, the estimator's parameters keep their own names.
    """
    from mlops_glue.pipeline import log_target

    found: dict[str, Any] = {}
    if (inner := log_target.inside(model)) is not None:
        return {"target": "log1p", **parameters(inner)}
    if hasattr(model, "steps") and [name for name, _ in model.steps] == ["prepare", "estimator"]:
        found = {f"prepare__{name}": value for name, value in parameters(model.steps[0][1]).items()}
        model = model.steps[-1][1]
    own = model.get_params(deep=True) if hasattr(model, "get_params") else {}
    return found | {name: value for name, value in own.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    of_numpy = hasattr(value, "dtype") and not hasattr(value, "get_params")
    return value is None or of_numpy or isinstance(value, str | int | float)


def decided(verdict: Decision) -> str:
    """Return a line for a decision."""
    when = datetime.fromisoformat(verdict["time"]).strftime("%Y-%m-%d %H:%M UTC")
    if "forced" in verdict:
        decision = f"**{verdict['alias']}**, forced ({verdict['forced']}) over: {'; '.join(verdict['refused'])}"
    elif verdict["refused"]:
        decision = f"**not {verdict['alias']}**: {'; '.join(verdict['refused'])}"
    else:
        against = f": {compared(verdict['compared'])}" if verdict["compared"] else ""
        decision = f"**{verdict['alias']}**{against}"
    return files.one_line(f"* {when}, glue {verdict['by']}: {decision}")[:LONGEST]


def fresh_rows(fresh: Fresh) -> str:
    """Describe how a retraining used its fresh rows."""
    counts = f"fresh rows: {fresh['rows']:,}, {fresh['trained']:,} for training and {fresh['held_out']:,} held out"
    if not fresh["older_left_out"]:
        return counts
    why = "because they made predictions for fresh rows worse"
    return f"{counts}; {fresh['older_left_out']:,} older rows were excluded, {why}"


def decision(made: Mapping[str, Any]) -> str:
    """Describe the rule for the predicted labels in an evaluation."""
    if made["threshold"] is None:
        return "labels with the lowest expected cost"
    how = "as configured" if made["rows"] is None else f"chosen by {made['by']} on {made['rows']:,} training rows"
    return f"decision threshold {made['threshold']:.4g}, {how}"


def stays(champion: int | None) -> str:
    """Describe the champion after a refusal."""
    return f"v{champion} stays champion" if champion else "there is no champion"


def verdict(model: str, decision: Verdict, same_as: int | None = None) -> list[str]:
    """Describe the outcome for a candidate, in lines. `same_as`: the former champion, if it is the same model."""
    version, refused, comparison = decision.version, decision.refused, decision.comparison
    lines = [] if comparison is None else [compared(comparison)]
    lines += [f"{model} v{version} refused: {reason}" for reason in refused]
    if same_as is not None:
        lines.append(f"v{version} is the same model as v{same_as}: the change had no effect on it")
    if refused:
        return [*lines, stays(decision.champion)]
    if decision.champion != version:
        return [*lines, f"{model} v{version} is challenger"]
    before = f", replacing v{decision.previous}" if decision.previous not in (None, version) else ""
    return [*lines, f"{model} v{version} is champion{before}"]


def compared(with_champion: Comparison) -> str:
    """Describe the comparison of a candidate with the champion, in a line."""
    champion, seen = with_champion["version"], with_champion["seen"]
    left_out = f"; {seen:,} rows that v{champion} was trained on are excluded" if seen else ""
    return f"{shown(with_champion, f'champion v{champion}')}{left_out}"


def shown(found: Measured, other: str) -> str:
    """Describe the comparison of a candidate with another model, and the smallest loss that the rows can detect."""
    scores = f"{found['metric']} {found['candidate']:z.4f}, {other} {found['champion']:z.4f} on the same holdout"
    if found["low"] == found["high"] == 0:
        return f"{scores}: {found['finding']}; both models predict the same on these {found['rows']:,} rows"
    text = (
        f"{scores}: {found['finding']}; the gain is {found['low']:+z.4f} to {found['high']:+z.4f} at "
        f"{found['confidence']:.0%} confidence ({found['method']}); these {found['rows']:,} rows can detect a loss of "
        f"{found['noticeable']:.4f}"
    )
    return f"{text}: too few rows to detect a smaller loss" if found.get("too_small") else text


HOLDS = {True: "yes", False: "NO", None: "–"}


def condition_cells(conditions: Iterable[Condition]) -> list[list[str]]:
    """Return table cells for each condition: name, whether it is met, value, limit, detail."""
    return [
        [
            checked["name"],
            HOLDS[checked["holds"]],
            _figure(checked["value"]),
            _figure(checked["limit"]),
            checked["detail"],
        ]
        for checked in conditions
    ]


def conditions(found: Iterable[Condition]) -> str:
    """List the names of all conditions in a line, by whether they are met."""
    names: dict[bool | None, list[str]] = {}
    for checked in found:
        names.setdefault(checked["holds"], []).append(checked["name"])
    words = {True: "met", False: "NOT met", None: "not applied"}
    return "; ".join(f"{word}: {', '.join(names[holds])}" for holds, word in words.items() if holds in names)


def _figure(value: float | str | None) -> str:
    return "" if value is None else number(value) if isinstance(value, float) else str(value)
