"""`glue init`: create a project from a table, a query or a template."""

from __future__ import annotations

import os
import shlex
import tempfile
from dataclasses import replace
from pathlib import Path

from mlops_glue import console, layout
from mlops_glue.errors import UsageError
from mlops_glue.scaffold.infer import Request
from mlops_glue.scaffold.new_project import NewProject, generate_tables
from mlops_glue.scaffold.plan import FRAUD, plan
from mlops_glue.scaffold.query import read
from mlops_glue.streaming import SUFFIXES
from mlops_glue.tables import find_table

QUERY = "glue init churn --url '${DATABASE_URL}' --query 'select … from …' --target COLUMN"
MOST_TABLES = 3  # tables that a message lists


def init(
    directory: str,
    data: tuple[str, ...],
    target: str | None,
    *,
    url: str | None = None,
    query: str | None = None,
    timeout: float | None = None,
    template: str | None = None,
    timestamp: str | None = None,
    entity: tuple[str, ...] = (),
    task: str | None = None,
    estimator: str | None = None,
    text: bool = True,
    dry_run: bool = False,
) -> int:
    """Read the tables, infer the settings, and write missing files; never overwrite existing files."""
    root = Path(directory).resolve()
    if (url is None) != (query is None):
        raise UsageError("--url and --query go together", hint=QUERY)
    if timeout is not None and query is None:
        raise UsageError("--timeout is for --query", hint=QUERY)
    table = QUERY if query is not None else f"glue init --data {data[0]} --target COLUMN" if data else None
    _check_tables(table, target, template, others=bool(timestamp or entity or task or estimator))
    if table is None and template is None:
        _check_no_tables(directory, root)
    with tempfile.TemporaryDirectory() as scratch:
        queried = []
        if target is not None:
            files = _find(data, directory, root)
            if url is not None and query is not None:
                queried = [read(root, url, query, Path(scratch), timeout)]
                files = [queried[0].file, *files]
            library = None if estimator == "default" else estimator
            request = Request(root, files, target, timestamp, entity, task, library=library, text=text)
            answers, notes = plan(replace(request, queries={one.file: one.source for one in queried}))
        else:
            files = generate_tables(template or "fraud", Path(scratch))
            answers, notes = plan(Request(root, files, "is_fraud", "event_timestamp", ("customer_id",), preset=FRAUD))
            answers |= {template or "fraud": {}, "feature_repo": {}}
        project = NewProject(root, answers, files, {one.file: one.about for one in queried})
        counts = [f"{one.source.path}: {one.about['rows']:,} rows" for one in queried]
        for line in (*counts, *notes, *project.kept()):
            console.progress(line)
        project.check()
        if dry_run:
            for path in project.would_write():
                console.result(f"would write {path}")
            return 0
        commit = project.write()
    console.result(f"{directory}: {len(project.missing)} files written")
    enter = None if root == Path.cwd() else f"cd {shlex.quote(directory)}"
    console.result(f"next     {' && '.join(filter(None, (enter, commit, 'glue run')))}")
    return 0


def _check_tables(table: str | None, target: str | None, template: str | None, *, others: bool) -> None:
    """Check that a table and its target are both given, or neither.

    Args:
        table: a command with the table that was given, or None.
        target: the column to predict.
        template: a template, which has its own tables.
        others: whether options that need a table were given.

    Raises:
        UsageError: the table or the target is missing.
    """
    if template is not None and table is not None:
        option = "--query" if table == QUERY else "--data"
        raise UsageError(f"--template has its own tables: use either {option} or --template")
    if table is not None and target is None:
        raise UsageError("which column should be predicted?", hint=table)
    if table is None and (target or others):
        raise UsageError("which table?", hint="glue init churn --data customers.csv --target churn")


def _find(data: tuple[str, ...], directory: str, root: Path) -> list[Path]:
    """Return the paths of the tables that are files or folders.

    Raises:
        UsageError: a table does not exist, or is a folder outside the project.
    """
    files = [find_table(f"--data {name}", Path(name), folders=True).resolve() for name in data]
    outside = next((file for file in files if file.is_dir() and not file.is_relative_to(root)), None)
    if outside is not None:
        why = "is a folder outside the project, and glue does not copy folders"
        move = f"mkdir -p {directory}/{layout.RAW} && mv {outside} {directory}/{layout.RAW}/"
        raise UsageError(f"--data {outside.name}: {why}", hint=move)
    return files


def _check_no_tables(directory: str, root: Path) -> None:
    """Check that there are no tables: a user with tables does not want the demo, the default of `glue init`.

    Raises:
        UsageError: there are tables.
    """
    folders = [folder for folder in (root, root / "data", root / layout.RAW) if folder.is_dir()]
    found = [p for folder in folders for p in sorted(folder.iterdir()) if p.name.lower().endswith(SUFFIXES)]
    if found:
        paths = ", ".join(os.path.relpath(path) for path in found[:MOST_TABLES])
        where, data = shlex.quote(directory), shlex.quote(os.path.relpath(found[0]))
        raise UsageError(
            f"which table, and which column should be predicted? {directory} contains {paths}",
            hint=f"glue init {where} --data {data} --target COLUMN; for the demo: glue init demo --template fraud",
        )
