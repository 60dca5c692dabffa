"""The format of `evaluation.json`, the result of stage evaluate, for all its readers."""

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

FILE = "evaluation.json"  # in the report's folder, and an artifact of a version's run


class Score(TypedDict):
    """A metric with its 95 % interval, and the trivial predictor's value; undefined values are null in the file."""

    value: float
    low: float
    high: float
    trivial: float
    definition: NotRequired[str]  # from `measures.definition`, if the name alone does not define the metric
    higher_is_better: NotRequired[bool]  # for such a metric
    whole: NotRequired[bool]  # its interval comes from samples of all rows, however many there are


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
    values: int  # number of values of the column
    low: NotRequired[float]  # the 95 % interval of the first metric; files of older versions of glue have none
    high: NotRequired[float]


class Importance(TypedDict):
    """How much a metric worsens if a column is shuffled."""

    column: str
    metric: str
    mean: float
    std: float
    rows: int


class Contributions(TypedDict):
    """How far each column moves the prediction; see `explanation`."""

    columns: dict[str, float]  # mean of |contribution|, the largest first
    rows: int  # of the holdout
    gap: float  # largest difference between the prediction and base plus contributions
    holds: bool  # whether the gap is no more than a rounding error


class Fresh(TypedDict):
    """How a retraining used the rows that it added, and the older rows."""

    rows: int
    trained: int
    held_out: int
    older_left_out: int
    after: list[int | str]
    losses: dict[str, float]
    order: Ranking


class Compared(TypedDict):
    """The cross-validation of both scales on the training rows."""

    metric: str
    folds: int
    log: float
    as_is: float
    gain: float  # of the logarithm; above 0 is better for every metric
    low: float
    high: float
    level: float
    log_sum: float  # the sum of the predictions divided by the sum of the truth
    as_is_sum: float


class Scale(TypedDict):
    """The scale of the target, and the reason for it."""

    target: str
    asked: str
    taken: str  # log or as_is
    why: NotRequired[str]  # if the rows leave no choice
    compared: NotRequired[Compared]
    holdout_sum: NotRequired[float]  # on the holdout, the sum of the predictions divided by the sum of the truth


class Evaluation(TypedDict):
    """The evaluation of a model on its holdout."""

    project: str
    target: str
    task: str
    estimator: str
    model: str
    split: str
    train_rows: int
    sampled_of: NotRequired[int]  # number of training rows from which train.rows was sampled
    rows: int
    metrics: dict[str, Score]
    intervals: dict[str, int]
    thresholds: list[Limit]
    slices: list[Slice]
    importances: list[Importance] | None  # the largest first; None: there are too many columns
    contributions: NotRequired[Contributions | None]  # None: too many columns; absent in files of older versions
    leaks: NotRequired[list[str]]  # the warnings about leakage; absent in files of older versions
    warnings: list[str]
    fresh: NotRequired[Fresh]
    scale: NotRequired[Scale]  # of the target, if `train.target` requests one
    decision: NotRequired[dict[str, Any]]  # a `schema.Decision`; without it the model decides


def read(folder: Path) -> Evaluation:
    """Return the evaluation in a folder."""
    return cast(Evaluation, files.read_json(folder / FILE))


def higher_is_better(task: str, name: str, score: Mapping[str, Any]) -> bool:
    """Return whether higher values of a metric are better, by the evaluation or else by the metric's name."""
    if "higher_is_better" in score:
        return bool(score["higher_is_better"])
    found = metrics.find(task, name)
    return found is None or found.higher_is_better


def decision_of(evaluation: Evaluation) -> Decision | None:
    """Return the decision rule of the evaluated labels; None: the model's own."""
    from mlops_glue.schema import Decision

    return Decision(**evaluation["decision"]) if "decision" in evaluation else None


def write(folder: Path, evaluation: Evaluation) -> None:
    """Write an evaluation into a folder."""
    files.write_json(folder / FILE, evaluation)


def slice_values(config: Config, rows: pa.Table) -> dict[str, np.ndarray[Any, Any]]:
    """Return the texts of each slice column that the raw rows have, each of shape (rows,); "" for null."""
    from mlops_glue.parsing import column_as_text

    columns = [name for name in dict.fromkeys(config.evaluate.slices) if name in rows.column_names]
    return {name: column_as_text(rows.column(name), name).fill_null("").to_numpy() for name in columns}


def trained_on(report: Mapping[str, Any]) -> str:
    """Return the number of rows that the model was trained on, and the number that they were sampled from."""
    rows, of = report["train_rows"], report.get("sampled_of")
    return f"{rows:,} rows" if of in (None, rows) else f"{rows:,} rows, a sample of {of:,} (train.rows)"


def scale_in_words(scale: Mapping[str, Any]) -> str:
    """Return the scale of the target and the reason for it, as a sentence."""
    log, plain, found = f"log1p({scale['target']})", f"{scale['target']} as it is", scale.get("compared")
    is_log = scale["taken"] == "log"
    taken, other = (log, plain) if is_log else (plain, log)
    text, sums = f"fitted on {taken}", ""
    if found is None:
        text += f": {scale['why']}" if "why" in scale else ", as train.target requests"
    else:
        mine, theirs = (found["log"], found["as_is"]) if is_log else (found["as_is"], found["log"])
        text += (
            f": in {found['folds']} folds of the training rows {found['metric']} is {_figure(mine)}, compared with "
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
