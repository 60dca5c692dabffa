"""The errors of `glue`: a class for each kind, with its exit code.

Exit codes: 0 success, 1 a check failed, 2 config or usage, 3 a bug in glue, 4 a tool or stage failed, 130 interrupted,
141 the reader closed the pipe. `cli.entry.main` catches exceptions; `console.failure` prints them as `error:` lines and
a `hint:`, and writes a log file for a bug. A command may also return 1 for a negative result.
"""

from __future__ import annotations

import copyreg
import errno
import linecache
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlops_glue.secrets import redacted

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

interrupted = False  # whether ^C was pressed


def full_traceback(error: BaseException) -> str:
    """Return Python's traceback of an exception and its causes, without secrets."""
    return redacted("".join(traceback.format_exception(error)))


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, in Python's order."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def interrupt(*_: object) -> None:
    """Handle SIGINT. Also sets a flag, because another error may replace the exception, or a library swallow it."""
    global interrupted
    interrupted = True
    sys.unraisablehook = lambda _: None  # partly initialized objects may raise when they are deleted
    raise KeyboardInterrupt


def check_interrupted() -> None:
    """Raise KeyboardInterrupt again if a library has swallowed it."""
    if interrupted:
        raise KeyboardInterrupt


class GlueError(Exception):
    """An error that the user can fix. `hint` is a command or an edit. Secrets are removed from the message."""

    exit_code = 4

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = redacted(message)
        super().__init__(self.message)
        self.hint = hint

    def _render_traceback_(self) -> list[str]:
        """Return the lines that a notebook shows: the problem and its hint, without a traceback."""
        hint = [f"hint: {redacted(self.hint)}"] if self.hint else []
        return [*(f"error: {line}" for line in self.message.splitlines()), *hint]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the constructor, because the subclasses' constructors have other arguments."""
        return copyreg.__newobj__, (type(self), self.message), self.__dict__  # type: ignore[attr-defined]


class CheckFailed(GlueError):
    """A check failed: invalid data, a missed threshold, a worse candidate."""

    exit_code = 1


class UsageError(GlueError):
    """The command line is wrong, or refers to something that does not exist."""

    exit_code = 2


class ConfigError(GlueError):
    """`glue.yaml` is wrong; `problems` contains every finding, in file order."""

    exit_code = 2

    def __init__(self, problems: list[str], *, hint: str | None = None) -> None:
        super().__init__("\n".join(problems), hint=hint)
        self.problems = [redacted(problem) for problem in problems]


class DataError(GlueError):
    """A table cannot be read, or does not match the config."""

    exit_code = 4


def combined(errors: Sequence[DataError]) -> DataError:
    """Combine the errors of several tables: the first ten, with the first hint."""
    lines = [error.message for error in errors[:10]] + ([f"and {len(errors) - 10} more"] if len(errors) > 10 else [])
    return DataError("\n".join(lines), hint=errors[0].hint)


class DamagedError(DataError, ValueError):
    """A file of glue or of a stage is not JSON. Also a `ValueError`, for callers that can continue without the file."""


class ToolError(GlueError):
    """One of the composed tools failed; the cause is chained."""

    exit_code = 4


class Unreachable(ToolError):
    """A server does not answer in time; the request may or may not have been carried out."""


class StageError(GlueError):
    """A stage, or the user's code in it, raised an exception."""

    exit_code = 4


class MissingExtra(GlueError):
    """A required package is not installed."""

    exit_code = 4

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed", hint=f'pip install "mlops-glue[{extra}]"')


def first_line(error: BaseException, most: int = 200) -> str:
    """Return the first line of an exception's message, without secrets; its type if the message is empty."""
    # redact before cutting: half of a secret is still a secret
    return (redacted(str(error)).strip() or type(error).__name__).splitlines()[0][:most]


def brief(error: BaseException, most: int = 300) -> str:
    """Return `Type: first line of the message`."""
    kind, line = type(error).__name__, first_line(error, most)
    return kind if line == kind else f"{kind}: {line}"


def project_lines(error: BaseException, root: Path) -> str:
    """Return the lines of a traceback that are in the project's own code, each once, preceded by a line break."""
    places = [(f.filename, f.lineno, f.name, f.line) for f in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno, "", error.text))
    lines = []
    for file, line, function, source in places:
        path = Path(file)
        if file.startswith("<") and (root / (own := f"{file[1:-1].replace('.', '/')}.py")).is_file():
            path, source = root / own, linecache.getline(str(root / own), line or 0)  # trusted code runs from memory
        if path.is_relative_to(root) and ".venv" not in path.parts and "site-packages" not in path.parts:
            where = f" in {function}" if function and not function.startswith("<") else ""
            lines.append(f"\n  {path.relative_to(root).as_posix()}:{line}{where}: {(source or '').strip()}")
    return "".join(dict.fromkeys(lines))  # an endless recursion has one line a thousand times


def system_error(error: OSError) -> GlueError:
    """Convert an error of the operating system, such as a full disk or a read-only folder, to one line."""
    hints = dict.fromkeys(DISK_FULL, "free some disk space, then try again")
    hints |= dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "check the permissions: ls -ld")
    place = f": {error.filename}" if error.filename else ""
    return GlueError(f"{error.strerror or error}{place}", hint=hints.get(error.errno or 0))


def memory_error(error: BaseException) -> GlueError | None:
    """Detect a lack of memory behind an exception, such as a failed import, and convert it to one line."""
    texts = ("failed to map segment", "cannot allocate memory", "can't start new thread", "bad_alloc")
    for cause in causes(error):
        if isinstance(cause, MemoryError) or any(text in str(cause).lower() for text in texts):
            what = f" ({first_line(error)})" if isinstance(error, GlueError) else ""
            return GlueError(f"there is not enough memory{what}", hint="free memory, or raise the limit: ulimit -v")
    return None
