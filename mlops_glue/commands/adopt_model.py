"""`glue adopt --model`: a model that another program registered in MLflow, served by glue; nothing else is set up.

Serving never uses MLflow's loaders. So the model is loaded here, once, in a process that ends, and where that could run
code of the model's only for a person who says that they trust it; what is kept and served is its ONNX form.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlops_glue import __version__, console, files, layout, streaming, tables
from mlops_glue import config as configs
from mlops_glue.adapters import git
from mlops_glue.commands.adopt import as_diff, asked_for, free_place
from mlops_glue.commands.init import name_of
from mlops_glue.delivery.fetch import opened
from mlops_glue.errors import DataError, UsageError
from mlops_glue.processes import run_apart
from mlops_glue.scaffold import manifest
from mlops_glue.scaffold.undo import undone_on_failure

ROWS = 10_000  # of the table that the ONNX form is proved on


def adopt_model(
    path: str,
    model: str,
    *,
    registry: str | None,
    trust: bool,
    data: str | None,
    dry_run: bool = False,
    ask: Callable[[str], bool] | None = None,
) -> int:
    """Convert, prove, show, and write where `ask` (None: without asking) says yes; again for a newer version.

    Args:
        path: the repository.
        model: `name/version` or `name@alias`, as `models:/…` names it.
        registry: the tracking URI; default MLFLOW_TRACKING_URI, else what lies in the repository.
        trust: load it although that runs code of its own.
        data: a table with rows that the model takes; default its input example.
        dry_run: write nothing.
        ask: a question that is answered with yes or no.
    """
    top = Path(path).resolve()
    name, version = _named(model)
    root = top / layout.ADOPTED
    newer = top.is_dir() and (root / layout.CONFIG).is_file() and _serves(root, name)
    if not newer:
        root = free_place(top, path)
    table = tables.find_table(f"--data {data}", Path(data), top / data).resolve() if data is not None else None
    asked: manifest.Answers = {"served": {"project": name_of(top.name) or "project", "model": name}}
    contents = {} if newer else manifest.render(asked)
    with tempfile.TemporaryDirectory() as scratch:
        where = (top, _uri(top, registry), name, version, trust, table, Path(scratch))
        told = run_apart(_converted, *where, does="loads the model")  # whatever the model's code does to it
        console.progress(f"{told['uri']} ({told['kind']}) as ONNX: {told['proof']}")
        for note in told["notes"]:
            console.progress(note)
        console.result(as_diff(contents))
        if dry_run or not asked_for(ask, root):
            return 0
        if newer:
            number, new = _register(root, name, told, Path(scratch) / "bundle")
        else:
            with undone_on_failure(root, list(contents)):
                root.mkdir()
                for file, text in contents.items():
                    files.write_text(root / file, text)
                manifest.record(root, "init", asked, contents, contents)
                number, new = _register(root, name, told, Path(scratch) / "bundle")
    said = "is champion" if new else "has it already"
    console.result(
        f"{name} v{number} {said}. Next: cd {shlex.quote(str(Path(path, layout.ADOPTED)))} && glue serve --check"
    )
    return 0


def _named(model: str) -> tuple[str, str]:
    found = re.fullmatch(r"(?:models:/)?([^/@]+)(?:/(\d+)|(@[^/@]+))", model)
    if found is None:
        raise UsageError(f"--model {model}: is neither NAME/VERSION nor NAME@ALIAS", hint="glue adopt --model churn/3")
    return found[1], found[2] or found[3]


def _serves(root: Path, name: str) -> bool:
    """Is this folder what `glue adopt --model` made of an earlier version of the model?"""
    config = configs.load(root, "", needs=())
    return config.data is None and config.model_name == name


def _uri(top: Path, registry: str | None) -> str | None:
    """Where the model is registered; None: in the repository's own `mlflow.db`."""
    if registry or os.environ.get("MLFLOW_TRACKING_URI"):
        return registry or os.environ["MLFLOW_TRACKING_URI"]
    if (top / layout.TRACKING_DB).is_file():
        return None
    if (top / "mlruns").is_dir():
        return (top / "mlruns").as_uri()
    raise UsageError(f"no MLflow registry is in {top}", hint="--registry URI, or export MLFLOW_TRACKING_URI=…")


def _converted(
    top: Path, uri: str | None, name: str, version: str, trust: bool, table: Path | None, scratch: Path
) -> dict[str, Any]:
    """In that process: the bundle in `scratch`, and what to tell of it."""
    os.chdir(top)  # of a relative artifact location
    from mlops_glue.adapters import mlflow, skops

    if uri is None:  # of a copy: MLflow may write to what it opens
        shutil.copy(top / layout.TRACKING_DB, scratch / layout.TRACKING_DB)
    elif uri.startswith("file:"):
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    found, folder = mlflow.Store(scratch, uri, create=False).download_model(name, version, scratch / "logged")
    about = files.read_yaml(folder / "MLmodel")
    flavor = about["flavors"].get("sklearn")
    if flavor is None:
        flavors = ", ".join(set(about["flavors"]) - {"python_function"}) or "python_function alone"
        raise DataError(f"{found}: is of {flavors}", hint="what mlflow.sklearn.log_model wrote can be converted")
    kind = str(flavor.get("serialization_format") or "pickle")
    if trust:
        model = mlflow.load_sklearn(folder)
    elif kind != "skops":
        raise UsageError(
            f"{found}: is kept as {kind}, and to load that runs any code that somebody put into it",
            hint="glue adopt … --trust, where you know who made it",
        )
    else:
        model = skops.load(folder / Path(flavor["pickled_model"]).name)
    frame = mlflow.example_rows(folder) if table is None else tables.to_pandas(streaming.sample(table, ROWS))
    if frame is None:
        raise UsageError(f"{found}: has no input example to prove the ONNX form on", hint="--data TABLE")
    if table is not None and hasattr(model, "n_features_in_") and not hasattr(model, "feature_names_in_"):
        frame = frame[frame.columns[: model.n_features_in_]]  # of a model of an array: by their order
    from mlops_glue.pipeline.convert import convert  # late: to refuse takes no time

    parity = convert(model, about.get("signature"), frame, scratch / "bundle", watched=table is not None)
    rows = parity["holdout_rows"]
    return {
        "uri": found,
        "kind": kind,
        "run": about.get("run_id"),
        "proof": f"faithful on {rows:,} rows and {parity['rows'] - rows} awkward ones",
        "notes": [*_untold(about, table), *_notes(flavor, table)],
    }


def _untold(about: dict[str, Any], table: Path | None) -> list[str]:
    by = f"the columns of {table.name}" if table is not None else "its input example"
    return [] if about.get("signature") else [f"it has no signature: what it takes is told by {by}"]


def _notes(flavor: dict[str, Any], table: Path | None) -> list[str]:
    from importlib.metadata import version

    notes = []
    here, there = version("scikit-learn"), str(flavor.get("sklearn_version"))
    if here != there:
        notes.append(f"it was fitted with scikit-learn {there}; the proof is against what {here} says")
    if table is None:
        notes.append(
            "that is its input example: --data TABLE proves it on more, and glue monitor then compares with it"
        )
    return notes


def _register(root: Path, name: str, told: dict[str, Any], bundle: Path) -> tuple[int, bool]:
    from mlops_glue.adapters.mlflow import BUNDLE_DIGEST
    from mlops_glue.delivery.promote import move

    digest = files.digest(bundle)
    commit = git.commit_hash(root, "HEAD")
    tags = {
        "glue.version": __version__,
        "glue.format": "onnx",
        "glue.parity": "true",
        "glue.adopted": told["uri"],
        "glue.adopted_run": told["run"] or "",
        "mlflow.source.git.commit": commit or "",
        BUNDLE_DIGEST: digest,
    }
    config = configs.load(root, "", needs=())
    store = opened(root, config)
    number, new = store.register(
        name,
        experiment=config.project,
        fingerprint=f"{told['uri']} {digest}",
        tags={key: value for key, value in tags.items() if value},
        bundle=bundle,
    )
    if new:
        move(store, name, number, "promote")
    return number, new
