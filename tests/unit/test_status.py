"""`glue status` and `glue why` say the same of a stage."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlops_glue.commands import status

REASONS = {"ingest": [], "split": ["split.seed 1 -> 2"], "train": [], "evaluate": ["a", "b", "c", "d"], "package": []}


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One whose stages would run for these reasons."""
    config = SimpleNamespace(data=True, tracking=SimpleNamespace(uri=None))
    monkeypatch.setattr(status.layout, "find_root", lambda: tmp_path)
    monkeypatch.setattr(status.configs, "load", lambda *_, **__: config)
    monkeypatch.setattr(status, "_reasons", lambda: REASONS)


def test_a_stage_after_one_that_will_run_may_run_too(capsys: pytest.CaptureFixture[str]) -> None:
    status.status()
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "ingest       unchanged",
        "split        changed: split.seed 1 -> 2",
        "train        unchanged: it runs if split will have changed what it reads",
        "evaluate     changed: a, b, c",
        "package      unchanged: it runs if split, evaluate will have changed what it reads",
        "nothing delivered yet",
    ]
    said = {"ingest": "unchanged: it would not run\n", "evaluate": "a\nb\nc\nd\n", "train": lines[2][13:] + "\n"}
    for name, wanted in said.items():
        status.why(name)
        assert capsys.readouterr().out == wanted


def test_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    status.status(as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["stages"] == REASONS
    assert told["after"] == {"train": ["split"], "package": ["split", "evaluate"]}
    for name, reasons in REASONS.items():
        status.why(name, as_json=True)
        assert json.loads(capsys.readouterr().out) == {
            "stage": name,
            "reasons": reasons,
            "after": told["after"].get(name, []),
        }
