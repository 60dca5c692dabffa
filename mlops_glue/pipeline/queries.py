"""Tables that a query gives: its rows are a Parquet file that DVC tracks, read again only when somebody asks for it.

A query has no hash that says whether its rows are others now. So they are read before the stages, never by one: once
where the file is not there yet, where the query is another one, and by `glue run --refresh`. What was read, from where
and when stands in the file's `.dvc`, in git.
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
    """The sources that a query gives, by name."""
    return {name: source for name, source in config.data.sources.items() if source.query is not None}


def read(config: Config, root: Path, on_stage: OnStage, *, again: bool) -> None:
    """Read each query whose rows are not there, or of another query; `again`: every one.

    Where one cannot be read, or gives no rows, its file and all else stay as they were.

    Raises:
        DataError: a query gives no rows, or its file is one that no query made.
        GlueError: a database cannot be reached, or refuses.
    """
    asked = sources(config)
    if not asked:
        return
    with staged("query", on_stage) as result:
        due = [name for name, source in asked.items() if again or _is_due(root, name, source)]
        result.outcome = "executed" if due else "unchanged"
        result.reasons = [_read(root, name, asked[name]) for name in due]


def check(config: Config, root: Path) -> None:
    """The files hold the rows of the queries as they stand; `dvc repro` alone reads none.

    Raises:
        DataError: one holds those of another query.
    """
    for name, source in sources(config).items():
        known = dvc.about(root, source.path)
        if known is None or known["query"] != _text(source):
            problem = f"{source.path} does not hold the rows of data.sources.{name}.query as it stands"
            raise DataError(problem, hint="glue run, which reads it")


def pending(config: Config, root: Path, text: str | None = None) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """`dvc.pending`, and first the queries, of which DVC knows nothing: a run reads one that is another than it was."""
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
    """What was read into a file with this MD5: query, place, time, rows; None where no query gave it."""
    known = dvc.about(root, path)
    return known if known is not None and known["md5"] == md5 else None


def _text(source: Source) -> str:
    return (source.query or "").strip()


def _is_due(root: Path, name: str, source: Source) -> bool:
    file, known = root / source.path, dvc.about(root, source.path)
    if known is None:
        if file.exists() or Path(f"{file}.dvc").exists():
            problem = f"data.sources.{name}: {source.path} is there already, and no query made it"
            raise DataError(problem, hint="glue run --refresh replaces it; or give the query another path")
        return True
    if known["query"] != _text(source):
        return True
    if not file.is_file():
        problem = f"data.sources.{name}: {source.path} is not there; it was read {known['read']}"
        raise DataError(problem, hint=f"dvc pull {source.path}.dvc; or read it anew: glue run --refresh")
    return False


def write(fresh: Path, source: Source, url: str, root: Path, key: str) -> dict[str, Any]:
    """Write the rows of a query to a new file.

    Args:
        fresh: the file.
        source: the query.
        url: where it is asked, resolved.
        root: the project.
        key: what the query is called in messages.

    Returns:
        What the `.dvc` of its rows says of them.

    Raises:
        DataError: it gives no rows, or what is not kept exactly.
        ToolError: the database does not answer in time, or refuses the query.
    """
    about = {"query": _text(source), "url": masked(source.url, "url"), "read": _now(), "rows": 0}
    try:
        # DuckDB looks for a file that a query reads first in the folder where it runs
        folder = root if root.is_dir() else fresh.parent
        with contextlib.chdir(folder), row_groups.writing(fresh, combined=True) as file:
            for piece in sql.rows(url, _text(source), root, source.timeout_s or LIMIT_S):
                file.write(piece)
                about["rows"] += piece.num_rows
        if not about["rows"]:
            raise DataError("the query gives no rows", hint="is it the right database, and does the query run there?")
    except (DataError, ToolError) as error:
        raise type(error)(redacted(f"{key}: {error.message}", url), hint=error.hint) from error
    return about


def _read(root: Path, name: str, source: Source) -> str:
    """Read one query into its file; what came of it, in words."""
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
    """Put a new file in the place of one, which is put back where the block fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.with_name(f".{path.name}.before.tmp")
    had_one = path.exists()
    if had_one:
        path.replace(before)
    try:
        fresh.replace(path)
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        if had_one:
            before.replace(path)
        raise
    before.unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
