"""`glue run` is DVC's own reproduce: the two write the same `dvc.lock`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dvc.config import Config

from mlops_glue.adapters import dvc
from mlops_glue.errors import StageError
from tests.support.project import Glue


def test_the_two_internal_names_are_there() -> None:
    assert dvc.in_process_supported()


def test_what_a_kill_of_dvc_leaves_is_mended(penguins: Path, glue: Glue) -> None:
    """A folder of the run-cache in which nothing was finished, and a list of locks that was emptied."""
    glue("run", "--until", "ingest", cwd=penguins)
    kept = [path for path in (penguins / ".dvc/cache/runs").rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        path.rename(path.with_name(".of-a-kill.tmp"))
    (penguins / "dvc.lock").unlink()
    (penguins / ".dvc/tmp/rwlock").write_text("")
    assert "executed" in glue("run", "--until", "ingest", cwd=penguins).stderr
    assert not any((penguins / ".dvc").rglob("*.tmp"))
    assert subprocess.run(["dvc", "repro", "ingest"], cwd=penguins, capture_output=True, check=False).returncode == 0


def test_a_lock_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    from dvc.utils.serialize import modify_yaml

    from mlops_glue.adapters.dvc.project_files import ProjectFiles

    files = ProjectFiles(tmp_path)
    lock = tmp_path / "dvc.lock"
    lock.write_text("schema: '2.0'\n")
    with pytest.raises(Exception, match="represent"), modify_yaml(lock, fs=files) as data:
        data["stages"] = {"a": object()}  # fails in the middle of the writing
    assert lock.read_text() == "schema: '2.0'\n"
    with modify_yaml(lock, fs=files) as data:
        data["stages"] = {}
    assert lock.read_text() == "schema: '2.0'\nstages: {}\n"
    assert [p.name for p in tmp_path.iterdir()] == ["dvc.lock"]


def test_a_lock_that_these_tests_keep_is_written_as_if_it_had_been_read(tmp_path: Path) -> None:
    """What `warm.py` does to DVC, in a process of its own: edited by another, and with one object in several places."""
    code = """
import sys
from dvc.utils.serialize import _yaml, modify_yaml
from pathlib import Path
from tests.support import warm

shared = {"a": [1, 2], "\u00e9": "1e3"}
params = {"x": shared, "y": None, "f": 1e-7, "g": 0.05, "no": "no", "i": {1: "2"}, "e": {}, "l": []}
lock, written = Path(sys.argv[1]), []
for keeps in (False, True):
    written.append([])
    lock.unlink(missing_ok=True)
    parse = _yaml.parse_yaml_for_update
    for number in range(6):
        with modify_yaml(lock) as data:
            stages = data.setdefault("stages", {})
            stages[f"s{number % 5}"] = {"cmd": f"do {number}", "params": {"glue.yaml": params}}
        written[-1].append(lock.read_text())
        if number == 3:
            lock.write_text(lock.read_text().replace("do 2", "do this  # a remark").replace("do 1", "[do, it]"))
    warm.keep_what_dvc_dumps()
assert written[0] == written[1] and "&" not in written[1][-1] and "a remark" in written[1][-1]
assert _yaml.parse_yaml_for_update is not parse
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "dvc.lock")], cwd=Path(__file__).parents[2], check=True)


BROKEN = {  # what was done to a project that ran: what is told, and what to type
    "dvc.lock, emptied": ("dvc.lock", b"", "dvc.lock: ", "rm dvc.lock; glue run"),
    "dvc.lock, a list": ("dvc.lock", b"- 1\n", "dvc.lock: ", "git checkout dvc.lock, or: rm dvc.lock; glue run"),
    "dvc.lock, cut off": ("dvc.lock", b"schema: '2.0'\nstages:\n  ingest:\n    cmd: 'gl", "dvc.lock: ", "rm dvc.lock"),
    "dvc.lock, noise": ("dvc.lock", b"\xfc\x80\x00", "dvc.lock: ", "rm dvc.lock; glue run"),
    "dvc.yaml, misspelt": ("dvc.yaml", b"stagess: {}\n", "dvc.yaml stagess: ", "did you mean 'stages'?"),
    "dvc.yaml, a list": ("dvc.yaml", b"- 1\n", "dvc.yaml: is not a mapping", "git checkout dvc.yaml"),
    "dvc.yaml, no section": ("dvc.yaml", b"stages: {mine: x}\n", "dvc.yaml stages: must be", "git checkout dvc.yaml"),
    "dvc.yaml, noise": ("dvc.yaml", b"\xfc\x80\x00", "dvc.yaml: is not YAML", "git checkout dvc.yaml"),
    "a table's": ("data/raw/penguins.csv.dvc", b"- 1\n", "penguins.csv.dvc: ", "dvc add data/raw/penguins.csv"),
    "DVC's config": (".dvc/config", b"\xfc\x80\x00", ".dvc/config: ", "git checkout .dvc/config"),
    "no .dvc": (".dvc", None, ".dvc does not exist", "git checkout .dvc, or: dvc init; glue run"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_of_dvc_is_told_with_what_to_type(penguins: Path, glue: Glue, name: str) -> None:
    path, body, said, typed = BROKEN[name]
    if body is None:
        shutil.rmtree(penguins / path)
    else:
        (penguins / path).write_bytes(body)
    done = glue("run", "--no-publish", cwd=penguins, code=None)
    assert done.returncode in (2, 4) and "a bug in glue" not in done.stderr
    assert said in done.stderr and typed in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    done = glue("doctor", cwd=penguins, code=1)
    assert said in done.stdout and typed in done.stdout
    if path == "dvc.lock":
        done = glue("report", cwd=penguins, code=4)
        assert said in done.stderr and typed in done.stderr


def test_only_the_whole_command_of_a_stage_runs_in_this_process(tmp_path: Path) -> None:
    """What a user adds to it, in front, behind or as a list, is run as DVC runs it."""
    dvc.init(tmp_path, git=False)
    commands = ["echo o", "echo o && echo extra", "echo o; echo extra", "echo o --more", "true && echo o", "'echo' o"]
    lines = [f"  s{at}:\n    cmd: {json.dumps(f'({c}) > {at}.txt')}\n" for at, c in enumerate(commands)]
    lines += [f"  t{at}:\n    cmd: {json.dumps(c)}\n" for at, c in enumerate(commands)]
    lines += ['  u:\n    cmd: ["echo o", "echo extra > u.txt"]\n', '  v:\n    cmd: "(echo o) > 0.txt "\n']
    (tmp_path / "dvc.yaml").write_text("stages:\n" + "".join(lines))
    ran: list[str] = []
    here = {command: partial(ran.append, command) for command in ("echo o", "(echo o) > 0.txt")}
    outcomes: dict[str, str] = {}
    dvc.reproduce(tmp_path, here, lambda name, outcome, *_: outcomes.update({name: outcome}))
    assert sorted(ran) == ["(echo o) > 0.txt", "echo o"]
    assert set(outcomes.values()) == {"executed"} and len(outcomes) == 2 * len(commands) + 2
    said = {path.name: path.read_text().split() for path in tmp_path.glob("*.txt")}
    wanted = {f"{at}.txt": ["o", "extra"] for at in (1, 2)} | {"3.txt": ["o", "--more"], "4.txt": ["o"], "5.txt": ["o"]}
    assert said == wanted | {"u.txt": ["extra"], "0.txt": ["o"]}  # of `v`, whose command has a blank more


def test_a_parameter_that_is_gone_runs_the_stage_again(tmp_path: Path) -> None:
    """DVC itself looks at those alone that `dvc.yaml` names now: with `slices` gone it would see no change."""
    dvc.init(tmp_path, git=False)
    ran: list[str] = []

    def work() -> None:
        (tmp_path / "out.txt").write_text((tmp_path / "glue.yaml").read_text())
        ran.append("one")

    def reproduced(text: str, params: list[str]) -> tuple[str, list[str], list[str]]:
        (tmp_path / "glue.yaml").write_text(text)
        stage = {"cmd": "glue stage one --format 1", "outs": ["out.txt"], "params": [{"glue.yaml": params}]}
        (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": {"one": stage}}))
        told: dict[str, list[str]] = {}
        pending = dvc.status(tmp_path)["one"]
        dvc.reproduce(tmp_path, {stage["cmd"]: work}, lambda _, outcome, s, why: told.update({outcome: why}))
        assert dvc.status(tmp_path)["one"] == []
        assert told[""] == pending
        return next(outcome for outcome in told if outcome), pending, (tmp_path / "out.txt").read_text().split()

    both, one = "seed: 1\nevaluate: {slices: [town]}\n", "seed: 1\n"
    assert reproduced(both, ["seed", "evaluate.slices"])[:2] == ("executed", ["first run"])
    assert reproduced(both, ["seed", "evaluate.slices"])[:2] == ("unchanged", [])
    assert reproduced(one, ["seed"]) == ("executed", ['evaluate.slices ["town"] -> absent'], one.split())
    assert reproduced(both, ["seed", "evaluate.slices"])[::2] == ("restored", both.split())
    assert reproduced(one, ["seed"])[::2] == ("restored", one.split())
    assert reproduced(one, ["seed"])[0] == "unchanged"
    assert ran == ["one", "one"]


def test_what_would_run_if_another_stage_changes_is_by_what_depends_on_what(tmp_path: Path) -> None:
    dvc.init(tmp_path, git=False)
    (tmp_path / "in.txt").write_text("1")
    chain = {"a": "in.txt", "b": "a.txt", "c": "b.txt", "alone": "other.txt"}
    (tmp_path / "other.txt").write_text("1")
    stages = {n: {"cmd": f"cp {dep} {n}.txt", "deps": [dep], "outs": [f"{n}.txt"]} for n, dep in chain.items()}
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    dvc.reproduce(tmp_path, {}, lambda *_: None)
    assert dvc.pending(tmp_path) == ({name: [] for name in chain}, {})
    (tmp_path / "in.txt").write_text("2")
    assert dvc.pending(tmp_path) == (
        {"a": ["in.txt modified"], "b": [], "c": [], "alone": []},
        {"b": ["a"], "c": ["a"]},
    )


def test_what_went_to_the_remote_and_came_from_it_is_counted(tmp_path: Path) -> None:
    root, remote, other = tmp_path / "project", str(tmp_path / "remote"), tmp_path / "other"
    root.mkdir()
    dvc.init(root, git=False)
    (root / "table.csv").write_text("a\n" * 50)
    dvc.add(root, "table.csv")
    stage = {"cmd": "cp table.csv out.csv && echo >> out.csv", "deps": ["table.csv"], "outs": ["out.csv"]}
    (root / "dvc.yaml").write_text(json.dumps({"stages": {"one": stage}}))
    dvc.reproduce(root, {}, lambda *_: None)
    assert [dvc.push(root, remote) for _ in range(2)] == [f"pushed 2 files to {remote}", f"pushed 0 files to {remote}"]
    shutil.copytree(root, other, ignore=shutil.ignore_patterns("cache", "tmp", "*.csv"))
    assert dvc.pull(other, remote) == (f"pulled 1 file from {remote}", [])
    assert (other / "table.csv").read_text() == "a\n" * 50


def test_a_change_is_told_by_its_key_and_as_it_is_written() -> None:
    def told(old: Any, new: Any) -> list[str]:
        return [" ".join(one) for one in dvc.differences("k", old, new)]

    rows = [{"expect_rows": {"min": 34}}, {"expect_set": {"column": "a", "of": ["x"]}}, "expect_any"]
    more = [{"expect_rows": {"min": 35}}, {"expect_set": {"column": "a", "of": ["x"]}}, {"new": {"of": ["é"]}}]
    assert told(rows, more) == ["k.expect_rows.min 34 35", "k expect_any absent", 'k absent {"new": {"of": ["é"]}}']
    between = [{"expect_between": {"column": name, "max": most}} for name, most in (("a", 1), ("b", 2), ("c", 3))]
    other = [between[0], {"expect_between": {"column": "c", "max": 4}}]
    gone = 'k {"expect_between": {"column": "b", "max": 2}} absent'
    assert told(between, other) == [gone, "k[c].expect_between.max 3 4"]
    assert told({"a": 1}, {"a": 1, "b": "x" * 99}) == ["k.b absent " + "x" * 59 + "…"]
    assert told([1, 2], [2, 1]) == ["k [1, 2] [2, 1]"]


def test_a_stage_that_fails_at_once_leaves_what_it_made_before(tmp_path: Path) -> None:
    """A file, a folder and a file that is not in DVC's cache. What it has written itself stands, and is not mixed."""
    dvc.init(tmp_path, git=False)
    does: dict[str, Any] = {}

    def work() -> None:
        does["now"]()

    def write() -> None:
        (tmp_path / "folder").mkdir()
        for name in ("out.txt", "folder/in.txt", "metrics.json"):
            (tmp_path / name).write_text("1")

    def fail() -> None:
        raise StageError("no")

    def write_and_fail() -> None:
        (tmp_path / "out.txt").write_text("half")
        fail()

    command = "glue stage one --format 1"
    outs = {"outs": ["out.txt", "folder"], "metrics": [{"metrics.json": {"cache": False}}]}
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": {"one": {"cmd": command, "deps": ["in.txt"], **outs}}}))

    def tree() -> dict[str, str]:
        files = [tmp_path / name for name in ("out.txt", "folder/in.txt", "metrics.json")]
        return {path.name: path.read_text() for path in files if path.exists()}

    def run(what: Callable[[], None], given: str) -> None:
        does["now"] = what
        (tmp_path / "in.txt").write_text(given)
        dvc.reproduce(tmp_path, {command: work}, lambda *_: None)

    with pytest.raises(StageError):
        run(fail, "a")
    assert tree() == {}
    run(write, "a")
    before, lock = tree(), (tmp_path / "dvc.lock").read_bytes()
    assert len(before) == 3
    with pytest.raises(StageError):
        run(fail, "b")
    assert tree() == before and (tmp_path / "dvc.lock").read_bytes() == lock
    with pytest.raises(StageError):
        run(write_and_fail, "b")
    assert tree() == {"out.txt": "half"}
    run(write, "b")
    assert tree() == before


OWN_REMOTE = """# ours
[core]
    analytics = false
    remote = mine    # the bucket
['remote "mine"']
    url = s3://bucket/dvc
"""


def test_a_remote_is_added_and_what_the_config_has_stays(tmp_path: Path) -> None:
    path, own = tmp_path / ".dvc/config", tmp_path / ".dvc/config.local"
    dvc.name_remote(tmp_path, "../store", here_alone=False)
    assert not path.parent.exists()  # DVC tells
    dvc.init(tmp_path, git=False)
    path.write_text(OWN_REMOTE)
    dvc.name_remote(tmp_path, "../store", here_alone=False)
    assert path.read_text() == OWN_REMOTE + "['remote \"glue\"']\n    url = ../../store\n"
    path.write_text(path.read_text() + "    profile = me\n")
    stamp = path.stat().st_mtime_ns
    dvc.name_remote(tmp_path, "../store", here_alone=False)
    assert path.stat().st_mtime_ns == stamp
    dvc.name_remote(tmp_path, "s3://other, really#1", here_alone=False)
    read = Config(str(path.parent)).read()
    assert read["core"]["remote"] == "mine"
    assert read["remote"]["glue"] == {"url": "s3://other, really#1", "profile": "me"}
    before = path.read_bytes()
    dvc.name_remote(tmp_path, "/secret/store", here_alone=True)
    assert path.read_bytes() == before
    assert [line.strip() for line in own.read_text().splitlines()] == ["['remote \"glue\"']", "url = /secret/store"]
    path.write_text("[core\n")
    dvc.name_remote(tmp_path, "../store", here_alone=False)
    assert path.read_text() == "[core\n"
