"""`glue upgrade`: new parts come in, edits stay. The project is made by "the version before": with older templates."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import palmerpenguins
import pytest

from mlops_glue import layout
from mlops_glue.commands.ci import ci
from mlops_glue.commands.init import init
from mlops_glue.scaffold import manifest
from tests.support.project import Glue

SHARE = "  test_size: 0.2  # share of the rows in the holdout\n"
OLDER: dict[str, Callable[[str], str]] = {  # what the templates were before
    "project/README.md": lambda text: "".join(x for x in text.splitlines(keepends=True) if "dvc dag" not in x),
    "project/gitignore": lambda text: text.replace("*.tmp\n", ""),
    "project/glue.yaml": lambda text: text.replace(SHARE, "  test_size: 0.2\n"),
    "classifier/model.py": lambda text: text.replace('"""', '"""Once: ', 1),
    "ci/Makefile": lambda text: text + "\nolder:\n\ttrue\n",
    "ci/test.yml": lambda text: text.replace("cancel-in-progress: true", "cancel-in-progress: false"),
}


@pytest.fixture(scope="module")
def made_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, then = tmp_path_factory.mktemp("before"), tmp_path_factory.mktemp("templates") / "templates"
    shutil.copytree(layout.templates(), then)
    for name, change in OLDER.items():
        before = (then / name).read_text()
        assert change(before) != before
        (then / name).write_text(change(before))
    (then / "project/tests/test_project.py").unlink()
    palmerpenguins.load_penguins().to_csv(folder / "penguins.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "templates", lambda: then)
        patch.chdir(folder)
        init("p", ("penguins.csv",), "species")
        patch.chdir(folder / "p")
        edit(folder / "p/glue.yaml", "data:\n", "data:\n  remote: ${DVC_REMOTE_URL}\n")
        ci()
    return folder / "p"


@pytest.fixture
def project(tmp_path: Path, made_before: Path) -> Path:
    shutil.copytree(made_before, tmp_path / "p")
    return tmp_path / "p"


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def contents(root: Path) -> dict[str, bytes]:
    files = (p for p in root.rglob("*") if p.is_file() and not {".git", "tmp"} & {*p.relative_to(root).parts})
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in files}


def changes(glue: Glue, root: Path, code: int = 0) -> dict[str, str]:
    told = json.loads(glue("upgrade", "--json", cwd=root, code=code).stdout)["files"]
    return {path: outcome for path, outcome in told.items() if outcome != "unchanged"}


def test_edits_stay_new_parts_come_in_and_a_conflict_is_shown_as_git_shows_it(project: Path, glue: Glue) -> None:
    edit(project / "README.md", "# p\n", "# Penguins\n")
    edit(project / ".gitignore", "/artifacts/", "/mine/\n/artifacts/")
    edit(project / "glue.yaml", "test_size: 0.2\n", "test_size: 0.25\n")
    (project / "model.py").write_text((project / "model.py").read_text() + "\nMINE = 1\n")
    (project / "model.py").chmod(0o755)
    edit(project / "Makefile", "\nolder:\n\ttrue\n", "\nolder:\n\ttrue\n\nmine:\n\ttrue\n")
    before = contents(project)
    shown = glue("upgrade", "--dry-run", cwd=project, code=1).stdout
    assert "+    dvc dag" in shown
    glue("upgrade", "--check", cwd=project, code=1)
    assert contents(project) == before
    assert changes(glue, project, code=1) == {
        "README.md": "merged",
        ".gitignore": "merged",
        "glue.yaml": "conflict",
        "model.py": "merged",
        "tests/test_project.py": "new",
    }
    readme = (project / "README.md").read_text()
    assert readme.startswith("# Penguins\n")
    assert "\n    dvc dag " in readme
    assert {"/mine/", "*.tmp"} <= {*(project / ".gitignore").read_text().splitlines()}
    model = (project / "model.py").read_text()
    assert model.endswith("\nMINE = 1\n")
    assert "Once: " not in model
    assert (project / "model.py").stat().st_mode & 0o100
    config = (project / "glue.yaml").read_text()
    assert f"<<<<<<< yours\n  test_size: 0.25\n=======\n{SHARE}>>>>>>> glue " in config
    assert "remote: ${DVC_REMOTE_URL}" in config
    # before a person has chosen, nothing goes on
    assert "glue.yaml:" in glue("upgrade", "--check", cwd=project, code=1).stderr
    assert "both sides of a git merge" in glue("run", cwd=project, code=2).stderr
    head, rest = config.split("<<<<<<< yours\n")
    (project / "glue.yaml").write_text(head + "  test_size: 0.25\n" + rest.partition(">>>>>>> ")[2].partition("\n")[2])
    (project / "README.md").unlink()
    # the Makefile conflicts: what stood before the user's lines is gone
    assert changes(glue, project, code=1) == {
        ".github/workflows/test.yml": "updated",
        "Makefile": "conflict",
        "README.md": "deleted",
    }
    edit(project / "Makefile", "<<<<<<< yours\n", "")
    text = (project / "Makefile").read_text()
    (project / "Makefile").write_text(text.partition("=======\n")[0])
    assert "up to date with glue" in glue("upgrade", "--check", cwd=project).stdout
    assert not (project / "README.md").exists()
    assert "unchanged Makefile" in glue("ci", cwd=project).stdout
    assert "\nmine:" in (project / "Makefile").read_text()


def test_a_fresh_clone_knows_what_was_written(project: Path, glue: Glue) -> None:
    edit(project / "README.md", "# p\n", "# Penguins\n")
    named = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*named, "add", "."], cwd=project, check=True)
    subprocess.run([*named, "commit", "-qm", "first"], cwd=project, check=True)
    subprocess.run(["git", "clone", "-q", project, project.parent / "clone"], check=True)
    clone = project.parent / "clone"
    (clone / ".gitignore").write_bytes((clone / ".gitignore").read_bytes().replace(b"\n", b"\r\n"))
    assert changes(glue, clone) == {
        "README.md": "merged",
        ".gitignore": "updated",
        "glue.yaml": "merged",
        "model.py": "updated",
        "tests/test_project.py": "new",
        ".github/workflows/test.yml": "updated",
        "Makefile": "updated",
    }
    assert (clone / ".gitignore").read_bytes().endswith(b"__pycache__/\r\n*.tmp\r\n")
    assert "remote: ${DVC_REMOTE_URL}" in (clone / "glue.yaml").read_text()
    assert len((clone / layout.GENERATED).read_bytes()) < 60_000
    after = contents(clone)
    assert changes(glue, clone) == {}
    assert contents(clone) == after


def test_a_project_without_a_record(project: Path, glue: Glue) -> None:
    (project / layout.GENERATED).unlink()
    before = contents(project)
    assert "hint: glue init . --data TABLE --target COLUMN" in glue("upgrade", cwd=project, code=2).stderr
    assert contents(project) == before


def test_what_cannot_be_done_changes_nothing(project: Path, glue: Glue, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(project / "README.md", "# p\n", "# Penguins\n")
    before = contents(project)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(project))
        assert "git is not installed" in glue("upgrade", cwd=project, code=4).stderr
    assert contents(project) == before
    record = json.loads((project / layout.GENERATED).read_text())
    newer = {**record, "init": {**record["init"], "version": "99.0"}}
    empty = {**record, "init": {**record["init"], "answers": {"project": {}}}}
    for wrong, said in (
        ("<<<<<<< HEAD\n", "git checkout HEAD -- .glue/generated.json"),
        (json.dumps(newer), "generated.json was written by glue 99.0, and this is glue"),
        (json.dumps(empty), "generated.json cannot be read: no files can be rendered from its answers"),
    ):
        (project / layout.GENERATED).write_text(wrong)
        assert said in glue("upgrade", cwd=project, code=2).stderr


def test_answers_of_the_first_version_still_make_every_file() -> None:
    """A template that asks for more than was answered a year ago gives it a default."""
    asked = json.loads(Path(__file__).with_name("answers.json").read_text())
    made = manifest.render(asked)
    assert {"glue.yaml", "README.md", "model.py", "features.py", "feature_repo/definitions.py"} <= {*made}
