"""Contributions are those of Shapley's definition, and they add up to what the model says."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import factorial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression

from mlops_glue import layout, tables
from mlops_glue.api.model import Model
from mlops_glue.errors import DataError
from mlops_glue.explanation import Explained, Explainer, appended, of_bundle
from mlops_glue.scoring import Bundle
from tests.support import models


def explained(
    folder: Path, estimator: Any, labels: list[Any] | None, names: list[str] = models.NAMES
) -> tuple[Any, pd.DataFrame, Bundle, Explainer]:
    frame, target, schema = models.made(labels, seed=1)
    frame.columns = pd.Index(names)
    columns = [replace(column, name=name) for column, name in zip(schema.columns, names, strict=True)]
    schema = replace(schema, columns=columns)
    model, bundle = models.through(folder, estimator, frame, target, schema)
    rows = pa.Table.from_pandas(frame[:25])
    sample = rows.append_column(layout.SPLIT_COLUMN, pa.array(["train"] * 25))
    tables.write_parquet(folder / "bundle" / layout.SAMPLE, sample)
    return model, frame, bundle, of_bundle(bundle, folder / "bundle")


def test_a_linear_model_is_its_coefficients(tmp_path: Path) -> None:
    model, frame, bundle, explainer = explained(tmp_path, LinearRegression(), None)
    found = explainer.explain(bundle.encoded(pa.Table.from_pandas(frame)))
    background = frame[:25].mean().to_numpy()  # all 25 rows are the background
    np.testing.assert_allclose(found.contributions, model.coef_ * (frame.to_numpy() - background), atol=1e-5)
    wanted = model.predict(pd.DataFrame([background], columns=models.NAMES))[0]
    np.testing.assert_allclose(found.base, np.full(len(frame), wanted), atol=1e-5)
    assert found.holds and found.gap < 1e-6


def test_trees_are_as_by_every_order(tmp_path: Path) -> None:
    model, frame, bundle, explainer = explained(tmp_path, HistGradientBoostingRegressor(min_samples_leaf=3), None)
    row, background, count = frame[40:41].to_numpy(), frame[:25].to_numpy(), len(models.NAMES)

    def value(known: tuple[int, ...]) -> float:
        mixed = background.copy()
        mixed[:, list(known)] = row[0, list(known)]
        return float(model.predict(pd.DataFrame(mixed, columns=models.NAMES)).mean())

    exact = [
        sum(
            factorial(len(s)) * factorial(count - len(s) - 1) / factorial(count) * (value((*s, at)) - value(s))
            for size in range(count)
            for s in combinations([other for other in range(count) if other != at], size)
        )
        for at in range(count)
    ]
    found = explainer.explain(bundle.encoded(pa.Table.from_pandas(frame[40:41])))
    np.testing.assert_allclose(found.contributions[0], exact, atol=0.15 * np.abs(exact).max())
    assert found.holds


@pytest.mark.parametrize("labels", [["no", "yes"], ["a", "b", "c"], [0, 1]])
def test_of_classes_a_probability_is_explained(tmp_path: Path, labels: list[Any]) -> None:
    estimator = HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=3)
    _, frame, bundle, explainer = explained(tmp_path, estimator, labels)
    rows = pa.Table.from_pandas(frame)
    value, probability = bundle.predict(rows)
    chosen = [labels.index(label) for label in value.tolist()] if len(labels) > 2 else 1
    found = explainer.explain(bundle.encoded(rows))
    np.testing.assert_allclose(found.answer, probability[np.arange(len(frame)), chosen])
    np.testing.assert_allclose(found.base + found.contributions.sum(axis=1), found.answer, atol=1e-6)


def test_a_model_that_answers_otherwise_each_time_does_not_hold(tmp_path: Path) -> None:
    _, frame, bundle, explainer = explained(tmp_path, LinearRegression(), None)
    score, rng = bundle.score, np.random.default_rng(0)
    bundle.score = lambda inputs: (score(inputs)[0] + rng.normal(), None)  # type: ignore[method-assign]
    assert not explainer.explain(bundle.encoded(pa.Table.from_pandas(frame))).holds


def test_columns_of_the_model_may_have_the_names_of_an_explanation() -> None:
    names = ["x", "contribution_x", "x_", "base"]
    rows = pa.table({name: [0.0] for name in names})
    shown = appended(rows, Explained(names, np.zeros(1), np.ones(1), np.array([[2.0, 3, 4, 5]]), 0.0, holds=True))
    added = {"base_": 1, "contribution_x_": 2, "contribution_contribution_x": 3, "contribution_x__": 4}
    assert shown.to_pylist() == [dict.fromkeys(names, 0.0) | added | {"contribution_base": 5}]


def test_a_model_in_python_takes_columns_whose_names_begin_like_an_answer(tmp_path: Path) -> None:
    names = ["base", "prediction_of_last_year", "contribution_base"]
    _, frame, bundle, explainer = explained(tmp_path, LinearRegression(), None, names)
    config = SimpleNamespace(model_name="m", package=SimpleNamespace(trust=()))
    model = Model(config, tmp_path, 1, tmp_path / "bundle")  # type: ignore[arg-type]
    rows = pa.Table.from_pandas(frame)
    found = explainer.explain(bundle.encoded(rows))
    earlier = appended(bundle.scored(rows, rows), found).to_pandas()
    assert [name for name in earlier if name not in names] == [
        *("prediction", "base_", "contribution_base_"),
        *("contribution_prediction_of_last_year", "contribution_contribution_base"),
    ]
    for given in (frame, earlier):
        np.testing.assert_array_equal(model.predict(given), bundle.predict(rows)[0])
        why = model.explain(given)
        assert list(why) == ["base", *names]
        np.testing.assert_array_equal(why.to_numpy()[:, 1:], found.contributions)


def test_what_cannot_be_explained(tmp_path: Path) -> None:
    _, frame, bundle, explainer = explained(tmp_path, LinearRegression(), None)
    rows = pa.Table.from_pandas(frame[:2].assign(base=1.0))
    with pytest.raises(DataError, match="already has a column 'base'"):
        appended(rows, explainer.explain(bundle.encoded(rows)))
    empty = explainer.explain(bundle.encoded(rows[:0]))
    assert empty.contributions.shape == (0, 3) and empty.holds
    (tmp_path / "bundle" / layout.SAMPLE).unlink()
    with pytest.raises(DataError, match=r"reference.parquet: is missing from the bundle"):
        of_bundle(bundle, tmp_path / "bundle")
