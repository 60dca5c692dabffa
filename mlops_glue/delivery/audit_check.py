"""What is wrong with the audit record, by itself and beside what the registry knows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops_glue.adapters.mlflow import ENTRY, REGISTRY
from mlops_glue.delivery import history
from mlops_glue.delivery.audit import Entry, chained, parsed, readable
from mlops_glue.delivery.history import digest
from mlops_glue.errors import ToolError

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store

Numbered = Sequence[tuple[int, Entry]]  # with the number in the record, from 1


@dataclass(frozen=True)
class Registered:
    """What the registry knows of a model.

    Attributes:
        id: which registry this is; None where no move was recorded in it.
        pinned: by version: the ids of the entries about it. A version that is gone is not in it.
        aliases: where each is now.
        evidence: by version: the hashes of the records of the decisions on it.
        signed: by version that was signed: the hash of its signature as it is now; None: it has none.
    """

    id: str | None = None
    pinned: Mapping[int, Sequence[str]] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)
    evidence: Mapping[int, Sequence[str]] = field(default_factory=dict)
    signed: Mapping[int, str | None] = field(default_factory=dict)


def registered(store: Store, model: str, record: str) -> Registered:
    """What the registry knows of a model that the record speaks of.

    Raises:
        ToolError: it does not answer.
    """
    tags = store.tags_by_version(model)
    if not tags:
        return Registered()
    signed = {e.content["version"] for e in readable(record) if _is_signature(e) and e.content.get("model") == model}
    return Registered(
        store.get_model_tag(model, REGISTRY),
        {version: [value for key, value in of.items() if key.startswith(ENTRY)] for version, of in tags.items()},
        store.aliases(model),
        {version: history.evidence(of, _kept(store, model, version, of)) for version, of in tags.items()},
        {version: store.signature_digest(model, version) for version in sorted(signed & tags.keys())},
    )


def _kept(store: Store, model: str, version: int, tags: Mapping[str, str]) -> list[str] | None:
    """The hash of each list of conditions in a version's `promotion.json`; None where no entry is about the version."""
    if not any(key.startswith(ENTRY) for key in tags):
        return None
    try:
        return [digest(one["conditions"]) for one in history.promotions(store, model, version)]
    except ToolError:  # cannot be read, or was replaced by what is none
        return []


def of_registry(entries: Sequence[Entry], model: str, known: Registered) -> list[Entry]:
    """The entries about a model in one registry: they name it, or no registry at all, or it knows them."""
    ids = {entry for of in known.pinned.values() for entry in of}
    return [
        entry
        for entry in entries
        if entry.content.get("model") == model
        and (entry.content.get("registry") in (None, known.id) or entry.id in ids)
    ]


def problems(record: str, known: Registered, model: str, *, is_there: bool = True) -> list[str]:
    """What is wrong: an entry, a decision or a signature edited, removed, added or reordered; a move in no entry.

    Args:
        record: what `audit.text` gives.
        known: by the registry, as it is now.
        model: the registered model.
        is_there: whether there is a registry; without one the entries alone can be looked at.
    """
    found, numbered = _chain_problems(record)
    if not is_there:
        where = "set tracking.uri, in glue.yaml, to the registry that they speak of"
        unseen = f"the entries ({len(numbered)}) were held against no registry, as none is here: {where}"
        return [*found, unseen] if numbered else found
    own = of_registry([entry for _, entry in numbered], model, known)
    ours = [(number, entry) for number, entry in numbered if entry in own]
    ids, lost = {entry.id for entry in own}, set()
    for version, pinned in known.pinned.items():
        missing = [entry[:12] for entry in pinned if entry not in ids]
        where = "was removed, or is on another machine (audit: {remote: origin} shares the record)"
        lost |= {version for _ in missing[:1]}
        found += [f"v{version}: entry {entry}, which the registry knows, {where}" for entry in missing]
    for number, entry in ours:
        to = entry.content.get("version")
        if isinstance(to, int) and entry.id not in known.pinned.get(to, [entry.id]):
            found.append(f"entry {number}: says what became of v{to}, and the registry has no such move")
    moves = [(number, entry) for number, entry in ours if not _is_signature(entry)]
    found += [*_evidence(moves, known), *_signatures(ours, known)]
    if moves or any(of not in ids for pinned in known.pinned.values() for of in pinned):
        found += _aliases(moves, known, lost)  # else they are older than the record, which begins with the next move
    return found


def _is_signature(entry: Entry) -> bool:
    return entry.content.get("alias") is None


def _evidence(moves: Numbered, known: Registered) -> Iterator[str]:
    """A move whose decision the version does not have any more."""
    for number, entry in moves:
        version, evidence = entry.content.get("version"), entry.content.get("evidence")
        if evidence and version is not None and evidence not in known.evidence.get(version, [evidence]):
            yield (
                f"entry {number}: the decision that v{version} was moved on, {evidence[:12]}, "
                "is not in the registry any more: its record, or its part of promotion.json, was changed or removed"
            )


def _signatures(ours: Numbered, known: Registered) -> Iterator[str]:
    """A version whose signature is not the last one that was recorded."""
    last = {entry.content["version"]: (number, entry) for number, entry in ours if _is_signature(entry)}
    for version, (number, entry) in last.items():
        if version in known.signed and known.signed[version] != entry.content.get("evidence"):
            gone = "is gone" if known.signed[version] is None else "was written anew"
            yield f"entry {number}: the signature of v{version} {gone} since"


def _aliases(moves: Numbered, known: Registered, lost: Collection[int]) -> Iterator[str]:
    """An alias that was moved by other means than glue, now or between two entries; `lost`: versions without theirs."""
    last: dict[str, int | None] = {entry.content["alias"]: entry.content.get("version") for _, entry in moves}
    for alias, version in known.aliases.items():
        if last.get(alias) != version:
            how = "its entry is missing, or it" if version in lost else "it"
            yield f"alias {alias} is at v{version}, and no entry says so: {how} was moved outside glue"
    for alias, former in last.items():
        if former and alias not in known.aliases:
            yield f"alias {alias} was taken off v{former} outside glue"
    for alias in last:
        of = [(number, entry) for number, entry in moves if entry.content.get("alias") == alias]
        first = min(of, key=lambda one: str(one[1].content.get("time")))
        # two machines may have moved it at once: what an entry put there at any time is no problem
        there = {None, first[1].content.get("previous"), *(entry.content.get("version") for _, entry in of)}
        for number, entry in of:
            if (previous := entry.content.get("previous")) not in there:
                yield f"entry {number}: found alias {alias} at v{previous}, where no entry had put it: outside glue"


def _chain_problems(record: str) -> tuple[list[str], Numbered]:
    """What is wrong with the chain itself; and the entries that can be read."""
    found, read, chain = [], [], ""
    for number, line in enumerate(record.splitlines(), 1):
        try:
            entry = parsed(line)
        except ValueError:
            found.append(f"entry {number}: cannot be read")
            continue
        read.append((number, entry))
        if digest(entry.content) != entry.id:
            found.append(f"entry {number}: was edited: its content has not the hash {entry.id[:12]}")
        chain = chained(chain, entry.id)
        if chain != entry.chain:
            found.append(f"entry {number}: does not follow the one before it: entries were removed, added or reordered")
            chain = entry.chain
    return found, read
