"""`glue doctor` where a project can hardly be made to be so."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest

from mlops_glue import features
from mlops_glue.adapters import mlflow
from mlops_glue.commands import doctor
from mlops_glue.config import Config


@pytest.mark.parametrize("empty", [True, False])
def test_an_online_store_that_holds_nothing_is_found(empty: bool, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "mlflow.db").touch()
    listed = {"any": "list"}
    monkeypatch.setattr(mlflow, "Store", MagicMock(return_value=Mock(feature_list=lambda *_: listed)))
    for name in ("open_repository", "check_definitions", "transform_hash"):
        monkeypatch.setattr(features, name, MagicMock())
    monkeypatch.setattr(features, "open_live", Mock(return_value=Mock(online_file=None)))
    monkeypatch.setattr("mlops_glue.records.FeatureList.from_dict", lambda _: Mock())
    monkeypatch.setattr(features, "is_empty", lambda *_: empty)
    config = Config.model_validate({"glue": 1, "project": "p", "features": {"use": "service"}})
    told = {one.what for one in doctor._features(tmp_path, config)}
    assert ("the online store is empty: whom it is asked about has no features" in told) is empty
    assert ("the feature registry and the online store can be read" in told) is not empty
