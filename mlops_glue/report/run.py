"""What a run came to: its metrics as a table, and what became of the version."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlops_glue import layout, pages
from mlops_glue.delivery import describe
from mlops_glue.delivery.history import Verdict
from mlops_glue.delivery.record import Delivery
from mlops_glue.delivery.run import RunResult
from mlops_glue.pipeline.evaluation import Evaluation, scale_in_words
from mlops_glue.report.table import Table


def record(done: RunResult, parity: dict[str, Any]) -> dict[str, Any]:
    """What `--json` prints; of a run that delivered nothing the stages alone."""
    stages = [vars(result) for result in done.stages]
    if done.delivery is None or done.evaluation is None:
        return {"stages": stages}
    return {"stages": stages, **done.delivery, "format": parity["format"], "metrics": done.evaluation["metrics"]}


def metrics(evaluation: Evaluation) -> Table:
    """The metrics on the holdout, with their intervals and thresholds."""
    thresholds = {threshold["metric"]: threshold for threshold in evaluation["thresholds"]}
    rows = []
    for name, score in evaluation["metrics"].items():
        threshold = thresholds.get(name)
        bounds = "" if threshold is None else pages.bounds(threshold)
        verdict = "" if threshold is None else "met" if threshold["met"] else "MISSED"
        numbers = map(pages.number, (score["value"], score["low"], score["high"], score["trivial"]))
        rows.append([name, *numbers, bounds, verdict])
    head = [f"holdout, {evaluation['rows']:,} rows", "value", "95 % low", "high", "trivial", "threshold", ""]
    return Table("Metrics", head, rows, list(_notes(evaluation)))


def _notes(evaluation: Evaluation) -> Iterator[str]:
    drawn = evaluation["intervals"]
    if drawn["rows"] < evaluation["rows"]:
        whole = [name for name, score in evaluation["metrics"].items() if score.get("whole")]
        of_all = f"; those of {', '.join(whole)} are of samples of all rows" if whole else ""
        samples = f"{drawn['samples']} bootstrap samples of {drawn['rows']:,} rows"
        yield f"the intervals are of {samples}, narrowed to all{of_all}"
    if "decision" in evaluation:
        yield describe.decision(evaluation["decision"])
    if "scale" in evaluation:
        yield scale_in_words(evaluation["scale"])


def outcome(delivery: Delivery, evaluation: Evaluation, parity: dict[str, Any]) -> Iterator[str]:
    """What became of the version, in lines."""
    if parity["format"] != "onnx":
        yield f"the model is kept in skops form: {parity['reason']}"
    if parity.get("runs_code"):
        yield f"wherever it is loaded it runs code of {', '.join(parity['runs_code'])}"
    if "fresh" in evaluation:
        yield f"{describe.fresh_rows(evaluation['fresh'])}: all of the above is of the rows held out"
    version, champion, previous = delivery["version"], delivery["champion"], delivery["previous"]
    verdict = Verdict(version, champion, previous, delivery["refused"], delivery["comparison"])
    yield from describe.verdict(delivery["model"], verdict, delivery["same_as"])
    yield f"reports  {layout.EVALUATION}/report.html  {layout.VALIDATION}/report.html"
