"""The connection to one tracking server or database."""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlops_glue import layout, telemetry, waiting
from mlops_glue.adapters.mlflow import database
from mlops_glue.adapters.mlflow.errors import IS_IT_UP, translate_errors, was_closed
from mlops_glue.errors import MissingExtra, ToolError, Unreachable

if TYPE_CHECKING:
    import mlflow

TIMEOUT_S = 10.0
LATE_S = 1.0  # added to MLflow's own limit, so that MLflow's more detailed error comes first
Result = TypeVar("Result")


def quiet(timeout_s: float = TIMEOUT_S) -> None:
    """Switch off MLflow's telemetry, progress bars and logs, and set its timeout and no retries.

    MLflow would repeat a request that times out, and the server might carry it out twice.
    """
    telemetry.off()
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(math.ceil(timeout_s)))
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


class Client:
    """MLflow's client. Each call runs through `Connection.ask`; the first creates the client and opens the database."""

    def __init__(self, make: Callable[[], mlflow.MlflowClient], ask: Callable[[Callable[[], Any]], Any]) -> None:
        self._make, self._ask = make, ask
        self._client: mlflow.MlflowClient | None = None

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            def work() -> Any:
                if self._client is None:
                    self.open()
                method = getattr(self._client, name)
                try:
                    return method(*args, **kwargs)
                except Exception as error:
                    if name.startswith("create_") or not was_closed(error):  # never create anything twice
                        raise
                    return method(*args, **kwargs)  # on a new connection

            return self._ask(work)

        return call

    def open(self) -> None:
        """Create the client now."""
        self._client = self._make()


class Connection:
    """MLflow's client for one tracking server or database, which also becomes MLflow's global one.

    After the first timeout this connection contacts nothing any more: each later call fails immediately. A new
    `Connection` tries again.

    Args:
        root: the project folder.
        uri: the tracking server or database; None: the project's own `mlflow.db`.
        create: create a database file that does not exist.
        timeout_s: how long a server may take to answer a request. The limit also applies to the database and the
            artifact store if they are contacted from here.

    Raises:
        MissingExtra: MLflow is not installed.
        ToolError: the database is missing or broken.
    """

    def __init__(self, root: Path, uri: str | None, *, create: bool = True, timeout_s: float = TIMEOUT_S) -> None:
        quiet(timeout_s)
        try:
            import mlflow
        except ImportError as error:
            raise MissingExtra("mlflow", "pipeline") from error
        self.root, self._timeout_s = root, timeout_s
        self.is_local = uri is None
        self.away: Unreachable | None = None
        self.uri = uri or database.uri_of(root / layout.TRACKING_DB)
        self._file = file = database.file_of(self.uri)
        name = layout.TRACKING_DB if self.is_local else str(file)
        if file is not None and create:
            lock = root / layout.STATE / "mlflow.lock" if self.is_local else file.with_name(f".{file.name}.lock")
            database.create(file, lock)
        elif file is not None and not file.is_file():  # MLflow would create it and its folder
            raise ToolError(f"{name} does not exist")
        if self.is_local:
            database.follow_move(root)
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        quiet()  # importing mlflow sets the levels of its loggers
        self.client = Client(self._connected, self.ask)
        if file is not None:
            try:
                self.ask(self.client.open)
            except ToolError as error:
                hint = error.hint or database.remedy(error, name)
                raise ToolError(f"{name}: {error.message}", hint=hint) from error

    def _connected(self) -> mlflow.MlflowClient:
        import mlflow

        if self._file is None:
            database.check_answers(self.uri, self._timeout_s)
        return mlflow.MlflowClient(self.uri, self.uri)

    def ask(self, work: Callable[[], Result]) -> Result:
        """Return the result of work that contacts MLflow, its database or its artifact store.

        Raises:
            Unreachable: one of them does not answer in time.
            ToolError: the work failed.
        """
        with self.contact():
            if self._file is not None:
                return work()
            by_server = self.uri.startswith(("http://", "https://"))  # MLflow limits these requests itself
            what = f"MLflow: {'' if by_server else 'the database or '}the artifact store"
            return waiting.within(self._timeout_s + LATE_S, what, work, idle=True, hint=IS_IT_UP)

    @contextlib.contextmanager
    def contact(self) -> Iterator[None]:
        """Wrap calls of MLflow: translate its errors, and fail immediately if it did not answer earlier."""
        if self.away is not None:
            raise Unreachable(self.away.message, hint=self.away.hint) from self.away
        try:
            with translate_errors():
                yield
        except Unreachable as error:
            self.away = error
            raise
