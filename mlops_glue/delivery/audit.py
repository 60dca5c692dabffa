"""The audit record: an append-only chain of who moved an alias or signed a version, when, why and on what evidence.

The entries are lines of JSON in the git ref `refs/glue/audit`; outside git, in `.glue/audit.jsonl`. Each has the hash
of its content, `id`, and the hash of the chain up to it. The id is also a tag of the version in the registry, so a
truncated or rewritten chain is detected. `audit_check` finds the problems.
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
    """An alias move, or a signature of a version.

    Attributes:
        model: the registered model.
        alias: champion, challenger or another; None for a signature.
        version: the alias's new version; None if it was removed.
        previous: the alias's former version.
        event: promote, rollback, approve, force or sign.
        actor: name and email of the user, and details of a CI job with its reviewers.
        reason: the reason that the actor gave.
        evidence: SHA-256 of the decision (`history.evidence`); for a signature, of the signature file.
        time: in ISO 8601, UTC.
        command: as typed, without secrets.
        registry: the registry, by the model's tag `glue.registry`; several registries may share the record.
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
    """Build a move at the current time by the current user, with secrets removed from the command and the reason."""
    now, command = datetime.now(UTC).isoformat(timespec="microseconds"), command_line()
    known = {"reason": None, "evidence": None, "actor": actor(root), "time": now} | more
    reason = redacted(known.pop("reason") or "") or None
    return Move(model, alias, version, previous, event, reason=reason, command=redacted(command), **known)


def actor(root: Path) -> dict[str, str]:
    """Return the current user: git's identity, the account on this machine, and the CI job if there is one."""
    found = {"name": git.setting(root, "user.name"), "email": git.setting(root, "user.email"), "host": platform.node()}
    with contextlib.suppress(OSError, KeyError):  # a container may have no name for the user
        found["account"] = getpass.getuser()
    return {key: value for key, value in found.items() if value} | github.job() | gitlab.job()


def identity(who: Mapping[str, str]) -> str:
    """Return an actor's identifying name: from the CI job, or else git's email, or else the account on the machine.

    For a no-reply address of GitHub or GitLab it is the login, so that a person is the same on a laptop and in a job.
    """
    email = who.get("email", "")
    for given_out in (r"(?:\d+\+)?([^@]+)@users\.noreply\.github\.com", r"\d+-([^@]+)@users\.noreply\.gitlab\.com"):
        email = re.sub(f"^{given_out}$", r"\1", email)
    return who.get("ci") or email or f"{who.get('account', 'somebody')}@{who.get('host', '')}"


def approvers(root: Path, environment: str) -> list[str]:
    """Return the approvers: the current user, or in a GitHub Actions job the reviewers of its environment.

    Raises:
        ToolError: GitHub does not return the reviewers.
    """
    if not github.is_job():
        return [identity(actor(root))]
    found = github.reviewers(environment)
    if found is None:
        raise ToolError("the job has no GITHUB_TOKEN to look up its reviewers on GitHub")
    return found


def described(moved: Mapping[str, Any]) -> str:
    """Return a move in one line: time, alias, former and new version, event, actor and reason."""
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
    """Append a move. It is safe if other processes append at the same time.

    Args:
        root: the project folder.
        made: the move.
        remote: the git remote that shares the record. If it cannot be reached, this is a warning; in CI, where the
            local record is lost after the job, it is an error.

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
    """Return the function for `Store.record_move`, which appends an entry and returns its id.

    If a GitHub Actions job moves the champion, the entry contains the reviewers of the GitHub environment.
    """

    def record_move(model: str, alias: str | None, version: int | None, previous: int | None, **more: Any) -> str:
        who = actor(root) | (_reviewed(environment) if alias == "champion" else {})
        return record(root, move(root, model, alias, version, previous, actor=who, **more), remote).id

    return record_move


def last_champion(root: Path, remote: str | None) -> Callable[[str, str | None], int | None]:
    """Return the function for `Store.recorded`, which returns the last recorded champion, also from other machines."""

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
        log.warning("warning: the reviewers of this run are not recorded: %s", error.message)
        return {}
    return {"environment": environment, "reviewers": ", ".join(found)} if found else {}


def share(root: Path, remote: str, *, must: bool = False) -> None:
    """Exchange entries with the remote. If it cannot be reached, this is a warning, or with `must` an error.

    Raises:
        ToolError: `must` is set, and the remote cannot be reached.
    """
    try:
        git_ref.share(root, REF, _merged, remote)
    except ToolError as error:
        if must:
            problem = f"the alias was not moved: the audit record cannot be shared: {error.message}"
            raise ToolError(problem, hint="add permissions: {contents: write} to the job, or run glue ci") from error
        log.warning("warning: the audit record was not shared: %s", error.message)


def entries(root: Path) -> list[Entry]:
    """Return the entries of the record, in order."""
    return readable(text(root))


def readable(record: str) -> list[Entry]:
    """Return the entries of a record. Lines that are not entries are skipped."""
    found = []
    for line in record.splitlines():
        with contextlib.suppress(ValueError):
            found.append(parsed(line))
    return found


def parsed(line: str) -> Entry:
    """Parse an entry from its line.

    Raises:
        ValueError: the line is not an entry.
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
        raise ValueError("not an entry") from error
    raise ValueError("not an entry")


def text(root: Path) -> str:
    """Read the record: a line of JSON for each entry."""
    if git.is_work_tree(root):
        return git_ref.read(root, REF)
    path = root / layout.AUDIT
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def appended(text: str, content: dict[str, Any]) -> str:
    """Append an entry to a record's text."""
    before = readable(text)
    made = digest(content)
    line = {"content": content, "id": made, "chain": chained(before[-1].chain if before else "", made)}
    return text + json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n"


def _merged(theirs: str, ours: str) -> str:
    """Append our own entries to their record."""
    known = {entry.id for entry in readable(theirs)}
    for entry in readable(ours):
        if entry.id not in known:
            theirs = appended(theirs, entry.content)
    return theirs


def chained(before: str, entry: str) -> str:
    """Return the hash of the chain up to an entry, from the previous chain hash and the entry's id."""
    return hashlib.sha256(f"{before}{entry}".encode()).hexdigest()
