"""`glue monitor --demo-drift`: the loop on this machine, in a scratch copy of the project, which stays."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import config as configs
from mlops_glue import console, files, layout, tables
from mlops_glue.adapters import dvc, git
from mlops_glue.errors import CheckFailed, ToolError, UsageError
from mlops_glue.schema import Schema

if TYPE_CHECKING:
    import pyarrow as pa

ROWS, USUAL, TIMES = 1000, 250, 9  # of the table; asked before it drifts; and then, for each of the table's
REQUEST_ROWS = 200
MOST_BYTES = 1 << 20  # of a file that is copied: code, not data
LEFT = {"data", "artifacts", "monitoring", "mlartifacts", "mlruns", "node_modules", "__pycache__"}
WAIT_S = 60.0
GLUE = "import sys; from mlops_glue.cli import main; main(sys.argv[1:])"


def demo_drift() -> int:
    """Serve, drift, alert, retrain, take over; every step is told. Nothing of the project is touched.

    Raises:
        UsageError: the project's features are in Feast, where no demo can make them drift.
    """
    root = layout.find_root()
    config = configs.load(root, "")
    if config.features.use:
        raise UsageError(
            "--demo-drift: the model's features come from Feast, and the demo makes drift in the rows of a request",
            hint="try it in a project of one table: glue init demo --data TABLE --target COLUMN",
        )
    with scratch_folder(root.name) as scratch:
        console.progress(f"in a scratch copy, {scratch}; the project stays as it is")
        table = _copied(root, config, scratch)
        _say(1, f"train on {table.num_rows:,} rows of {config.source.path}: glue run")
        run_glue(scratch, "run")
        check_champion(scratch)
        demo = Demo(scratch, config, Schema.from_dict(files.read_json(scratch / layout.BUNDLE / "schema.json")), table)
        with demo.served():
            demo.loop()
        console.result(f"\nthe scratch copy and its reports stay in {scratch}: rm -r {scratch.parent} takes them away")
    return 0


@contextlib.contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """A place for the scratch copy: what the demo shows is there to be looked at."""
    folder = Path(tempfile.mkdtemp(prefix="glue-demo-"))
    try:
        yield folder / name
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def check_champion(scratch: Path) -> None:
    """There is something to serve.

    Raises:
        CheckFailed: the first run was refused.
    """
    told = files.read_json(scratch / layout.DELIVERY)
    if told["champion"] is None:
        said = f"--demo-drift: the first run on a sample was refused: {'; '.join(told['refused'])}"
        raise CheckFailed(said, hint=f"loosen evaluate.thresholds in {layout.CONFIG} for the time of the demo")


def _say(step: int, text: str) -> None:
    console.result(f"\n{step}. {text}")


def _copied(root: Path, config: configs.Config, scratch: Path) -> pa.Table:
    """The project's code with a sample of its table, and a `glue.yaml` that reaches nothing outside; the sample."""
    for file in root.rglob("*"):
        parts = file.relative_to(root).parts
        if any(part in LEFT or part.startswith(".") for part in parts[:-1]) or not file.is_file():
            continue
        if file.name not in ("dvc.yaml", "dvc.lock") and file.suffix != ".db" and file.stat().st_size <= MOST_BYTES:
            (scratch / file.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, scratch / file.relative_to(root))
    table = tables.read_table(root / config.source.path)
    table = table.take(tables.evenly_spaced(table.num_rows, ROWS))
    tables.write_parquet(scratch / "data/demo.parquet", table)
    labels = {"path": "data/labels", "id": "request", "row": "row", "target": "truth"}
    monitor: dict[str, Any] = {"labels": labels, "on_alert": ["retrain"]}
    monitor["retrain"] = {"min_labelled": USUAL + 1, "cooldown": "1s"}
    expected = {name: [one for one in some if "row_count" not in str(one)] for name, some in config.validation.items()}
    changed = {
        "validation": expected,  # of a sample
        f"data.sources.{config.data.labels.source}.path": "data/demo.parquet",
        "data.remote": None,
        "tracking": {},
        "registry": {},
        "environments": {},
        "ci": {},
        "serve": {"prediction_log": "data/predictions", "poll_s": 1.0, "log": {"rotate_s": 1.0}},
        "monitor": monitor,
    }
    files.write_text(
        scratch / layout.CONFIG, configs.overridden(root, {key: json.dumps(value) for key, value in changed.items()})
    )
    (scratch / "data/labels").mkdir()
    dvc.init(scratch, git=git.init(scratch))
    return table


def run_glue(scratch: Path, *words: str) -> str:
    """A command in the scratch copy, its answer told; of its progress only the error that ends it is told."""
    env = {key: value for key, value in os.environ.items() if key not in ("GLUE_ENV", "GITHUB_ACTIONS")}
    done = subprocess.run(
        [sys.executable, "-c", GLUE, *words], cwd=scratch, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1) or not done.stdout.strip():
        said = [line for line in done.stderr.splitlines() if line.startswith("error: ")] or [done.stderr.strip()[-500:]]
        raise ToolError(f"glue {' '.join(words)}: {said[0].removeprefix('error: ')}")
    for line in done.stdout.strip().splitlines():
        console.result(f"   {line}")
    return done.stdout


@dataclass
class Demo:
    """The scratch copy, once it has a champion."""

    root: Path
    config: configs.Config
    schema: Schema
    table: pa.Table
    url: str = ""

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """With a server that answers."""
        told = self.root / "served.txt"
        with (
            told.open("w") as err,
            subprocess.Popen(
                [sys.executable, "-c", GLUE, "serve", "--port", "0", "--quiet"],
                cwd=self.root,
                stdout=subprocess.DEVNULL,
                stderr=err,
            ) as process,
        ):
            try:
                self.url = _until(lambda: _url(told), "the server to start")
                yield
            finally:
                process.terminate()

    def loop(self) -> None:
        """From the usual traffic to the new champion."""
        rng = np.random.default_rng(0)
        _say(2, f"serve it; {USUAL} rows like those it learned from, and their labels: glue monitor")
        self._ask(self.table.take(rng.integers(0, self.table.num_rows, USUAL)))
        run_glue(self.root, "monitor", "--no-page")
        drifts = self._drifting()
        rows = TIMES * self.table.num_rows
        _say(3, f"{rows:,} rows in which {' and '.join(drifts)} drift, with their labels: glue monitor")
        drifted = self.table.take(rng.integers(0, self.table.num_rows, rows))
        for name in drifts:
            drifted = drifted.set_column(drifted.column_names.index(name), name, self._drifted(drifted, name))
        self._ask(drifted)
        before = self._version()
        run_glue(self.root, "monitor")
        now = files.read_json(self.root / layout.DELIVERY)["champion"]
        if now == before:
            _say(4, f"no candidate was better than v{before}, which goes on answering")
            return
        _until(lambda: self._version() == now, f"the server to take v{now}")
        _say(4, f"the server answers with v{now}, without a restart; the same traffic again: glue monitor")
        self._ask(drifted.slice(0, ROWS))
        run_glue(self.root, "monitor", "--no-page")

    def _drifting(self) -> list[str]:
        """The columns that the model makes most of, half of them at most."""
        report = files.read_json(self.root / layout.EVALUATION / "evaluation.json")
        kinds = {c.name: c.kind for c in self.schema.columns if c.kind in ("number", "category")}
        ranked = [one["column"] for one in report["importances"] or [] if one["column"] in kinds] or list(kinds)
        if not ranked:
            raise UsageError("--demo-drift: the model takes no number and no category that could drift")
        return ranked[: max(1, min(2, len(ranked) // 2))]

    def _drifted(self, rows: pa.Table, name: str) -> Any:
        """A number that is measured one standard deviation too high; a category that goes by the next one's name."""
        import pyarrow as pa

        values = rows.column(name)
        if not tables.is_number(values.type):
            words = sorted({v for v in values.to_pylist() if v is not None})
            following = dict(zip(words, [*words[1:], *words[:1]], strict=True))
            return pa.array([following.get(v) for v in values.to_pylist()], values.type)
        numbers = values.to_numpy().astype(float)
        moved = np.clip(numbers + np.nanstd(numbers), np.nanmin(numbers), np.nanmax(numbers))
        if pa.types.is_integer(values.type):
            moved = np.rint(moved)
        return pa.array(moved, from_pandas=True).cast(values.type, safe=False)

    def _ask(self, rows: pa.Table) -> None:
        """Score rows over HTTP, and write down what is true of them, as somebody does who learns it later."""
        from mlops_glue.pipeline.package import example_rows

        truth = rows.column(self.schema.target).to_pylist()
        bodies = example_rows(rows.select([c.name for c in self.schema.columns]), self.schema)
        lines = ["request,row,truth"]
        for at in range(0, len(bodies), REQUEST_ROWS):
            said = self._post(bodies[at : at + REQUEST_ROWS])
            some = [(n, one) for n, one in enumerate(truth[at : at + REQUEST_ROWS]) if one is not None]
            lines += [f"{said['request_id']},{n},{json.dumps(one)}" for n, one in some]
        files.write_text(self.root / "data/labels" / f"{time.time_ns()}.csv", "\n".join(lines) + "\n")
        last = said["request_id"]
        _until(lambda: self._logged(last), "the log")

    def _post(self, rows: list[dict[str, Any]]) -> Any:
        body = json.dumps({"rows": rows}, default=str).encode()
        asked = urllib.request.Request(f"{self.url}/predict", body, {"Content-Type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(asked, timeout=WAIT_S) as reply:  # noqa: S310 - this machine's own server
            return json.loads(reply.read())

    def _version(self) -> int:
        with urllib.request.urlopen(f"{self.url}/model", timeout=WAIT_S) as reply:  # noqa: S310
            return int(json.loads(reply.read())["version"])

    def _logged(self, request: str) -> bool:
        files = sorted((self.root / "data/predictions").rglob("v*.parquet"), key=lambda p: p.stat().st_mtime)
        return bool(files) and request in tables.read_parquet(files[-1], ["glue_request_id"]).column(0).to_pylist()


def _url(told: Path) -> str | None:
    found = re.search(r"on (http://[^ ,;]+)", told.read_text())
    if found is None:
        return None
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{found.group(1)}/ready", timeout=5):  # noqa: S310
        return found.group(1)
    return None


def _until(ask: Any, what: str) -> Any:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if found := ask():
            return found
        time.sleep(0.2)
    raise ToolError(f"--demo-drift: {what} takes more than {WAIT_S:g} s")
