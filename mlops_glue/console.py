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
from mlops_glue.errors import GlueError, full_traceback, locale_error, memory_error, system_error

WIDTH = 12
OUTSIDE = "outside"
OUTCOMES = {"executed": "good", "restored": "aside", "unchanged": "dim", "failed": "bad", "refused": "bad"}
VERDICTS = {"met": "good", "MISSED": "bad"}
LABELS = {"error": "bad", "warning": "caution", "refused": "bad", "hint": "aside"}


def progress(line: str, *, whole: bool = False) -> None:
    """A line about what goes on, its label in colour; `whole`: it is to be copied, so no terminal breaks it."""
    shown = line if whole else terminal.wrapped(line, sys.stderr)
    label, colon, rest = shown.partition(":")
    if colon and label in LABELS:
        shown = terminal.paint(f"{label}:", LABELS[label], sys.stderr) + rest
    _write_line(shown)


class _Shown(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        progress(record.getMessage())


def show_logs() -> None:
    """What the rooms log are lines of progress: they do not print."""
    log = logging.getLogger("mlops_glue")
    log.handlers = [_Shown()]
    log.setLevel(logging.INFO)


def _write_line(line: str) -> None:
    stream = terminal.unwrapped(sys.stderr)
    stream.write(line + "\n")
    stream.flush()


def result(line: str = "", *, whole: bool = False, good: str = "", bad: str = "") -> None:
    """A line of the answer; `good` and `bad` are parts of it that have a colour on a terminal."""
    shown = line if whole else terminal.wrapped(line, sys.stdout)
    for part, style in ((good, "good"), (bad, "bad")):
        if part:
            shown = shown.replace(part, terminal.paint(part, style, sys.stdout), 1)
    terminal.unwrapped(sys.stdout).write(shown + "\n")


def agreed(ask: Callable[[str], bool] | None, question: str) -> bool:
    """Whether the user says yes; without `ask` they did on the command line."""
    if ask is None or ask(question):
        return True
    result("nothing written")
    return False


def flush() -> None:
    """What was said so far is seen, whatever comes after it."""
    sys.stdout.flush()


def result_json(value: Any) -> None:
    """The answer as JSON."""
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")


def rows(number: int) -> str:
    """`1 row`, `12,480 rows`."""
    return f"{number:,} row{'s' * (number != 1)}"


def stage(name: str, outcome: str, seconds: float, reasons: list[str]) -> None:
    """A stage's line, once it has an outcome; before that its name is drawn with a spinner, on a terminal.

    Args:
        name: of the stage; every line begins with it.
        outcome: executed, restored, unchanged, failed or refused; "" when the stage begins, `OUTSIDE` when a process of
            its own takes the terminal.
        seconds: that it took.
        reasons: why it ran, or what came of it.
    """
    head = f"{name} {'.' * (WIDTH - len(name))} "
    if outcome == "":
        terminal.work(head)
        return
    terminal.still()
    if outcome == OUTSIDE:
        if terminal.can_move(sys.stderr):
            _write_line(head.rstrip())
        return
    shown = reasons[:2] + ([f"and {len(reasons) - 2} more"] if len(reasons) > 2 else [])
    why = f"  ({', '.join(shown)})" if shown and outcome != "unchanged" else ""
    line = terminal.wrapped(f"{head}{outcome:<9} {seconds:6.1f} s{why}", sys.stderr, len(head))
    painted = terminal.paint(outcome, OUTCOMES[outcome], sys.stderr)
    _write_line(head + line.removeprefix(head).replace(outcome, painted, 1))


@contextlib.contextmanager
def fold(name: str) -> Iterator[None]:
    """A group that GitHub Actions folds; nothing elsewhere."""
    there = os.environ.get("GITHUB_ACTIONS") == "true"
    if there:
        progress(f"::group::{name}")
    try:
        yield
    finally:
        if there:
            progress("::endgroup::")


def error(problem: GlueError) -> None:
    """`error: …` for each line of it, and the hint."""
    for line in problem.message.splitlines():
        progress(f"error: {line}")
    if problem.hint:
        progress(f"hint: {problem.hint}")


def table(rows: list[list[str]], head: list[str]) -> None:
    """Columns padded with spaces, to stdout; on a terminal that is too narrow each row as a list."""
    widths = [max(len(r[at]) for r in [head, *rows]) for at in range(len(head))]
    room = terminal.columns(sys.stdout)
    if room is not None and sum(widths) + 2 * (len(widths) - 1) > room:
        _stacked(rows, head)
    else:
        for row in [head, *rows]:
            cells = [_verdict(cell) + " " * (w - len(cell)) for cell, w in zip(row, widths, strict=True)]
            result("  ".join(cells).rstrip(), whole=True)
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if page:
        lines = [f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows]]
        with open(page, "a", encoding="utf-8") as file:  # noqa: PTH123 - the runner's own file
            file.writelines([*lines, "\n"])


def _verdict(cell: str) -> str:
    return terminal.paint(cell, VERDICTS[cell], sys.stdout) if cell in VERDICTS else cell


def _stacked(rows: list[list[str]], head: list[str]) -> None:
    width = max(map(len, head[1:]))
    result(head[0])
    for first, *others in rows:
        result(f"  {first}")
        for title, cell in zip(head[1:], others, strict=True):
            if cell:
                result(f"    {title:<{width}}  {_verdict(cell)}", whole=True)


def bug(problem: BaseException) -> GlueError:
    """An exception that nothing expected, as one line; the traceback goes to a new file, to be pasted."""
    import tempfile

    folder = Path(layout.STATE) if Path(layout.STATE).is_dir() else None  # else where others may write too
    try:
        handle, name = tempfile.mkstemp(prefix="glue-", suffix=".log", dir=folder)
        log = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(full_traceback(problem))
        if folder is not None:
            log = log.replace(folder / "glue.log")
    except OSError:
        return GlueError(f"a bug in glue: {type(problem).__name__}", hint="again with --traceback")
    return GlueError(f"a bug in glue: {type(problem).__name__}", hint=f"please report it with {log}")


def ended(problem: Exception, *, show: bool = False) -> int:
    """Tell in a line how a command ended badly, after the whole traceback if asked to; returns its exit code."""
    if show:
        progress(full_traceback(problem).rstrip())
    told = memory_error(problem) or locale_error(problem)
    if told is None and isinstance(problem, GlueError | OSError):
        told = problem if isinstance(problem, GlueError) else system_error(problem)
    if told is not None:
        error(told)
        return told.exit_code
    error(bug(problem))
    return 3


@contextlib.contextmanager
def rows_bar(name: str) -> Iterator[Callable[..., None]]:
    """A progress bar over a table on a terminal, nothing elsewhere.

    Yields:
        What to call with `share`, the part of the file that is read (0 to 1), or `rows`, how many more are done.
    """
    if not sys.stderr.isatty():
        yield lambda share=None, rows=0: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    counted = TextColumn("{task.fields[rows]:,} rows, {task.fields[rate]:,.0f}/s")
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), counted, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=1.0, rows=0, rate=0.0)

        def went_on(share: float | None = None, rows: int = 0) -> None:
            now = bar.tasks[0]
            count = now.fields["rows"] + rows
            bar.update(task, completed=share, rows=count, rate=count / max(now.elapsed or 0.0, 1e-3))

        yield went_on


def whole_file(path: Path) -> None:
    """The answer, as bytes that are in a file."""
    import shutil

    sys.stdout.flush()
    with path.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()
