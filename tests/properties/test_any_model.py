"""What people bring is served as it predicts, and in the form that the docs say."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from skl2onnx._supported_operators import sklearn_operator_name_map as registered

from mlops_glue import files
from mlops_glue.config import Config
from mlops_glue.encoding import encode
from mlops_glue.pipeline.train import build
from mlops_glue.schema import Schema
from tests.support.estimators import CASES, TARGETS, Case, page, rows
from tests.support.models import through

DOCS = Path(__file__).parents[2] / "docs" / "models.md"
BOOSTERS = ("catboost", "lightgbm", "xgboost")


def targets(case: Case) -> list[str]:
    if not case.classes:
        return ["numbers"]
    return [name for name, labels in TARGETS.items() if labels is not None and len(labels) in case.classes]


def chosen() -> list[Any]:
    """Each estimator with each target; of those in the short suite one target each, in turn."""
    found = []
    for at, case in enumerate(CASES.values()):
        names = targets(case)
        short = names[at % len(names)] if case.representative else None
        found += [
            pytest.param(case.name, name, marks=() if name == short else pytest.mark.long, id=f"{case.name} {name}")
            for name in names
        ]
    return found


def model_of(case: str, schema: Schema, frame: pd.DataFrame) -> Any:
    config = Config.model_validate(
        {
            "glue": 1,
            "project": "p",
            "data": {"labels": {"source": "t", "target": "y"}, "sources": {"t": {"path": "t.csv"}}},
            "train": {"estimator": "tests.support.estimators.estimator", "params": {"case": case}},
        }
    )
    return build(config, schema, frame)


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No case may live on a converter that another one registered."""
    for kind in [kind for kind in registered if kind.__module__.partition(".")[0] in BOOSTERS]:
        monkeypatch.delitem(registered, kind)


@pytest.mark.parametrize(("name", "target"), chosen())
def test_what_is_served_is_what_the_estimator_says(name: str, target: str, tmp_path: Path) -> None:
    case, (raw, truth, schema) = CASES[name], rows(target)
    frame = pd.DataFrame(encode(raw, schema))[[*schema.numeric, *schema.text]]
    model, bundle = through(tmp_path, model_of(name, schema, frame), frame, truth, schema)
    parity = files.read_json(tmp_path / "bundle" / "parity.json")
    assert case.form in (bundle.format, "either") and not bundle.runs_code, parity["reason"]
    assert bundle.format == "onnx" or (case.why and case.why in parity["reason"])
    for table in (raw, rows(target, unseen=True)[0]):
        said, shares = bundle.predict(table)
        seen = pd.DataFrame(encode(table, schema))[frame.columns]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = np.ravel(model.predict(seen))
        if schema.labels is None:
            np.testing.assert_allclose(said, wanted, rtol=2e-4, atol=1e-4)
            continue
        assert {type(one) for one in said.tolist()} == {type(schema.labels[0])}
        assert set(said.tolist()) <= set(schema.labels)
        assert np.mean(said == wanted) >= 0.995  # a probability of a half may fall to either side
        if shares is not None:
            np.testing.assert_allclose(shares, model.predict_proba(seen), atol=1e-3)


def test_the_docs_have_the_table() -> None:
    assert DOCS.read_text(encoding="utf-8").partition("<!-- cases -->\n")[2] == page()
