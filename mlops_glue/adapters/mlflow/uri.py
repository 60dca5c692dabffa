"""Can this installation of MLflow keep runs and models at a URI? Told by its scheme, without MLflow, nothing asked."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from urllib.parse import urlsplit

from mlops_glue.adapters.mlflow import database
from mlops_glue.suggest import did_you_mean

SERVERS, FOLDERS = ("http", "https"), ("", "file")
DATABASES = ("postgresql", "mysql", "mssql", "sqlite")
DATABRICKS = ("databricks", "databricks-uc", "uc")
ALLOW_FOLDERS = "MLFLOW_ALLOW_FILE_STORE"  # MLflow's own


def unusable(uri: str, *, registry: bool = True) -> tuple[str, str] | None:
    """Why MLflow cannot use a URI as it is installed, and what would help; None where nothing speaks against it.

    A scheme that a plugin of MLflow serves is left to the plugin. Without `registry` only runs are kept there.
    """
    scheme = uri if uri in DATABRICKS else urlsplit(uri).scheme.partition("+")[0]
    if scheme in SERVERS or (scheme == "databricks" and not registry):
        return None
    if scheme in DATABASES:
        return database.without_driver(uri)
    if scheme in FOLDERS:
        allowed = os.environ.get(ALLOW_FOLDERS, "").lower() in ("true", "1")
        why = "MLflow takes no folder any more, but an SQLite file"
        return None if allowed else (why, f"sqlite:///mlflow.db; or all the same: export {ALLOW_FOLDERS}=true")
    if scheme in DATABRICKS:
        why = "in the registry of a Databricks workspace a model has no alias, and glue promotes by aliases"
        return why, "http://HOST:PORT of an MLflow server"
    groups = ("mlflow.tracking_store", "mlflow.model_registry_store")[: 1 + registry]
    if all(scheme in entry_points(group=group).names for group in groups):
        return None
    named = f"{scheme}://" if "://" in uri else "a URI like this"  # what is before a colon alone may be a user
    return f"MLflow has no store for {named}", did_you_mean(scheme, [*SERVERS, *DATABASES])
