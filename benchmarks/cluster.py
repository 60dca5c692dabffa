"""A folder scored here and on Ray: run `python benchmarks/cluster.py [--files 12] [--rows 100000] [--price 0.05]`.

Measured: `glue predict` of a folder with the local engine, and on a Ray cluster of one and of two nodes, in seconds of
the clock; each with two small files too, for what it costs before the first row. Each node has one CPU, and all are
processes of this machine: no network is measured, and on a busy machine two nodes gain nothing. The load is printed.

Computed from that, and marked so: on how many rows a cluster overtakes one process, if each of its CPUs scores as many
rows in a second as one process does in a second of CPU time, for it runs the same function; and the price of a million
rows at `--price` dollars for an hour of a CPU (the default is about that of a general-purpose machine on demand,
divided by its CPUs).
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import ray.cluster_utils

os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
COLUMNS, LEARNED, SMALL = 20, 20_000, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=12)
    parser.add_argument("--rows", type=int, default=100_000, help="of each file")
    parser.add_argument("--price", type=float, default=0.05, help="dollars for an hour of a CPU")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        os.environ.update(HOME=folder, RAY_TMPDIR=folder, RAY_USAGE_STATS_ENABLED="0", RAY_worker_niceness="0")
        root = project(Path(folder), options.files, options.rows)
        rows = options.files * options.rows
        found = {"one process": measured(root, "")}
        node = {"num_cpus": 1, "object_store_memory": 100 << 20}
        cluster = ray.cluster_utils.Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        engine = f"compute: {{engine: ray, address: '{cluster.address}'}}\n"
        found["Ray, one node"] = measured(root, engine)
        cluster.add_node(**node)
        found["Ray, two nodes"] = measured(root, engine)
        cluster.shutdown()
    show(found, rows, options.price)


def project(folder: Path, files: int, rows: int) -> Path:
    """A project that has a champion, with tables to score."""
    rng = np.random.default_rng(0)

    def table(many: int) -> pd.DataFrame:
        return pd.DataFrame(
            rng.normal(size=(many, COLUMNS)).astype("float32"), columns=[f"x{n}" for n in range(COLUMNS)]
        )

    learned = table(LEARNED)
    learned["y"] = np.where(learned.x0 * learned.x1 + learned.x2 + rng.normal(size=LEARNED) > 0, "yes", "no")
    learned.to_parquet(folder / "learned.parquet")
    for name, count in (("many", rows), ("few", SMALL)):
        (folder / name).mkdir()
        for number in range(files if name == "many" else 2):
            table(count).to_parquet(folder / name / f"{number:03}.parquet")
    glue("init", "project", "--data", "learned.parquet", "--target", "y", cwd=folder)
    glue("run", cwd=folder / "project")
    return folder / "project"


def glue(*words: str, cwd: Path) -> tuple[float, float]:
    """Seconds of the clock and of CPU time that a command takes."""
    started, before = time.perf_counter(), cpu_s()
    subprocess.run(["glue", *words], cwd=cwd, check=True, capture_output=True)
    return time.perf_counter() - started, cpu_s() - before


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(root: Path, engine: str) -> list[tuple[float, float]]:
    """Both for a folder of few rows, and for the one of many."""
    plain = (root / "glue.yaml").read_text(encoding="utf-8")
    (root / "glue.yaml").write_text(f"{plain}\n{engine}", encoding="utf-8")
    found = [glue("predict", f"../{name}", "../out", cwd=root) for name in ("few", "many")]
    (root / "glue.yaml").write_text(plain, encoding="utf-8")
    return found


def show(found: dict[str, list[tuple[float, float]]], rows: int, price: float) -> None:
    """The tables, as Markdown."""
    load = f"load {os.getloadavg()[1]:.0f} on {os.cpu_count()} CPUs"
    print(f"| measured, {rows:,} rows of {COLUMNS} columns, {load} | {2 * SMALL} rows | all rows |\n|---|---|---|")
    for name, times in found.items():
        print(f"| {name} | {times[0][0]:.1f} s | {times[1][0]:.1f} s |")
    (few, many), joins = found["one process"], found["Ray, one node"][0][0] - found["one process"][0][0]
    rate = rows / (many[1] - few[1])
    head = f"computed, {rate:,.0f} rows in a second of CPU time"
    print(f"\n| {head} | overtakes at | rows in an hour | $ per million rows |")
    print("|---|---|---|---|")
    for cpus in (1, 2, 4, 16, 64):
        name = "one process" if cpus == 1 else f"Ray, {cpus} CPUs"
        overtakes = f"{joins * rate / (1 - 1 / cpus):,.0f} rows" if cpus > 1 else ""
        print(f"| {name} | {overtakes} | {3600 * cpus * rate:,.0f} | {price / 3600 * 1e6 / rate:.6f} |")


if __name__ == "__main__":
    main()
