"""Variables of the environment in glue.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_glue import config
from mlops_glue.errors import ConfigError, GlueError
from tests.support.configs import GOOD, TREE, load


def test_an_unset_secret_is_named_and_a_set_one_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_URI", "http://user:hunter2@host")
    made = load(tmp_path, GOOD + "tracking: {uri: '${SECRET_URI}'}\n")
    assert "hunter2" not in repr(made)
    assert config.resolve(made.tracking.uri or "", "tracking.uri").endswith("hunter2@host")
    monkeypatch.delenv("SECRET_URI")
    with pytest.raises(GlueError, match="SECRET_URI is not set"):
        config.resolve("${SECRET_URI}", "tracking.uri")


def test_variables_are_resolved_at_every_depth(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("A_B", "secret")
    monkeypatch.setenv("NOTHING", "")
    section = {"a": ["${A_B}/x", 1], "b": {"c": "y${A_B}${A_B}"}, "d": None}
    assert config.references(section) == ["A_B"] and config.references({"b": "${Z}${Y}", "a": ["${Z}"]}) == ["Y", "Z"]
    assert config.resolve(section, "s") == {"a": ["secret/x", 1], "b": {"c": "ysecretsecret"}, "d": None}
    for name, said in (("NOTHING", "empty"), ("NOWHERE_SET", "not set")):
        with pytest.raises(ConfigError) as caught:
            config.resolve({"a": {"b": [f"${{{name}}}"]}}, "s")
        assert caught.value.problems == [f"glue.yaml s.a.b: environment variable {name} is {said}"]
        assert caught.value.hint == f"export {name}=…"
    made = load(
        tmp_path, TREE.replace("  labels", "  remote: 's3://${A_B}'\n  labels") + "tracking: {uri: 'x${A_B}'}\n"
    )
    assert (config.remote_url(made), config.tracking_uri(made)) == ("s3://secret", "xsecret")
    none = load(tmp_path, TREE)
    assert (config.remote_url(none), config.tracking_uri(none)) == (None, None)


def test_an_unset_variable_is_reported_with_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE_SET", raising=False)
    text = TREE.replace("  labels", "  remote: 's3://${NOWHERE_SET}'\n  labels") + "tracking: {uri: '${NOWHERE_SET}'}\n"
    made = load(tmp_path, text)
    for of, key in ((config.remote_url, "data.remote"), (config.tracking_uri, "tracking.uri")):
        with pytest.raises(ConfigError) as caught:
            of(made)
        assert caught.value.problems == [f"glue.yaml {key}: environment variable NOWHERE_SET is not set"]
