"""What a candidate is refused for, by what `evaluate` wrote of it."""

from __future__ import annotations

from typing import Any

import pytest

from mlops_glue.delivery.condition import of_trivial, refusals
from mlops_glue.metrics import METRICS, TIE_TOLERANCE

ALL = [(task, name) for task, names in METRICS.items() for name in names]


@pytest.mark.parametrize(("task", "name"), ALL)
def test_a_first_metric_that_is_worse_than_the_trivial_predictors_is_refused(task: str, name: str) -> None:
    better = 1 if METRICS[task][name].higher_is_better else -1

    def said(value: float | None, trivial: float | None, other: float = 0.0) -> list[str]:
        second = next(one for one in METRICS[task] if one != name)
        scores: Any = {name: {"value": value, "trivial": trivial}, second: {"value": other, "trivial": 0.5}}
        assert of_trivial(task, scores, "accept")["holds"] is not False
        return refusals([of_trivial(task, scores, "refuse")])

    assert said(0.5 - better * 0.2, 0.5) == [
        f"{name} {0.5 - better * 0.2:.4f} is worse than the trivial predictor's 0.5000 "
        "(to accept it, set promote: {worse_than_trivial: accept})"
    ]
    close = f"{0.5 - better * 4e-6:.6f}"
    assert f"{name} {close} is worse than the trivial predictor's 0.500000 " in said(0.5 - better * 4e-6, 0.5)[0]
    for value in (0.5, 0.5 + better * 0.2, 0.5 - better * 0.9 * TIE_TOLERANCE):
        assert said(value, 0.5) == said(value, 0.5, 1.0) == []  # a second metric decides nothing
    assert said(0.5 - better * 2 * TIE_TOLERANCE, 0.5)
    for value, trivial in ((None, 0.5), (0.5, None), (None, None)):
        (line,) = said(value, trivial)
        assert line.startswith(f"{name} is undefined on this holdout")
