"""publish: one MLflow run and one model version for each distinct result."""

from __future__ import annotations

import contextlib
import platform
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from mlops_glue import __version__, io, layout
from mlops_glue.adapters import dvc, git, onnx
from mlops_glue.adapters.mlflow import BUNDLE_DIGEST, Store
from mlops_glue.config import Config
from mlops_glue.delivery import trial
from mlops_glue.delivery.rows import FILE, FOLDER, KNOWN, of_last_run
from mlops_glue.modules import carried
from mlops_glue.records import FeatureList

NEWEST = "glue.newest"  # tag: the time of the latest row that the version was made of
ENVIRONMENT = ("scikit-learn", "numpy", "pandas", "pyarrow", "skops", "onnx", "onnxruntime", "skl2onnx")


def publish(config: Config, root: Path, store: Store, fingerprint: str) -> tuple[int, bool]:
    """The version that holds this result, and whether it is new. Twice the same result gives one version."""
    name = config.model_name
    store.end_dead_runs(config.project)
    found = store.published(name, fingerprint)
    if found is not None:
        store.mend(name, found, root / layout.BUNDLE)
        return found, False
    report = io.read_json(root / layout.EVALUATION / "evaluation.json")
    parity = io.read_json(root / layout.BUNDLE / "parity.json")
    model = onnx.load_skops(root / layout.MODEL)
    train = io.training_rows(root, fresh=bool(config.split.fresh_after))
    first = train.slice(0, 1000).to_pandas()
    md5, rows = hashes(root), of_last_run(root, train)
    commit, dirty = git.revision(root)
    tags = {
        "glue.version": __version__,
        "glue.format": parity["format"],
        "glue.parity": str(parity["faithful"]).lower(),
        BUNDLE_DIGEST: io.digest(root / layout.BUNDLE),
        "glue.thresholds_met": str(all(t["met"] for t in report["thresholds"])).lower(),
        "glue.holdout_md5": md5.get(layout.TEST, ""),
        "glue.data_md5": md5.get(config.source.path, ""),
        "mlflow.source.name": "glue run",
        "mlflow.source.git.commit": commit or "",
        "glue.git_dirty": str(dirty).lower(),
        "glue.python": platform.python_version(),
        KNOWN: str(len(rows.ids)),
        NEWEST: _newest(config, root),
    }
    if config.features.use:
        features = FeatureList.from_dict(io.read_json(root / layout.FEATURE_LIST))
        tags |= {"glue.features": ", ".join(features.columns.values())[:4000], "glue.definitions": features.digest}
    trial.known(root, tags[BUNDLE_DIGEST])  # it has just scored the holdout
    with tempfile.TemporaryDirectory() as folder:
        rows.write(Path(folder) / FILE)
        made = store.publish(
            name,
            experiment=config.project,
            fingerprint=fingerprint,
            estimator=model,
            trusted=onnx.TRUSTED,
            raw=root / layout.BUNDLE,
            code=Path(folder) / "code",
            loader=carried("mlops_glue.pyfunc", Path(__file__).parents[2], Path(folder) / "code"),
            params=_params(config),
            metrics={k: v["value"] for k, v in report["metrics"].items() if v["value"] is not None},
            tags={k: v for k, v in tags.items() if v},
            dataset=("train", config.source.path, first, train.num_rows, md5.get(layout.TRAIN, "")),
            files={
                "bundle": [root / layout.BUNDLE],
                "evaluation": [root / layout.EVALUATION, root / layout.PLOTS, root / layout.METRICS],
                "validation": [root / layout.VALIDATION],
                FOLDER: [Path(folder) / FILE],
                "": [root / "dvc.lock", root / "dvc.yaml", root / layout.CONFIG],
            },
            requirements=[f"{name}=={pin}" for name, pin in needed(root / layout.MODEL).items()],
        )
    return made, True


def _newest(config: Config, root: Path) -> str:
    """The time of the latest row, UTC; empty where the table has none."""
    if not config.source.timestamps:
        return ""
    when = io.read_parquet(root / layout.FEATURES, [layout.WHEN]).column(0).to_numpy()
    return str(np.datetime_as_string(when.max(), unit="us"))


def _params(config: Config) -> dict[str, Any]:
    params = {f"train.params.{k}": v for k, v in config.train.params.items()}
    return {
        "train.estimator": config.train.estimator or "default",
        "train.seed": config.train.seed,
        "split.by": config.split.by,
        "split.test_size": config.split.test_size,
        **params,
    }


def needed(model: Path) -> dict[str, str]:
    """What loads the model, with the versions that are installed: what forms it was kept in need, and what it is of."""
    out = {}
    for package in ENVIRONMENT:
        with contextlib.suppress(PackageNotFoundError):
            out[package] = version(package)
    return out | onnx.packages(model)


def hashes(root: Path) -> dict[str, str]:
    """MD5 by path of everything that `dvc.lock` names."""
    entries = [e for s in dvc.locked(root).values() for e in (*s.get("deps", []), *s.get("outs", []))]
    return {e["path"]: str(e.get("md5", "")) for e in entries}
