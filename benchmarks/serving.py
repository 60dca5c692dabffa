"""glue serve side by side with what people run instead: `python benchmarks/serving.py [part …]`.

Parts: `model` (a random forest of 100 trees of depth 12, 20 features, one row a request: glue serve with validation,
metrics, access log and prediction log, whose segments become Parquet each second; the same without prediction log; the
FastAPI and joblib code of the guides; `mlflow models serve` of the same estimator, logged by `mlflow.sklearn` (what glue
registers is quicker there, as it runs in ONNX); a constant answer by Starlette, which is the ceiling), `lookup` (the
fraud template, features by entity from the embedded store and from Redis: glue serve, and servers that make Feast's own
call for each request), `explain` (the same forest, asked with and without `?explain=true`), `log` (what the prediction
log costs) and `soak` (ten minutes at half of what it can do).

Needs `wrk` (Debian: apt-get install wrk). The server has core 0, the client core 1. Requests per CPU-second count the
CPU time of the server's processes, which a noisy machine changes least; contestants take turns, medians are printed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
TICKS = os.sysconf("SC_CLK_TCK")
REDIS = os.environ.get("GLUE_TEST_REDIS", "127.0.0.1:6379")
BODIES = 500  # different requests, where it matters who is asked about
HEADERS = {"Content-Type": "application/json"}

# ruff: noqa: E501 - the programs that glue is held against are texts here
NAIVE = """
from typing import List
import joblib, numpy as np, uvicorn, sys
from fastapi import FastAPI
from pydantic import BaseModel
model = joblib.load("model.joblib")
app = FastAPI()
class Item(BaseModel):
    features: List[float]
@app.post("/predict")
def predict(item: Item):
    x = np.array(item.features).reshape(1, -1)
    return {"prediction": int(model.predict(x)[0]), "probability": model.predict_proba(x)[0].tolist()}
@app.get("/ready")
def ready():
    return {}
uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning")
"""
PLAIN = """
import joblib, mlflow, pandas as pd
rows = pd.read_json("artifacts/bundle/input_example.json", convert_dates=False)
mlflow.sklearn.log_model(joblib.load("model.joblib"), name="m", registered_model_name="plain", input_example=rows,
                         serialization_format="cloudpickle")
"""
CEILING = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
async def predict(request):
    await request.body()
    return Response(b'{"prediction":1,"probabilities":{"0":0.25,"1":0.75},"model_version":1}', media_type="application/json")
async def ready(request):
    return Response(b"{}")
app = Starlette(routes=[Route("/predict", predict, methods=["POST"]), Route("/ready", ready)])
uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning")
"""
FEAST = """
import sys, json, warnings; warnings.simplefilter("ignore")
import msgspec, numpy as np, onnxruntime as ort, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from mlops_glue import config, feature_stores
from pathlib import Path
root = Path(sys.argv[2])
store = feature_stores.open_live(config.load(root, sys.argv[3] or None), root)._store
options = ort.SessionOptions(); options.intra_op_num_threads = 1
live = ort.InferenceSession(str(root / "artifacts/bundle/model.onnx"), options, providers=["CPUExecutionProvider"])
listed = json.loads((root / "artifacts/bundle/features.json").read_text())
schema = json.loads((root / "artifacts/bundle/schema.json").read_text())
number = [c["name"] for c in schema["columns"] if c["kind"] != "category"]
text = [c["name"] for c in schema["columns"] if c["kind"] == "category"]
async def predict(request):
    rows = msgspec.json.decode(await request.body())["rows"]
    use = store.get_feature_service(listed["use"]) if isinstance(listed["use"], str) else listed["use"]
    got = store.get_online_features(features=use, entity_rows=[{"customer_id": r["customer_id"]} for r in rows], full_feature_names=True).to_dict()
    for name, ref in listed["columns"].items():
        for row, value in zip(rows, got[ref.replace(":", "__")]):
            row[name] = value
    inputs = {"number": np.array([[r[n] for n in number] for r in rows], np.float32)}
    if text:
        inputs["text"] = np.array([[r[n] or "" for n in text] for r in rows], object)
    label, p = live.run(None, inputs)
    return Response(msgspec.json.encode({"predictions": label.tolist(), "probabilities": p.tolist()}), media_type="application/json")
async def ready(request):
    return Response(b"{}")
app = Starlette(routes=[Route("/predict", predict, methods=["POST"]), Route("/ready", ready)])
uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning")
"""
LUA = """
local file = io.open("{body}", "rb")
wrk.method = "POST"
local bodies, at = {}, 0
for line in file:lines() do bodies[#bodies + 1] = line end
wrk.body = bodies[1]
if #bodies > 1 then  -- one after the other
  request = function()
    at = at % #bodies + 1
    return wrk.format(nil, nil, nil, bodies[at])
  end
end
wrk.headers["Content-Type"] = "application/json"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration,
    e.status + e.connect + e.read + e.write + e.timeout, latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass
class Server:
    """One contestant, running."""

    name: str
    process: subprocess.Popen[bytes]
    url: str
    body: bytes
    start_s: float

    def cpu_s(self) -> float:
        """Of the process and all its children."""
        return sum(sum(map(int, text.rpartition(")")[2].split()[11:13])) / TICKS for text in self._stats())

    def memory_mib(self) -> float:
        """Of the process that has worked most: the one that answers."""
        all_ = [text.rpartition(")")[2].split() for text in self._stats()]
        return int(max(all_, key=lambda one: int(one[11]) + int(one[12]))[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def _stats(self) -> Iterator[str]:
        waiting = [self.process.pid]
        while waiting:
            pid = waiting.pop()
            with contextlib.suppress(OSError):
                yield Path(f"/proc/{pid}/stat").read_text()
                for task in Path(f"/proc/{pid}/task").iterdir():
                    waiting += map(int, (task / "children").read_text().split())


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def answers(url: str, body: bytes | None = None) -> bool:
    """Is it a 200?"""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, HEADERS), timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def running(
    name: str, words: list[str], port: int, path: str, body: bytes, cwd: Path, ready: str = "/ready"
) -> Iterator[Server]:
    """A server on core 0, until the block ends."""
    started = time.perf_counter()
    with (cwd / f"{re.sub(r'[^a-z]', '_', name)}.log").open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", "0", *words], cwd=cwd, stdout=log, stderr=log, start_new_session=True
        )
        try:
            while not answers(f"http://127.0.0.1:{port}{ready}"):
                if process.poll() is not None or time.perf_counter() - started > 180:
                    sys.exit(f"{name} does not start: {Path(log.name).read_text()[-2000:]}")
                time.sleep(0.02)
            took = time.perf_counter() - started
            url = f"http://127.0.0.1:{port}{path}"
            if not answers(url, body.partition(b"\n")[0]):
                sys.exit(f"{name} does not answer: {Path(log.name).read_text()[-2000:]}")
            yield Server(name, process, url, body, took)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def measure(server: Server, seconds: float, connections: int, folder: Path, pause_ms: float = 0) -> dict[str, float]:
    """One round of wrk on core 1."""
    (folder / "body").write_bytes(server.body)
    pause = f"function delay() return {pause_ms:.3f} end\n" if pause_ms else ""
    (folder / "post.lua").write_text(pause + LUA.replace("{body}", str(folder / "body")))
    before = server.cpu_s()
    words = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "20s"]
    done = subprocess.run(
        [*words, "-s", str(folder / "post.lua"), server.url], capture_output=True, text=True, check=True
    )
    used = server.cpu_s() - before
    count, micros, errors, p50, p99 = map(int, re.search(r"RESULT (.*)", done.stdout).group(1).split())  # type: ignore[union-attr]
    if errors:
        sys.exit(f"{server.name}: {errors} of {count} requests failed")
    return {"rps": count / micros * 1e6, "per_cpu": count / used, "p50": p50 / 1000, "p99": p99 / 1000}


def rounds(
    servers: list[Server], count: int, seconds: float, folder: Path, connections: int = 16
) -> dict[str, dict[str, float]]:
    """Medians by contestant; they take turns."""
    for server in servers:
        measure(server, 1, connections, folder)
    taken: dict[str, list[dict[str, float]]] = {server.name: [] for server in servers}
    for _ in range(count):
        for server in servers:
            taken[server.name].append(measure(server, seconds, connections, folder))
    return {n: {k: statistics.median(one[k] for one in all_) for k in all_[0]} for n, all_ in taken.items()}


def tell(servers: list[Server], got: dict[str, dict[str, float]]) -> None:
    """A table."""
    print(f"{'':28}{'req/s':>9}{'req/CPU-s':>11}{'p50 ms':>8}{'p99 ms':>8}{'MiB':>6}{'start s':>9}")
    for server in servers:
        one = got[server.name]
        print(
            f"{server.name:28}{one['rps']:9.0f}{one['per_cpu']:11.0f}{one['p50']:8.2f}{one['p99']:8.2f}"
            f"{server.memory_mib():6.0f}{server.start_s:9.2f}"
        )


def limit(said: str, value: float, sign: str, wanted: float) -> None:
    """One ratio and whether it is as wanted."""
    met = value >= wanted if sign == ">=" else value <= wanted
    print(f"  {said}: {value:.2f} (wanted {sign} {wanted:g}) {'met' if met else 'MISSED'}")


def command(words: list[str], cwd: Path) -> None:
    """Something that must succeed."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{words}: {done.stdout[-1500:]}{done.stderr[-1500:]}")


def forest(folder: Path) -> Path:
    """A project whose champion is a random forest."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 20)).round(4)
    table = pd.DataFrame(x, columns=[f"x{i}" for i in range(20)])
    noise = rng.normal(size=len(x))
    table.assign(y=(x[:, 0] + x[:, 1] * x[:, 2] + noise > 0).astype(int)).to_csv(folder / "t.csv", index=False)
    command(["glue", "init", "rf", "--data", "t.csv", "--target", "y"], folder)
    root = folder / "rf"
    chosen = ["--set", "train.estimator=sklearn.ensemble.RandomForestClassifier"]
    command(["glue", "run", *chosen, "--set", "train.params={n_estimators: 100, max_depth: 12}"], root)
    if not (root / "artifacts/bundle/model.onnx").is_file():
        sys.exit("the forest was not faithful in ONNX")
    return root


def model(folder: Path, seconds: float, count: int) -> None:
    """One row of 20 numbers."""
    import joblib
    import skops.io

    from mlops_glue.adapters.skops import TRUSTED

    root = forest(folder)
    estimator = skops.io.load(root / "artifacts/train/model.skops", trusted=TRUSTED)
    joblib.dump(estimator, root / "model.joblib")
    for name, text in {"naive.py": NAIVE, "plain.py": PLAIN, "ceiling.py": CEILING}.items():
        (root / name).write_text(text)
    row = json.loads((root / "artifacts/bundle/input_example.json").read_text())[0]
    named, listed = json.dumps(row).encode(), json.dumps({"features": list(row.values())}).encode()
    split = json.dumps({"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}).encode()
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{root / 'mlflow.db'}"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    ports = [free_port() for _ in range(5)]
    config = (root / "glue.yaml").read_text()
    head = config[: config.index("serve:")]
    (root / "glue.yaml").write_text(
        f"{head}serve: {{prediction_log: data/predictions, log: {{rotate_s: 1}}}}\n"
        "environments: {unlogged: {serve: {prediction_log: null}}}\n"
    )
    bare = ["glue", "serve", "--env", "unlogged", "--port", str(ports[4])]
    subprocess.run([sys.executable, "plain.py"], cwd=root, check=True, capture_output=True)
    mlflow = ["mlflow", "models", "serve", "-m", "models:/plain/1", "--env-manager", "local", "-p", str(ports[2])]
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(one)
            for one in (
                running("glue serve", ["glue", "serve", "--port", str(ports[0])], ports[0], "/predict", named, root),
                running("glue serve, no log", bare, ports[4], "/predict", named, root),
                running(
                    "FastAPI and joblib",
                    [sys.executable, "naive.py", str(ports[1])],
                    ports[1],
                    "/predict",
                    listed,
                    root,
                ),
                running("mlflow models serve", mlflow, ports[2], "/invocations", split, root, "/ping"),
                running(
                    "constant by Starlette",
                    [sys.executable, "ceiling.py", str(ports[3])],
                    ports[3],
                    "/predict",
                    named,
                    root,
                ),
            )
        ]
        time.sleep(20)  # the process that asks the registry has imported MLflow then
        got = rounds(servers, count, seconds, folder)
        print("\nrandom forest, one row, 16 connections")
        tell(servers, got)
        ours = got["glue serve"]
        for other, sign, wanted in (
            ("FastAPI and joblib", ">=", 110),
            ("mlflow models serve", ">=", 110),
            ("constant by Starlette", ">=", 0.65),
        ):
            limit(f"requests per CPU-second, x {other}", ours["per_cpu"] / got[other]["per_cpu"], sign, wanted)
        limit("of the throughput without log", ours["per_cpu"] / got["glue serve, no log"]["per_cpu"], ">=", 0.85)
        limit("p99 / p50", ours["p99"] / ours["p50"], "<=", 4)
        limit("MiB of the worker", servers[0].memory_mib(), "<=", 170)
    restarts = []
    for _ in range(count):  # with the core to itself
        with running(
            "glue serve", ["glue", "serve", "--port", str(ports[0])], ports[0], "/predict", named, root
        ) as again:
            restarts.append(again.start_s)
    limit("seconds from the command to ready", statistics.median(restarts), "<=", 1.5)


def explain(folder: Path, seconds: float, count: int) -> None:
    """What `/predict?explain=true` costs: one row of 20 numbers, with the log."""
    root, port = forest(folder), free_port()
    config = (root / "glue.yaml").read_text()
    (root / "glue.yaml").write_text(config.replace("\nserve:", "\nserve:\n  explain: true", 1))
    row = json.dumps(json.loads((root / "artifacts/bundle/input_example.json").read_text())[0]).encode()
    with running("glue serve", ["glue", "serve", "--port", str(port)], port, "/predict", row, root) as server:
        time.sleep(20)  # as above
        asked = replace(server, name="with ?explain=true", url=f"{server.url}?explain=true")
        got = rounds([server, asked], count, seconds, folder)
        print("\nrandom forest, one row and its explanation, 16 connections")
        tell([server, asked], got)
        each = got[server.name]["per_cpu"] / got[asked.name]["per_cpu"]
        print(f"  an explained row costs as much CPU as {each:.0f} that are only scored")


def soak(folder: Path, seconds: float, count: int) -> None:
    """Memory and errors over `150 * seconds` (ten minutes)."""
    root = forest(folder)
    row = json.dumps(json.loads((root / "artifacts/bundle/input_example.json").read_text())[0]).encode()
    port = free_port()
    with running("glue serve", ["glue", "serve", "--port", str(port)], port, "/predict", row, root) as server:
        most = measure(server, seconds, 16, folder)["rps"]
        pause_ms = 16 / (most / 2) * 1000  # of each connection between two requests
        start = server.memory_mib()
        for part in range(10):
            got = measure(server, 15 * seconds, 16, folder, pause_ms)
            print(
                f"  {part + 1} of 10: {got['rps']:.0f} requests/s, p99 {got['p99']:.2f} ms, {server.memory_mib():.0f} MiB"
            )
        limit("MiB more than at the start", server.memory_mib() - start, "<=", 5)


def log(folder: Path, seconds: float, count: int) -> None:
    """A million logged rows of 20 numbers, and by arithmetic a hundred million in thirty days."""
    import duckdb

    from mlops_glue.serving.segments import FORMAT, About, Column, Segment
    from mlops_glue.serving.ship import ship_once

    rows, rng = 1_000_000, np.random.default_rng(0)
    x = rng.normal(size=(10_000, 20)).round(4).tolist()
    about = About(FORMAT, "m", 1, "f" * 64, [Column(f"x{i}", "number", "double") for i in range(20)], [0, 1])
    (folder / "spool").mkdir()
    spent, raw = time.process_time(), 0
    for part in range(8):  # of 125,000 rows: a segment is closed at 32 MiB
        segment = Segment(folder / "spool", about)
        for at in range(part * rows // 8, (part + 1) * rows // 8, 8):
            now = time.time()
            records = [
                (f"1a210e40aed5{at + k:x}", now, None, "champion", True, [x[(at + k) % 10_000]], [1], [[0.25, 0.75]])
                for k in range(8)
            ]
            segment.write(records)
        raw += segment.size
        segment.close()
    wrote, spent = time.process_time() - spent, time.process_time()
    ship_once(folder / "spool", str(folder / "log"))
    shipped = time.process_time() - spent
    files = list((folder / "log").rglob("*.parquet"))
    size = sum(p.stat().st_size for p in files)
    started = time.perf_counter()
    frame = pd.read_parquet(folder / "log")
    pandas_s, started = time.perf_counter() - started, time.perf_counter()
    said = duckdb.sql(f"select prediction, count(*), avg(x0) from '{folder}/log/**/*.parquet' group by 1").fetchall()
    duckdb_s = time.perf_counter() - started
    assert len(frame) == said[0][1] == rows
    print("\nprediction log, 20 numbers a row")
    print(
        f"  to write, eight at a time: {wrote / rows * 1e6:.2f} us of CPU a row; a segment has {raw / rows:.0f} bytes a row"
    )
    print(f"  to make Parquet of it: {shipped / rows * 1e6:.2f} us of CPU a row; {size / rows:.0f} bytes a row")
    print(f"  to read a million rows: pandas {pandas_s:.2f} s, DuckDB (one column by class) {duckdb_s:.3f} s")
    day = 1e8 / 30 / rows
    segments = max(24 * 60, 1e8 / 30 * raw / rows / (32 << 20))  # one a minute, or each 32 MiB
    print(
        f"  100 million rows in 30 days, one worker: {size / rows / 10:.1f} GB in {30 * segments:,.0f} files; "
        f"a day of it: pandas {day * pandas_s:.1f} s, DuckDB {day * duckdb_s:.2f} s, and the opening of {segments:,.0f} files"
    )


def lookup(folder: Path, seconds: float, count: int) -> None:
    """Features by entity."""
    command(["glue", "init", "fraud", "--template", "fraud"], folder)
    root = folder / "fraud"
    text = (root / "glue.yaml").read_text()
    redis = f"{{type: redis, connection_string: '{REDIS}'}}"
    section = f"environments:\n  bench:\n    features: {{online_store: {redis}}}\n"
    section += "  plain:\n    features: {online_store: {type: sqlite, path: data/plain.db}}\n"
    (root / "glue.yaml").write_text(
        text + "\n" + section if "\nenvironments:" not in text else sys.exit("environments")
    )
    command(["glue", "run"], root)
    for env in ("bench", "plain"):
        command(["glue", "materialize", "--env", env], root)
    example = json.loads((root / "artifacts/bundle/input_example.json").read_text())
    listed = json.loads((root / "artifacts/bundle/features.json").read_text())
    rows = [{k: v for k, v in row.items() if k not in listed["columns"]} for row in example]
    whom = pd.read_parquet(root / "data/raw/customers.parquet")["customer_id"].sample(frac=1, random_state=0).tolist()
    (root / "bare.py").write_text(FEAST)
    for store, env, others in (
        ("embedded", "", {"Feast's call, its SQLite store": "plain"}),  # as who has no glue makes it
        ("Redis", "bench", {"Feast's call, its Redis store": "bench"}),
    ):
        for size in (1, 100):
            some = [{**rows[n % len(rows)], "customer_id": whom[n % len(whom)]} for n in range(BODIES * size)]
            body = b"\n".join(json.dumps({"rows": some[n::BODIES]}).encode() for n in range(BODIES))
            with contextlib.ExitStack() as stack:
                port = free_port()
                words = ["glue", "serve", "--quiet", "--port", str(port), *(["--env", env] if env else [])]
                servers = [stack.enter_context(running("glue serve", words, port, "/predict", body, root))]
                for name, of in others.items():
                    port = free_port()
                    bare = [sys.executable, "bare.py", str(port), str(root), of]
                    servers.append(stack.enter_context(running(name, bare, port, "/predict", body, root)))
                time.sleep(20)  # as above
                got = rounds(servers, count, seconds, folder)
                print(f"\nfeatures looked up in the {store} store, {size} entities a request")
                tell(servers, got)
                for name in others:
                    limit(f"requests per second, x {name}", got["glue serve"]["rps"] / got[name]["rps"], ">=", 3)


def main() -> None:
    """Run the parts that are asked for, or all."""
    parts = {"model": model, "lookup": lookup, "explain": explain, "log": log, "soak": soak}
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("parts", nargs="*", choices=[*parts, []], default=[])
    asked.add_argument("--seconds", type=float, default=4)
    asked.add_argument("--rounds", type=int, default=3)
    given = asked.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    for name in given.parts or parts:
        with tempfile.TemporaryDirectory() as scratch:
            parts[name](Path(scratch), given.seconds, given.rounds)


if __name__ == "__main__":
    main()
