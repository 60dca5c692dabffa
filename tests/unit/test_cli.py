"""How commands end."""

from __future__ import annotations

import pytest

from mlops_glue import cli


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
