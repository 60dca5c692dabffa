"""A new project's table that a query gives: what the command line says of it is checked, and then it is read."""

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
    """The rows of a query in a file of their own, outside of the project."""

    file: Path
    source: Source  # as `glue.yaml` is to have it
    about: dict[str, Any]  # what the `.dvc` is to say of them


def read(root: Path, url: str, query: str, scratch: Path) -> Rows:
    """Ask a database for the first table of a project; in the project nothing is written.

    Args:
        root: the project folder, there or not.
        url: where it is asked; `${NAME}` stays in it. A DuckDB file is one from here, or else from `root`.
        query: a SELECT, or a file that ends with .sql and holds one.
        scratch: the folder for the rows.

    Raises:
        UsageError: the query or its place is none, or the project has something in its place already.
        ConfigError: a variable is not set.
        DataError: it gives no rows, or what is not kept exactly.
        ToolError: the database does not answer, or refuses the query.
    """
    is_file = FILE.fullmatch(query) is not None
    text = _content(query) if is_file else query.strip()
    if not text.strip("; \n\t"):
        raise UsageError("--query: is empty", hint="--query 'select … from …'")
    if (problem := url_problem(url)) is not None:
        # in double quotes, or in none, the shell has put the value in the place of the name
        name = next((name for name, value in os.environ.items() if value == url), "DATABASE_URL")
        raise UsageError(f"--url: {problem}", hint=f"--url '${{{name}}}', in single quotes, with {name} exported")
    name = name_of(Path(query).stem if is_file else root.name).replace(".", "_") or "query"
    kind, _, database = url.partition(":///")
    is_here = kind == "duckdb" and "${" not in url and not database.startswith("/") and Path(database).is_file()
    kept = f"{kind}:///{Path(os.path.relpath(database, root)).as_posix()}" if is_here else url
    source = Source(path=f"{layout.RAW}/{name}.parquet", url=kept, query=text)
    _check_new(root, source, scratch)
    file = scratch / f"{name}.parquet"
    resolved = f"{kind}:///{Path(database).absolute()}" if is_here else resolve(url, "--url")
    if resolved == "duckdb://" and not root.is_dir():
        problem = "--url duckdb:// reads files as they are named from the project's folder, which is not there"
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
    """There is no config, which would not have the query, no table in the place of its rows, and not all of the disk.

    Raises:
        UsageError: there is.
    """
    if (root / layout.CONFIG).exists():
        hint = "write path, url and query of a table into data.sources there; then glue run"
        raise UsageError(f"{root / layout.CONFIG} is there already, and is not overwritten", hint=hint)
    if scratch.resolve().is_relative_to(root):  # a table in the project's folder would not be copied
        raise UsageError(f"{root} is where temporary files are, and no project", hint="glue init FOLDER …")
    for path in (source.path, f"{source.path}.dvc"):
        if (root / path).exists():
            hint = f"glue init with --data {path} learns from it; else move it, or name the query by a file NAME.sql"
            raise UsageError(f"{path} is there already, and the rows of the query are to be kept there", hint=hint)
