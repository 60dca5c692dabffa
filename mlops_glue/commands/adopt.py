"""`glue adopt`: write a glue.yaml for an existing repository, based on its contents.

All output is in one new folder, `glue/`. The repository's own files stay unchanged, byte for byte, and deleting that
folder removes glue.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import shlex
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from mlops_glue import config as configs
from mlops_glue import console, layout
from mlops_glue.errors import UsageError
from mlops_glue.scaffold import adopt as scaffold
from mlops_glue.scaffold import manifest, undo
from mlops_glue.scaffold.infer import name_of
from mlops_glue.tables import find_table

Agree = Callable[[str], bool]  # asks the user a question; True means yes


def adopt(path: str, data: str | None, target: str | None, task: str | None, *, agree: Agree) -> int:
    """Read the repository, show the proposed files, and write them if `agree` returns True."""
    top = Path(path).resolve()
    root = _new_folder(top, path)
    answers = scaffold.propose(root, top, data, target, task)
    made = manifest.render(answers)
    files = scaffold.to_write(made)
    undo.check(root, [*files, "dvc.yaml", "dvc.lock", ".dvc/config", layout.GENERATED])
    if _is_agreed(root, files, agree):
        scaffold.write(root, answers, made)
        console.result(f"{root}: written. Next: cd {_enter(path)} && glue run")
    return 0


def adopt_tracking(path: str, *, agree: Agree) -> int:
    """Show a `glue.yaml` that only configures tracking, and write it if `agree` returns True."""
    top = Path(path).resolve()
    root = _new_folder(top, path)
    server = "MLFLOW_TRACKING_URI" in os.environ
    answers: manifest.Answers = {"tracked": {"project": name_of(top.name) or "project", "server": server}}
    files = manifest.render(answers)
    if _is_agreed(root, files, agree):
        with scaffold.written(root, files, answers, files):
            console.result(f"{root}: written. Next: glue track -- python train.py")
    return 0


def adopt_model(path: str, model: str, *, registry: str | None, trust: bool, data: str | None, agree: Agree) -> int:
    """Convert and verify a model that another program registered in MLflow, and write it if `agree` returns True.

    If an earlier version of the model was adopted, this version is added to the same project.
    """
    from mlops_glue.delivery import import_model
    from mlops_glue.processes import run_apart

    top = Path(path).resolve()
    name, version = import_model.parse(model)
    root = top / layout.ADOPTED
    newer = (root / layout.CONFIG).is_file() and _serves(root, name)
    root = root if newer else _new_folder(top, path)
    table = find_table(f"--data {data}", Path(data), top / data).resolve() if data is not None else None
    answers: manifest.Answers = {"served": {"project": name_of(top.name) or "project", "model": name}}
    files = {} if newer else manifest.render(answers)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        source = import_model.Source(top, import_model.find_registry(top, registry), name, version, trust, table)
        imported = run_apart(
            import_model.convert, source, scratch, does="loads the model"
        )  # isolated from the code that the model runs
        console.progress(f"{imported.uri} ({imported.serialization}) as ONNX: {imported.proof}")
        for note in imported.notes:
            console.progress(note)
        if not _is_agreed(root, files, agree):
            return 0
        with contextlib.nullcontext() if newer else scaffold.written(root, files, answers, files):
            number, is_new = import_model.register(root, name, imported, scratch / import_model.BUNDLE)
    outcome = "is champion" if is_new else "was registered already"
    console.result(f"{name} v{number} {outcome}. Next: cd {_enter(path)} && glue serve --check")
    return 0


def _new_folder(top: Path, path: str) -> Path:
    """Return the folder for all output.

    Raises:
        UsageError: the folder already exists, or the repository does not exist.
    """
    if not top.is_dir():
        raise UsageError(f"{path}: no such folder", hint="glue adopt .")
    root = top / layout.ADOPTED
    for place in (top / layout.CONFIG, root):
        if place.exists():
            raise UsageError(f"{place} already exists", hint="glue run" if (root / layout.CONFIG).is_file() else None)
    return root


def _is_agreed(root: Path, files: Mapping[str, str], agree: Agree) -> bool:
    """Show new files as `git diff` does (for the JSON Schema only its length), and ask whether to write them."""
    for name, text in files.items():
        path = f"{layout.ADOPTED}/{name}"
        if name == layout.SCHEMA:
            console.result(f"+++ {path} ({len(text.splitlines())} lines: the JSON Schema of {layout.CONFIG})")
        else:
            lines = difflib.unified_diff([], text.splitlines(), "/dev/null", path, lineterm="")
            console.result("\n".join(lines))
    return agree(f"Write these files to {root}?")


def _enter(path: str) -> str:
    return shlex.quote(str(Path(path, layout.ADOPTED)))


def _serves(root: Path, name: str) -> bool:
    """Return whether `glue adopt --model` created this folder from an earlier version of the model."""
    config = configs.load(root, "", needs=())
    return config.data is None and config.model_name == name
