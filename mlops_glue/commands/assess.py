"""`glue assess`: show the MLOps practices that a repository's files reveal, and the next steps."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue import console, files, layout
from mlops_glue.assessment import judge
from mlops_glue.assessment.capabilities import CAPABILITIES, RUBRIC, SOURCES
from mlops_glue.assessment.evidence import Answer, Evidence
from mlops_glue.assessment.scan import collect
from mlops_glue.assessment.tree import printable
from mlops_glue.errors import GlueError, UsageError

if TYPE_CHECKING:
    from mlops_glue.report.success import Measure

FORMAT = 2  # of --json
NEXT = 5  # steps to show; the strategy page lists all of them
MARKS = {"found": "+", "hint": "?", "not_found": "-"}


def assess(path: str, *, as_json: bool = False, markdown: bool = False, page: str | None = None) -> int:
    """Read and assess the repository, print the result, and write the strategy page `page`, which must not exist."""
    root = Path(path).resolve()
    if not root.is_dir():
        raise UsageError(f"{path}: no such folder", hint="glue assess .")
    if page is not None and Path(page).exists():
        raise UsageError(f"{page} already exists, and may contain manual entries", hint="--output OTHER.md")
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
    for area, group in groupby(answers.values(), key=lambda answer: answer.capability.area):
        console.result(area)
        for answer in group:
            console.result(f"  {MARKS[answer.answer]} {answer.capability.title:<50} {_where(answer)}".rstrip())
    console.result()
    console.result("+ found   ? only a hint   - not found (it may still exist outside the files)")
    for level in judge.levels(answers):
        console.result(_level(level))
    for note in judge.notes(evidence):
        console.result(f"note: {note}")
    for number, step in enumerate(judge.steps(evidence, answers)[:NEXT], 1):
        console.result(f"\n{number}. {step.says}" + (f"\n     {step.command}" if step.command else ""))


def _where(answer: Answer) -> str:
    if answer.seen is None:
        return ""
    hint = f", {answer.seen.hint}" if answer.seen.hint else ""
    return f"{answer.seen.place}{hint}" + (f" and {answer.more} more" if answer.more else "")


def _level(level: judge.Reached) -> str:
    reached = f"{level.level}, {level.name}" if level.decided else f"not decided, at least {level.level}"
    line = f"{level.model} MLOps level (0 to {level.highest}): {reached}"
    if level.needs:
        needed = ", ".join(CAPABILITIES[name].title for name in level.needs)
        line += f"; level {level.level + 1} needs: {needed}"
    return line


def _json(root: Path, evidence: Evidence, answers: dict[str, Answer]) -> dict[str, Any]:
    """Return the documented JSON form."""
    return {
        "format": FORMAT,
        "path": str(root),
        "files": len(evidence.tree.files),
        "capabilities": [
            {
                "capability": name,
                "area": answer.capability.area,
                "title": answer.capability.title,
                "answer": answer.answer,
                "file": printable(answer.seen.path) if answer.seen else None,
                "line": (answer.seen.line or None) if answer.seen else None,
                "what": answer.seen.what if answer.seen else None,
                "hint": (answer.seen.hint or None) if answer.seen else None,
                "more": answer.more,
            }
            for name, answer in answers.items()
        ],
        "levels": [
            {
                "model": level.model,
                "level": level.level if level.decided else None,
                "at_least": level.level,
                "of": level.highest,
                "next_needs": level.needs,
            }
            for level in judge.levels(answers)
        ],
        "next_steps": [
            {**step._asdict(), "command": step.command or None} for step in judge.steps(evidence, answers)[:NEXT]
        ],
        "facts": evidence.facts,
        "notes": judge.notes(evidence),
        "sources": SOURCES,
    }


def _render(template: str, root: Path, evidence: Evidence, answers: dict[str, Answer]) -> str:
    steps = judge.steps(evidence, answers)
    values = {
        "name": root.name,
        "answers": answers.values(),
        "marks": {"found": "found", "hint": "only a hint", "not_found": "not found"},
        "where": _where,
        "levels": [_level(level) for level in judge.levels(answers)],
        "steps": steps if template == "strategy.md" else steps[:NEXT],
        "rubric": {
            section: [(says, [answers[name] for name in names]) for says, names in tests]
            for section, tests in RUBRIC.items()
        },
        "notes": judge.notes(evidence),
        "measures": _measures(root, evidence) if template == "strategy.md" else [],
        "sources": SOURCES.values(),
        "cell": lambda text: text.replace("|", "\\|").replace("<", "&lt;"),
    }
    return files.render(layout.templates() / "assessment" / template, values)


def _measures(root: Path, evidence: Evidence) -> list[Measure]:
    """Return the measures of success of the glue project in the repository."""
    from mlops_glue.report import success  # imports the registry, which only the page needs

    if "glue" not in evidence.facts:
        return success.unknown("the repository has no glue project")
    project = (root / evidence.facts["glue"]).parent
    try:
        return success.collect(configs.load(project, tables=False, needs=configs.A_MODEL), project)
    except GlueError as error:
        return success.unknown(error.message.splitlines()[0])
