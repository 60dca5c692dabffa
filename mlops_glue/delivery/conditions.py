"""What a candidate must meet to be champion: each condition says whether it holds, by which numbers, and why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import files, layout, measures, metrics
from mlops_glue.adapters.mlflow import BUNDLE_DIGEST
from mlops_glue.delivery import contract, history
from mlops_glue.delivery.compare import Comparison, Incomparable, Pair, TooFew, compare, latencies_ms
from mlops_glue.delivery.condition import (
    Condition,
    beside,
    condition,
    few,
    former,
    of_bundle,
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

ANCHOR = "glue.anchor"  # tag of the registered model: a version that no later champion may be worse than
VALIDATION = "validation"  # artifact folder of a version's run
NO_CHAMPION = "there is no champion"
GONE = "gone"  # what was found of an anchor whose version, or bundle, is no longer there


@dataclass(frozen=True)
class Candidate:
    """A version that may become champion, and what it is judged by."""

    config: Config
    root: Path
    store: Store
    version: int
    alias: str  # that it is to get
    champion: int | None  # now
    by_person: bool  # a person named the version, which may be another than the project's last result
    accepts_contract: bool  # the person knows that callers break
    tags: Mapping[str, str]  # of the version
    bundle: Path
    evaluation: Evaluation
    is_last: bool  # the project's pipeline made it last
    scratch: Path  # a folder for what is fetched

    @property
    def has_holdout(self) -> bool:
        """Is the holdout on disk the version's?"""
        md5 = hashes(self.root).get(layout.TEST)
        is_here = md5 is not None and (self.root / layout.TEST).is_file()
        return self.is_last or (is_here and md5 == self.tags.get("glue.holdout_md5"))

    @cached_property
    def model(self) -> Bundle:
        """The candidate's model."""
        return Bundle(self.bundle, trust=self.config.package.trust)

    def fetched(self, version: int) -> Bundle:
        """Another version's model.

        Raises:
            GlueError: it is not what was registered, or does not answer.
        """
        folder = self.scratch / f"v{version}"
        folder.mkdir(exist_ok=True)
        found = brought(self.store, self.root, self.config.model_name, version, folder)
        return Bundle(found, trust=self.config.package.trust)


def judge(candidate: Candidate) -> tuple[Comparison | None, list[Condition]]:
    """The comparison with the champion, and every condition."""
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
        commit = candidate.tags.get("mlflow.source.git.commit")
        where = f"git checkout {commit[:12]} && dvc checkout has it" if commit else "no git commit of it is known"
        problem = f"holdout: that of v{version} is not the one that is here ({where})"
        found.append(condition("holdout", False, problem))
    compared, beside = _beside_champion(candidate)
    found += beside
    if "fresh" in evaluation:
        order = compared["order"] if compared else None
        found += of_fresh(evaluation["fresh"]["order"], order, version, by_person=candidate.by_person)
    return compared, found


def _validation(candidate: Candidate) -> Path | None:
    """The folder of the version's validation; None where nothing is known of it."""
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
        return condition("not taken back", None, "a person names the version")
    champions = history.champions(candidate.store, candidate.config.model_name)
    why = former(candidate.version, candidate.tags, champions, candidate.champion, candidate.alias)
    return condition("not taken back", why is None, why or "")


def _beside_champion(candidate: Candidate) -> tuple[Comparison | None, list[Condition]]:
    """The comparison with the champion, and all that is measured beside it."""
    champion, rest = candidate.champion, ("champion", "anchor", "slices", "contract", "shadow")
    if champion is None:
        return None, [*(condition(name, None, NO_CHAMPION) for name in rest), _latency(candidate)]
    try:
        other = candidate.fetched(champion)
    except GlueError as error:
        problem = f"champion v{champion} could not be scored on this holdout: {error.message}"
        unknown = [condition(name, None, f"champion v{champion} cannot be loaded") for name in rest[1:]]
        return None, [condition("champion", False, problem), *unknown, _latency(candidate)]
    changed = _contract(candidate, other)
    beside, pair = _on_the_same_rows(candidate, champion, other)
    found = [*beside, changed, _latency(candidate, other), _shadow(candidate, champion)]
    return pair.comparison if pair else None, found


def _on_the_same_rows(candidate: Candidate, champion: int, other: Bundle) -> tuple[list[Condition], Pair | None]:
    """The conditions champion, anchor and slices; a comparison that could not run has not passed."""

    def unknown(holds: bool | None, why: str) -> tuple[list[Condition], None]:
        rest = [condition(name, None, "nothing was compared") for name in ("anchor", "slices")]
        return [condition("champion", holds, why), *rest], None

    if not candidate.has_holdout:
        return unknown(None, "the holdout is not here")
    try:
        pair = compare(candidate, champion, other)
    except TooFew as error:  # a person may decide without a comparison
        problem = f"champion {error.message}: glue promote {candidate.version} takes it without a comparison"
        return unknown(None if candidate.by_person else False, problem)
    except GlueError as error:
        problem = f"champion v{champion} could not be scored on this holdout: {error.message}"
        accepted = isinstance(error, Incomparable) and candidate.accepts_contract
        return unknown(None if accepted else False, problem)
    compared, config = pair.comparison, candidate.config
    found = [beside("champion", compared, config.promote.rule, f"champion v{champion}")]
    found.append(_beside_anchor(candidate, champion, compared))
    values = evaluations.slice_values(config, pair.raw)
    schema, by = candidate.model.schema, compared["metric"]
    metric = measures.find(config, schema, candidate.root, by)
    return [*found, of_slices(config, schema.task, metric, compared, values, pair.mine, pair.theirs)], pair


def _beside_anchor(candidate: Candidate, champion: int, compared: Comparison) -> Condition:
    """Beside the anchor: a row of champions, each a little worse than the last, goes no further than it.

    `compared` gets the comparison. Where the anchor is gone a run is refused, and a person may go on without it. One
    that is there, and can no longer be scored on rows that it was not trained on, decides nothing.
    """
    store, name, version = candidate.store, candidate.config.model_name, candidate.version
    tag = store.get_model_tag(name, ANCHOR)
    if tag is None or tag in (str(champion), str(version)):
        return condition("anchor", None, "there is none" if tag is None else f"v{tag}, the anchor, is compared already")

    def gone(why: str) -> Condition:
        problem = f"anchor v{tag}, which no champion may be worse than, {why}"
        way = f"glue promote {version} makes v{version} the anchor"
        return condition("anchor", None if candidate.by_person else False, f"{problem}: {way}", value=GONE)

    if tag not in map(str, store.versions(name)):
        return gone("is no longer in the registry")
    try:
        other = candidate.fetched(int(tag))
    except DataError as error:
        return gone(f"cannot be loaded: {error.message}")
    except GlueError as error:  # another time it may be
        return condition("anchor", False, f"anchor v{tag} cannot be loaded: {error.message}")
    try:
        found = compare(candidate, int(tag), other).comparison
    except GlueError as error:
        return condition("anchor", None, f"anchor v{tag} is not compared: {error.message}")
    compared["anchor"] = found
    return beside("anchor", found, "not_worse", f"champion v{tag}", " than the anchor")


def becomes_anchor(compared: Comparison | None, conditions: Iterable[Condition] = ()) -> bool:
    """Is a new champion the one that later candidates are held against too?

    The first one is, and one that is surely better, and one that a person promotes where the anchor is gone.
    """
    if compared is None or any((one["name"], one["value"]) == ("anchor", GONE) for one in conditions):
        return True
    reference = compared.get("anchor", compared)
    return reference["low"] > reference["slack"]


def _contract(candidate: Candidate, other: Bundle) -> Condition:
    """Do callers of the champion go on as before?"""
    mine = candidate.model
    broken = contract.broken(other.schema, mine.schema, other.features, mine.features)
    if not broken:
        return condition("contract", True)
    detail = f"contract: callers break: {few(broken)}"
    if candidate.accepts_contract:
        return condition("contract", True, f"{detail}; accepted by --accept-contract-change", value=len(broken))
    command = f"glue promote {candidate.version} --accept-contract-change takes it"
    holds = False if candidate.alias == "champion" else None  # a challenger answers nobody
    return condition("contract", holds, f"{detail}; {command}", value=len(broken), limit=0)


def _latency(candidate: Candidate, champion: Bundle | None = None) -> Condition:
    """How long the packaged model takes for a row, beside the champion where there is one."""
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
        return condition("latency", None, f"{detail}; promote.max_latency_ms sets no limit", value=mine)
    return condition("latency", mine <= limit, f"{detail}, at most {limit:g} ms", value=mine, limit=limit)


def _shadow(candidate: Candidate, champion: int) -> Condition:
    """How often a shadow of the candidate said what the champion answered."""
    config, limit = candidate.config, candidate.config.promote.max_disagreement
    if config.serve.shadow is None or config.serve.prediction_log is None:
        return condition("shadow", None, "serve has no shadow with a prediction_log")
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
        return condition("shadow", None, f"{detail}; promote.max_disagreement sets no limit", value=difference)
    return condition("shadow", difference <= limit, f"{detail}, at most {limit:g}", value=difference, limit=limit)


def _skewed(candidate: Candidate) -> Condition:
    """What would be served otherwise than it was trained on; a replay that could not run has not passed."""
    listed = candidate.bundle / "features.json"
    if not listed.is_file():
        return condition("skew", None, "no feature comes from Feast")
    from mlops_glue.delivery.skew import replay

    try:
        features = FeatureList.from_dict(files.read_json(listed))
        rows, held, found = replay(candidate.config, candidate.root, features)
    except GlueError as error:
        return condition("skew", False, f"skew: the replay of the online store could not run: {error.message}")
    if not rows:
        return condition("skew", False, "skew: no row of the holdout has all its keys, so nothing could be replayed")
    summary = f"{len(found)} differences in {rows:,} of the {held:,} rows of the holdout"
    candidate.store.tag(candidate.config.model_name, candidate.version, {"glue.skew": summary})
    return condition("skew", not found, few(found) if found else summary, value=len(found), limit=0)
