"""What the words of `glue compare` stand for."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mlops_glue.adapters.mlflow import FINGERPRINT, Store
from mlops_glue.adapters.mlflow.runs import Logged
from mlops_glue.config import Config
from mlops_glue.delivery.sides import Place, resolve, stands_for
from mlops_glue.errors import GlueError, UsageError
from mlops_glue.pipeline.fingerprint import of_lock

LOCK = "schema: '2.0'\nstages:\n  train:\n    cmd: glue stage train\n    outs:\n    - {path: m, md5: abc}\n"
MARK = of_lock({"train": {"cmd": "glue stage train", "outs": [{"path": "m", "md5": "abc"}]}})
OF_A_VERSION, OF_NONE = "0a" * 16, "0b" * 16
RUNS = {OF_A_VERSION: Logged({}, {}, {FINGERPRINT: "1"}), OF_NONE: Logged({"x": "1", "data.t": "ff"}, {"auc": 0.5}, {})}


def git(root: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *words]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """v1 and v2 are of the first commit, v3 is committed in the last one, of which nothing was made."""
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    first = git(tmp_path, "rev-parse", "HEAD")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "nothing")
    (tmp_path / "dvc.lock").write_text(LOCK)
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "three")
    tags = {
        1: {"mlflow.source.git.commit": first, FINGERPRINT: "1"},
        2: {"mlflow.source.git.commit": first, FINGERPRINT: "2"},
        3: {FINGERPRINT: MARK},
    }
    return Place(cast(Config, SimpleNamespace(model_name="m", project="m")), tmp_path, fake(tags, champion=2), tags)


def fake(tags: dict[int, dict[str, str]], **aliases: int) -> Store:
    """A registry with these versions."""
    store: Any = SimpleNamespace(
        tags_by_version=lambda _: tags,
        champion=lambda _: aliases.get("champion"),
        get_alias=lambda _, alias: aliases.get(alias),
        logged=RUNS.get,
        run_ids=lambda _: list(RUNS),
    )
    return cast(Store, store)


def test_a_word_stands_for_versions_a_run_or_a_file(place: Place) -> None:
    (place.root / "scores.json").write_text("{}")
    first = git(place.root, "rev-parse", "HEAD~2")
    for word, things in {
        "1": ["v1"],
        "v3": ["v3"],
        "champion": ["v2"],
        OF_A_VERSION: ["v1"],
        OF_NONE: [OF_NONE],
        "scores.json": ["scores.json"],
        "HEAD": ["v3"],
        "main": ["v3"],
        first: ["v1", "v2"],
        first[:9]: ["v1", "v2"],
    }.items():
        assert stands_for(place, word) == things, word


@pytest.mark.parametrize(
    "word, said, hint",
    [
        ("4", "4: m has no such version", "there are: '1', '2', '3'"),
        ("mian", "mian: not a version, run, file or commit", "did you mean 'main'?"),
        ("champoin", "champoin: not a version, run, file or commit", "did you mean 'champion'?"),
        ("score.json", "score.json: no such file", "did you mean 'scores.json'?"),
        ("0a" * 15 + "0b", "the registry has no such run", f"did you mean '{OF_A_VERSION}'?"),
        ("dvc.lock", "dvc.lock: not a metrics file", "a metrics file contains, for example,"),
        ("HEAD~1", "no version was trained from this commit", "there are: '"),
        ("--all", "--all: not a version, run, file or commit", "there are: 'champion', 'main'"),  # no challenger
    ],
)
def test_what_a_word_stands_for_is_never_guessed(place: Place, word: str, said: str, hint: str) -> None:
    (place.root / "scores.json").write_text("{}")
    with pytest.raises(UsageError) as error:
        stands_for(place, word)
    assert said in error.value.message and (error.value.hint or "").startswith(hint)


@pytest.mark.parametrize(
    "words, versions, champion, said",
    [
        (["2"], [1, 2, 3], 2, "v2: is the champion itself"),
        (["1", "v1"], [1, 2, 3], 2, "1 and v1: both are v1"),
        (["1"], [1, 2, 3], None, "v1: m has no champion"),
        ([], [1], 1, "m has only one version"),
        ([], [], None, "m has no version yet"),
        (["1"], [], None, "1: m has no version yet"),
    ],
)
def test_one_alone_is_not_compared(
    place: Place, words: list[str], versions: list[int], champion: int | None, said: str
) -> None:
    tags = {version: dict(place.tags[version]) for version in versions}
    store = fake(tags, **({"champion": champion} if champion else {}))
    with pytest.raises(UsageError) as error:
        resolve(place.config, place.root, store, words)
    assert error.value.message.startswith(said) and error.value.hint


def test_files_and_runs_have_metrics_alone(place: Place) -> None:
    (place.root / "a.json").write_text(json.dumps({"auc": 0.9, "deep": {"f1": 1}, "name": "x", "ok": True, "no": None}))
    a, run = resolve(place.config, place.root, place.store, ["a.json", OF_NONE])
    assert {name: score["value"] for name, score in a.metrics.items()} == {"auc": 0.9, "deep.f1": 1.0}
    assert (a.run, a.version, a.params, a.code, a.left_out) == (None, None, {}, None, ["name", "ok", "no"])
    assert (run.name, run.params, run.data) == ("run 0b0b0b0b", {"x": "1"}, {"t": {"rows": None, "md5": "ff"}})
    assert run.metrics == {"auc": {"value": 0.5, "low": None, "high": None}}
    for text in ("{]", "[1]", '{"a": "b"}'):
        (place.root / "b.json").write_text(text)
        with pytest.raises(GlueError, match=r"b\.json"):
            resolve(place.config, place.root, place.store, ["a.json", "b.json"])


def test_files_need_no_registry(place: Place) -> None:
    for name in ("a.json", "b.json"):
        (place.root / name).write_text('{"auc": 0.9}')
    found = resolve(place.config, place.root, None, ["a.json", "b.json"])
    assert [side.name for side in found] == ["a.json", "b.json"]
