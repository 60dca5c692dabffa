"""`glue upgrade`: merge this version's templates with the user's edits of the files that glue wrote."""

from __future__ import annotations

import difflib

from mlops_glue import console, layout
from mlops_glue.scaffold import upgrade as scaffold
from mlops_glue.scaffold.merge import CHANGES, read
from mlops_glue.version import __version__


def upgrade(*, check: bool = False, dry_run: bool = False, as_json: bool = False) -> int:
    """Merge all files, then write them. Return 1 on a conflict, or if `check` finds updates."""
    plan = scaffold.plan(layout.find_root())
    before = {file.path: read(plan.root / file.path) or "" for file in plan.changed}
    if not check and not dry_run:
        scaffold.write(plan)
    if as_json:
        console.result_json({"glue": __version__, "files": {file.path: file.outcome for file in plan.files}})
    else:
        _print(plan, before if dry_run else {})
    return 1 if plan.conflicts or (check and plan.changed) else 0


def _print(plan: scaffold.Upgrade, before: dict[str, str]) -> None:
    """Print the outcome of each file, and the diff to each text in `before`."""
    for file in plan.files:
        is_absent = file.outcome == "yours" and file.text is None
        if file.outcome != "unchanged" and not is_absent:
            console.result(f"{file.outcome:<9} {file.path}")
        if file.path in before and file.outcome in CHANGES:
            lines = before[file.path].splitlines(), (file.text or "").splitlines()
            console.result("\n".join(difflib.unified_diff(*lines, f"a/{file.path}", f"b/{file.path}", lineterm="")))
    if not plan.changed:
        console.result(f"up to date with glue {__version__}, with your edits")
    elif plan.conflicts:
        files = ", ".join(plan.conflicts)
        console.progress(f"conflicts in {files}, between <<<<<<< and >>>>>>>: choose one side, then commit")
