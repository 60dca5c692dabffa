"""Render a project's answers with this version's templates, and merge the result into the user's edited files."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mlops_glue import config as configs
from mlops_glue import layout
from mlops_glue.adapters import git
from mlops_glue.errors import GlueError, UsageError, brief
from mlops_glue.pipeline import dvc_yaml
from mlops_glue.scaffold import manifest, workflows
from mlops_glue.scaffold.manifest import Part
from mlops_glue.scaffold.merge import CHANGES, File, after, check_resolved, merge, read, written
from mlops_glue.version import __version__

log = logging.getLogger(__name__)


class Upgrade(NamedTuple):
    """Every file as it will be, and the new record."""

    root: Path
    files: list[File]
    parts: dict[str, Part]

    @property
    def changed(self) -> list[File]:
        """The files that will change."""
        return [file for file in self.files if file.outcome in CHANGES]

    @property
    def conflicts(self) -> list[str]:
        """The files in which both sides changed the same lines."""
        return [file.path for file in self.files if file.outcome == "conflict"]


def plan(root: Path) -> Upgrade:
    """Merge everything; nothing is written.

    Raises:
        UsageError: there is no record, it cannot be read, or a newer glue wrote it.
        CheckFailed: a file contains a conflict of an earlier merge.
    """
    parts = manifest.load(root)
    if "init" not in parts:
        raise UsageError(
            f"no {layout.GENERATED}: without that record glue cannot distinguish your edits from its own text",
            hint="glue init . --data TABLE --target COLUMN writes one, and treats every existing file as yours",
        )
    check_version(parts.values())
    check_resolved(root, parts)
    files, changes = _of_init(root, parts["init"])
    config = next((file for file in files if file.path == layout.CONFIG), None)
    if config is not None and config.outcome == "conflict":
        log.warning("dvc.yaml and the workflows depend on %s: resolve it, then run glue upgrade again", layout.CONFIG)
    else:
        more, of_ci = _of_config(root, parts.get("ci"), config.text if config else None)
        files, changes = files + more, changes | of_ci
    return Upgrade(root, files, {**parts, **changes})


def check_version(parts: Iterable[Part]) -> None:
    """Check that no newer glue wrote the record: this version's templates would remove what the newer one added.

    Raises:
        UsageError: a newer glue wrote it.
    """
    from packaging.version import Version

    for part in parts:
        if Version(part.version) > Version(__version__):
            raise UsageError(
                f"{layout.GENERATED} was written by glue {part.version}, and this is glue {__version__}",
                hint=f"pip install --upgrade 'mlops-glue>={part.version}', then glue upgrade",
            )


def _of_init(root: Path, part: Part) -> tuple[list[File], dict[str, Part]]:
    """Merge the files of `glue init` or `glue adopt`; return them with their new record."""
    try:
        made = manifest.render(part.answers)
    except Exception as error:  # anything that a template or its code raises if an answer is missing or different
        raise manifest.unreadable(f"no files can be rendered from its answers: {brief(error)}") from error
    schema = made.pop(layout.SCHEMA)
    files = [merge(root, path, part, text) for path, text in made.items()]
    outcome = "unchanged" if read(root / layout.SCHEMA) == schema else "updated"
    return [*files, File(layout.SCHEMA, outcome, schema)], {"init": after(part, files, made)}


def _of_config(root: Path, part: Part | None, text: str | None) -> tuple[list[File], dict[str, Part]]:
    """Merge what depends on this text of `glue.yaml`: `dvc.yaml`, and the workflows if `glue ci` wrote them."""
    try:
        config = configs.load(root, "", tables=False, needs=(), text=text)
        if config.data is None:
            return [], {}
        pipeline = dvc_yaml.stale(config, root)
        files = [File("dvc.yaml", "updated" if pipeline else "unchanged", pipeline)]
        merged, after_ci = _of_workflows(root, config, part) if part is not None else ([], {})
        return files + merged, after_ci
    except GlueError as error:
        log.warning("dvc.yaml and the workflows are left unchanged: %s", error.message.splitlines()[0])
        return [], {}


def _of_workflows(root: Path, config: configs.Config, part: Part) -> tuple[list[File], dict[str, Part]]:
    top = git.top(root)
    if top is None:
        raise UsageError(f"{root} is not in a git repository, which workflows need", hint="git init")
    texts = workflows.workflow_files(config, root, top)
    made = {path: text for path, text in texts.items() if text is not None or path in part.files}
    merged = [merge(root, path, part, text, mark=workflows.MARK) for path, text in made.items()]
    return merged, {"ci": after(part, merged, made)}


def plan_workflows(root: Path, config: configs.Config) -> Upgrade:
    """Merge the files of `glue ci`; unlike an upgrade, this restores files that were deleted.

    Raises:
        UsageError: the project is not in a git repository.
        CheckFailed: a file contains a conflict of an earlier merge.
    """
    parts = manifest.load(root)
    part = parts.get("ci", Part(__version__, {}, {}))
    check_resolved(root, {"ci": part})
    there = {path: text for path, text in part.files.items() if (root / path).exists()}
    files, changes = _of_workflows(root, config, replace(part, files=there))
    return Upgrade(root, files, {**parts, **changes})


def write(upgrade: Upgrade) -> None:
    """Write every file and the record, or nothing if one of them fails."""
    with written(upgrade.root, upgrade.files, upgrade.parts, []):
        pass
