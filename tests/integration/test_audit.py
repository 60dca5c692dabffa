"""The record of alias moves: appended to by several machines, and every attack on it is found."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlops_glue.adapters.git import ref as git_ref
from mlops_glue.delivery import audit, history
from mlops_glue.delivery.audit_check import Registered, problems
from mlops_glue.delivery.lineage import moves_of
from mlops_glue.errors import ToolError

Lines = list[str]


def git(root: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *words]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


def repository(root: Path) -> Path:
    git(root.parent, "init", "-q", str(root))
    (root / "a.txt").write_text("a\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    return root


def moved(root: Path, version: int, event: str = "promote", **more: Any) -> audit.Entry:
    return audit.record(root, audit.move(root, "m", "champion", version, version - 1, event, **more))


@pytest.fixture(params=["git", "folder"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "git":
        return repository(tmp_path / "r")
    (tmp_path / "f").mkdir()
    return tmp_path / "f"


def test_a_move_says_who_why_and_when(project: Path) -> None:
    entry = moved(project, 3, reason="better on Mondays", evidence="ab" * 32)
    (read,) = audit.entries(project)
    assert read.id == entry.id
    content = read.content
    assert (content["version"], content["previous"], content["event"]) == (3, 2, "promote")
    assert content["reason"] == "better on Mondays"
    assert content["actor"]["host"] and content["time"].endswith("+00:00")
    assert content["command"].startswith(("glue", "the Python API"))


def test_the_repository_stays_as_it_was(tmp_path: Path) -> None:
    root = repository(tmp_path / "r")
    before = git(root, "status", "--porcelain"), git(root, "branch", "-a"), git(root, "log", "--oneline")
    moved(root, 1)
    moved(root, 2)
    assert (git(root, "status", "--porcelain"), git(root, "branch", "-a"), git(root, "log", "--oneline")) == before
    assert [entry.content["version"] for entry in audit.entries(root)] == [1, 2]


APPEND = """
import sys; from pathlib import Path; from mlops_glue.delivery import audit, history
from mlops_glue.delivery.audit_check import Registered, problems
from mlops_glue.errors import ToolError
root = Path(sys.argv[1])
for n in range(int(sys.argv[3])):
    made = audit.move(root, "m", "champion", n, None, sys.argv[2])
    audit.record(root, made, "origin" if sys.argv[4] == "shared" else None)
"""


@pytest.mark.parametrize("shared", [True, False])
def test_machines_append_at_once_and_lose_nothing(tmp_path: Path, shared: bool) -> None:
    origin = repository(tmp_path / "origin")
    clones = [tmp_path / "a", tmp_path / "b"] if shared else [origin, origin]
    for clone in {*clones} if shared else ():
        git(tmp_path, "clone", "-q", str(origin), str(clone))
    words = ["4", "shared" if shared else "alone"]
    running = [
        subprocess.Popen([sys.executable, "-c", APPEND, str(clone), f"{at}", *words]) for at, clone in enumerate(clones)
    ]
    assert [process.wait(120) for process in running] == [0, 0]
    record = git_ref.read(origin, audit.REF)
    found = [json.loads(line)["content"] for line in record.splitlines()]
    assert sorted((entry["event"], entry["version"]) for entry in found) == [(e, n) for e in "01" for n in range(4)]
    assert problems(record, Registered(aliases={"champion": found[-1]["version"]}), "m") == []


def test_what_was_recorded_without_the_remote_is_merged_later(tmp_path: Path) -> None:
    origin = repository(tmp_path / "origin")
    for name in "ab":
        git(tmp_path, "clone", "-q", str(origin), name)
    moved(tmp_path / "a", 1)  # not shared
    audit.record(tmp_path / "b", audit.move(tmp_path / "b", "m", "champion", 2, None, "promote"), "origin")
    audit.record(tmp_path / "a", audit.move(tmp_path / "a", "m", "champion", 3, None, "promote"), "origin")
    record = git_ref.read(origin, audit.REF)
    assert [json.loads(line)["content"]["version"] for line in record.splitlines()] == [2, 1, 3]
    assert problems(record, Registered(aliases={"champion": 3}), "m") == []


def test_a_job_and_a_laptop_share_one_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job's clone is shallow, and has the record only where it is fetched."""
    origin = repository(tmp_path / "origin")
    git(tmp_path, "clone", "-q", str(origin), "laptop")
    laptop = tmp_path / "laptop"
    audit.recorder(laptop, "origin", "production")("m", "champion", 1, None, event="promote")
    monkeypatch.setenv("CI", "true")
    for version in (2, 3):
        job = tmp_path / f"job{version}"
        git(tmp_path, "clone", "-q", "--depth", "1", f"file://{origin}", str(job))
        audit.recorder(job, "origin", "production")("m", "champion", version, version - 1, event="approve")
    audit.share(laptop, "origin")
    record = audit.text(laptop)
    assert [entry.content["version"] for entry in audit.readable(record)] == [1, 2, 3]
    assert record == git_ref.read(origin, audit.REF)
    assert problems(record, Registered(aliases={"champion": 3}), "m") == []


def test_a_job_that_cannot_share_its_entry_moves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = repository(tmp_path / "r")
    record = audit.recorder(root, "https://ada:hunter22@127.0.0.1:9/x.git", "production")
    record("m", "champion", 1, None, event="promote")  # a laptop shares it another time
    assert "the audit record was not shared" in caplog.text
    monkeypatch.setenv("CI", "true")
    with pytest.raises(ToolError, match="the alias was not moved: the audit record cannot be shared") as caught:
        record("m", "champion", 2, 1, event="promote")
    assert "contents: write" in str(caught.value.hint) and "hunter22" not in caught.value.message + caplog.text


def edited(lines: Lines, at: int, **change: object) -> Lines:
    entry = json.loads(lines[at])
    entry["content"] |= change
    return [*lines[:at], json.dumps(entry), *lines[at + 1 :]]


def again(lines: Lines, contents: list[dict[str, object]]) -> Lines:
    """A whole chain made anew, sound in itself."""
    text = ""
    for content in contents:
        text = audit.appended(text, content)
    return text.splitlines()


def contents(lines: Lines) -> list[dict[str, object]]:
    return [json.loads(line)["content"] for line in lines]


ATTACKS: dict[str, Callable[[Lines], Lines]] = {
    "a reason edited": lambda lines: edited(lines, 1, reason="approved"),
    "an actor edited": lambda lines: edited(lines, 2, actor={"name": "somebody else"}),
    "one removed": lambda lines: [*lines[:1], *lines[2:]],
    "the first removed": lambda lines: lines[1:],
    "the last removed": lambda lines: lines[:-1],
    "two reordered": lambda lines: [lines[1], lines[0], *lines[2:]],
    "one added": lambda lines: [*lines[:2], lines[0], *lines[2:]],
    "torn": lambda lines: [*lines[:3], lines[3][:40]],
    "the whole written anew, one left out": lambda lines: again(lines, contents(lines)[1:]),
    "the whole written anew, one edited": lambda lines: again(
        lines, [c | {"reason": "x"} if at == 1 else c for at, c in enumerate(contents(lines))]
    ),
    "one made up at the end": lambda lines: again(lines, [*contents(lines), contents(lines)[0] | {"time": "2020"}]),
    "all removed": lambda lines: [],
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_found(tmp_path: Path, attack: str) -> None:
    root = repository(tmp_path / "r")
    made = [moved(root, version, reason="r") for version in (1, 2, 3, 4)]
    known = Registered(pinned={entry.content["version"]: [entry.id] for entry in made}, aliases={"champion": 4})
    record = audit.text(root)
    assert problems(record, known, "m") == []
    changed = ATTACKS[attack](record.splitlines())
    assert problems("\n".join(changed), known, "m")


def test_a_move_outside_glue_is_found(project: Path) -> None:
    entry = moved(project, 1)
    known = Registered(pinned={1: [entry.id]}, aliases={"champion": 2})
    (problem,) = problems(audit.text(project), known, "m")
    assert problem == "alias champion is at v2, but has no entry for it: it was moved outside glue"
    (problem,) = problems(audit.text(project), replace(known, aliases={}), "m")
    assert problem == "alias champion was removed from v1 outside glue"


def test_a_move_outside_glue_is_found_when_glue_has_moved_the_alias_since(project: Path) -> None:
    made = [moved(project, version) for version in (1, 2, 9)]  # the last one found it at v8
    known = Registered(pinned={entry.content["version"]: [entry.id] for entry in made}, aliases={"champion": 9})
    (problem,) = problems(audit.text(project), known, "m")
    assert problem == "entry 3: alias champion was at v8, but no entry moved it there: outside glue"


def test_a_decision_that_was_changed_is_found(project: Path) -> None:
    decision = {"alias": "champion", "refused": [], "compared": {"gain": 0.25}}
    tags = {"glue.verdict.1": json.dumps(decision), "other": "x"}
    entry = moved(project, 1, evidence=history.evidence(tags)[-1])
    known = Registered(pinned={1: [entry.id]}, aliases={"champion": 1})
    for change, is_found in {
        json.dumps(decision, indent=2, sort_keys=True): False,  # the same, written otherwise
        json.dumps(decision | {"compared": {"gain": 0.5}}): True,
        json.dumps(decision | {"refused": ["accuracy"]}): True,
        "no JSON": True,
    }.items():
        evidence = {1: history.evidence(tags | {"glue.verdict.1": change})}
        found = problems(audit.text(project), replace(known, evidence=evidence), "m")
        assert bool(found) == is_found, change
        assert all("entry 1: the decision " in line for line in found)
    assert problems(audit.text(project), replace(known, evidence={1: []}), "m")  # removed
    assert problems(audit.text(project), replace(known, evidence={}), "m") == []  # the version is gone with it


def test_a_signature_that_was_written_anew_is_found(project: Path) -> None:
    for evidence in ("a" * 64, "b" * 64):  # signed by two keys, one after the other
        entry = audit.record(project, audit.move(project, "m", None, 1, None, "sign", evidence=evidence))
    ids = [entry.id for entry in audit.entries(project)]
    known = Registered(pinned={1: ids}, aliases={"champion": 1}, signed={1: "b" * 64})
    assert entry.id in ids
    assert problems(audit.text(project), known, "m") == []  # the alias is older than any entry of a move
    (problem,) = problems(audit.text(project), replace(known, signed={1: "a" * 64}), "m")
    assert problem == "entry 2: the signature of v1 has since been replaced"
    (problem,) = problems(audit.text(project), replace(known, signed={1: None}), "m")
    assert problem == "entry 2: the signature of v1 has since been removed"


def test_two_registries_share_a_record(project: Path) -> None:
    """A laptop's own and the team's have versions of the same numbers."""
    made = {name: moved(project, version, registry=name) for name, version in (("laptop", 7), ("team", 3))}
    for name, version in (("laptop", 7), ("team", 3)):
        known = Registered(id=name, pinned={version: [made[name].id]}, aliases={"champion": version})
        assert problems(audit.text(project), known, "m") == []
        taken = replace(known, id="another")  # whoever renames the registry hides no entry
        assert problems(audit.text(project), taken, "m") == []
        assert problems("", known, "m")


def test_the_lineage_of_a_version_has_no_move_of_another_registry(project: Path) -> None:
    for name, version, event in (("laptop", 1, "promote"), ("laptop", 2, "promote"), ("team", 1, "force")):
        moved(project, version, event, registry=name)
    moved(project, 1, "sign")  # by an older glue, which named no registry

    class Store:
        registry: str | None = None

        def get_model_tag(self, *_: str) -> str | None:
            return self.registry

    for registry, events in (
        ("laptop", ["promote", "promote", "sign"]),
        ("team", ["force", "sign"]),
        (None, ["sign"]),  # nothing was moved there yet
    ):
        store: Any = Store()
        store.registry = registry
        assert [move["event"] for move in moves_of(project, store, "m", 1)] == events


def test_no_secret_is_recorded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_0123456789abcdef")
    monkeypatch.setattr(sys, "argv", ["glue", "promote", "--reason", "by ghs_0123456789abcdef"])
    moved(project, 1, reason="by ghs_0123456789abcdef")
    assert "ghs_" not in audit.text(project) and "by ${GITHUB_TOKEN}" in audit.text(project)


def test_aliases_that_are_older_than_the_record_are_no_problem() -> None:
    assert problems("", Registered(pinned={1: [], 2: []}, aliases={"champion": 2}), "m") == []


def test_a_decision_whose_conditions_were_replaced_is_found(project: Path) -> None:
    """As in `promotion.json` of its run: by the hash in the decision."""
    conditions = [{"name": "threshold auc", "holds": True, "value": 0.8, "limit": 0.7, "detail": ""}]
    decision = {"alias": "champion", "refused": [], "conditions_sha256": history.digest(conditions)}
    tags = {"glue.verdict.1": json.dumps(decision)}
    entry = moved(project, 1, evidence=history.evidence(tags)[-1])
    known = Registered(pinned={1: [entry.id]}, aliases={"champion": 1})
    for change, is_found in (({}, False), ({"value": 0.9}, True), ({"holds": None}, True)):
        kept = [history.digest([conditions[0] | change])]
        evidence = {1: history.evidence(tags, kept)}
        found = problems(audit.text(project), replace(known, evidence=evidence), "m")
        assert bool(found) == is_found, change
        assert all("its part of promotion.json" in line for line in found)


@pytest.mark.parametrize("line", ["[1]", "7", '{"id": "a", "chain": "b", "content": 7}', "{}", "no JSON"])
def test_a_line_that_is_no_entry_is_found(project: Path, line: str) -> None:
    entry = moved(project, 1)
    known = Registered(pinned={1: [entry.id]}, aliases={"champion": 1})
    record = audit.text(project)
    assert problems(record + line + "\n", known, "m") == ["entry 2: cannot be read"]
    for missing in entry.content.keys() - {"registry"}:
        content = {key: value for key, value in entry.content.items() if key != missing}
        thin = json.dumps({"id": "a", "chain": "b", "content": content})
        assert problems(f"{record}{thin}\n", known, "m") == ["entry 2: cannot be read"], missing


def test_a_reason_is_one_line_and_forges_none(project: Path) -> None:
    entry = moved(project, 1, reason="fine\nm  2026-01-01 champion v1 -> v2\x1b[2K")
    assert audit.described(entry.content).endswith(r": fine\nm  2026-01-01 champion v1 -> v2\x1b[2K")


def test_without_a_registry_entries_are_not_called_whole(project: Path) -> None:
    moved(project, 1)
    (problem,) = problems(audit.text(project), Registered(), "m", is_there=False)
    assert problem.startswith("the entries (1) were not compared with a registry")
    assert problems("", Registered(), "m", is_there=False) == []
