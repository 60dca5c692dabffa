"""Which script of a repository trains, which table it learns from, and which column it predicts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

from mlops_glue.assessment.tree import printable
from mlops_glue.errors import UsageError
from mlops_glue.scaffold import feast
from mlops_glue.scaffold import script as scripts
from mlops_glue.scaffold.repository import Repository
from mlops_glue.scaffold.script import Script
from mlops_glue.suggest import did_you_mean
from mlops_glue.tables import column_names, find_table


class Choice(NamedTuple):
    """What the proposal is built on."""

    script: Script | None
    table: Path
    target: str


class Match(NamedTuple):
    """A table, and its columns that may be the target, likeliest first."""

    table: Path
    columns: list[str]


def choose(found: Repository, data: str | None, target: str | None) -> Choice:
    """By what the user named, then by what is there. What was guessed is added to the notes.

    Args:
        found: the repository.
        data: the table that the user named.
        target: the column that the user named.

    Raises:
        UsageError: no table, or no target, is found.
    """
    named = _given(found.top, data) if data is not None else None
    ranked = sorted(found.scripts, key=lambda script: _rank(found, script, named, target))
    script = ranked[0] if ranked else None
    own, notes = found.tables_of(script) if script is not None else ([], [])
    tables = [named] if named is not None else found.tables_after(own)
    tiers = script.tiers() if script is not None else []
    match = _match(tables, [[target]] if target is not None else tiers)
    if match is None and target is None:
        other = _other_script(found, ranked[1:], named, own)
        if other is not None:
            script, tables, notes, match = other
    _note_scripts(found, script, [other for other in ranked if other is not script])
    found.notes += notes
    if match is None and data and target:
        match = Match(tables[0], [target])  # `plan` says that the table has no such column
    if match is None:
        raise _not_found(found, ranked[0] if ranked else None, tables, target)
    table, columns = match
    others = [found.name_of(other) for other in tables if other != table]
    _note_guess(found, "the table", found.name_of(table), others, "--data")
    if target is None:
        _note_guess(found, "the target", columns[0], list(dict.fromkeys(columns[1:])), "--target")
    return Choice(script, table, columns[0])


def _other_script(
    found: Repository, others: list[Script], named: Path | None, own: list[Path]
) -> tuple[Script, list[Path], list[str], Match] | None:
    """The first of the other scripts that names one target which a table has."""
    for script in others:
        its_own, notes = found.tables_of(script)
        tables = [named] if named is not None else own or found.tables_after(its_own)
        match = _match(tables, [[name for name in tier if isinstance(name, str)] for tier in script.tiers()[:1]])
        if match is not None and len({*match.columns}) == 1:  # labels made of several columns are none of them
            return script, tables, notes, match
    return None


def _rank(found: Repository, script: Script, data: Path | None, target: str | None) -> tuple[Any, ...]:
    """What sorts the scripts: the likeliest to be the one that trains comes first."""
    reads = data is None or any(PureWindowsPath(text).name == data.name for text in script.tables)
    return (
        script.estimator is None,
        not reads,
        target is not None and all(target not in tier for tier in script.tiers()),
        script.path not in found.stage_of,
        script.path.endswith(".ipynb"),
        scripts.place(script.path),
        not script.tables,
        script.path,
    )


def _match(tables: list[Path], tiers: Sequence[Sequence[str | int]]) -> Match | None:
    """The first table that has a column of the likeliest tier, with all such columns of it."""
    for tier in tiers:
        for table in tables:
            names = column_names(table) or []
            columns = [column for target in tier if (column := _column(target, names)) is not None]
            if columns and len(names) > 1:  # a file of labels alone is nothing to learn from
                return Match(table, columns)
    return None


def _column(target: str | int, names: list[str]) -> str | None:
    """The column that a script's target is, by name or by place."""
    if isinstance(target, int):
        return names[target] if -len(names) <= target < len(names) else None
    return target if target in names else None


def _given(top: Path, data: str) -> Path:
    file = find_table(f"--data {data}", Path(data), top / data)
    if not file.resolve().is_relative_to(top):
        raise UsageError(f"--data {data}: is not in {top}", hint="glue init --data takes any table")
    return file.resolve()


def _note_scripts(found: Repository, script: Script | None, others: list[Script]) -> None:
    """Which script is followed, and which are not."""
    if script is not None and script.path in found.stage_of:
        found.notes.append(f"{printable(script.path)} is run by {found.stage_of[script.path][0]}, which stays as it is")
    if script is not None and script.server:
        found.notes.append("its runs go to a server; glue's too with tracking: {uri: ${MLFLOW_TRACKING_URI}}")
    found.notes += [f"{printable(other.path)} trains a model too: left out" for other in others[:3] if other.estimator]


def _note_guess(found: Repository, what: str, taken: str, others: list[str], option: str) -> None:
    """What a guess could have been instead."""
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        found.notes.append(f"{what} is taken to be {taken}, not {', '.join(others[:3])}{more}: {option} says otherwise")


def _not_found(found: Repository, script: Script | None, tables: list[Path], target: str | None) -> UsageError:
    """Why there is nothing to learn from, and what can be done about it."""
    if not tables:
        given = "glue adopt --data TABLE --target COLUMN"
        if feast.has_dvc(found.top):
            hint = f"dvc pull && glue adopt; or {given}"
        else:
            hint = f"{given}; or glue adopt --tracking, which needs none"
        return UsageError("no table is found to learn from", hint=hint)
    table = found.name_of(tables[0])
    columns = column_names(tables[0]) or []
    if target is not None:
        return UsageError(f"--target {target}: no such column in {table}", hint=did_you_mean(target, columns))
    tiers = script.tiers() if script is not None else []
    names = [name for tier in (tiers[1:2], tiers[:1]) for part in tier for name in part if isinstance(name, str)]
    why = f" {printable(script.path)} predicts {names[0]!r}, which no table here has" if script and names else ""
    more = f"; other tables: {', '.join(map(found.name_of, tables[1:4]))}" if tables[1:] else ""
    return UsageError(
        f"which column of {table} is to be predicted?{why}",
        hint=f"glue adopt --data {shlex.quote(table)} --target COLUMN; {did_you_mean('', columns)}{more}",
    )
