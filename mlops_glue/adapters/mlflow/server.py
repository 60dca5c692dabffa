"""Inspect an MLflow server through its HTTP API, with MLflow's own credentials, without changing anything."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version

from mlops_glue.adapters.mlflow.connection import quiet
from mlops_glue.adapters.mlflow.errors import translate_errors
from mlops_glue.errors import ToolError

REFUSED = (401, 403)
NO_TAG = "glue.doctor"  # removing a tag that does not exist needs write permission and changes nothing


@dataclass(frozen=True)
class Server:
    """The state of an MLflow server.

    Attributes:
        version: the MLflow version of the server.
        ours: the MLflow version of this machine.
        took_s: the server's response time.
        skew_s: by how many seconds the server's clock is ahead of this machine's; None: the server sends no date.
        may_write: whether the server accepts changes of the registered model from this machine.
    """

    version: str
    ours: str
    took_s: float
    skew_s: float | None
    may_write: bool


def ready() -> None:
    """Import the modules that `look` needs, so that the import does not count as response time."""
    quiet()
    from mlflow.tracking.request_header import registry  # noqa: F401
    from mlflow.utils import credentials, rest_utils  # noqa: F401


def look(uri: str, model: str, timeout_s: float) -> Server:
    """Read a server's version and time, and check whether it would accept a change.

    Raises:
        Unreachable: the server does not answer in time.
        ToolError: the server denies access, or is not an MLflow server.
    """
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    with translate_errors():
        credentials = get_default_host_creds(uri)
        started = time.perf_counter()
        answer = http_request(credentials, "/version", "GET", timeout=timeout_s, max_retries=0)
        took_s = time.perf_counter() - started
        if answer.status_code in REFUSED:
            hint = "export MLFLOW_TRACKING_USERNAME=… MLFLOW_TRACKING_PASSWORD=…, or MLFLOW_TRACKING_TOKEN=…"
            raise ToolError(f"MLflow: the server denies access (HTTP {answer.status_code})", hint=hint)
        if answer.status_code != 200 or not answer.text[:1].isdigit():
            raise ToolError(f"MLflow: this is not an MLflow server (HTTP {answer.status_code} for /version)")
        tag, route = {"name": model, "key": NO_TAG}, "/api/2.0/mlflow/registered-models/delete-tag"
        tried = http_request(credentials, route, "DELETE", json=tag, timeout=timeout_s, max_retries=0)
    skew_s = None
    if (date := answer.headers.get("Date")) is not None:
        skew_s = (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds() + took_s / 2
    return Server(answer.text.strip(), version("mlflow"), took_s, skew_s, tried.status_code not in REFUSED)
