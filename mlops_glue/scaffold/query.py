"""Check the options for a new project's table that comes from a query, then read the table."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from mlops_glue import layout
from mlops_glue.config import Source, resolve, url_problem
from mlops_glue.errors import UsageError
from mlops_glue.pipeline import queries
from mlops_glue.scaffold.infer import name_of
from mlops_glue.suggest import did_you_mean

FILE = re.compile(r"(?!.*\bfrom\s).+\.sql", re.I)  # `select 1 from its.sql` is a query


class Rows(NamedTuple):
    """The rows of a query, in a separate file outside the project."""

    file: Path
    source: Source  # as `glue.yaml` will have it
    about: dict[str, Any]  # the metadata for the `.dvc` file


def read(root: Path, url: str, query: str, scratch: Path, timeout_s: float | None = None) -> Rows:
    """Query a database for the first table of a project, without writing anything into the project.

    Args:
        root: the project folder, which may not exist yet.
        url: the database; `${NAME}` stays in it. The path of a DuckDB file is relative to the current folder, or else
            to `root`.
        query: a SELECT, or a file that ends with .sql and contains a SELECT.
        scratch: the folder for the rows.
        timeout_s: how long the next rows may take; None: the default.

    Raises:
        UsageError: the query or the URL is invalid, or the project already has a file at that path.
        ConfigError: a variable is not set.
        DataError: the query returns no rows, or values that cannot be stored exactly.
        ToolError: the database does not answer, or refuses the query.
    """
    is_file = FILE.fullmatch(query) is not None
    text = _content(query) if is_file else query.strip()
    if not text.strip("; \n\t"):
        raise UsageError("--query: is empty", hint="--query 'select … from …'")
    if (problem := url_problem(url)) is not None:
        # in double quotes, or without quotes, the shell has replaced the name by its value
        name = next((name for name, value in os.environ.items() if value == url), "DATABASE_URL")
        raise UsageError(f"--url: {problem}", hint=f"--url '${{{name}}}', in single quotes, with {name} exported")
    name = name_of(Path(query).stem if is_file else root.name).replace(".", "_") or "query"
    kind, _, database = url.partition(":///")
    is_here = kind == "duckdb" and "${" not in url and not database.startswith("/") and Path(database).is_file()
    kept = f"{kind}:///{Path(os.path.relpath(database, root)).as_posix()}" if is_here else url
    source = Source(path=f"{layout.RAW}/{name}.parquet", url=kept, query=text, timeout_s=timeout_s)
    _check_new(root, source, scratch)
    file = scratch / f"{name}.parquet"
    resolved = f"{kind}:///{Path(database).absolute()}" if is_here else resolve(url, "--url")
    if resolved == "duckdb://" and not root.is_dir():
        problem = "--url duckdb:// reads files by their path from the project's folder, which does not exist"
        raise UsageError(problem, hint=f"mkdir -p {shlex.quote(str(root))}")
    return Rows(file, source, queries.write(file, source, resolved, root, "--query"))


def _content(query: str) -> str:
    file = Path(query)
    try:
        return file.read_text(encoding="utf-8-sig").strip()
    except FileNotFoundError:
        near = sorted(path.name for path in file.parent.glob("*.sql"))
        raise UsageError(f"--query {query}: no such file", hint=did_you_mean(file.name, near)) from None
    except UnicodeDecodeError as error:
        hint = f"iconv -f WINDOWS-1252 -t UTF-8 {query} -o utf8.sql"
        raise UsageError(f"--query {query}: is not UTF-8", hint=hint) from error


def _check_new(root: Path, source: Source, scratch: Path) -> None:
    """Check that the project has no config (without the query) and no file at the rows' path, and is not too wide.

    Raises:
        UsageError: the config or such a file exists, or the project folder contains the temporary files.
    """
    if (root / layout.CONFIG).exists():
        hint = "write path, url and query of a table into data.sources there; then glue run"
        raise UsageError(f"{root / layout.CONFIG} already exists, and is not overwritten", hint=hint)
    if scratch.resolve().is_relative_to(root):  # a table in the project's folder would not be copied
        raise UsageError(f"{root} contains the temporary files, and cannot be a project", hint="glue init FOLDER …")
    for path in (source.path, f"{source.path}.dvc"):
        if (root / path).exists():
            hint = f"use it: glue init --data {path}; or move it; or save the query in a file with another name"
            raise UsageError(f"{path} already exists, and the rows of the query would be stored there", hint=hint)
