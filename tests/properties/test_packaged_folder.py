"""`glue package` into a folder of before: its own files are made anew, the user's stay, wherever it is killed."""

from __future__ import annotations

import os
import random
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from mlops_glue import layout
from mlops_glue.errors import UsageError
from mlops_glue.scaffold import manifest, package_folder
from mlops_glue.version import __version__
from tests.support.faults import Killed, KilledError, at_work

BUILT = ["bundle/a.onnx", "bundle/b.json", "code/x/m.py", "code/n.py", "serve.json", "wheels/README"]
TEXTS = ["Dockerfile", "deploy/k.yml", "deploy/alerts.yml", "README.md"]
HEAD = "same\nthe same\nthis too\n"  # above it the user writes, in no conflict
LINES = ["one", "two", "three", "four", "five", "six", "seven"]


def made(folder: Path, seed: str) -> dict[str, str]:
    """What is to come: some of the files; returns those that are merged, which a ! in the seed does not change."""
    rng = random.Random(seed.rstrip("!"))
    texts = {
        path: HEAD + "".join(f"{word} {rng.choice('ab')}\n" for word in LINES) for path in TEXTS if rng.random() < 0.8
    }
    rng = random.Random(f"{seed} built")
    built = {path: rng.choice("xyz") * 9 for path in BUILT if path == "serve.json" or rng.random() < 0.7}
    for path, content in (built | texts).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    return texts


def brought(out: Path, seed: str, *, killed: Killed | None = None) -> list[str]:
    """A call, which may be killed."""
    with package_folder.workplace(out) as place:  # where a killed one leaves what it has
        texts = made(place / "made", seed)
        if killed is None:
            return package_folder.replace(out, place / "made", texts)
        with at_work(killed):
            return package_folder.replace(out, place / "made", texts)


def of_the_users(out: Path, rng: random.Random) -> set[str]:
    """Something of the user's in the folder; the paths of it."""
    (out / ".git/objects").mkdir(parents=True)
    (out / ".git/HEAD").write_text("ref: x\n")
    (out / "deploy").mkdir(exist_ok=True)
    (out / "deploy/.env").write_text("KEY=1\n")
    (out / "deploy/.env").chmod(0o600)
    (out / "mine").symlink_to("deploy/.env")
    (out / "code").mkdir(exist_ok=True)
    (out / "code/mine.py").write_text("mine\n")
    return {".git/HEAD", "deploy/.env", "mine", "code/mine.py"}


def tree(root: Path) -> dict[str, object]:
    """Every file: mode and bytes, or what a link points to."""
    found = (p for p in root.rglob("*") if p.is_symlink() or p.is_file())
    return {
        p.relative_to(root).as_posix(): p.readlink()
        if p.is_symlink()
        else (stat.S_IMODE(p.stat().st_mode), p.read_bytes())
        for p in found
    }


def without_record(files: dict[str, object]) -> dict[str, object]:
    return {path: content for path, content in files.items() if path != layout.GENERATED}


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_call_is_finished_by_the_next_and_nothing_of_the_users_is_touched(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # the process is killed, not the machine
    at, killed_at = 1, 0
    brought(tmp_path / "fresh", f"{seed} new")
    new = tree(tmp_path / "fresh")
    while True:
        rng, out = random.Random(seed), tmp_path / str(at) / "out"
        brought(out, f"{seed} old")
        users = of_the_users(out, rng)
        edited = rng.choice([path for path in TEXTS if (out / path).is_file()])
        (out / edited).write_text("mine\n" + (out / edited).read_text())
        (out / edited).chmod(0o640)
        before = tree(out)
        fault = Killed(out, at)
        with suppress(KilledError):
            brought(out, f"{seed} new", killed=fault)
        after = tree(out)
        assert {p: after[p] for p in users} == {p: before[p] for p in users}, at
        for path in (set(before) | set(new)) - {edited, layout.GENERATED}:
            assert after.get(path) in (before.get(path), new.get(path)), (at, path)  # each file is whole
        for again in (f"{seed} new!", f"{seed} new"):  # what comes then may be another version
            brought(out, again)
        done = tree(out)
        assert not [p for p in out.parent.rglob("*") if p.name.endswith(".tmp") or p.name.startswith(".glue-p")]
        assert without_record({p: c for p, c in done.items() if p not in users | {edited}}) == without_record(
            {p: c for p, c in new.items() if p != edited}
        )
        assert {p: done[p] for p in users} == {p: before[p] for p in users}
        text, mode = (out / edited).read_text(), (out / edited).stat().st_mode
        assert text.startswith("mine\n") and stat.S_IMODE(mode) == 0o640
        if (tmp_path / "fresh" / edited).is_file():
            assert text == "mine\n" + (tmp_path / "fresh" / edited).read_text()
        if fault.seen < at:
            break
        killed_at += 1
        at += 1 if at < 9 else 2
    assert killed_at > 5


HOW = ["edited", "link", "folder", "in its place", "folder is a link", "folder is a file"]


@pytest.mark.parametrize(
    "path, how", [("serve.json", one) for one in HOW[:3]] + [("bundle/a.onnx", one) for one in HOW]
)
def test_what_is_not_as_glue_wrote_it_is_refused_and_left(path: str, how: str, tmp_path: Path) -> None:
    with_it = [s for s in map(str, range(9)) if path in _paths(tmp_path / f"try{s}", s)]
    without = [s for s in map(str, range(9)) if path not in _paths(tmp_path / f"try{s}", s)]
    out, place = tmp_path / "out", tmp_path / "out" / path
    brought(out, without[0] if how == "in its place" else with_it[0])
    if how == "edited":
        place.write_text("mine")
    elif how == "in its place":
        place.parent.mkdir(exist_ok=True)
        place.write_text("mine")
    elif how == "folder is a file":
        (out / "bundle").rename(tmp_path / "bundle")
        (out / "bundle").write_text("mine")
    else:
        moved = place.parent if how == "folder is a link" else place
        moved.rename(tmp_path / moved.name)
        if how == "folder":
            place.mkdir()
            (place / "x").touch()
        else:
            moved.symlink_to(tmp_path / moved.name)
    before = tree(tmp_path)
    with pytest.raises(UsageError, match="glue") as caught:
        brought(out, with_it[1])
    assert str(place if "folder is" not in how else place.parent) in caught.value.message
    assert tree(tmp_path) == before


def _paths(folder: Path, seed: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    texts = made(folder, seed)
    return [*texts, *(p for p in BUILT if (folder / p).is_file())]


def test_a_file_that_was_deleted_stays_so_and_one_that_was_built_is_made_anew(tmp_path: Path) -> None:
    seed = next(s for s in map(str, range(100)) if {*TEXTS, *BUILT} <= set(_paths(tmp_path / f"try{s}", s)))
    out = tmp_path / "out"
    brought(out, seed)
    before = tree(out)
    (out / "README.md").unlink()
    (out / "bundle/a.onnx").unlink()
    before.pop("README.md")
    brought(out, seed)
    assert tree(out) == before


def test_an_unchanged_file_is_not_written_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    brought(out, "1")
    for path in out.rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))
    brought(out, "1")
    assert {p for p in out.rglob("*") if p.is_file() and p.stat().st_mtime != 1} == {out / layout.GENERATED}
    assert manifest.load(out)["written"].version == __version__
