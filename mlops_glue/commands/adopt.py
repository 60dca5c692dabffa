"""`glue adopt`: a glue.yaml for a repository that glue did not make, from what is there.

All that is written lies in one new folder, `glue/`: the repository's own files stay as they are, byte for byte, and
removing that folder removes glue.
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

Agree = Callable[[str], bool]  # asks the user a question; true is yes


def adopt(path: str, data: str | None, target: str | None, task: str | None, *, agree: Agree) -> int:
    """Read the repository, propose, show, and write where `agree` says yes."""
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
    """A `glue.yaml` that only says where runs go; shown, and written where `agree` says yes."""
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
    """A model that another program registered in MLflow: convert, prove, show, and write where `agree` says yes.

    Where an earlier version of the model was adopted, this one is added to it.
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
        imported = run_apart(import_model.convert, source, scratch, does="loads the model")  # whatever its code does
        console.progress(f"{imported.uri} ({imported.serialization}) as ONNX: {imported.proof}")
        for note in imported.notes:
            console.progress(note)
        if not _is_agreed(root, files, agree):
            return 0
        with contextlib.nullcontext() if newer else scaffold.written(root, files, answers, files):
            number, is_new = import_model.register(root, name, imported, scratch / import_model.BUNDLE)
    outcome = "is champion" if is_new else "has it already"
    console.result(f"{name} v{number} {outcome}. Next: cd {_enter(path)} && glue serve --check")
    return 0


def _new_folder(top: Path, path: str) -> Path:
    """The folder that will hold all that is written.

    Raises:
        UsageError: the folder exists already, or the repository does not.
    """
    if not top.is_dir():
        raise UsageError(f"{path}: no such folder", hint="glue adopt .")
    root = top / layout.ADOPTED
    for place in (top / layout.CONFIG, root):
        if place.exists():
            raise UsageError(f"{place} is there already", hint="glue run" if (root / layout.CONFIG).is_file() else None)
    return root


def _is_agreed(root: Path, files: Mapping[str, str], agree: Agree) -> bool:
    """Show new files as `git diff` does, of the JSON Schema only how long it is, and ask whether to write them."""
    for name, text in files.items():
        path = f"{layout.ADOPTED}/{name}"
        if name == layout.SCHEMA:
            console.result(f"+++ {path} ({len(text.splitlines())} lines: the JSON Schema of {layout.CONFIG})")
        else:
            lines = difflib.unified_diff([], text.splitlines(), "/dev/null", path, lineterm="")
            console.result("\n".join(lines))
    return agree(f"Write these into {root}?")


def _enter(path: str) -> str:
    return shlex.quote(str(Path(path, layout.ADOPTED)))


def _serves(root: Path, name: str) -> bool:
    """Is this folder what `glue adopt --model` made of an earlier version of the model?"""
    config = configs.load(root, "", needs=())
    return config.data is None and config.model_name == name
