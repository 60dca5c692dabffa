"""What a version was stays: any order of runs, promotions, rollbacks and rebuilds, against a simple model of history.

The decisions are glue's own; the registry is a dictionary, so that hundreds of histories are tried.
`tests/functional/test_history.py` plays one with MLflow.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_glue.adapters.mlflow.store import with_line
from mlops_glue.delivery import history
from mlops_glue.delivery.condition import former, of_bundle, of_parity, of_thresholds, refusals
from mlops_glue.delivery.history import Verdict, champions
from mlops_glue.delivery.promote import Reason, move, rollback
from mlops_glue.delivery.promote import decide as record_verdict
from mlops_glue.errors import UsageError

NAME = "m"
COMPARED = {
    "metric": "f1",
    "champion": 0.5,
    "low": 0.0,
    "high": 1.0,
    "confidence": 0.9,
    "method": "DeLong",
    "noticeable": 0.1,
    "finding": "no difference shown",
    "slack": 0.0,
    "rows": 9,
    "seen": None,
}


class Registry:
    """A registry in memory, as `promote` uses one."""

    def __init__(self) -> None:
        self.of: dict[int, dict[str, str]] = {}
        self.aliases: dict[str, int] = {}
        self.model_tags: dict[str, str] = {}
        self.moves: list[tuple[int, str, str]] = []
        self.descriptions: dict[int, str] = {}
        self.files: dict[int, str] = {}

    def add_to_description(self, _: str, version: int, line: str) -> None:
        before = self.descriptions.get(version)
        self.descriptions[version] = with_line(before, line) or before or ""

    def versions(self, _: str) -> list[int]:
        return sorted(self.of)

    def champion(self, _: str) -> int | None:
        return self.aliases.get("champion")

    def get_alias(self, _: str, alias: str) -> int | None:
        return self.aliases.get(alias)

    def set_alias(self, _: str, alias: str, version: int, *why: Any, **more: Any) -> None:
        self.aliases[alias] = version

    def get_model_tag(self, _: str, key: str) -> str | None:
        return self.model_tags.get(key)

    def set_model_tag(self, _: str, key: str, value: str) -> None:
        self.model_tags[key] = value

    def remove_alias(self, _: str, alias: str) -> None:
        del self.aliases[alias]

    def tags(self, _: str, version: int) -> dict[str, str]:
        return dict(self.of[version])

    def tag(self, _: str, version: int, tags: dict[str, str]) -> None:
        self.of[version] |= tags

    def untag(self, _: str, version: int, key: str) -> None:
        self.of[version].pop(key, None)

    def read_artifact(self, _: str, version: int, name: str) -> str | None:
        return self.files.get(version)

    def write_artifact(self, _: str, version: int, name: str, text: str) -> None:
        assert name == "promotion.json"
        self.files[version] = text

    def champion_history(self, _: str) -> list[tuple[int, str, str]]:
        return self.moves

    def record_champion(self, _: str, version: int, how: str, when: str) -> None:
        self.moves.append((version, how, when))

    def live_run(self, _: str, version: int) -> str:
        return str(version)

    def download_bundle(self, _: str, version: int, into: Path) -> Path:
        return into


def decide(store: Any, version: int, alias: str, refused: list[str], score: float, *, by_person: bool) -> Verdict:
    """As `promote` does it, once it is known what speaks against the version."""
    champion = store.champion(NAME)
    if champion == version:
        return Verdict(version, champion, champion)
    line = champions(store, NAME)
    more = None if by_person else former(version, store.tags(NAME, version), line, champion, alias)
    compared: Any = None if champion is None else COMPARED | {"version": champion, "candidate": score}
    verdict = Verdict(version, champion, champion, [*refused, *([more] if more else [])], compared)
    return record_verdict(store, NAME, verdict, alias, Reason() if by_person else None)


class Model:
    """What history must say."""

    def __init__(self) -> None:
        self.line: list[int] = []
        self.rolled_back: set[int] = set()
        self.refused: dict[int, str | None] = {}  # by version that was judged: its first verdict, or a person's last
        self.challenger: int | None = None
        self.ever: set[int] = set()

    def decided(self, version: int, alias: str, refused: list[str], by_person: bool) -> None:
        now = self.line[-1] if self.line else None
        if now == version:
            return
        refused = list(refused)
        if not by_person and version in self.rolled_back:
            refused.append("was rolled back")
        elif not by_person and alias == "champion" and now is not None and version in self.line:
            refused.append("was champion before")
        if by_person or version not in self.refused:
            self.refused[version] = "; ".join(refused) or None
        if refused:
            return
        if alias != "champion":
            self.challenger = version
            return
        if by_person:
            self.rolled_back.discard(version)
        self.now(version)
        self.line.append(version)

    def now(self, version: int) -> None:
        self.ever.add(version)
        if self.challenger == version:
            self.challenger = None

    def back(self, to: int | None) -> bool:
        if not self.line:
            return False
        now = self.line[-1]
        before = [one for one in self.line if one != now]
        chosen = to if to is not None else (before[-1] if before else None)
        if chosen is None or chosen == now or chosen not in self.line:
            return False
        while self.line[-1] != chosen:
            self.line.pop()
        self.rolled_back.add(now)
        self.now(chosen)
        return True


VERSION = st.integers(1, 5)
RUN = st.tuples(st.just("run"), VERSION, st.sampled_from(["champion", "champion", "challenger"]), st.booleans())
ASKED = st.tuples(st.just("promote"), VERSION, st.just("champion"), st.booleans())
BACK = st.tuples(st.just("rollback"), st.none() | VERSION, st.just(""), st.just(False))


@settings(max_examples=400, deadline=None)
@given(st.lists(RUN | RUN | ASKED | BACK, min_size=1, max_size=14))
def test_history_stays(steps: list[tuple[str, Any, str, bool]]) -> None:
    store: Any = Registry()
    model, kept, described = Model(), {}, dict[int, str]()
    for number, (what, version, alias, bad) in enumerate(steps):
        before, score = dict(store.aliases), float(number)
        if what == "rollback":
            expected = model.back(version)
            try:
                rollback(store, NAME, version if version is None or version in store.of else 99)
                assert expected
            except UsageError:
                assert not expected and store.aliases == before
        else:
            store.of.setdefault(version, {})
            refused = [f"it is bad {number}"] if bad else []
            by_person = what == "promote"
            model.decided(version, alias, refused, by_person)
            verdict = decide(store, version, alias, refused, score, by_person=by_person)
            if verdict.refused:
                assert store.aliases == before
            else:
                assert store.aliases.get(alias) == version or before.get("champion") == version
        assert champions(store, NAME) == model.line
        assert store.aliases.get("champion") == (model.line[-1] if model.line else None)
        assert store.aliases.get("challenger") == model.challenger
        for one, tags in store.of.items():
            records = history.decisions(tags)
            evidence = history.promotions(store, NAME, one)
            assert [(e["time"], e["refused"]) for e in evidence] == [(r["time"], r["refused"]) for r in records]
            assert records[: len(kept.get(one, []))] == kept.get(one, [])  # none is rewritten
            kept[one] = records
            now = store.descriptions.get(one, "")
            assert now.startswith(described.get(one, "")) and (not records or "glue " in now.splitlines()[0])
            described[one] = now
            assert (history.ROLLED_BACK in tags) == (one in model.rolled_back)
            said, wanted = history.refusal(tags), model.refused.get(one)
            assert (said is None) == (wanted is None)
            if said is not None and wanted is not None:
                assert all(word in said for word in wanted.split("; "))
        assert {one for one, *_ in store.moves} == model.ever


def test_the_same_decision_again_is_written_once() -> None:
    store: Any = Registry()
    store.of = {1: {}, 2: {}}
    decide(store, 1, "champion", [], 0.0, by_person=False)
    for _ in range(3):
        decide(store, 2, "champion", ["worse"], 0.5, by_person=False)
    assert [one["refused"] for one in history.decisions(store.of[2])] == [["worse"]]
    decide(store, 2, "champion", ["worse still"], 0.5, by_person=False)
    assert [one["refused"] for one in history.decisions(store.of[2])] == [["worse"], ["worse still"]]
    assert history.refusal(store.of[2]) == "worse"


def test_the_last_decision_counts_also_if_the_clock_was_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    years, tags = iter((2027, 2026, 2026, 2028)), dict[str, str]()

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(next(years), 1, 1, tzinfo=tz)

    monkeypatch.setattr(history, "datetime", Clock)
    for refused in ("bad", "", "worse", ""):
        verdict = Verdict(1, None, None, [refused] if refused else [])
        made = history.decision_tag(tags, verdict, "champion", by_person=True)
        tags |= made
        assert history.refusal(tags) == (refused or None)
        assert history.evidence(tags)[-1] == history.evidence(made)[0]
    assert [made["time"][:4] for made in history.decisions(tags)] == ["2027", "2026", "2026", "2028"]


def test_three_champions_step_by_step() -> None:
    store: Any = Registry()
    store.of = {version: {} for version in (1, 2, 3)}
    for version in (1, 2, 3):
        decide(store, version, "champion", [], 0.0, by_person=False)
        assert champions(store, NAME) == list(range(1, version + 1))
    assert rollback(store, NAME) == (2, 3) and champions(store, NAME) == [1, 2]
    assert history.ROLLED_BACK in store.of[3]
    told = decide(store, 3, "champion", [], 0.0, by_person=False)
    assert "v3 was rolled back at" in told.refused[0] and "glue promote 3" in told.refused[0]
    assert rollback(store, NAME) == (1, 2) and champions(store, NAME) == [1]
    decide(store, 3, "champion", [], 0.0, by_person=True)
    assert champions(store, NAME) == [1, 3] and history.ROLLED_BACK not in store.of[3]
    decide(store, 1, "champion", [], 0.0, by_person=True)  # the first one again, by a person
    assert champions(store, NAME) == [1, 3, 1]
    assert rollback(store, NAME) == (3, 1) and champions(store, NAME) == [1, 3]
    assert rollback(store, NAME, 1) == (1, 3)


def test_a_challenger_that_became_champion_is_challenger_no_more() -> None:
    store: Any = Registry()
    store.of = {1: {}, 2: {}}
    decide(store, 1, "champion", [], 0.0, by_person=False)
    decide(store, 2, "challenger", [], 0.0, by_person=False)
    assert store.aliases == {"champion": 1, "challenger": 2}
    decide(store, 2, "champion", [], 0.0, by_person=True)
    assert store.aliases == {"champion": 2}
    store.set_alias(NAME, "challenger", 1)
    move(store, NAME, 2, Reason())
    assert store.aliases == {"champion": 2, "challenger": 1}


def test_a_refused_version_gets_no_alias() -> None:
    store: Any = Registry()
    store.of = {1: {}}
    for alias in ("champion", "challenger"):
        assert decide(store, 1, alias, ["bad"], 0.0, by_person=False).refused == ["bad"]
        assert decide(store, 1, alias, ["bad"], 0.0, by_person=True).champion is None
    assert not store.aliases and not store.moves


def test_a_champion_that_was_made_champion_by_other_means() -> None:
    def line(moves: list[tuple[int, str]], now: int | None) -> list[int]:
        store: Any = Registry()
        store.moves, store.aliases = [(*move, "then") for move in moves], {} if now is None else {"champion": now}
        return champions(store, NAME)

    assert line([(1, "promote"), (2, "promote"), (3, "promote")], 2) == [1, 2]
    assert line([(1, "promote")], 7) == [1, 7]
    assert line([(1, "promote"), (2, "promote")], None) == [1, 2]
    assert line([(1, "promote"), (1, "promote")], 1) == [1]
    assert line([(2, "promote"), (1, "rollback")], 1) == [2, 1]  # older lines are gone


@given(st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.sampled_from(["onnx", "skops"]))
def test_each_fault_alone_refuses(met: bool, faithful: bool, signed: bool, registered: bool, form: str) -> None:
    threshold = {"metric": "roc_auc", "value": 0.7, "min": 0.8, "max": None, "met": met}
    parity = {"faithful": faithful, "format": form, "reason": "labels differ"}
    found = refusals([*of_thresholds([threshold]), of_parity(parity), *of_bundle(signed=signed, registered=registered)])  # type: ignore[list-item]
    wanted = []
    if not met:
        wanted.append("roc_auc 0.7000 misses threshold min 0.8")
    if not faithful and form == "onnx":
        wanted.append("parity: labels differ")
    if not signed:
        wanted.append("signature: the version has no model signature")
    if not registered:
        wanted.append("bundle: its digest differs from the registered digest")
    assert found == wanted
