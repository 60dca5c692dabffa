"""Translate MLflow's exceptions to glue's."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from io import StringIO
from urllib.parse import urlsplit

from mlops_glue.errors import DISK_FULL, GlueError, ToolError, Unreachable, causes, first_line

MAX_MESSAGE = 300  # characters
IN_ITS_LOG = "see the log of the MLflow server, and check its database; if that was re-created, restart the server"
IS_IT_UP = "is it up? glue doctor; if it is only slow, allow more time: tracking: {timeout_s: 60}"


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Raise MLflow's exceptions as one line without credentials, and discard MLflow's output.

    Raises:
        Unreachable: the server does not answer.
        ToolError: MLflow, its database or its server could not do the work.
    """
    try:
        with contextlib.redirect_stdout(StringIO()), contextlib.redirect_stderr(StringIO()):
            yield
    except GlueError:
        raise
    except Exception as error:
        hint: str | None
        chain = list(causes(error))
        if any(map(_is_full, chain)):
            message, hint = f"the disk is full: {_describe(error)}", "free some disk space, then try again"
        elif (away := _unreachable(chain)) is not None:
            raise Unreachable(f"MLflow: {away}", hint=IS_IT_UP) from error
        else:
            message, hint = _describe(error), IN_ITS_LOG if _is_of_server(error) else None
        raise ToolError(f"MLflow: {message}", hint=hint) from error


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error, MAX_MESSAGE)}"


def _unreachable(chain: list[BaseException]) -> str | None:
    """Describe which server does not answer, and why; None if the error has another cause."""
    from requests.exceptions import ConnectionError, RequestException, RetryError, Timeout  # MLflow's HTTP client

    for error in chain:
        if isinstance(error, ConnectionError | Timeout | RetryError) and error.request is not None:
            url = urlsplit(str(error.request.url))
            system = [
                one
                for one in _with_arguments(chain)
                if isinstance(one, OSError) and not isinstance(one, RequestException)
            ]
            reason = (system[-1].strerror or first_line(system[-1])) if system else type(error).__name__
            if isinstance(error, RetryError):  # from a server without its database, or a proxy without its server
                reason = f"{first_line(chain[-1])}: the service behind it is unavailable"
            return f"{url.scheme}://{url.netloc} does not answer: {reason}"
        if getattr(error, "connection_invalidated", False):  # from SQLAlchemy: the database closed the connection
            return f"the database does not answer: {first_line(error)}"
        if (kind := _of_s3(error)) is not None:
            return f"the artifact store does not answer: {kind}"
    return None


def _is_of_server(error: BaseException) -> bool:
    """Check whether the server failed, as opposed to rejecting a wrong request."""
    code = getattr(error, "error_code", None)  # BAD_REQUEST comes from its database
    return type(error).__name__ == "RestException" and code in (
        "BAD_REQUEST",
        "INTERNAL_ERROR",
        "TEMPORARILY_UNAVAILABLE",
    )


def _of_s3(error: BaseException) -> str | None:
    """Return the name of an S3 connection error; None for any other error."""
    if "botocore" not in sys.modules:
        return None
    from botocore.exceptions import ConnectionError, HTTPClientError

    return type(error).__name__ if isinstance(error, ConnectionError | HTTPClientError) else None


def was_closed(error: BaseException) -> bool:
    """Check whether the connection was closed during a request, as servers and proxies do with idle clients."""
    return any(isinstance(one, ConnectionResetError | BrokenPipeError) for one in _with_arguments(causes(error)))


def _with_arguments(chain: Iterable[BaseException]) -> Iterator[object]:
    """Yield each exception and its arguments: urllib3 keeps the system's error in them instead of chaining it."""
    for error in chain:
        yield from (error, *error.args)


def _is_full(error: BaseException) -> bool:
    """Check whether the error means that the disk or an SQLite database is full."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in DISK_FULL
