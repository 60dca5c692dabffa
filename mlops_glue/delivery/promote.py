"""promote: the alias `champion` goes to a candidate that meets every condition, and to no other; or it goes back."""

from __future__ import annotations

import logging
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
TRIES = 5  # to judge by the champion that there is


@dataclass(frozen=True)
class Reason:
    """Why a person moves an alias.

    Attributes:
        text: what the person says.
        approves: the person approves what another has made.
        forces: conditions that do not hold are recorded, and do not count.
        accepts_contract: the person knows that callers of the champion break.
    """

    text: str | None = None
    approves: bool = False
    forces: bool = False
    accepts_contract: bool = False

    @property
    def event(self) -> str:
        """As the audit record calls it."""
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
    """Move the alias to the candidate where every condition of `conditions.judge` holds.

    A version that a person named may be another than the project's last result. An alias other than `champion` goes to
    what could be champion; the champion stays.

    Raises:
        GlueError: the registry does not have what belongs to the version.
    """
    name = config.model_name
    for _ in range(TRIES):
        champion = store.champion(name)
        if champion == version:
            return Verdict(version, champion, champion)
        verdict = _judged(config, root, store, version, champion, by_person, alias)
        if store.champion(name) == champion:
            break
        log.info("another machine has moved the champion meanwhile: v%d is judged again", version)
    return decide(store, name, verdict, alias, by_person)


def _judged(
    config: Config, root: Path, store: Store, version: int, champion: int | None, by_person: Reason | None, alias: str
) -> Verdict:
    """What speaks against the candidate; nothing is moved."""
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
    """Has somebody else than its maker approved it?"""

    def missing(why: str) -> Condition:
        return condition("approval", False, f"approval: {why}")

    if by_person is None or not by_person.approves:
        return missing(f"somebody else than who made it must type glue promote {version} --approve")
    maker = tags.get(provenance.MAKER)
    if maker is None:
        return missing(f"who made v{version} is not recorded, so nobody is known to be somebody else")
    try:
        approvers = audit.approvers(root, config.ci.environment)
    except ToolError as error:
        return missing(f"{error.message}{f' ({error.hint})' if error.hint else ''}")
    if not approvers:
        where = f"the repository's settings, Environments, {config.ci.environment}, Required reviewers"
        return missing(f"nobody has reviewed this run ({where})")
    others = [one for one in approvers if one.casefold() != maker.casefold()]
    if not others:
        return missing(f"{approvers[0]} made v{version}, and cannot approve it")
    return condition("approval", True, f"by {', '.join(others)}")


def decide(store: Store, name: str, verdict: Verdict, alias: str, by_person: Reason | None) -> Verdict:
    """Record the verdict on the version, and move the alias where nothing speaks against it, or a person forces it."""
    forced = by_person is not None and by_person.forces
    version, is_champion = verdict.version, (forced or not verdict.refused) and alias == "champion"
    tags, reason = store.tags(name, version), by_person.text if by_person is not None else None
    over = (reason or "") if forced else None
    tag = history.decision_tag(tags, verdict, alias, by_person=by_person is not None, forced=over)
    for decision in history.decisions(tag):  # before its tag: a crash between the two loses no line
        history.keep(store, name, version, decision, verdict.conditions, reason)
        store.add_to_description(name, version, decided(decision))
    store.tag(name, version, tag)
    evidence = history.evidence({**tags, **tag})[-1]
    if is_champion:
        for problem in verdict.refused:
            log.warning("warning: forced over this: %s", problem)
        history.forget_rolled_back(store, name, version)
        move(store, name, version, by_person or Reason(), evidence=evidence)
        if becomes_anchor(verdict.comparison, verdict.conditions):
            store.set_model_tag(name, ANCHOR, str(version))
        return replace(verdict, champion=version, refused=[])
    if not verdict.refused:
        store.set_alias(name, alias, version, evidence=evidence)
    return verdict


def candidate_version(root: Path, config: Config, store: Store, version: int | None, alias: str) -> int:
    """The version that a person named; else the challenger; else what the last run made.

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
    """The versions that there are.

    Raises:
        UsageError: there are none.
    """
    versions = store.versions(name)
    if not versions:
        raise UsageError(f"{name} has no version yet", hint="glue run")
    return versions


def set_alias(root: Path, config: Config, store: Store, version: int, alias: str) -> None:
    """Move an alias other than champion to a version whose bundle is sound."""
    with tempfile.TemporaryDirectory() as scratch:
        brought(store, root, config.model_name, version, Path(scratch))  # checks it
    store.set_alias(config.model_name, alias, version)


def rollback(store: Store, name: str, to: int | None = None, reason: str | None = None) -> tuple[int, int | None]:
    """Put a former champion back; the one that goes is marked, so that no later run promotes it unasked.

    If it was the anchor, the one that is put back is the anchor now.

    Returns:
        The champion now, and the one that went.

    Raises:
        UsageError: no such version was champion.
        GlueError: its bundle is not what was registered; the alias stays where it is.
    """
    there = _versions(store, name)
    now = store.champion(name)
    chosen = history.rollback_target(name, champions(store, name), now, to, there)
    with tempfile.TemporaryDirectory() as scratch:
        store.download_bundle(name, chosen, Path(scratch))  # checks it
    if now is not None:
        store.add_to_description(name, now, f"* {_now()}, glue rollback: taken back, v{chosen} is champion")
        history.note_rolled_back(store, name, now, _now())
        if store.get_model_tag(name, ANCHOR) == str(now):  # what was taken back is nothing to be held against
            store.set_model_tag(name, ANCHOR, str(chosen))
    move(store, name, chosen, Reason(reason), "rollback")
    return chosen, now


def move(
    store: Store, name: str, version: int, reason: Reason, event: str | None = None, evidence: str | None = None
) -> None:
    """The alias `champion` to a version, which is challenger no more. `evidence` is the hash of the decision.

    Noted first: of a move that a crash cut short, the alias tells the truth.
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
