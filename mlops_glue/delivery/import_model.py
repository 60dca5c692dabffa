"""Import of a model that another program registered in MLflow, as a bundle and a version in the project's registry.

Serving never uses MLflow's loaders. So the model is loaded here, once, in a separate process. If loading could run the
model's own code, a person must trust it first. Only the ONNX form is stored and served.
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

ROWS = 10_000  # of the table, for checking the ONNX form
BUNDLE = "bundle"  # the folder that `convert` creates


class Source(NamedTuple):
    """The model to import."""

    top: Path  # the repository
    registry: str | None  # None: the repository's `mlflow.db`
    name: str
    version: str  # a number, or `@alias`
    trust: bool  # load it even if this runs its own code
    table: Path | None  # input rows; None: its input example


class Imported(NamedTuple):
    """The converted model."""

    uri: str
    serialization: str
    run: str | None
    proof: str
    notes: list[str]


def parse(model: str) -> tuple[str, str]:
    """Parse name and version from `name/version`, `name@alias` or `models:/…`.

    Raises:
        UsageError: the text has another form.
    """
    found = re.fullmatch(r"(?:models:/)?([^/@]+)(?:/(\d+)|(@[^/@]+))", model)
    if found is None:
        raise UsageError(f"--model {model}: must be NAME/VERSION or NAME@ALIAS", hint="glue adopt --model churn/3")
    return found[1], found[2] or found[3]


def find_registry(top: Path, registry: str | None) -> str | None:
    """Return the registry of the model; None for the repository's own `mlflow.db`.

    Raises:
        UsageError: there is no registry.
    """
    if registry or os.environ.get("MLFLOW_TRACKING_URI"):
        return registry or os.environ["MLFLOW_TRACKING_URI"]
    if (top / layout.TRACKING_DB).is_file():
        return None
    if (top / "mlruns").is_dir():
        return (top / "mlruns").as_uri()
    raise UsageError(f"no MLflow registry in {top}", hint="--registry URI, or export MLFLOW_TRACKING_URI=…")


def convert(source: Source, scratch: Path) -> Imported:
    """Load the model, convert it, check it, and write the bundle to `scratch`. Call it in a separate process.

    Raises:
        DataError: the model is not a scikit-learn model.
        UsageError: loading the model runs code that is not trusted, or there are no rows to check it on.
    """
    os.chdir(source.top)  # for relative artifact locations
    from mlops_glue.adapters import mlflow

    registry = source.registry
    if registry is None:  # use a copy, because MLflow may write to it
        shutil.copy(source.top / layout.TRACKING_DB, scratch / layout.TRACKING_DB)
    elif registry.startswith("file:"):
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    store = mlflow.Store(scratch, registry, create=False)
    uri, folder = store.download_model(source.name, source.version, scratch / "logged")
    about = files.read_yaml(folder / "MLmodel")
    flavor = about["flavors"].get("sklearn")
    if flavor is None:
        flavors = ", ".join(set(about["flavors"]) - {"python_function"}) or "python_function alone"
        problem = f"{uri}: must be a scikit-learn model ({flavors})"
        raise DataError(problem, hint="log it with mlflow.sklearn.log_model")
    model = _load(source, uri, folder, flavor)
    frame = mlflow.example_rows(folder) if source.table is None else tables.to_pandas(tables.sample(source.table, ROWS))
    if frame is None:
        raise UsageError(f"{uri}: has no input example to check the ONNX form on", hint="--data TABLE")
    if source.table is not None and hasattr(model, "n_features_in_") and not hasattr(model, "feature_names_in_"):
        frame = frame[frame.columns[: model.n_features_in_]]  # a model trained on an array: use the column order
    from mlops_glue.pipeline.convert import convert as as_bundle  # imported late, so that a refusal is fast

    parity = as_bundle(model, about.get("signature"), frame, scratch / BUNDLE, watched=source.table is not None)
    rows = parity["holdout_rows"]
    proof = f"faithful on {rows:,} rows and {parity['rows'] - rows} edge cases"
    return Imported(uri, _serialization(flavor), about.get("run_id"), proof, _notes(about, flavor, source.table))


def _load(source: Source, uri: str, folder: Path, flavor: Mapping[str, Any]) -> Any:
    from mlops_glue.adapters import mlflow, skops

    kind = _serialization(flavor)
    if source.trust:
        return mlflow.load_sklearn(folder)
    if kind != "skops":
        raise UsageError(
            f"{uri}: stored as {kind}, and loading it runs any code that it contains",
            hint="glue adopt … --trust, if you trust its author",
        )
    return skops.load(folder / Path(flavor["pickled_model"]).name)


def _serialization(flavor: Mapping[str, Any]) -> str:
    return str(flavor.get("serialization_format") or "pickle")


def _notes(about: Mapping[str, Any], flavor: Mapping[str, Any], table: Path | None) -> list[str]:
    """Return notes on the limits of the check."""
    notes = []
    if not about.get("signature"):
        by = f"the columns of {table.name}" if table is not None else "its input example"
        notes.append(f"it has no signature: its inputs are taken from {by}")
    installed, fitted = version("scikit-learn"), str(flavor.get("sklearn_version"))
    if installed != fitted:
        notes.append(f"it was fitted with scikit-learn {fitted}, but checked with {installed}")
    if table is None:
        notes.append("it was checked only on its input example; --data TABLE adds rows, also for glue monitor")
    return notes


def register(root: Path, name: str, imported: Imported, bundle: Path) -> tuple[int, bool]:
    """Register the bundle once, and promote it to champion. Return its version, and whether it is new."""
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
