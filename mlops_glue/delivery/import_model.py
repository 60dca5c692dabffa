"""A model that another program registered in MLflow becomes a bundle, and a version in a project's own registry.

Serving never uses MLflow's loaders. So the model is loaded here, once, in a process that ends, and where that could run
code of the model's only for a person who says that they trust it; what is kept and served is its ONNX form.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from mlops_glue import config as configs
from mlops_glue import files, layout, tables
from mlops_glue.adapters import git
from mlops_glue.delivery.fetch import opened
from mlops_glue.errors import DataError, UsageError
from mlops_glue.version import __version__

ROWS = 10_000  # of the table that the ONNX form is proved on
BUNDLE = "bundle"  # the folder that `convert` makes


class Source(NamedTuple):
    """Which model, and how it is read."""

    top: Path  # the repository
    registry: str | None  # None: its own `mlflow.db`
    name: str
    version: str  # a number, or `@alias`
    trust: bool  # load it although that runs code of its own
    table: Path | None  # rows that it takes; None: its input example


class Imported(NamedTuple):
    """What was converted."""

    uri: str
    serialization: str
    run: str | None
    proof: str
    notes: list[str]


def parse(model: str) -> tuple[str, str]:
    """Name and version of `name/version`, `name@alias` or `models:/…`.

    Raises:
        UsageError: it is neither.
    """
    found = re.fullmatch(r"(?:models:/)?([^/@]+)(?:/(\d+)|(@[^/@]+))", model)
    if found is None:
        raise UsageError(f"--model {model}: is neither NAME/VERSION nor NAME@ALIAS", hint="glue adopt --model churn/3")
    return found[1], found[2] or found[3]


def find_registry(top: Path, registry: str | None) -> str | None:
    """Where the model is registered; None: in the repository's own `mlflow.db`.

    Raises:
        UsageError: there is no registry.
    """
    if registry or os.environ.get("MLFLOW_TRACKING_URI"):
        return registry or os.environ["MLFLOW_TRACKING_URI"]
    if (top / layout.TRACKING_DB).is_file():
        return None
    if (top / "mlruns").is_dir():
        return (top / "mlruns").as_uri()
    raise UsageError(f"no MLflow registry is in {top}", hint="--registry URI, or export MLFLOW_TRACKING_URI=…")


def convert(source: Source, scratch: Path) -> Imported:
    """Load the model, convert it, prove it, and leave the bundle in `scratch`. To be called in a process of its own.

    Raises:
        DataError: it is of another flavor than scikit-learn.
        UsageError: to load it runs code and it is not trusted, or there are no rows to prove it on.
    """
    os.chdir(source.top)  # of a relative artifact location
    from mlops_glue.adapters import mlflow

    registry = source.registry
    if registry is None:  # of a copy: MLflow may write to what it opens
        shutil.copy(source.top / layout.TRACKING_DB, scratch / layout.TRACKING_DB)
    elif registry.startswith("file:"):
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    store = mlflow.Store(scratch, registry, create=False)
    uri, folder = store.download_model(source.name, source.version, scratch / "logged")
    about = files.read_yaml(folder / "MLmodel")
    flavor = about["flavors"].get("sklearn")
    if flavor is None:
        flavors = ", ".join(set(about["flavors"]) - {"python_function"}) or "python_function alone"
        raise DataError(f"{uri}: is of {flavors}", hint="what mlflow.sklearn.log_model wrote can be converted")
    model = _load(source, uri, folder, flavor)
    frame = mlflow.example_rows(folder) if source.table is None else tables.to_pandas(tables.sample(source.table, ROWS))
    if frame is None:
        raise UsageError(f"{uri}: has no input example to prove the ONNX form on", hint="--data TABLE")
    if source.table is not None and hasattr(model, "n_features_in_") and not hasattr(model, "feature_names_in_"):
        frame = frame[frame.columns[: model.n_features_in_]]  # of a model of an array: by their order
    from mlops_glue.pipeline.convert import convert as as_bundle  # late: to refuse takes no time

    parity = as_bundle(model, about.get("signature"), frame, scratch / BUNDLE, watched=source.table is not None)
    rows = parity["holdout_rows"]
    proof = f"faithful on {rows:,} rows and {parity['rows'] - rows} awkward ones"
    return Imported(uri, _serialization(flavor), about.get("run_id"), proof, _notes(about, flavor, source.table))


def _load(source: Source, uri: str, folder: Path, flavor: Mapping[str, Any]) -> Any:
    from mlops_glue.adapters import mlflow, skops

    kind = _serialization(flavor)
    if source.trust:
        return mlflow.load_sklearn(folder)
    if kind != "skops":
        raise UsageError(
            f"{uri}: is kept as {kind}, and to load that runs any code that somebody put into it",
            hint="glue adopt … --trust, where you know who made it",
        )
    return skops.load(folder / Path(flavor["pickled_model"]).name)


def _serialization(flavor: Mapping[str, Any]) -> str:
    return str(flavor.get("serialization_format") or "pickle")


def _notes(about: Mapping[str, Any], flavor: Mapping[str, Any], table: Path | None) -> list[str]:
    """What a person should know of the proof."""
    notes = []
    if not about.get("signature"):
        by = f"the columns of {table.name}" if table is not None else "its input example"
        notes.append(f"it has no signature: what it takes is told by {by}")
    installed, fitted = version("scikit-learn"), str(flavor.get("sklearn_version"))
    if installed != fitted:
        notes.append(f"it was fitted with scikit-learn {fitted}; the proof is against what {installed} says")
    if table is None:
        notes.append(
            "that is its input example: --data TABLE proves it on more, and glue monitor then compares with it"
        )
    return notes


def register(root: Path, name: str, imported: Imported, bundle: Path) -> tuple[int, bool]:
    """Register the bundle and make it champion, once. Returns its version, and whether it is new."""
    from mlops_glue.adapters.mlflow import BUNDLE_DIGEST
    from mlops_glue.delivery.promote import Reason, move

    digest = files.digest(bundle)
    tags = {
        "glue.version": __version__,
        "glue.format": "onnx",
        "glue.parity": "true",
        "glue.adopted": imported.uri,
        "glue.adopted_run": imported.run or "",
        "mlflow.source.git.commit": git.commit_hash(root, "HEAD") or "",
        BUNDLE_DIGEST: digest,
    }
    config = configs.load(root, "", needs=())
    store = opened(root, config)
    number, is_new = store.register(
        name,
        experiment=config.project,
        fingerprint=f"{imported.uri} {digest}",
        tags={key: value for key, value in tags.items() if value},
        bundle=bundle,
    )
    if is_new:
        move(store, name, number, Reason())
    return number, is_new
