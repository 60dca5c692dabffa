"""`glue tune --trials 50` against what `glue init` writes, on tables of yours: is the tuned model ever worse?

    python benchmarks/tuning.py                                   # the penguins' body mass, some minutes
    python benchmarks/tuning.py pima.csv:target HI.csv:whrswk     # files with their targets

For each table: init, run, tune with --apply, run, and `glue compare`, which scores both on the same holdout. Where the
search shows nothing better, `glue.yaml` stays, and so does the model. A line for each, as Markdown.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import palmerpenguins

TRIALS = 50
HEAD = ["table", "rows", "estimator", "metric", "gain on other folds", "default", "tuned", "gain on the holdout", "min"]


def glue(*words: str, at: Path) -> str:
    """What a command prints; 1 is a version that was not promoted."""
    done = subprocess.run(["glue", *words], cwd=at, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"glue {' '.join(words)}: {done.stderr}")
    return done.stdout


def interval(gain: dict[str, Any]) -> str:
    """A gain with its interval; above 0 is better, whatever the metric."""
    return f"{gain.get('value', gain.get('gain')):+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f})"


def line(table: Path, target: str, scratch: Path, options: argparse.Namespace) -> list[str]:
    """The row of one table, in the order of HEAD."""
    estimator = ["--estimator", options.estimator] if options.estimator else []
    glue("init", table.stem, "--data", str(table), "--target", target, *estimator, at=scratch)
    project = scratch / table.stem
    first = json.loads(glue("run", "--json", at=project))
    started = time.monotonic()
    tuned = json.loads(glue("tune", "--trials", str(options.trials), "--apply", "--json", at=project))
    minutes = (time.monotonic() - started) / 60
    found = first["metrics"][tuned["metric"]]
    default, after, gain = f"{found['value'] if isinstance(found, dict) else found:.4f}", "kept", "0"
    if tuned["applied"]:
        glue("run", "--json", at=project)
        held = json.loads(glue("compare", "1", "2", "--json", at=project))["beside"][0]["metrics"][0]
        default, after, gain = f"{held['base']:.4f}", f"{held['value']:.4f}", interval({**held, "value": held["gain"]})
    last = tuned["estimator"].rpartition(".")[2]
    found = [table.stem, f"{tuned['rows']:,}", last, tuned["metric"], interval(tuned["gain"]), default, after, gain]
    return [*found, f"{minutes:.1f}"]


def main() -> None:
    """Print a line for each table; the intervals are of 90 %."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", help="FILE:TARGET")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--estimator", help="that glue init writes: lightgbm, xgboost, catboost")
    options = parser.parse_args()
    print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        asked = [
            (Path(file).resolve(), target) for file, _, target in (table.partition(":") for table in options.tables)
        ]
        if not asked:
            palmerpenguins.load_penguins().to_csv(scratch / "penguins.csv", index=False)
            asked = [(scratch / "penguins.csv", "body_mass_g")]
        for table, target in asked:
            print("| " + " | ".join(line(table, target, scratch, options)) + " |", flush=True)


if __name__ == "__main__":
    main()
