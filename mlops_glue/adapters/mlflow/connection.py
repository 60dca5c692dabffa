"""The connection to one tracking server or database."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import layout, telemetry
from mlops_glue.adapters.mlflow import database
from mlops_glue.adapters.mlflow.errors import translate_errors
from mlops_glue.errors import MissingExtra, ToolError

if TYPE_CHECKING:
    import mlflow


def quiet() -> None:
    """Switch off MLflow's telemetry, progress bars and logs, and let it wait seconds, not minutes, for a server."""
    telemetry.off()
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # it waits for seconds before a second retry
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


class Client:
    """MLflow's client, whose exceptions are raised as glue's."""

    def __init__(self, client: mlflow.MlflowClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return translate_errors()(getattr(self._client, name))


class Connection:
    """MLflow's client for one tracking server or database, which also becomes MLflow's global one.

    Without a URI it is the project's own `mlflow.db`. `create` makes a database file that does not exist.

    Raises:
        MissingExtra: MLflow is not installed.
        ToolError: the database is missing or broken.
    """

    def __init__(self, root: Path, uri: str | None, *, create: bool = True) -> None:
        quiet()
        try:
            import mlflow
        except ImportError as error:
            raise MissingExtra("mlflow", "pipeline") from error
        self.root = root
        self.is_local = uri is None
        self.uri = uri or database.uri_of(root / layout.TRACKING_DB)
        file = database.file_of(self.uri)
        name = layout.TRACKING_DB if self.is_local else str(file)
        if file is not None and create:
            lock = root / layout.STATE / "mlflow.lock" if self.is_local else file.with_name(f".{file.name}.lock")
            database.create(file, lock)
        elif file is not None and not file.is_file():  # MLflow would create it, and its folder
            raise ToolError(f"{name} is not there")
        if self.is_local:
            database.follow_move(root)
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        quiet()  # importing mlflow sets the levels of its loggers
        try:
            with translate_errors():
                self.client = Client(mlflow.MlflowClient(self.uri, self.uri))
        except ToolError as error:
            if file is None:
                raise
            raise ToolError(f"{name}: {error.message}", hint=error.hint or database.remedy(error, name)) from error
