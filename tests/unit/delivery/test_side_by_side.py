"""Models on the same rows: which rows, and what is said where one cannot be scored."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import roc_auc_score

from mlops_glue import files, layout, tables
from mlops_glue.adapters.git.code import Code
from mlops_glue.adapters.mlflow import Store
from mlops_glue.config import Config
from mlops_glue.delivery import trial
from mlops_glue.delivery.rows import FILE, KNOWN, Rows, identities
from mlops_glue.delivery.side_by_side import SideBySide, side_by_side
from mlops_glue.delivery.sides import Side
from mlops_glue.errors import UsageError
from mlops_glue.scoring import Bundle
from tests.support.configs import GOOD, load
from tests.support.models import NAMES, made, through

Compared = Callable[..., SideBySide]
HELD = np.arange(30, 90)  # rows of the table that are held out


class Project:
    """Two logistic models v1 and v2, of which v1 has seen ten rows of the holdout, and v3 of another class."""

    def __init__(self, root: Path) -> None:
        self.root, self.config = root, load(root, GOOD)
        self.frame, self.target, schema = made(["no", "yes"], 1)
        self.bundles: dict[int, Path] = {}
        fits = {1: (LogisticRegression(C=1e-3), schema), 2: (LogisticRegression(), schema)}
        for version, (estimator, its) in fits.items():
            self.add(version, estimator, self.target, its)
        other = np.where(self.target == "no", "never", self.target)
        self.add(3, LogisticRegression(), other, replace(schema, labels=["never", "yes"]))
        self.add(
            4, LinearRegression(), self.frame["a"].to_numpy(np.float64), replace(schema, task="regression", labels=None)
        )
        table = pa.table({**{name: self.frame[name] for name in NAMES}, "y": self.target})
        tables.write_parquet(root / layout.TABLE, table)
        tables.write_parquet(root / layout.TEST, pa.table({layout.ROW: HELD, "target:y": self.target[HELD]}))
        self.trained = {1: np.arange(40), 2: np.arange(30), 3: np.arange(30), 4: np.arange(30)}
        self.ids, self.columns = identities(table), table.column_names

    def add(self, version: int, estimator: Any, target: Any, schema: Any) -> None:
        folder = self.root / f"made{version}"
        folder.mkdir()
        through(folder, estimator, self.frame, target, schema)
        example = self.frame.head(1).astype(float).to_dict(orient="records")
        files.write_json(folder / "bundle/input_example.json", example)
        self.bundles[version] = folder / "bundle"
        trial.known(self.root, files.digest(folder / "bundle"))

    def download_artifact(self, _: str, version: int, name: str, into: Path) -> Path:
        is_trained = np.isin(np.arange(90), self.trained[version])
        (into / name).mkdir()
        Rows(self.columns, self.ids, is_trained).write(into / name / FILE)
        return into / name

    @property
    def store(self) -> Store:
        """The registry that has them."""
        found: Any = SimpleNamespace(
            trust=(),
            download_bundle=lambda _, version, into: shutil.copytree(self.bundles[version], into / "bundle"),
            download_artifact=self.download_artifact,
            tags=lambda _, version: {KNOWN: "90"} if version in self.trained else {},
        )
        return cast(Store, found)

    def compare(self, *versions: int, draw: bool = False, config: Config | None = None) -> SideBySide:
        """What is said of versions; the first is the base."""
        sides = [Side(f"v{version}", [], version=version) for version in versions]
        return side_by_side(config or self.config, self.root, self.store, sides, draw=draw)


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("side_by_side"))


@pytest.fixture
def project(made_once: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(made_once, "trained", dict(made_once.trained))
    return made_once


def test_all_are_held_against_the_base_on_rows_that_none_has_seen(project: Project) -> None:
    found = project.compare(1, 2, draw=True)
    assert found.common is not None and (found.common.rows, found.common.trained_on, found.common.unknown) == (
        50,
        10,
        [],
    )
    (comparison,) = found.comparisons
    first = comparison.metrics[0]
    rows = HELD[10:]
    raw = pa.table({name: project.frame[name].to_numpy()[rows] for name in NAMES})
    for version, value in ((2, first["candidate"]), (1, first["champion"])):
        _, probability = Bundle(project.bundles[version]).predict(raw)
        assert value == pytest.approx(roc_auc_score(project.target[rows] == "yes", probability[:, 1]))
    assert first["metric"] == "roc_auc" and first["low"] <= first["gain"] <= first["high"]
    assert {"log_loss", "accuracy"} <= {one["metric"] for one in comparison.metrics}
    assert found.plot is not None and ">v1<" in found.plot and ">v2<" in found.plot
    assert found.problems == [] and found.sizes["v1"].form == "onnx"
    size = found.sizes["v2"]
    assert 0 < size.model_bytes < size.bundle_bytes and (size.latency_ms or 0) > 0


def test_what_is_not_known_of_rows_is_said_and_too_few_are_not_compared(project: Project) -> None:
    del project.trained[2]
    held = project.compare(1, 2).common
    assert held is not None and held.unknown == ["v2"] and held.trained_on == 10
    project.trained[2] = np.arange(75)
    found = project.compare(1, 2)
    why = "v2 was trained on 45 of the 60 rows of this holdout; only 15 rows were not used by any model, too few"
    assert found.comparisons == [] and found.common is None and why in found.problems[0]


def test_one_that_cannot_be_scored_does_not_keep_the_others(project: Project) -> None:
    found = project.compare(1, 2, 3)
    assert [comparison.name for comparison in found.comparisons] == ["v2"]
    assert found.problems == [
        "v3 could not be scored on this holdout: it predicts ['never', 'yes'], but v1 ['no', 'yes']"
    ]
    alone = project.compare(3, 1, draw=True)
    assert alone.comparisons == [] and alone.plot is None
    (why,) = alone.problems
    assert why.endswith("the holdout here has rows where 'y' is 'no', a class that the base does not know")


def test_values_are_compared_with_values(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table has classes now where it had numbers; then numbers again."""
    monkeypatch.setitem(project.bundles, 5, project.bundles[4])
    project.trained[5] = project.trained[4]
    why = "not compared on the same rows: 'y' is not a number in the holdout here, but these models predict numbers"
    assert project.compare(4, 5).problems == [why]
    truth = project.frame["a"].to_numpy(np.float64)[HELD]
    monkeypatch.setattr(layout, "TEST", str(tmp_path / "test.parquet"))
    tables.write_parquet(tmp_path / "test.parquet", pa.table({layout.ROW: HELD, "target:y": truth}))
    found = project.compare(4, 5, draw=True)
    assert found.plot is not None and "Rows within an error" in found.plot
    rmse = next(one for one in found.comparisons[0].metrics if one["metric"] == "rmse")
    assert (rmse["gain"], rmse["finding"], rmse["rows"]) == (0.0, "no difference shown", 60)


def test_a_bundle_that_is_lost_is_told(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "schema.json").write_text("{}")
    monkeypatch.setitem(project.bundles, 2, tmp_path)
    found = project.compare(1, 2)
    assert found.comparisons == [] and found.problems[0].startswith("v2 cannot be loaded: demo v2: ")
    assert list(found.sizes) == ["v1"]


def test_another_task_is_refused(project: Project) -> None:
    with pytest.raises(UsageError, match=r"v4 predicts 'y' \(regression\), but v1 predicts 'y' \(binary\)") as error:
        project.compare(1, 4)
    assert error.value.hint == "glue lineage 4"


def test_changes_that_were_not_recorded_are_not_taken_for_none(project: Project) -> None:
    commit = Code("c" * 40, "", b"")
    run = Side("run 1", [], run="1" * 32, commit=commit.commit, dirty=True, code=commit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlops_glue.adapters.git.code.changes", lambda *_: "")
        found = side_by_side(
            project.config, project.root, None, [run, replace(run, name="run 2", dirty=False)], draw=False
        )
    assert [(one.name, one.base, one.stat, one.problem) for one in found.code] == [
        ("run 2", "run 1", [], "the uncommitted changes of run 1 are not recorded")
    ]


def test_without_a_holdout_nothing_is_measured(project: Project) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "TEST", "gone.parquet")
        found = project.compare(1, 2)
    assert found.comparisons == [] and "there is no holdout here (gone.parquet)" in found.problems[0]
