"""Facts about a model, its data and its registry, shared by the project pages and the pull request report."""

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
RESULT = "result.json"  # of a validation, in the validation folder
MOST_VERSIONS = 20

Evaluation = Mapping[str, Any]  # the JSON that `evaluate` writes


@dataclass(frozen=True)
class Metric:
    """A metric on the holdout, with the values it is compared with (None: unknown)."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    trivial: float | None
    threshold: str  # in words; empty if there is none
    met: bool | None
    champion: float | None
    base: float | None  # at the base commit
    difference: float | None  # from `base`
    higher_is_better: bool


@dataclass(frozen=True)
class Version:
    """A version in the registry, and its origin."""

    version: int
    created: str  # ISO 8601, UTC
    state: list[str]  # its aliases, rolled back, refused
    metrics: dict[str, float]  # at registration
    refused: str | None
    commit: str | None
    dirty: bool
    format: str | None


@dataclass(frozen=True)
class Registry:
    """The registry's content for a model."""

    problem: str | None = None  # why the registry could not be read
    versions: list[Version] = field(default_factory=list)  # newest first
    all: int = 0  # the number of versions
    moves: list[dict[str, Any]] = field(default_factory=list)  # changes of champion, newest first
    champion: Version | None = None
    server: str | None = None  # None: the project's local registry


@dataclass(frozen=True)
class Slices:
    """Metrics by value of a column."""

    column: str
    rows: list[dict[str, Any]]
    values: int  # the number of distinct values in the column


def slices(evaluation: Evaluation | None) -> list[Slices]:
    """Return the slices of an evaluation, grouped by column."""
    by_column: dict[str, list[dict[str, Any]]] = {}
    for row in evaluation["slices"] if evaluation else ():
        by_column.setdefault(row["column"], []).append(row)
    return [Slices(column, rows, rows[0].get("values", len(rows))) for column, rows in by_column.items()]


def read_json(path: Path) -> Any:
    """Read a JSON file; None if it does not exist or is incomplete."""
    try:
        return files.read_json(path)
    except (OSError, ValueError):
        return None


def database_problem(path: Path, *, thorough: bool = False) -> str | None:
    """Check a SQLite database: its header, or with `thorough` all of it. Return the problem; None if it is sound."""
    if not path.is_file():
        return "does not exist"
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
    """Return each metric of an evaluation.

    Args:
        evaluation: the evaluation; None: no model has been evaluated.
        champion: the champion's metrics.
        base: another commit's evaluation; ignored if its task is different.
        main: the metric to list first.
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
    """Read the validation result in a folder, failed expectations first; None if there is none."""
    result = read_json(folder / RESULT)
    return validated.expectations(result) if result is not None else None


def registry(config: configs.Config, root: Path) -> Registry:
    """Read the versions, the champion and its history; empty if there is no registry yet."""
    server = _server(config)
    try:
        store = read_only(root, config)
        if store is None:
            is_lost = config.tracking.uri is None and (root / layout.DELIVERY).is_file()
            return Registry(f"{layout.TRACKING_DB} does not exist" if is_lost else None)
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
    """The tracking server for display. For a URL with a secret or a variable, only the variables' names."""
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
