"""The steps after the pipeline: publish the result, promote it if it meets the conditions, fill the online store."""

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
from mlops_glue.delivery.condition import Condition
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
    """Publish, promote and materialize, and write the result to `delivery.json`.

    Without `promote`, the version becomes challenger. `trained`: this run trained the model, with the packages that are
    installed now. `took_s` is the duration of the stages.
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
        log.info("someone other than its maker must approve v%s: glue promote %s --approve", version, version)
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
        "conditions": verdict.conditions or _from_its_promotion(before, fingerprint, version),
        "same_as": same_as(store, model, version, verdict.previous),
        "fresh": evaluation.read(root / layout.EVALUATION).get("fresh"),
        "online": online,
        "kept_in": kept_in,
        "packages": packages,
    }
    record.write(root, delivery)
    return delivery


def _from_its_promotion(before: record.Delivery | None, fingerprint: str, version: int) -> list[Condition]:
    """Return the conditions that were checked when a version became champion; none if another result was delivered."""
    if before is None or (before["fingerprint"], before["champion"]) != (fingerprint, version):
        return []
    return before.get("conditions", [])


def _emit_lineage(config: configs.Config, root: Path, store: Store, version: int) -> None:
    """Send the new version's lineage to `lineage.openlineage`. A failure is only a warning."""
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
        log.warning("warning: the lineage of v%d was not sent: %s", version, error.message)


def _online(
    config: configs.Config, root: Path, store: Store, on_stage: OnStage, *, refused: bool
) -> tuple[dict[str, str], list[str]]:
    """Fill the online store. After a refusal, a failure is only a warning, because the champion has not changed."""
    try:
        return materialized(config, root, store, on_stage)
    except DataError as error:  # the feature definitions have changed since the champion was trained
        if not refused:
            raise
        log.warning("warning: the online store was not updated: %s", error.message)
        return {}, []


def same_as(store: Store, model: str, version: int, champion: int | None) -> int | None:
    """Return the former champion if the new version's bundle is identical; else None."""
    from mlops_glue.adapters.mlflow import BUNDLE_DIGEST

    if champion in (None, version):
        return None
    mine, other = (store.tags(model, number).get(BUNDLE_DIGEST) for number in (version, champion))
    return champion if mine == other else None


def materialized(
    config: configs.Config, root: Path, store: Store, on_stage: OnStage
) -> tuple[dict[str, str], list[str]]:
    """Fill the online store for the champion. Return the outcome of each view, and the files that record it."""
    champion = store.champion(config.model_name) if config.features.use else None
    features = _features_of(config, root, store, champion) if champion is not None else None
    return _filled(config, root, features, on_stage)


def refreshed(config: configs.Config, root: Path, on_stage: OnStage, *, force: bool) -> dict[str, str]:
    """Fill the online store on a schedule. If the registry does not answer, use the last champion known here.

    Raises:
        UsageError: there is no champion.
        Unreachable: the registry does not answer, and this machine knows no champion.
    """
    try:
        store = read_only(root, config)
        champion = store.champion(config.model_name) if store is not None else None
        if store is None or champion is None:
            problem = f"{config.model_name} has no champion: no model uses these features yet"
            raise UsageError(problem, hint="glue run")
        features = _features_of(config, root, store, champion)
    except Unreachable as error:
        last = known.champion(root, config)
        if last is None:
            raise
        fallback = f"using the features of v{last.version}, which was champion at {last.asked}"
        log.warning("warning: %s: %s", error.message, fallback)
        features = features_in(last.bundle)
    return _filled(config, root, features, on_stage, force=force)[0]


def _features_of(config: configs.Config, root: Path, store: Store, champion: int) -> FeatureList | None:
    """Return the champion's features from Feast, and store its bundle for when the registry does not answer."""
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
