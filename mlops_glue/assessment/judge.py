"""Turn the answers into the levels of two maturity models, and the next steps."""

from __future__ import annotations

import shlex
from typing import NamedTuple

from mlops_glue import streaming
from mlops_glue.assessment.capabilities import LEVELS, OF_WHAT_IS_SERVED, PROPOSALS, WITHOUT_TRAINING
from mlops_glue.assessment.evidence import Answer, Evidence
from mlops_glue.assessment.tree import printable

ADOPTABLE = ("sklearn.", "xgboost", "lightgbm", "catboost")  # imports of a script that glue adopt can take over


class Reached(NamedTuple):
    """The level reached in one maturity model, and whether the files show that it is not higher."""

    model: str
    level: int
    highest: int
    name: str
    decided: bool
    needs: tuple[str, ...]  # what the next level requires and was not found


class Step(NamedTuple):
    """A next step: its capability, the command (empty: none), and the measure of its success."""

    capability: str
    says: str
    command: str
    measure: str
    now: str


def levels(answers: dict[str, Answer]) -> list[Reached]:
    """Return the level that the answers reach in each maturity model."""
    out = []
    for model, rows in LEVELS.items():
        reached, decided, needs = 0, True, tuple[str, ...]()
        for number, level in enumerate(rows[1:], 1):
            needs = tuple(name for name in level.needs if answers[name].answer != "found")
            if needs:
                decided = any(answers[name].answer == "not_found" for name in level.shows)
                decided = decided and answers["training"].answer != "not_found"
                break
            reached = number
        out.append(Reached(model, reached, len(rows) - 1, rows[reached].name, decided, needs))
    return out


def steps(evidence: Evidence, answers: dict[str, Answer]) -> list[Step]:
    """Return a step for each missing capability, the most valuable first; with a command only if it can work."""
    is_glue, trains = "glue" in evidence.facts, answers["training"].answer != "not_found"
    commands = _commands(evidence, answers)
    has_run = not is_glue or answers["pipeline"].answer != "hint"
    out = []
    for name, says, measure, command in PROPOSALS:
        answer = answers[name]
        may_be_there = answer.answer == "hint" and not (is_glue or name in ("version_control", "training"))
        if answer.answer == "found" or may_be_there:
            continue
        if not (trains or is_glue or name in WITHOUT_TRAINING):
            continue
        if name in OF_WHAT_IS_SERVED and answers["endpoint"].answer != "found":
            continue
        if has_run or name == "version_control":
            now = evidence.facts.get(name) or (answer.seen.hint if answer.seen is not None else "not found")
            out.append(Step(name, says, commands.get(name, command if is_glue else ""), measure, now))
        elif name == "pipeline":  # everything else follows from the first run
            out.append(Step(name, "Run the pipeline", "glue run", measure, "not run yet"))
    return out


def _commands(evidence: Evidence, answers: dict[str, Answer]) -> dict[str, str]:
    """Return the commands for this repository, in addition to those for glue's own projects."""
    files, seen = evidence.tree.files, answers["training"].seen
    begin = "" if "version_control" in evidence.found else "git init && "
    out = {"version_control": f'{begin}git add -A && git commit -m "first version"'}
    if "glue" in evidence.facts:
        return out | ({"pins": "make lock"} if "\nlock:" in evidence.texts.get("Makefile", "") else {})
    begin = "" if ".dvc/config" in files else "dvc init && "
    out["pins"] = "uv lock" if "pyproject.toml" in files else ""
    if "requirements.txt" in files:
        out["pins"] = "uv pip compile requirements.txt -o requirements.lock"
    out["data_remote"] = "" if begin else "dvc remote add --default storage URL && dvc push"
    out["tracking"] = "glue adopt --tracking"
    data = [file for file in files if file.endswith(streaming.SUFFIXES)]
    if data:
        table = shlex.quote(min(data, key=lambda file: ("train" not in file, file.count("/"), file)))
        out["data_versioning"] = f"{begin}git rm -q --cached --ignore-unmatch {table} && dvc add {table}"
    if seen is None or seen.path not in evidence.modules or seen.hint not in ("", "only in a notebook"):
        return out
    path = shlex.quote(seen.path)
    out["training"] = f"jupyter nbconvert --to script {path}" if seen.path.endswith(".ipynb") else ""
    if data and any(name.startswith(ADOPTABLE) for name in evidence.modules[seen.path].imports):
        out["pipeline"] = "glue adopt"
    elif seen.path.endswith(".py"):
        out["pipeline"] = f"{begin}dvc stage add --name train --deps {path} python {path}"
    return out


def notes(evidence: Evidence) -> list[str]:
    """Return a note on each kind of file that was not read."""
    tree, out = evidence.tree, []
    for paths, problem in (
        (evidence.unread, "contain no Python or YAML that can be read here"),
        (tree.unreadable, "cannot be opened"),
    ):
        if paths:
            out.append(f"{len(paths)} files or folders {problem}: {', '.join(map(printable, paths[:5]))}")
    if tree.left_out:
        out.append(f"{tree.left_out} files beyond the limits of size and number were not read")
    return out
