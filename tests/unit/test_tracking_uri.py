"""Which `tracking.uri` this installation of MLflow can use: told by its scheme, before a stage runs."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from mlops_glue.adapters.mlflow import uri as room
from mlops_glue.adapters.mlflow.uri import unusable
from mlops_glue.config import Config
from mlops_glue.delivery.fetch import usable_uri
from mlops_glue.errors import ConfigError


@pytest.mark.parametrize(
    ("uri", "said", "hint"),
    [
        ("http://h:5000", None, ""),
        ("HTTPS://u:canary@h/path", None, ""),
        ("sqlite:///a/b.db?timeout=20", None, ""),
        ("databricks", "models in a Databricks workspace registry have no aliases", "http://HOST:PORT"),
        ("databricks://profile", "have no aliases", "http://HOST:PORT"),
        ("databricks-uc", "have no aliases", "http://HOST:PORT"),
        ("mssql+canary://u:canary@h/d", "SQLAlchemy has no driver mssql+canary", "mssql://…"),
        ("mysql+nowhere://h/d", "SQLAlchemy has no driver mysql+nowhere", "mysql://…"),
        ("postgres://u:canary-password@h/d", "MLflow has no store for postgres://", "did you mean 'postgresql'?"),
        ("htp://h", "MLflow has no store for htp://", "did you mean 'http'?"),
        ("canary-user:canary-password@h/d", "MLflow has no store for a URI like this", "there are: 'http'"),
        ("postgresql://u:canary-password@h:port/d", "is not a database URL", "postgresql://USER@HOST:PORT/NAME"),
        ("./mlruns", "MLflow no longer supports a folder, only an SQLite file", "sqlite:///mlflow.db; or"),
        ("file:///a/b", "MLflow no longer supports a folder", "export MLFLOW_ALLOW_FILE_STORE=true"),
    ],
)
def test_what_mlflow_cannot_use_is_told_with_what_would_help(
    uri: str, said: str | None, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(room.ALLOW_FOLDERS, raising=False)
    found = unusable(uri)
    if said is None:
        assert found is None
        return
    assert found is not None and said in found[0] and hint in found[1]
    assert "canary-password" not in " ".join(found) and "canary-user" not in " ".join(found)


@pytest.mark.parametrize(
    ("uri", "module", "package"),
    [
        ("mysql+pymysql://h/d", "pymysql", "pymysql"),
        ("mysql://h/d", "MySQLdb", "mysqlclient"),
        ("postgresql+psycopg://h/d", "psycopg", '"mlops-glue[postgres]"'),
    ],
)
def test_a_driver_that_is_not_installed_is_named_with_its_package(
    uri: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    found = unusable(uri)
    assert found is not None and found[1] == f"pip install {package}" and found[0].endswith(" is not installed")


def test_a_plugin_and_what_the_user_allows_are_left_to_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(room.ALLOW_FOLDERS, "True")
    assert unusable("./mlruns") is None
    assert unusable("databricks", registry=False) is None  # `glue track` keeps runs alone
    plugged = {"mlflow.tracking_store": {"azureml"}, "mlflow.model_registry_store": set()}
    of_group: Any = lambda group: SimpleNamespace(names=plugged[group])  # noqa: E731
    monkeypatch.setattr(room, "entry_points", of_group)
    assert unusable("azureml://x", registry=False) is None and unusable("azureml://x") is not None
    plugged["mlflow.model_registry_store"].add("azureml")
    assert unusable("azureml://x") is None


def test_the_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def config(uri: str) -> Config:
        return Config.model_validate({"glue": 1, "project": "p", "tracking": {"uri": uri}})

    with pytest.raises(ConfigError, match=r"glue.yaml tracking.uri: MLflow has no store for ftp://"):
        usable_uri(config("ftp://h"))
    with pytest.raises(ConfigError, match=r"glue.yaml tracking.uri: environment variable GLUE_TEST_URI is not set"):
        usable_uri(config("${GLUE_TEST_URI}"))
    monkeypatch.setenv("GLUE_TEST_URI", "http://h")
    assert usable_uri(config("${GLUE_TEST_URI}")) == "http://h"
