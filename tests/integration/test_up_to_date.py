"""The answer without DVC must never be `unchanged` where `dvc status` says otherwise."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlops_glue import layout
from mlops_glue.pipeline import up_to_date
from mlops_glue.pipeline.up_to_date import LastRun
from tests.support.project import Glue

Change = Callable[[Path, random.Random], None]


def _tracked(root: Path, rng: random.Random) -> Path:
    seen = json.loads((root / layout.UNCHANGED).read_text())["files"]
    files = [root / name / part for name, stamps in seen.items() for part in stamps]
    return rng.choice([f for f in files if f.is_file()])


def _control(root: Path, rng: random.Random) -> Path:
    files = [root / name for name in ("glue.yaml", "dvc.yaml", "dvc.lock")]
    return rng.choice([file for file in files if file.is_file()])  # a change before may have removed one


def append(root: Path, rng: random.Random) -> None:
    with _tracked(root, rng).open("ab") as file:
        file.write(b"\n")


def flip_and_hide(root: Path, rng: random.Random) -> None:
    """One byte, the same size, the old modification time."""
    path = _tracked(root, rng)
    at, raw = path.stat(), bytearray(path.read_bytes())
    raw[rng.randrange(len(raw))] ^= 1
    path.write_bytes(raw)
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))


def touch(root: Path, rng: random.Random) -> None:
    os.utime(_tracked(root, rng), ns=(rng.randrange(10**18), rng.randrange(10**18)))


def touch_control(root: Path, rng: random.Random) -> None:
    os.utime(_control(root, rng), ns=(rng.randrange(10**18), rng.randrange(10**18)))


def a_file_that_no_stage_reads(root: Path, rng: random.Random) -> None:
    (root / "notes.txt").write_text("x")


def same_again(root: Path, rng: random.Random) -> None:
    path = _tracked(root, rng)
    raw = path.read_bytes()
    path.unlink()
    path.write_bytes(raw)


def delete(root: Path, rng: random.Random) -> None:
    _tracked(root, rng).unlink()


def swap(root: Path, rng: random.Random) -> None:
    one, two = _tracked(root, rng), _tracked(root, rng)
    one_bytes, two_bytes = one.read_bytes(), two.read_bytes()
    one.write_bytes(two_bytes)
    two.write_bytes(one_bytes)


def one_more_in_a_folder(root: Path, rng: random.Random) -> None:
    (root / rng.choice([layout.BUNDLE, layout.PLOTS, layout.EVALUATION]) / "more.txt").write_text("x")


def a_folder_instead(root: Path, rng: random.Random) -> None:
    path = _tracked(root, rng)
    path.unlink()
    path.mkdir()


def a_character(root: Path, rng: random.Random) -> None:
    path = _control(root, rng)
    text = path.read_text()
    at = rng.choice([i for i, c in enumerate(text) if c.isdigit()])
    path.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])


def a_line_less(root: Path, rng: random.Random) -> None:
    path = _control(root, rng)
    lines = path.read_text().splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    path.write_text("".join(lines))


def no_control(root: Path, rng: random.Random) -> None:
    _control(root, rng).unlink()


def always_changed(root: Path, rng: random.Random) -> None:
    path = root / "dvc.yaml"
    path.write_text(path.read_text().replace("    deps:", "    always_changed: true\n    deps:", 1))


def another_stage(root: Path, rng: random.Random) -> None:
    with (root / "dvc.yaml").open("a") as file:
        file.write("  mine:\n    cmd: 'true'\n    deps:\n      - glue.yaml\n")


def another_pipeline(root: Path, rng: random.Random) -> None:
    folder = root / rng.choice(["tests", "data", "new/deep"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dvc.yaml").write_text("stages:\n  mine:\n    cmd: 'true'\n    deps:\n      - no.txt\n")


def another_tracked_file(root: Path, rng: random.Random) -> None:
    outs = f"outs:\n- md5: {'0' * 32}\n  size: 1\n  hash: md5\n  path: other.csv\n"
    (root / "data" / "other.csv.dvc").write_text(outs)


def no_state(root: Path, rng: random.Random) -> None:
    shutil.rmtree(root / ".dvc" / "tmp", ignore_errors=True)
    flip_and_hide(root, rng)


def ignored(root: Path, rng: random.Random) -> None:
    with (root / ".dvcignore").open("a") as file:
        file.write(rng.choice(["artifacts\n", "data\n", "*.json\n", "model.py\n"]))


CHANGES: list[Change] = [
    append,
    flip_and_hide,
    touch,
    touch_control,
    a_file_that_no_stage_reads,
    same_again,
    delete,
    swap,
    one_more_in_a_folder,
    a_folder_instead,
    a_character,
    a_line_less,
    no_control,
    always_changed,
    another_stage,
    another_pipeline,
    another_tracked_file,
    no_state,
    ignored,
]


def _dvc_says_unchanged(root: Path) -> bool:
    done = subprocess.run(["dvc", "status", "--json"], cwd=root, capture_output=True, text=True, check=False)
    return done.returncode == 0 and json.loads(done.stdout) == {}


def _copied(root: Path, scratch: Path) -> None:
    """Copy a project that has run, as if it had run in its place."""
    shutil.copytree(root, scratch)
    last = LastRun(**json.loads((root / layout.UNCHANGED).read_text())["run"])
    control = up_to_date.snapshot(scratch)
    up_to_date.record(scratch, control, control, last)
    assert up_to_date.load(scratch, None) is not None


def _hold_against_each_other(root: Path, scratch: Path, times: int) -> None:
    rng = random.Random(7)
    assert up_to_date.load(root, None) is not None and _dvc_says_unchanged(root)
    answered = 0
    for at in range(times):
        _copied(root, scratch)
        change = CHANGES[at % len(CHANGES)]
        change(scratch, rng)
        if at % 3 == 2:
            rng.choice(CHANGES)(scratch, rng) if (scratch / "dvc.yaml").is_file() else None
        if up_to_date.load(scratch, None) is not None:
            answered += 1
            assert _dvc_says_unchanged(scratch), f"{change.__name__}, {at}"
        elif change in (touch_control, a_file_that_no_stage_reads) and at % 3 != 2:
            raise AssertionError(f"{change.__name__} changes nothing")
        shutil.rmtree(scratch)
    assert answered >= times // len(CHANGES)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, new_penguins: Path, glue: Glue) -> Path:
    """A project that has run."""
    root = tmp_path_factory.mktemp("unchanged") / "project"
    shutil.copytree(new_penguins / "project", root)
    glue("run", cwd=root)
    return root


@pytest.fixture
def done(once: Path) -> Iterator[Path]:
    """A copy of it, in its place: MLflow's paths are absolute."""
    kept = once.rename(once.with_name("kept"))
    _copied(kept, once)
    yield once
    shutil.rmtree(once)
    kept.rename(once)


def test_random_changes(done: Path, tmp_path: Path) -> None:
    _hold_against_each_other(done, tmp_path / "copy", 2 * len(CHANGES))


@pytest.mark.long
def test_many_random_changes(done: Path, tmp_path: Path) -> None:
    _hold_against_each_other(done, tmp_path / "copy", 30 * len(CHANGES))


def test_an_unchanged_run_imports_no_tool_and_says_the_same(done: Path, glue: Glue) -> None:
    code = (
        "import sys\nfrom mlops_glue.cli import main\n"
        "try: main(['run', '--json'])\nexcept SystemExit: pass\nprint(*sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=done, capture_output=True, text=True, check=True)
    modules = {*ran.stderr.splitlines()[-1].split()}
    tools = {"dvc", "mlflow", "sklearn", "pandas", "numpy", "pyarrow", "pydantic", "ruamel", "rich"}
    assert {module.split(".")[0] for module in modules} & {*tools, "sqlite3", "socket"} == set()
    assert "importlib.metadata" not in modules
    fast = json.loads(ran.stdout)
    (done / layout.UNCHANGED).unlink()
    slow = json.loads(glue("run", "--json", cwd=done).stdout)
    for one in (fast, slow):
        one.pop("previous")
        one["stages"] = [(s["stage"], s["outcome"]) for s in one["stages"]]
    assert fast == slow and {s[1] for s in fast["stages"]} == {"unchanged"}


def test_a_new_module_that_hides_an_installed_one_is_a_change(done: Path, glue: Glue) -> None:
    model = done / "model.py"
    model.write_text("import threadpoolctl\n" + model.read_text())
    glue("run", cwd=done)
    assert up_to_date.load(done, None) is not None
    (done / "threadpoolctl.py").write_text("")
    assert up_to_date.load(done, None) is None


def test_a_touched_registry_is_looked_at(done: Path, glue: Glue) -> None:
    assert up_to_date.load(done, None) is not None
    os.utime(done / layout.TRACKING_DB)
    assert up_to_date.load(done, None) is None
    assert json.loads(glue("run", "--json", cwd=done).stdout)["champion"] == 1
    (done / layout.TRACKING_DB).unlink()
    assert json.loads(glue("run", "--json", cwd=done).stdout)["new"] is True


def test_a_refused_model_stays_refused(done: Path, glue: Glue) -> None:
    for _ in range(2):
        ran = glue("run", "--json", "--set", "evaluate.thresholds.accuracy.min=0.9999", cwd=done, code=1)
        assert json.loads(ran.stdout)["refused"]
    ran = glue("run", cwd=done, code=1)
    assert "promote ..... refused" in ran.stderr and "misses threshold" in ran.stdout
