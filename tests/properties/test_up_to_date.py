"""One edit of a project that has run: glue never says unchanged where DVC does not, or where its own files are torn."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_glue import layout, modules
from mlops_glue.adapters import dvc
from mlops_glue.pipeline import up_to_date
from mlops_glue.pipeline.up_to_date import LastRun

FILES = {
    "glue.yaml": "glue: 1\ntrain: {seed: 0}\nsplit: {by: time}\n",
    "data.csv": "a,b\n1,2\n",
    "model.py": "import helper\nfrom package import deep\n",
    "helper.py": "import json\nimport click\n",
    "package/__init__.py": "",
    "package/deep.py": "X = 1\n",
    "build.py": "from package.tables import make\n",
    "package/tables.py": "def make(tables): return tables\n",
    "feast/feature_store.yaml": "project: p\n",
    "feast/views.py": "import feast_helper\n",
    "feast_helper.py": "Y = 1\n",
    "feast/deep/more.py": "",
    "seen/other.txt": "no stage reads this\n",
}
RUN = LastRun(["one", "two"], ["model:build", "build:run"], "feast", stores=["db"], required=[], inputs=[], env=None)
OWN = [layout.UNCHANGED, layout.DELIVERY]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of two stages that has run; what the stages depend on is glue's own list."""
    root = tmp_path_factory.mktemp("once")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    dvc.init(root, git=False)
    code = modules.code_of(RUN.import_paths, "feast", root)
    stages = {
        "one": {"cmd": "cp data.csv one.csv", "deps": ["data.csv"], "outs": ["one.csv"]},
        "two": {"cmd": "mkdir -p two && cp one.csv two/a", "deps": ["one.csv", *code], "outs": ["two"]},
    }
    stages["one"]["params"] = [{"glue.yaml": ["train.seed"]}]  # type: ignore[list-item]
    stages["two"]["params"] = [{"glue.yaml": ["split", "train.seed"]}]  # type: ignore[list-item]
    (root / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    (root / "db").write_text("1")
    (root / layout.DELIVERY).parent.mkdir()
    (root / layout.DELIVERY).write_text('{"refused": []}\n')
    before = up_to_date.snapshot(root)
    dvc.reproduce(root, {}, lambda *_: None)
    up_to_date.record(root, before, up_to_date.snapshot(root), RUN)
    assert up_to_date.load(root, None) is not None
    return root


def copied(once: Path, root: Path) -> Path:
    """A copy of the project, as if it had run in its place."""
    shutil.copytree(once, root)
    control = up_to_date.snapshot(root)
    up_to_date.record(root, control, control, RUN)
    assert up_to_date.load(root, None) is not None
    return root


def watched() -> list[str]:
    return [*FILES, "dvc.yaml", "dvc.lock", "one.csv", "two/a", "db", *OWN]


def write(path: Path, rng: random.Random) -> None:
    raw = bytearray(path.read_bytes() or b"#")
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(7)
    path.write_bytes(raw)


def torn(path: Path, rng: random.Random) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[: rng.randrange(len(raw) or 1)])


def touch(path: Path, rng: random.Random) -> None:
    os.utime(path, ns=(rng.randrange(10**18), rng.randrange(10**18)))


def again(path: Path, rng: random.Random) -> None:
    raw = path.read_bytes()
    path.unlink()
    path.write_bytes(raw)


def gone(path: Path, rng: random.Random) -> None:
    path.unlink()


def longer(path: Path, rng: random.Random) -> None:
    with path.open("a") as file:
        file.write(rng.choice(["\n", "# x\n", " "]))


def new_module(path: Path, rng: random.Random) -> None:
    """A module that hides an installed one, or a definition in the Feast repository."""
    name = rng.choice(["click.py", "click/__init__.py", "feast/new.py", "feast/deep/x.py", "json.py"])
    at = _root(path) / name
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_text("Z = 1\n")


def more_told(path: Path, rng: random.Random) -> None:
    name = rng.choice(["two/more", "new/dvc.yaml", "seen/x.dvc", ".dvcignore"])
    at = _root(path) / name
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_text({"new/dvc.yaml": "stages: {}\n", "seen/x.dvc": "outs:\n- path: x\n"}.get(name, "model.py\n"))


def _root(path: Path) -> Path:
    return next(folder for folder in path.parents if (folder / ".dvc").is_dir())


EDITS: list[Callable[[Path, random.Random], None]] = [write, torn, touch, again, gone, longer, new_module, more_told]


def dvc_says_unchanged(root: Path) -> bool:
    try:
        return not any(dvc.status(root).values()) and not dvc.changed_data(root)
    except Exception:
        return False


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_an_edit_is_never_unchanged_where_dvc_says_otherwise(
    edit: Callable[[Path, random.Random], None], once: Path, tmp_path: Path
) -> None:
    rng = random.Random(edit.__name__)
    code = modules.code_of(RUN.import_paths, "feast", once)
    answered = 0
    names = watched() if edit not in (new_module, more_told) else ["glue.yaml"] * 12
    for at, name in enumerate(names):
        root = copied(once, tmp_path / str(at))
        before = (root / name).read_bytes()
        edit(root / name, rng)
        same = (root / name).is_file() and (root / name).read_bytes() == before
        if up_to_date.load(root, None) is not None:
            answered += 1
            assert dvc_says_unchanged(root), name
            assert modules.code_of(RUN.import_paths, "feast", root) == code
            assert name == "seen/other.txt" or same or (name == layout.UNCHANGED and edit is longer), name
        if name in OWN and not same and edit is not longer:
            assert up_to_date.load(root, None) is None, name
        shutil.rmtree(root)
    assert answered > 0 or edit in (new_module, more_told)


def test_what_decides_is_watched_and_nothing_else(once: Path, tmp_path: Path) -> None:
    for at, name in enumerate(FILES):
        root = copied(once, tmp_path / str(at))
        with (root / name).open("a") as file:
            file.write("\n# x\n")
        assert (up_to_date.load(root, None) is None) == (name != "seen/other.txt"), name


def test_another_environment_is_a_change(once: Path, tmp_path: Path) -> None:
    root = copied(once, tmp_path / "p")
    assert up_to_date.load(root, "prod") is None


def test_a_folder_that_is_closed_or_goes_is_left_to_dvc(
    once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, scan = copied(once, tmp_path / "p"), os.scandir

    def closed(path: str) -> object:
        if os.fspath(path).endswith("/seen"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr("mlops_glue.pipeline.up_to_date.os.scandir", closed)
    assert up_to_date.snapshot(root) is None and up_to_date.load(root, None) is None


@pytest.mark.parametrize("name", ["scikit-learn", "pandas", "click"])
def test_another_version_of_a_package_is_a_change(
    name: str, once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that the stages compute with, and those that the project's own code imports."""
    root = copied(once, tmp_path / "p")
    site = tmp_path / "site"
    found = site / f"{name.replace('-', '_')}-0.0.1.dist-info"
    found.mkdir(parents=True)
    (found / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.0.1\n")
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    assert modules.installed(name) == "0.0.1" and up_to_date.load(root, None) is None
