"""With nothing edited, `glue init` and `glue run` are as good as a pipeline written by hand for the table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, log_loss, r2_score, roc_auc_score

from mlops_glue.adapters import skops
from mlops_glue.pipeline.threads import threads_for
from mlops_glue.schema import Schema
from tests.support.project import Glue
from tests.support.reference import REFERENCES, Reference
from tests.support.server import ask, serving


def scores(reference: Reference, raw: pd.DataFrame, train: Any, test: Any) -> dict[str, float]:
    """The hand-made pipeline on the same rows."""
    features, target = raw.drop(columns=reference.target), raw[reference.target]
    with threads_for(features):
        model = reference.pipeline().fit(features.iloc[train], target.iloc[train])
    truth, said = target.iloc[test], model.predict(features.iloc[test])
    if reference.metrics == ("r2",):
        return {"r2": float(r2_score(truth, said))}
    probability = model.predict_proba(features.iloc[test])
    found = {"accuracy": accuracy_score(truth, said), "log_loss": log_loss(truth, probability, labels=model.classes_)}
    if len(model.classes_) == 2:
        found["roc_auc"] = roc_auc_score(truth, probability[:, 1])
    return {name: float(value) for name, value in found.items()}


LONG = dict.fromkeys(["breast_cancer", "wine", "digits", "flights"], pytest.mark.long)


@pytest.mark.parametrize("name", [pytest.param(name, marks=LONG.get(name, ())) for name in REFERENCES])
def test_it_is_as_good_as_by_hand(name: str, tmp_path: Path, glue: Glue, empty_store: Path) -> None:
    reference = REFERENCES[name]
    reference.table().to_csv(tmp_path / "t.csv", index=False)
    glue("init", "p", "--data", "t.csv", "--target", reference.target, cwd=tmp_path)
    shutil.copy(empty_store, tmp_path / "p")
    told = json.loads(glue("run", "--json", cwd=tmp_path / "p").stdout)
    assert (told["champion"], told["format"]) == (1, "onnx")
    assert {s["outcome"] for s in told["stages"]} == {"executed"}

    artifacts, raw = tmp_path / "p" / "artifacts", pd.read_csv(tmp_path / "t.csv")
    train, test = (pd.read_parquet(artifacts / "split" / f"{part}.parquet") for part in ("train", "test"))
    by_hand = scores(reference, raw, train["glue_row"], test["glue_row"])
    for metric in reference.metrics:
        behind = (by_hand[metric] - told["metrics"][metric]["value"]) * (-1 if metric == "log_loss" else 1)
        assert behind <= 0.01, f"{metric}: {told['metrics'][metric]['value']:.4f}, by hand {by_hand[metric]:.4f}"

    said = _predict_says_what_scikit_learn_says(tmp_path, glue, test)
    _what_is_served_is_the_same(tmp_path / "p", said, test)
    again = json.loads(glue("run", "--json", cwd=tmp_path / "p").stdout)
    assert {s["outcome"] for s in again["stages"]} == {"unchanged"}
    if name.endswith("flights"):
        when = ["year", "month", "day", "hour", "minute"]
        latest = max(map(tuple, raw.loc[train["glue_row"], when].drop_duplicates().to_numpy().tolist()))
        assert latest < min(map(tuple, raw.loc[test["glue_row"], when].drop_duplicates().to_numpy().tolist()))


def _predict_says_what_scikit_learn_says(folder: Path, glue: Glue, test: pd.DataFrame) -> pd.DataFrame:
    project = folder / "p"
    schema = Schema.from_dict(json.loads((project / "artifacts/bundle/schema.json").read_text()))
    model = skops.load(project / "artifacts/train/model.skops")
    glue("predict", "../t.csv", "scored.parquet", cwd=project)
    scored = pd.read_parquet(project / "scored.parquet").iloc[test["glue_row"]]
    said = scored["prediction"].to_numpy()
    wanted = model.predict(test[[*schema.numeric, *schema.text]])
    if schema.labels is None:
        assert said == pytest.approx(wanted, rel=1e-4)
    else:
        assert (said == wanted).mean() >= 0.999
    return scored


def _what_is_served_is_the_same(project: Path, scored: pd.DataFrame, test: pd.DataFrame) -> None:
    """The whole holdout, through HTTP."""
    schema = Schema.from_dict(json.loads((project / "artifacts/bundle/schema.json").read_text()))
    raw = pd.read_parquet(project / "artifacts/ingest/table.parquet").iloc[test["glue_row"]]
    columns = raw[[c.name for c in schema.columns]]
    rows = json.loads(columns.to_json(orient="records", date_format="iso", double_precision=15))
    got: list[dict[str, Any]] = []
    with serving(project, "--quiet") as (url, _):
        for start in range(0, len(rows), 500):
            status, said = ask(url, body={"rows": rows[start : start + 500]})
            assert status == 200, said
            got += said["predictions"]
    assert [one["prediction"] for one in got] == scored["prediction"].tolist()
    for label in schema.labels or []:
        name = str(label).lower() if isinstance(label, bool) else str(label)
        share = [one["probabilities"][name] for one in got]  # onnxruntime adds trees up in another order by batch size
        assert share == pytest.approx(scored[f"probability_{label}"].to_numpy(), abs=1e-6)
