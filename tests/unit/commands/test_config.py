"""`glue config`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlops_glue.commands.config import config
from mlops_glue.errors import UsageError
from tests.support.configs import TREE, load

TEXT = TREE + "environments: {dev: {}, prod: {tracking: {uri: '${NOT_SET}'}}}\n"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    load(tmp_path, TEXT)
    monkeypatch.chdir(tmp_path)


def test_show_and_diff(capsys: pytest.CaptureFixture[str]) -> None:
    assert config(action="show", env="prod") == 0
    said = capsys.readouterr().out.splitlines()
    (uri,) = [line.split(maxsplit=1)[1] for line in said if line.startswith("tracking.uri ")]
    assert uri.startswith("glue.yaml:8 environments.prod; NOT_SET is not set ") and uri.endswith("${NOT_SET}'")
    assert config(action="diff", names=("dev", "prod"), as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["tracking.uri"] and told["tracking.uri"]["dev"]["origin"] == "default"
    assert told["tracking.uri"]["prod"]["is_set"] == {"NOT_SET": False}
    assert config(action="diff", names=("dev",)) == 0
    assert capsys.readouterr().out == "no environment and dev: all values are the same\n"
    config(action="show", as_json=True)
    assert json.loads(capsys.readouterr().out)["project"]["line"] == 2


def test_what_is_asked_wrongly() -> None:
    with pytest.raises(UsageError) as caught:
        config(action="show", names=("prod",))
    assert caught.value.hint == "glue config show --env prod"
    with pytest.raises(UsageError) as caught:
        config(action="diff")
    assert caught.value.hint == "glue config diff dev prod"
