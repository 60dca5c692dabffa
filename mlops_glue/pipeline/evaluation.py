"""`evaluation.json`: what `evaluate` has measured, as every reader of it takes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

from mlops_glue import files, metrics

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from mlops_glue.bootstrap import Ranking
    from mlops_glue.config import Config
    from mlops_glue.schema import Decision

FILE = "evaluation.json"  # in the folder of the report, and among the artifacts of a version's run


class Score(TypedDict):
    """A metric with its 95 % interval, and that of the trivial predictor; None in the file for what is not defined."""

    value: float
    low: float
    high: float
    trivial: float
    definition: NotRequired[str]  # of one that its name alone does not say, as `measures.definition` gives it
    higher_is_better: NotRequired[bool]  # of the same
    whole: NotRequired[bool]  # its interval is of samples of all rows, however many there are


class Limit(TypedDict):
    """A threshold, and whether it is met."""

    metric: str
    value: float
    min: float | None
    max: float | None
    met: bool


class Slice(TypedDict):
    """The metrics of the rows with one value of a column."""

    column: NotRequired[str]
    value: str | None
    rows: int
    metrics: dict[str, float]
    values: int  # how many the column has
    low: NotRequired[float]  # of the first metric the 95 % interval; a former glue's has none
    high: NotRequired[float]


class Importance(TypedDict):
    """How much of a metric is lost where a column is shuffled."""

    column: str
    metric: str
    mean: float
    std: float
    rows: int


class Contributions(TypedDict):
    """How far each column moves the answer; see `explanation`."""

    columns: dict[str, float]  # mean of |contribution|, the greatest first
    rows: int  # of the holdout
    gap: float  # how far base and contributions miss the answer, at most
    holds: bool  # that is no more than rounding makes


class Fresh(TypedDict):
    """What became of the rows that a retraining added, and of the older ones."""

    rows: int
    trained: int
    held_out: int
    older_left_out: int
    after: list[int | str]
    losses: dict[str, float]
    order: Ranking


class Compared(TypedDict):
    """What folds of the training rows show of both scales."""

    metric: str
    folds: int
    log: float
    as_is: float
    gain: float  # of the logarithm; above 0 is better whichever way the metric runs
    low: float
    high: float
    level: float
    log_sum: float  # the sum of the predictions over that of the truth
    as_is_sum: float


class Scale(TypedDict):
    """The scale that was taken, and why."""

    target: str
    asked: str
    taken: str  # log or as_is
    why: NotRequired[str]  # where the rows leave no choice
    compared: NotRequired[Compared]
    holdout_sum: NotRequired[float]  # of the holdout, the sum of the predictions over that of the truth


class Evaluation(TypedDict):
    """A model on its holdout."""

    project: str
    target: str
    task: str
    estimator: str
    model: str
    split: str
    train_rows: int
    sampled_of: NotRequired[int]  # how many training rows there were, of which train.rows is a sample
    rows: int
    metrics: dict[str, Score]
    intervals: dict[str, int]
    thresholds: list[Limit]
    slices: list[Slice]
    importances: list[Importance] | None  # the greatest first; None: there are too many columns
    contributions: NotRequired[Contributions | None]  # None: there are too many columns; a former glue's has none
    leaks: NotRequired[list[str]]  # which of the warnings say that the holdout knows too much; a former glue's has none
    warnings: list[str]
    fresh: NotRequired[Fresh]
    scale: NotRequired[Scale]  # of the target, where `train.target` asks for one
    decision: NotRequired[dict[str, Any]]  # a `schema.Decision`; without one the model's own


def read(folder: Path) -> Evaluation:
    """The evaluation in a folder."""
    return cast(Evaluation, files.read_json(folder / FILE))


def higher_is_better(task: str, name: str, score: Mapping[str, Any]) -> bool:
    """Which way a metric of an evaluation is better, as the evaluation says it or as its name does."""
    if "higher_is_better" in score:
        return bool(score["higher_is_better"])
    found = metrics.find(task, name)
    return found is None or found.higher_is_better


def decision_of(evaluation: Evaluation) -> Decision | None:
    """What the labels that were measured were decided by."""
    from mlops_glue.schema import Decision

    return Decision(**evaluation["decision"]) if "decision" in evaluation else None


def write(folder: Path, evaluation: Evaluation) -> None:
    """Write an evaluation into a folder."""
    files.write_json(folder / FILE, evaluation)


def slice_values(config: Config, rows: pa.Table) -> dict[str, np.ndarray[Any, Any]]:
    """The texts of each slice column that these raw rows have, each of shape (rows,); empty for null."""
    from mlops_glue.parsing import column_as_text

    columns = [name for name in dict.fromkeys(config.evaluate.slices) if name in rows.column_names]
    return {name: column_as_text(rows.column(name), name).fill_null("").to_numpy() for name in columns}


def trained_on(report: Mapping[str, Any]) -> str:
    """How many rows the model was trained on, and of how many they are a sample."""
    rows, of = report["train_rows"], report.get("sampled_of")
    return f"{rows:,} rows" if of in (None, rows) else f"{rows:,} rows, a sample of {of:,} (train.rows)"


def scale_in_words(scale: Mapping[str, Any]) -> str:
    """The scale of the target and why it was taken, in a sentence."""
    log, plain, found = f"log1p({scale['target']})", f"{scale['target']} as it is", scale.get("compared")
    is_log = scale["taken"] == "log"
    taken, other = (log, plain) if is_log else (plain, log)
    text, sums = f"fitted on {taken}", ""
    if found is None:
        text += f": {scale['why']}" if "why" in scale else ", as train.target asks"
    else:
        mine, theirs = (found["log"], found["as_is"]) if is_log else (found["as_is"], found["log"])
        text += (
            f": in {found['folds']} folds of the training rows {found['metric']} is {_figure(mine)}, and "
            f"{_figure(theirs)} on {other} (the logarithm gains {_figure(found['gain'])}, "
            f"{found['level']:.0%} interval {_figure(found['low'])} to {_figure(found['high'])})"
        )
        own, others = (found[key] for key in (("log_sum", "as_is_sum") if is_log else ("as_is_sum", "log_sum")))
        sums = f"{_share(own)} of the truth there ({_share(others)} on {other})"
    if "holdout_sum" in scale:
        sums += f"{', and to ' if sums else ''}{_share(scale['holdout_sum'])}{'' if sums else ' of the truth'}"
        sums += " on the holdout"
    return f"{text}; its predictions add up to {sums}" if sums else text


def _figure(value: float | None) -> str:
    return "n/a" if value is None or value != value else f"{value:.5g}"


def _share(value: float | None) -> str:
    return "n/a" if value is None or value != value else f"{value:.1%}"
