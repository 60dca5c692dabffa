"""`glue adopt`: a glue.yaml for a repository that glue did not make, from what is there.

All that is written lies in one new folder, `glue/`: what is there stays as it is, byte for byte, and taking that folder
away takes glue away.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

from mlops_glue import console, layout
from mlops_glue.scaffold import adopt as scaffold
from mlops_glue.scaffold import manifest, own_folder, undo
from mlops_glue.scaffold.infer import name_of


def adopt(
    path: str,
    data: str | None,
    target: str | None,
    *,
    task: str | None = None,
    dry_run: bool = False,
    ask: Callable[[str], bool] | None = None,
) -> int:
    """Read the repository, propose, show, and write where `ask` (None: without asking) says yes."""
    top = Path(path).resolve()
    root = own_folder.free_place(top, path)
    proposal = scaffold.propose(root, top, data, target, task, console.progress)
    undo.check(root, proposal.files, ["dvc.yaml", "dvc.lock", ".dvc/config", layout.GENERATED])
    console.result(own_folder.as_diff(proposal.files))
    if dry_run or not console.agreed(ask, f"Write these into {root}?"):
        return 0
    scaffold.write(proposal)
    console.result(f"{root}: written. Next: cd {shlex.quote(str(Path(path, layout.ADOPTED)))} && glue run")
    return 0


def adopt_tracking(path: str, *, dry_run: bool = False, ask: Callable[[str], bool] | None = None) -> int:
    """A `glue.yaml` that only says where runs go; shown, and written where `ask` (None: without asking) says yes."""
    top = Path(path).resolve()
    root = own_folder.free_place(top, path)
    server = "MLFLOW_TRACKING_URI" in os.environ
    answers: manifest.Answers = {"tracked": {"project": name_of(top.name) or "project", "server": server}}
    files = manifest.render(answers)
    console.result(own_folder.as_diff(files))
    if dry_run or not console.agreed(ask, f"Write these into {root}?"):
        return 0
    with own_folder.written(root, files, answers):
        pass
    console.result(f"{root}: written. Next: glue track -- python train.py")
    return 0
