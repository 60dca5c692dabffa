"""`glue run`: the pipeline, then delivery."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mlops_glue import console, files, layout, modules
from mlops_glue.delivery import describe
from mlops_glue.delivery import run as runs
from mlops_glue.delivery.history import Verdict
from mlops_glue.delivery.record import Delivery
from mlops_glue.pipeline.evaluation import Evaluation
from mlops_glue.scaffold.commit import due, undo


def run(options: runs.Options, *, as_json: bool = False, env: str | None = None) -> int:
    """Run what changed, publish the result, promote it where it may be. Returns 1 where a check said no."""
    root = layout.find_root()
    done = runs.run(root, env or os.environ.get("GLUE_ENV"), options, console.stage, console.fold)
    stages = [vars(result) for result in done.stages]
    for line in describe.warnings(done.evaluation, published=done.delivery is not None):
        console.progress(f"warning: {line}")
    if done.delivery is None or done.evaluation is None:
        if as_json:
            console.result_json({"stages": stages})
        return 0
    parity = files.read_json(root / layout.BUNDLE / "parity.json")
    _warn_of_packages(done.delivery["packages"])
    if as_json:
        metrics = done.evaluation["metrics"]
        console.result_json({"stages": stages, **done.delivery, "format": parity["format"], "metrics": metrics})
        for reason in done.refused:  # a job keeps the JSON in a file
            console.progress(f"refused: {reason}")
    else:
        print_metrics(done.evaluation)
        print_delivery(done.delivery, done.evaluation, parity)
        _print_git(root, done.delivery)
    return 1 if done.refused else 0


def _warn_of_packages(packages: dict[str, str]) -> None:
    """Where the model was made with another version of a package than is installed."""
    for name, version in packages.items():
        now = modules.installed(name)
        if now != version:
            made = f"the model was made with {name} {version}, and {now or 'none'} is installed"
            console.progress(f"warning: {made}: glue run --force makes it anew")


def print_metrics(evaluation: Evaluation) -> None:
    """The table of metrics, with the thresholds."""
    thresholds = {threshold["metric"]: threshold for threshold in evaluation["thresholds"]}
    rows = []
    for name, score in evaluation["metrics"].items():
        threshold = thresholds.get(name)
        bounds = "" if threshold is None else describe.bounds(threshold)
        verdict = "" if threshold is None else "met" if threshold["met"] else "MISSED"
        numbers = map(describe.number, (score["value"], score["low"], score["high"], score["trivial"]))
        rows.append([name, *numbers, bounds, verdict])
    head = [f"holdout, {evaluation['rows']:,} rows", "value", "95 % low", "high", "trivial", "threshold", ""]
    console.result()
    console.table(rows, head)
    drawn = evaluation["intervals"]
    if drawn["rows"] < evaluation["rows"]:
        whole = [name for name, score in evaluation["metrics"].items() if score.get("whole")]
        of_all = f"; those of {', '.join(whole)} are of samples of all rows" if whole else ""
        samples = f"{drawn['samples']} bootstrap samples of {drawn['rows']:,} rows"
        console.result(f"the intervals are of {samples}, narrowed to all{of_all}")
    if "decision" in evaluation:
        console.result(describe.decision(evaluation["decision"]))
    console.result()


def print_delivery(delivery: Delivery, evaluation: Evaluation, parity: dict[str, Any]) -> None:
    """What became of the version, and what comes next."""
    if parity["format"] != "onnx":
        console.result(f"the model is kept in skops form: {parity['reason']}")
    if parity.get("runs_code"):
        console.result(f"wherever it is loaded it runs code of {', '.join(parity['runs_code'])}")
    if "fresh" in evaluation:
        console.result(f"{describe.fresh_rows(evaluation['fresh'])}: all of the above is of the rows held out")
    version, champion, previous = delivery["version"], delivery["champion"], delivery["previous"]
    verdict = Verdict(version, champion, previous, delivery["refused"], delivery["comparison"])
    for line in describe.verdict(delivery["model"], verdict, delivery["same_as"]):
        console.result(line, good="is champion", bad="refused")
    console.result(f"reports  {layout.EVALUATION}/report.html  {layout.VALIDATION}/report.html")
    console.result("next     glue report   glue serve   glue predict IN OUT   mlflow ui   dvc dag")


def _print_git(root: Path, delivery: Delivery) -> None:
    """The commit that is due; of a model that was refused, how to have the files of before."""
    refused = bool(delivery["refused"])
    command = undo(root) if refused else due(root, f"{delivery['model']} v{delivery['version']}")
    if command is not None:
        console.result(f"{'undo' if refused else 'commit':<9}{command}")
