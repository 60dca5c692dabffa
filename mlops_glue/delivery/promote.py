"""promote: the alias `champion` goes to a candidate that meets every condition, and to no other; or it goes back."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mlops_glue import bootstrap, files, layout, metrics, tables
from mlops_glue.adapters.mlflow import BUNDLE_DIGEST, Store
from mlops_glue.config import Config
from mlops_glue.dates import timestamps_utc
from mlops_glue.delivery import history
from mlops_glue.delivery.describe import decided, missed
from mlops_glue.delivery.publish import hashes
from mlops_glue.delivery.rows import version_rows
from mlops_glue.delivery.trial import brought
from mlops_glue.errors import GlueError
from mlops_glue.records import FeatureList
from mlops_glue.scoring import Bundle

EVALUATION = "evaluation"  # artifact folder of the run
CHALLENGER = "challenger"
CHANCE = 0.5  # of the order of rows


class TooFew(GlueError):
    """The champion was trained on the rows that it would be compared on."""


@dataclass(frozen=True)
class Verdict:
    """What became of a candidate."""

    version: int
    champion: int | None  # after the decision
    previous: int | None
    refused: list[str] = field(default_factory=list)
    comparison: dict[str, Any] | None = None  # with the champion, on the same holdout


def promote(
    config: Config, root: Path, store: Store, version: int, *, asked: bool = False, alias: str = "champion"
) -> Verdict:
    """Move the alias to the candidate where every condition holds.

    Every threshold is met; the first metric is not worse than the trivial predictor's; the ONNX model is faithful, or
    the model is kept in skops form; the version has a signature; its bundle is the one that was registered; the online
    store gives what it was trained on; of fresh rows it learned more than chance, and they do not turn round what was
    known; its score is at least the champion's, on those rows of the candidate's holdout that the champion was not
    trained on; it was not champion before, but where a person asks for it.

    Args:
        config: of the project.
        root: the project, which has the holdout.
        store: the registry.
        version: the candidate.
        asked: by a person, and so perhaps another version than the project's last result.
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
        here = not asked or _is_here(root, tags)
        folder = brought(store, root, name, version, Path(scratch)) if asked else root / layout.BUNDLE
        evaluation = (
            root / layout.EVALUATION if here else store.download_artifact(name, version, EVALUATION, Path(scratch))
        )
        report, parity = files.read_json(evaluation / "evaluation.json"), files.read_json(folder / "parity.json")
        registered = tags.get(BUNDLE_DIGEST) == files.digest(folder)
        refused = unsound(
            report["thresholds"], parity, signed=store.has_signature(name, version), registered=registered
        )
        if not asked:
            refused += former(version, tags, champions(store, name), champion, alias)
        if config.promote.worse_than_trivial == "refuse":
            refused += _worse_than_trivial(report["task"], report["metrics"])
        compared = None
        if not here and not _same_holdout(root, tags):
            refused.append(f"holdout: that of v{version} is not the one that is here ({_made_by(tags)})")
        else:
            compared, worse = _judged(config, root, store, version, champion, folder, asked=asked)
            refused += worse
        if "fresh" in report:
            refused += on_fresh(report["fresh"]["order"], compared and compared["order"], version, asked=asked)
    return _decided(store, name, Verdict(version, champion, champion, refused, compared), alias, asked=asked)


def unsound(thresholds: list[dict[str, Any]], parity: dict[str, Any], *, signed: bool, registered: bool) -> list[str]:
    """Why a version may not be champion, by what is known of itself."""
    refused = missed(thresholds)
    if not parity["faithful"] and parity["format"] == "onnx":
        refused.append(f"parity: {parity['reason']}")
    if not signed:
        refused.append("signature: the version has none")
    if not registered:
        refused.append("bundle: its digest is not the one that was registered")
    return refused


def former(version: int, tags: dict[str, str], line: list[int], champion: int | None, alias: str) -> list[str]:
    """Why a run may not make a former champion champion again: somebody, or a better version, took its place."""
    if history.ROLLED_BACK in tags:
        return [f"v{version} was rolled back at {tags[history.ROLLED_BACK]}: glue promote {version} takes it anew"]
    if alias == "champion" and champion is not None and version in line:
        return [f"v{version} was champion before v{champion} took its place: glue promote {version} takes it anew"]
    return []


def on_fresh(candidate: dict[str, Any], champion: dict[str, Any] | None, version: int, *, asked: bool) -> list[str]:
    """Why a version that a retraining made may not be champion, by the order in which models put the fresh rows.

    A holdout out of a poisoned feed likes a poisoned model. What it cannot like is a model of random labels; and where
    labels were turned round, the champion puts its rows in the reverse order. A concept may truly have turned round:
    then a person promotes the version.

    Args:
        candidate: what `metrics.ordered` says of it on the fresh rows that were held out.
        champion: the same; None where there is no comparison.
        version: the candidate.
        asked: a person named the version.
    """
    refused = []
    if not _known(candidate["low"]) > CHANCE:
        value = _known(candidate["value"])
        said = "is not defined" if np.isnan(value) else f"is {value:z.4f}, not surely better than chance, {CHANCE}"
        refused.append(f"fresh rows: the order in which v{version} puts the {candidate['rows']:,} held out {said}")
    if not asked and champion is not None and _known(champion["high"]) < CHANCE:
        refused.append(
            f"fresh rows: their labels turn round what was known: the champion puts them in an order of "
            f"{champion['value']:.4f}, by chance {CHANCE}; if the labels are right: glue promote {version}"
        )
    return refused


def _known(value: float | None) -> float:
    """NaN for null, which JSON has for it."""
    return float("nan") if value is None else value


def _judged(
    config: Config, root: Path, store: Store, version: int, champion: int | None, folder: Path, *, asked: bool
) -> tuple[dict[str, Any] | None, list[str]]:
    """What the rows of the holdout say: the comparison with the champion, and why the version is refused."""
    refused = _skewed(config, root, store, version, folder) if (folder / "features.json").is_file() else []
    if champion is None:
        return None, refused
    try:
        compared = _compare(config, root, store, champion, folder)
    except TooFew as error:  # a person may decide without a comparison
        said = f"champion {error.message}: glue promote {version} takes it without a comparison"
        return None, refused if asked else [*refused, said]
    except GlueError as error:  # a comparison that could not run has not passed
        return None, [*refused, f"champion v{champion} could not be scored on this holdout: {error.message}"]
    if not compared["at_least_as_good"]:
        refused.append(
            f"{compared['metric']} {compared['candidate']:.4f} is worse than champion v{champion}'s "
            f"{compared['champion']:.4f} on the same holdout"
        )
    return compared, refused


def _decided(store: Store, name: str, verdict: Verdict, alias: str, *, asked: bool) -> Verdict:
    """Write down what was found, and move the alias where nothing speaks against it."""
    version, now = verdict.version, datetime.now(UTC)
    was = version in [one for one, *_ in store.champion_history(name)]
    found, gone = history.noted(
        store.tags(name, version),
        alias,
        verdict.previous,
        verdict.refused,
        verdict.comparison,
        asked=asked,
        was_champion=was,
        now=now,
    )
    for made in history.verdicts(found):  # before its tag: a crash between the two loses no line
        store.add_to_description(name, version, decided(made))
    store.tag(name, version, found)
    for tag in gone:
        store.untag(name, version, tag)
    if verdict.refused:
        return verdict
    if alias != "champion":
        store.set_alias(name, alias, version)
        return verdict
    move(store, name, version, "promote")
    return Verdict(version, version, verdict.previous, [], verdict.comparison)


def _is_here(root: Path, tags: dict[str, str]) -> bool:
    """Is the version what the project's pipeline made last?"""
    bundle = root / layout.BUNDLE
    return bundle.is_dir() and tags.get(BUNDLE_DIGEST) == files.digest(bundle)


def _same_holdout(root: Path, tags: dict[str, str]) -> bool:
    md5 = hashes(root).get(layout.TEST)
    return md5 is not None and md5 == tags.get("glue.holdout_md5") and (root / layout.TEST).is_file()


def _made_by(tags: dict[str, str]) -> str:
    commit = tags.get("mlflow.source.git.commit")
    return f"git checkout {commit[:12]} && dvc checkout has it" if commit else "no git commit of it is known"


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
    if before is not None and before not in [one for one, *_ in store.champion_history(name)]:
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


def _worse_than_trivial(task: str, scores: dict[str, dict[str, Any]]) -> list[str]:
    """A line where the first metric is worse than that of the target's mean or class shares, as measured.

    The point estimates decide: a model that is only as good by chance has nothing to show for itself. One that is equal
    but for a tie is not worse.
    """
    name, score = next(iter(scores.items()))
    value, trivial = score["value"], score["trivial"]
    if value is None or trivial is None:
        return [f"{name} is not defined on this holdout, so it cannot be held against the trivial predictor's"]
    higher = metrics.METRICS[task][name].higher_is_better
    if metrics.is_at_least(value, trivial, higher_is_better=higher):
        return []
    off = "promote: {worse_than_trivial: accept} takes it"
    return [f"{name} {value:z.4f} is worse than the trivial predictor's {trivial:z.4f} ({off})"]


def _compare(config: Config, root: Path, store: Store, champion: int, mine_in: Path) -> dict[str, Any]:
    """Both models on the same raw rows of the holdout; the difference has a paired bootstrap interval."""
    candidate = Bundle(mine_in)
    schema = candidate.schema
    rows = tables.read_parquet(root / layout.TEST, [layout.ROW, f"target:{schema.target}"])
    held, seen = rows.num_rows, _seen(config, root, store, champion, rows.column(layout.ROW).to_numpy())
    if seen is not None:
        rows = rows.filter(~seen)
    raw = tables.read_parquet(root / config.rows).take(rows.column(layout.ROW))
    truth = rows.column(f"target:{schema.target}").to_numpy()
    with tempfile.TemporaryDirectory() as folder:
        other = Bundle(brought(store, root, config.model_name, champion, Path(folder)))
    if other.schema.class_order != schema.class_order or other.schema.task != schema.task:
        raise GlueError(f"it predicts {other.schema.task} {other.schema.labels or ''}")
    name = config.promote.metric or metrics.default(schema.task)
    metric = metrics.METRICS[schema.task][name]
    rows_of = [raw, _with_its_features(config, root, other, raw)]
    outcomes = [_outcome(bundle, one, truth) for bundle, one in zip((candidate, other), rows_of, strict=True)]
    mine, theirs = (metrics.compute(metric, *one) for one in outcomes)
    drawn = [bootstrap.bootstrap(metric, *one, config.train.seed) for one in outcomes]  # of the same rows, so paired
    low, high = bootstrap.interval(mine - theirs, drawn[0] - drawn[1], len(truth), config.promote.confidence)
    return {
        "version": champion,
        "metric": name,
        "candidate": mine,
        "champion": theirs,
        "low": low,
        "high": high,
        "confidence": config.promote.confidence,
        "rows": len(truth),
        "drawn_rows": bootstrap.sample_rows(len(truth)),
        "seen": None if seen is None else held - len(truth),
        "order": bootstrap.ranking(schema.task, outcomes[1], config.train.seed) if config.split.fresh_after else None,
        "at_least_as_good": metrics.is_at_least(mine, theirs, higher_is_better=metric.higher_is_better),
    }


def _seen(config: Config, root: Path, store: Store, champion: int, holdout: Any) -> Any:
    """For each row of the holdout whether the champion was trained on it; None where that is not known.

    Raises:
        TooFew: it was, on so many that the others are too few to judge by.
    """
    of_champion = version_rows(store, config.model_name, champion)
    found = None if of_champion is None else of_champion.seen(tables.read_parquet(root / layout.TABLE))
    if found is None:
        return None
    seen = found[holdout]
    if seen.any() and (left := int(np.sum(~seen))) < metrics.MIN_ROWS:
        said = f"v{champion} was trained on {seen.sum():,} of the {len(seen):,} rows of this holdout"
        raise TooFew(f"{said}, and {left:,} are too few to compare on")
    return seen


def _with_its_features(config: Config, root: Path, bundle: Bundle, raw: Any) -> Any:
    """The rows with those features that only the champion takes, as they are defined now."""
    if bundle.features is None or not bundle.lacks(raw):
        return raw
    from mlops_glue import features

    taken = [name for name in raw.column_names if name not in bundle.features.columns]
    when = timestamps_utc(raw, config.source.timestamps, bundle.features.day_first)
    return features.with_features(config, root, bundle.features, raw.select(taken), when, as_defined_now=True)


def _outcome(bundle: Bundle, raw: Any, truth: Any) -> tuple[Any, Any, Any]:
    """Truth, label and probability in the form that `metrics` takes."""
    value, probability = bundle.predict(raw, where="holdout")
    if bundle.schema.labels is None:
        return truth, value, None
    return bundle.schema.class_indices(truth), *bundle.indices(value, probability)
