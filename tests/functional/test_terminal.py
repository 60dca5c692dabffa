"""What a person sees: the real `glue` in a pseudo-terminal."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlops_glue import console
from mlops_glue.delivery import describe
from tests.support.project import Glue
from tests.support.server import until
from tests.support.terminal import Screen, Terminal

STAGES = ["ingest", "validate", "split", "featurize", "train", "package", "evaluate", "publish", "promote"]
LINE = re.compile(r"(\w+) \.+ (executed|restored|unchanged|failed|refused) +\d+\.\d s.*")


def stages(screen: Screen) -> list[tuple[str, str]]:
    """Name and outcome of each stage's line; a line that has an outcome has a name before it."""
    assert not [line for line in screen.lines if re.match(r"(executed|restored|unchanged|failed)\b", line)], screen.text
    return [(found[1], found[2]) for line in screen.lines if (found := LINE.fullmatch(line))]


def outcomes(screen: Screen) -> dict[str, str]:
    """By stage; each has one line."""
    found = stages(screen)
    assert len(dict(found)) == len(found), screen.text
    return dict(found)


def test_every_line_of_a_run_has_its_name(penguins: Path, on_terminal: Callable[..., Screen], glue: Glue) -> None:
    first = on_terminal("run", cwd=penguins)
    assert outcomes(first) == dict.fromkeys(STAGES, "executed")
    assert "\x1b[32mexecuted\x1b[0m" in first.raw and "\x1b[32mis champion\x1b[0m" in first.raw

    for columns in (80, 100):
        second = on_terminal("run", cwd=penguins, columns=columns)
        assert outcomes(second) == dict.fromkeys(STAGES, "unchanged")
    plain = on_terminal("run", cwd=penguins, TERM="dumb")
    assert "\x1b" not in plain.raw and "\r" not in plain.raw and plain.text == second.text
    redirected = glue("run", cwd=penguins)
    assert redirected.stderr + redirected.stdout == plain.raw

    text = (penguins / "glue.yaml").read_text()
    missed = text.replace("{min: 0.55}", "{min: 1.5}")
    (penguins / "glue.yaml").write_text(missed)
    for expected in ("restored", "unchanged"):  # the second takes the short way
        refused = on_terminal("run", cwd=penguins, code=1)
        assert outcomes(refused)["promote"] == "refused" and set(outcomes(refused)) == set(STAGES), expected
        assert "\x1b[31;1mMISSED\x1b[0m" in refused.raw and "\x1b[31;1mrefused\x1b[0m" in refused.raw

    (penguins / "glue.yaml").write_text(text)
    (penguins / "model.py").write_text("def build(random_state=None):\n    return 7\n")
    failed = on_terminal("run", cwd=penguins, code=2)
    assert stages(failed)[-1] == ("train", "failed")
    assert "\x1b[31;1merror:\x1b[0m" in failed.raw


def test_a_spinner_is_above_nothing_and_tears_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is drawn until the stage ends; what is printed meanwhile has a line of its own."""
    shown = Terminal()
    with os.fdopen(os.dup(shown.end), "w", buffering=1) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setenv("TERM", "xterm")
        console.stage("train", "", 0.0, [])
        until(lambda: "train ....... ⠙" in shown.sent())
        sys.stderr.write("a library's warning\n")
        sys.stdout.write("of the user's model")
        sys.stdout.write(", in two parts\n")
        console.progress("warning: of glue")
        before = len(shown.sent())
        until(lambda: "train ....... " in shown.sent()[before:])
        console.stage("train", "executed", 1.0, ["model.py modified"])
        console.stage("package", "", 0.0, [])
        console.stage("package", "restored", 0.0, [])
        sys.stdout.write("half a line")
    screen = shown.close(0)
    assert screen.lines == [
        "a library's warning",
        "of the user's model, in two parts",
        "warning: of glue",
        "train ....... executed     1.0 s  (model.py modified)",
        "package ..... restored     0.0 s",
        "half a line",
    ]


def test_what_is_printed_in_the_midst_of_a_frame_comes_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a process that is forked there can print."""
    shown, midst, printed = Terminal(), threading.Event(), threading.Event()

    def size() -> os.terminal_size:  # a frame asks for it once it was decided to draw it
        midst.set()
        printed.wait(0.3)
        return os.terminal_size((80, 24))

    with os.fdopen(os.dup(shown.end), "w", buffering=1) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(shutil, "get_terminal_size", size)
        console.stage("train", "", 0.0, [])
        assert midst.wait(60)
        if (forked := os.fork()) == 0:
            signal.alarm(30)
            sys.stderr.write("")
            os._exit(0)
        sys.stderr.write("half a line")
        printed.set()
        assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0
        console.stage("train", "executed", 1.0, [])
    assert shown.close(0).lines == ["half a line", "train ....... executed     1.0 s", ""]


def test_a_command_of_its_own_has_the_terminal(penguins: Path, on_terminal: Callable[..., Screen]) -> None:
    """What a stage's own process prints is between the stage's first line and its last."""
    screen = on_terminal("run", "--until", "ingest", "--subprocess", cwd=penguins)
    lines = [line for line in screen.lines if line.startswith("ingest")]
    assert lines[0] == "ingest ......" and lines[1].startswith("ingest ...... executed")


@pytest.mark.parametrize(
    ("env", "terminal_has", "file_has"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"CLICOLOR_FORCE": "1"}, True, True),
        ({"FORCE_COLOR": "0"}, True, False),
        ({"FORCE_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_colour_is_where_the_conventions_say(
    env: dict[str, str], terminal_has: bool, file_has: bool, tmp_path: Path, glue: Glue, on_terminal: Callable[..., Any]
) -> None:
    none = dict.fromkeys(["NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"])
    shown = on_terminal("status", cwd=tmp_path, code=2, **{**none, **env})
    os.environ.update({"TERM": "xterm", **env})
    assert ("\x1b[31;1merror:\x1b[0m" in shown.raw, "\x1b" in shown.raw) == (terminal_has, terminal_has)
    assert ("\x1b" in glue("status", cwd=tmp_path, code=2).stderr) == file_has


def test_zero_has_no_sign() -> None:
    said = describe.compared(
        {"metric": "r2", "version": 1, "rows": 9, "candidate": -1e-9, "champion": -0.0, "low": -1e-6, "high": 1e-6}
        | {"confidence": 0.9, "seen": 0, "method": "DeLong", "noticeable": 0.1, "finding": "no difference shown"}
    )
    assert "-0.0000" not in said and "is +0.0000 to +0.0000" in said
