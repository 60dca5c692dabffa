"""What follows the pipeline: publish its result, promote it where it may be, fill the online store."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import config as configs
from mlops_glue import files, layout
from mlops_glue.adapters import git
from mlops_glue.delivery import known, record
from mlops_glue.delivery.commit import revision
from mlops_glue.delivery.describe import stays
from mlops_glue.delivery.fetch import features_in, opened, read_only
from mlops_glue.errors import DataError, GlueError, Unreachable, UsageError
from mlops_glue.pipeline import evaluation
from mlops_glue.pipeline.session import OnStage, staged
from mlops_glue.records import FeatureList

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store

log = logging.getLogger(__name__)


def deliver(
    config: configs.Config, root: Path, on_stage: OnStage, *, promote: bool, trained: bool, took_s: float
) -> record.Delivery:
    """Publish, promote and materialize; what came of it is written to `delivery.json`.

    Without `promote` the version is named challenger. `trained` says that this run has trained the model, so with the
    packages that are installed now; `took_s` is how long the stages took.
    """
    from mlops_glue.adapters.mlflow import BUNDLE_DIGEST
    from mlops_glue.delivery.promote import promote as to_alias
    from mlops_glue.delivery.publish import publish
    from mlops_glue.pipeline.fingerprint import fingerprint as fingerprint_of
    from mlops_glue.pipeline.fingerprint import packages as installed

    model = config.model_name
    with staged("publish", on_stage) as stage:
        fingerprint, packages = fingerprint_of(root), installed(config, root)
        before = record.last_delivery(root, config)
        if not trained and before is not None and before["fingerprint"] == fingerprint:
            packages |= before["packages"]
        store = opened(root, config)
        version, new = publish(config, root, store, fingerprint, revision(config, root), took_s=took_s)
        stage.outcome, stage.reasons = "executed" if new else "unchanged", [f"{model} v{version}"]
    if new:
        _emit_lineage(config, root, store, version)
    alias = "champion" if promote and config.promote.approval is None else "challenger"
    with staged("promote", on_stage) as stage:
        verdict = to_alias(config, root, store, version, alias=alias)
        stage.outcome = "refused" if verdict.refused else "unchanged" if verdict.previous == version else "executed"
        stage.reasons = [stays(verdict.champion) if verdict.refused else alias]
    if promote and alias == "challenger" and not verdict.refused:
        log.info("v%s waits for somebody else than who made it: glue promote %s --approve", version, version)
    conditions = verdict.conditions
    if not conditions and before is not None and (before["fingerprint"], before["champion"]) == (fingerprint, version):
        conditions = before.get("conditions", [])  # it became champion by these, and was not judged again
    online, kept_in = _online(config, root, store, on_stage, refused=bool(verdict.refused))
    digest = store.tags(model, version).get(BUNDLE_DIGEST)
    delivery: record.Delivery = {
        "fingerprint": fingerprint,
        "model": model,
        "env": config.environment,
        "version": version,
        "new": new,
        "digest": digest if digest == files.digest(root / layout.BUNDLE) else None,
        "champion": verdict.champion,
        "previous": verdict.previous,
        "refused": verdict.refused,
        "comparison": verdict.comparison,
        "conditions": conditions,
        "same_as": same_as(store, model, version, verdict.previous),
        "fresh": evaluation.read(root / layout.EVALUATION).get("fresh"),
        "online": online,
        "kept_in": kept_in,
        "packages": packages,
    }
    record.write(root, delivery)
    return delivery


def _emit_lineage(config: configs.Config, root: Path, store: Store, version: int) -> None:
    """Send the new version's lineage where `lineage.openlineage` says; where that fails, it is only a warning."""
    if config.lineage.openlineage is None:
        return
    from mlops_glue.adapters import openlineage as to
    from mlops_glue.delivery import openlineage
    from mlops_glue.delivery.lineage import lineage

    try:
        target = configs.resolve(config.lineage.openlineage, "lineage.openlineage")
        token = configs.resolve(config.lineage.token, "lineage.token") if config.lineage.token else None
        found = lineage(root, store, config.model_name, version)
        where = target if "://" in target else str(root / target)
        to.emit(openlineage.events(found, config.project, git.remote_url(root)), where, token)
    except GlueError as error:
        log.warning("warning: the lineage of v%d is not sent: %s", version, error.message)


def _online(
    config: configs.Config, root: Path, store: Store, on_stage: OnStage, *, refused: bool
) -> tuple[dict[str, str], list[str]]:
    """Fill the online store. After a refusal it is left as it is where it cannot be filled: the champion stays."""
    try:
        return materialized(config, root, store, on_stage)
    except DataError as error:  # the features are no longer defined as the champion knows them
        if not refused:
            raise
        log.warning("warning: the online store is left as it is: %s", error.message)
        return {}, []


def same_as(store: Store, model: str, version: int, champion: int | None) -> int | None:
    """The champion before, where the new version is the same model to the byte."""
    from mlops_glue.adapters.mlflow import BUNDLE_DIGEST

    if champion in (None, version):
        return None
    mine, other = (store.tags(model, number).get(BUNDLE_DIGEST) for number in (version, champion))
    return champion if mine == other else None


def materialized(
    config: configs.Config, root: Path, store: Store, on_stage: OnStage
) -> tuple[dict[str, str], list[str]]:
    """Fill the online store for the champion: the outcome of each view, and the files that keep a record of it."""
    champion = store.champion(config.model_name) if config.features.use else None
    features = _features_of(config, root, store, champion) if champion is not None else None
    return _filled(config, root, features, on_stage)


def refreshed(config: configs.Config, root: Path, on_stage: OnStage, *, force: bool) -> dict[str, str]:
    """The same for a schedule: while the registry does not answer, for the champion that this machine knows.

    Raises:
        UsageError: there is no champion.
        Unreachable: the registry does not answer, and none is known here.
    """
    try:
        store = read_only(root, config)
        champion = store.champion(config.model_name) if store is not None else None
        if store is None or champion is None:
            raise UsageError(f"{config.model_name} has no champion: nobody takes these features yet", hint="glue run")
        features = _features_of(config, root, store, champion)
    except Unreachable as error:
        last = known.champion(root, config)
        if last is None:
            raise
        taken = f"the features are those of v{last.version}, which was champion at {last.asked}"
        log.warning("warning: %s: %s", error.message, taken)
        features = features_in(last.bundle)
    return _filled(config, root, features, on_stage, force=force)[0]


def _features_of(config: configs.Config, root: Path, store: Store, champion: int) -> FeatureList | None:
    """What the champion takes from Feast; its bundle is kept for when the registry is away."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = store.download_bundle(config.model_name, champion, Path(folder))
        known.note(root, config, champion, bundle)
        known.note_champion(root, config, champion)
        return features_in(bundle)


def _filled(
    config: configs.Config, root: Path, features: FeatureList | None, on_stage: OnStage, *, force: bool = False
) -> tuple[dict[str, str], list[str]]:
    if features is None:
        return {}, []
    from mlops_glue.delivery.materialize import materialize

    with staged("materialize", on_stage) as stage:
        views, kept_in = materialize(config, root, features, force=force)
        stage.reasons = [view for view, outcome in views.items() if outcome == "executed"]
        stage.outcome = "executed" if stage.reasons else "unchanged"
    return views, kept_in
