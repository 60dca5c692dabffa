"""What was decided of a version, and who was champion when: a decision is added, and none is rewritten."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

from mlops_glue.adapters.mlflow import FINGERPRINT
from mlops_glue.errors import ToolError, UsageError

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store
    from mlops_glue.delivery.compare import Comparison
    from mlops_glue.delivery.condition import Condition

VERDICT = "glue.verdict."  # tags of a version: a decision each, by its time
ROLLED_BACK = "glue.rolled_back"  # tag of a version: when it was rolled back; of the model, for each result: below
PROMOTION = "promotion.json"  # artifact of the version's run
ALWAYS = {"time", "alias", "by", "champion", "refused", "compared"}  # in each decision
STAMP = "%Y%m%dT%H%M%S%f"


@dataclass(frozen=True)
class Verdict:
    """A decision on a candidate."""

    version: int
    champion: int | None  # after the decision
    previous: int | None
    refused: list[str] = field(default_factory=list)
    comparison: Comparison | None = None  # with the champion, on the same holdout
    conditions: list[Condition] = field(default_factory=list)  # all that was looked at


class Decision(TypedDict):
    """A decision as a tag keeps it."""

    time: str  # ISO 8601, UTC
    alias: str
    by: str  # run or promote
    champion: int | None  # before the decision
    refused: list[str]
    compared: Comparison | None
    conditions_sha256: NotRequired[str]  # of the list of conditions in `promotion.json`
    forced: NotRequired[str]  # a person promoted it all the same, for this reason


class Promotion(Decision):
    """A decision as `promotion.json` keeps it, with every condition."""

    conditions: list[Condition]
    reason: str | None  # what the person says


def decisions(tags: Mapping[str, str]) -> list[Decision]:
    """The decisions on a version, in order.

    Raises:
        ToolError: somebody wrote over one.
    """
    found = []
    for key in sorted(tags):
        if key.startswith(VERDICT):
            made = _decision(tags[key])
            if made is None or not made.keys() >= ALWAYS:
                raise ToolError(f"the registry's tag {key} is no decision: somebody wrote over it", hint="glue audit")
            found.append(cast("Decision", made))
    return found


def _decision(text: str) -> dict[str, Any] | None:
    """What a tag says; None where somebody wrote over it."""
    with contextlib.suppress(ValueError):
        made = json.loads(text)
        return made if isinstance(made, dict) else None
    return None


def evidence(tags: Mapping[str, str], kept: Collection[str] | None = None) -> list[str]:
    """The hash of each record that a version was, or was not, promoted on, in order: what an audit entry refers to.

    The SHA-256 of the record as canonical JSON, in which the hash of its conditions is. Whatever is added to what a
    decision rests on is added here.

    Args:
        tags: of the version.
        kept: the hash of each list of conditions in its `promotion.json`; a decision whose conditions are not there is
            left out. None: nobody looked.
    """
    made = [_decision(tags[key]) for key in sorted(tags) if key.startswith(VERDICT)]
    return [
        digest(one)
        for one in made
        if one is not None and (kept is None or one.get("conditions_sha256") in (None, *kept))
    ]


def conditions_of(decision: Decision, kept: Sequence[Promotion]) -> list[Condition]:
    """The conditions of a decision, in what `promotion.json` keeps; none where they are not there as they were."""
    named = decision.get("conditions_sha256")
    return next((one["conditions"] for one in kept if named and digest(one["conditions"]) == named), [])


def digest(record: Any) -> str:
    """SHA-256 of a record, whatever its spaces and the order of its keys."""
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def refusal(tags: Mapping[str, str]) -> str | None:
    """Why a version is refused, by a person's last decision, else by the first one; None where it is not."""
    made = decisions(tags)
    by_person = [decision for decision in made if decision["by"] == "promote"]
    counts = by_person[-1:] or made[:1]
    return "; ".join(counts[0]["refused"]) or None if counts and "forced" not in counts[0] else None


def decision_tag(
    tags: Mapping[str, str], verdict: Verdict, alias: str, *, by_person: bool, forced: str | None = None
) -> dict[str, str]:
    """The tag that records a decision on an alias; none where it is the version's last decision once more."""
    now, before = datetime.now(UTC), decisions(tags)
    decision: Decision = {
        "time": now.isoformat(timespec="seconds"),
        "alias": alias,
        "by": "promote" if by_person else "run",
        "champion": verdict.previous,
        "refused": verdict.refused,
        "compared": verdict.comparison,
    }
    if forced is not None and verdict.refused:
        decision["forced"] = forced
    if before and _without_numbers(before[-1]) == _without_numbers(json.loads(json.dumps(decision))):
        return {}
    if verdict.conditions:
        decision["conditions_sha256"] = digest(verdict.conditions)
    while (key := VERDICT + now.strftime(STAMP)) in tags:
        now += timedelta(microseconds=1)
    return {key: json.dumps(decision)}


def _without_numbers(decision: Mapping[str, Any]) -> dict[str, Any]:
    """A decision without what is another each time: when it was, and how fast the model was."""
    return {key: value for key, value in decision.items() if key not in ("time", "conditions_sha256")}


def keep(
    store: Store, name: str, version: int, decision: Decision, conditions: list[Condition], reason: str | None
) -> None:
    """Add a decision with its conditions to the version's `promotion.json`."""
    made: Promotion = {**decision, "conditions": conditions, "reason": reason}
    text = json.dumps([*promotions(store, name, version), made], indent=1)
    store.write_artifact(name, version, PROMOTION, text + "\n")


def promotions(store: Store, name: str, version: int) -> list[Promotion]:
    """Every decision on a version with its conditions, in order; those of a former glue are not there.

    Raises:
        ToolError: somebody wrote over the file.
    """
    text = store.read_artifact(name, version, PROMOTION)
    with contextlib.suppress(ValueError):
        found = json.loads(text) if text is not None else []
        if isinstance(found, list) and all(isinstance(one, dict) and "conditions" in one for one in found):
            return found
    raise ToolError(f"{PROMOTION} of {name} v{version} is not what glue wrote: somebody replaced it", hint="glue audit")


def note_rolled_back(store: Store, name: str, version: int, when: str) -> None:
    """Mark a version, and its result in the registered model: the version may be deleted, and the result made again."""
    store.tag(name, version, {ROLLED_BACK: when})
    if result := store.tags(name, version).get(FINGERPRINT):
        store.set_model_tag(name, f"{ROLLED_BACK}.{result}", f"{when} as v{version}")


def forget_rolled_back(store: Store, name: str, version: int) -> None:
    """A person has promoted it again."""
    store.untag(name, version, ROLLED_BACK)
    if result := store.tags(name, version).get(FINGERPRINT):
        store.remove_model_tag(name, f"{ROLLED_BACK}.{result}")


def rolled_back_before(store: Store, name: str, fingerprint: str) -> dict[str, str]:
    """The tags of a new version by which its result stays rolled back, where it was that as another version."""
    found = store.model_tags_of(name).get(f"{ROLLED_BACK}.{fingerprint}")
    return {} if found is None else {ROLLED_BACK: found}


def champions(store: Store, name: str) -> list[int]:
    """The versions that were champion and were not rolled back since, in order; the last one is champion now."""
    found: list[int] = []
    for version, how, _ in store.champion_history(name):
        if how == "rollback":
            found = _up_to(found, version)
        elif not found or found[-1] != version:
            found.append(version)
    now = store.champion(name)  # a person may have moved the alias by other means
    return found if now is None else _up_to(found, now)


def _up_to(line: list[int], version: int) -> list[int]:
    """A line that ends with a version: cut after its last turn, or with it at the end where it had none."""
    if version not in line:
        return [*line, version]
    return line[: len(line) - line[::-1].index(version)]


def rollback_target(name: str, former: list[int], now: int | None, to: int | None, there: Collection[int]) -> int:
    """The version that a rollback puts back: the one that is named (`to`), or the last one of `champions` before.

    Raises:
        UsageError: no such version was champion, or it is champion, or is none of those that are still there.
    """
    before = [version for version in former if version != now]
    chosen = to if to is not None else (before[-1] if before else None)
    if chosen is None:
        raise UsageError(f"{name} had no champion before{f' v{now}' if now else ''}", hint="glue promote VERSION")
    if chosen == now:
        raise UsageError(f"{name} v{chosen} is champion already", hint="glue status")
    if chosen not in former:
        raise UsageError(f"{name} v{chosen} was never champion, or was rolled back", hint=f"glue promote {chosen}")
    if chosen not in there:
        left = [version for version in before if version in there]
        hint = f"glue rollback {left[-1]}" if left else "glue promote VERSION"
        raise UsageError(f"{name} v{chosen} was champion, and is no longer in the registry", hint=hint)
    return chosen
