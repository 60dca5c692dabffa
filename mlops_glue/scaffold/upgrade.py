"""What this version's templates make of a project's answers, merged into what the user made of the files."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mlops_glue import __version__, layout
from mlops_glue import config as configs
from mlops_glue.adapters import git
from mlops_glue.errors import GlueError, UsageError, brief
from mlops_glue.files import atomic
from mlops_glue.pipeline import dvc_yaml
from mlops_glue.scaffold import manifest, undo, workflows
from mlops_glue.scaffold.manifest import Part
from mlops_glue.scaffold.merge import CHANGES, File, as_it_was, check_resolved, merge, read

log = logging.getLogger(__name__)


class Upgrade(NamedTuple):
    """Every file as it will be, and the record before and after."""

    root: Path
    files: list[File]
    before: dict[str, Part]
    after: dict[str, Part]

    @property
    def changed(self) -> list[File]:
        """The files that are not yet as they will be."""
        return [file for file in self.files if file.outcome in CHANGES]

    @property
    def conflicts(self) -> list[str]:
        """The files in which both sides changed the same lines."""
        return [file.path for file in self.files if file.outcome == "conflict"]


def plan(root: Path) -> Upgrade:
    """Merge everything; nothing is written.

    Raises:
        UsageError: there is no record, it cannot be read, or a newer glue wrote it.
        CheckFailed: a file holds a conflict of an earlier merge.
    """
    parts = manifest.load(root)
    if "init" not in parts:
        raise UsageError(
            f"no {layout.GENERATED}: without that record glue cannot tell your edits from what it wrote",
            hint="glue init . --data TABLE --target COLUMN writes one, and counts every file that is there as yours",
        )
    check_version(parts.values())
    check_resolved(root, parts)
    files, after = _of_init(root, parts["init"])
    config = next((file for file in files if file.path == layout.CONFIG), None)
    if config is not None and config.outcome == "conflict":
        log.warning("dvc.yaml and workflows follow from %s: once it is resolved, glue upgrade again", layout.CONFIG)
    else:
        more, after_ci = _of_config(root, parts.get("ci"), config.text if config else None)
        files, after = files + more, after | after_ci
    return Upgrade(root, files, parts, after)


def check_version(parts: Iterable[Part]) -> None:
    """No newer glue wrote the record: the templates of this one would take away what that one brought.

    Raises:
        UsageError: one did, or the version cannot be read.
    """
    from packaging.version import InvalidVersion, Version

    for part in parts:
        try:
            newer = Version(part.version) > Version(__version__)
        except (InvalidVersion, TypeError) as error:
            raise manifest.unreadable(f"version {part.version!r} is none") from error
        if newer:
            raise UsageError(
                f"{layout.GENERATED} is of glue {part.version}, and this is glue {__version__}",
                hint=f"pip install --upgrade mlops-glue, to {part.version} or later; then glue upgrade",
            )


def _of_init(root: Path, part: Part) -> tuple[list[File], dict[str, Part]]:
    """What `glue init` or `glue adopt` wrote, and the record of it after."""
    try:
        made = manifest.render(part.answers)
    except Exception as error:  # whatever a template or its code raises over an answer that is missing or different
        raise manifest.unreadable(f"its answers make no files: {brief(error)}") from error
    schema = made.pop(layout.SCHEMA)
    files = [merge(root, path, part, text) for path, text in made.items()]
    outcome = "unchanged" if read(root / layout.SCHEMA) == schema else "updated"
    return [*files, File(layout.SCHEMA, outcome, schema)], {"init": _after(part, files, made)}


def _of_config(root: Path, part: Part | None, text: str | None) -> tuple[list[File], dict[str, Part]]:
    """What follows from `glue.yaml` with this text: `dvc.yaml`, and the workflows where `glue ci` wrote them."""
    try:
        config = configs.load(root, "", tables=False, needs=(), text=text)
        if config.data is None:
            return [], {}
        pipeline = dvc_yaml.stale(config, root)
        files = [File("dvc.yaml", "updated" if pipeline else "unchanged", pipeline)]
        top = git.top(root)
        if part is None or top is None:
            return files, {}
        made = workflows.workflow_files(config, root, top)
    except GlueError as error:
        log.warning("dvc.yaml and workflows are left as they are: %s", error.message.splitlines()[0])
        return [], {}
    by_path = {workflows.relative(path, root): text for path, text in made.items()}
    merged = [merge(root, path, part, text, mark=workflows.MARK) for path, text in by_path.items()]
    return files + merged, {"ci": _after(part, merged, by_path)}


def _after(part: Part, files: list[File], made: Mapping[str, str | None]) -> Part:
    """The record once the files are written: the next merge begins from what was brought now."""
    bases = {file.path: None if file.outcome == "yours" else made[file.path] for file in files}
    texts = {path: text for path, text in bases.items() if text is not None or made[path] is not None}
    return replace(part, version=__version__, files=texts)


def write(upgrade: Upgrade) -> None:
    """Write every file in full beside its place, and only then each in it; nothing where one fails."""
    root, changed = upgrade.root, upgrade.changed
    undo.check_committed(root, [file.path for file in changed if file.outcome == "new"])
    with undo.undone_on_failure(root, [*(file.path for file in changed), layout.GENERATED]):
        with contextlib.ExitStack() as stack:
            for file in changed:
                if file.text is not None:
                    place = root / file.path
                    stack.enter_context(atomic(place)).write_bytes(as_it_was(place, file.text))
        for file in changed:
            if file.text is None:
                (root / file.path).unlink()
        if any(part.files != upgrade.before[name].files for name, part in upgrade.after.items()):
            manifest.write(root, {**upgrade.before, **upgrade.after})
