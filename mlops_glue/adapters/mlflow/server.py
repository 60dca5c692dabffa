"""A look at an MLflow server, by its own HTTP API and with its own credentials; nothing is changed there."""

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
NO_TAG = "glue.doctor"  # to remove a tag that is not there takes the right to write, and changes nothing


@dataclass(frozen=True)
class Server:
    """What a server says of itself.

    Attributes:
        version: its MLflow's.
        ours: the installed one's.
        took_s: how long it took to answer.
        skew_s: how far its clock is ahead of this machine's, to a second; None: it does not tell.
        may_write: whether it takes changes of the registered model from here.
    """

    version: str
    ours: str
    took_s: float
    skew_s: float | None
    may_write: bool


def ready() -> None:
    """Import what `look` needs, which takes longer than an answer."""
    quiet()
    from mlflow.tracking.request_header import registry  # noqa: F401
    from mlflow.utils import credentials, rest_utils  # noqa: F401


def look(uri: str, model: str, timeout_s: float) -> Server:
    """Ask a server for its version and its time, and whether it would take a change.

    Raises:
        Unreachable: it does not answer in time.
        ToolError: it does not let anybody in, or is no MLflow server.
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
            raise ToolError(f"MLflow: the server lets nobody in without a name (HTTP {answer.status_code})", hint=hint)
        if answer.status_code != 200 or not answer.text[:1].isdigit():
            raise ToolError(f"MLflow: what answers there is no MLflow server (HTTP {answer.status_code} for /version)")
        tag, route = {"name": model, "key": NO_TAG}, "/api/2.0/mlflow/registered-models/delete-tag"
        tried = http_request(credentials, route, "DELETE", json=tag, timeout=timeout_s, max_retries=0)
    skew_s = None
    if (date := answer.headers.get("Date")) is not None:
        skew_s = (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds() + took_s / 2
    return Server(answer.text.strip(), version("mlflow"), took_s, skew_s, tried.status_code not in REFUSED)
