"""Who moved an alias, when, why and on what evidence: a chain of entries that is only ever appended to.

The entries are lines of JSON in the git ref `refs/glue/audit`; outside git, in `.glue/audit.jsonl`. Each has the hash
of its content, `id`, and the hash of the chain up to it. The id is also a tag of the version that was moved, in the
registry, so a chain that is cut short or written anew does not go unseen.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import logging
import os
import platform
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_glue import files, layout
from mlops_glue.adapters import git
from mlops_glue.adapters.git import ref as git_ref
from mlops_glue.adapters.mlflow import ENTRY
from mlops_glue.errors import ToolError

log = logging.getLogger(__name__)

REF = "refs/glue/audit"


@dataclass(frozen=True)
class Move:
    """An alias that moved.

    Attributes:
        model: the registered model.
        alias: champion, challenger or another.
        version: that it went to; None where it was taken off.
        previous: that it was at.
        event: promote, rollback, approve or force.
        actor: who: name, email, and what is known of a CI job.
        reason: what the actor said.
        evidence: SHA-256 of what was decided on.
        time: in ISO 8601, UTC.
        command: as it was typed.
    """

    model: str
    alias: str
    version: int | None
    previous: int | None
    event: str
    actor: Mapping[str, str]
    reason: str | None
    evidence: str | None
    time: str
    command: str


@dataclass(frozen=True)
class Entry:
    """A line of the record."""

    content: dict[str, Any]
    id: str
    chain: str


def move(
    root: Path, model: str, alias: str, version: int | None, previous: int | None, event: str, **more: Any
) -> Move:
    """A move that is made now, by whoever runs this process."""
    now, command = datetime.now(UTC).isoformat(timespec="microseconds"), shlex.join(["glue", *sys.argv[1:]])
    known = {"reason": None, "evidence": None, "actor": actor(root), "time": now, "command": command}
    return Move(model, alias, version, previous, event, **(known | more))


def actor(root: Path) -> dict[str, str]:
    """Who runs this process, by git's identity, the machine's account, and the CI job if it is one."""
    found = {"name": git.setting(root, "user.name"), "email": git.setting(root, "user.email"), "host": platform.node()}
    with contextlib.suppress(OSError, KeyError):  # a container may have no name for the user
        found["account"] = getpass.getuser()
    names = {"ci": "GITHUB_ACTOR", "run": "GITHUB_RUN_ID", "repository": "GITHUB_REPOSITORY", "job": "GITHUB_JOB"}
    found |= {key: os.environ.get(name) for key, name in names.items()}
    return {key: value for key, value in found.items() if value}


def identity(who: Mapping[str, str]) -> str:
    """The one name of an actor that counts: of the CI job's, else git's email, else the account of the machine."""
    return who.get("ci") or who.get("email") or f"{who.get('account', 'somebody')}@{who.get('host', '')}"


def described(moved: Mapping[str, Any]) -> str:
    """A move in a line: when, which alias, from where to where, how, by whom and why."""
    before, after = (f"v{version}" if version else "none" for version in (moved["previous"], moved["version"]))
    reason = f": {moved['reason']}" if moved["reason"] else ""
    who = identity(moved["actor"])
    return f"{moved['time'][:19]} {moved['alias']} {before} -> {after}, {moved['event']} by {who}{reason}"


def record(root: Path, made: Move, remote: str | None = None) -> Entry:
    """Append a move, whoever else appends meanwhile.

    Args:
        root: the project folder.
        made: the move.
        remote: of git, where the record is shared.

    Raises:
        ToolError: git fails.
    """
    content = asdict(made)
    if git.is_work_tree(root):
        git_ref.append(root, REF, lambda text: appended(text, content))
        if remote is not None:
            share(root, remote)
    else:
        from filelock import FileLock

        path = root / layout.AUDIT
        path.parent.mkdir(exist_ok=True)
        with FileLock(f"{path}.lock"):
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
            files.write_text(path, appended(text, content))
    return Entry(content, _hash(content), "")


def recorder(root: Path, remote: str | None) -> Callable[[str, str, int | None, int | None, str, str | None], str]:
    """What `Store.record_move` is: it appends an entry, and returns its id."""

    def record_move(
        model: str, alias: str, version: int | None, previous: int | None, event: str, reason: str | None
    ) -> str:
        return record(root, move(root, model, alias, version, previous, event, reason=reason), remote).id

    return record_move


def pinned(tags: Mapping[int, Mapping[str, str]]) -> dict[int, list[str]]:
    """By version: the ids of the entries about it, from its tags in the registry."""
    return {version: [value for key, value in of.items() if key.startswith(ENTRY)] for version, of in tags.items()}


def share(root: Path, remote: str) -> None:
    """Bring what the remote has, and send what it lacks; where it cannot be reached, that is only a warning."""
    try:
        git_ref.share(root, REF, _merged, remote)
    except ToolError as error:
        log.warning("warning: the audit record is not shared: %s", error.message)


def entries(root: Path) -> list[Entry]:
    """The record, in order."""
    return readable(text(root))


def readable(record: str) -> list[Entry]:
    """The entries of a record, without lines that are none."""
    found = []
    for line in record.splitlines():
        with contextlib.suppress(ValueError, TypeError):
            found.append(Entry(**json.loads(line)))
    return found


def text(root: Path) -> str:
    """The record as it is kept: a line of JSON for each entry."""
    if git.is_work_tree(root):
        return git_ref.read(root, REF)
    path = root / layout.AUDIT
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def problems(record: str, pinned: Mapping[int, list[str]], aliases: Mapping[str, int], model: str) -> list[str]:
    """What is wrong with a record: an entry edited, removed, added or reordered, or a move that is in none.

    Args:
        record: what `text` gives.
        pinned: by version: the ids that the registry has of its moves. A version that is gone is not in it.
        aliases: of the model, as the registry has them now.
        model: the registered model.
    """
    found, read = _chain_problems(record)
    ours = [entry for entry in read if entry.content.get("model") == model]
    if not ours and not any(pinned.values()):
        return found  # the aliases are older than the record, which begins with the next move
    known = {entry.id for entry in ours}
    for version, ids in pinned.items():
        missing = [entry[:12] for entry in ids if entry not in known]
        where = "was removed, or is on another machine (audit: {remote: origin} shares the record)"
        found += [f"v{version}: entry {entry}, which the registry knows, {where}" for entry in missing]
    for number, entry in enumerate(read, 1):
        to = entry.content.get("version")
        if entry in ours and isinstance(to, int) and entry.id not in pinned.get(to, [entry.id]):
            found.append(f"entry {number}: says that an alias went to v{to}, and the registry has no such move")
    last = {entry.content.get("alias"): entry.content.get("version") for entry in ours}
    for alias, version in aliases.items():
        if last.get(alias) != version:
            found.append(f"alias {alias} is at v{version}, and no entry says so: it was moved outside glue")
    found += [
        f"alias {alias} was taken off v{v} outside glue" for alias, v in last.items() if v and alias not in aliases
    ]
    return found


def _chain_problems(record: str) -> tuple[list[str], list[Entry]]:
    """What is wrong with the chain itself; and the entries that can be read."""
    found, read, chain = [], [], ""
    for number, line in enumerate(record.splitlines(), 1):
        try:
            entry = Entry(**json.loads(line))
        except (ValueError, TypeError):
            found.append(f"entry {number}: cannot be read")
            continue
        read.append(entry)
        if _hash(entry.content) != entry.id:
            found.append(f"entry {number}: was edited: its content has not the hash {entry.id[:12]}")
        chain = _chained(chain, entry.id)
        if chain != entry.chain:
            found.append(f"entry {number}: does not follow the one before it: entries were removed, added or reordered")
            chain = entry.chain
    return found, read


def appended(text: str, content: dict[str, Any]) -> str:
    """The record with one more entry."""
    before = readable(text)
    made = _hash(content)
    line = {"content": content, "id": made, "chain": _chained(before[-1].chain if before else "", made)}
    return text + json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n"


def _merged(theirs: str, ours: str) -> str:
    """Their record, and after it what only ours has."""
    known = {entry.id for entry in readable(theirs)}
    for entry in readable(ours):
        if entry.id not in known:
            theirs = appended(theirs, entry.content)
    return theirs


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _chained(before: str, entry: str) -> str:
    return hashlib.sha256(f"{before}{entry}".encode()).hexdigest()
