"""promote: move the alias `champion` to a candidate that meets all conditions, or back to a former champion."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import files, layout
from mlops_glue.adapters.mlflow import BUNDLE_DIGEST
from mlops_glue.delivery import audit, history, provenance
from mlops_glue.delivery.condition import Condition, condition, refusals
from mlops_glue.delivery.conditions import ANCHOR, Candidate, becomes_anchor, judge
from mlops_glue.delivery.describe import decided
from mlops_glue.delivery.fetch import must_exist
from mlops_glue.delivery.history import Verdict, champions
from mlops_glue.delivery.record import last_delivery
from mlops_glue.delivery.trial import brought
from mlops_glue.errors import ToolError, UsageError
from mlops_glue.pipeline import evaluation

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store
    from mlops_glue.config import Config

log = logging.getLogger(__name__)

EVALUATION = "evaluation"  # artifact folder of the run
CHALLENGER = "challenger"
TRIES = 5  # attempts to judge against the current champion


@dataclass(frozen=True)
class Reason:
    """Why a person moves an alias.

    Attributes:
        text: the reason that the person gives.
        approves: the person approves a version made by someone else.
        forces: record conditions that are not met, but promote anyway.
        accepts_contract: the person accepts that callers of the champion break.
    """

    text: str | None = None
    approves: bool = False
    forces: bool = False
    accepts_contract: bool = False

    @property
    def event(self) -> str:
        """The event's name in the audit record."""
        return "force" if self.forces else "approve" if self.approves else "promote"


def promote(
    config: Config,
    root: Path,
    store: Store,
    version: int,
    *,
    by_person: Reason | None = None,
    alias: str = "champion",
) -> Verdict:
    """Move the alias to the candidate if it meets all conditions of `conditions.judge`.

    A version that a person names need not be the project's last result. For an alias other than `champion`, the same
    conditions apply, and the champion does not change.

    Raises:
        GlueError: files of the version are missing from the registry.
    """
    name = config.model_name
    for _ in range(TRIES):
        champion = store.champion(name)
        if champion == version:
            return Verdict(version, champion, champion)
        verdict = _judged(config, root, store, version, champion, by_person, alias)
        if store.champion(name) == champion:
            break
        log.info("another machine has moved the champion in the meantime: checking v%d again", version)
    return decide(store, name, verdict, alias, by_person)


def _judged(
    config: Config, root: Path, store: Store, version: int, champion: int | None, by_person: Reason | None, alias: str
) -> Verdict:
    """Check the candidate without moving an alias."""
    name, own = config.model_name, root / layout.BUNDLE
    tags = store.tags(name, version)
    is_last = not by_person or (own.is_dir() and tags.get(BUNDLE_DIGEST) == files.digest(own))
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        bundle = brought(store, root, name, version, scratch) if by_person else own
        report = root / layout.EVALUATION if is_last else store.download_artifact(name, version, EVALUATION, scratch)
        compared, conditions = judge(
            Candidate(
                config=config,
                root=root,
                store=store,
                version=version,
                alias=alias,
                champion=champion,
                by_person=by_person is not None,
                accepts_contract=by_person is not None and by_person.accepts_contract,
                tags=tags,
                bundle=bundle,
                evaluation=evaluation.read(report),
                is_last=is_last,
                scratch=scratch,
            )
        )
    if config.promote.approval == "required" and alias == "champion":
        conditions.append(_approved(config, root, tags, version, by_person))
    return Verdict(version, champion, champion, refusals(conditions), compared, conditions)


def _approved(config: Config, root: Path, tags: Mapping[str, str], version: int, by_person: Reason | None) -> Condition:
    """Check that someone other than its maker approved the version."""

    def missing(why: str) -> Condition:
        return condition("approval", False, f"approval: {why}")

    if by_person is None or not by_person.approves:
        return missing(f"someone other than its maker must approve v{version}: glue promote {version} --approve")
    maker = tags.get(provenance.MAKER)
    if maker is None:
        return missing(f"the maker of v{version} is not recorded, so nobody can be shown to be someone else")
    try:
        approvers = audit.approvers(root, config.ci.environment)
    except ToolError as error:
        return missing(f"{error.message}{f' ({error.hint})' if error.hint else ''}")
    if not approvers:
        where = f"set them in the repository: Settings, Environments, {config.ci.environment}, Required reviewers"
        return missing(f"this run had no reviewers ({where})")
    others = [name for name in approvers if name.casefold() != maker.casefold()]
    if not others:
        return missing(f"{approvers[0]} made v{version} and cannot approve it")
    return condition("approval", True, f"by {', '.join(others)}")


def decide(store: Store, name: str, verdict: Verdict, alias: str, by_person: Reason | None) -> Verdict:
    """Record the verdict on the version, and move the alias if all conditions are met, or a person forces it."""
    forced = by_person is not None and by_person.forces
    version, is_champion = verdict.version, (forced or not verdict.refused) and alias == "champion"
    tags, reason = store.tags(name, version), by_person.text if by_person is not None else None
    over = (reason or "") if forced else None
    tag = history.decision_tag(tags, verdict, alias, by_person=by_person is not None, forced=over)
    for decision in history.decisions(tag):  # written before the tag, so that a crash between the two loses no line
        history.keep(store, name, version, decision, verdict.conditions, reason)
        store.add_to_description(name, version, decided(decision))
    store.tag(name, version, tag)
    evidence = history.evidence({**tags, **tag})[-1]
    if is_champion:
        for problem in verdict.refused:
            log.warning("warning: forced despite this: %s", problem)
        history.forget_rolled_back(store, name, version)
        move(store, name, version, by_person or Reason(), evidence=evidence)
        if becomes_anchor(verdict.comparison, verdict.conditions):
            store.set_model_tag(name, ANCHOR, str(version))
        return replace(verdict, champion=version, refused=[])
    if not verdict.refused:
        store.set_alias(name, alias, version, evidence=evidence)
    return verdict


def candidate_version(root: Path, config: Config, store: Store, version: int | None, alias: str) -> int:
    """Return the version that a person named, or else the challenger, or else the last run's version.

    Raises:
        UsageError: there is no such version.
    """
    versions = _versions(store, config.model_name)
    if version is not None:
        must_exist(config.model_name, version, versions)
        return version
    challenger = store.get_alias(config.model_name, CHALLENGER) if alias == "champion" else None
    if challenger is not None:
        return challenger
    last = last_delivery(root, config)
    return last["version"] if last and last["version"] in versions else versions[-1]


def _versions(store: Store, name: str) -> list[int]:
    """Return the versions of a model.

    Raises:
        UsageError: there are none.
    """
    versions = store.versions(name)
    if not versions:
        raise UsageError(f"{name} has no version yet", hint="glue run")
    return versions


def check_alias(alias: str) -> None:
    """Check an alias by MLflow's rules before a move is recorded, and that it is not one of glue's in other letters.

    Raises:
        UsageError: nothing can have this alias.
    """
    meant = alias.lower()
    if meant in ("champion", CHALLENGER) and alias != meant:
        raise UsageError(f"--alias {alias}: this alias is written {meant}", hint=f"--alias {meant}")
    if not re.fullmatch(r"[\w-]{1,255}", alias) or re.fullmatch(r"latest|v\d+", meant):
        problem = f"--alias {alias!r}: MLflow accepts letters, digits, _ and -, but not `latest`, or v and a number"
        raise UsageError(problem, hint="--alias challenger, or another name")


def set_alias(root: Path, config: Config, store: Store, version: int, alias: str, reason: str | None = None) -> None:
    """Move an alias other than champion to a version, after checking its bundle."""
    with tempfile.TemporaryDirectory() as scratch:
        brought(store, root, config.model_name, version, Path(scratch))  # checks it
    store.set_alias(config.model_name, alias, version, reason=reason)


def rollback(store: Store, name: str, to: int | None = None, reason: str | None = None) -> tuple[int, int | None]:
    """Restore a former champion, and mark the current one so that no later run promotes it again.

    If the current champion is the anchor, the restored champion becomes the anchor.

    Returns:
        The restored champion, and the version that was rolled back.

    Raises:
        UsageError: no such version was champion.
        GlueError: the bundle has changed since registration; the alias is not moved.
    """
    there = _versions(store, name)
    now = store.champion(name)
    chosen = history.rollback_target(name, champions(store, name), now, to, there)
    store.live_run(name, chosen)
    with tempfile.TemporaryDirectory() as scratch:
        store.download_bundle(name, chosen, Path(scratch))  # checks it
    if now is not None:
        store.add_to_description(name, now, f"* {_now()}, glue rollback: rolled back, v{chosen} is champion")
        history.note_rolled_back(store, name, now, _now())
        if store.get_model_tag(name, ANCHOR) == str(now):  # a version that was rolled back is no standard for others
            store.set_model_tag(name, ANCHOR, str(chosen))
    move(store, name, chosen, Reason(reason), "rollback")
    return chosen, now


def move(
    store: Store, name: str, version: int, reason: Reason, event: str | None = None, evidence: str | None = None
) -> None:
    """Move the alias `champion` to a version, and remove its alias `challenger`.

    The move is recorded first: after a crash between the two, the alias is correct.

    Args:
        store: the registry.
        name: the registered model.
        version: the new champion.
        reason: why a person moves the alias.
        event: the event's name in the audit record; None: `reason.event`.
        evidence: the hash of the decision.
    """
    before = store.champion(name)
    if before is not None and before not in [former for former, *_ in store.champion_history(name)]:
        store.record_champion(name, before, "promote", _now())
    event = event or reason.event
    store.record_champion(name, version, "rollback" if event == "rollback" else "promote", _now())
    store.set_alias(name, "champion", version, event, reason.text, evidence)
    if store.get_alias(name, CHALLENGER) == version:
        store.remove_alias(name, CHALLENGER)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
