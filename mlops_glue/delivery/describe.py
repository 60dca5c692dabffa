"""What MLflow's page says of a version: how good it is and of what, and below it a line for each decision on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlops_glue import files
from mlops_glue.pages import bounds, number
from mlops_glue.pipeline.evaluation import scale_in_words, trained_on

if TYPE_CHECKING:
    from mlops_glue.delivery.compare import Comparison, Measured
    from mlops_glue.delivery.condition import Condition
    from mlops_glue.delivery.history import Decision, Verdict
    from mlops_glue.pipeline.evaluation import Evaluation, Fresh, Limit, Score

LONGEST = 1000  # characters of a decision; a description has at most 5,000
LONGEST_STATED = 200  # characters of what people state


def described(
    named: str, report: Evaluation, tables: Mapping[str, str], commit: str, stated: Mapping[str, str | None]
) -> str:
    """A version's card in short, as Markdown, as it was when it was published: MLflow takes 5,000 characters.

    `tables` has the MD5 of each table behind it, `stated` what people state in `card` of `glue.yaml`.
    """
    limits = {threshold["metric"]: threshold for threshold in report["thresholds"]}
    cells = [score_cells(name, score, limits.get(name)) for name, score in report["metrics"].items()]
    data = ", ".join(f"{name} `{md5[:12]}`" for name, md5 in tables.items())
    return "\n".join(
        [
            headline(report),
            "",
            f"{named} predicts `{report['target']}` ({report['task']}) by {report['model']}.",
            "",
            *([f"The model is {scale_in_words(report['scale'])}.", ""] if "scale" in report else []),
            f"| holdout, {report['rows']:,} rows | value | 95 % interval | trivial | threshold |",
            "|---|---|---|---|---|",
            *(f"| {' | '.join(row)} |" for row in cells),
            "",
            *(f"* {key.replace('_', ' ').capitalize()}: {_line(text)}" for key, text in stated.items() if text),
            *[""] * any(stated.values()),
            f"The whole card: `glue card {named.rpartition(' v')[2]}`.",
            "",
            f"Trained on {trained_on(report)} of {data}; {commit}.",
        ]
    )


def _line(text: str) -> str:
    """A text of people's in one line, of which the whole stands in the card."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_STATED else f"{line[: LONGEST_STATED - 1]}…"


def headline(report: Evaluation) -> str:
    """The first metric, and what became of the thresholds: all that a list of versions has room for."""
    name, score = next(iter(report["metrics"].items()))
    missed = [threshold["metric"] for threshold in report["thresholds"] if not threshold["met"]]
    met = "all thresholds met" if report["thresholds"] else "no thresholds set"
    summary = f"thresholds missed: {', '.join(missed)}" if missed else met
    return f"{name} {number(score['value'])}, by a trivial predictor {number(score['trivial'])}; {summary}."


def score_cells(name: str, score: Score, limit: Limit | None) -> list[str]:
    """A metric for a table: name, value, interval, the trivial predictor's, and its threshold."""
    value, low, high, trivial = map(number, (score["value"], score["low"], score["high"], score["trivial"]))
    mark = "" if limit is None else f"{bounds(limit)} {'met' if limit['met'] else '**missed**'}"
    return [name, value, f"{low} to {high}", trivial, mark]


def missed(thresholds: Iterable[Limit]) -> list[str]:
    """A sentence for each threshold that the model does not meet."""
    return [
        f"{threshold['metric']} is not defined on this holdout, so threshold {bounds(threshold)} is not met"
        if threshold["value"] is None
        else f"{threshold['metric']} {number(threshold['value'])} misses threshold {bounds(threshold)}"
        for threshold in thresholds
        if not threshold["met"]
    ]


def warnings(evaluation: Evaluation | None, *, published: bool) -> list[str]:
    """What the metrics may owe their goodness to; where nothing is published, also what a promotion would refuse."""
    if evaluation is None:
        return []
    refused = [] if published else [f"{line}: it would be refused" for line in missed(evaluation["thresholds"])]
    return [*evaluation["warnings"], *refused]


def parameters(model: Any) -> dict[str, Any]:
    """Every parameter of a fitted model that is no estimator itself, by scikit-learn's names.

    Those of the estimator that glue put preprocessing in front of are named as it names them.
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
    """A line for a decision."""
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
    """What a retraining made of its fresh rows."""
    counts = f"fresh rows: {fresh['rows']:,}, trained on: {fresh['trained']:,}, held out: {fresh['held_out']:,}"
    if not fresh["older_left_out"]:
        return counts
    return f"{counts}; {fresh['older_left_out']:,} older rows are left out, with which fresh ones are predicted worse"


def decision(made: Mapping[str, Any]) -> str:
    """What the labels of an evaluation were decided by."""
    if made["threshold"] is None:
        return "labels by the least expected cost"
    how = "as given" if made["rows"] is None else f"chosen by {made['by']} on {made['rows']:,} training rows"
    return f"decision threshold {made['threshold']:.4g}, {how}"


def stays(champion: int | None) -> str:
    """Who is champion after a refusal."""
    return f"v{champion} stays champion" if champion else "there is no champion"


def verdict(model: str, decision: Verdict, same_as: int | None = None) -> list[str]:
    """What became of a candidate, a line each; `same_as` is the champion before, where that is the same model."""
    version, refused, comparison = decision.version, decision.refused, decision.comparison
    lines = [] if comparison is None else [compared(comparison)]
    lines += [f"{model} v{version} refused: {reason}" for reason in refused]
    if same_as is not None:
        lines.append(f"v{version} is the same model as v{same_as}: what changed made no difference to it")
    if refused:
        return [*lines, stays(decision.champion)]
    if decision.champion != version:
        return [*lines, f"{model} v{version} is challenger"]
    before = f", before it v{decision.previous}" if decision.previous not in (None, version) else ""
    return [*lines, f"{model} v{version} is champion{before}"]


def compared(with_champion: Comparison) -> str:
    """A candidate beside the champion, in a line."""
    champion, seen = with_champion["version"], with_champion["seen"]
    left_out = f"; {seen:,} rows that v{champion} was trained on are left out" if seen else ""
    return f"{shown(with_champion, f'champion v{champion}')}{left_out}"


def shown(found: Measured, other: str) -> str:
    """What the rows show of a candidate and another model, and what they could show."""
    scores = f"{found['metric']} {found['candidate']:z.4f}, {other} on the same holdout {found['champion']:z.4f}"
    if found["low"] == found["high"] == 0:
        return f"{scores}: {found['finding']}; both predict alike on these {found['rows']:,} rows"
    text = (
        f"{scores}: {found['finding']}; the gain is {found['low']:+z.4f} to {found['high']:+z.4f} at "
        f"{found['confidence']:.0%} confidence ({found['method']}); these {found['rows']:,} rows would show a loss of "
        f"{found['noticeable']:.4f}"
    )
    return f"{text}: too few, as a smaller loss goes unseen" if found.get("too_small") else text


HOLDS = {True: "yes", False: "NO", None: "–"}


def condition_cells(conditions: Iterable[Condition]) -> list[list[str]]:
    """A row for a table for each condition: its name, whether it holds, value, limit, detail."""
    return [
        [one["name"], HOLDS[one["holds"]], _figure(one["value"]), _figure(one["limit"]), one["detail"]]
        for one in conditions
    ]


def conditions(found: Iterable[Condition]) -> str:
    """All conditions in a line, by name."""
    names: dict[bool | None, list[str]] = {}
    for one in found:
        names.setdefault(one["holds"], []).append(one["name"])
    words = {True: "hold", False: "do NOT hold", None: "decide nothing"}
    return "; ".join(f"{word}: {', '.join(names[holds])}" for holds, word in words.items() if holds in names)


def _figure(value: float | str | None) -> str:
    return "" if value is None else number(value) if isinstance(value, float) else str(value)
