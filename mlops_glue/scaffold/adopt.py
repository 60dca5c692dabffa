"""Propose the files of `glue/` for `glue adopt`, from the repository's script, table and Feast views."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import layout
from mlops_glue.adapters import dvc, git
from mlops_glue.assessment.tree import printable
from mlops_glue.errors import GlueError
from mlops_glue.pipeline import dvc_yaml
from mlops_glue.pipeline.class_kind import unfit_kind
from mlops_glue.scaffold import feast, manifest, merge
from mlops_glue.scaffold.adopted_repository import Repository, look
from mlops_glue.scaffold.choose import Choice, choose
from mlops_glue.scaffold.feast import FeastView
from mlops_glue.scaffold.infer import Request
from mlops_glue.scaffold.manifest import Answers
from mlops_glue.scaffold.plan import plan
from mlops_glue.scaffold.script import Script
from mlops_glue.tables import column_names

WRITTEN = (layout.CONFIG, layout.SCHEMA, ".gitignore", ".dvcignore", "model.py", "feature_repo/")
MOST_ESTIMATORS = 5  # other estimators of a script that are listed

log = logging.getLogger(__name__)


def propose(root: Path, top: Path, data: str | None, target: str | None, task: str | None) -> Answers:
    """Read the repository and infer a project from it; what the user should know is logged.

    Raises:
        UsageError: there is nothing to learn from.
        DataError: the target cannot be learned.
    """
    found = look(top)
    choice = choose(found, data, target)
    columns = column_names(choice.table) or []
    views = _joined(found, choice, columns)
    request = Request(
        root,
        [choice.table],
        choice.target,
        task=task,
        in_place=top,
        estimator=_estimator(choice.script, task),
        drops=_drops(choice.script, columns, choice.target),
    )
    try:
        answers, notes = plan(_with_views(request, views, columns))
    except GlueError as error:
        if not views:
            raise
        log.info(f"Feast features are not joined: {error.message}")
        answers, notes = plan(request)
    for note in notes:
        log.info(note)
    return answers


def _with_views(request: Request, views: list[FeastView], columns: list[str]) -> Request:
    """Return the request with the tables of the views, their keys, and the time that Feast joins by."""
    return replace(
        request,
        files=list(dict.fromkeys([*request.files, *(view.path for view in views)])),
        timestamp=feast.CLOCK if views and feast.CLOCK in columns else None,
        entities=tuple(dict.fromkeys(key for view in views for key in view.entities)),
        feast=views,
    )


def _estimator(script: Script | None, task: str | None) -> tuple[str, dict[str, Any]] | None:
    """Return the script's estimator and its arguments; None if it does not fit the task that the user named."""
    if script is None or script.estimator is None:
        return None
    name = printable(script.path)
    log.info(f"{name}:{script.line} builds {script.estimator}")
    for other, line in script.others[:MOST_ESTIMATORS]:
        log.info(f"{name}:{line} also builds {other}: left out")
    package = script.estimator.partition(".")[0]
    if find_spec(package) is None:
        log.info(f"{package} is not installed here: pip install {package}")
    if (kind := unfit_kind(script.estimator, task)) is not None:
        log.info(f"--task {task}: {script.estimator} is a {kind}: left out")
        return None
    for argument in script.unknown:
        log.info(f"the value of {argument} is not in the file: left at its default")
    return script.estimator, script.params


def _drops(script: Script | None, columns: list[str], target: str) -> dict[str, str]:
    """Return the columns that the script does not learn from, with the reason."""
    if script is None:
        return {}
    name = printable(script.path)
    drops = {column: f"{name} drops it" for column in columns if column in script.drops}
    if script.uses is not None and script.uses & {*columns} - {target, *drops}:
        unused = [column for column in columns if column not in script.uses and column not in drops]
        drops |= dict.fromkeys(unused, f"{name} does not use it")
    drops.pop(target, None)
    if len(drops) >= len(columns) - 1:
        log.info(f"{name} seems to drop every column, so none is left out")
        return {}
    return drops


def _joined(found: Repository, choice: Choice, columns: list[str]) -> list[FeastView]:
    """Return the views whose features are joined to the table with these columns."""
    views: list[FeastView] = []
    for view in found.feast:
        lacking = [key for key in view.entities if key not in columns] if view.entities else ["an entity"]
        if not view.path.is_relative_to(found.top) or view.path == choice.table:
            continue
        if lacking:
            log.info(f"view {view.name} is not joined: {found.name_of(choice.table)} has no column {lacking[0]}")
        else:
            views.append(view)
    refs = sorted(choice.script.refs) if choice.script is not None else []
    named = {ref.partition(":")[0] for ref in refs}
    if named & {view.name for view in views}:  # the features that the script requests from Feast
        views = [replace(view, fields=_fields(view, refs)) for view in views if view.name in named]
    if views:
        names = ", ".join(view.name for view in views)
        log.info(f"features of {names} are joined: glue/feature_repo defines these views on glue's own tables")
    return views


def _fields(view: FeastView, refs: list[str]) -> list[str]:
    names = [ref.partition(":")[2] for ref in refs if ref.startswith(f"{view.name}:")]
    return [name for name in names if not view.fields or name in view.fields] or view.fields


def to_write(made: dict[str, str]) -> dict[str, str]:
    """Return the rendered files that an adopted repository receives."""
    return {path: text for path, text in made.items() if path.startswith(WRITTEN)}


def written(
    root: Path, files: Mapping[str, str], answers: Answers, made: Mapping[str, str]
) -> contextlib.AbstractContextManager[None]:
    """Write the folder with the files and the record, then run the block; remove the folder if the block fails."""
    parts = manifest.recorded({}, "init", answers, made, files)
    return merge.written(root, [merge.File(path, "new", text) for path, text in files.items()], parts, [])


def write(root: Path, answers: Answers, made: dict[str, str]) -> None:
    """Write the folder, and set up DVC and the pipeline in it; write nothing if that fails."""
    with written(root, to_write(made), answers, made):
        dvc.init(root, git=git.is_work_tree(root))
        git.untrack(root)  # dvc init adds to the index, which is the user's
        dvc_yaml.sync(configs.load(root), root)
