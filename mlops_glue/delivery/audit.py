"""Who moved an alias or signed a version, when, why and on what evidence: a chain of entries, only ever appended to.

The entries are lines of JSON in the git ref `refs/glue/audit`; outside git, in `.glue/audit.jsonl`. Each has the hash
of its content, `id`, and the hash of the chain up to it. The id is also a tag of the version that it is about, in the
registry, so a chain that is cut short or written anew does not go unseen. `audit_check` finds what is wrong.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import logging
import os
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_glue import files, layout
from mlops_glue.adapters import git, github, gitlab
from mlops_glue.adapters.git import ref as git_ref
from mlops_glue.delivery.history import digest
from mlops_glue.errors import ToolError
from mlops_glue.processes import command_line
from mlops_glue.secrets import redacted

log = logging.getLogger(__name__)

REF = "refs/glue/audit"


@dataclass(frozen=True)
class Move:
    """An alias that moved, or a version that was signed.

    Attributes:
        model: the registered model.
        alias: champion, challenger or another; None of a signature.
        version: that it went to; None where it was taken off.
        previous: that it was at.
        event: promote, rollback, approve, force or sign.
        actor: who: name, email, and what is known of a CI job, with those who reviewed it.
        reason: what the actor said.
        evidence: SHA-256 of the record that it was decided on (`history.evidence`); of a signature, that of its file.
        time: in ISO 8601, UTC.
        command: as it was typed, without secrets.
        registry: which one it was in, by the model's tag `glue.registry`; several may share the record.
    """

    model: str
    alias: str | None
    version: int | None
    previous: int | None
    event: str
    actor: Mapping[str, str]
    reason: str | None
    evidence: str | None
    time: str
    command: str
    registry: str | None = None


@dataclass(frozen=True)
class Entry:
    """A line of the record."""

    content: dict[str, Any]
    id: str
    chain: str


def move(
    root: Path, model: str, alias: str | None, version: int | None, previous: int | None, event: str, **more: Any
) -> Move:
    """A move that is made now, by whoever runs this process; no secret stays in what was typed."""
    now, command = datetime.now(UTC).isoformat(timespec="microseconds"), command_line()
    known = {"reason": None, "evidence": None, "actor": actor(root), "time": now} | more
    reason = redacted(known.pop("reason") or "") or None
    return Move(model, alias, version, previous, event, reason=reason, command=redacted(command), **known)


def actor(root: Path) -> dict[str, str]:
    """Who runs this process, by git's identity, the machine's account, and the CI job if it is one."""
    found = {"name": git.setting(root, "user.name"), "email": git.setting(root, "user.email"), "host": platform.node()}
    with contextlib.suppress(OSError, KeyError):  # a container may have no name for the user
        found["account"] = getpass.getuser()
    return {key: value for key, value in found.items() if value} | github.job() | gitlab.job()


def identity(who: Mapping[str, str]) -> str:
    """The one name of an actor that counts: of the CI job's, else git's email, else the account of the machine.

    Of an address that GitHub or GitLab gives out it is the login: a person is the same at a laptop and in a job.
    """
    email = who.get("email", "")
    for given_out in (r"(?:\d+\+)?([^@]+)@users\.noreply\.github\.com", r"\d+-([^@]+)@users\.noreply\.gitlab\.com"):
        email = re.sub(f"^{given_out}$", r"\1", email)
    return who.get("ci") or email or f"{who.get('account', 'somebody')}@{who.get('host', '')}"


def approvers(root: Path, environment: str) -> list[str]:
    """Who approves by running this process: its actor; in a job of GitHub Actions the reviewers of its environment.

    Raises:
        ToolError: GitHub does not say who they are.
    """
    if not github.is_job():
        return [identity(actor(root))]
    found = github.reviewers(environment)
    if found is None:
        raise ToolError("the job has no GITHUB_TOKEN to ask GitHub with who reviewed it")
    return found


def described(moved: Mapping[str, Any]) -> str:
    """A move in one line, whatever its reason is: when, which alias, from where to where, how, by whom and why."""
    reason = f": {moved['reason']}" if moved["reason"] else ""
    who = moved["actor"]
    reviewed = f", reviewed by {who['reviewers']}" if who.get("reviewers") else ""
    how = f"{moved['event']} by {identity(who)}{reviewed}{reason}"
    if who.get("url"):
        how += f" ({who['url']})"
    if moved["evidence"]:
        how += f" (evidence {moved['evidence'][:12]})"
    if moved["alias"] is None:
        return files.one_line(f"{moved['time'][:19]} v{moved['version']}, {how}")
    before, after = (f"v{version}" if version else "none" for version in (moved["previous"], moved["version"]))
    return files.one_line(f"{moved['time'][:19]} {moved['alias']} {before} -> {after}, {how}")


def record(root: Path, made: Move, remote: str | None = None) -> Entry:
    """Append a move, whoever else appends meanwhile.

    Args:
        root: the project folder.
        made: the move.
        remote: of git, where the record is shared. Where it cannot be reached, that is a warning; in CI, whose machine
            ends with the job, an error.

    Raises:
        ToolError: git fails.
    """
    content = asdict(made)
    if git.is_work_tree(root):
        git_ref.append(root, REF, lambda text: appended(text, content))
        if remote is not None:
            share(root, remote, must=bool(os.environ.get("CI")))
    else:
        from filelock import FileLock

        path = root / layout.AUDIT
        path.parent.mkdir(exist_ok=True)
        with FileLock(f"{path}.lock"):
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
            files.write_text(path, appended(text, content))
    return Entry(content, digest(content), "")


def recorder(root: Path, remote: str | None, environment: str) -> Callable[..., str]:
    """What `Store.record_move` is: it appends an entry, and returns its id.

    Of a champion that a job of GitHub Actions moves, the reviewers of GitHub's environment stand in it.
    """

    def record_move(model: str, alias: str | None, version: int | None, previous: int | None, **more: Any) -> str:
        who = actor(root) | (_reviewed(environment) if alias == "champion" else {})
        return record(root, move(root, model, alias, version, previous, actor=who, **more), remote).id

    return record_move


def last_champion(root: Path, remote: str | None) -> Callable[[str, str | None], int | None]:
    """What `Store.recorded` is: the version of the last entry about a champion, of this machine or another."""

    def recorded(model: str, registry: str | None) -> int | None:
        if remote is not None:
            share(root, remote)
        moves = [entry.content for entry in entries(root)]
        ours = [
            one for one in moves if (one["model"], one["alias"], one.get("registry")) == (model, "champion", registry)
        ]
        return ours[-1]["version"] if ours else None

    return recorded


def _reviewed(environment: str) -> dict[str, str]:
    try:
        found = github.reviewers(environment)
    except ToolError as error:
        log.warning("warning: who reviewed this run is not recorded: %s", error.message)
        return {}
    return {"environment": environment, "reviewers": ", ".join(found)} if found else {}


def share(root: Path, remote: str, *, must: bool = False) -> None:
    """Bring what the remote has, and send what it lacks; where it cannot be reached, a warning, or an error if it must.

    Raises:
        ToolError: it must, and cannot.
    """
    try:
        git_ref.share(root, REF, _merged, remote)
    except ToolError as error:
        if must:
            problem = f"nothing is moved: the audit record cannot be shared: {error.message}"
            raise ToolError(problem, hint="the job needs permissions: {contents: write}; glue ci gives it") from error
        log.warning("warning: the audit record is not shared: %s", error.message)


def entries(root: Path) -> list[Entry]:
    """The record, in order."""
    return readable(text(root))


def readable(record: str) -> list[Entry]:
    """The entries of a record, without lines that are none."""
    found = []
    for line in record.splitlines():
        with contextlib.suppress(ValueError):
            found.append(parsed(line))
    return found


def parsed(line: str) -> Entry:
    """An entry, of its line.

    Raises:
        ValueError: it is none.
    """
    try:
        found = Entry(**json.loads(line))
        content = found.content
        known = isinstance(content["actor"], dict) and all(
            isinstance(content[name], str) or (content[name] is None and name in ("alias", "reason", "evidence"))
            for name in ("model", "alias", "event", "reason", "evidence", "time", "command")
        )
        numbers = all(isinstance(content[name], int | None) for name in ("version", "previous"))
        if known and numbers and isinstance(found.id, str) and isinstance(found.chain, str):
            return found
    except (KeyError, TypeError) as error:
        raise ValueError("no entry") from error
    raise ValueError("no entry")


def text(root: Path) -> str:
    """The record as it is kept: a line of JSON for each entry."""
    if git.is_work_tree(root):
        return git_ref.read(root, REF)
    path = root / layout.AUDIT
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def appended(text: str, content: dict[str, Any]) -> str:
    """The record with one more entry."""
    before = readable(text)
    made = digest(content)
    line = {"content": content, "id": made, "chain": chained(before[-1].chain if before else "", made)}
    return text + json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n"


def _merged(theirs: str, ours: str) -> str:
    """Their record, and after it what only ours has."""
    known = {entry.id for entry in readable(theirs)}
    for entry in readable(ours):
        if entry.id not in known:
            theirs = appended(theirs, entry.content)
    return theirs


def chained(before: str, entry: str) -> str:
    """The hash of the chain up to an entry, of that before it and of the entry's id."""
    return hashlib.sha256(f"{before}{entry}".encode()).hexdigest()
