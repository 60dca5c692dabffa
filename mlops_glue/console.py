"""The only module that prints: stage lines, tables, JSON, errors. Results to stdout, progress to stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mlops_glue import layout, terminal
from mlops_glue.errors import GlueError, full_traceback, memory_error, system_error
from mlops_glue.secrets import redacted

WIDTH = 12
OUTSIDE = "outside"
OUTCOMES = {"executed": "good", "restored": "aside", "unchanged": "dim", "failed": "bad", "refused": "bad"}
VERDICTS = {"met": "good", "MISSED": "bad"}
LABELS = {"error": "bad", "warning": "caution", "refused": "bad", "hint": "aside"}


def progress(line: str) -> None:
    """Print a line about the work to stderr; a label such as `error:` is in colour."""
    label, colon, rest = line.partition(":")
    if colon and label in LABELS:
        line = terminal.paint(f"{label}:", LABELS[label], sys.stderr) + rest
    stream = terminal.unwrapped(sys.stderr)
    stream.write(line + "\n")
    stream.flush()


def show_logs() -> None:
    """Print the package's log messages as progress lines: modules below the commands do not print."""
    handler = logging.Handler()
    handler.emit = lambda record: progress(redacted(record.getMessage()))  # type: ignore[method-assign]
    log = logging.getLogger("mlops_glue")
    log.handlers = [handler]
    log.setLevel(logging.INFO)


def result(line: str = "", *, good: str = "", bad: str = "") -> None:
    """Print a result line to stdout; on a terminal, the part `good` is green, and the part `bad` is red."""
    for part, style in ((good, "good"), (bad, "bad")):
        if part:
            line = line.replace(part, terminal.paint(part, style, sys.stdout), 1)
    terminal.unwrapped(sys.stdout).write(line + "\n")


def flush() -> None:
    """Flush the output, so that it is visible even if a later step fails."""
    sys.stdout.flush()


def result_json(value: Any) -> None:
    """Print the result as JSON."""
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")


def rows(number: int) -> str:
    """Format a number of rows: `1 row`, `12,480 rows`."""
    return f"{number:,} row{'s' * (number != 1)}"


def stage(name: str, outcome: str, seconds: float, reasons: list[str]) -> None:
    """Print a stage's line once it has an outcome; until then, a terminal shows its name with a spinner.

    The outcome is "" when the stage begins, and `OUTSIDE` when a separate process takes over the terminal. The function
    is an `OnStage`: `adapters.dvc.reproduce` and `session.staged` report to `session.Recorder`, which calls it.
    """
    head = f"{name} {'.' * (WIDTH - len(name))} "
    if outcome == "":
        terminal.start_spinner(head)
        return
    terminal.stop_spinner()
    if outcome == OUTSIDE:
        if terminal.is_interactive(sys.stderr):
            progress(head.rstrip())
        return
    shown = reasons[:2] + ([f"and {len(reasons) - 2} more"] if len(reasons) > 2 else [])
    why = f"  ({', '.join(shown)})" if shown and outcome != "unchanged" else ""
    painted = terminal.paint(outcome, OUTCOMES[outcome], sys.stderr) + " " * (9 - len(outcome))
    progress(f"{head}{painted} {seconds:6.1f} s{why}")


@contextlib.contextmanager
def fold(name: str) -> Iterator[None]:
    """Fold the output of the block into a group on GitHub Actions; elsewhere, do nothing."""
    is_github = os.environ.get("GITHUB_ACTIONS") == "true"
    if is_github:
        progress(f"::group::{name}")
    try:
        yield
    finally:
        if is_github:
            progress("::endgroup::")


def error(problem: GlueError) -> None:
    """Print `error: …` for each line of a problem, and its hint."""
    for line in problem.message.splitlines():
        progress(f"error: {line}")
    if problem.hint:
        progress(f"hint: {redacted(problem.hint)}")


def table(rows: list[list[str]], head: list[str]) -> None:
    """Print columns padded with spaces, and add the table to GitHub's step summary, if there is one."""
    widths = [max(len(r[at]) for r in [head, *rows]) for at in range(len(head))]
    for row in [head, *rows]:
        cells = [_verdict(cell) + " " * (w - len(cell)) for cell, w in zip(row, widths, strict=True)]
        result("  ".join(cells).rstrip())
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if page:
        lines = [f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows]]
        with open(page, "a", encoding="utf-8") as file:  # noqa: PTH123 - the runner's own file
            file.writelines([*lines, "\n"])


def _verdict(cell: str) -> str:
    return terminal.paint(cell, VERDICTS[cell], sys.stdout) if cell in VERDICTS else cell


def bug_report(problem: BaseException) -> GlueError:
    """Convert an unexpected exception to one line; write its traceback to a new file that the user can send."""
    import tempfile

    folder = layout.STATE if Path(layout.STATE).is_dir() else None  # None: the system's temporary folder
    try:
        handle, log = tempfile.mkstemp(prefix="glue-", suffix=".log", dir=folder)
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(full_traceback(problem))
    except OSError:
        return GlueError(f"a bug in glue: {type(problem).__name__}", hint="run the command again with --traceback")
    return GlueError(f"a bug in glue: {type(problem).__name__}", hint=f"please report it with {log}")


def failure(problem: Exception, *, traceback: bool = False) -> int:
    """Print the error of a failed command, after the full traceback if requested. Return the exit code."""
    if traceback:
        progress(full_traceback(problem).rstrip())
    known = memory_error(problem)
    if known is None and isinstance(problem, GlueError):
        known = problem
    elif known is None and isinstance(problem, OSError):
        known = system_error(problem)
    error(known or bug_report(problem))
    return known.exit_code if known is not None else 3


@contextlib.contextmanager
def progress_bar(name: str) -> Iterator[Callable[[float], None]]:
    """Show a progress bar on a terminal, nothing elsewhere; yield a function that takes the share done, 0 to 1."""
    if not sys.stderr.isatty():
        yield lambda share: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def whole_file(path: Path) -> None:
    """Print the bytes of a file as the result."""
    import shutil

    sys.stdout.flush()
    with path.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()
