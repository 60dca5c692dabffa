"""A folder scored here and on Ray: run `python benchmarks/cluster.py [--files 12] [--rows 100000] [--price 0.05]`.

Measured: `glue predict` of a folder with the local engine, and on a Ray cluster of one and of two nodes. Each node has
one CPU, and all are processes of this machine: no network is measured, and two nodes gain nothing where two CPUs are
not free. Each is measured twice, with two small files for what it costs before the first row.

Computed from that, and marked so: on how many rows a cluster of so many CPUs overtakes one process, if each CPU scores
as fast as that of one node; and the price of a million rows at `--price` dollars for an hour of a CPU (the default is
about that of a general-purpose machine on demand, divided by its CPUs).
"""

from __future__ import annotations

import argparse
import os
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
        found = {"one process": measured(root, "", rows)}
        node = {"num_cpus": 1, "object_store_memory": 100 << 20}
        cluster = ray.cluster_utils.Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        engine = f"compute: {{engine: ray, address: '{cluster.address}'}}\n"
        found["Ray, one node"] = measured(root, engine, rows)
        cluster.add_node(**node)
        found["Ray, two nodes"] = measured(root, engine, rows)
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


def glue(*words: str, cwd: Path) -> float:
    """Seconds that a command takes."""
    started = time.perf_counter()
    subprocess.run(["glue", *words], cwd=cwd, check=True, capture_output=True)
    return time.perf_counter() - started


def measured(root: Path, engine: str, rows: int) -> tuple[float, float]:
    """Seconds before the first row, and rows a second from then on."""
    plain = (root / "glue.yaml").read_text(encoding="utf-8")
    (root / "glue.yaml").write_text(f"{plain}\n{engine}", encoding="utf-8")
    few, many = (glue("predict", f"../{name}", "../out", cwd=root) for name in ("few", "many"))
    (root / "glue.yaml").write_text(plain, encoding="utf-8")
    return few, rows / max(many - few, 1e-9)


def show(found: dict[str, tuple[float, float]], rows: int, price: float) -> None:
    """The tables, as Markdown."""
    (start, rate), (joins, each) = found["one process"], found["Ray, one node"]
    print(f"| measured, {rows:,} rows of {COLUMNS} columns | s before the first row | rows/s |\n|---|---|---|")
    for name, (before, speed) in found.items():
        print(f"| {name} | {before:.1f} | {speed:,.0f} |")
    print("\n| computed: CPUs | overtakes one process at | an hour scores | $ per million rows |\n|---|---|---|---|")
    print(f"| 1, one process | | {3600 * rate:,.0f} rows | {price / 3600 * 1e6 / rate:.6f} |")
    for cpus in (2, 4, 16, 64):
        gain = 1 / rate - 1 / (cpus * each)
        from_rows = f"{max(joins - start, 0) / gain:,.0f} rows" if gain > 0 else "never"
        print(f"| {cpus}, Ray | {from_rows} | {3600 * cpus * each:,.0f} rows | {price / 3600 * 1e6 / each:.6f} |")


if __name__ == "__main__":
    main()
