"""`glue adopt --model`: a model that another program registered in MLflow, served by glue; nothing else is set up."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path

from mlops_glue import config as configs
from mlops_glue import console, layout
from mlops_glue.delivery import import_model
from mlops_glue.processes import run_apart
from mlops_glue.scaffold import manifest, own_folder
from mlops_glue.scaffold.infer import name_of
from mlops_glue.tables import find_table


def adopt_model(
    path: str,
    model: str,
    *,
    registry: str | None,
    trust: bool,
    data: str | None,
    agree: Callable[[str], bool],
) -> int:
    """Convert, prove, show, and write where `agree` says yes; again for a newer version."""
    top = Path(path).resolve()
    name, version = import_model.parse(model)
    root = top / layout.ADOPTED
    newer = top.is_dir() and (root / layout.CONFIG).is_file() and _serves(root, name)
    if not newer:
        root = own_folder.free_place(top, path)
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
        console.result(own_folder.as_diff(files))
        if not agree(f"Write these into {root}?"):
            return 0
        with contextlib.nullcontext() if newer else own_folder.written(root, files, answers):
            number, is_new = import_model.register(root, name, imported, scratch / import_model.BUNDLE)
    outcome = "is champion" if is_new else "has it already"
    enter = f"cd {shlex.quote(str(Path(path, layout.ADOPTED)))}"
    console.result(f"{name} v{number} {outcome}. Next: {enter} && glue serve --check")
    return 0


def _serves(root: Path, name: str) -> bool:
    """Is this folder what `glue adopt --model` made of an earlier version of the model?"""
    config = configs.load(root, "", needs=())
    return config.data is None and config.model_name == name
