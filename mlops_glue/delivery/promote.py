"""promote: the alias `champion` goes to a candidate that meets every condition, and to no other; or it goes back."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_glue import io, layout, metrics
from mlops_glue.adapters.mlflow import BUNDLE_DIGEST, Store
from mlops_glue.config import METRICS, Config
from mlops_glue.delivery.publish import hashes
from mlops_glue.errors import GlueError, UsageError
from mlops_glue.records import FeatureList
from mlops_glue.schema import moments
from mlops_glue.scoring import Bundle

EVALUATION = "evaluation"  # artifact folder of the run
ROLLED_BACK = "glue.rolled_back"  # tag of a version: when it was taken back


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

    Every threshold is met; the ONNX model is faithful, or the model is kept in skops form; the version has a signature;
    its bundle is the one that was registered; the online store gives what it was trained on; its score is at least the
    champion's, on the candidate's holdout; it was not rolled back, but where a person asks for it.

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
        folder = store.bundle(name, version, Path(scratch)) if asked else root / layout.BUNDLE
        evaluation = root / layout.EVALUATION if here else store.artifact(name, version, EVALUATION, Path(scratch))
        report, parity = io.read_json(evaluation / "evaluation.json"), io.read_json(folder / "parity.json")
        refused = [_missed(t) for t in report["thresholds"] if not t["met"]]
        if not parity["faithful"] and parity["format"] == "onnx":
            refused.append(f"parity: {parity['reason']}")
        if not store.has_signature(name, version):
            refused.append("signature: the version has none")
        if tags.get(BUNDLE_DIGEST) != io.digest(folder):
            refused.append("bundle: its digest is not the one that was registered")
        if not asked and ROLLED_BACK in tags:
            refused.append(f"v{version} was rolled back at {tags[ROLLED_BACK]}: glue promote {version} takes it anew")
        if not here and not _same_holdout(root, tags):
            refused.append(f"holdout: that of v{version} is not the one that is here ({_made_by(tags)})")
            return _decided(store, name, Verdict(version, champion, champion, refused), alias)
        return _decided(store, name, _judged(config, root, store, version, champion, folder, refused), alias)


def _judged(
    config: Config, root: Path, store: Store, version: int, champion: int | None, folder: Path, refused: list[str]
) -> Verdict:
    """With what the rows of the holdout say."""
    if (folder / "features.json").is_file():
        refused += _skewed(config, root, store, version, folder)
    compared: dict[str, Any] | None = None
    if champion is not None:
        try:
            compared = _compare(config, root, store, champion, folder)
        except GlueError as error:  # a comparison that could not run has not passed
            refused.append(f"champion v{champion} could not be scored on this holdout: {error.message}")
        else:
            if not compared["at_least_as_good"]:
                refused.append(
                    f"{compared['metric']} {compared['candidate']:.4f} is worse than champion v{champion}'s "
                    f"{compared['champion']:.4f} on the same holdout"
                )
    return Verdict(version, champion if refused else version, champion, refused, compared)


def _decided(store: Store, name: str, verdict: Verdict, alias: str) -> Verdict:
    """Write down what was found, and move the alias where nothing speaks against it."""
    said = {f"glue.compared_{key}": str(value) for key, value in (verdict.comparison or {}).items()}
    store.tag(
        name, verdict.version, said | ({"glue.refused": "; ".join(verdict.refused)[:4000]} if verdict.refused else {})
    )
    if not verdict.refused and alias != "champion":
        store.set_alias(name, alias, verdict.version)
        return replace(verdict, champion=verdict.previous)
    if not verdict.refused:
        for tag in (ROLLED_BACK, "glue.refused"):  # of a former verdict
            store.untag(name, verdict.version, tag)
        move(store, name, verdict.version, "promote")
    return verdict


def _is_here(root: Path, tags: dict[str, str]) -> bool:
    """Is the version what the project's pipeline made last?"""
    bundle = root / layout.BUNDLE
    return bundle.is_dir() and tags.get(BUNDLE_DIGEST) == io.digest(bundle)


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
    now, line = store.champion(name), champions(store, name)
    before = [one for one in line if one != now]
    chosen = to if to is not None else (before[-1] if before else None)
    if chosen is None:
        raise UsageError(f"{name} had no champion before{f' v{now}' if now else ''}", hint="glue promote VERSION")
    if chosen == now:
        raise UsageError(f"{name} v{chosen} is champion already", hint="glue status")
    if chosen not in line:
        raise UsageError(f"{name} v{chosen} was never champion, or was rolled back", hint=f"glue promote {chosen}")
    with tempfile.TemporaryDirectory() as scratch:
        store.bundle(name, chosen, Path(scratch))  # checks it
    if now is not None:
        store.tag(name, now, {ROLLED_BACK: _now()})
    move(store, name, chosen, "rollback")
    return chosen, now


def champions(store: Store, name: str) -> list[int]:
    """The versions that were champion and were not rolled back since, in order; the last one is champion now."""
    line: list[int] = []
    for version, how, _ in store.history(name):
        if how == "rollback" and version in line:
            del line[line.index(version) + 1 :]
        elif not line or line[-1] != version:
            line.append(version)
    now = store.champion(name)
    if now is not None and now in line:
        del line[line.index(now) + 1 :]  # moved by hand
    elif now is not None:
        line.append(now)
    return line


def move(store: Store, name: str, version: int, how: str) -> None:
    """The alias `champion` to a version. Noted first: of a move that a crash cut short, the alias tells the truth."""
    former = store.champion(name)
    if former is not None and former not in [one for one, *_ in store.history(name)]:
        store.note(name, former, "promote", _now())
    store.note(name, version, how, _now())
    store.set_champion(name, version)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _skewed(config: Config, root: Path, store: Store, version: int, folder: Path) -> list[str]:
    """What would be served otherwise than it was trained on; a replay that could not run has not passed."""
    from mlops_glue.delivery.skew import replay

    try:
        rows, found = replay(config, root, FeatureList.from_dict(io.read_json(folder / "features.json")))
    except GlueError as error:
        return [f"skew: the replay of the online store could not run: {error.message}"]
    if not rows:
        return ["skew: no row of the holdout has all its keys, so nothing could be replayed"]
    store.tag(config.model_name, version, {"glue.skew": f"{len(found)} differences in {rows} rows"})
    return found[:3] + ([f"skew: and {len(found) - 3} more differences"] if len(found) > 3 else [])


def _missed(threshold: dict[str, Any]) -> str:
    limit = f"min {threshold['min']}" if threshold["min"] is not None else f"max {threshold['max']}"
    value = threshold["value"]
    if value is None:
        return f"{threshold['metric']} is not defined on this holdout, so threshold {limit} is not met"
    return f"{threshold['metric']} {value:.4f} misses threshold {limit}"


def _compare(config: Config, root: Path, store: Store, champion: int, mine_in: Path) -> dict[str, Any]:
    """Both models on the same raw rows of the holdout; the difference has a paired bootstrap interval."""
    candidate = Bundle(mine_in)
    schema = candidate.schema
    rows = io.read_parquet(root / layout.TEST, [layout.ROW, f"target:{schema.target}"])
    raw = io.read_parquet(root / config.rows).take(rows.column(layout.ROW))
    truth = rows.column(f"target:{schema.target}").to_numpy()
    with tempfile.TemporaryDirectory() as folder:
        other = Bundle(store.bundle(config.model_name, champion, Path(folder)))
    if other.schema.order != schema.order or other.schema.task != schema.task:
        raise GlueError(f"it predicts {other.schema.task} {other.schema.labels or ''}")
    name = config.promote.metric or METRICS[schema.task][0]
    metric = metrics.table(schema.task, len(schema.order))[name]
    rows_of = [raw, _with_its_features(config, root, other, raw)]
    outcomes = [_outcome(bundle, one, truth) for bundle, one in zip((candidate, other), rows_of, strict=True)]
    mine, theirs = (metrics.compute(metric, *one) for one in outcomes)
    drawn = [metrics.draws(metric, *one, config.train.seed) for one in outcomes]  # of the same rows, so paired
    low, high = metrics.interval(mine - theirs, drawn[0] - drawn[1], len(truth), config.promote.confidence)
    return {
        "version": champion,
        "metric": name,
        "candidate": mine,
        "champion": theirs,
        "low": low,
        "high": high,
        "confidence": config.promote.confidence,
        "at_least_as_good": metrics.is_at_least(mine, theirs, higher_is_better=metric.higher_is_better),
    }


def _with_its_features(config: Config, root: Path, bundle: Bundle, raw: Any) -> Any:
    """The rows with those features that only the champion takes, as they are defined now."""
    if bundle.features is None or not bundle.lacks(raw):
        return raw
    from mlops_glue import features

    taken = [name for name in raw.column_names if name not in bundle.features.columns]
    when = moments(raw, config.source.timestamps, bundle.features.day_first)
    return features.with_features(config, root, bundle.features, raw.select(taken), when, as_defined_now=True)


def _outcome(bundle: Bundle, raw: Any, truth: Any) -> tuple[Any, Any, Any]:
    """Truth, label and probability in the form that `metrics` takes."""
    value, probability = bundle.predict(raw, where="holdout")
    if bundle.schema.labels is None:
        return truth, value, None
    return bundle.schema.class_indices(truth), *bundle.indices(value, probability)
