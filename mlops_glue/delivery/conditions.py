"""The conditions that a candidate must meet to become champion, each with its numbers and the reason for a refusal."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import files, layout, measures, metrics
from mlops_glue.adapters import git
from mlops_glue.adapters.mlflow import BUNDLE_DIGEST
from mlops_glue.delivery import contract, history
from mlops_glue.delivery.compare import Comparison, Incomparable, Pair, TooFew, compare, latencies_ms
from mlops_glue.delivery.condition import (
    Condition,
    condition,
    few,
    former,
    of_bundle,
    of_comparison,
    of_fresh,
    of_leaks,
    of_parity,
    of_slices,
    of_thresholds,
    of_trivial,
    of_validation,
)
from mlops_glue.delivery.trial import brought
from mlops_glue.errors import ConfigError, DataError, GlueError
from mlops_glue.pipeline import evaluation as evaluations
from mlops_glue.pipeline.fingerprint import hashes
from mlops_glue.records import FeatureList
from mlops_glue.scoring import Bundle

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store
    from mlops_glue.config import Config
    from mlops_glue.pipeline.evaluation import Evaluation

log = logging.getLogger(__name__)

ANCHOR = "glue.anchor"  # tag of the registered model: a version that no later champion may be worse than
VALIDATION = "validation"  # artifact folder of a version's run
NO_CHAMPION = "there is no champion"
GONE = "gone"  # what was found of an anchor whose version, or bundle, is no longer there


@dataclass(frozen=True)
class Candidate:
    """A version that may become champion, and the data that it is judged by."""

    config: Config
    root: Path
    store: Store
    version: int
    alias: str  # the alias to move to it
    champion: int | None  # the current champion
    by_person: bool  # a person named the version; it need not be the project's last result
    accepts_contract: bool  # the person accepts that callers break
    tags: Mapping[str, str]  # of the version
    bundle: Path
    evaluation: Evaluation
    is_last: bool  # it is the pipeline's last result
    scratch: Path  # a folder for downloads

    @property
    def has_holdout(self) -> bool:
        """Whether the holdout on disk belongs to the version."""
        md5 = hashes(self.root).get(layout.TEST)
        is_here = md5 is not None and (self.root / layout.TEST).is_file()
        return self.is_last or (is_here and md5 == self.tags.get("glue.holdout_md5"))

    @cached_property
    def model(self) -> Bundle:
        """The candidate's model."""
        return Bundle(self.bundle, trust=self.config.package.trust)

    def fetched(self, version: int) -> Bundle:
        """Fetch another version's model.

        Raises:
            GlueError: the model is not the registered model, or does not answer.
        """
        folder = self.scratch / f"v{version}"
        folder.mkdir(exist_ok=True)
        found = brought(self.store, self.root, self.config.model_name, version, folder)
        return Bundle(found, trust=self.config.package.trust)


def judge(candidate: Candidate) -> tuple[Comparison | None, list[Condition]]:
    """Return the comparison with the champion, and all conditions."""
    config, version, evaluation = candidate.config, candidate.version, candidate.evaluation
    found = [
        of_validation(_validation(candidate)),
        *of_thresholds(evaluation["thresholds"]),
        of_parity(files.read_json(candidate.bundle / "parity.json")),
        *of_bundle(
            signed=candidate.store.has_signature(config.model_name, version),
            registered=candidate.tags.get(BUNDLE_DIGEST) == files.digest(candidate.bundle),
        ),
        _former(candidate),
        of_trivial(evaluation["task"], evaluation["metrics"], config.promote.worse_than_trivial),
        of_leaks(evaluation, config.promote.leak),
    ]
    if candidate.has_holdout:
        found.append(_skewed(candidate))
    else:
        found.append(_other_holdout(candidate))
    compared, relative = _against_champion(candidate)
    found += relative
    if "fresh" in evaluation:
        order = compared["order"] if compared else None
        found += of_fresh(evaluation["fresh"]["order"], order, version, by_person=candidate.by_person)
    return compared, found


def _other_holdout(candidate: Candidate) -> Condition:
    """Return the condition that the holdout is not the version's, with how to restore it.

    The commit of the code that ran is often an older one than the commit with the results.
    """
    version = candidate.version
    lock = candidate.store.read_artifact(candidate.config.model_name, version, "dvc.lock")
    commit = git.commit_with(candidate.root, "dvc.lock", lock) if lock is not None else None
    forced = f"glue promote {version} --force --reason 'why'"
    way = f"no branch has a commit with its dvc.lock; to promote it without a comparison: {forced}"
    if commit is not None:
        way = f"to restore it: git checkout {commit[:12]} && dvc checkout"
    return condition("holdout", False, f"holdout: the current holdout is not that of v{version} ({way})")


def _validation(candidate: Candidate) -> Path | None:
    """Return the folder with the version's validation; None if there is none."""
    if candidate.is_last:
        return candidate.root / layout.VALIDATION
    try:
        return candidate.store.download_artifact(
            candidate.config.model_name, candidate.version, VALIDATION, candidate.scratch
        )
    except GlueError:
        return None


def _former(candidate: Candidate) -> Condition:
    if candidate.by_person:
        return condition("not superseded", None, "a person named the version")
    champions = history.champions(candidate.store, candidate.config.model_name)
    why = former(candidate.version, candidate.tags, champions, candidate.champion, candidate.alias)
    return condition("not superseded", why is None, why or "")


def _against_champion(candidate: Candidate) -> tuple[Comparison | None, list[Condition]]:
    """Return the comparison with the champion, and the conditions relative to it."""
    champion, rest = candidate.champion, ("champion", "anchor", "slices", "contract", "shadow")
    if champion is None:
        lost = history.lost_champion(candidate.store, candidate.config.model_name)
        if lost is not None:
            log.warning("warning: %s: v%d is compared with no champion", lost, candidate.version)
        return None, [*(condition(name, None, lost or NO_CHAMPION) for name in rest), _latency(candidate)]
    try:
        other = candidate.fetched(champion)
    except GlueError as error:
        problem = f"champion v{champion} could not be scored on this holdout: {error.message}"
        unknown = [condition(name, None, f"champion v{champion} cannot be loaded") for name in rest[1:]]
        return None, [condition("champion", False, problem), *unknown, _latency(candidate)]
    changed = _contract(candidate, other)
    relative, pair = _on_the_same_rows(candidate, champion, other)
    found = [*relative, changed, _latency(candidate, other), _shadow(candidate, champion)]
    return pair.comparison if pair else None, found


def _on_the_same_rows(candidate: Candidate, champion: int, other: Bundle) -> tuple[list[Condition], Pair | None]:
    """Check the conditions champion, anchor and slices. A comparison that could not run counts as not passed."""

    def unknown(holds: bool | None, why: str) -> tuple[list[Condition], None]:
        rest = [condition(name, None, "no comparison") for name in ("anchor", "slices")]
        return [condition("champion", holds, why), *rest], None

    if not candidate.has_holdout:
        return unknown(None, "the version's holdout is not available")
    try:
        pair = compare(candidate, champion, other)
    except TooFew as error:  # a person may decide without a comparison
        problem = f"champion {error.message}; to promote without a comparison: glue promote {candidate.version}"
        return unknown(None if candidate.by_person else False, problem)
    except GlueError as error:
        problem = f"champion v{champion} could not be scored on this holdout: {error.message}"
        accepted = isinstance(error, Incomparable) and candidate.accepts_contract
        return unknown(None if accepted else False, problem)
    compared, config = pair.comparison, candidate.config
    found = [of_comparison("champion", compared, config.promote.rule, f"champion v{champion}")]
    found.append(_against_anchor(candidate, champion, compared))
    values = evaluations.slice_values(config, pair.raw)
    schema, by = candidate.model.schema, compared["metric"]
    metric = measures.find(config, schema, candidate.root, by)
    return [*found, of_slices(config, schema.task, metric, compared, values, pair.mine, pair.theirs)], pair


def _against_anchor(candidate: Candidate, champion: int, compared: Comparison) -> Condition:
    """Compare with the anchor, which limits a slow decline over many champions, each slightly worse than the last.

    The comparison is added to `compared`. If the anchor no longer exists, a run is refused; a person may continue
    without it. If it exists but cannot be scored on rows that it was not trained on, the condition is not applied.
    """
    store, name, version = candidate.store, candidate.config.model_name, candidate.version
    tag = store.get_model_tag(name, ANCHOR)
    if tag is None or tag in (str(champion), str(version)):
        why = "there is no anchor" if tag is None else f"the anchor, v{tag}, is one of the two versions compared"
        return condition("anchor", None, why)

    def gone(why: str) -> Condition:
        problem = f"anchor v{tag}, which no champion may be worse than, {why}"
        way = f"to make v{version} the anchor: glue promote {version}"
        return condition("anchor", None if candidate.by_person else False, f"{problem}; {way}", value=GONE)

    if tag not in map(str, store.versions(name)):
        return gone("is no longer in the registry")
    try:
        other = candidate.fetched(int(tag))
    except DataError as error:
        return gone(f"cannot be loaded: {error.message}")
    except GlueError as error:  # a later attempt may succeed
        return condition("anchor", False, f"anchor v{tag} cannot be loaded: {error.message}")
    try:
        found = compare(candidate, int(tag), other).comparison
    except GlueError as error:
        return condition("anchor", None, f"not compared with anchor v{tag}: {error.message}")
    compared["anchor"] = found
    return of_comparison("anchor", found, "not_worse", f"champion v{tag}", " than the anchor")


def becomes_anchor(compared: Comparison | None, conditions: Iterable[Condition] = ()) -> bool:
    """Whether a new champion becomes the anchor, which later candidates are also compared with.

    It does if it is the first champion, if it is clearly better, or if a person promotes it and the anchor is gone.
    """
    if compared is None or any((one["name"], one["value"]) == ("anchor", GONE) for one in conditions):
        return True
    reference = compared.get("anchor", compared)
    return reference["low"] > reference["slack"]


def _contract(candidate: Candidate, other: Bundle) -> Condition:
    """Check that the candidate does not break callers of the champion."""
    mine = candidate.model
    broken = contract.broken(other.schema, mine.schema, other.features, mine.features)
    if not broken:
        return condition("contract", True)
    detail = f"contract: breaks callers: {few(broken)}"
    if candidate.accepts_contract:
        return condition("contract", True, f"{detail}; accepted by --accept-contract-change", value=len(broken))
    command = f"to accept it: glue promote {candidate.version} --accept-contract-change"
    holds = False if candidate.alias == "champion" else None  # a challenger has no callers
    return condition("contract", holds, f"{detail}; {command}", value=len(broken), limit=0)


def _latency(candidate: Candidate, champion: Bundle | None = None) -> Condition:
    """Check the packaged model's latency for one row, with the champion's for comparison."""
    limit = candidate.config.promote.max_latency_ms
    try:
        models = [candidate.model] if champion is None else [candidate.model, champion]
        mine, *theirs = latencies_ms(models)
    except GlueError as error:
        problem = f"latency: could not be measured: {error.message}"
        return condition("latency", None if limit is None else False, problem, limit=limit)
    detail = f"latency: {mine:.3g} ms for a row (median, in process)"
    detail += f", champion v{candidate.champion} {theirs[0]:.3g} ms" if theirs else ""
    if limit is None:
        return condition("latency", None, f"{detail}; promote.max_latency_ms is not set", value=mine)
    return condition("latency", mine <= limit, f"{detail}, limit {limit:g} ms", value=mine, limit=limit)


def _shadow(candidate: Candidate, champion: int) -> Condition:
    """Check how often the candidate, as a shadow, disagreed with the champion."""
    config, limit = candidate.config, candidate.config.promote.max_disagreement
    if config.serve.shadow is None or config.serve.prediction_log is None:
        return condition("shadow", None, "serve.shadow and serve.prediction_log are not both set")
    from mlops_glue.delivery.shadow import agreement

    labels = candidate.evaluation["task"] != "regression"
    try:
        difference, rows = agreement(config, candidate.root, champion, candidate.version, labels=labels)
    except (GlueError, ConfigError) as error:
        problem = f"shadow: the prediction log cannot be read: {error}"
        return condition("shadow", None if limit is None else False, problem, limit=limit)
    if rows < metrics.MIN_ROWS:
        return condition("shadow", None, f"v{candidate.version} scored {rows} rows as a shadow of v{champion}: too few")
    what = f"{difference:.2%} of the labels differ" if labels else f"the mean difference is {difference:.4g}"
    detail = f"shadow: {what} from champion v{champion}'s on {rows:,} rows of shadow traffic"
    if limit is None:
        return condition("shadow", None, f"{detail}; promote.max_disagreement is not set", value=difference)
    return condition("shadow", difference <= limit, f"{detail}, limit {limit:g}", value=difference, limit=limit)


def _skewed(candidate: Candidate) -> Condition:
    """Check for differences between trained and served features. A replay that could not run counts as not passed."""
    listed = candidate.bundle / "features.json"
    if not listed.is_file():
        return condition("skew", None, "the model has no features from Feast")
    from mlops_glue.delivery.skew import replay

    try:
        features = FeatureList.from_dict(files.read_json(listed))
        rows, held, found = replay(candidate.config, candidate.root, features)
    except GlueError as error:
        return condition("skew", False, f"skew: the replay through the online store could not run: {error.message}")
    if not rows:
        return condition("skew", False, "skew: no holdout row has all its keys, so none could be replayed")
    summary = f"{len(found)} differences in {rows:,} of the {held:,} holdout rows"
    candidate.store.tag(candidate.config.model_name, candidate.version, {"glue.skew": summary})
    return condition("skew", not found, few(found) if found else summary, value=len(found), limit=0)
