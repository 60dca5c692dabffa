"""What the answers decide: the levels of two maturity models, and the next steps."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from mlops_glue import tables
from mlops_glue.assessment.capabilities import LEVELS, OF_WHAT_IS_SERVED, STEPS, WITHOUT_TRAINING
from mlops_glue.assessment.evidence import Answer, Evidence
from mlops_glue.assessment.tree import printable


@dataclass(frozen=True)
class Level:
    """The level of one model: reached at least, and whether the files decide that it is no higher."""

    model: str
    level: int
    highest: int
    name: str
    decided: bool
    needs: tuple[str, ...]  # what the next level asks for and was not found


@dataclass(frozen=True)
class Step:
    """What to do next: for which capability, what to type (empty: nothing), and what to measure it by."""

    capability: str
    says: str
    command: str
    measure: str
    now: str


def levels(answers: dict[str, Answer]) -> list[Level]:
    """Of each model, by what was found."""
    out = []
    for model, rows in LEVELS.items():
        reached, decided, needs = 0, True, tuple[str, ...]()
        for number, (_, asked, shown) in enumerate(rows[1:], 1):
            needs = tuple(name for name in asked.split() if answers[name].answer != "found")
            if needs:
                decided = any(answers[name].answer == "not_found" for name in shown.split())
                decided = decided and answers["training"].answer != "not_found"
                break
            reached = number
        out.append(Level(model, reached, len(rows) - 1, rows[reached][0], decided, needs))
    return out


def steps(evidence: Evidence, answers: dict[str, Answer]) -> list[Step]:
    """What is not there, the most valuable first; a command only where it can work."""
    glue, trains = "glue" in evidence.facts, answers["training"].answer
    elsewhere = _commands(evidence, answers)
    new = glue and answers["pipeline"].answer == "hint"
    out = []
    for name, says, measure, typed in STEPS:
        answer = answers[name]
        begun = glue or name in ("version_control", "training")  # elsewhere a hint may well be the thing itself
        if answer.answer == "found" or (answer.answer == "hint" and not begun):
            continue
        if trains == "not_found" and not glue and name not in WITHOUT_TRAINING:
            continue
        if name in OF_WHAT_IS_SERVED and answers["endpoint"].answer != "found":
            continue
        if new and name != "version_control":  # all else comes of a run
            if name == "pipeline":
                out.append(Step(name, "Run the pipeline", "glue run", measure, "not run yet"))
            continue
        now = evidence.facts.get(name) or (answer.seen.hint if answer.seen is not None else "not found")
        command = elsewhere.get(name, typed if glue else "")
        out.append(Step(name, says, command, measure, now))
    return out


def _commands(evidence: Evidence, answers: dict[str, Answer]) -> dict[str, str]:
    """What to type in this repository, as far as it is more than a command of glue's own projects."""
    files, seen = evidence.tree.files, answers["training"].seen
    out = {"version_control": 'git add -A && git commit -m "first version"'}
    if "version_control" not in evidence.found:
        out["version_control"] = f"git init && {out['version_control']}"
    if "glue" in evidence.facts:
        return out | ({"pins": "make lock"} if "\nlock:" in evidence.texts.get("Makefile", "") else {})
    begin = "" if ".dvc/config" in files else "dvc init && "
    out["pins"] = "uv lock" if "pyproject.toml" in files else ""
    if "requirements.txt" in files:
        out["pins"] = "uv pip compile requirements.txt -o requirements.lock"
    out["data_remote"] = "" if begin else "dvc remote add --default storage URL && dvc push"
    out["tracking"] = "glue adopt --tracking"
    data = [file for file in files if file.endswith(tables.SUFFIXES)]
    data.sort(key=lambda file: ("train" not in file, file.count("/"), file))
    if data:
        table = shlex.quote(data[0])
        out["data_versioning"] = f"{begin}git rm -q --cached --ignore-unmatch {table} && dvc add {table}"
    if seen is None or seen.path not in evidence.modules or seen.hint not in ("", "only in a notebook"):
        return out
    path = shlex.quote(seen.path)
    out["training"] = f"jupyter nbconvert --to script {path}" if seen.path.endswith(".ipynb") else ""
    known = ("sklearn.", "xgboost", "lightgbm", "catboost")  # what glue adopt can take over
    if data and any(name.startswith(known) for name in evidence.modules[seen.path].imports):
        out["pipeline"] = "glue adopt"
    elif seen.path.endswith(".py"):
        out["pipeline"] = f"{begin}dvc stage add --name train --deps {path} python {path}"
    return out


def notes(evidence: Evidence) -> list[str]:
    """What a reader should know of what was not read."""
    out = evidence.notes[:5]
    if len(evidence.notes) > 5:
        out.append(f"and {len(evidence.notes) - 5} more such")
    tree = evidence.tree
    if tree.unreadable:
        out.append(
            f"{len(tree.unreadable)} files or folders cannot be read: {', '.join(map(printable, tree.unreadable[:3]))}"
        )
    if tree.left_out:
        out.append(f"{tree.left_out} files beyond the bounds of size and number were not read")
    return out
