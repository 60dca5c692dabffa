"""How commands end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mlops_glue import cli
from mlops_glue.commands import packaged
from mlops_glue.errors import GlueError


def test_a_file_that_ends_too_early_is_no_interrupt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Click takes every EOFError for the end of the user's input."""

    def command(*, as_json: bool) -> int:
        raise EOFError

    monkeypatch.setattr("mlops_glue.commands.status.status", command)
    with pytest.raises(SystemExit) as stop:
        cli.main(["status"])
    assert (stop.value.code, "a bug in glue: EOFError" in capsys.readouterr().err) == (3, True)


@pytest.mark.parametrize("words", [["--port", "99999"], ["--port", "-1"], ["--workers", "0"]])
def test_there_is_no_such_port(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The system takes 99999 for 34463; a packaged server is asked in the same way."""
    with pytest.raises(SystemExit) as stop:
        cli.main(["serve", *words])
    assert stop.value.code == 2 and f"{words[1]} is not in the range" in capsys.readouterr().err
    about = {"name": "m", "version": 1, "serve": {"host": "127.0.0.1", "port": 8000, "workers": 1}}
    with pytest.raises(SystemExit) as stop:
        packaged._options(Path("serving"), words, about)
    assert stop.value.code == 2 and f"{words[1]} is not from" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("status",), ("init", ".", "--data", "t.csv", "--target", "y"), ("doctor",)])
def test_a_locale_that_has_no_umlauts_is_told(words: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "räum"
    folder.mkdir()
    (folder / "t.csv").write_text("a,y\n1,2\n")
    poor = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(["glue", *words], cwd=folder, env=poor, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "error: the locale's encoding is ascii, and the name of a folder or a file is not in it\n"
        "hint: export LC_ALL=C.UTF-8 PYTHONUTF8=1, then again\n"
    )


def test_the_working_folder_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PWD", "OLDPWD", "DB_PWD"):
        monkeypatch.setenv(name, f"/home/somebody/{name}")
    said = str(GlueError("/home/somebody/PWD/t.csv, /home/somebody/OLDPWD, /home/somebody/DB_PWD"))
    assert said == "/home/somebody/PWD/t.csv, /home/somebody/OLDPWD, ${DB_PWD}"
