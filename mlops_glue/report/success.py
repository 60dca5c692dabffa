"""A project's measures of success: how often and how quickly models reach production and problems are detected.

The first, second and fourth are DORA metrics (https://dora.dev/guides/dora-metrics/), applied to a model: a deployment
is a promotion to champion. The data are from the audit record, the registry, git and the monitoring history. If they
are missing, the measure is `n/a` and its text gives the reason.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue.adapters import git
from mlops_glue.delivery import audit, history
from mlops_glue.delivery.fetch import read_only
from mlops_glue.errors import GlueError, first_line
from mlops_glue.monitoring.history import past
from mlops_glue.monitoring.wording import duration

DAY = 86_400.0  # s
ALERTS = ("drift", "performance")  # verdicts of monitoring runs
COMMIT, DIRTY = "mlflow.source.git.commit", "glue.git_dirty"  # tags of a version
TITLES = {
    "deployment_frequency": "deployment frequency",
    "lead_time": "lead time from commit to champion",
    "time_to_detect": "time to detect drift",
    "time_to_restore": "time to restore",
    "refused_share": "share of refused candidates",
}
UNITS = {"deployment_frequency": "per 30 days", "refused_share": "share"}


@dataclass(frozen=True)
class Measure:
    """A measure of success.

    Attributes:
        name: a key of `TITLES`.
        title: in words.
        value: in `unit`; None if it is unknown.
        unit: `per 30 days`, `s`, or `share` (0 to 1).
        text: the value in words, with the number of events; or `n/a` with the reason.
    """

    name: str
    title: str
    value: float | None
    unit: str
    text: str


@dataclass(frozen=True)
class Known:
    """The data for the measures.

    Attributes:
        moves: the moves of the alias `champion` in the audit record, in order.
        tags: the tags of each version in the registry.
        committed: the time of each version's commit; commits that are missing from this clone are omitted.
        runs: the monitoring runs in the history, in order.
        problem: why the registry could not be read; None if it was read.
    """

    moves: Sequence[Mapping[str, Any]] = ()
    tags: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    committed: Mapping[str, datetime] = field(default_factory=dict)
    runs: Sequence[Mapping[str, Any]] = ()
    problem: str | None = None


def collect(config: configs.Config, root: Path) -> list[Measure]:
    """Compute the current measures of a project. It only reads, and contacts the registry's server if there is one."""
    try:
        return measures(_known(config, root), datetime.now(UTC))
    except (ValueError, KeyError, TypeError) as error:
        return unknown(f"a record has been edited and cannot be read: {first_line(error)}")


def unknown(why: str) -> list[Measure]:
    """Return all measures as unknown."""
    return [_measure(name, None, why) for name in TITLES]


def measures(known: Known, now: datetime) -> list[Measure]:
    """Return each measure, in the order of `TITLES`."""
    moves = [{**move, "time": datetime.fromisoformat(move["time"])} for move in known.moves]
    deployed = [move for move in moves if move["version"] is not None and move["event"] != "rollback"]
    return [_frequency(deployed, now), _lead(deployed, known), _detect(known), _restore(moves, known), _refused(known)]


def _known(config: configs.Config, root: Path) -> Known:
    model, registry, tags, problem = config.model_name, None, dict[int, dict[str, str]](), None
    try:
        store = read_only(root, config)
        if store is not None:
            from mlops_glue.adapters.mlflow import REGISTRY

            tags = store.tags_by_version(model)
            registry = store.get_model_tag(model, REGISTRY) if tags else None
    except GlueError as error:
        problem = error.message
    contents = (entry.content for entry in audit.entries(root))
    moves = [of for of in contents if of["model"] == model and of["alias"] == "champion"]
    ours = [of for of in moves if not tags or of.get("registry") in (None, registry)]
    commits = {of[COMMIT] for of in tags.values() if of.get(COMMIT)}
    times = {commit: git.commit_time(root, commit) for commit in commits}
    runs = [run for run in past(root) if (run["model"], run["env"]) == (model, config.environment)]
    return Known(ours, tags, {commit: when for commit, when in times.items() if when is not None}, runs, problem)


def _measure(name: str, value: float | None, text: str) -> Measure:
    return Measure(name, TITLES[name], value, UNITS.get(name, "s"), text if value is not None else f"n/a: {text}")


def _frequency(deployed: Sequence[Mapping[str, Any]], now: datetime) -> Measure:
    """Over the time since the first deployment."""
    name = "deployment_frequency"
    if not deployed:
        return _measure(name, None, "no promotion to champion in the audit record")
    days = (now - deployed[0]["time"]).total_seconds() / DAY
    if days < 1:
        return _measure(name, None, f"{_count(deployed, 'deployment')}, the first less than a day ago")
    rate = len(deployed) * 30 / days
    return _measure(name, rate, f"{rate:.1f} in 30 days ({len(deployed)} in {days:.0f})")


def _lead(deployed: Sequence[Mapping[str, Any]], known: Known) -> Measure:
    """For each commit, use only the first version promoted: a retraining on new rows may have an old commit."""
    name, spans, left_out = "lead_time", dict[str, float](), 0
    for move in deployed:
        tags = known.tags.get(move["version"], {})
        commit = tags.get(COMMIT, "")
        if commit in known.committed and tags.get(DIRTY) == "false":
            spans.setdefault(commit, (move["time"] - known.committed[commit]).total_seconds())
        else:
            left_out += 1
    if not spans:
        why = "no champion so far was trained on a clean commit that is in this clone"
        return _measure(name, None, known.problem or why)
    without = f"; excluded: {left_out} without a clean commit in this clone" if left_out else ""
    return _measure(name, *_median(spans.values(), f"{_count(spans, 'commit')}{without}"))


def _episodes(known: Known) -> Iterator[tuple[datetime | None, datetime, datetime | None]]:
    """Yield the times of each alert: the last quiet run before it, the run that raised it, and the next quiet run."""
    quiet: datetime | None = None
    began: datetime | None = None
    for run in known.runs:
        when = datetime.fromisoformat(run["time"])
        if run["verdict"] in ALERTS:
            began = began or when
        elif run["verdict"] == "ok":
            if began is not None:
                yield quiet, began, when
            quiet, began = when, None
    if began is not None:
        yield quiet, began, None


def _detect(known: Known) -> Measure:
    name = "time_to_detect"
    if not known.runs:
        return _measure(name, None, "no run of glue monitor is recorded in this project")
    spans = [(began - quiet).total_seconds() for quiet, began, _ in _episodes(known) if quiet is not None]
    if not spans:
        return _measure(name, None, f"no alert after a quiet run in {_count(known.runs, 'run')} of glue monitor")
    return _measure(name, *_median(spans, f"{_count(spans, 'alert')}, each from the last quiet run"))


def _restore(moves: Sequence[Mapping[str, Any]], known: Known) -> Measure:
    """Measure the time from an alert to the next quiet run, and from a promotion to its rollback."""
    name, alerts = "time_to_restore", list(_episodes(known))
    spans = [(ended - began).total_seconds() for _, began, ended in alerts if ended is not None]
    since = dict[int | None, datetime]()
    rolled_back = []
    for move in moves:
        if move["event"] == "rollback" and move["previous"] in since:
            rolled_back.append((move["time"] - since[move["previous"]]).total_seconds())
        since[move["version"]] = move["time"]
    still = len(alerts) - len(spans)
    open_now = f"; {still} still open" if still else ""
    if not spans and not rolled_back:
        return _measure(name, None, f"no resolved alert and no rollback{open_now}")
    of = f"{_count(spans, 'alert')}, {_count(rolled_back, 'rollback')}{open_now}"
    return _measure(name, *_median([*spans, *rolled_back], of))


def _refused(known: Known) -> Measure:
    """Use the first decision on each version, whatever a person decided later."""
    name = "refused_share"
    try:
        first = [made[0] for tags in known.tags.values() if (made := history.decisions(tags))]
    except GlueError as error:  # a decision was overwritten
        return _measure(name, None, error.message)
    if not first:
        return _measure(name, None, known.problem or "no candidate in the registry yet")
    refused = sum(bool(decision["refused"]) for decision in first)
    return _measure(name, refused / len(first), f"{refused / len(first):.0%} ({refused} of {len(first)})")


def _median(spans: Iterable[float], of: str) -> tuple[float, str]:
    middle = statistics.median(spans)
    return middle, f"{duration(middle)} (median of {of})"


def _count(of: Sequence[Any] | Mapping[str, Any], what: str) -> str:
    return f"{len(of)} {what}{'s' * (len(of) != 1)}"
