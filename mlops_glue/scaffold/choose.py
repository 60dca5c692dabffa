"""Choose the script of a repository that trains, the table that it learns from, and the column that it predicts."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from mlops_glue.assessment.tree import printable
from mlops_glue.errors import UsageError
from mlops_glue.scaffold import feast
from mlops_glue.scaffold import script as scripts
from mlops_glue.scaffold.adopted_repository import Repository
from mlops_glue.scaffold.script import Column, Script
from mlops_glue.suggest import did_you_mean
from mlops_glue.tables import column_names, find_table

log = logging.getLogger(__name__)


class Choice(NamedTuple):
    """The script, table and target that the proposal is built on."""

    script: Script | None
    table: Path
    target: str


class Match(NamedTuple):
    """A table, and its columns that may be the target, likeliest first."""

    table: Path
    columns: list[str]


def choose(found: Repository, data: str | None, target: str | None) -> Choice:
    """Choose by what the user named, then by what the repository has; each guess is logged.

    Raises:
        UsageError: no table or no target is found.
    """
    named = _find_given(found.top, data) if data is not None else None
    ranked = sorted(found.scripts, key=lambda script: _rank(found, script, named, target))
    first = ranked[0] if ranked else None
    candidates: list[Script | None] = [*ranked] or [None]
    for script in candidates:
        tables, notes = _tables(found, script, named)
        tiers = [[target]] if target is not None else script.tiers if script is not None else []
        if script is not first:  # a position means nothing in another table
            tiers = [[name for name in tier if isinstance(name, str)] for tier in tiers[:1]]
        match = _match(tables, tiers)
        if match is not None and (script is first or len({*match.columns}) == 1):  # else several columns may be meant
            break
    else:
        tables, notes = _tables(found, first, named)
        _log(notes)
        raise _not_found(found, first, tables, target)
    _log([*_script_notes(found, script, ranked), *notes])
    table, columns = match
    _log_guess("the table", found.name_of(table), [found.name_of(one) for one in tables if one != table], "--data")
    if target is None:
        _log_guess("the target", columns[0], list(dict.fromkeys(columns[1:])), "--target")
    return Choice(script, table, columns[0])


def _tables(found: Repository, script: Script | None, named: Path | None) -> tuple[list[Path], list[str]]:
    """Return the tables to look into, likeliest first, and notes on those that the script reads."""
    own, notes = found.tables_of(script) if script is not None else ([], [])
    return [named] if named is not None else found.tables_after(own), notes


def _rank(found: Repository, script: Script, data: Path | None, target: str | None) -> tuple[object, ...]:
    """Return the sort key of a script: the script that most likely trains the model comes first."""
    reads = data is None or any(PureWindowsPath(text).name == data.name for text in script.tables)
    return (
        script.estimator is None,
        not reads,
        target is not None and all(target not in tier for tier in script.tiers),
        script.path not in found.stage_of,
        script.path.endswith(".ipynb"),
        scripts.place(script.path),
        not script.tables,
        script.path,
    )


def _match(tables: list[Path], tiers: Sequence[Sequence[Column]]) -> Match | None:
    """Return the first table that has a column of the likeliest tier, with all such columns of it."""
    for tier in tiers:
        for table in tables:
            names = column_names(table) or []
            columns = [column for target in tier if (column := _column(target, names)) is not None]
            if columns and len(names) > 1:  # a table with only labels has nothing to learn from
                return Match(table, columns)
    return None


def _column(target: Column, names: list[str]) -> str | None:
    """Return the column that a script's target names, by name or by position."""
    if isinstance(target, int):
        return names[target] if -len(names) <= target < len(names) else None
    return target if target in names else None


def _find_given(top: Path, data: str) -> Path:
    file = find_table(f"--data {data}", Path(data), top / data)
    if not file.resolve().is_relative_to(top):
        raise UsageError(f"--data {data}: is not in {top}", hint="glue init --data takes any table")
    return file.resolve()


def _log(notes: list[str]) -> None:
    for note in notes:
        log.info(note)


def _script_notes(found: Repository, script: Script | None, ranked: list[Script]) -> list[str]:
    """Return notes on what runs the script, and on the other scripts that are left out."""
    others = [other for other in ranked if other is not script and other.estimator]
    notes = [f"{printable(other.path)} also trains a model: left out" for other in others[:3]]
    if script is not None and script.path in found.stage_of:
        stage = found.stage_of[script.path][0]
        notes.insert(0, f"{printable(script.path)} is run by {stage}, which stays unchanged")
    return notes


def _log_guess(what: str, taken: str, others: list[str], option: str) -> None:
    """Log the alternatives to a guess."""
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        log.info(f"{what} is assumed to be {taken}, not {', '.join(others[:3])}{more}: {option} chooses another")


def _not_found(found: Repository, script: Script | None, tables: list[Path], target: str | None) -> UsageError:
    """Return the error for a repository without a table or a target, with what the user can do."""
    if not tables:
        given = "glue adopt --data TABLE --target COLUMN"
        pull, tracking = f"dvc pull && glue adopt; or {given}", f"{given}; or glue adopt --tracking, without a table"
        return UsageError("found no table to learn from", hint=pull if feast.has_dvc(found.top) else tracking)
    table = found.name_of(tables[0])
    columns = column_names(tables[0]) or []
    if target is not None:
        return UsageError(f"--target {target}: no such column in {table}", hint=did_you_mean(target, columns))
    names = [name for tier in (script.tiers[::-1] if script else []) for name in tier if isinstance(name, str)]
    why = f" {printable(script.path)} predicts {names[0]!r}, which no table here has" if script and names else ""
    more = f"; other tables: {', '.join(map(found.name_of, tables[1:4]))}" if tables[1:] else ""
    return UsageError(
        f"which column of {table} should be predicted?{why}",
        hint=f"glue adopt --data {shlex.quote(table)} --target COLUMN; {did_you_mean('', columns)}{more}",
    )
