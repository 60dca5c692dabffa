"""--set, in the loaded config and in the text."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_glue import config
from mlops_glue.errors import ConfigError, UsageError
from tests.support.configs import GOOD, TREE, load


def edited(tmp_path: Path, text: str, sets: dict[str, str]) -> config.Config:
    (tmp_path / "glue.yaml").write_text(text)
    return load(tmp_path, config.overridden(tmp_path, sets))


def test_set_is_typed_and_checked(tmp_path: Path) -> None:
    assert edited(tmp_path, GOOD, {"train.params.C": "2.5"}).train.params == {"C": 2.5}
    with pytest.raises(ConfigError):
        edited(tmp_path, GOOD, {"train.sede": "1"})


@pytest.mark.parametrize(
    ("key", "value", "said", "hint"),
    [
        ("project.name", "x", "--set project.name: 'project' is not a section of glue.yaml", None),
        ("data.sources.t.path.deep", "x", "--set data.sources.t.path.deep: 'path' is not a section of glue.yaml", None),
        ("train.seed", "[1", "--set train.seed=[1: the value is not YAML", "quote it: --set 'a.key=\"text\"'"),
    ],
)
def test_what_cannot_be_set(tmp_path: Path, key: str, value: str, said: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        edited(tmp_path, TREE, {key: value})
    assert (caught.value.message, caught.value.hint) == (said, hint)


def test_what_is_set_has_the_type_that_yaml_gives_it(tmp_path: Path) -> None:
    """In sections that are there, are empty, or are not there yet."""
    text = TREE.replace("train: {}", "train:") + "split: {}\n"
    sets = {"train.seed": "7", "train.params.a.b": "[1, '2', null]", "split.test_size": "0.5", "tracking.uri": "'5'"}
    made = edited(tmp_path, text, sets)
    assert (made.train.seed, made.train.params, made.split.test_size) == (7, {"a": {"b": [1, "2", None]}}, 0.5)
    assert made.tracking.uri == "5"


@pytest.mark.parametrize(
    ("before", "key", "value", "after"),
    [
        ("a: 1  # one\nb: 2\n", "a", "5", "a: 5  # one\nb: 2\n"),
        ("s:\n  a: 1\n  # end\nb: 2\n", "s.c", "x", "s:\n  a: 1\n  c: x\n  # end\nb: 2\n"),
        ("s: {a: 1}\n", "s.c.d", "[1, 2]", "s: {a: 1, c: {d: [1, 2]}}\n"),
        ("s: {a: 1, }\n", "s.c", "2", "s: {a: 1,c: 2}\n"),
        ("s: {}\n", "s.c", "2", "s: {c: 2}\n"),
        ("s:  # nothing\nb: 2\n", "s.c", "2", "s: {c: 2}  # nothing\nb: 2\n"),
        ("s:\n  a: 1\nb: 2\n", "s", "3", "s: 3\nb: 2\n"),
        ("b: 2", "c", "'x: y'", "b: 2\nc: 'x: y'"),
        ("l:\n  - 1\n  - 2\nb: 2\n", "l", "[3]", "l: [3]\nb: 2\n"),
    ],
    ids=str,
)
def test_one_value_changes_in_the_text(tmp_path: Path, before: str, key: str, value: str, after: str) -> None:
    (tmp_path / "glue.yaml").write_text(before)
    assert config.overridden(tmp_path, {key: value}) == after
