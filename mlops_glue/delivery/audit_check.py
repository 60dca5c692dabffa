"""Checks of the audit record: its own consistency, and its agreement with the registry."""

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

Numbered = Sequence[tuple[int, Entry]]  # with their numbers in the record, from 1


@dataclass(frozen=True)
class Registered:
    """The registry's data on a model.

    Attributes:
        id: the registry's id; None if no move was recorded in it.
        pinned: by version, the ids of the entries about it. Deleted versions are missing.
        aliases: the current version of each alias.
        evidence: by version, the hashes of the decisions on it.
        signed: by signed version, the hash of its current signature; None if it has none.
    """

    id: str | None = None
    pinned: Mapping[int, Sequence[str]] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)
    evidence: Mapping[int, Sequence[str]] = field(default_factory=dict)
    signed: Mapping[int, str | None] = field(default_factory=dict)


def registered(store: Store, model: str, record: str) -> Registered:
    """Read the registry's data on a model.

    Raises:
        ToolError: the registry does not answer.
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
    """Return the hashes of the lists of conditions in a version's `promotion.json`; None if it has no entries."""
    if not any(key.startswith(ENTRY) for key in tags):
        return None
    try:
        return [digest(one["conditions"]) for one in history.promotions(store, model, version)]
    except ToolError:  # it cannot be read, or has been replaced
        return []


def of_registry(entries: Sequence[Entry], model: str, known: Registered) -> list[Entry]:
    """Return the entries about a model in one registry: those that name it or no registry, or that it has pinned."""
    ids = {entry for of in known.pinned.values() for entry in of}
    return [
        entry
        for entry in entries
        if entry.content.get("model") == model
        and (entry.content.get("registry") in (None, known.id) or entry.id in ids)
    ]


def problems(record: str, known: Registered, model: str, *, is_there: bool = True) -> list[str]:
    """Find entries, decisions and signatures that were edited, removed, added or reordered, and unrecorded moves.

    Args:
        record: the text of the record, from `audit.text`.
        known: the registry's current data.
        model: the registered model.
        is_there: whether there is a registry; without one, only the chain is checked.
    """
    found, numbered = _chain_problems(record)
    if not is_there:
        way = "set tracking.uri in glue.yaml to their registry"
        unseen = f"the entries ({len(numbered)}) were not compared with a registry, because there is none here: {way}"
        return [*found, unseen] if numbered else found
    own = of_registry([entry for _, entry in numbered], model, known)
    ours = [(number, entry) for number, entry in numbered if entry in own]
    ids, lost = {entry.id for entry in own}, set()
    for version, pinned in known.pinned.items():
        missing = [entry[:12] for entry in pinned if entry not in ids]
        where = "was removed, or is on another machine (to share the record, set audit: {remote: origin})"
        lost |= {version for _ in missing[:1]}
        found += [f"v{version}: entry {entry}, which is in the registry, {where}" for entry in missing]
    for number, entry in ours:
        to = entry.content.get("version")
        if isinstance(to, int) and entry.id not in known.pinned.get(to, [entry.id]):
            found.append(f"entry {number}: moves an alias to v{to}, but the registry has no such move")
    moves = [(number, entry) for number, entry in ours if not _is_signature(entry)]
    found += [*_evidence(moves, known), *_signatures(ours, known)]
    if moves or any(of not in ids for pinned in known.pinned.values() for of in pinned):
        found += _aliases(
            moves, known, lost
        )  # else the aliases are older than the record, which begins with the next move
    return found


def _is_signature(entry: Entry) -> bool:
    return entry.content.get("alias") is None


def _evidence(moves: Numbered, known: Registered) -> Iterator[str]:
    """Find moves whose decision is no longer on the version."""
    for number, entry in moves:
        version, evidence = entry.content.get("version"), entry.content.get("evidence")
        if evidence and version is not None and evidence not in known.evidence.get(version, [evidence]):
            yield (
                f"entry {number}: the decision {evidence[:12]} for the move to v{version} is no longer in the "
                "registry: its tag, or its part of promotion.json, was changed or removed"
            )


def _signatures(ours: Numbered, known: Registered) -> Iterator[str]:
    """Find versions whose signature is not the last recorded signature."""
    last = {entry.content["version"]: (number, entry) for number, entry in ours if _is_signature(entry)}
    for version, (number, entry) in last.items():
        if version in known.signed and known.signed[version] != entry.content.get("evidence"):
            change = "removed" if known.signed[version] is None else "replaced"
            yield f"entry {number}: the signature of v{version} has since been {change}"


def _aliases(moves: Numbered, known: Registered, lost: Collection[int]) -> Iterator[str]:
    """Find aliases that were moved without glue, now or between two entries. `lost`: versions with missing entries."""
    last: dict[str, int | None] = {entry.content["alias"]: entry.content.get("version") for _, entry in moves}
    for alias, version in known.aliases.items():
        if last.get(alias) != version:
            how = "its entry is missing, or it" if version in lost else "it"
            yield f"alias {alias} is at v{version}, but has no entry for it: {how} was moved outside glue"
    for alias, former in last.items():
        if former and alias not in known.aliases:
            yield f"alias {alias} was removed from v{former} outside glue"
    for alias in last:
        of = [(number, entry) for number, entry in moves if entry.content.get("alias") == alias]
        first = min(of, key=lambda one: str(one[1].content.get("time")))
        # two machines may move it at the same time, so any recorded version is accepted
        there = {None, first[1].content.get("previous"), *(entry.content.get("version") for _, entry in of)}
        for number, entry in of:
            if (previous := entry.content.get("previous")) not in there:
                yield f"entry {number}: alias {alias} was at v{previous}, but no entry moved it there: outside glue"


def _chain_problems(record: str) -> tuple[list[str], Numbered]:
    """Check the chain itself, and return its problems and the entries that can be read."""
    found, read, chain = [], [], ""
    for number, line in enumerate(record.splitlines(), 1):
        try:
            entry = parsed(line)
        except ValueError:
            found.append(f"entry {number}: cannot be read")
            continue
        read.append((number, entry))
        if digest(entry.content) != entry.id:
            found.append(f"entry {number}: was edited: its content does not match its hash {entry.id[:12]}")
        chain = chained(chain, entry.id)
        if chain != entry.chain:
            found.append(
                f"entry {number}: does not follow the previous entry: entries were removed, added or reordered"
            )
            chain = entry.chain
    return found, read
