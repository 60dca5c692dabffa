"""promote: the alias `champion` goes to a candidate that meets every condition, and to no other; or it goes back."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_glue import files, layout
from mlops_glue.adapters.mlflow import BUNDLE_DIGEST, Store
from mlops_glue.config import Config
from mlops_glue.delivery import conditions, history
from mlops_glue.delivery.compare import TooFew, compare
from mlops_glue.delivery.describe import decided
from mlops_glue.delivery.fetch import last_delivery
from mlops_glue.delivery.publish import hashes
from mlops_glue.delivery.trial import brought
from mlops_glue.errors import GlueError, UsageError
from mlops_glue.records import FeatureList
from mlops_glue.suggest import did_you_mean

EVALUATION = "evaluation"  # artifact folder of the run
CHALLENGER = "challenger"


@dataclass(frozen=True)
class Verdict:
    """What became of a candidate."""

    version: int
    champion: int | None  # after the decision
    previous: int | None
    refused: list[str] = field(default_factory=list)
    comparison: dict[str, Any] | None = None  # with the champion, on the same holdout


def promote(
    config: Config, root: Path, store: Store, version: int, *, by_person: bool = False, alias: str = "champion"
) -> Verdict:
    """Move the alias to the candidate where every condition holds.

    Every threshold is met; the first metric is not worse than the trivial predictor's; the ONNX model is faithful, or
    the model is kept in skops form; the version has a signature; its bundle is the one that was registered; the online
    store gives what it was trained on; of fresh rows it learned more than chance, and they do not turn round what was
    known; its score is at least the champion's, on those rows of the candidate's holdout that the champion was not
    trained on; it was not champion before, unless a person names it.

    Args:
        config: of the project.
        root: the project, which has the holdout.
        store: the registry.
        version: the candidate.
        by_person: a person named the version, which so may be another than the project's last result.
        alias: another than `champion` goes to what could be champion, which stays what it is.

    Raises:
        GlueError: the registry does not have what belongs to the version.
    """
    name = config.model_name
    champion = store.champion(name)
    if champion == version:
        return Verdict(version, champion, champion)
    tags = store.tags(name, version)
    with tempfile.TemporaryDirectory() as scratch:
        is_last = not by_person or _is_last(root, tags)
        folder = brought(store, root, name, version, Path(scratch)) if by_person else root / layout.BUNDLE
        evaluation = (
            root / layout.EVALUATION if is_last else store.download_artifact(name, version, EVALUATION, Path(scratch))
        )
        report = files.read_json(evaluation / "evaluation.json")
        refused = conditions.unsound(
            report["thresholds"],
            files.read_json(folder / "parity.json"),
            signed=store.has_signature(name, version),
            registered=tags.get(BUNDLE_DIGEST) == files.digest(folder),
        )
        if not by_person:
            refused += conditions.former(version, tags, champions(store, name), champion, alias)
        if config.promote.worse_than_trivial == "refuse":
            refused += conditions.worse_than_trivial(report["task"], report["metrics"])
        compared = None
        if is_last or _has_holdout(root, tags):
            compared, worse = _judged(config, root, store, version, champion, folder, by_person=by_person)
            refused += worse
        else:
            refused.append(f"holdout: that of v{version} is not the one that is here ({_made_by(tags)})")
        if "fresh" in report:
            order = compared["order"] if compared else None
            refused += conditions.on_fresh(report["fresh"]["order"], order, version, by_person=by_person)
    return decide(store, name, Verdict(version, champion, champion, refused, compared), alias, by_person=by_person)


def _judged(
    config: Config, root: Path, store: Store, version: int, champion: int | None, folder: Path, *, by_person: bool
) -> tuple[dict[str, Any] | None, list[str]]:
    """What the rows of the holdout show: the comparison with the champion, and why the version is refused."""
    refused = _skewed(config, root, store, version, folder) if (folder / "features.json").is_file() else []
    if champion is None:
        return None, refused
    try:
        compared = compare(config, root, store, champion, folder)
    except TooFew as error:  # a person may decide without a comparison
        problem = f"champion {error.message}: glue promote {version} takes it without a comparison"
        return None, refused if by_person else [*refused, problem]
    except GlueError as error:  # a comparison that could not run has not passed
        return None, [*refused, f"champion v{champion} could not be scored on this holdout: {error.message}"]
    if not compared["at_least_as_good"]:
        refused.append(
            f"{compared['metric']} {compared['candidate']:.4f} is worse than champion v{champion}'s "
            f"{compared['champion']:.4f} on the same holdout"
        )
    return compared, refused


def decide(store: Store, name: str, verdict: Verdict, alias: str, *, by_person: bool) -> Verdict:
    """Record the verdict on the version, and move the alias where nothing speaks against it."""
    version = verdict.version
    tags, obsolete = history.noted(
        store.tags(name, version),
        alias,
        verdict.previous,
        verdict.refused,
        verdict.comparison,
        by_person=by_person,
        was_champion=version in [former for former, *_ in store.champion_history(name)],
        now=datetime.now(UTC),
    )
    for decision in history.verdicts(tags):  # before its tag: a crash between the two loses no line
        store.add_to_description(name, version, decided(decision))
    store.tag(name, version, tags)
    for tag in obsolete:
        store.untag(name, version, tag)
    if verdict.refused:
        return verdict
    if alias != "champion":
        store.set_alias(name, alias, version)
        return verdict
    move(store, name, version, "promote")
    return Verdict(version, version, verdict.previous, [], verdict.comparison)


def _is_last(root: Path, tags: dict[str, str]) -> bool:
    """Is the version what the project's pipeline made last?"""
    bundle = root / layout.BUNDLE
    return bundle.is_dir() and tags.get(BUNDLE_DIGEST) == files.digest(bundle)


def _has_holdout(root: Path, tags: dict[str, str]) -> bool:
    """Is the holdout of the version the one on disk?"""
    md5 = hashes(root).get(layout.TEST)
    return md5 is not None and md5 == tags.get("glue.holdout_md5") and (root / layout.TEST).is_file()


def _made_by(tags: dict[str, str]) -> str:
    commit = tags.get("mlflow.source.git.commit")
    return f"git checkout {commit[:12]} && dvc checkout has it" if commit else "no git commit of it is known"


def candidate(root: Path, config: Config, store: Store, version: int | None, alias: str) -> int:
    """The version that a person named; else the challenger; else what the last run made.

    Raises:
        UsageError: there is no such version.
    """
    versions = store.versions(config.model_name)
    if not versions:
        raise UsageError(f"{config.model_name} has no version yet", hint="glue run")
    if version is not None:
        if version not in versions:
            hint = did_you_mean("", list(map(str, versions)))
            raise UsageError(f"{version}: {config.model_name} has no such version", hint=hint)
        return version
    challenger = store.get_alias(config.model_name, CHALLENGER) if alias == "champion" else None
    if challenger is not None:
        return challenger
    last = last_delivery(root, config)
    return last["version"] if last and last["version"] in versions else versions[-1]


def name(root: Path, config: Config, store: Store, version: int, alias: str) -> None:
    """Move an alias other than champion to a version whose bundle is sound."""
    with tempfile.TemporaryDirectory() as scratch:
        brought(store, root, config.model_name, version, Path(scratch))  # checks it
    store.set_alias(config.model_name, alias, version)


def rollback(store: Store, name: str, to: int | None = None) -> tuple[int, int | None]:
    """Put a former champion back; the one that goes is marked, so that no later run promotes it unasked.

    Args:
        store: the registry.
        name: of the model.
        to: a version that was champion; default the one before.

    Returns:
        The champion now, and the one that went.

    Raises:
        UsageError: no such version was champion.
        GlueError: its bundle is not what was registered; the alias stays where it is.
    """
    now = store.champion(name)
    chosen = history.taken_back(name, champions(store, name), now, to)
    with tempfile.TemporaryDirectory() as scratch:
        store.download_bundle(name, chosen, Path(scratch))  # checks it
    if now is not None:
        store.add_to_description(name, now, f"* {_now()}, glue rollback: taken back, v{chosen} is champion")
        store.tag(name, now, {history.ROLLED_BACK: _now()})
    move(store, name, chosen, "rollback")
    return chosen, now


def champions(store: Store, name: str) -> list[int]:
    """The versions that were champion and were not rolled back since, in order; the last one is champion now."""
    return history.line([(version, how) for version, how, _ in store.champion_history(name)], store.champion(name))


def move(store: Store, name: str, version: int, how: str) -> None:
    """The alias `champion` to a version, which is challenger no more.

    Noted first: of a move that a crash cut short, the alias tells the truth.
    """
    before = store.champion(name)
    if before is not None and before not in [former for former, *_ in store.champion_history(name)]:
        store.record_champion(name, before, "promote", _now())
    store.record_champion(name, version, how, _now())
    store.set_champion(name, version)
    if store.get_alias(name, CHALLENGER) == version:
        store.remove_alias(name, CHALLENGER)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _skewed(config: Config, root: Path, store: Store, version: int, folder: Path) -> list[str]:
    """What would be served otherwise than it was trained on; a replay that could not run has not passed."""
    from mlops_glue.delivery.skew import replay

    try:
        rows, held, found = replay(config, root, FeatureList.from_dict(files.read_json(folder / "features.json")))
    except GlueError as error:
        return [f"skew: the replay of the online store could not run: {error.message}"]
    if not rows:
        return ["skew: no row of the holdout has all its keys, so nothing could be replayed"]
    store.tag(
        config.model_name,
        version,
        {"glue.skew": f"{len(found)} differences in {rows:,} of the {held:,} rows of the holdout"},
    )
    return found[:3] + ([f"skew: and {len(found) - 3} more differences"] if len(found) > 3 else [])
