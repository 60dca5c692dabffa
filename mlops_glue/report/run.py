"""The result of a run: its metrics as a table, and the outcome for the version."""

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
    """Return the record that `--json` prints; only the stages if the run delivered nothing."""
    stages = [vars(result) for result in done.stages]
    if done.delivery is None or done.evaluation is None:
        return {"stages": stages}
    return {"stages": stages, **done.delivery, "format": parity["format"], "metrics": done.evaluation["metrics"]}


def metrics(evaluation: Evaluation) -> Table:
    """Return the metrics on the holdout, with their intervals and thresholds."""
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
        of_all = f"; the intervals of {', '.join(whole)} are from samples of all rows" if whole else ""
        samples = f"{drawn['samples']} bootstrap samples of {drawn['rows']:,} rows"
        yield f"the intervals are from {samples}, scaled to all rows{of_all}"
    if "decision" in evaluation:
        yield describe.decision(evaluation["decision"])
    if "scale" in evaluation:
        yield scale_in_words(evaluation["scale"])


def outcome(delivery: Delivery, evaluation: Evaluation, parity: dict[str, Any]) -> Iterator[str]:
    """Yield the outcome for the version, in lines."""
    if parity["format"] != "onnx":
        yield f"the model is stored in skops format: {parity['reason']}"
    if parity.get("runs_code"):
        yield f"loading the model runs code from {', '.join(parity['runs_code'])}"
    if "fresh" in evaluation:
        yield f"{describe.fresh_rows(evaluation['fresh'])}: the metrics above are for the held-out rows"
    version, champion, previous = delivery["version"], delivery["champion"], delivery["previous"]
    verdict = Verdict(version, champion, previous, delivery["refused"], delivery["comparison"])
    yield from describe.verdict(delivery["model"], verdict, delivery["same_as"])
    yield f"reports  {layout.EVALUATION}/report.html  {layout.VALIDATION}/report.html"
