"""`glue assess`: what a repository shows of MLOps, from what is in it, and what to do next."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

from mlops_glue import console, files, layout
from mlops_glue.assessment import judge
from mlops_glue.assessment.capabilities import CAPABILITIES, RUBRIC, SOURCES
from mlops_glue.assessment.evidence import Answer, Evidence
from mlops_glue.assessment.scan import collect
from mlops_glue.assessment.tree import printable
from mlops_glue.errors import UsageError

FORMAT = 2  # of --json
NEXT = 5  # steps that are shown; the strategy page has them all
MARKS = {"found": "+", "hint": "?", "not_found": "-"}


def assess(path: str, *, as_json: bool = False, markdown: bool = False, page: str | None = None) -> int:
    """Read the repository, judge, print; with `page` write the strategy page, which must not be there yet."""
    root = Path(path).resolve()
    if not root.is_dir():
        raise UsageError(f"{path}: no such folder", hint="glue assess .")
    if page is not None and Path(page).exists():
        raise UsageError(f"{page} is there already, and people may have filled it in", hint="--output OTHER.md")
    evidence = collect(root)
    answers = evidence.answers()
    if as_json:
        console.result_json(_json(root, evidence, answers))
    elif markdown:
        console.result(_render("assessment.md", root, evidence, answers))
    else:
        _print(evidence, answers)
    if page is not None:
        files.write_text(Path(page), _render("strategy.md", root, evidence, answers))
        console.progress(f"wrote {page}")
    return 0


def _print(evidence: Evidence, answers: dict[str, Answer]) -> None:
    for area, group in groupby(answers.values(), key=lambda one: one.capability.area):
        console.result(area)
        for one in group:
            console.result(f"  {MARKS[one.answer]} {one.capability.title:<50} {_where(one)}".rstrip())
    console.result()
    console.result("+ found   ? only a hint   - not found, which does not say that it is not there")
    for level in judge.levels(answers):
        console.result(_level(level))
    for note in judge.notes(evidence):
        console.result(f"note: {note}")
    for number, step in enumerate(judge.steps(evidence, answers)[:NEXT], 1):
        console.result(f"\n{number}. {step.says}" + (f"\n     {step.command}" if step.command else ""))


def _where(one: Answer) -> str:
    if one.seen is None:
        return ""
    more = f" and {one.more} more" if one.more else ""
    return f"{one.seen.place}{f', {one.seen.hint}' if one.seen.hint else ''}{more}"


def _level(level: judge.Level) -> str:
    reached = f"{level.level}, {level.name}" if level.decided else f"not decided, at least {level.level}"
    line = f"{level.model} MLOps level (0 to {level.highest}): {reached}"
    if level.needs:
        wanted = ", ".join(CAPABILITIES[name].title for name in level.needs)
        line += f"; level {level.level + 1} needs: {wanted}"
    return line


def _json(root: Path, evidence: Evidence, answers: dict[str, Answer]) -> dict[str, Any]:
    """The documented form: see the README."""
    return {
        "format": FORMAT,
        "path": str(root),
        "files": len(evidence.tree.files),
        "capabilities": [
            {
                "capability": name,
                "area": one.capability.area,
                "title": one.capability.title,
                "answer": one.answer,
                "file": printable(one.seen.path) if one.seen else None,
                "line": (one.seen.line or None) if one.seen else None,
                "what": one.seen.what if one.seen else None,
                "hint": (one.seen.hint or None) if one.seen else None,
                "more": one.more,
            }
            for name, one in answers.items()
        ],
        "levels": [
            {
                "model": one.model,
                "level": one.level if one.decided else None,
                "at_least": one.level,
                "of": one.highest,
                "next_needs": list(one.needs),
            }
            for one in judge.levels(answers)
        ],
        "next_steps": [
            {
                "capability": s.capability,
                "says": s.says,
                "command": s.command or None,
                "measure": s.measure,
                "now": s.now,
            }
            for s in judge.steps(evidence, answers)[:NEXT]
        ],
        "facts": evidence.facts,
        "notes": judge.notes(evidence),
        "sources": SOURCES,
    }


def _render(template: str, root: Path, evidence: Evidence, answers: dict[str, Answer]) -> str:
    found = judge.steps(evidence, answers)
    values = {
        "name": root.name,
        "answers": answers.values(),
        "marks": {"found": "found", "hint": "only a hint", "not_found": "not found"},
        "where": _where,
        "levels": [_level(level) for level in judge.levels(answers)],
        "steps": found if template == "strategy.md" else found[:NEXT],
        "rubric": {
            section: [(says, [answers[name] for name in names.split()]) for says, names in tests]
            for section, tests in RUBRIC.items()
        },
        "notes": judge.notes(evidence),
        "sources": SOURCES.values(),
        "cell": lambda text: text.replace("|", "\\|").replace("<", "&lt;"),
    }
    return files.render(layout.templates() / "assessment" / template, values)
