"""How commands end."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_glue import cli
from mlops_glue.commands import packaged


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
