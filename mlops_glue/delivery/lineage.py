"""The lineage of a version, from the raw tables to the served bundle."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlops_glue import files, layout
from mlops_glue.adapters import git
from mlops_glue.adapters.mlflow import BUNDLE_DIGEST, FINGERPRINT, REGISTRY, Store
from mlops_glue.delivery import audit, history, provenance
from mlops_glue.delivery.condition import Condition
from mlops_glue.delivery.history import Decision
from mlops_glue.errors import GlueError
from mlops_glue.records import FeatureList
from mlops_glue.trusted import RUNS_CODE

FORMAT = 1


@dataclass(frozen=True)
class Lineage:
    """The lineage of a version. Unknown values are None, and never guessed.

    Attributes:
        model: the registered model.
        version: its number.
        created: when it was registered, in ISO 8601, UTC.
        run: the id of its MLflow run.
        fingerprint: SHA-256 of the stages, their inputs and parameters.
        aliases: its current aliases.
        provenance: the fields of `provenance.Provenance`; None if the version has no such record.
        committed: a commit that contains the version's `dvc.lock`; None if no branch here has one.
        stages: by name, the inputs, parameters and outputs of each stage, with hashes.
        features: references of the features from Feast.
        bundle: its digest, and the SHA-256 of each file.
        metrics: on the holdout, at training.
        decisions: the promotion decisions, in order.
        conditions: the conditions of the last decision with their numbers; an older glue did not record them.
        moves: the alias moves in the audit record, in order.
        format: the format of this record.
    """

    model: str
    version: int
    created: str
    run: str | None
    fingerprint: str | None
    aliases: list[str]
    provenance: dict[str, Any] | None
    committed: str | None
    stages: dict[str, Any]
    features: list[str]
    bundle: dict[str, Any]
    metrics: dict[str, float]
    decisions: list[Decision]
    conditions: list[Condition]
    moves: list[dict[str, Any]]
    format: int = FORMAT


def lineage(root: Path, store: Store, model: str, version: int, into: Path | None = None) -> Lineage:
    """Collect a version's lineage from the registry, git and the audit record.

    Args:
        root: the project.
        store: the registry.
        model: the registered model.
        version: its number.
        into: a folder of the caller, for the bundle as `bundle`.

    Raises:
        GlueError: the registry does not have the version, or does not answer.
    """
    entry = store.description(model, version)
    tags, kept = entry["tags"], history.promotions(store, model, version)
    decisions = history.decisions(tags)
    with tempfile.TemporaryDirectory() as scratch:
        folder = into or Path(scratch)
        made = provenance.of_version(store, model, version, folder)
        lock = _text(store, model, version, "dvc.lock", folder)
        bundle = store.download_bundle(model, version, folder)
        listed = bundle / "features.json"
        features = FeatureList.from_dict(files.read_json(listed)) if listed.is_file() else None
        digests = files.sha256s(bundle)
    return Lineage(
        model=model,
        version=version,
        created=entry["created"],
        run=entry["run"],
        fingerprint=tags.get(FINGERPRINT),
        aliases=entry["aliases"],
        provenance=asdict(made[0]) if made is not None else None,
        committed=git.commit_with(root, "dvc.lock", lock) if lock is not None else None,
        stages=_stages(lock),
        features=sorted(features.columns.values()) if features is not None else [],
        bundle={
            "sha256": tags.get(BUNDLE_DIGEST),
            "format": tags.get("glue.format"),
            "runs_code": tags.get(RUNS_CODE),
            "files": digests,
        },
        metrics=entry["metrics"],
        decisions=decisions,
        conditions=history.conditions_of(decisions[-1], kept) if decisions else [],
        moves=moves_of(root, store, model, version),
    )


def moves_of(root: Path, store: Store, model: str, version: int) -> list[dict[str, Any]]:
    """Return the moves of a version; those in other registries that share the record are of other versions."""
    registry = store.get_model_tag(model, REGISTRY)
    found = [entry.content for entry in audit.entries(root) if entry.content["model"] == model]
    ours = [move for move in found if move.get("registry") in (None, registry)]
    return [move for move in ours if version in (move["version"], move["previous"])]


def _text(store: Store, model: str, version: int, name: str, folder: Path) -> str | None:
    try:
        return store.download_artifact(model, version, name, folder).read_text(encoding="utf-8")
    except (GlueError, OSError):
        return None


def _stages(lock: str | None) -> dict[str, Any]:
    """Return for each stage the MD5 of its inputs and outputs, by path, and its parameters."""
    stages = files.parse_yaml(lock)["stages"] if lock is not None else {}
    return {
        name: {
            "deps": {dep["path"]: dep.get("md5") for dep in stage.get("deps", [])},
            "params": stage.get("params", {}).get(layout.CONFIG, {}),
            "outs": {out["path"]: out.get("md5") for out in stage.get("outs", [])},
        }
        for name, stage in stages.items()
    }
