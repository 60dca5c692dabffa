"""What follows the pipeline: publish its result, promote it where it may be, fill the online store."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue import files, layout
from mlops_glue.delivery.commit import revision
from mlops_glue.delivery.describe import stays
from mlops_glue.delivery.fetch import last_delivery, opened
from mlops_glue.errors import DataError
from mlops_glue.pipeline.session import OnStage, staged

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store

log = logging.getLogger(__name__)


def deliver(
    config: configs.Config,
    root: Path,
    env: str | None,
    on_stage: OnStage,
    *,
    promote: bool,
    trained: bool,
    took_s: float,
) -> dict[str, Any]:
    """Publish, promote and materialize.

    Args:
        config: of the project, in this environment.
        root: the project folder.
        env: the environment's name.
        on_stage: is called as each of the three begins and ends.
        promote: whether the version is to be champion; else it is named challenger.
        trained: whether this run has trained, so that the packages of now are those of the model.
        took_s: how long the stages took, in seconds.

    Returns:
        What came of it, as it is kept in `delivery.json`.
    """
    from mlops_glue.delivery.promote import promote as to_alias
    from mlops_glue.delivery.publish import publish
    from mlops_glue.pipeline.fingerprint import fingerprint as fingerprint_of

    with staged("publish", on_stage) as stage:
        fingerprint = fingerprint_of(root)
        packages = _packages(config, root, None if trained else fingerprint)
        store = opened(root, config)
        version, new = publish(config, root, store, fingerprint, revision(config, root), took_s=took_s)
        stage.outcome, stage.reasons = "executed" if new else "unchanged", [f"{config.model_name} v{version}"]
    alias = "champion" if promote else "challenger"
    with staged("promote", on_stage) as stage:
        verdict = to_alias(config, root, store, version, alias=alias)
        stage.outcome = "refused" if verdict.refused else "unchanged" if verdict.previous == version else "executed"
        stage.reasons = [stays(verdict.champion) if verdict.refused else alias]
    online = _online(config, root, store, env, on_stage, refused=bool(verdict.refused))
    delivery = {
        "fingerprint": fingerprint,
        "model": config.model_name,
        "env": config.environment,
        "version": version,
        "new": new,
        "digest": _registered_digest(root, store, config.model_name, version),
        "champion": verdict.champion,
        "previous": verdict.previous,
        "refused": verdict.refused,
        "comparison": verdict.comparison,
        "same_as": same_as(store, config.model_name, version, verdict.previous),
        "fresh": files.read_json(root / layout.EVALUATION / "evaluation.json").get("fresh"),
        "online": online["views"],
        "kept_in": online["kept_in"],
        "packages": packages,
    }
    files.write_json(root / layout.DELIVERY, delivery)
    return delivery


def _packages(config: configs.Config, root: Path, fingerprint: str | None) -> dict[str, Any]:
    """The versions of the packages that the model was made with.

    Args:
        config: of the project.
        root: the project folder.
        fingerprint: of a result that was not trained now. If the last run delivered it, that run's versions count.
    """
    from mlops_glue.pipeline.fingerprint import packages

    before = _last(root)
    former = before.get("packages", {}) if before.get("fingerprint") == fingerprint is not None else {}
    return packages(config, root) | former


def _online(
    config: configs.Config, root: Path, store: Store, env: str | None, on_stage: OnStage, *, refused: bool
) -> dict[str, Any]:
    """Fill the online store. After a refusal it is left as it is where it cannot be filled: the champion stays."""
    try:
        return materialized(config, root, store, env, on_stage)
    except DataError as error:  # the features are no longer defined as the champion knows them
        if not refused:
            raise
        log.warning("warning: the online store is left as it is: %s", error.message)
        return {"views": {}, "kept_in": []}


def _last(root: Path) -> dict[str, Any]:
    """What the last run delivered; nothing where the file is lost or torn."""
    with contextlib.suppress(OSError, ValueError):
        delivery = files.read_json(root / layout.DELIVERY)
        return delivery if isinstance(delivery, dict) else {}
    return {}


def note_champion(root: Path, config: configs.Config, champion: int | None) -> None:
    """Let `delivery.json` name the champion of now, where a person has moved the alias."""
    delivery = last_delivery(root, config)
    if delivery is not None and delivery["champion"] != champion:
        files.write_json(root / layout.DELIVERY, delivery | {"champion": champion})


def same_as(store: Store, model: str, version: int, champion: int | None) -> int | None:
    """The champion before, where the new version is the same model to the byte."""
    from mlops_glue.adapters.mlflow import BUNDLE_DIGEST

    if champion in (None, version):
        return None
    mine, other = (store.tags(model, number).get(BUNDLE_DIGEST) for number in (version, champion))
    return champion if mine == other else None


def _registered_digest(root: Path, store: Store, model: str, version: int) -> str | None:
    """The digest of the version's bundle, where the bundle on disk is the one that was registered."""
    from mlops_glue.adapters.mlflow import BUNDLE_DIGEST

    digest: str | None = store.tags(model, version).get(BUNDLE_DIGEST)
    return digest if digest == files.digest(root / layout.BUNDLE) else None


def materialized(
    config: configs.Config, root: Path, store: Store, env: str | None, on_stage: OnStage, *, force: bool = False
) -> dict[str, Any]:
    """Fill the online store for the champion: each view with its outcome, and the files that keep a record of it."""
    from mlops_glue.delivery.fetch import feature_list_of

    champion = store.champion(config.model_name) if config.features.use else None
    features = feature_list_of(store, config.model_name, champion) if champion is not None else None
    if features is None:
        return {"views": {}, "kept_in": []}
    from mlops_glue.delivery.materialize import materialize

    with staged("materialize", on_stage) as stage:
        done = materialize(config, root, features, env=env, force=force)
        stage.reasons = [view.view for view in done.views if view.outcome == "executed"]
        stage.outcome = "executed" if stage.reasons else "unchanged"
    return {"views": {view.view: view.outcome for view in done.views}, "kept_in": done.files}
