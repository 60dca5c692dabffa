"""The connection to one tracking server or database."""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import layout, telemetry
from mlops_glue.adapters.mlflow import database
from mlops_glue.adapters.mlflow.errors import translate_errors, was_closed
from mlops_glue.errors import MissingExtra, ToolError, Unreachable

if TYPE_CHECKING:
    import mlflow

TIMEOUT_S = 10.0
Asked = Callable[[], contextlib.AbstractContextManager[None]]


def quiet(timeout_s: float = TIMEOUT_S) -> None:
    """Switch off MLflow's telemetry, progress bars and logs, and let it wait for a server no longer than that.

    MLflow sends a request again that was not answered in time: what it asked for would be done twice.
    """
    telemetry.off()
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(math.ceil(timeout_s)))
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


class Client:
    """MLflow's client, whose exceptions are raised as glue's; each call is made in a context of `asked`."""

    def __init__(self, client: mlflow.MlflowClient, asked: Asked) -> None:
        self._client, self._asked = client, asked

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            with self._asked():
                try:
                    return method(*args, **kwargs)
                except Exception as error:
                    if not was_closed(error):
                        raise
                    return method(*args, **kwargs)  # on a connection of its own

        return call


class Connection:
    """MLflow's client for one tracking server or database, which also becomes MLflow's global one.

    Without a URI it is the project's own `mlflow.db`. `create` makes a database file that does not exist. A server has
    `timeout_s` to answer a request. One that did not is not asked again: each error comes at once then, and another
    `Connection` asks anew.

    Raises:
        MissingExtra: MLflow is not installed.
        Unreachable: the database's server does not answer.
        ToolError: the database is missing or broken.
    """

    def __init__(self, root: Path, uri: str | None, *, create: bool = True, timeout_s: float = TIMEOUT_S) -> None:
        quiet(timeout_s)
        try:
            import mlflow
        except ImportError as error:
            raise MissingExtra("mlflow", "pipeline") from error
        self.root = root
        self.is_local = uri is None
        self.away: Unreachable | None = None
        self.uri = uri or database.uri_of(root / layout.TRACKING_DB)
        file = database.file_of(self.uri)
        name = layout.TRACKING_DB if self.is_local else str(file)
        if file is not None and create:
            lock = root / layout.STATE / "mlflow.lock" if self.is_local else file.with_name(f".{file.name}.lock")
            database.create(file, lock)
        elif file is not None and not file.is_file():  # MLflow would create it, and its folder
            raise ToolError(f"{name} is not there")
        elif file is None:
            database.check_answers(self.uri, timeout_s)
        if self.is_local:
            database.follow_move(root)
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        quiet()  # importing mlflow sets the levels of its loggers
        try:
            with translate_errors():
                self.client = Client(mlflow.MlflowClient(self.uri, self.uri), self.asked)
        except ToolError as error:
            if file is None:
                raise
            raise ToolError(f"{name}: {error.message}", hint=error.hint or database.remedy(error, name)) from error

    @contextlib.contextmanager
    def asked(self) -> Iterator[None]:
        """Around whatever asks MLflow: its errors as glue's, and nothing is asked of a server that did not answer."""
        if self.away is not None:
            raise Unreachable(self.away.message, hint=self.away.hint) from self.away
        try:
            with translate_errors():
                yield
        except Unreachable as error:
            self.away = error
            raise
