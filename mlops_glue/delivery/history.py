"""The decisions on each version, and the champions over time. Decisions are added and never changed."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

from mlops_glue.errors import ToolError, UsageError

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store
    from mlops_glue.delivery.compare import Comparison
    from mlops_glue.delivery.condition import Condition

VERDICT = "glue.verdict."  # prefix of tags of a version: one for each decision, by time
ROLLED_BACK = "glue.rolled_back"  # tag of a version: when it was rolled back; and a tag of the model for its result
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
    conditions: list[Condition] = field(default_factory=list)  # all that were checked


class Decision(TypedDict):
    """A decision as stored in a tag."""

    time: str  # ISO 8601, UTC
    alias: str
    by: str  # run or promote
    champion: int | None  # before the decision
    refused: list[str]
    compared: Comparison | None
    conditions_sha256: NotRequired[str]  # of the list of conditions in `promotion.json`
    forced: NotRequired[str]  # the reason of a person who promoted it anyway


class Promotion(Decision):
    """A decision as stored in `promotion.json`, with all conditions."""

    conditions: list[Condition]
    reason: str | None  # that the person gave


def decisions(tags: Mapping[str, str]) -> list[Decision]:
    """Return the decisions on a version, in order.

    Raises:
        ToolError: a decision has been overwritten.
    """
    found = []
    for key in sorted(tags):
        if key.startswith(VERDICT):
            made = _decision(tags[key])
            if made is None or not made.keys() >= ALWAYS:
                problem = f"the registry's tag {key} is not a decision: it has been overwritten"
                raise ToolError(problem, hint="glue audit")
            found.append(cast("Decision", made))
    return found


def _decision(text: str) -> dict[str, Any] | None:
    """Parse a decision's tag; None if it has been overwritten."""
    with contextlib.suppress(ValueError):
        made = json.loads(text)
        return made if isinstance(made, dict) else None
    return None


def evidence(tags: Mapping[str, str], kept: Collection[str] | None = None) -> list[str]:
    """Return the hash of each decision on a version, in order; audit entries refer to these hashes.

    A hash is the SHA-256 of the decision as canonical JSON, which includes the hash of its conditions.

    Args:
        tags: the version's tags.
        kept: the hash of each list of conditions in the version's `promotion.json`; decisions whose conditions are not
            among them are omitted. None: do not check.
    """
    made = [_decision(tags[key]) for key in sorted(tags) if key.startswith(VERDICT)]
    return [
        digest(decision)
        for decision in made
        if decision is not None and (kept is None or decision.get("conditions_sha256") in (None, *kept))
    ]


def conditions_of(decision: Decision, kept: Sequence[Promotion]) -> list[Condition]:
    """Return a decision's conditions from `promotion.json`; empty if they are missing or have been changed."""
    named = decision.get("conditions_sha256")
    return next((one["conditions"] for one in kept if named and digest(one["conditions"]) == named), [])


def digest(record: Any) -> str:
    """Return the SHA-256 of a record, independent of whitespace and key order."""
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def refusal(tags: Mapping[str, str]) -> str | None:
    """Return why a version is refused: a person's last decision, or else the first decision; None if it is not."""
    made = decisions(tags)
    by_person = [decision for decision in made if decision["by"] == "promote"]
    counts = by_person[-1:] or made[:1]
    return "; ".join(counts[0]["refused"]) or None if counts and "forced" not in counts[0] else None


def decision_tag(
    tags: Mapping[str, str], verdict: Verdict, alias: str, *, by_person: bool, forced: str | None = None
) -> dict[str, str]:
    """Return the tag that records a decision on an alias; empty if it repeats the version's last decision."""
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
    key, last = VERDICT + now.strftime(STAMP), max(filter(lambda key: key.startswith(VERDICT), tags), default="")
    if key <= last:  # the clock was set back: the last decision is the one that counts
        key = f"{last}0"
    return {key: json.dumps(decision)}


def _without_numbers(decision: Mapping[str, Any]) -> dict[str, Any]:
    """Return a decision without the parts that always differ: its time, and the conditions with their latencies."""
    return {key: value for key, value in decision.items() if key not in ("time", "conditions_sha256")}


def keep(
    store: Store, name: str, version: int, decision: Decision, conditions: list[Condition], reason: str | None
) -> None:
    """Add a decision with its conditions to the version's `promotion.json`."""
    made: Promotion = {**decision, "conditions": conditions, "reason": reason}
    text = json.dumps([*promotions(store, name, version), made], indent=1)
    store.write_artifact(name, version, PROMOTION, text + "\n")


def promotions(store: Store, name: str, version: int) -> list[Promotion]:
    """Return the decisions on a version with their conditions, in order. An older glue did not store them.

    Raises:
        ToolError: the file has been replaced.
    """
    text = store.read_artifact(name, version, PROMOTION)
    with contextlib.suppress(ValueError):
        found = json.loads(text) if text is not None else []
        if isinstance(found, list) and all(isinstance(one, dict) and "conditions" in one for one in found):
            return found
    raise ToolError(
        f"{PROMOTION} of {name} v{version} was not written by glue: it has been replaced", hint="glue audit"
    )


def note_rolled_back(store: Store, name: str, version: int, when: str) -> None:
    """Mark a version as rolled back, and its result on the model, in case the result is registered again."""
    store.tag(name, version, {ROLLED_BACK: when})
    if result := _result(store, name, version):
        store.set_model_tag(name, f"{ROLLED_BACK}.{result}", f"{when} as v{version}")


def forget_rolled_back(store: Store, name: str, version: int) -> None:
    """Remove the rollback mark, because a person has promoted the version again."""
    store.untag(name, version, ROLLED_BACK)
    if result := _result(store, name, version):
        store.remove_model_tag(name, f"{ROLLED_BACK}.{result}")


def _result(store: Store, name: str, version: int) -> str | None:
    """Return the fingerprint of a version's result; None for an imported model."""
    from mlops_glue.adapters.mlflow import FINGERPRINT  # an unchanged run reads this module, and needs no SQLite

    return store.tags(name, version).get(FINGERPRINT)


def rolled_back_before(store: Store, name: str, fingerprint: str) -> dict[str, str]:
    """Return the rollback tag for a new version, if its result was rolled back as another version."""
    found = store.model_tags_of(name).get(f"{ROLLED_BACK}.{fingerprint}")
    return {} if found is None else {ROLLED_BACK: found}


def champions(store: Store, name: str) -> list[int]:
    """Return the versions that were champion and not rolled back since, in order; the last is the current champion."""
    found: list[int] = []
    for version, how, _ in store.champion_history(name):
        if how == "rollback":
            found = _up_to(found, version)
        elif not found or found[-1] != version:
            found.append(version)
    now = store.champion(name)  # a person may have moved the alias by other means
    return found if now is None else _up_to(found, now)


def lost_champion(store: Store, name: str) -> str | None:
    """Describe the last champion if its alias is gone, because somebody deleted the version or the alias; else None."""
    former = champions(store, name) if store.champion(name) is None else []
    if not former:
        return None
    how = "has lost the alias champion" if former[-1] in store.versions(name) else "is no longer in the registry"
    return f"v{former[-1]}, the last champion, {how}"


def _up_to(line: list[int], version: int) -> list[int]:
    """Cut the line after the version's last occurrence, or append the version if it is not in it."""
    if version not in line:
        return [*line, version]
    return line[: len(line) - line[::-1].index(version)]


def rollback_target(name: str, former: list[int], now: int | None, to: int | None, there: Collection[int]) -> int:
    """Return the version that a rollback restores: `to`, or the champion before the current one, or the last one left.

    Args:
        name: the registered model.
        former: the versions that were champion, in order.
        now: the current champion.
        to: the version that a person named.
        there: the versions in the registry.

    Raises:
        UsageError: no such version was champion, or it is the champion, or it is no longer in the registry.
    """
    before = [version for version in former if version != now]
    left = [version for version in before if version in there]
    last = left if now is None and left else before  # a champion that somebody deleted cannot be restored
    chosen = to if to is not None else (last[-1] if last else None)
    if chosen is None:
        raise UsageError(f"{name} had no champion before{f' v{now}' if now else ''}", hint="glue promote VERSION")
    if chosen == now:
        raise UsageError(f"{name} v{chosen} is already champion", hint="glue status")
    if chosen not in former:
        raise UsageError(f"{name} v{chosen} was never champion, or was rolled back", hint=f"glue promote {chosen}")
    if chosen not in there:
        hint = f"glue rollback {left[-1]}" if left else "glue promote VERSION"
        raise UsageError(f"{name} v{chosen} was champion, but is no longer in the registry", hint=hint)
    return chosen
