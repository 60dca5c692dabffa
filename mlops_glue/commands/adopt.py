"""`glue adopt`: a glue.yaml for a repository that glue did not make, from what is there.

All that is written lies in one new folder, `glue/`: the repository's own files stay as they are, byte for byte, and
removing that folder removes glue.
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


def adopt(path: str, data: str | None, target: str | None, task: str | None, *, agree: Callable[[str], bool]) -> int:
    """Read the repository, propose, show, and write where `agree` says yes."""
    top = Path(path).resolve()
    root = own_folder.free_place(top, path)
    answers = scaffold.propose(root, top, data, target, task)
    made = manifest.render(answers)
    files = scaffold.to_write(made)
    undo.check(root, [*files, "dvc.yaml", "dvc.lock", ".dvc/config", layout.GENERATED])
    console.result(own_folder.as_diff(files))
    if agree(f"Write these into {root}?"):
        scaffold.write(root, answers, made)
        console.result(f"{root}: written. Next: cd {shlex.quote(str(Path(path, layout.ADOPTED)))} && glue run")
    return 0


def adopt_tracking(path: str, *, agree: Callable[[str], bool]) -> int:
    """A `glue.yaml` that only says where runs go; shown, and written where `agree` says yes."""
    top = Path(path).resolve()
    root = own_folder.free_place(top, path)
    server = "MLFLOW_TRACKING_URI" in os.environ
    answers: manifest.Answers = {"tracked": {"project": name_of(top.name) or "project", "server": server}}
    files = manifest.render(answers)
    console.result(own_folder.as_diff(files))
    if agree(f"Write these into {root}?"):
        with own_folder.written(root, files, answers):
            pass
        console.result(f"{root}: written. Next: glue track -- python train.py")
    return 0
