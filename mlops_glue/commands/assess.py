"""`glue assess`: where a repository stands in MLOps, from what is in it, and what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlops_glue import console, io, layout
from mlops_glue.assessment import rules
from mlops_glue.assessment.collect import collect
from mlops_glue.assessment.score import Assessment, Finding, Reached, Tested
from mlops_glue.assessment.score import assess as judge
from mlops_glue.errors import UsageError

NEXT = 3  # steps that are told


def assess(
    path: str,
    commands: frozenset[str],
    *,
    as_json: bool = False,
    markdown: bool = False,
    page: str | None = None,
) -> int:
    """Read the repository, judge, tell; with `page` write the strategy page, which must not be there yet."""
    root = Path(path).resolve()
    if not root.is_dir():
        raise UsageError(f"{path}: no such folder", hint="glue assess .")
    if page is not None and Path(page).exists():
        raise UsageError(f"{page} is there already, and people may have filled it in", hint="--output OTHER.md")
    found = judge(collect(root), commands)
    if as_json:
        console.result_json(_json(root, found))
    elif markdown:
        console.result(_markdown(root.name, found))
    else:
        _tell(root, found)
    if page is not None:
        io.write_text(Path(page), _page(root.name, found))
        console.progress(f"wrote {page}")
    return 0


def _tell(root: Path, found: Assessment) -> None:
    for reached in found.levels:
        console.result(_said(reached))
    console.result(_score_said(found))
    console.result()
    for area, findings in found.areas.items():
        console.result(f"{area:<16} {_met(findings)}/{len(findings)}")
        for one in findings:
            mark, where = ("+", f"  ({one.evidence.place})") if one.evidence else ("-", "")
            console.result(f"  {mark} {one.check.says}{where}")
    for note in found.notes:
        console.result(f"note: {note}")
    console.result()
    if not found.steps:
        console.result("no step is left that glue knows of")
    for number, step in enumerate(found.steps[:NEXT], 1):
        console.result(f"{number}. {step.says}\n     {step.command}")


def _said(reached: Reached) -> str:
    line = f"{reached.model} MLOps level {reached.level.number} of {reached.highest}: {reached.level.name}"
    if reached.next is not None:
        line += f"; level {reached.next.number} lacks: {', '.join(check.name for check in reached.lacking)}"
    return line


def _score_said(found: Assessment) -> str:
    parts = ", ".join(f"{section} {points:g}" for section, points in found.sections.items())
    return (
        f"ML Test Score at least {found.test_score:g} ({parts}, each of 7): {found.meaning}; "
        f"{sum(t.points is None for t in found.tests)} of the 28 tests cannot be seen in a repository"
    )


def _met(findings: list[Finding]) -> int:
    return sum(finding.evidence is not None for finding in findings)


def _json(root: Path, found: Assessment) -> dict[str, Any]:
    def place(one: Finding | Tested) -> dict[str, Any] | None:
        seen = one.evidence
        return (
            None
            if seen is None
            else {"file": seen.place.partition(":")[0], "line": seen.line or None, "what": seen.what}
        )

    return {
        "path": str(root),
        "files": found.files,
        "levels": [
            {
                "model": one.model,
                "level": one.level.number,
                "of": one.highest,
                "name": one.level.name,
                "next_lacks": [check.name for check in one.lacking],
            }
            for one in found.levels
        ],
        "ml_test_score": {
            "at_least": found.test_score,
            "sections": found.sections,
            "meaning": found.meaning,
            "tests": [
                {
                    "section": t.section,
                    "number": t.test.number,
                    "test": t.test.says,
                    "points": t.points,
                    "evidence": place(t),
                }
                for t in found.tests
            ],
        },
        "checks_met": found.met,
        "areas": {
            area: [{"check": f.check.name, "says": f.check.says, "evidence": place(f)} for f in findings]
            for area, findings in found.areas.items()
        },
        "next_steps": [{"says": s.says, "command": s.command, "measure": s.measure} for s in found.steps[:NEXT]],
        "notes": found.notes,
        "sources": {"Google": rules.GOOGLE, "Microsoft": rules.MICROSOFT, "ML Test Score": rules.TEST_SCORE},
    }


def _markdown(name: str, found: Assessment) -> str:
    return io.render(layout.templates() / "assessment" / "assessment.md", _values(name, found))


def _page(name: str, found: Assessment) -> str:
    return io.render(layout.templates() / "assessment" / "strategy.md", _values(name, found))


def _values(name: str, found: Assessment) -> dict[str, Any]:
    return {
        "name": name.replace("|", "\\|").replace("<", "&lt;"),
        "found": found,
        "levels": [_said(reached) for reached in found.levels],
        "score": _score_said(found),
        "met": {area: _met(findings) for area, findings in found.areas.items()},
        "steps": found.steps[:NEXT],
        "asked": [t for t in found.tests if t.points is None],
        "sources": (rules.GOOGLE, rules.MICROSOFT, rules.TEST_SCORE),
        "cell": lambda text: text.replace("|", "\\|").replace("<", "&lt;"),
    }
