"""glue's pipeline side by side with what it composes: run `python benchmarks/pipeline.py [--repeat 5] [part …]`.

Parts: `cold` (glue run, one hand-written script of the same library calls, dvc repro), `unchanged` (glue run, dvc repro),
`help` (glue --help, an empty click program), `predict` (glue predict, onnxruntime by hand, mlflow.pyfunc; 5 million rows).
Printed are medians in seconds and their ratios. The contestants take turns, so that a noisy machine is noisy to all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
PEERS = "six trivial steps, cold, of a bare script: Kedro 1.5, Dagster 2.5, ZenML 3.6, Prefect 5.0, dvc repro 7.3, Metaflow 9.2"

# ruff: noqa: E501 - the programs that glue is held against are texts here
BARE = """
import os, pickle, json, warnings
warnings.simplefilter("ignore")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
import numpy as np, pandas as pd, pyarrow as pa, pyarrow.csv as pc, pyarrow.parquet as pq
import great_expectations as gx
import mlflow, skops.io, onnxruntime
import matplotlib; matplotlib.use("agg")
import matplotlib.pyplot as plt
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.dummy import DummyClassifier
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import OneHotEncoder
from sklearn.pipeline import Pipeline
from sklearn.inspection import permutation_importance
from sklearn.model_selection import train_test_split
from sklearn import metrics as m
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from mlflow.models import infer_signature
import yaml

spec = yaml.safe_load(open("glue.yaml"))
table = pc.read_csv("data/raw/t.csv")
pq.write_table(table, "out_table.parquet")
frame = table.to_pandas()

context = gx.get_context(mode="ephemeral")
batch = context.data_sources.add_pandas("p").add_dataframe_asset("t").add_batch_definition_whole_dataframe("b")
suite = gx.ExpectationSuite("t")
from great_expectations.expectations.registry import get_expectation_impl
for one in spec["validation"]["t"]:
    (name, arguments), = one.items()
    suite.add_expectation(get_expectation_impl(name)(**arguments))
assert batch.get_batch(batch_parameters={"dataframe": frame}).validate(suite).success

text = ["town", "kind"]
number = [c for c in frame if c not in (*text, "y")]
X = frame[number].astype(np.float32).join(frame[text])
pq.write_table(pa.Table.from_pandas(X.assign(y=frame.y)), "out_features.parquet")
Xa, Xb, ya, yb = train_test_split(X, frame.y.to_numpy(), test_size=0.2, stratify=frame.y, random_state=0)
pq.write_table(pa.Table.from_pandas(Xa.assign(y=ya)), "out_train.parquet")
pq.write_table(pa.Table.from_pandas(Xb.assign(y=yb)), "out_test.parquet")

few = OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32)
n = len(number)
prepare = ColumnTransformer([("n", "passthrough", list(range(n))), ("c", few, [n, n + 1])])
model = Pipeline([("p", prepare), ("e", HistGradientBoostingClassifier(random_state=0))]).fit(Xa, ya)
skops.io.dump(model, "out_model.skops", compression=8)

p = model.predict_proba(Xb)
said = model.classes_[p.argmax(1)]
truth = (yb == model.classes_[1]).astype(int)
score = {
    "roc_auc": lambda t, q: m.roc_auc_score(t, q), "average_precision": lambda t, q: m.average_precision_score(t, q),
    "f1": lambda t, q: m.f1_score(t, q > .5), "precision": lambda t, q: m.precision_score(t, q > .5),
    "recall": lambda t, q: m.recall_score(t, q > .5), "accuracy": lambda t, q: m.accuracy_score(t, q > .5),
    "log_loss": lambda t, q: m.log_loss(t, q), "brier": lambda t, q: m.brier_score_loss(t, q),
}
values = {k: float(f(truth, p[:, 1])) for k, f in score.items()}
rng = np.random.default_rng(0)
draws = {k: [] for k in score}
for _ in range(DRAWS):
    at = rng.integers(len(truth), size=min(len(truth), 5000))
    for k, f in score.items():
        draws[k].append(f(truth[at], p[at, 1]))
intervals = {k: np.quantile(v, [.025, .975]).tolist() for k, v in draws.items()}
json.dump([values, intervals], open("out_metrics.json", "w"))
at = np.random.default_rng(0).choice(len(Xb), 1000, replace=False)
permutation_importance(model, Xb.iloc[at], yb[at], n_repeats=3, random_state=0)
for draw in (lambda a: m.RocCurveDisplay.from_predictions(truth, p[:, 1], ax=a),
             lambda a: m.PrecisionRecallDisplay.from_predictions(truth, p[:, 1], ax=a),
             lambda a: m.ConfusionMatrixDisplay.from_predictions(yb, said, ax=a)):
    figure, axes = plt.subplots()
    draw(axes); figure.savefig("out_plot.png"); plt.close(figure)

made = convert_sklearn(model, "m", initial_types=[("number", FloatTensorType([None, n])), ("text", StringTensorType([None, 2]))],
                       options={id(model): {"zipmap": False}}, target_opset={"": 21, "ai.onnx.ml": 3}).SerializeToString()
open("out_model.onnx", "wb").write(made)
live = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
got = live.run(None, {"number": Xb[number].to_numpy(np.float32), "text": Xb[text].to_numpy(object)})
assert (got[0] == model.predict(Xb)).mean() > .999

mlflow.set_tracking_uri("sqlite:///out.db")
mlflow.set_experiment("bare")
with mlflow.start_run():
    mlflow.log_metrics(values)
    mlflow.log_artifact("out_model.onnx"); mlflow.log_artifact("out_metrics.json"); mlflow.log_artifact("out_plot.png")
    logged = mlflow.sklearn.log_model(model, name="model", signature=infer_signature(Xa.head(3), model.predict(Xa.head(3))),
        input_example=Xa.head(3), pip_requirements=["scikit-learn"], serialization_format="skops",
        skops_trusted_types=skops.io.get_untrusted_types(file="out_model.skops"))
version = mlflow.register_model(logged.model_uri, "bare")
mlflow.MlflowClient().set_registered_model_alias("bare", "champion", version.version)
"""

BY_HAND = """
import sys, numpy as np, pyarrow as pa, pyarrow.parquet as pq, onnxruntime as ort
model, source, target = sys.argv[1:]
options = ort.SessionOptions(); options.intra_op_num_threads = 0
live = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
file, sink = pq.ParquetFile(source), None
for batch in file.iter_batches(batch_size=65536):
    number = np.column_stack([c.to_numpy(zero_copy_only=False) for c in batch.columns]).astype(np.float32)
    label, p = live.run(None, {"number": number})
    out = pa.Table.from_batches([batch]).append_column("prediction", pa.array(label)).append_column("probability_0", pa.array(p[:, 0])).append_column("probability_1", pa.array(p[:, 1]))
    sink = sink or pq.ParquetWriter(target, out.schema)
    sink.write_table(out)
sink.close()
"""

PYFUNC = """
import sys, warnings; warnings.simplefilter("ignore")
import mlflow, pandas as pd, numpy as np
uri, source, target = sys.argv[1:]
mlflow.set_tracking_uri(uri)
model = mlflow.pyfunc.load_model("models:/project@champion")
table = pd.read_parquet(source)
table.assign(prediction=model.predict(table)["prediction"]).to_parquet(target)
"""


def table(rows: int, columns: int, *, text: bool) -> pd.DataFrame:
    """Numbers, two categories and a binary target that some of the numbers tell."""
    rng = np.random.default_rng(0)
    made = pd.DataFrame(rng.normal(size=(rows, columns)).round(5), columns=[f"x{i}" for i in range(columns)])
    if text:
        made["town"], made["kind"] = rng.choice(["a", "b", "c", "d"], rows), rng.choice(["u", "v"], rows)
    return made.assign(y=(made.x0 + made.x1 * made.x2 + rng.normal(size=rows) > 0).astype(int))


def seconds(words: list[str], cwd: Path) -> float:
    """Wall seconds of one command, which must succeed."""
    started = time.perf_counter()
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    took = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{words}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
    return took


def tell(name: str, taken: dict[str, list[float]], limits: dict[str, tuple[str, float]]) -> None:
    """Medians, and each limit: the first contestant's median over another's."""
    middle = {who: statistics.median(times) for who, times in taken.items()}
    print(f"\n{name}: " + ", ".join(f"{who} {took:.3f} s" for who, took in middle.items()))
    first = next(iter(middle))
    for who, (sign, limit) in limits.items():
        ratio = middle[first] / middle[who]
        met = ratio <= limit if sign == "<=" else ratio >= limit
        print(f"  {first} is {ratio:.3f} x {who} (wanted {sign} {limit:.3f}) {'met' if met else 'MISSED'}")


def project(folder: Path) -> Path:
    """A project on 100,000 x 20, initialised and not run."""
    table(100_000, 18, text=True).to_csv(folder / "t.csv", index=False)
    seconds(["glue", "init", "project", "--data", "t.csv", "--target", "y"], folder)
    return folder / "project"


def cold(folder: Path, repeat: int) -> None:
    """The first run of a project."""
    fresh = project(folder)
    from mlops_glue import bootstrap

    (folder / "bare.py").write_text(BARE.replace("DRAWS", str(bootstrap.SAMPLES)))
    taken: dict[str, list[float]] = {"glue run": [], "bare script": []}
    stages: dict[str, list[float]] = {"glue run --no-publish": [], "dvc repro": []}
    for _ in range(repeat):
        for who, words in {
            "glue run": ["glue", "run"],
            "glue run --no-publish": ["glue", "run", "--no-publish"],  # dvc repro publishes nothing
            "bare script": [sys.executable, str(folder / "bare.py")],
            "dvc repro": ["dvc", "repro"],
        }.items():
            copy = folder / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(fresh, copy)
            (taken if who in taken else stages)[who].append(seconds(words, copy))
    tell("cold, 100,000 x 20", taken, {"bare script": ("<=", 1.1)})
    tell("cold, the stages alone", stages, {"dvc repro": ("<=", 1 / 3)})
    print(f"  peers: {PEERS}")


def unchanged(folder: Path, repeat: int) -> None:
    """Nothing has changed since the last run."""
    root = project(folder)
    seconds(["glue", "run"], root)
    taken: dict[str, list[float]] = {"glue run": [], "dvc repro": []}
    for _ in range(repeat):
        taken["glue run"].append(seconds(["glue", "run"], root))
        taken["dvc repro"].append(seconds(["dvc", "repro"], root))
    tell("unchanged", taken, {"dvc repro": ("<=", 0.15)})


def help_(folder: Path, repeat: int) -> None:
    """How soon the command line answers."""
    empty = folder / "empty.py"
    empty.write_text("import click\n@click.group()\ndef main():\n    '''Nothing.'''\nmain()\n")
    taken: dict[str, list[float]] = {"glue --help": [], "empty click program": []}
    for _ in range(4 * repeat):
        taken["glue --help"].append(seconds(["glue", "--help"], folder))
        taken["empty click program"].append(seconds([sys.executable, str(empty), "--help"], folder))
    tell("help", taken, {"empty click program": ("<=", 1.5)})


def predict(folder: Path, repeat: int, rows: int = 5_000_000) -> None:
    """Batch scoring, Parquet to Parquet; memory on a fifth of the rows beside it."""
    train = table(20_000, 20, text=False)
    train.to_csv(folder / "t.csv", index=False)
    seconds(["glue", "init", "project", "--data", "t.csv", "--target", "y"], folder)
    root = folder / "project"
    linear = ["--set", "train.estimator=sklearn.linear_model.LogisticRegression"]
    seconds(["glue", "run", *linear], root)
    big = folder / "big.parquet"
    table(rows, 20, text=False).drop(columns="y").to_parquet(big, index=False, row_group_size=500_000)
    pd.read_parquet(big).head(rows // 5).to_parquet(folder / "small.parquet", index=False)
    for name, body in {"by_hand.py": BY_HAND, "pyfunc.py": PYFUNC}.items():
        (folder / name).write_text(body)
    model = str(root / "artifacts/bundle/model.onnx")
    uri = f"sqlite:///{root / 'mlflow.db'}"
    out = str(folder / "out.parquet")
    taken: dict[str, list[float]] = {"glue predict": [], "onnxruntime by hand": [], "mlflow.pyfunc": []}
    for _ in range(repeat):
        taken["glue predict"].append(seconds(["glue", "predict", str(big), out], root))
        taken["onnxruntime by hand"].append(
            seconds([sys.executable, str(folder / "by_hand.py"), model, str(big), out], root)
        )
        taken["mlflow.pyfunc"].append(seconds([sys.executable, str(folder / "pyfunc.py"), uri, str(big), out], root))
    tell(f"predict, {rows:,} x 20", taken, {"onnxruntime by hand": ("<=", 1 / 0.9), "mlflow.pyfunc": ("<=", 1 / 1.8)})
    peaks = []
    for file in (folder / "small.parquet", big):
        code = (
            "import re, sys\nfrom mlops_glue.cli import main\n"
            "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
            "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"  # ru_maxrss begins with its parent's
        )
        words = [sys.executable, "-c", code, "predict", str(file), out]
        done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]) / 1024)
    print(f"  peak memory of glue predict: {peaks[0]:.0f} MiB on {rows // 5:,} rows, {peaks[1]:.0f} MiB on {rows:,}")


def main() -> None:
    """Run the parts that are asked for, or all."""
    parts = {"cold": cold, "unchanged": unchanged, "help": help_, "predict": predict}
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("parts", nargs="*", choices=[*parts, []], default=[])
    asked.add_argument("--repeat", type=int, default=5)
    given = asked.parse_args()
    for name in given.parts or parts:
        with tempfile.TemporaryDirectory() as folder:
            parts[name](Path(folder), given.repeat)


if __name__ == "__main__":
    main()
