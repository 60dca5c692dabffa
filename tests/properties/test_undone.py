"""A command that fails, wherever it does, leaves the repository as it was: files, modes, and git's index."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mlops_glue import cli
from mlops_glue.commands import ci, init, upgrade
from mlops_glue.errors import GlueError
from mlops_glue.scaffold import manifest, undo
from tests.support.faults import Refused, at_work

TABLE = "a,b,y\n" + "".join(f"{i * 7 % 40},{i * i},{'yn'[i % 2]}\n" for i in range(40))


def git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout


def state(root: Path) -> dict[str, object]:
    """Every file and folder with its mode and bytes, and what git has in its index; git's objects, and the locks and
    notes that DVC keeps to itself, change nothing."""
    out: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if not name.startswith((".git/objects", ".git/index", ".dvc/tmp")):
            out[name] = (path.lstat().st_mode, path.read_bytes() if path.is_file() else None)
    out["index"] = git(root, "ls-files", "--stage") if (root / ".git").is_dir() else None
    return out


def repository(root: Path, kind: str) -> Path:
    """A repository of the user's, and the table in it."""
    root.mkdir()
    (root / "README.md").write_text("mine\n")
    (root / "README.md").chmod(0o600)
    (root / "data").mkdir()
    (root / "data/t.csv").write_text(TABLE)
    if kind != "no git":
        git(root, "init", "-q")
        (root / "data/.gitignore").write_text("/other.bin")
        (root / "data/.gitignore").chmod(0o640)
        git(root, "add", "README.md", "data/.gitignore")
    if kind == "dvc":
        subprocess.run(["dvc", "init", "-q"], cwd=root, check=True)
        (root / "dvc.yaml").write_text("# mine\nstages:\n  own: {cmd: echo 1 > own.txt, outs: [own.txt]}\n")
        (root / "dvc.yaml").chmod(0o600)
    return root


@pytest.mark.parametrize("kind", ["no git", "git", "dvc"])
def test_init_is_undone_wherever_it_fails(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = repository(tmp_path / "made", kind)
    at, failed = 1, 0
    while True:
        root = shutil.copytree(made, tmp_path / f"r{at}", symlinks=True)
        monkeypatch.chdir(root)
        before, refused = state(root), Refused(root, at)
        try:
            with at_work(refused):
                init.init(".", ("data/t.csv",), "y")
        except (OSError, GlueError):
            failed += 1
            assert state(root) == before, f"write {at}"
        if refused.seen < at:
            break  # it was not refused: each write was
        at += 1 if at < 6 else 9
    assert failed > 8
    assert (root / "glue.yaml").is_file() and (root / "data/t.csv.dvc").is_file()


@pytest.mark.parametrize("command", ["ci", "upgrade"])
def test_ci_and_upgrade_are_undone_wherever_they_fail(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository(tmp_path / "r", "git")
    monkeypatch.chdir(root)
    init.init(".", ("data/t.csv",), "y")
    subprocess.run(["dvc", "remote", "add", "--default", "r", "s3://b/c"], cwd=root, check=True, capture_output=True)
    if command == "upgrade":  # one file is updated, one is new, one goes
        ci.ci()
        parts = manifest.load(root)
        parts["ci"].files["Makefile"] = "# before\n"
        (root / "Makefile").write_text("# before\n")
        parts["init"].files.update({"old.py": "1\n"})
        (root / "old.py").write_text("1\n")
        parts["init"].files.pop("model.py", None)
        (root / "model.py").unlink(missing_ok=True)
        manifest.write(root, parts)
    at, failed = 1, 0
    while True:
        here = shutil.copytree(root, tmp_path / f"r{at}", symlinks=True)
        monkeypatch.chdir(here)
        before, refused = state(here), Refused(here, at)
        refused.events = tuple(one for one in refused.events if one != "subprocess.Popen")  # git only reads here
        try:
            with at_work(refused):
                ci.ci() if command == "ci" else upgrade.upgrade()
        except (OSError, GlueError):
            failed += 1
            assert state(here) == before, f"write {at}"
        if refused.seen < at:
            break
        at += 1 if at < 4 else 6
    assert failed > 3 and state(here) != before


@pytest.mark.parametrize("rule", [".github", "*.yml", "Makefile"])
def test_what_git_ignores_of_the_workflows_is_refused(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository(tmp_path / "r", "git")
    monkeypatch.chdir(root)
    init.init(".", ("data/t.csv",), "y")
    subprocess.run(["dvc", "remote", "add", "--default", "r", "s3://b/c"], cwd=root, check=True, capture_output=True)
    with (root / ".gitignore").open("a") as file:
        file.write(f"{rule}\n")
    before = state(root)
    with pytest.raises(GlueError, match=f"git ignores it by .gitignore:.*: {re.escape(rule)}"):
        ci.ci()
    assert state(root) == before
    assert ci.ci(check=True) == 1


RULES = [
    (".gitignore", "data/", "data/t.csv.dvc", ".gitignore:2"),
    (".gitignore", "*.dvc", "data/t.csv.dvc", ".gitignore:2"),
    (".gitignore", "*.lock", "dvc.lock", ".gitignore:2"),
    ("data/.gitignore", "*", "data/t.csv.dvc", "data/.gitignore:2"),
    (".git/info/exclude", "glue.yaml", "glue.yaml", ".git/info/exclude:2"),
    (".gitignore", ".glue", ".glue/schema.json", ".gitignore:2"),
]


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize("file, rule, path, place", RULES)
def test_what_git_ignores_is_refused_before_anything_is_written(
    file: str, rule: str, path: str, place: str, dry: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository(tmp_path / "r", "git")
    (root / file).write_text(f"# mine\n{rule}\n")
    monkeypatch.chdir(root)
    before = state(root)
    with pytest.raises(GlueError) as caught:
        init.init(".", ("data/t.csv",), "y", dry_run=dry)
    assert state(root) == before
    assert caught.value.exit_code == 2
    assert caught.value.message.startswith(path) and f"{place}: {rule}" in caught.value.message
    with (root / file).open("a") as more:  # a later rule takes it back
        more.write("!*\n")
    undo.check_committed(root, [path])


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize(
    "name, text, said",
    [
        ("dvc.yaml", "stages:\n  featurize: {cmd: python f.py}\n", "dvc.yaml stages.featurize: glue uses this name"),
        ("dvc.yaml", "stages: [\n", "dvc.yaml: is not YAML"),
        ("tests", "a file", "tests: is a file, so tests/"),
        ("glue.yaml", "glue: 1\nproject: [\n", "glue.yaml:"),
    ],
)
def test_what_is_in_the_way_is_told_before_anything_is_written(
    name: str, text: str, said: str, dry: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository(tmp_path / "r", "git")
    (root / name).write_text(text)
    monkeypatch.chdir(root)
    before = state(root)
    with pytest.raises(GlueError) as caught:
        init.init(".", ("data/t.csv",), "y", dry_run=dry)
    assert state(root) == before
    assert caught.value.exit_code == 2 and said in caught.value.message


@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["why", "train"]])
@pytest.mark.parametrize("kind", ["fresh", "edited", "absent", "own stage"])
def test_status_and_why_write_nothing_and_see_what_the_next_run_sees(
    command: list[str], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = repository(tmp_path / "r", "git")
    monkeypatch.chdir(root)
    init.init(".", ("data/t.csv",), "y")
    stages, config = root / "dvc.yaml", root / "glue.yaml"
    if kind == "edited":  # `evaluate.slices` is then a parameter that dvc.yaml does not name
        stages.write_text(stages.read_text().replace("artifacts/split/test.parquet", "artifacts/split/other.parquet"))
    if kind == "absent":
        stages.unlink()
    if kind == "own stage":
        stages.write_text(stages.read_text() + "  own:\n    cmd: echo 1 > own.txt\n    outs: [own.txt]\n")
    os.utime(config)
    before = state(root)
    times = {p: p.lstat().st_mtime_ns for p in root.rglob("*") if "/.dvc/tmp" not in str(p)}
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main(command)
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "first run" in said
    if command == ["status"]:
        assert ("own" in {line.split()[0] for line in said.splitlines()}) == (kind == "own stage")
        assert len(said.splitlines()) == 8 + (kind == "own stage")
    assert state(root) == before
    assert {p: p.lstat().st_mtime_ns for p in root.rglob("*") if "/.dvc/tmp" not in str(p)} == times
