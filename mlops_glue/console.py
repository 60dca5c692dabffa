"""The only module that prints: stage lines, tables, JSON, errors. Results to stdout, progress to stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mlops_glue import layout
from mlops_glue.errors import GlueError, of_locale, of_memory, of_system, whole_traceback

WIDTH = 12
_kept: list[list[dict[str, Any]]] = []  # of the blocks of `stages_kept` that are at work


def _paint(text: str, code: str) -> str:
    plain = not sys.stderr.isatty() or "NO_COLOR" in os.environ
    return text if plain else f"\033[{code}m{text}\033[0m"


def progress(line: str) -> None:
    """A line about what goes on."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def result(line: str = "") -> None:
    """A line of the answer."""
    sys.stdout.write(line + "\n")


def flush() -> None:
    """What was said so far is seen, whatever comes after it."""
    sys.stdout.flush()


def result_json(value: Any) -> None:
    """The answer as JSON."""
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")


def compared(with_champion: dict[str, Any]) -> str:
    """A candidate beside the champion, in a line."""
    metric, champion = with_champion["metric"], with_champion["version"]
    seen = with_champion.get("seen")
    rows, drawn = with_champion["rows"], with_champion.get("drawn_rows", with_champion["rows"])
    few = f" (samples of {drawn:,} of the {rows:,} rows)" if drawn < rows else ""
    left_out = f"; {seen:,} rows that v{champion} was trained on are left out" if seen else ""
    return (
        f"{metric} {with_champion['candidate']:.4f}, champion v{champion} on the same holdout "
        f"{with_champion['champion']:.4f}; the difference is {with_champion['low']:+.4f} to "
        f"{with_champion['high']:+.4f} at {with_champion['confidence']:.0%} confidence{few}{left_out}"
    )


def learned(fresh: dict[str, Any]) -> str:
    """What a retraining made of its fresh rows."""
    said = f"fresh rows: {fresh['rows']:,}, trained on: {fresh['trained']:,}, held out: {fresh['held_out']:,}"
    left = fresh.get("older_left_out")
    return f"{said}; {left:,} older rows are left out, with which fresh ones are predicted worse" if left else said


def stage(name: str, outcome: str, seconds: float, reasons: list[str]) -> None:
    """A stage's line: begun with outcome "", finished by the next call. On a terminal both are one line."""
    head = f"{name} {'.' * (WIDTH - len(name))} "
    if outcome:
        for lines in _kept:
            lines.append({"stage": name, "outcome": outcome, "seconds": round(seconds, 3), "reasons": reasons})
    if outcome == "":
        if sys.stderr.isatty():
            sys.stderr.write(head)
            sys.stderr.flush()
        return
    colour = {"executed": "32", "restored": "36", "unchanged": "2", "failed": "31"}.get(outcome, "0")
    shown = reasons[:2] + ([f"and {len(reasons) - 2} more"] if len(reasons) > 2 else [])
    why = f"  ({', '.join(shown)})" if shown and outcome != "unchanged" else ""
    start = "" if sys.stderr.isatty() else head
    progress(f"{start}{_paint(f'{outcome:<9}', colour)} {seconds:6.1f} s{why}")


@contextlib.contextmanager
def stages_kept() -> Iterator[list[dict[str, Any]]]:
    """The lines of the stages that end while the block is at work."""
    lines: list[dict[str, Any]] = []
    _kept.append(lines)
    try:
        yield lines
    finally:
        _kept.pop()  # blocks end in the reverse order


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
        progress(f"{_paint('error:', '31;1')} {line}")
    if problem.hint:
        progress(f"{_paint('hint:', '36')} {problem.hint}")


def table(rows: list[list[str]], head: list[str]) -> None:
    """Columns padded with spaces, to stdout."""
    widths = [max(len(r[at]) for r in [head, *rows]) for at in range(len(head))]
    for row in [head, *rows]:
        result("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if page:
        lines = [f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows]]
        with open(page, "a", encoding="utf-8") as file:  # noqa: PTH123 - the runner's own file
            file.writelines([*lines, "\n"])


def bug(problem: BaseException) -> GlueError:
    """An exception that nothing expected, as one line; the traceback goes to a new file, to be pasted."""
    import tempfile

    folder = Path(layout.STATE) if Path(layout.STATE).is_dir() else None  # else where others may write too
    try:
        handle, name = tempfile.mkstemp(prefix="glue-", suffix=".log", dir=folder)
        log = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(whole_traceback(problem))
        if folder is not None:
            log = log.replace(folder / "glue.log")
    except OSError:
        return GlueError(f"a bug in glue: {type(problem).__name__}", hint="again with --traceback")
    return GlueError(f"a bug in glue: {type(problem).__name__}", hint=f"please report it with {log}")


def ended(problem: Exception, *, show: bool = False) -> int:
    """Tell in a line how a command ended badly, after the whole traceback if asked to; returns its exit code."""
    if show:
        progress(whole_traceback(problem).rstrip())
    told = of_memory(problem) or of_locale(problem)
    if told is None and isinstance(problem, GlueError | OSError):
        told = problem if isinstance(problem, GlueError) else of_system(problem)
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
