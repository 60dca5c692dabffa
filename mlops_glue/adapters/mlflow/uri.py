"""Check whether this installation of MLflow can use a URI, from the scheme alone: no import, no connection."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from urllib.parse import urlsplit

from mlops_glue.adapters.mlflow import database
from mlops_glue.suggest import did_you_mean

SERVERS, FOLDERS = ("http", "https"), ("", "file")
DATABASES = ("postgresql", "mysql", "mssql", "sqlite")
DATABRICKS = ("databricks", "databricks-uc", "uc")
ALLOW_FOLDERS = "MLFLOW_ALLOW_FILE_STORE"  # MLflow's own variable


def unusable(uri: str, *, registry: bool = True) -> tuple[str, str] | None:
    """Return why the installed MLflow cannot use a URI, and a hint; None if it can.

    The URI of an MLflow plugin is left to the plugin.

    Args:
        uri: the tracking URI.
        registry: whether models are registered there too, and not only runs.
    """
    scheme = uri if uri in DATABRICKS else urlsplit(uri).scheme.partition("+")[0]
    if scheme in SERVERS or (scheme == "databricks" and not registry):
        return None
    if scheme in DATABASES:
        return database.without_driver(uri)
    if scheme in FOLDERS:
        allowed = os.environ.get(ALLOW_FOLDERS, "").lower() in ("true", "1")
        why = "MLflow no longer supports a folder, only an SQLite file"
        return None if allowed else (why, f"sqlite:///mlflow.db; or, to use it anyway: export {ALLOW_FOLDERS}=true")
    if scheme in DATABRICKS:
        why = "models in a Databricks workspace registry have no aliases, which glue needs to promote versions"
        return why, "http://HOST:PORT of an MLflow server"
    groups = ("mlflow.tracking_store", "mlflow.model_registry_store")[: 1 + registry]
    if all(scheme in entry_points(group=group).names for group in groups):
        return None
    named = f"{scheme}://" if "://" in uri else "a URI like this"  # the part before a single colon may be a user
    return f"MLflow has no store for {named}", did_you_mean(scheme, [*SERVERS, *DATABASES])
