"""`validate` in a forked process does what it does in this one, and ends with whoever waits for it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from mlops_glue import config as configs
from mlops_glue import layout, tables
from mlops_glue.config import Config
from mlops_glue.errors import CheckFailed, ConfigError, GlueError, StageError
from mlops_glue.pipeline import execute, second_core
from mlops_glue.pipeline.stages import STAGES
from tests.support.server import until

MET = "{expect_column_values_to_not_be_null: {column: a}}"
MISSED = "{expect_column_values_to_be_between: {column: a, max_value: 1}}"
ONLY_WARNED = "{expect_column_values_to_be_between: {column: a, max_value: 1, severity: warning}}"
OF_SCIPY = """{expect_column_kl_divergence_to_be_less_than: {column: a, threshold: 0.1,
      partition_object: {bins: [0, 2, 5], weights: [0.9, 0.1]}}}"""
WITH_BARS = "{expect_column_kl_divergence_to_be_less_than: {column: a, threshold: 0.1}}"
MISSPELT = "{expect_column_values_to_be_nul: {column: a}}"


@pytest.fixture
def project(tmp_path: Path) -> Callable[[str], Config]:
    """A project with a table of one column `a`, and a config with one expectation of it."""
    pd.DataFrame({"a": [0.5, 2.5, 3.5, 1.5], "y": [0, 1, 0, 1]}).to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / layout.TABLE).parent.mkdir(parents=True)
    tables.write_parquet(tmp_path / layout.TABLE, pa.table({"a": [0.5, 2.5, 3.5, 1.5], "y": [0, 1, 0, 1]}))

    def of(expectation: str) -> Config:
        lines = [
            "glue: 1\nproject: p\ndata: {sources: {t: {path: t.csv}}, labels: {source: t, target: y, task: binary}}",
            f"validation:\n  t:\n    - {expectation}\ntrain: {{estimator: sklearn.linear_model.LogisticRegression}}\n",
        ]
        (tmp_path / layout.CONFIG).write_text("\n".join(lines))
        return configs.load(tmp_path)

    return of


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process: this one has threads, and has imported everything."""
    monkeypatch.setattr(second_core, "can_fork", lambda: True)


def outcome(stage: Callable[[], None], root: Path) -> tuple[object, ...]:
    """What a person gets: the error, and the files."""
    error: tuple[object, ...] = ()
    try:
        stage()
    except GlueError as raised:
        error = type(raised), str(raised), raised.hint
    return error, {path.name: path.read_bytes() for path in (root / layout.VALIDATION).glob("*")}


def messages(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int, str]]:
    """What glue logged."""
    ours = [record for record in caplog.records if record.name.startswith("mlops_glue")]
    return [(record.name, record.levelno, record.getMessage()) for record in ours]


@pytest.mark.parametrize(
    ("expectation", "error"),
    [
        (MET, None),
        (MISSED, CheckFailed),
        (ONLY_WARNED, None),
        (OF_SCIPY, CheckFailed),
        (WITH_BARS, None),
        (MISSPELT, ConfigError),
    ],
)
def test_it_is_what_it_is_in_this_process(
    expectation: str,
    error: type[GlueError] | None,
    project: Callable[[str], Config],
    forks: None,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    config = project(expectation)
    here = outcome(execute.in_process(config, tmp_path)[STAGES[1].command], tmp_path)
    warned = messages(caplog)
    caplog.clear()
    with second_core.validator(config, tmp_path, at_once=True) as validator:
        assert outcome(validator.run, tmp_path) == here
    assert (here[0] and here[0][0]) == (error or ())
    assert messages(caplog) == warned
    assert bool(warned) is (expectation is ONLY_WARNED) and all(level == logging.WARNING for _, level, _ in warned)
    assert not multiprocessing.active_children()
    assert "it/s" not in capfd.readouterr().err  # without the progress bars of Great Expectations


def test_a_process_that_was_killed_is_one_line(
    project: Callable[[str], Config], forks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_core, "run_stage", lambda *_: os.kill(os.getpid(), 9))
    with second_core.validator(project(MET), tmp_path, at_once=False) as validator:
        with pytest.raises(StageError, match="stage validate: the process that validates was killed") as raised:
            validator.run()
        assert raised.value.hint
        monkeypatch.undo()
        validator.run()  # no process is left in its way


def test_it_ends_with_the_run(
    project: Callable[[str], Config], forks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that fails or is interrupted before `validate` leaves no process that imports."""
    monkeypatch.setattr(second_core.great_expectations, "load", threading.Event().wait)
    with pytest.raises(KeyboardInterrupt), second_core.validator(project(MET), tmp_path, at_once=True):
        until(lambda: len(multiprocessing.active_children()) == 1)
        raise KeyboardInterrupt
    assert not multiprocessing.active_children()


def test_ingest_starts_it(project: Callable[[str], Config], forks: None, tmp_path: Path) -> None:
    started: list[int] = []
    config = project(MET)
    with second_core.validator(config, tmp_path, at_once=False) as validator:
        stages = dict.fromkeys(execute.in_process(config, tmp_path), lambda: started.append(len(children())))
        children = multiprocessing.active_children
        validator.replaced(stages)[STAGES[2].command]()
        validator.replaced(stages)[STAGES[0].command]()
    assert started == [0, 1]


def test_nothing_is_forked_beside_threads_or_on_one_core_or_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, cores = [threading.main_thread()], {0, 1}
    monkeypatch.setattr(second_core.sys, "platform", "linux")
    monkeypatch.setattr(second_core.threading, "enumerate", lambda: threads)
    monkeypatch.setattr(second_core.os, "sched_getaffinity", lambda _: cores)
    monkeypatch.delitem(sys.modules, "great_expectations", raising=False)
    assert second_core.can_fork()
    threads.append(threading.Thread(name="of a library"))
    assert not second_core.can_fork()
    threads.pop()
    cores.pop()
    assert not second_core.can_fork()
    cores.add(1)
    monkeypatch.setitem(sys.modules, "great_expectations", multiprocessing)
    assert not second_core.can_fork()


NEW_PROCESS = """
import os, sys
from pathlib import Path
from mlops_glue import config
from mlops_glue.pipeline import second_core

with second_core.validator(config.load(Path()), Path.cwd(), at_once=True) as validator:
    validator.run()
print("great_expectations" in sys.modules, "skops.io" in sys.modules)
"""


def test_a_new_process_imports_what_comes_later_and_not_great_expectations(
    project: Callable[[str], Config], tmp_path: Path
) -> None:
    project(MET)
    done = subprocess.run([sys.executable, "-c", NEW_PROCESS], cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = "False True\n" if len(os.sched_getaffinity(0)) > 1 else "True False\n"
    assert (done.stdout, done.stderr) == (expected, "")
    assert (tmp_path / layout.VALIDATION / "report.html").exists()
