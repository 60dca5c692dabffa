"""What the page of the data says of each column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlops_glue import config as configs
from mlops_glue.report import profile as report
from tests.support.project import run_stages, table

TEXT = """glue: 1
project: p
data: {sources: {t: {path: t.csv, timestamp: at}}, labels: {source: t, target: y}}
features: {exclude: [town]}
split: {by: random}
train: {estimator: sklearn.linear_model.LogisticRegression}
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> report.Profile:
    root = tmp_path_factory.mktemp("profile")
    rows = np.arange(60)
    made = table(
        key=rows + 1000,
        kind=np.where(rows % 3 == 0, "b", "a"),
        flag=rows % 2 == 0,
        at=[f"2024-01-{1 + row % 28:02d}" for row in rows],
        born=[f"20{row % 20:02d}-02-03" for row in rows],
        gap=np.where(rows < 15, np.nan, rows),
        same=1,
    )
    made.loc[:3, "y"] = None
    made.to_csv(root / "t.csv", index=False)
    (root / "glue.yaml").write_text(TEXT)
    run_stages(root, {})
    made_of = report.profile(configs.load(root), root)
    assert made_of is not None
    return made_of


def test_each_column_is_described_as_it_is_taken(found: report.Profile) -> None:
    columns = {column.name: column for column in found.columns}
    assert (found.task, found.labelled, found.unlabelled, found.rows) == ("binary", 56, 4, 56)
    assert sum(count for _, count in found.target.shares.values) == 56 == found.target.shares.rows  # type: ignore[union-attr]
    gap = columns["gap"]
    assert gap.kind == "number" and gap.missing == pytest.approx(11 / 56)
    assert gap.bins is not None and (gap.bins.low, gap.bins.high, sum(gap.bins.counts)) == ("15", "59", 45)
    kind = columns["kind"].shares
    assert kind is not None and kind.values[0][0] == "a" and kind.others == 0
    assert columns["flag"].shares is not None and {name for name, _ in columns["flag"].shares.values} == {
        "true",
        "false",
    }
    born = columns["born"].bins
    assert born is not None and (born.low, born.high) == ("2000-02-03", "2019-02-03")


def test_what_is_left_out_has_its_reason(found: report.Profile) -> None:
    why = {column.name: column.why for column in found.columns if column.kind is None}
    assert why == {
        "town": "listed in features.exclude",
        "at": "timestamp of the rows",
        "key": "identifier: every value is different",
        "same": "constant",
    }


def test_what_has_not_run_has_no_profile(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("y\n1\n")
    (tmp_path / "glue.yaml").write_text(
        "glue: 1\nproject: p\ndata: {sources: {t: {path: t.csv}}, labels: {source: t, target: y}}\ntrain: {}\n"
    )
    assert report.profile(configs.load(tmp_path), tmp_path) is None
