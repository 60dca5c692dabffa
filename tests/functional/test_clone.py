"""A second clone: what git and DVC carry is the whole project, and plain DVC knows where to get it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.project import Glue

pytestmark = pytest.mark.usefixtures("quick_path")


def sh(command: str, cwd: Path) -> str:
    who = "git -c user.name=A -c user.email=a@b.c"
    command = command.replace("git commit", f"{who} commit")
    return subprocess.run(["bash", "-ec", command], cwd=cwd, capture_output=True, text=True, check=True).stdout


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.fixture
def before(ran_penguins: Path) -> Path:
    """A project whose metrics are not in DVC's cache by `dvc.yaml`, as glue defined it before, run and committed."""
    edit(ran_penguins / "dvc.yaml", "metrics.json\n", "metrics.json:\n          cache: false\n")
    sh("git add . && git commit -qm first", ran_penguins)
    return ran_penguins


def test_a_second_clone_is_whole_after_a_bare_dvc_pull(before: Path, glue: Glue, tmp_path: Path) -> None:
    lock = (before / "dvc.lock").read_bytes()
    edit(before / "glue.yaml", "  labels:\n", f"  remote: {tmp_path}/store\n  labels:\n")
    done = glue("run", "--push", cwd=before)
    assert "executed" not in done.stderr and (before / "dvc.lock").read_bytes() == lock  # nothing is trained anew
    sh("git commit -qam second", before)
    glue("run", "--push", "--set", "train.params.max_iter=2", cwd=before, code=None)
    assert "log_loss" in sh("dvc metrics diff", before)
    sh("git commit -qam third", before)

    sh(f"git clone -q {before} second && cd second && dvc pull -q", tmp_path)
    second = tmp_path / "second"
    told = glue("status", cwd=second).stdout
    assert "changed:" not in told and told.count(" unchanged") == 7
    assert "up to date" in sh("dvc status", second)
    _, *rows = sh("dvc metrics diff HEAD~1 --md --all", second).splitlines()[1:]
    assert rows and all("| - " not in row for row in rows if row)
    assert sh("git status --porcelain", second) == ""


def test_a_remote_out_of_variables_is_named_in_this_clone_alone(
    before: Path, glue: Glue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(before / "glue.yaml", "  labels:\n", "  remote: ${DVC_REMOTE_URL}\n  labels:\n")
    shared, own = before / ".dvc/config", before / ".dvc/config.local"
    kept = shared.read_text()
    monkeypatch.delenv("DVC_REMOTE_URL", raising=False)
    glue("run", cwd=before)
    assert not own.exists()
    monkeypatch.setenv("DVC_REMOTE_URL", str(tmp_path / "secret-store"))
    glue("run", "--push", cwd=before)
    assert "secret-store" in own.read_text() and own.stat().st_mode & 0o777 == 0o600
    assert shared.read_text() == kept and ".dvc/config.local" not in sh("git status --porcelain", before)
    sh("dvc push -q && rm -rf .dvc/cache artifacts && dvc pull -q", before)
    assert glue("status", cwd=before).stdout.count(" unchanged") == 7


def test_an_environment_has_its_remote_and_its_tables_elsewhere(before: Path, glue: Glue, tmp_path: Path) -> None:
    """The same content is the same result: it is read again, and nothing that comes of it is made or published anew."""
    raw = Path(re.search(r"path: (\S+)", (before / "glue.yaml").read_text())[1])  # type: ignore[index]
    (tmp_path / "lake").mkdir()
    (before / raw).rename(tmp_path / "lake" / raw.name)
    edit(before / "glue.yaml", "  labels:\n", "  remote: ../store\n  labels:\n")
    table = f"{raw.stem}: {{path: ../lake/{raw.name}}}"
    with (before / "glue.yaml").open("a") as file:
        file.write(f"environments:\n  prod:\n    data: {{remote: ../store-of-prod, sources: {{{table}}}}}\n")
    done = glue("run", "--env", "prod", "--push", "--subprocess", cwd=before).stderr
    assert re.findall(r"^(\w+) \.* ?(executed|restored)", done, re.MULTILINE) == [("ingest", "executed")]
    assert re.search(r"publish \.* unchanged", done) and f"to {tmp_path}/store-of-prod" in done
    assert (tmp_path / "store-of-prod").is_dir() and not (tmp_path / "store").exists()
    assert "remote" not in (before / ".dvc/config").read_text()
    assert "data.sources" in glue("status", cwd=before, code=2).stderr  # here the table is gone
    assert glue("status", "--env", "prod", cwd=before).stdout.count(" unchanged") == 7
    (tmp_path / "lake" / raw.name).rename(before / raw)
    glue("run", cwd=before)
    assert "url = ../../store\n" in (before / ".dvc/config").read_text()
