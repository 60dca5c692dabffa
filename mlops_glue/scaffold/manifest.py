"""The record of what glue wrote into a project, and from which answers: the base of `glue upgrade`'s merges.

The record is one JSON file in git, so that a fresh clone has it. Its texts are lists of lines, so that git shows and
merges them line by line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlops_glue import files, layout
from mlops_glue.errors import UsageError
from mlops_glue.version import __version__

Answers = dict[str, dict[str, Any]]  # the values of the templates, by template folder


@dataclass(frozen=True)
class Part:
    """The files that one command wrote."""

    version: str  # of glue
    answers: Answers
    files: dict[str, str | None]  # text by path from the project folder; None: the user had a file there


def render(answers: Answers) -> dict[str, str]:
    """Return the text of every file by path, as this version's templates render it from the answers."""
    from mlops_glue import config as configs
    from mlops_glue.scaffold import feature_repo

    made: dict[str, str] = {}
    for template, values in answers.items():
        if template == "feast":
            made |= feature_repo.repository_files(values)
        elif template == "feature_repo":
            sources = sorted(layout.feature_repo().glob("*.*"))
            made |= {f"feature_repo/{source.name}": source.read_text(encoding="utf-8") for source in sources}
        else:
            made |= rendered(layout.templates() / template, values)
    return {**made, layout.SCHEMA: configs.json_schema()}


def rendered(folder: Path, values: dict[str, Any], marks: tuple[str, str] = ("{{", "}}")) -> dict[str, str]:
    """Return the rendered files of a template folder, by path; `gitignore` and the like get their leading dot."""
    made = {}
    for source in sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        path = source.relative_to(folder).as_posix()
        made[f".{path}" if path in ("gitignore", "dvcignore") else path] = files.render(source, values, marks)
    return made


def recorded(
    parts: dict[str, Part], command: str, answers: Answers, made: Mapping[str, str], written: Iterable[str]
) -> dict[str, Part]:
    """Return the record with the files that a command rendered and wrote; files of its earlier calls stay."""
    before = parts.get(command, Part(__version__, {}, {}))
    files = dict.fromkeys(made) | before.files | {path: made[path] for path in written}
    files.pop(layout.SCHEMA, None)  # nobody edits it, so it is always overwritten
    if command in parts and files == before.files:
        return parts
    return {**parts, command: Part(__version__, {**answers, **before.answers}, files)}


def load(root: Path) -> dict[str, Part]:
    """Return the record, by command; empty if there is none.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        parts = {name: Part(**part) for name, part in files.read_json(root / layout.GENERATED).items()}
        return {
            name: Part(part.version, part.answers, {p: x and "".join(x) for p, x in part.files.items()})
            for name, part in parts.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise unreadable(str(error)) from error


def unreadable(why: str) -> UsageError:
    """Return the error for a record that glue cannot read."""
    return UsageError(f"{layout.GENERATED} cannot be read: {why}", hint=f"git checkout HEAD -- {layout.GENERATED}")


def write(root: Path, parts: dict[str, Part]) -> None:
    """Write the record."""
    lines = {
        name: {**asdict(part), "files": {p: x and x.splitlines(keepends=True) for p, x in part.files.items()}}
        for name, part in parts.items()
    }
    files.write_json(root / layout.GENERATED, lines)
