"""`glue monitor --demo-drift`: run the whole loop locally, in a scratch copy of the project that is not deleted."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import config as configs
from mlops_glue import console, files, layout, tables
from mlops_glue.adapters import dvc, git
from mlops_glue.errors import CheckFailed, ToolError, UsageError
from mlops_glue.pipeline.package import example_rows
from mlops_glue.schema import Schema

if TYPE_CHECKING:
    import pyarrow as pa

ROWS, USUAL, TIMES = (
    1000,
    250,
    9,
)  # rows of the table; rows sent before the drift; rows sent after it, per row of the table
REQUEST_ROWS = 200
MADE = "data artifacts monitoring mlruns mlartifacts node_modules __pycache__ .* dvc.yaml dvc.lock *.db"
MOST_BYTES = 1 << 20  # copy no larger files: they are data, not code
WAIT_S = 60.0
GLUE = [sys.executable, "-c", "import sys; sys.argv[0] = 'glue'; from mlops_glue.cli import main; main()"]


def demo_drift() -> int:
    """Demonstrate serving, drift, an alert, retraining and promotion, without changing the project.

    Raises:
        UsageError: the model has no input that the demo can make drift.
        CheckFailed: the first model was refused.
    """
    root = layout.find_root()
    config = configs.load(root, "")
    if config.features.use:
        raise UsageError(
            "--demo-drift: the model's features come from Feast, but the demo changes only columns of requests",
            hint="try it in a project with one table: glue init demo --data TABLE --target COLUMN",
        )
    scratch = Path(tempfile.mkdtemp(prefix="glue-demo-")) / root.name
    console.progress(f"working in a scratch copy, {scratch}; the project stays unchanged")
    table = _copy(root, config, scratch)
    console.result(f"\n1. train on {table.num_rows:,} rows of {config.source.path}: glue run")
    run_glue(scratch, "run")
    delivered = files.read_json(scratch / layout.DELIVERY)
    if delivered["champion"] is None:
        problem = f"--demo-drift: the first run on a sample was refused: {'; '.join(delivered['refused'])}"
        raise CheckFailed(problem, hint=f"loosen evaluate.thresholds in {layout.CONFIG} during the demo")
    with _serving(scratch) as url:
        _loop(scratch, url, table)
    console.result(f"\nthe scratch copy and its reports are in {scratch}; to delete them: rm -r {scratch.parent}")
    return 0


def _copy(root: Path, config: configs.Config, scratch: Path) -> pa.Table:
    """Copy the project's code, a sample of its table, and a `glue.yaml` without outside services; return the sample."""
    is_generated = shutil.ignore_patterns(*MADE.split())

    def left_out(folder: str, names: list[str]) -> set[str]:
        big = {path.name for path in Path(folder).iterdir() if path.is_file() and path.stat().st_size > MOST_BYTES}
        return is_generated(folder, names) | big

    shutil.copytree(root, scratch, ignore=left_out)
    table = tables.read_table(root / config.source.path)
    table = table.take(tables.evenly_spaced(table.num_rows, ROWS))
    tables.write_parquet(scratch / "data/demo.parquet", table)
    (scratch / "data/labels").mkdir()
    changed: dict[str, Any] = {key: {} for key in ("tracking", "registry", "environments", "ci")}
    changed |= {
        "validation": {
            name: [e for e in some if "row_count" not in str(e)] for name, some in config.validation.items()
        },
        f"data.sources.{config.data.labels.source}.path": "data/demo.parquet",
        "data.remote": None,
        "serve": {"prediction_log": "data/predictions", "poll_s": 1.0},
        "monitor": {
            "labels": {"path": "data/labels", "id": "request", "row": "row", "target": "truth"},
            "on_alert": ["retrain"],
            "retrain": {"min_labelled": USUAL + 1, "cooldown": "1s"},
        },
    }
    overrides = {key: json.dumps(value) for key, value in changed.items()}
    files.write_text(scratch / layout.CONFIG, configs.overridden(root, overrides))
    dvc.init(scratch, git=git.init(scratch))
    return table


def run_glue(scratch: Path, *words: str) -> None:
    """Run a command in the scratch copy and print its output; raise its error if it fails."""
    env = {key: value for key, value in os.environ.items() if key not in ("GLUE_ENV", "GITHUB_ACTIONS", "GITLAB_CI")}
    done = subprocess.run([*GLUE, *words], cwd=scratch, env=env, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout.strip():
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        raise ToolError(
            f"glue {' '.join(words)}: {errors[0].removeprefix('error: ') if errors else done.stderr[-500:]}"
        )
    for line in done.stdout.strip().splitlines():
        console.result(f"   {line}")


@contextlib.contextmanager
def _serving(scratch: Path) -> Iterator[str]:
    """Start a server in the scratch copy, and yield its URL once it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words, quiet = [*GLUE, "serve", "--port", str(port), "--quiet"], subprocess.DEVNULL
    with subprocess.Popen(words, cwd=scratch, stdout=quiet, stderr=quiet) as process:
        try:
            _ask(f"http://127.0.0.1:{port}/ready")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _ask(url: str, body: Any = None, until: Callable[[Any], bool] = lambda _: True) -> Any:
    """Request a URL of the local server, and repeat the request until `until` accepts the answer."""
    data = json.dumps(body, default=str).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(request, timeout=WAIT_S) as reply:  # noqa: S310
                answer = json.loads(reply.read())
            if until(answer):
                return answer
        time.sleep(0.2)
    raise ToolError(f"--demo-drift: {url} did not give the expected answer within {WAIT_S:g} s")


def _loop(scratch: Path, url: str, table: pa.Table) -> None:
    """Run the demo from normal traffic to the new champion."""
    schema = Schema.from_dict(files.read_json(scratch / layout.BUNDLE / "schema.json"))
    rng = np.random.default_rng(0)
    console.result(f"\n2. serve the model; send {USUAL} rows like the training data, with their labels: glue monitor")
    _send(scratch, url, schema, table.take(rng.integers(0, table.num_rows, USUAL)))
    run_glue(scratch, "monitor", "--no-page")

    importances = files.read_json(scratch / layout.EVALUATION / "evaluation.json")["importances"] or []
    names = [column.name for column in schema.columns if column.kind in ("number", "category")]
    ranked = [entry["column"] for entry in importances if entry["column"] in names] or names
    if not ranked:
        raise UsageError("--demo-drift: the model has no number or category column that could drift")
    drifting = ranked[: max(1, min(2, len(ranked) // 2))]
    drifted = table.take(rng.integers(0, table.num_rows, TIMES * table.num_rows))
    for name in drifting:
        drifted = drifted.set_column(drifted.column_names.index(name), name, _drifted(drifted.column(name)))
    console.result(
        f"\n3. send {drifted.num_rows:,} rows with drift in {' and '.join(drifting)}, and their labels: glue monitor"
    )
    _send(scratch, url, schema, drifted)
    before = _ask(f"{url}/model")["version"]
    run_glue(scratch, "monitor")

    champion = files.read_json(scratch / layout.DELIVERY)["champion"]
    if champion == before:
        console.result(f"\n4. no candidate was better than v{before}, which continues to serve")
        return
    _ask(f"{url}/model", until=lambda model: model["version"] == champion)
    console.result(
        f"\n4. the server now uses v{champion}, without a restart; send the same traffic again: glue monitor"
    )
    _send(scratch, url, schema, drifted.slice(0, ROWS))
    run_glue(scratch, "monitor", "--no-page")


def _drifted(values: pa.ChunkedArray) -> pa.Array:
    """Shift numbers up by one standard deviation; rename each category to the next category."""
    import pyarrow as pa

    if not tables.is_number(values.type):
        words = sorted(values.unique().drop_null().to_pylist())
        following = dict(zip(words, [*words[1:], *words[:1]], strict=True))
        return pa.array([following.get(value) for value in values.to_pylist()], values.type)
    numbers = values.to_numpy().astype(float)
    moved = np.clip(numbers + np.nanstd(numbers), np.nanmin(numbers), np.nanmax(numbers))
    return pa.array(moved, from_pandas=True).cast(values.type, safe=False)


def _send(scratch: Path, url: str, schema: Schema, rows: pa.Table) -> None:
    """Score rows over HTTP, and write their true labels to a file, as if they arrived later."""
    truth = rows.column(schema.target).to_pylist()
    bodies = example_rows(rows.select([column.name for column in schema.columns]), schema)
    lines = ["request,row,truth"]
    for at in range(0, len(bodies), REQUEST_ROWS):
        answer = _ask(f"{url}/predict", {"rows": bodies[at : at + REQUEST_ROWS]})
        known = [(row, label) for row, label in enumerate(truth[at : at + REQUEST_ROWS]) if label is not None]
        lines += [f"{answer['request_id']},{row},{json.dumps(label)}" for row, label in known]
    files.write_text(scratch / "data/labels" / f"{time.time_ns()}.csv", "\n".join(lines) + "\n")
