"""ONNX of the user's own goes all the way: the example of the docs runs, and a stage of one's own makes the file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd

from tests.support.project import Glue

DOCS = (Path(__file__).parents[2] / "docs/models.md").read_text(encoding="utf-8")
SECTION = DOCS.partition("## ONNX of any framework")[2].partition("\n## ")[0]
OWN_STAGE = """import json
import onnx
import pandas as pd
from my_net import train

rows = pd.read_parquet("artifacts/split/train.parquet")
names = [name for name in rows if rows[name].dtype == "float32"]
labels, target = ["Gentoo", "Chinstrap", "Adelie"], rows["target:species"]
model = train(rows[names], target.map(labels.index).to_numpy(), labels, seed=1)
onnx.helper.set_model_props(model, {"glue.labels": json.dumps(labels)})
onnx.save(model, "net.onnx")
"""


def test_the_example_of_the_docs_and_a_stage_of_ones_own(penguins: Path, glue: Glue) -> None:
    settings, example = re.findall(r"```(?:yaml|python)\n(.*?)```", SECTION, re.DOTALL)[:2]
    (penguins / "my_net.py").write_text(example)
    text = (penguins / "glue.yaml").read_text()
    (penguins / "glue.yaml").write_text(re.sub(r"^train:\n(  .*\n)+", settings, text, flags=re.MULTILINE))
    done = glue("run", cwd=penguins)
    assert "v1 is champion" in done.stdout
    parity = json.loads((penguins / "artifacts/bundle/parity.json").read_text())
    assert (parity["format"], parity["own"]) == ("onnx", True)
    metrics = json.loads((penguins / "artifacts/evaluate/metrics.json").read_text())
    assert metrics["accuracy"] > 0.9
    assert "my_net:train supplies the ONNX model" in glue("doctor", cwd=penguins, code=None).stdout
    assert "onnx, supplied by the project (my_net:train)" in glue("card", cwd=penguins).stdout
    glue("predict", "../penguins.csv", "first.csv", cwd=penguins)

    (penguins / "net.py").write_text(OWN_STAGE)
    deps = "[net.py, my_net.py, artifacts/split/train.parquet]"
    with (penguins / "dvc.yaml").open("a") as file:
        file.write(f"  net:\n    cmd: python net.py\n    deps: {deps}\n    outs: [net.onnx]\n")
    done = glue("run", "--set", "train.onnx=net.onnx", "--set", "train.params={}", cwd=penguins, code=None)
    assert re.search(r"net \.+ executed .*\ntrain \.+ executed", done.stderr), done.stderr
    again = json.loads((penguins / "artifacts/evaluate/metrics.json").read_text())
    assert abs(again["log_loss"] - metrics["log_loss"]) < 0.05  # the labels came in another order
    unchanged = glue("run", cwd=penguins, code=None)
    assert "executed" not in unchanged.stderr
    first = pd.read_csv(penguins / "first.csv")
    assert (first.prediction == first.species).mean() > 0.9


def test_what_the_function_lacks_is_said_before_it_runs(penguins: Path, glue: Glue) -> None:
    (penguins / "my_net.py").write_text("def train(features, target, rounds=1):\n    return features.absent\n")
    text = (penguins / "glue.yaml").read_text()
    (penguins / "glue.yaml").write_text(
        re.sub(r"^train:\n", "train:\n  onnx: my_net:train\n", text, flags=re.MULTILINE)
    )
    both = glue("run", cwd=penguins, code=2)
    assert re.search(r"glue\.yaml:\d+ train\.onnx: cannot be combined with train\.estimator", both.stderr)
    wrong = glue("run", "--set", "train.estimator=", "--set", "train.params={round: 3}", cwd=penguins, code=2)
    assert "train.params.round: my_net:train does not take it (did you mean 'rounds'?)" in wrong.stderr
    failed = glue("run", "--set", "train.estimator=", "--set", "train.params={}", cwd=penguins, code=4)
    assert "train.onnx: my_net:train failed: AttributeError" in failed.stderr
    assert "my_net.py:2 in train: return features.absent" in failed.stderr
