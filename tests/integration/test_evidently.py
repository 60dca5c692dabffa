"""Evidently: the page, and the same verdicts as its own methods."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mlops_glue.adapters import evidently
from mlops_glue.adapters.evidently import Painter
from mlops_glue.drift import distribution, drift_methods
from mlops_glue.encoding import encode
from mlops_glue.errors import DataError, ToolError
from mlops_glue.schema import Column, Schema
from tests.support.warm import forked_painter

SCHEMA = Schema("regression", "y", [Column("x", "number"), Column("word", "category"), Column("yes", "boolean")])


def rows(n: int, seed: int, shift: float = 0.0) -> pa.Table:
    rng = np.random.default_rng(seed)
    share = np.array([0.5, 0.3, 0.2]) + shift * np.array([-0.4, 0.0, 0.4])
    words = rng.choice(["a", "b", "c"], n, p=share)
    return pa.table({"x": rng.normal(shift, 1, n), "word": words, "yes": rng.random(n) < 0.4 + 0.3 * shift})


def judged(reference: pa.Table, current: pa.Table) -> dict[str, dict[str, Any]]:
    out = {}
    for name, method in drift_methods(SCHEMA).items():
        one, two = (encode(table, SCHEMA)[name] for table in (reference, current))
        threshold = 0.2 if method == "wasserstein" else 0.1
        distance = distribution(one, method).compare(two).distance
        assert distance is not None
        out[name] = {"method": method, "distance": distance, "threshold": threshold, "drifted": distance >= threshold}
    return out


def test_its_own_methods_say_the_same_of_every_column() -> None:
    """With and without a shift, in windows of three sizes."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    def data(table: pa.Table) -> Any:
        frame: pd.DataFrame = table.to_pandas()
        frame["yes"] = frame["yes"].astype(str)
        return Dataset.from_pandas(frame, DataDefinition(numerical_columns=["x"], categorical_columns=["word", "yes"]))

    reference, agree, off = rows(3000, 0), 0, 0.0
    for trial in range(9):
        current = rows((500, 2000, 5000)[trial % 3], trial + 1, (trial % 2) * trial / 16)
        mine = judged(reference, current)
        preset = DataDriftPreset(
            num_method="wasserstein", cat_method="jensenshannon", num_threshold=0.2, cat_threshold=0.1
        )
        said = Report([preset], include_tests=True).run(data(current), data(reference)).dict()
        for metric, test in list(zip(said["metrics"], said["tests"], strict=True))[1:]:
            one = mine[test["metric_config"]["params"]["column"]]
            agree += one["drifted"] == (test["status"] == "FAIL")
            off = max(off, abs(one["distance"] - float(metric["value"])))
    assert (agree, off < 0.002) == (27, True)


def test_the_page_shows_what_was_computed_and_opens_offline(tmp_path: Path) -> None:
    reference, current = rows(500, 0), rows(300, 1, 0.5)
    columns = judged(reference, current)
    columns["x"]["distance"] = 0.123456  # of all rows; the sample's is another
    with Painter() as painter:
        quality = {"gone": {"method": "wasserstein", "distance": None, "drifted": True, "why": "the column is missing"}}
        columns["x"] |= {"null_share": 0.25, "reference_null_share": 0.01, "out_of_range": 0.125}
        now = {"metric": "f1", "value": 0.71, "low": 0.65, "high": 0.77, "estimated": False, "labelled": 1234}
        performance = now | {"holdout": {"value": 0.9, "low": 0.88, "high": 0.92}}
        found = {
            "verdict": "performance",
            "rows": 300,
            "drift_share": 0.42,
            "threshold": 0.3,
            "performance": performance,
        }
        columns["x"] |= {"drifted": True, "weight": 0.42}
        about = {"title": "<churn> v3", "window": "2026-11-22 to 2026-11-29", "back": "../reports/index.html"}
        size = painter.draw(tmp_path / "report.html", reference, current, SCHEMA, columns | quality, found, about)
    page = (tmp_path / "report.html").read_text()
    assert 1e6 < size < 6e6 and "Jensen-Shannon distance" in page
    assert "<td>0.1235<td>0.2<td>Wasserstein distance (normed)" in page
    assert "Evidently measures distances on a smaller sample, and its verdict counts columns." in page
    for said in (
        "<title>&lt;churn&gt; v3: performance</title>",
        "<h1>&lt;churn&gt; v3: performance</h1>\n<p>300 rows; 2026-11-22 to 2026-11-29; drawn 20",
        "42% of the columns&#39; weight drifted (alert above 30%): x 42%</p>\n<p>A column's weight is",
        '<a href="../reports/index.html">',
        "<h2>Drift and data quality</h2>",
        "25.00%",
        "12.50%",
        "the column is missing",
        "0.65 to 0.77",
        "1,234",
    ):
        assert said in page
    assert not re.search(r"<(script|link|img)\b[^>]{0,200}\b(src|href)=.https?:", page)


@pytest.fixture
def _here_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that draws is a copy of this one, where Evidently is imported once."""
    importlib.import_module("evidently.presets")
    monkeypatch.setattr(evidently, "subprocess", forked_painter())


@pytest.mark.usefixtures("_here_already")
def test_one_value_near_the_end_of_float32_is_drawn(tmp_path: Path) -> None:
    """A request may hold it: the page of a whole window is not lost by that."""
    reference, current = rows(500, 0), rows(300, 1)
    current = current.set_column(0, "x", pa.array([3e38, -1e38, *current.column("x").to_pylist()[2:]]))
    with Painter() as painter:
        assert painter.draw(tmp_path / "report.html", reference, current, SCHEMA, judged(reference, current)) > 1e6


@pytest.mark.usefixtures("_here_already")
def test_what_it_cannot_draw_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    columns = judged(rows(500, 0), rows(300, 1))
    with Painter() as painter, pytest.raises(DataError, match="column 'x' is missing"):
        painter.draw(tmp_path / "report.html", rows(500, 0), rows(300, 1).drop(["x"]), SCHEMA, columns)
    with Painter() as painter, pytest.raises(ToolError, match="Evidently could not draw the page: "):
        painter.draw(tmp_path / "report.html", rows(500, 0), rows(0, 1), SCHEMA, columns)
    assert list(tmp_path.iterdir()) == []
