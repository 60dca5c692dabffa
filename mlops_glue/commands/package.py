"""`glue package`: write a folder that serves one version without glue, or to build an image from."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from mlops_glue import config as configs
from mlops_glue import console, layout
from mlops_glue.scaffold import package as scaffold


def package(target: str, *, version: int | None = None, wheels: bool = False, env: str | None = None) -> int:
    """Write the folder. Return 1 on a conflict with the user's edits."""
    root = layout.find_root()
    env = env or os.environ.get("GLUE_ENV")
    config = configs.load(root, env, tables=False, needs=configs.A_MODEL)
    written = scaffold.write(Path(target).resolve(), root, config, env, version, wheels=wheels)
    console.result(f"{target}: {written.name} v{written.version}, {written.requirements} packages to install")
    folder, tag = shlex.quote(target), f"{written.image}:v{written.version}"
    console.result(f"next     python {folder} --check    docker build --tag {tag} {folder}")
    for path in written.conflicts:
        console.progress(f"{target}/{path}: contains both sides of a conflict, between <<<<<<< and >>>>>>>: choose one")
    return 1 if written.conflicts else 0
