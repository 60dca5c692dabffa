"""What `glue adopt` proposes for a repository: the files of `glue/`, by its script, its table and its Feast views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from mlops_glue import config as configs
from mlops_glue import layout
from mlops_glue.assessment.tree import printable
from mlops_glue.errors import GlueError
from mlops_glue.pipeline import dvc_yaml
from mlops_glue.pipeline.train import unfit_kind
from mlops_glue.scaffold import feast, manifest, own_folder
from mlops_glue.scaffold.choose import Choice, choose
from mlops_glue.scaffold.feast import FeastView
from mlops_glue.scaffold.infer import Request
from mlops_glue.scaffold.plan import plan
from mlops_glue.scaffold.repository import Repository, look
from mlops_glue.scaffold.script import Script
from mlops_glue.tables import column_names

WRITTEN = (layout.CONFIG, layout.SCHEMA, ".gitignore", ".dvcignore", "model.py")
MOST_ESTIMATORS = 5  # that are named of a script, beside its own


class Proposal(NamedTuple):
    """What is to be written, and what the templates took."""

    root: Path
    answers: manifest.Answers
    made: dict[str, str]  # by all templates

    @property
    def files(self) -> dict[str, str]:
        """What of it is for a repository that has files of its own."""
        return {name: text for name, text in self.made.items() if name in WRITTEN or name.startswith("feature_repo/")}


def propose(
    root: Path, top: Path, data: str | None, target: str | None, task: str | None, note: Callable[[str], None]
) -> Proposal:
    """Read the repository and infer a project from it.

    Args:
        root: the folder that is to be written.
        top: the repository.
        data: the table that the user named.
        target: the column that the user named.
        task: the task that the user named.
        note: gets each line that a person should know, also where there is nothing to propose.

    Raises:
        UsageError: there is nothing to learn from.
        DataError: the target cannot be learnt.
    """
    found = look(top)
    try:
        choice = choose(found, data, target)
    finally:
        for line in found.notes:
            note(line)
        found.notes.clear()
    request = _request(root, found, choice, task)
    try:
        answers, notes = plan(request)
    except GlueError as error:
        if not request.feast:
            raise
        found.notes.append(f"the features of Feast are not joined: {error.message}")
        alone = replace(request, files=[choice.table], timestamp=None, entities=(), feast=())
        answers, notes = plan(alone)
    for line in [*found.notes, *notes]:
        note(line)
    return Proposal(root, answers, manifest.render(answers))


def _request(root: Path, found: Repository, choice: Choice, task: str | None) -> Request:
    columns = column_names(choice.table) or []
    estimator = _estimator(found, choice.script, task)
    drops = _drops(found, choice.script, columns, choice.target)
    views = _joined(found, choice, columns)
    return Request(
        root,
        list(dict.fromkeys([choice.table, *(view.path for view in views)])),
        choice.target,
        feast.CLOCK if views and feast.CLOCK in columns else None,
        tuple(dict.fromkeys(key for view in views for key in view.entities)),
        task,
        in_place=found.top,
        estimator=estimator,
        drops=drops,
        feast=views,
    )


def _estimator(found: Repository, script: Script | None, task: str | None) -> tuple[str, dict[str, Any]] | None:
    """The script's estimator; None where it does not fit the task that the user named."""
    if script is None or script.estimator is None:
        return None
    name = printable(script.path)
    found.notes.append(f"{name}:{script.line} builds {script.estimator}")
    others = [f"{name}:{line} builds {other} too: left out" for other, line in script.others]
    found.notes += others[:MOST_ESTIMATORS]
    if len(others) > MOST_ESTIMATORS:
        found.notes.append(f"and {len(others) - MOST_ESTIMATORS} more")
    package = script.estimator.partition(".")[0]
    if find_spec(package) is None:
        found.notes.append(f"{package} is not installed here: pip install {package}")
    if (kind := unfit_kind(script.estimator, task)) is not None:
        found.notes.append(f"--task {task}: {script.estimator} is a {kind}, and is left out")
        return None
    found.notes += [f"the file does not say its {argument}: left at its default" for argument in script.unknown]
    return script.estimator, script.params


def _drops(found: Repository, script: Script | None, columns: list[str], target: str) -> dict[str, str]:
    """The columns that the script does not learn from, with the reason."""
    if script is None:
        return {}
    name = printable(script.path)
    drops = {column: f"{name} drops it" for column in columns if column in script.drops}
    if script.uses is not None and script.uses & {*columns} - {target, *drops}:
        unused = [column for column in columns if column not in script.uses and column not in drops]
        drops |= dict.fromkeys(unused, f"{name} does not use it")
    drops.pop(target, None)
    if len(drops) >= len(columns) - 1:
        found.notes.append(f"{name} seems to drop every column: none is left out")
        return {}
    return drops


def _joined(found: Repository, choice: Choice, columns: list[str]) -> list[FeastView]:
    """The views whose features are joined to the table, which has these columns."""
    views = [view for view in found.feast if view.path.is_relative_to(found.top) and view.path != choice.table]
    for view in views:
        lacking = [key for key in view.entities if key not in columns] if view.entities else ["an entity"]
        if lacking:
            table = found.name_of(choice.table)
            found.notes.append(f"view {view.name} is not joined: {table} has no column {lacking[0]}")
    views = [view for view in views if view.entities and {*view.entities} <= {*columns}]
    refs = choice.script.refs if choice.script is not None else set()
    named = {ref.partition(":")[0] for ref in refs}
    if named & {view.name for view in views}:  # what the script asks Feast for
        views = [replace(view, fields=_fields(view, refs)) for view in views if view.name in named]
    if views:
        names = ", ".join(view.name for view in views)
        found.notes.append(f"features of {names} are joined: glue/feature_repo has these views over glue's own tables")
    return views


def _fields(view: FeastView, refs: set[str]) -> list[str]:
    names = [ref.partition(":")[2] for ref in sorted(refs) if ref.startswith(f"{view.name}:")]
    return [name for name in names if not view.fields or name in view.fields] or view.fields


def write(proposal: Proposal) -> None:
    """Write the folder, with DVC and the pipeline set up in it, or nothing where that fails."""
    root, answers, made = proposal
    with own_folder.written(root, proposal.files, answers, made=made, pipeline=True):
        dvc_yaml.sync(configs.load(root), root)
