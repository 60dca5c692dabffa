"""Bootstrap samples and the intervals that they give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as m

from mlops_glue import bootstrap, metrics
from tests.support.outcomes import outcomes


def test_an_interval_holds_its_value() -> None:
    """A class with few rows is in few of the samples: the mean over classes of those is higher."""
    assert bootstrap.interval(0.3, np.linspace(0.32, 0.4, 100), 6966) == (0.3, pytest.approx(0.38, abs=0.02))


def test_an_interval_is_of_the_level_and_as_narrow_as_the_rows_make_it() -> None:
    drawn = np.append(np.linspace(0, 1, 1001), np.nan)  # a draw without a value counts for nothing
    for rows in (1, bootstrap.MAX_ROWS):
        assert bootstrap.interval(0.5, drawn, rows, 0.9) == pytest.approx((0.05, 0.95))
    assert bootstrap.interval(0.5, drawn, 4 * bootstrap.MAX_ROWS, 0.9) == pytest.approx((0.275, 0.725))
    assert bootstrap.interval(0.5, drawn, 100) == pytest.approx((0.025, 0.975))
    assert np.isnan(bootstrap.interval(float("nan"), drawn, 100)).all()
    assert np.isnan(bootstrap.interval(0.5, np.array([np.nan]), 100)).all()


def test_a_draw_has_the_rows_of_the_table_and_at_most_5000() -> None:
    seen: list[int] = []

    def score(y: Any, p: Any, q: Any) -> float:
        seen.append(len(y))
        return float(len(set(p)))

    for rows in (7, bootstrap.MAX_ROWS + 1):
        seen.clear()
        drawn = bootstrap.bootstrap(metrics.Metric(score), np.arange(rows), np.arange(rows), None, 0)
        assert seen == [min(rows, bootstrap.MAX_ROWS)] * bootstrap.SAMPLES and len(set(drawn)) > 1
        assert (drawn < rows).all()  # with rows that are drawn twice


def test_an_order_of_classes_is_the_area_under_the_curve() -> None:
    """With an interval that holds it, drawn from the seed; of many rows the samples have fewer."""
    for classes in (2, 3):
        truth, label, probability = outcomes("binary" if classes == 2 else "multiclass", 6000, 3)
        said = truth, label, probability
        found = bootstrap.ranking("binary" if classes == 2 else "multiclass", said, 4)
        wanted = m.roc_auc_score(truth, probability[:, 1] if classes == 2 else probability, multi_class="ovr")
        metric = metrics.RANKING["binary" if classes == 2 else "multiclass"]
        low, high = bootstrap.interval(wanted, bootstrap.bootstrap(metric, *said, 4), 6000)
        assert found == pytest.approx(
            {"rows": 6000, "value": wanted, "low": low, "high": high, "drawn_rows": 5000}, rel=1e-9
        )
        assert low < wanted < high
