"""What `glue doctor` finds where a project can hardly be made to be so."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest

from mlops_glue import config as configs
from mlops_glue import feature_stores, features, files, layout
from mlops_glue.config import Config
from mlops_glue.delivery import materialize
from mlops_glue.report import health
from mlops_glue.report.finding import Finding


@pytest.mark.parametrize("empty", [True, False])
def test_an_online_store_that_holds_nothing_is_found(empty: bool, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(health, "read_only", MagicMock(return_value=Mock()))
    for name in ("check_definitions", "transform_hash"):
        monkeypatch.setattr(features, name, MagicMock())
    monkeypatch.setattr(feature_stores, "open_repository", MagicMock())
    monkeypatch.setattr(feature_stores, "open_live", Mock(return_value=Mock(online_file=None)))
    monkeypatch.setattr(health, "feature_list_of", Mock())
    monkeypatch.setattr(feature_stores, "is_empty", lambda *_: empty)
    monkeypatch.setattr(materialize, "empty_views", lambda *_: ["v"])
    config = Config.model_validate({"glue": 1, "project": "p", "features": {"use": "service"}})
    told = {one.what for one in health.of_features(tmp_path, config)}
    assert ("the online store is empty: no entity has features" in told) is empty
    assert ("the feature registry and the online store are readable" in told) is not empty
    assert any("v: some entities have no values in the online store" in one for one in told) is not empty


@pytest.mark.parametrize(
    ("env", "versions", "said", "fix"),
    [
        ("prod", [], "p is not published yet in environment prod", "glue run --env prod"),
        ("prod", [1], "p has no champion in environment prod", "glue run --env prod"),
        (None, [], "p is not published yet", "glue run"),
    ],
)
def test_before_the_first_run_in_an_environment_nothing_is_gone(
    env: str | None, versions: list[int], said: str, fix: str, tmp_path: Path
) -> None:
    tables = {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}}
    whole = {"glue": 1, "project": "p", "data": tables, "train": {"estimator": "a.B"}, "environments": {"prod": {}}}
    config = configs.in_environment(Config.model_validate(whole), env)
    delivered = {"model": "p", "env": "prod" if env is None else None, "version": 1, "champion": 1, "refused": []}
    files.write_json(tmp_path / layout.DELIVERY, delivered)  # by a run in the other one
    store = Mock(champion=lambda _: None, dead_runs=lambda _: [], versions=lambda _: versions)
    assert list(health.of_champion(tmp_path, config, store)) == [Finding("note", said, fix)]


def test_a_project_whose_last_run_failed_is_not_sound(tmp_path: Path) -> None:
    last = {"time": "t", "problem": "MLflow: no room", "stages": [{"stage": "publish", "outcome": "failed"}]}
    files.write_json(tmp_path / layout.LAST_RUN, last)
    (found,) = health.of_last_run(tmp_path, Mock())
    said = "the last glue run failed at publish: MLflow: no room"
    assert found == Finding("problem", said, "glue run")
    files.write_json(tmp_path / layout.LAST_RUN, last | {"hint": "see artifacts/validation/report.html"})
    assert [one.fix for one in health.of_last_run(tmp_path, Mock())] == ["see artifacts/validation/report.html"]
    files.write_json(tmp_path / layout.LAST_RUN, last | {"problem": None})
    assert not list(health.of_last_run(tmp_path, Mock()))
