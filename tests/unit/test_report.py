"""What the report of a pull request says of values that nobody chose for it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mlops_glue import io, layout
from mlops_glue.commands.report import DRIFTED, MOST, _distance, _md, _number, _shortened, _worse


@pytest.mark.parametrize(
    "text",
    [
        "@everyone",
        "a|b",
        "<img src=x onerror=alert(1)>",
        "[x](https://example.org)",
        "a\nb",
        "`${{ secrets.X }}`",
        "x" * 9999,
    ],
)
def test_text_of_data_is_text(text: str) -> None:
    said = _md(text)
    assert "\n" not in said and "<" not in said and "@e" not in said and "https://" not in said
    assert not any(said[at] in "|[`" and said[at - 1] != "\\" for at in range(len(said)))
    assert len(said) < 600


def test_distances() -> None:
    rng = np.random.default_rng(0)
    one, same, other = (pa.array(rng.normal(mean, 1, 5000)) for mean in (0, 0, 0.5))
    assert _distance(one, same) < DRIFTED < 0.45 < _distance(one, other) < 0.55  # type: ignore[operator]
    assert _distance(pa.array(["a", "b"]), pa.array(["a", "b"])) == 0
    assert _distance(pa.array(["a", "a"]), pa.array(["b", None])) == pytest.approx(1)
    assert _distance(pa.array([1.0, None]), pa.array([None, None], pa.float64())) is None
    assert _distance(pa.array([1]), pa.array(["1"])) is None


def row(value: float | None, low: float, high: float, base: float | None, higher: bool) -> list[dict[str, object]]:
    return [{"name": "m", "value": value, "low": low, "high": high, "base": base, "higher_is_better": higher}]


def test_worse_is_by_the_value_on_the_same_holdout_and_by_the_interval_on_another() -> None:
    assert list(_worse(row(0.80, 0.7, 0.9, 0.81, True), "m", True, "main"))
    assert not list(_worse(row(0.80, 0.7, 0.9, 0.81, True), "m", False, "main"))
    assert list(_worse(row(0.80, 0.7, 0.9, 0.95, True), "m", False, "main"))
    assert list(_worse(row(0.5, 0.45, 0.6, 0.4, False), "m", False, "main"))  # of a loss
    assert not list(_worse(row(0.4, 0.3, 0.5, 0.4, False), "m", True, "main"))
    assert list(_worse(row(None, 0, 0, 0.4, True), "m", True, "main"))  # not defined any more
    assert not list(_worse(row(0.4, 0.3, 0.5, None, True), "m", True, "main"))


def test_a_comment_is_never_too_long() -> None:
    columns = [
        {"column": "c" * 200, "distance": 1.0, "drifted": True, "nulls_before": 0.0, "nulls": 0.0} for _ in range(5000)
    ]
    slices = [{"name": "s" * 400, "rows": 1, "value": 0.1, "base": 0.1, "difference": 0.0}] * 5000
    told = {
        "project": "p",
        "marker": ".",
        "refused": [],
        "notes": ["n" * 500] * 200,
        "against": "main",
        "evaluation": None,
        "metrics": [],
        "tables": [{"name": "t" * 300, "rows": "1", "before": "1", "columns": "x" * 500}] * 200,
        "validation": None,
        "drift": columns,
        "contract": ["c" * 500] * 500,
        "slices": slices,
        "slice_metric": "m",
        "stages": [],
        "url": None,
        "images": [],
    }
    page = io.render(layout.templates() / "report/pull_request.md", told, filters={"md": _md, "n": _number})
    assert len(page) > MOST >= len(_shortened(page)) > MOST - 2000
