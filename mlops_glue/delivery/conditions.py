"""What a candidate must meet to be champion: each condition gives its reasons to refuse it, none where it holds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import files, layout, metrics
from mlops_glue.adapters.mlflow import BUNDLE_DIGEST
from mlops_glue.delivery import history
from mlops_glue.delivery.compare import Comparison, TooFew, compare
from mlops_glue.delivery.describe import missed
from mlops_glue.errors import GlueError
from mlops_glue.pipeline.fingerprint import hashes
from mlops_glue.records import FeatureList

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store
    from mlops_glue.bootstrap import Ranking
    from mlops_glue.config import Config
    from mlops_glue.pipeline.evaluation import Evaluation, Limit, Score

log = logging.getLogger(__name__)

ANCHOR = "glue.anchor"  # tag of the registered model: a version that no later champion may be worse than
CHANCE = 0.5  # of the order of rows


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
    tags: Mapping[str, str]  # of the version
    bundle: Path
    evaluation: Evaluation
    is_last: bool  # the project's pipeline made it last

    @property
    def has_holdout(self) -> bool:
        """Is the holdout on disk the version's?"""
        md5 = hashes(self.root).get(layout.TEST)
        is_here = md5 is not None and (self.root / layout.TEST).is_file()
        return self.is_last or (is_here and md5 == self.tags.get("glue.holdout_md5"))


def judge(candidate: Candidate) -> tuple[Comparison | None, list[str]]:
    """The comparison with the champion, and why the candidate is refused."""
    name, version, evaluation = candidate.config.model_name, candidate.version, candidate.evaluation
    refused = unsound(
        evaluation["thresholds"],
        files.read_json(candidate.bundle / "parity.json"),
        signed=candidate.store.has_signature(name, version),
        registered=candidate.tags.get(BUNDLE_DIGEST) == files.digest(candidate.bundle),
    )
    if not candidate.by_person:
        champions = history.champions(candidate.store, name)
        refused += former(version, candidate.tags, champions, candidate.champion, candidate.alias)
    if candidate.config.promote.worse_than_trivial == "refuse":
        refused += worse_than_trivial(evaluation["task"], evaluation["metrics"])
    compared = None
    if candidate.has_holdout:
        refused += _skewed(candidate)
        compared, worse = _beside_champion(candidate)
        refused += worse
    else:
        commit = candidate.tags.get("mlflow.source.git.commit")
        where = f"git checkout {commit[:12]} && dvc checkout has it" if commit else "no git commit of it is known"
        refused.append(f"holdout: that of v{version} is not the one that is here ({where})")
    if "fresh" in evaluation:
        order = compared["order"] if compared else None
        refused += on_fresh(evaluation["fresh"]["order"], order, version, by_person=candidate.by_person)
    return compared, refused


def unsound(thresholds: Sequence[Limit], parity: Mapping[str, Any], *, signed: bool, registered: bool) -> list[str]:
    """Its thresholds, the parity of its ONNX model, its signature, and the digest of its bundle."""
    refused = missed(thresholds)
    if not parity["faithful"] and parity["format"] == "onnx":
        refused.append(f"parity: {parity['reason']}")
    if not signed:
        refused.append("signature: the version has none")
    if not registered:
        refused.append("bundle: its digest is not the one that was registered")
    return refused


def former(version: int, tags: Mapping[str, str], line: list[int], champion: int | None, alias: str) -> list[str]:
    """Why a run may not make a former champion champion again: somebody, or a better version, took its place."""
    if history.ROLLED_BACK in tags:
        return [f"v{version} was rolled back at {tags[history.ROLLED_BACK]}: glue promote {version} takes it anew"]
    if alias == "champion" and champion is not None and version in line:
        return [f"v{version} was champion before v{champion} took its place: glue promote {version} takes it anew"]
    return []


def on_fresh(candidate: Ranking, champion: Ranking | None, version: int, *, by_person: bool) -> list[str]:
    """Why a version that a retraining made may not be champion, by the order in which models put the fresh rows.

    A holdout from a poisoned feed likes a poisoned model. It cannot like a model of random labels; and where labels are
    reversed, the champion puts its rows in the reverse order. A concept may truly have reversed: then a person promotes
    the version. Without a comparison nothing is known of the champion.
    """
    refused = []
    if not _known(candidate["low"]) > CHANCE:
        value = _known(candidate["value"])
        problem = "is not defined" if np.isnan(value) else f"is {value:z.4f}, not surely better than chance, {CHANCE}"
        refused.append(f"fresh rows: the order in which v{version} puts the {candidate['rows']:,} held out {problem}")
    if not by_person and champion is not None and _known(champion["high"]) < CHANCE:
        refused.append(
            f"fresh rows: their labels turn round what was known: the champion puts them in an order of "
            f"{champion['value']:.4f}, by chance {CHANCE}; if the labels are right: glue promote {version}"
        )
    return refused


def _known(value: float | None) -> float:
    """NaN for null, which JSON has for it."""
    return float("nan") if value is None else value


def worse_than_trivial(task: str, scores: Mapping[str, Score]) -> list[str]:
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


def _beside_champion(candidate: Candidate) -> tuple[Comparison | None, list[str]]:
    """The comparison with the champion; a comparison that could not run has not passed."""
    champion = candidate.champion
    if champion is None:
        return None, []
    try:
        compared = compare(candidate, champion)
    except TooFew as error:  # a person may decide without a comparison
        problem = f"champion {error.message}: glue promote {candidate.version} takes it without a comparison"
        return None, [] if candidate.by_person else [problem]
    except GlueError as error:
        return None, [f"champion v{champion} could not be scored on this holdout: {error.message}"]
    refused = not_good_enough(compared, candidate.config.promote.rule)
    if (anchor := _beside_anchor(candidate, champion)) is not None:
        compared["anchor"] = anchor
        refused += [f"{line} than the anchor" for line in not_good_enough(anchor, "not_worse")]
    return compared, refused


def _beside_anchor(candidate: Candidate, champion: int) -> Comparison | None:
    """The comparison with the anchor: a row of champions, each a little worse than the last, goes no further than it.

    None where the champion is the anchor, or the anchor can no longer be scored on rows that it was not trained on.
    """
    anchor = candidate.store.get_model_tag(candidate.config.model_name, ANCHOR)
    if anchor is None or int(anchor) in (champion, candidate.version):
        return None
    try:
        return compare(candidate, int(anchor))
    except GlueError as error:
        log.info("not compared with v%s, the anchor: %s", anchor, error.message)
        return None


def becomes_anchor(compared: Comparison | None) -> bool:
    """Is a new champion the one that later candidates are held against too: the first, or one that is surely better?"""
    if compared is None:
        return True
    reference = compared.get("anchor", compared)
    return reference["low"] > reference["slack"]


def not_good_enough(compared: Comparison, rule: str) -> list[str]:
    """Why the rows that both were held against speak against the candidate: by rule not_worse, or better."""
    if compared["finding"] == "better" or (compared["finding"] != "worse" and rule == "not_worse"):
        return []
    scores = (
        f"{compared['metric']} {compared['candidate']:.4f}, champion v{compared['version']} {compared['champion']:.4f}"
    )
    if compared["finding"] == "worse":
        return [f"{scores} on the same holdout: the candidate is worse"]
    return [f"{scores} on the same holdout: no difference is shown, and promote.rule asks for a better one"]


def _skewed(candidate: Candidate) -> list[str]:
    """What would be served otherwise than it was trained on; a replay that could not run has not passed."""
    listed = candidate.bundle / "features.json"
    if not listed.is_file():
        return []
    from mlops_glue.delivery.skew import replay

    try:
        features = FeatureList.from_dict(files.read_json(listed))
        rows, held, found = replay(candidate.config, candidate.root, features)
    except GlueError as error:
        return [f"skew: the replay of the online store could not run: {error.message}"]
    if not rows:
        return ["skew: no row of the holdout has all its keys, so nothing could be replayed"]
    tag = {"glue.skew": f"{len(found)} differences in {rows:,} of the {held:,} rows of the holdout"}
    candidate.store.tag(candidate.config.model_name, candidate.version, tag)
    return found[:3] + ([f"skew: and {len(found) - 3} more differences"] if len(found) > 3 else [])
