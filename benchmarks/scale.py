"""Peak memory, time and disk of each step by rows: `python benchmarks/scale.py [--rows 1 5 20] [--folder /tmp/scale]`.

The table has 20 columns: 12 numbers, 2 whole numbers, 3 texts, a boolean, a time, with nulls, and a binary target. Rows
are in millions. A peak is the resident memory of the command and all its processes, looked at 50 times a second. What
does not fit on the disk, or into `--minutes`, is not run: its line is a straight line through the two sizes before it,
and begins with `~`. Where a fit would not fit into memory, it learns from as many rows as glue's hint says.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import duckdb
import psutil

os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
STEPS = ["init", "ingest", "validate", "featurize", "split", "train", "evaluate", "package, publish"]
AFTER = ["predict", "monitor", "report"]
DISK_BYTES = 1200  # of the disk that a row takes in all
LINE = tuple[float, float, float]  # peak in MiB, seconds, MiB of the project on the disk

TABLE = """
COPY (SELECT i AS row_id, 'c' || lpad((hash(i, 1) % ({rows} // 10 + 1))::VARCHAR, 8, '0') AS customer,
 TIMESTAMP '2024-01-01' + INTERVAL 1 SECOND * (i * (31536000.0 / {rows}))::BIGINT AS at, {numbers},
 CASE WHEN hash(i, 50) % 33 > 0 THEN ['red', 'green', 'blue', 'teal', 'grey'][(hash(i, 51) % 5)::INT + 1] END AS colour,
 'k' || (hash(i, 52) % 400)::VARCHAR AS shop, CASE WHEN hash(i, 53) % 15 > 0 THEN hash(i, 54) % 2 = 0 END AS member,
 (hash(i, 55) % 90)::INT + 10 AS age,
 ((hash(i, 7) % 100) / 100.0 + (hash(i, 60) % 1000) / 1000.0 > 1.45)::INT AS bought
 FROM range({rows}) t(i)) TO '{path}' (FORMAT parquet)"""
NUMBER = """CASE WHEN hash(i, {n}) % 20 > 0 THEN
 round((hash(i, {n} + 100) % 1000000) / 1000.0 - 500 + {n} * (hash(i, 7) % 100) / 50.0, 3) END AS n{n}"""


def table(path: Path, rows: int) -> None:
    with duckdb.connect(config={"memory_limit": "1GB", "temp_directory": str(path.parent)}) as connection:
        numbers = ", ".join(NUMBER.format(n=n) for n in range(12))
        connection.execute(TABLE.format(rows=rows, path=path, numbers=numbers))


def measured(command: list[str], where: Path, project: Path) -> tuple[LINE, int, str]:
    started, peak, ended = time.perf_counter(), 0, threading.Event()
    process = subprocess.Popen(command, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.02):
            total = 0
            try:
                for one in (parent := psutil.Process(process.pid), *parent.children(recursive=True)):
                    total += one.memory_info().rss
            except psutil.Error:
                continue
            peak = max(peak, total)

    watching = threading.Thread(target=watch)
    watching.start()
    said = process.communicate()[0]
    ended.set()
    watching.join()
    seconds = time.perf_counter() - started
    disk = sum(p.lstat().st_size for p in project.rglob("*") if p.is_file() and not p.is_symlink())
    return (peak / 2**20, seconds, disk / 2**20), process.returncode, said


def project_of(folder: Path, million: float, estimator: str | None, memory: str) -> dict[str, LINE]:
    rows, project = int(million * 1e6), folder / "project"
    raw = folder / "table.parquet"
    table(raw, rows)
    found: dict[str, LINE] = {}

    def run(step: str, *words: str, where: Path = project) -> str:
        line, code, said = measured(["glue", *words], where, project)
        print(f"{million:g} million {step:<16} {line[0]:8,.0f} MiB {line[1]:8.1f} s {line[2]:9,.0f} MiB", flush=True)
        if code == 4 and step == "train" and (wanted := re.search(r"train: \{rows: (\d+)\}", said)):
            edit(project, "  params: {}", f"  rows: {wanted[1]}\n  params: {{}}")
            print(f"{million:g} million train      a sample of {int(wanted[1]):,} rows", flush=True)
            return run(step, *words, where=where)
        if code not in (0, 1):
            raise SystemExit(f"glue {' '.join(words)}: exit {code}\n{said}")
        found[step] = line
        return said

    run("init", "init", str(project), "--data", str(raw), "--target", "bought", where=folder)
    raw.unlink()  # the project has a copy
    edit(project, "      timestamp: at", "      entity: customer\n      timestamp: at")
    edit(project, "    - customer\n", "")
    edit(project, "roc_auc: {min: 0.55}", "roc_auc: {min: 0.4}")  # whatever is learned is to be published
    with (project / "glue.yaml").open("a") as config:
        config.write(f"\ncompute: {{memory: {memory}}}\n")
    if estimator:
        edit(project, "sklearn.ensemble.HistGradientBoostingClassifier", estimator)
    for step in STEPS[1:-1]:
        run(step, "run", "--until", step)
    run("package, publish", "run")
    run("predict", "predict", "data/raw/table.parquet", str(folder / "scored.parquet"))
    run("monitor", "monitor", "--current", str(folder / "scored.parquet"))
    run("report", "report")
    return found


def edit(project: Path, old: str, new: str) -> None:
    path = project / "glue.yaml"
    path.write_text(path.read_text().replace(old, new, 1))


def line_through(sizes: dict[float, dict[str, LINE]], million: float) -> dict[str, LINE]:
    (one, first), (two, second) = sorted(sizes.items())[-2:]
    at = (million - one) / (two - one)
    return {step: tuple(a + at * (b - a) for a, b in zip(first[step], second[step], strict=True)) for step in second}  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="+", type=float, default=[1, 5, 20], help="millions")
    parser.add_argument("--folder", type=Path, default=None, help="for the tables and projects; emptied afterwards")
    parser.add_argument("--minutes", type=float, default=120, help="what would take longer is not run")
    parser.add_argument("--estimator", default=None, help="import path; default: glue's own")
    parser.add_argument("--memory", default="3GiB", help="compute.memory: what a fit may take")
    asked = parser.parse_args()
    sizes: dict[float, dict[str, LINE]] = {}
    simulated: set[float] = set()
    begun = time.perf_counter()
    for million in sorted(asked.rows):
        left = asked.minutes * 60 - (time.perf_counter() - begun)
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            fits = shutil.disk_usage(folder).free > million * 1e6 * DISK_BYTES
            if len(sizes) > 1 and (not fits or sum(line[1] for line in line_through(sizes, million).values()) > left):
                sizes[million] = line_through(sizes, million)
                simulated.add(million)
                continue
            sizes[million] = project_of(Path(folder), million, asked.estimator, asked.memory)
    names = [("~" if million in simulated else "") + f"{million:g} million" for million in sizes]
    print(f"\n| step | {' | '.join(names)} |\n|---|{'---|' * len(sizes)}")
    for step in [*STEPS, *AFTER]:
        lines = [found[step] for found in sizes.values()]
        print(f"| {step} | {' | '.join(f'{line[0] / 1024:.2f} GiB, {line[1]:,.0f} s' for line in lines)} |")
    disk = [found["report"][2] / 1024 for found in sizes.values()]
    print(f"| disk | {' | '.join(f'{size:.1f} GiB' for size in disk)} |")


if __name__ == "__main__":
    main()
