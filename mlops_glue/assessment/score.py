"""From signals to scores: areas, levels, the ML Test Score, next steps. Nothing but what was seen counts."""

from __future__ import annotations

from dataclasses import dataclass

from mlops_glue.assessment import rules
from mlops_glue.assessment.evidence import Evidence, Sighting
from mlops_glue.assessment.tree import printable


@dataclass(frozen=True)
class Finding:
    """A check with the place that shows it; None: nothing shows it."""

    check: rules.Check
    evidence: Sighting | None


@dataclass(frozen=True)
class Reached:
    """The level reached of one maturity model, and what the next one lacks."""

    model: str
    level: rules.Level
    highest: int
    next: rules.Level | None
    lacking: tuple[rules.Check, ...]


@dataclass(frozen=True)
class Tested:
    """One of the 28 tests: points 0, 0.5 or 1; None: a repository cannot show it."""

    section: str
    test: rules.RubricTest
    points: float | None
    evidence: Sighting | None


@dataclass(frozen=True)
class Assessment:
    """Where a repository stands."""

    areas: dict[str, list[Finding]]
    levels: list[Reached]
    tests: list[Tested]
    steps: list[rules.Step]
    notes: list[str]
    files: int

    @property
    def met(self) -> int:
        """How many of the checks something shows."""
        return sum(finding.evidence is not None for findings in self.areas.values() for finding in findings)

    @property
    def sections(self) -> dict[str, float]:
        """The points of each section of the ML Test Score."""
        return {s: sum(t.points or 0 for t in self.tests if t.section == s) for s in rules.RUBRIC}

    @property
    def test_score(self) -> float:
        """The least of the sections, as the paper has it."""
        return min(self.sections.values())

    @property
    def meaning(self) -> str:
        """What the paper says of such a score."""
        return next(says for limit, says in rules.MEANING if self.test_score <= limit)


def assess(evidence: Evidence, commands: frozenset[str]) -> Assessment:
    """Judge. `commands` are those that this glue has: a step whose command it lacks is not proposed."""
    areas = {area: [Finding(c, _first(evidence, c.any_of)) for c in checks] for area, checks in rules.AREAS.items()}
    met = {f.check.name for findings in areas.values() for f in findings if f.evidence is not None}
    known = {f.check.name: f.check for findings in areas.values() for f in findings}
    levels = [_level(model, levels, met, known) for model, levels in rules.LEVELS.items()]
    tests = [_test(evidence, section, test) for section, tests in rules.RUBRIC.items() for test in tests]
    missing = [s for s in rules.STEPS if set(s.missing) - met and s.command.split()[1] in commands]
    open_steps: list[rules.Step] = []
    for step in missing:
        if all(step.command != other.command for other in open_steps):
            open_steps.append(step)
    return Assessment(areas, levels, tests, open_steps, _notes(evidence), len(evidence.tree.files))


def _first(evidence: Evidence, signals: tuple[str, ...]) -> Sighting | None:
    return next((evidence.found[s][0] for s in signals if s in evidence), None)


def _level(model: str, levels: tuple[rules.Level, ...], met: set[str], known: dict[str, rules.Check]) -> Reached:
    at = levels[0]
    for level in levels[1:]:
        lacking = tuple(known[name] for name in level.needs if name not in met)
        if lacking:
            return Reached(model, at, levels[-1].number, level, lacking)
        at = level
    return Reached(model, at, levels[-1].number, None, ())


def _test(evidence: Evidence, section: str, test: rules.RubricTest) -> Tested:
    """Half a point for a test that is there to be run, a whole one where something runs it again and again."""
    if not test.seen:
        return Tested(section, test, None, None)
    group = next((group for group in test.seen if all(signal in evidence for signal in group)), None)
    if group is None:
        return Tested(section, test, 0.0, None)
    repeated = _first(evidence, test.repeated)
    return Tested(section, test, 0.5 if repeated is None else 1.0, repeated or _first(evidence, group[-1:]))


def _notes(evidence: Evidence) -> list[str]:
    notes = [*evidence.notes[:10]]
    if len(evidence.notes) > 10:
        notes.append(f"and {len(evidence.notes) - 10} more such")
    if evidence.tree.unreadable:
        first = ", ".join(printable(path) for path in evidence.tree.unreadable[:3])
        notes.append(f"{len(evidence.tree.unreadable)} files or folders cannot be read: {first}")
    if evidence.tree.left_out:
        notes.append(f"{evidence.tree.left_out} files beyond the bounds of size and number were not read")
    if "notebook_training" in evidence and "training" not in evidence:
        notes.append(f"{evidence.found['notebook_training'][0].place}: the model is trained in a notebook")
    if "saved" in evidence and "registered" not in evidence:
        notes.append(f"{evidence.found['saved'][0].place}: the model is a file without a version")
    return notes
