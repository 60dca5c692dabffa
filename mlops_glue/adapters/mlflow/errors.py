"""MLflow's exceptions as glue's."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from io import StringIO
from urllib.parse import urlsplit

from mlops_glue.errors import DISK_FULL, GlueError, ToolError, Unreachable, causes, first_line

MAX_MESSAGE = 300  # characters
IN_ITS_LOG = "why stands in the log of MLflow's server; is its database up? one made anew: restart the server"
IS_IT_UP = "is it up? glue doctor; a slow server gets more time: tracking: {timeout_s: 60}"


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Raise MLflow's exceptions as one line without credentials, and drop what MLflow prints.

    Raises:
        Unreachable: its server does not answer.
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
            message, hint = f"the disk is full: {_describe(error)}", "make room, then again"
        elif (away := _unreachable(chain)) is not None:
            raise Unreachable(f"MLflow: {away}", hint=IS_IT_UP) from error
        else:
            message, hint = _describe(error), IN_ITS_LOG if _is_of_server(error) else None
        raise ToolError(f"MLflow: {message}", hint=hint) from error


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error, MAX_MESSAGE)}"


def _unreachable(chain: list[BaseException]) -> str | None:
    """Say that a server does not answer, and why; None if the error has another cause."""
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
            if isinstance(error, RetryError):  # a server says so whose database is away, a proxy whose server is
                reason = f"{first_line(chain[-1])}: what is behind it is away"
            return f"{url.scheme}://{url.netloc} does not answer: {reason}"
        if getattr(error, "connection_invalidated", False):  # SQLAlchemy's: the database has ended the connection
            return f"its database does not answer: {first_line(error)}"
        if (kind := _of_s3(error)) is not None:
            return f"the store of its artifacts does not answer: {kind}"
    return None


def _is_of_server(error: BaseException) -> bool:
    """Did the server say that it cannot, and not that it is asked for what there is not?"""
    code = getattr(error, "error_code", None)  # BAD_REQUEST is what its database says
    return type(error).__name__ == "RestException" and code in (
        "BAD_REQUEST",
        "INTERNAL_ERROR",
        "TEMPORARILY_UNAVAILABLE",
    )


def _of_s3(error: BaseException) -> str | None:
    """The name of an error of the connection to S3; None for any other."""
    if "botocore" not in sys.modules:
        return None
    from botocore.exceptions import ConnectionError, HTTPClientError

    return type(error).__name__ if isinstance(error, ConnectionError | HTTPClientError) else None


def was_closed(error: BaseException) -> bool:
    """Was the connection closed under a request, as that of an idle client is by a server or a proxy?"""
    return any(isinstance(one, ConnectionResetError | BrokenPipeError) for one in _with_arguments(causes(error)))


def _with_arguments(chain: Iterable[BaseException]) -> Iterator[object]:
    """Exceptions, each with what it was made of: urllib3 raises none from the system's, and holds it there."""
    for error in chain:
        yield from (error, *error.args)


def _is_full(error: BaseException) -> bool:
    """Check whether the system, or SQLite, has no room left."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in DISK_FULL
