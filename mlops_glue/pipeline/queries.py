"""Tables that come from a query: the rows are stored as a Parquet file that DVC tracks, and are read only on request.

A query has no hash that shows whether its rows have changed. So they are read before the stages, never by a stage: if
the file does not exist yet, if the query has changed, and by `glue run --refresh`. The file's `.dvc`, in git, records
the query, its database and the time.
"""

from __future__ import annotations

import contextlib
import filecmp
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_glue import layout, row_groups
from mlops_glue.adapters import dvc, sql
from mlops_glue.config import Config, Source, resolve
from mlops_glue.errors import DataError, ToolError
from mlops_glue.pipeline.session import OnStage, staged
from mlops_glue.secrets import masked, redacted

LIMIT_S = 600.0


def sources(config: Config) -> dict[str, Source]:
    """Return the sources that have a query, by name."""
    return {name: source for name, source in config.data.sources.items() if source.query is not None}


def read(config: Config, root: Path, on_stage: OnStage, *, again: bool) -> None:
    """Run each query whose rows are missing or belong to an older query; with `again`, run every query.

    If a query fails, or returns no rows, its file and everything else stay unchanged.

    Raises:
        DataError: a query returns no rows, or its file was not written by a query.
        GlueError: a database cannot be reached, or refuses the query.
    """
    queried = sources(config)
    if not queried:
        return
    with staged("query", on_stage) as result:
        due = [name for name, source in queried.items() if again or _is_due(root, name, source)]
        result.outcome = "executed" if due else "unchanged"
        result.reasons = [_read(root, name, queried[name]) for name in due]


def check(config: Config, root: Path) -> None:
    """Check that the files have the rows of the current queries; `dvc repro` alone runs no query.

    Raises:
        DataError: a file has the rows of another query.
    """
    for name, source in sources(config).items():
        known = dvc.about(root, source.path)
        if known is None or known["query"] != _text(source):
            problem = f"{source.path} does not have the rows of the current data.sources.{name}.query"
            raise DataError(problem, hint="glue run, which runs the query")


def pending(config: Config, root: Path, text: str | None = None) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return `dvc.pending`, preceded by the queries, which DVC does not know: a run reads a query that has changed."""
    why, upstream = dvc.pending(root, text)
    if not sources(config):
        return why, upstream
    try:
        check(config, root)
    except DataError as error:
        after = {name: ["query", *upstream.get(name, [])] for name, causes in why.items() if not causes}
        return {"query": [error.message], **why}, after
    return {"query": [], **why}, upstream


def recorded(root: Path, path: str, md5: str) -> dict[str, Any] | None:
    """Return the query, database, time and rows of a file with an MD5; None if no query wrote it."""
    known = dvc.about(root, path)
    return known if known is not None and known["md5"] == md5 else None


def _text(source: Source) -> str:
    return (source.query or "").strip()


def _is_due(root: Path, name: str, source: Source) -> bool:
    file, known = root / source.path, dvc.about(root, source.path)
    if known is None:
        if file.exists() or Path(f"{file}.dvc").exists():
            problem = f"data.sources.{name}: {source.path} already exists, and was not written by a query"
            raise DataError(problem, hint="replace it: glue run --refresh; or give the query another path")
        return True
    if known["query"] != _text(source):
        return True
    if not file.is_file():
        problem = f"data.sources.{name}: {source.path} does not exist; it was read {known['read']}"
        raise DataError(problem, hint=f"dvc pull {source.path}.dvc; or run the query again: glue run --refresh")
    return False


def write(fresh: Path, source: Source, url: str, root: Path, key: str) -> dict[str, Any]:
    """Write the rows of a query to a new file.

    Args:
        fresh: the file.
        source: the query.
        url: the database, with variables resolved.
        root: the project.
        key: the name of the query in messages.

    Returns:
        The metadata for the `.dvc` of the rows.

    Raises:
        DataError: the query returns no rows, or values that cannot be stored exactly.
        ToolError: the database does not answer in time, or refuses the query.
    """
    about = {"query": _text(source), "url": masked(source.url, "url"), "read": _now(), "rows": 0}
    try:
        # DuckDB resolves the files in a query relative to the current folder
        folder = root if root.is_dir() else fresh.parent
        with contextlib.chdir(folder), row_groups.writing(fresh, combined=True) as file:
            for piece in sql.rows(url, _text(source), root, source.timeout_s or LIMIT_S):
                file.write(piece)
                about["rows"] += piece.num_rows
        if not about["rows"]:
            raise DataError("the query returns no rows", hint="check the database, and run the query there")
    except (DataError, ToolError) as error:
        raise type(error)(redacted(f"{key}: {error.message}", url), hint=error.hint) from error
    return about


def _read(root: Path, name: str, source: Source) -> str:
    """Run one query and write its file; return the result as text."""
    key = f"data.sources.{name}"
    url = resolve(source.url or "", f"{key}.url")
    path, fresh = root / source.path, root / layout.STATE / "query.parquet"
    try:
        about = write(fresh, source, url, root, key)
        same = path.is_file() and filecmp.cmp(fresh, path, shallow=False)
        known = dvc.about(root, source.path)
        if same and known is not None and known["query"] == about["query"]:
            return f"{name}: the same {about['rows']:,} rows"
        with _replaced(path, fresh):
            dvc.keep(root, source.path, about)
        return f"{name}: {about['rows']:,} rows{', as before' if same else ''}"
    finally:
        fresh.unlink(missing_ok=True)


@contextlib.contextmanager
def _replaced(path: Path, fresh: Path) -> Iterator[None]:
    """Replace a file by a new one; restore it if the block fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.with_name(f".{path.name}.before.tmp")
    existed = path.exists()
    if existed:
        path.replace(before)
    try:
        fresh.replace(path)
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        if existed:
            before.replace(path)
        raise
    before.unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
