"""`glue upgrade`: what this version's templates make of a project's answers, merged into what the user made of them."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mlops_glue import __version__, console, files, layout
from mlops_glue import config as configs
from mlops_glue.adapters import git
from mlops_glue.commands.init import FRAUD, plan
from mlops_glue.errors import GlueError, UsageError, brief
from mlops_glue.pipeline import dvc_yaml
from mlops_glue.scaffold import manifest, undo, workflows
from mlops_glue.scaffold.merge import CHANGES, File, as_it_was, check_resolved, merge, read


def upgrade(*, check: bool = False, dry_run: bool = False, adopt_base: bool = False, as_json: bool = False) -> int:
    """Merge everything, then write everything. Returns 1 on a conflict, and where `check` finds something to bring.

    Args:
        check: only say what there is to bring.
        dry_run: only show it, as a diff.
        adopt_base: of a project without a record, take the current templates for what its files were made from.
        as_json: print the outcome of each file as JSON.
    """
    root = layout.find_root()
    parts = manifest.load(root)
    if adopt_base:
        parts = {**parts, "init": _as_if_made_now(root)}
    elif "init" not in parts:
        raise UsageError(
            f"no {layout.GENERATED}: this project was made before glue kept what it wrote, and tells no edit of yours",
            hint="glue upgrade --adopt-base counts what differs from the current templates as yours, and shows it",
        )
    check_known(parts)
    check_resolved(root, parts)
    files, after = _of_init(root, parts["init"])
    config = next((file for file in files if file.path == layout.CONFIG), None)
    if config is not None and config.outcome == "conflict":
        console.progress(f"dvc.yaml and workflows follow from {layout.CONFIG}: once it is resolved, glue upgrade again")
    else:
        more, after_ci = _of_config(root, parts.get("ci"), config.text if config else None)
        files, after = files + more, after | after_ci
    changed = [file for file in files if file.outcome in CHANGES]
    if not check and not dry_run:
        undo.check_committed(root, [file.path for file in changed if file.outcome == "new"])
        with undo.undone_on_failure(root, [*(file.path for file in changed), layout.GENERATED]):
            _write(root, changed)
            if adopt_base or any(after[name].files != parts[name].files for name in after):
                manifest.write(root, {**parts, **after})
    if as_json:
        console.result_json({"glue": __version__, "files": {file.path: file.outcome for file in files}})
    else:
        _tell(root, files, show=dry_run)
        if adopt_base:
            _tell_what_differs(root, parts["init"])
    conflicts = any(file.outcome == "conflict" for file in files)
    return 1 if conflicts or (check and changed) else 0


def _as_if_made_now(root: Path) -> manifest.Part:
    """A record for a project that has none: what the current templates make of its tables and its config."""
    config = configs.load(root, "")
    labels, source = config.data.labels, config.source
    sources = list(config.data.sources.values())
    fraud = config.features.transform == FRAUD["transform"] and (root / "data" / "generate.py").is_file()
    asked, _ = plan(
        root,
        [(root / one.path).resolve() for one in sources],
        labels.target,
        ",".join(source.timestamps) or None,
        tuple(dict.fromkeys(one.entity for one in sources if one.entity)),
        labels.task,
        FRAUD if fraud else None,
        stays=root.parent if root.name == layout.ADOPTED else None,
        builds=(config.train.estimator, config.train.params) if config.train.estimator else None,
    )
    if fraud:
        asked |= {"fraud": {}, "feature_repo": {}}
    if config.train.estimator == "model:build":
        asked["regressor" if labels.task == "regression" else "classifier"] = {}
    made = manifest.render(asked)
    made.pop(layout.SCHEMA)
    files = {path: text if (root / path).is_file() else None for path, text in made.items()}
    return manifest.Part(__version__, asked, files)


def check_known(parts: dict[str, manifest.Part]) -> None:
    """No newer glue wrote the record: the templates of this one would take away what that one brought.

    Raises:
        UsageError: one did, or a version in the record is none.
    """
    from packaging.version import InvalidVersion, Version

    for part in parts.values():
        try:
            newer = Version(part.version) > Version(__version__)
        except (InvalidVersion, TypeError) as error:
            raise manifest.unreadable(f"version {part.version!r} is none") from error
        if newer:
            raise UsageError(
                f"{layout.GENERATED} is of glue {part.version}, and this is glue {__version__}",
                hint=f"pip install --upgrade mlops-glue, to {part.version} or later; then glue upgrade",
            )


def _of_init(root: Path, part: manifest.Part) -> tuple[list[File], dict[str, manifest.Part]]:
    """What `glue init` or `glue adopt` wrote, and the record of it after."""
    try:
        made = manifest.render(part.asked)
    except Exception as error:  # whatever a template or its code says of an answer that is not there, or is another
        raise manifest.unreadable(f"its answers make no files: {brief(error)}") from error
    schema = made.pop(layout.SCHEMA)
    files = [merge(root, path, part, text) for path, text in made.items()]
    outcome = "unchanged" if read(root / layout.SCHEMA) == schema else "updated"
    return [*files, File(layout.SCHEMA, outcome, schema)], {"init": _after(part, files, made)}


def _of_config(root: Path, part: manifest.Part | None, text: str | None) -> tuple[list[File], dict[str, manifest.Part]]:
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
        console.progress(f"dvc.yaml and workflows are left as they are: {error.message.splitlines()[0]}")
        return [], {}
    named = {workflows.relative(path, root): text for path, text in made.items()}
    merged = [merge(root, path, part, text, mark=workflows.MARK) for path, text in named.items()]
    return files + merged, {"ci": _after(part, merged, named)}


def _after(part: manifest.Part, files: list[File], made: Mapping[str, str | None]) -> manifest.Part:
    """The record once the files are written: the next merge begins from what was brought now."""
    kept = {file.path: None if file.outcome == "yours" else made[file.path] for file in files}
    texts = {path: text for path, text in kept.items() if text is not None or made[path] is not None}
    return replace(part, version=__version__, files=texts)


def _write(root: Path, changed: list[File]) -> None:
    """Every file in full beside its place, and only then each in it."""
    with contextlib.ExitStack() as stack:
        for file in changed:
            if file.text is not None:
                place = root / file.path
                stack.enter_context(files.atomic(place)).write_bytes(as_it_was(place, file.text))
    for file in changed:
        if file.text is None:
            (root / file.path).unlink()


def _tell(root: Path, files: list[File], *, show: bool) -> None:
    for file in files:
        if file.outcome != "unchanged" and not (file.outcome == "yours" and file.text is None):  # nor is it there
            console.result(f"{file.outcome:<9} {file.path}")
        if show and file.outcome in CHANGES:
            console.result(_diff(file.path, read(root / file.path) or "", file.text or ""))
    conflicts = [file.path for file in files if file.outcome == "conflict"]
    if not any(file.outcome in CHANGES for file in files):
        console.result(f"as glue {__version__} makes it, with your edits: nothing to bring")
    elif conflicts:
        console.progress(f"both sides are in {', '.join(conflicts)}, between <<<<<<< and >>>>>>>: choose, then commit")


def _tell_what_differs(root: Path, part: manifest.Part) -> None:
    """What counts as the user's own from now on."""
    differs = []
    for path, text in part.files.items():
        there = read(root / path)
        if there is None:
            differs.append(f"not there  {path}")
        elif text is not None and there != text:
            differs.append(_diff(path, text, there))
    for line in (
        ["what the current templates would make otherwise, and is yours from now on:", *differs] if differs else []
    ):
        console.result(line)
    ignored = read(root / ".gitignore") or ""
    if f"!/{layout.GENERATED}" not in ignored.splitlines():
        console.progress(f".gitignore should have: !/{layout.GENERATED}")


def _diff(path: str, before: str, after: str) -> str:
    lines = before.splitlines(), after.splitlines()
    return "\n".join(difflib.unified_diff(*lines, f"a/{path}", f"b/{path}", lineterm=""))
