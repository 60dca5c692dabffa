"""What was decided of a version, and who was champion when: a decision is added, and none is rewritten."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from mlops_glue.errors import UsageError

VERDICT = "glue.verdict."  # tags of a version: a decision each, by the time of it
REFUSED, COMPARED = "glue.refused", "glue.compared_"  # tags: what the first decision found, or a person's last one
ROLLED_BACK = "glue.rolled_back"  # tag: when it was taken back
STAMP = "%Y%m%dT%H%M%S%f"
MOST = 4000  # characters of a reason


def verdicts(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """The decisions on a version, in order: when, for which alias, by whom, against which champion, what was found."""
    return [json.loads(tags[key]) for key in sorted(tags) if key.startswith(VERDICT)]


def noted(
    tags: Mapping[str, str],
    alias: str,
    champion: int | None,
    refused: list[str],
    compared: Mapping[str, Any] | None,
    *,
    by_person: bool,
    was_champion: bool,
    now: datetime,
) -> tuple[dict[str, str], list[str]]:
    """What a decision changes in the tags of a version.

    Args:
        tags: of the version, as they are.
        alias: that the decision was about.
        champion: before the decision.
        refused: why the version does not get the alias; nothing: it does.
        compared: with the champion, where that was done.
        by_person: a person named the version.
        was_champion: the version was champion at some time.
        now: the time.

    Returns:
        Tags to set, and tags to take off. The same decision again changes nothing.
    """
    before = verdicts(tags)
    made: dict[str, Any] = {
        "alias": alias,
        "by": "promote" if by_person else "run",
        "champion": champion,
        "refused": refused,
    }
    made |= {"compared": dict(compared) if compared is not None else None}
    made = json.loads(json.dumps(made, default=str))
    found: dict[str, str] = {}
    if not before or {key: value for key, value in before[-1].items() if key != "time"} != made:
        while (key := VERDICT + now.astimezone(UTC).strftime(STAMP)) in tags:
            now += timedelta(microseconds=1)
        found[key] = json.dumps({"time": now.isoformat(timespec="seconds"), **made})
    former = [key for key in tags if key == REFUSED or key.startswith(COMPARED)]
    judged = bool(before or former or was_champion)
    if judged and not by_person:
        return found, []
    found |= {f"{COMPARED}{key}": str(value) for key, value in (compared or {}).items() if not isinstance(value, dict)}
    if refused:
        found[REFUSED] = "; ".join(refused)[:MOST]
    gone = [key for key in former if key not in found]
    if not refused and alias == "champion" and ROLLED_BACK in tags:
        gone.append(ROLLED_BACK)
    return found, gone


def line(moves: Iterable[tuple[int, str]], now: int | None) -> list[int]:
    """The versions that were champion and were not rolled back since, in order; the last one is champion now.

    Args:
        moves: each version that became champion, with `promote` or `rollback`, in order.
        now: the champion by the registry, which a person may have moved by other means.
    """
    out: list[int] = []
    for version, how in moves:
        if how == "rollback":
            out = _up_to(out, version)
        elif not out or out[-1] != version:
            out.append(version)
    return out if now is None else _up_to(out, now)


def _up_to(line: list[int], version: int) -> list[int]:
    """A line that ends with a version: cut after its last turn, or with it at the end where it had none."""
    if version not in line:
        return [*line, version]
    return line[: len(line) - line[::-1].index(version)]


def taken_back(name: str, former: list[int], now: int | None, to: int | None) -> int:
    """The version that a rollback puts back: the one that is named, or the champion of before.

    Args:
        name: of the model.
        former: what `line` gives.
        now: the champion.
        to: the version that a person named.

    Raises:
        UsageError: no such version was champion, or it is champion.
    """
    before = [version for version in former if version != now]
    chosen = to if to is not None else (before[-1] if before else None)
    if chosen is None:
        raise UsageError(f"{name} had no champion before{f' v{now}' if now else ''}", hint="glue promote VERSION")
    if chosen == now:
        raise UsageError(f"{name} v{chosen} is champion already", hint="glue status")
    if chosen not in former:
        raise UsageError(f"{name} v{chosen} was never champion, or was rolled back", hint=f"glue promote {chosen}")
    return chosen
