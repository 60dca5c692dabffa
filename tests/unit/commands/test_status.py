"""`glue status` and `glue why`: what would run, who is champion in an environment, what was refused, what failed."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlops_glue.commands import status
from mlops_glue.errors import ToolError
from mlops_glue.report import status as report

REASONS = {"ingest": [], "split": ["split.seed 1 -> 2"], "train": [], "evaluate": ["a", "b", "c", "d"], "package": []}
UPSTREAM = {"train": ["split"], "package": ["split", "evaluate"]}
LINES = [
    "ingest       unchanged",
    "split        changed: split.seed 1 -> 2",
    "train        unchanged; would run if the output of split changes",
    "evaluate     changed: a, b, c",
    "package      unchanged; would run if the output of split or evaluate changes",
]
DELIVERY = {"model": "p", "env": None, "version": 2, "champion": 1, "refused": ["roc_auc 0.7 misses threshold min 0.8"]}


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """One whose stages would run for these reasons."""

    def config(_: Path, env: str | None = None, **__: Any) -> SimpleNamespace:
        tracking = SimpleNamespace(uri="http://prod" if env else None)
        return SimpleNamespace(data=True, tracking=tracking, environment=env, model_name="p")

    monkeypatch.setattr(status.layout, "find_root", lambda: tmp_path)
    monkeypatch.setattr(status.configs, "load", config)
    monkeypatch.setattr(report, "pending", lambda *_: (REASONS, UPSTREAM))
    (tmp_path / ".glue").mkdir()
    return tmp_path


def after_the_stages(capsys: pytest.CaptureFixture[str], env: str | None = None) -> list[str]:
    assert status.status(env=env) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == LINES
    return lines[5:]


def test_a_stage_after_one_that_will_run_may_run_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert after_the_stages(capsys) == ["no version delivered yet"]
    said = {"ingest": "unchanged\n", "evaluate": "a\nb\nc\nd\n", "train": LINES[2][13:] + "\n"}
    for name, wanted in said.items():
        status.why(name)
        assert capsys.readouterr().out == wanted


def test_why_without_a_stage_tells_every_cause_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    status.why()
    causes = ["evaluate     a", "             b", "             c", "             d"]
    assert capsys.readouterr().out.splitlines() == [
        LINES[0],
        "split        split.seed 1 -> 2",
        LINES[2],
        *causes,
        LINES[4],
    ]


def test_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    status.status(as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["stages"], told["after"]) == (REASONS, UPSTREAM)
    status.why(as_json=True)
    assert json.loads(capsys.readouterr().out) == {"stages": REASONS, "after": UPSTREAM}
    for name, reasons in REASONS.items():
        status.why(name, as_json=True)
        wanted = {"stage": name, "reasons": reasons, "after": UPSTREAM.get(name, [])}
        assert json.loads(capsys.readouterr().out) == wanted


def test_what_was_refused_and_what_failed(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    (project / ".glue/delivery.json").write_text(json.dumps(DELIVERY))
    (project / "mlflow.db").touch()
    champion = "champion of p: v1; last version: v2"
    refused = "v2 was refused: roc_auc 0.7 misses threshold min 0.8"
    assert after_the_stages(capsys) == [champion, refused]
    last = {"time": "t", "problem": "MLflow: no", "stages": [{"stage": "publish", "outcome": "failed"}]}
    (project / ".glue/last_run.json").write_text(json.dumps(last))
    assert after_the_stages(capsys) == [champion, refused, "the last run failed at publish: MLflow: no"]
    (project / ".glue/last_run.json").write_text(json.dumps(last | {"problem": None}))  # refused, which is no failure
    assert after_the_stages(capsys) == [champion, refused]
    (project / ".glue/last_run.json").write_text("[")
    (project / ".glue/delivery.json").write_text(json.dumps(DELIVERY | {"champion": 2}))  # a person promoted it
    assert after_the_stages(capsys) == ["champion of p: v2; last version: v2"]


def test_an_alias_that_was_moved_by_hand_is_seen(
    capsys: pytest.CaptureFixture[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".glue/delivery.json").write_text(json.dumps(DELIVERY))
    with contextlib.closing(sqlite3.connect(project / "mlflow.db")) as database, database:
        database.execute("create table registered_model_aliases (alias, version, name)")
        database.execute("insert into registered_model_aliases values ('champion', 2, 'p'), ('champion', 9, 'other')")
    assert after_the_stages(capsys) == ["champion of p: v2; last version: v2"]
    with contextlib.closing(sqlite3.connect(project / "mlflow.db")) as database, database:
        database.execute("delete from registered_model_aliases where name = 'p'")
    assert after_the_stages(capsys)[0] == "champion of p: none; last version: v2"


def test_of_a_server_it_is_said_how_old_the_answer_is(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    (project / ".glue/delivery.json").write_text(json.dumps(DELIVERY | {"env": "prod"}))
    os.utime(project / ".glue/delivery.json", (1796100000, 1796100000))
    said = "champion of p in environment prod: v1 at 2026-12-01 04:40 UTC, when last asked here; last version: v2"
    assert after_the_stages(capsys, "prod")[0] == said
    status.status(as_json=True, env="prod")
    assert json.loads(capsys.readouterr().out)["as_of"] == "2026-12-01T04:40:00+00:00"


@pytest.mark.parametrize(
    ("champion", "said"),
    [(None, "no version delivered yet in environment prod"), (3, "champion of p in environment prod: v3")],
)
def test_of_another_environment_the_registry_is_asked(
    champion: int | None, said: str, capsys: pytest.CaptureFixture[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".glue/delivery.json").write_text(json.dumps(DELIVERY))  # without one
    monkeypatch.setattr(report, "read_only", lambda *_: SimpleNamespace(champion=lambda _: champion))
    assert after_the_stages(capsys, "prod") == [said]


def test_a_registry_that_does_not_answer_leaves_the_stages(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise ToolError("MLflow does not answer")

    monkeypatch.setattr(report, "read_only", away)
    said = "the champion of p in environment prod is unknown: MLflow does not answer"
    assert after_the_stages(capsys, "prod") == [said]
