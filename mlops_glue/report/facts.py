"""Facts about a model, its data and its registry, which the project's page and a pull request's report share."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import files, layout, pages
from mlops_glue.delivery import history
from mlops_glue.delivery.fetch import read_only
from mlops_glue.errors import GlueError
from mlops_glue.pipeline import validated
from mlops_glue.pipeline.evaluation import higher_is_better
from mlops_glue.pipeline.validated import Expectation
from mlops_glue.trusted import RUNS_CODE, described_form

EVALUATION = f"{layout.EVALUATION}/evaluation.json"
RESULT = "result.json"  # of a validation, in its folder
MOST_VERSIONS = 20

Evaluation = Mapping[str, Any]  # as `evaluate` writes it


@dataclass(frozen=True)
class Metric:
    """A metric on the holdout, with what it is compared with (None: not known)."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    trivial: float | None
    threshold: str  # what it asks for; empty where there is none
    met: bool | None
    champion: float | None
    base: float | None  # of another commit
    difference: float | None  # from that
    higher_is_better: bool


@dataclass(frozen=True)
class Version:
    """A version in the registry, and what it leads back to."""

    version: int
    created: str  # ISO 8601, UTC
    state: list[str]  # its aliases, rolled back, refused
    metrics: dict[str, float]  # as they were when it was registered
    refused: str | None
    commit: str | None
    dirty: bool
    format: str | None


@dataclass(frozen=True)
class Registry:
    """What the registry says of a model."""

    problem: str | None = None  # why it could not be read
    versions: list[Version] = field(default_factory=list)  # newest first
    all: int = 0  # how many there are
    moves: list[dict[str, Any]] = field(default_factory=list)  # of the champion, newest first
    champion: Version | None = None
    server: str | None = None  # None: the project's own


@dataclass(frozen=True)
class Slices:
    """The metrics by value of a column."""

    column: str
    rows: list[dict[str, Any]]
    values: int  # how many values the column has


def slices(evaluation: Evaluation | None) -> list[Slices]:
    """The slices of an evaluation, by column."""
    by_column: dict[str, list[dict[str, Any]]] = {}
    for row in evaluation["slices"] if evaluation else ():
        by_column.setdefault(row["column"], []).append(row)
    return [Slices(column, rows, rows[0].get("values", len(rows))) for column, rows in by_column.items()]


def read_json(path: Path) -> Any:
    """What a JSON file holds; None where there is no file, or it is torn."""
    try:
        return files.read_json(path)
    except (OSError, ValueError):
        return None


def database_problem(path: Path, *, thorough: bool = False) -> str | None:
    """What is wrong with a database, as its head or (`thorough`) all of it tells; None if nothing is."""
    if not path.is_file():
        return "is not there"
    pragma = "integrity_check" if thorough else "schema_version"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            (answer,) = database.execute(f"pragma {pragma}").fetchone()
    except sqlite3.Error as error:
        return f"cannot be read ({error})"
    return f"is damaged: {answer}" if thorough and answer != "ok" else None


def metrics(
    evaluation: Evaluation | None,
    champion: Mapping[str, float] | None = None,
    base: Evaluation | None = None,
    main: str | None = None,
) -> list[Metric]:
    """Each metric of an evaluation.

    Args:
        evaluation: what was measured; None: nothing.
        champion: the champion's metrics.
        base: another commit's evaluation; one of another task counts for nothing.
        main: the metric that comes first.
    """
    if evaluation is None:
        return []
    limits = {limit["metric"]: limit for limit in evaluation["thresholds"]}
    before = base["metrics"] if base and base["task"] == evaluation["task"] else {}
    rows = []
    for name, score in evaluation["metrics"].items():
        value, other = score["value"], before.get(name, {}).get("value")
        rows.append(
            Metric(
                name=name,
                **{key: score[key] for key in ("value", "low", "high", "trivial")},
                threshold=pages.bounds(limits[name]) if name in limits else "",
                met=limits[name]["met"] if name in limits else None,
                champion=(champion or {}).get(name),
                base=other,
                difference=None if value is None or other is None else value - other,
                higher_is_better=higher_is_better(evaluation["task"], name, score),
            )
        )
    return sorted(rows, key=lambda row: row.name != main)


def expectations(folder: Path) -> list[Expectation] | None:
    """What the validation in a folder found, what is not met first; None where there was none."""
    result = read_json(folder / RESULT)
    return validated.expectations(result) if result is not None else None


def registry(config: configs.Config, root: Path) -> Registry:
    """The versions, the champion, and how it changed; nothing where there is no registry yet."""
    server = _server(config)
    try:
        store = read_only(root, config)
        if store is None:
            was_there = config.tracking.uri is None and (root / layout.DELIVERY).is_file()
            return Registry(f"{layout.TRACKING_DB} is not there" if was_there else None)
        count, found = store.overview(config.model_name, MOST_VERSIONS)
        moves = list(reversed(store.champion_history(config.model_name) if found else []))
    except GlueError as error:
        return Registry(error.message, server=server)
    were_champion = {version for version, _, _ in moves}
    versions = [_version(entry, was_champion=entry["version"] in were_champion) for entry in found]
    return Registry(
        versions=versions,
        all=count,
        moves=[{"version": version, "how": how, "when": when} for version, how, when in moves],
        champion=next((version for version in versions if "champion" in version.state), None),
        server=server,
    )


def _server(config: configs.Config) -> str | None:
    """The tracking server as it may be shown: none of a URL with a secret or a variable in it but the names."""
    uri = config.tracking.uri
    if uri is None or re.fullmatch(r"https?://[^@\s$]+", uri):
        return uri
    return ", ".join(f"${{{name}}}" for name in configs.references(uri)) or "elsewhere"


def _version(entry: Mapping[str, Any], *, was_champion: bool) -> Version:
    tags, state = entry["tags"], [*entry["aliases"]]
    if history.ROLLED_BACK in tags:
        state.append("rolled back")
    refused = history.refusal(tags) if not was_champion and "champion" not in entry["aliases"] else None
    if refused:
        state.append("refused")
    return Version(
        version=entry["version"],
        created=entry["created"],
        state=state,
        metrics=entry["metrics"],
        refused=refused,
        commit=tags.get("mlflow.source.git.commit"),
        dirty=tags.get("glue.git_dirty") == "true",
        format=described_form(tags["glue.format"], tags.get(RUNS_CODE)) if "glue.format" in tags else None,
    )
