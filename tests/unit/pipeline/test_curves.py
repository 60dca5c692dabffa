"""The points of curves and of a calibration."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as m

from mlops_glue.pipeline import curves


def test_curves_are_those_of_scikit_learn() -> None:
    """Of two classes that of class 1; of more each class that some rows are of, and not all."""
    from sklearn.calibration import calibration_curve

    rng = np.random.default_rng(2)
    probability = rng.dirichlet([1, 2, 3, 4], 60)
    truth = rng.integers(0, 3, 60)  # none is of the last class
    for classes, drawn in ((2, [1]), (4, [0, 1, 2])):
        said = np.column_stack([1 - probability[:, 1], probability[:, 1]]) if classes == 2 else probability
        found = curves.curves(np.minimum(truth, classes - 1), said, classes)
        assert {name: list(of) for name, of in found.items()} == dict.fromkeys(
            ("roc", "precision_recall", "calibration"), drawn
        )
        for at in drawn:
            is_it, score = np.minimum(truth, classes - 1) == at, said[:, at]
            roc = m.roc_curve(is_it, score)[:2]
            assert np.array_equal(found["roc"][at], roc)
            precision, recall, _ = m.precision_recall_curve(is_it, score)
            across, up = found["precision_recall"][at]
            kept = np.flatnonzero(np.append(True, np.abs(np.diff(recall)) + np.abs(np.diff(precision)) > 0))
            assert len(across) > 0.7 * len(kept)  # points that lie on one another are one
            assert (across[0], up[0]) == (1.0, precision[0]) and (across[-1], up[-1]) == (0.0, 1.0)
            assert {*zip(across, up, strict=True)} <= {*zip(recall, precision, strict=True)}
            happened, predicted = calibration_curve(is_it, score, n_bins=10, strategy="quantile")
            assert np.array_equal(found["calibration"][at], (predicted, happened)) and len(happened) == 10
    assert curves.curves(np.ones(5, int), said[:5], 2) == {"roc": {}, "precision_recall": {}, "calibration": {}}


def test_what_is_just_beyond_a_probability_is_calibrated_as_one() -> None:
    truth, score = np.array([0, 1, 0, 1]), np.array([-1e-9, 0.4, 0.6, 1 + 1e-9])
    predicted, happened = curves.curves(truth, np.column_stack([1 - score, score]), 2)["calibration"][1]
    assert predicted.tolist() == [0, 0.4, 0.6, 1] and happened.tolist() == [0, 1, 0, 1]


def test_a_long_curve_keeps_its_ends_and_its_shape_with_300_points() -> None:
    rng = np.random.default_rng(0)
    score = rng.random(20_000)
    truth = rng.random(20_000) < 0.2 + 0.6 * score
    all_across, all_up, _ = m.roc_curve(truth, score, drop_intermediate=False)
    across, up = curves.curves(truth.astype(int), np.column_stack([1 - score, score]), 2)["roc"][1]
    assert 290 <= len(across) <= 300
    assert (across[0], up[0], across[-1], up[-1]) == (0, 0, 1, 1)
    steps = np.abs(np.diff(across)) + np.abs(np.diff(up))
    assert steps.max() < 1.5 * 2 / 299  # evenly along the curve, whose length is 2
    assert np.abs(np.interp(all_across, across, up) - all_up).max() < 0.01


@pytest.mark.parametrize("rows", [999, 1000])
def test_a_calibration_is_a_sigmoid_of_few_rows_and_isotonic_of_many(rows: int) -> None:
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    score = rng.random(rows)
    score[:2] = 0, 1
    happened = rng.random(rows) < score**3
    happened[:2] = True, False
    asked = np.array([0.02, 0.3, 0.5, 0.9, 0.999])
    found = np.interp(asked, *curves.calibration(happened, score))
    if rows == 1000:
        fitted = IsotonicRegression(y_min=0, y_max=1).fit(score, happened)
        assert found == pytest.approx(fitted.predict(asked), abs=1e-12)
        return
    least = 1 / (1 + np.exp(12))
    logit = [np.log(one / (1 - one)) for one in (score.clip(least, 1 - least), asked)]
    sigmoid = LogisticRegression().fit(logit[0][:, None], happened)
    assert found == pytest.approx(sigmoid.predict_proba(logit[1][:, None])[:, 1], abs=2e-3)
    across, up = curves.calibration(happened, score.astype(np.float32))
    assert (across[0], across[100], across[-1]) == pytest.approx((least, 0.5, 1 - least)) and len(across) == 201
    assert (np.diff(across) > 0).all() and (np.diff(up) > 0).all()


@pytest.mark.parametrize("rows", [50, 1500])
@pytest.mark.parametrize("always", [True, False])
def test_where_it_always_or_never_happened_the_score_is_left_as_it_is(rows: int, always: bool) -> None:
    across, up = curves.calibration(np.full(rows, always), np.linspace(0, 1, rows))
    assert np.interp([0, 0.2, 0.7, 1], across, up) == pytest.approx([0, 0.2, 0.7, 1])


def test_rows_within_an_error_are_counted() -> None:
    error = np.array([3.0, -1.0, 0.0, np.nan])
    across, up = curves.within(error)
    assert across.tolist() == [0, 1, 3] and up.tolist() == [0.25, 0.5, 0.75]
    assert [len(points) for points in curves.within(np.zeros(1))] == [1, 1]
