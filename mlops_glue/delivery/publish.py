"""publish: one MLflow run and one model version for each distinct result."""

from __future__ import annotations

import contextlib
import platform
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from mlops_glue import files, layout, tables
from mlops_glue.adapters import dvc, skops
from mlops_glue.adapters.mlflow import BUNDLE_DIGEST, ModelFiles, RunContent, Store
from mlops_glue.config import Config, path_of, remote_url, resolve
from mlops_glue.delivery import audit, history, provenance, trial
from mlops_glue.delivery.describe import described, parameters
from mlops_glue.delivery.rows import FILE, FOLDER, KNOWN, of_last_run
from mlops_glue.errors import ConfigError
from mlops_glue.modules import copy_package
from mlops_glue.pipeline import evaluation, trusting
from mlops_glue.pipeline.evaluation import Evaluation
from mlops_glue.pipeline.fingerprint import hashes
from mlops_glue.pipeline.split import training_rows
from mlops_glue.records import FeatureList, UsedTable
from mlops_glue.schema import Schema
from mlops_glue.secrets import redacted
from mlops_glue.trusted import RUNS_CODE, Trusted
from mlops_glue.version import __version__

NEWEST = "glue.newest"  # tag: the time of the latest row in the version's data
ENVIRONMENT = ("scikit-learn", "numpy", "pandas", "pyarrow", "skops", "onnx", "onnxruntime", "skl2onnx")


def publish(
    config: Config, root: Path, store: Store, fingerprint: str, revision: tuple[str | None, bool], *, took_s: float
) -> tuple[int, bool]:
    """Register the result, and return its version and whether it is new. The same result has only one version.

    Args:
        config: the config.
        root: the project's folder.
        store: the registry.
        fingerprint: the fingerprint of the result.
        revision: the git commit, and whether there were uncommitted changes.
        took_s: the duration to log for the run.
    """
    name = config.model_name
    store.end_dead_runs(config.project)
    found = store.find_version(name, fingerprint)
    if found is not None:
        store.repair_bundle(name, found, root / layout.BUNDLE)
        return found, False
    report = evaluation.read(root / layout.EVALUATION)
    rows = of_last_run(root, training_rows(config, root, [layout.ROW]))
    md5 = hashes(root)
    used = _tables(config, root, md5)
    of_data = {table.name: table.md5 for table in used if table.use == "training"}
    tags = _tags(config, root, report, revision, md5) | {KNOWN: str(len(rows.ids))}
    trial.known(root, tags[BUNDLE_DIGEST])  # the bundle has just scored the holdout
    record, patch = provenance.collect(config, root, dirty=revision[1], remote=_remote(config, root))
    tags |= {provenance.TREE: record.code["tree"], provenance.MAKER: audit.identity(record.actor)}
    tags |= history.rolled_back_before(store, name, fingerprint)
    trust = trusting.trusted(config, root)
    # MLflow writes the model again, and must be able to import its classes
    with tempfile.TemporaryDirectory() as folder, trust.importable():
        model = skops.load(root / layout.MODEL, trust.names)
        rows.write(Path(folder) / FILE)
        made, new = store.publish(
            name,
            experiment=config.project,
            fingerprint=fingerprint,
            content=RunContent(
                params=_params(config, root, model, report, of_data),
                metrics={k: v["value"] for k, v in report["metrics"].items() if v["value"] is not None},
                tags={k: v for k, v in tags.items() if v},
                tables=used,
                artifacts={
                    "bundle": [root / layout.BUNDLE],
                    "evaluation": [root / layout.EVALUATION, root / layout.PLOTS, root / layout.METRICS],
                    "validation": [root / layout.VALIDATION],
                    FOLDER: [Path(folder) / FILE],
                    provenance.FOLDER: provenance.write(record, patch, Path(folder)),
                    **_signed(config, root, record, Path(folder)),
                    "": [root / "dvc.lock", root / "dvc.yaml", root / layout.CONFIG],
                },
                took_s=took_s,
            ),
            model_files=_model_files(root, model, trust, Path(folder) / "code"),
            describe=lambda name: described(name, report, of_data, _commit(*revision), config.card.model_dump()),
        )
    if new and config.registry.sign is not None:
        store.record_signature(name, made)
    return made, new


def _model_files(root: Path, model: Any, trust: Trusted, code: Path) -> ModelFiles:
    """Return the content of MLflow's logged model. Its code is copied into a folder."""
    return ModelFiles(
        estimator=model,
        trusted=[*skops.TRUSTED, *trust.names],
        bundle=root / layout.BUNDLE,
        code=code,
        loader=copy_package("mlops_glue.pyfunc", Path(__file__).parents[2], code),
        requirements=[f"{name}=={pin}" for name, pin in needed(root / layout.MODEL, trust).items()],
        modules=trust.modules,
    )


def _tags(
    config: Config, root: Path, report: Evaluation, revision: tuple[str | None, bool], md5: dict[str, str]
) -> dict[str, str]:
    """Return the tags of a version: its origin, its format and its results."""
    commit, dirty = revision
    parity = files.read_json(root / layout.BUNDLE / "parity.json")
    tags = {
        "glue.version": __version__,
        "glue.format": parity["format"],
        RUNS_CODE: ", ".join(parity.get("runs_code", [])),
        "glue.parity": str(parity["faithful"]).lower(),
        BUNDLE_DIGEST: files.digest(root / layout.BUNDLE),
        "glue.thresholds_met": str(all(t["met"] for t in report["thresholds"])).lower(),
        "glue.holdout_md5": md5.get(layout.TEST, ""),
        "glue.data_md5": md5.get(config.source.path, ""),
        "mlflow.source.name": "glue run",
        "mlflow.source.git.commit": commit or "",
        "glue.git_dirty": str(dirty).lower(),
        "glue.python": platform.python_version(),
        NEWEST: _newest(config, root),
    }
    if config.features.use:
        features = FeatureList.from_dict(files.read_json(root / layout.FEATURE_LIST))
        tags |= {"glue.features": ", ".join(features.columns.values())[:4000], "glue.definitions": features.digest}
    return tags


def _newest(config: Config, root: Path) -> str:
    """Return the time of the latest row, UTC; empty if the table has no time column."""
    if not config.source.timestamps:
        return ""
    when = tables.read_parquet(root / layout.FEATURES, [layout.TIMESTAMP_COLUMN]).column(0).to_numpy()
    return str(np.datetime_as_string(when.max(), unit="us"))


def _params(config: Config, root: Path, model: Any, report: Evaluation, of_data: dict[str, str]) -> dict[str, Any]:
    """Return the settings that may differ between versions, by `glue.yaml` key, for MLflow's comparison page."""
    schema = Schema.from_dict(files.read_json(root / layout.COLUMNS)["schema"])
    limits, decision = config.evaluate.thresholds.items(), report.get("decision", {})
    return {
        "train.estimator": config.train.named or "default",
        "train.seed": config.train.seed,
        **{f"train.params.{name}": value for name, value in (parameters(model) | config.train.params).items()},
        **{f"data.{name}": md5 for name, md5 in of_data.items()},
        "features": ", ".join(column.name for column in schema.columns),
        **{f"split.{key}": value for key, value in config.split.model_dump(exclude_unset=True).items()},
        "split.by": config.split.by,
        "split.test_size": config.split.test_size,
        "split.train_rows": report["train_rows"],
        **({"split.sampled_of": report["sampled_of"]} if "sampled_of" in report else {}),
        "split.holdout_rows": report["rows"],
        **{f"evaluate.thresholds.{name}.{k}": v for name, limit in limits for k, v in limit if v is not None},
        **{f"evaluate.decision_{key}": decision[key] for key in ("threshold", "by") if decision.get(key) is not None},
    }


def _tables(config: Config, root: Path, md5: dict[str, str]) -> list[UsedTable]:
    """Return the project's tables and the holdout, with the shapes from their Parquet metadata."""
    found = [(name, source.path, path_of(config, name), "training") for name, source in config.data.sources.items()]
    return [
        UsedTable(name, path, use, md5.get(path, ""), *tables.parquet_shape(root / file))
        for name, path, file, use in (*found, ("holdout", layout.TEST, layout.TEST, "evaluation"))
    ]


def _signed(config: Config, root: Path, record: provenance.Provenance, folder: Path) -> dict[str, list[Path]]:
    """Return the signed statement of the bundle, by its artifact folder; empty if no key is configured."""
    if config.registry.sign is None:
        return {}
    from mlops_glue.delivery import signature

    key = root / resolve(config.registry.sign, "registry.sign")
    return {signature.FOLDER: [signature.write(config.model_name, record, root / layout.BUNDLE, key, folder)]}


def _remote(config: Config, root: Path) -> str | None:
    """Return DVC's remote without credentials; None if there is none, or its variable is not set here."""
    with contextlib.suppress(ConfigError):
        url = remote_url(config)
        if url is not None:
            return redacted(url, url)  # it may come from a variable
    found = dvc.default_remote(root)
    return redacted(found) if found is not None else None


def _commit(commit: str | None, dirty: bool) -> str:
    if commit is None:
        return "no git commit"
    return f"git commit `{commit[:12]}`{' with uncommitted changes' * dirty}"


def needed(model: Path, trust: Trusted | None = None) -> dict[str, str]:
    """Return the packages that are needed to load the model, with their installed versions."""
    out = {}
    for package in ENVIRONMENT:
        with contextlib.suppress(PackageNotFoundError):
            out[package] = version(package)
    out |= skops.packages(model) | skops.distributions(trust.imports() if trust is not None else ())
    out.pop("mlops-glue", None)  # the model contains its own copy of the glue code that it needs
    return out
