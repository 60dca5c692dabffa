"""glue monitor beside plain Evidently: time and memory by rows, agreement by column, false alarms and detection.

    python benchmarks/monitoring.py                        # all, some minutes
    python benchmarks/monitoring.py scale --rows 1000000   # one part

Each measurement is a process of its own, from the Parquet file to the verdict and the HTML page; imports count. The
reference has as many rows as the window: glue keeps a sample of 5,000 of them when it packages a version, and compares
a random sample of the window with it; Evidently reads all. Both use the same methods and thresholds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NUMBERS, CATEGORIES = 16, 4
COLUMNS = [f"x{i}" for i in range(NUMBERS)] + [f"c{i}" for i in range(CATEGORIES)]
SPREADS = (1.0, 1.30, 1.0, 3**0.5)  # standard deviations of the four shapes
CHUNK = 1_000_000
EVIDENTLY_UP_TO = 1_000_000  # rows; by its growth ten times as many take 15 minutes and 18 GB: not tried


def columns(rows: int, seed: int, shift: float = 0.0) -> dict[str, Any]:
    """Numbers of several shapes, and categories of 4 to 60 values; `shift` (standard deviations) in a third of them."""
    rng = np.random.default_rng(seed)
    shapes = (
        lambda: rng.normal(size=rows),
        lambda: rng.lognormal(0, 0.8, rows),
        lambda: rng.exponential(size=rows),
        lambda: rng.gamma(3.0, size=rows),
    )
    out: dict[str, Any] = {}
    for at in range(NUMBERS):
        values = shapes[at % 4]()
        moved = shift * SPREADS[at % 4] if at < (len(COLUMNS) + 2) // 3 else 0.0
        out[f"x{at}"] = values + moved
    for at, many in enumerate((4, 8, 20, 60)):
        share = 1 / np.arange(1, many + 1)
        out[f"c{at}"] = rng.choice([f"v{i}" for i in range(many)], rows, p=share / share.sum())
    return out


def table(path: Path, rows: int, seed: int, shift: float = 0.0) -> Path:
    """The same as a Parquet file."""
    writer = None
    for at in range(0, rows, CHUNK):
        piece = pa.table(columns(min(CHUNK, rows - at), seed * 1000 + at // CHUNK, shift))
        writer = writer or pq.ParquetWriter(path, piece.schema)
        writer.write_table(piece)
    assert writer is not None
    writer.close()
    return path


def bundle(folder: Path, reference: Path) -> float:
    """What the monitor needs of a version, made from a reference table; returns the seconds that it took."""
    import time

    from mlops_glue import files, layout, tables
    from mlops_glue.schema import Column, Schema

    kinds = ["number"] * NUMBERS + ["category"] * CATEGORIES
    schema = Schema("regression", "y", [Column(n, k) for n, k in zip(COLUMNS, kinds, strict=True)])  # type: ignore[arg-type]
    files.write_json(folder / "schema.json", schema.to_dict())
    start = time.perf_counter()
    rows = pq.read_table(reference)
    rows = rows.take(tables.evenly_spaced(rows.num_rows, 5000))
    tables.write_parquet(
        folder / layout.SAMPLE, rows.append_column(layout.SPLIT_COLUMN, pa.array(["train"] * rows.num_rows))
    )
    return time.perf_counter() - start


GLUE = """
from pathlib import Path
from mlops_glue.adapters.evidently import Painter
from mlops_glue.monitoring.sample import PAGE_ROWS
from mlops_glue.monitoring.run import page_samples
from mlops_glue.config import Monitor
from mlops_glue.monitoring.drift import DriftMonitor, Version
from mlops_glue.monitoring.sample import RowSample
from mlops_glue.monitoring.window import pieces_of

import contextlib
with Painter() if PAGE else contextlib.nullcontext() as painter:
    version = Version.of(1, Path(FOLDER))
    watch, sampled = DriftMonitor(version), RowSample(PAGE_ROWS)
    for piece in pieces_of(Path(CURRENT), {}):
        watch.add(piece)
        sampled.add(piece)
    told = watch.verdict(Monitor())
    if PAGE:
        painter.draw(Path(OUT), *page_samples(version, sampled.table()), version.schema, told["columns"])
said = {n: [c["distance"], c["threshold"], c["drifted"]] for n, c in told["columns"].items()}
"""

EVIDENTLY = """
import pyarrow.parquet as pq
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

numbers = [n for n in COLUMNS if n[0] == "x"]
words = [n for n in COLUMNS if n[0] == "c"]
definition = DataDefinition(numerical_columns=numbers, categorical_columns=words)
current, reference = (Dataset.from_pandas(pq.read_table(p).to_pandas(), definition) for p in (CURRENT, REFERENCE))
preset = DataDriftPreset(num_method="wasserstein", cat_method="jensenshannon", num_threshold=0.2, cat_threshold=0.1)
snapshot = Report([preset], include_tests=True).run(current, reference)
snapshot.save_html(OUT)
found = snapshot.dict()
said = {}
for metric, test in list(zip(found["metrics"], found["tests"]))[1:]:
    given = test["metric_config"]["params"]
    said[given["column"]] = [float(metric["value"]), given["threshold"], test["status"] == "FAIL"]
"""

MEASURE = """
import re, resource, time
START = time.perf_counter()
{code}
seconds = time.perf_counter() - START
import json
# not ru_maxrss: it begins with what the process that forked this one had
own = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
others = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps({{"s": seconds, "MiB": own, "MiB of its page": others, "said": said}}))
"""


def measured(code: str, **names: Any) -> dict[str, Any]:
    """Run code in a process of its own."""
    head = "".join(f"{name} = {value!r}\n" for name, value in names.items())
    words = [sys.executable, "-c", head + MEASURE.format(code=code)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def scale(rows: int, evidently: bool) -> None:
    """One size, both ways."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        reference = table(folder / "trained_on.parquet", rows, 1)
        current = table(folder / "current.parquet", rows, 2, 0.5)
        took = bundle(folder, reference)
        names = {"FOLDER": scratch, "CURRENT": str(current), "REFERENCE": str(reference), "COLUMNS": COLUMNS}
        for page in (False, True):
            out = folder / "glue.html"
            mine = measured(GLUE, PAGE=page, OUT=str(out), **names)
            size = f", page {out.stat().st_size / 1e6:.1f} MB in {mine['MiB of its page']:.0f} MiB" if page else ""
            how = "glue" if page else "glue --no-page"
            print(f"{rows:>10,} rows  {how:<15} {mine['s']:7.2f} s  {mine['MiB']:6.0f} MiB{size}", flush=True)
        print(f"{rows:>10,} rows  (the sample of the reference, once: {took:.2f} s)", flush=True)
        if evidently:
            plain = measured(EVIDENTLY, OUT=str(folder / "plain.html"), **names)
            size = f"page {(folder / 'plain.html').stat().st_size / 1e6:.1f} MB"
            print(f"{rows:>10,} rows  {'evidently':<15} {plain['s']:7.2f} s  {plain['MiB']:6.0f} MiB, {size}")
            same = sum(mine["said"][name][2] == plain["said"][name][2] for name in COLUMNS)
            off = max(abs(mine["said"][name][0] - plain["said"][name][0]) for name in COLUMNS)
            times = f"{plain['s'] / mine['s']:.1f} times the time"
            print(f"{'':>16}  {times}; {same} of {len(COLUMNS)} columns agree, distances to {off:.5f}")


AGREEMENT = """
import sys
sys.path.insert(0, HERE)
from pathlib import Path
import pyarrow as pa
import monitoring as bench
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
from mlops_glue.config import Monitor
from mlops_glue.monitoring.drift import DriftMonitor, Version

definition = DataDefinition(
    numerical_columns=[n for n in bench.COLUMNS if n[0] == "x"],
    categorical_columns=[n for n in bench.COLUMNS if n[0] == "c"],
)
version = Version.of(1, Path(FOLDER))
reference = Dataset.from_pandas(pa.table(bench.columns(20000, 1000)).to_pandas(), definition)
said = {}
for rows in (500, 5000, 50000):
    for shift in (0.0, 0.1, 0.5):
        for trial in range(TRIALS):
            current = pa.table(bench.columns(rows, 7000 + trial, shift))
            watch = DriftMonitor(version)
            watch.add(current)
            mine = watch.verdict(Monitor())["columns"]
            preset = DataDriftPreset(
                num_method="wasserstein",
                cat_method="jensenshannon",
                per_column_threshold={n: one["threshold"] for n, one in mine.items()},
            )
            window = Dataset.from_pandas(current.to_pandas(), definition)
            found = Report([preset], include_tests=True).run(window, reference).dict()
            for metric, test in list(zip(found["metrics"], found["tests"]))[1:]:
                name = test["metric_config"]["params"]["column"]
                method = mine[name]["method"]
                same, all_of = said.get(f"{rows} {method}", (0, 0))
                same += mine[name]["drifted"] == (test["status"] == "FAIL")
                said[f"{rows} {method}"] = (same, all_of + 1)
"""


def agreement(trials: int = 2) -> None:
    """The verdict on each column beside that of Evidently's own method, with and without drift."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        bundle(folder, table(folder / "trained_on.parquet", 20_000, 1))
        found = measured(AGREEMENT, HERE=str(Path(__file__).parent), FOLDER=scratch, TRIALS=trials)["said"]
    for kind, (same, all_of) in found.items():
        rows, method = kind.split()
        print(f"{int(rows):>10,} rows  {method:<14} {same} of {all_of} verdicts agree ({same / all_of:.1%})")


def alarms(windows: int = 200) -> None:
    """How often a window is an alert at the default settings, without drift and with it."""
    from mlops_glue.config import Monitor
    from mlops_glue.monitoring.drift import DriftMonitor, Version

    for trained_on in (1_000, 20_000):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            bundle(folder, table(folder / "trained_on.parquet", trained_on, 1))
            version = Version.of(1, folder)
        for rows in (200, 500, 1000, 5000, 50_000):
            told = []
            for shift in (0.0, 0.5):
                many = windows if rows < 50_000 else windows // 4
                alerts = drifted = 0
                for seed in range(many):
                    watch = DriftMonitor(version)
                    watch.add(pa.table(columns(rows, 10_000 + seed, shift)))
                    said = watch.verdict(Monitor())
                    alerts += said["verdict"] == "drift"
                    drifted += len(said["drifted"])
                share = drifted / many / len(COLUMNS)
                told.append(f"{alerts / many:6.1%} of {many} windows alert, {share:6.2%} of the columns drift")
            print(
                f"trained on {trained_on:>6,}, {rows:>6,} rows:  no drift: {told[0]}; half a sd in 7 of 20: {told[1]}"
            )


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=["scale", "agreement", "alarms"])
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 1_000_000, 10_000_000])
    asked = parser.parse_args()
    if asked.part in (None, "scale"):
        for rows in asked.rows:
            scale(rows, rows <= EVIDENTLY_UP_TO)
    if asked.part in (None, "agreement"):
        agreement()
    if asked.part in (None, "alarms"):
        alarms()


if __name__ == "__main__":
    main()
