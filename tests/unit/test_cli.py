"""How commands end."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from mlops_glue import cli
from mlops_glue.errors import GlueError


def test_a_file_that_ends_too_early_is_no_interrupt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Click takes every EOFError for the end of the user's input."""

    def command(*, as_json: bool, env: str | None) -> int:
        raise EOFError

    monkeypatch.setattr("mlops_glue.commands.status.status", command)
    with pytest.raises(SystemExit) as stop:
        cli.main(["status"])
    assert (stop.value.code, "a bug in glue: EOFError" in capsys.readouterr().err) == (3, True)


@pytest.mark.parametrize("words", [["--port", "99999"], ["--port", "-1"], ["--workers", "0"]])
def test_there_is_no_such_port(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The system takes 99999 for 34463."""
    with pytest.raises(SystemExit) as stop:
        cli.main(["serve", *words])
    assert stop.value.code == 2 and f"{words[1]} is not in the range" in capsys.readouterr().err


def test_the_working_folder_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PWD", "OLDPWD", "DB_PWD"):
        monkeypatch.setenv(name, f"/home/somebody/{name}")
    said = str(GlueError("/home/somebody/PWD/t.csv, /home/somebody/OLDPWD, /home/somebody/DB_PWD"))
    assert said == "/home/somebody/PWD/t.csv, /home/somebody/OLDPWD, ${DB_PWD}"


def test_what_reads_the_registry_takes_an_environment() -> None:
    """By the functions that open it: a command whose own module calls one has `--env`."""
    opens = {"tracking_uri", "opened", "read_only", "last_delivery", "as_left"}
    without = {name for name, one in cli.glue.commands.items() if "env" not in {p.name for p in one.params}}
    # a repository without a glue.yaml has --registry; a stage computes only, in the module of `glue run`
    for name in without - {"adopt", "stage"}:
        for module in _modules(cli.glue.commands[name].callback):
            tree = ast.parse(Path(importlib.import_module(module).__file__ or "").read_text())
            called = {getattr(one.func, "attr", getattr(one.func, "id", "")) for one in _calls(tree)}
            assert not called & opens, (name, module)
    assert {"status", "why", "report", "predict", "promote", "rollback", "serve", "monitor"} & without == set()
    assert {"package", "materialize", "doctor", "run", "track"} & without == set()


def test_no_flag_has_a_value_of_its_own() -> None:
    """Between click 8.3.0 and 8.3.2 one with `default=True, flag_value=False` is False where nobody gives it."""
    every = [option for command in cli.glue.commands.values() for option in command.params]
    flags = [
        option for option in every if isinstance(option, click.Option) and option.is_flag and not option.secondary_opts
    ]
    assert len(flags) > 20 and not [flag.name for flag in flags if flag.flag_value is False]


def test_a_command_takes_the_options_that_are_passed_to_it() -> None:
    checked = 0
    for name, command in cli.glue.commands.items():
        if inspect.signature(inspect.unwrap(command.callback)).parameters:  # type: ignore[arg-type]
            continue
        (module,) = _modules(command.callback)
        function = getattr(importlib.import_module(module), name)
        inspect.signature(function).bind(**{param.name or "": None for param in command.params if param.expose_value})
        checked += 1
    assert checked >= 12


def _modules(callback: Any) -> set[str]:
    """The modules of `mlops_glue.commands` that a command's body imports."""
    source = inspect.getsource(inspect.unwrap(callback))
    found = re.findall(r"@calls\(\"(\w+)\"\)|mlops_glue.commands.(\w+) import", source)
    return {f"mlops_glue.commands.{called or imported}" for called, imported in found}


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (one for one in ast.walk(tree) if isinstance(one, ast.Call))


def test_a_system_without_file_locks_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None if name == "fcntl" else find(name, *more))
    with pytest.raises(SystemExit) as stop:
        cli.main(["serve"])
    said = "error: glue runs on Linux, macOS and WSL: this system has no fcntl file locks\nhint: wsl --install\n"
    assert (stop.value.code, capsys.readouterr().err) == (2, said)


def test_every_command_is_in_a_group_and_its_short_text_is_whole() -> None:
    shown = [name for name, command in cli.glue.commands.items() if not command.hidden]
    assert sorted(shown) == sorted(command.name or "" for commands in cli.GROUPS.values() for command in commands)
    for columns in ("80", "60"):
        env = {**os.environ, "COLUMNS": columns}
        done = subprocess.run(["glue", "--help"], env=env, capture_output=True, text=True, check=True)
        assert "..." not in done.stdout.partition("Start:")[2]
        assert max(map(len, done.stdout.splitlines())) <= int(columns)
    for name in shown:
        assert len(cli.glue.commands[name].get_short_help_str(1000)) <= 50, name
    done = subprocess.run(["glue", "-V"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("glue, version ")


def _completed(words: str, cwd: Path) -> list[str]:
    """What bash is offered for the last word; nothing else is printed."""
    asked = {"_GLUE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    done = subprocess.run(["glue"], cwd=cwd, env={**os.environ, **asked}, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_a_shell_completes_what_the_project_has(tmp_path: Path) -> None:
    (tmp_path / "glue.yaml").write_text("environments: {prod: {}, stage: {}}\n")
    assert _completed("glue run --env p", tmp_path) == ["plain,prod"]
    assert _completed("glue monitor --env ", tmp_path) == ["plain,prod", "plain,stage"]
    assert _completed("glue run --until t", tmp_path) == ["plain,train"]
    (tmp_path / "dvc.yaml").write_text("stages: {train: {cmd: a}, translate: {cmd: b}}\n")
    assert _completed("glue why t", tmp_path) == ["plain,train", "plain,translate"]
    for command in ("predict ", "predict a.csv ", "init p --data ", "monitor --current ", "report --output ", "adopt "):
        assert _completed(f"glue {command}", tmp_path) == ["file,"], command
    assert "plain,rollback" in _completed("glue r", tmp_path)
    (tmp_path / "glue.yaml").write_text("environments: {prod: [")
    assert _completed("glue run --env p", tmp_path) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_takes_the_script(shell: str) -> None:
    env = {**os.environ, "_GLUE_COMPLETE": f"{shell}_source"}
    done = subprocess.run(["glue"], env=env, capture_output=True, text=True, check=True)
    assert "_GLUE_COMPLETE=" in done.stdout and "glue" in done.stdout and done.stderr == ""


@pytest.mark.parametrize("words", ["run --env ", "why "])
def test_completion_imports_no_tool(words: str, tmp_path: Path) -> None:
    (tmp_path / "glue.yaml").write_text("environments: {prod: {}}\n")
    (tmp_path / "dvc.yaml").write_text("stages: {train: {cmd: a}}\n")
    code = (
        "import atexit, sys\natexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from mlops_glue.cli import main\nmain([])"
    )
    asked = {"_GLUE_COMPLETE": "bash_complete", "COMP_WORDS": f"glue {words}", "COMP_CWORD": str(words.count(" ") + 1)}
    env = {**os.environ, **asked}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert {"dvc", "mlflow", "pandas", "pydantic", "rich"} & {m.split(".")[0] for m in done.stderr.split()} == set()
    assert done.stdout in ("plain,prod\n", "plain,train\n")
