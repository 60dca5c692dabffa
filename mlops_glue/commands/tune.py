"""`glue tune`: search for better parameters of the estimator."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import asdict
from typing import Any

from mlops_glue import config as configs
from mlops_glue import console, files, layout, pages
from mlops_glue.config.fields import PATTERN_HELP, SPAN
from mlops_glue.delivery import run as runs
from mlops_glue.delivery import tune as tuning
from mlops_glue.errors import UsageError

SHOWN = 5  # trials


def tune(
    *, timeout: str | None = None, apply: bool = False, as_json: bool = False, env: str | None = None, **options: Any
) -> int:
    """Search, show the best parameters as a diff of `glue.yaml`, and write them if requested and better."""
    root = layout.find_root()
    env = env or os.environ.get("GLUE_ENV")
    if timeout is not None and re.fullmatch(SPAN, timeout) is None:
        raise UsageError(f"--timeout {timeout}: {PATTERN_HELP[SPAN]}")
    timeout_s = configs.span(timeout).total_seconds() if timeout is not None else None
    tuning.searched(configs.load(root, env), options["estimator"], "binary")  # refuse before starting the work
    runs.run(root, env, runs.Options(until="split"), console.stage, console.fold)
    config = configs.load(root, env)
    with console.progress_bar("trials") as bar:
        found = tuning.tune(
            config, root, tuning.Options(timeout_s=timeout_s, **options), lambda ended, of, _: bar(ended / of)
        )
    before = (root / layout.CONFIG).read_text(encoding="utf-8")
    text = tuning.text_with(root, found) if found.finding == "better" else before
    written = apply and text != before
    if written:
        files.write_text(root / layout.CONFIG, text)
    if as_json:
        console.result_json({**asdict(found), "applied": written})
        return 0
    _print(found)
    lines = before.splitlines(), text.splitlines()
    for line in difflib.unified_diff(*lines, f"a/{layout.CONFIG}", f"b/{layout.CONFIG}", lineterm="", n=1):
        console.result(line)
    if found.finding != "better":
        worse = found.finding == "worse"
        why = "the best trial is worse on other folds" if worse else "the gain may be due to chance"
        console.progress(f"{layout.CONFIG} is unchanged: {why}")
    elif written:
        console.progress(f"wrote {layout.CONFIG}: glue run trains the model and evaluates it on the holdout")
    else:
        console.progress("glue tune --apply writes the change; glue run then evaluates it on the holdout")
    return 0


def _print(found: tuning.Tuned) -> None:
    """Print the best trials next to the current parameters, and the gain of the best trial."""
    number = pages.number
    complete = [trial for trial in found.trials if trial.value is not None]
    others = {name: sum(t.outcome == name for t in found.trials) for name in ("pruned", "failed")}
    counts = ", ".join(f"{count} {name}" for name, count in others.items() if count)
    console.result(
        f"{found.estimator.rpartition('.')[2]}: {len(found.trials)} trials{f' ({counts})' if counts else ''}, "
        f"cross-validated on the {console.rows(found.rows)} for training"
    )
    best = sorted(complete, key=lambda trial: trial.value or 0.0, reverse=found.higher_is_better)[:SHOWN]
    rows = [["glue.yaml", number(found.baseline), "as it is"]]
    rows += [[f"trial {t.number}", number(t.value), " ".join(f"{k}={v}" for k, v in t.params.items())] for t in best]
    console.table(rows, ["", found.metric, "parameters"])
    gain = found.gain
    console.result(
        f"trial {found.best.number} on other folds: {gain.value:+.4f} "
        f"({gain.level:.0%} {gain.low:+.4f} to {gain.high:+.4f}, by {gain.method}): {found.finding}",
        good="better" if found.finding == "better" else "",
    )
