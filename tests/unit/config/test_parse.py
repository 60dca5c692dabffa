"""What of YAML is read, and how."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from mlops_glue import config
from mlops_glue.config.edit import one_line
from mlops_glue.config.parse import parse
from mlops_glue.errors import ConfigError, UsageError
from tests.support.configs import TREE, load


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("", "1 is empty or not a mapping", "glue init writes a complete example"),
        ("- a\n", "1 is empty or not a mapping", "glue init writes a complete example"),
        ("glue: 1\nb: [1\n", "3 is not YAML: ", "check the quotes there; indent with spaces"),
        ("a:\n\tb: 1\n", "2 is not YAML: found character '\\t'", "check the quotes there; indent with spaces"),
        ("a: 1\nb: 2\na: 3\n", "3 repeats the key a of line 1", "remove one of the two"),
        ("a: {b: 1,\n  b: 2}\n", "2 repeats the key b of line 1", "remove one of the two"),
        ("a: &x 1\nb: *x\n", "1 uses an alias (*x), which is not supported", None),
        (
            "a: 1\nb: !!python/name:os.system x\n",
            "2 uses the tag tag:yaml.org,2002:python/name:os.system, which is not supported",
            None,
        ),
        ("a: !mine x\n", "1 uses the tag !mine, which is not supported", None),
        ("a: 1\nb: 2024-02-30\n", "2 is not YAML: '2024-02-30': day is out of range for month", None),
        ("? [a]\n: 1\n", "1 is not YAML: a key must be text or a number", None),
        ("a: " + "[" * 500 + "]" * 500 + "\n", "1 is nested too deeply", None),
        (
            "a: 1\n>>>>>>> theirs\n",
            "2 contains both sides of a git merge",
            "git checkout --ours glue.yaml, or --theirs; then glue run",
        ),
    ],
    ids=str,
)
def test_what_is_refused_as_yaml(tmp_path: Path, text: str, said: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    (told,) = caught.value.problems
    assert told.startswith(f"glue.yaml:{said}") and (hint is None or caught.value.hint == hint), told


def test_a_file_that_does_not_exist_or_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        config.load(tmp_path)
    assert (caught.value.message, caught.value.hint) == (f"no glue.yaml in {tmp_path}", "glue init")
    (tmp_path / "glue.yaml").write_bytes(b"glue: \xff\n")
    with pytest.raises(ConfigError, match=r"^glue\.yaml:1 cannot be read: "):
        config.load(tmp_path)
    (tmp_path / "t.csv").write_text("x\n")
    (tmp_path / "glue.yaml").write_bytes(b"\xef\xbb\xbf" + TREE.encode())
    assert config.load(tmp_path).project == "demo" == config.load(tmp_path, text="\ufeff" + TREE).project


def test_values_have_the_types_of_yaml(tmp_path: Path) -> None:
    text = TREE.replace(
        "train: {}", "train: {params: {a: yes, b: true, c: 1, d: 1.5, e: 2024-01-02T03:04:05, f: '1', h: ~}}"
    )
    assert load(tmp_path, text).train.params == {
        **{"a": "yes", "b": True, "c": 1, "d": 1.5, "e": datetime(2024, 1, 2, 3, 4, 5), "f": "1", "h": None}
    }


def test_the_tags_of_yaml_itself_are_read(tmp_path: Path) -> None:
    made = load(
        tmp_path, TREE.replace("train: {}", "train: {params: {a: !!str 1, b: !!float 2, c: !!map {d: !!seq [1]}}}")
    )
    assert made.train.params == {"a": "1", "b": 2.0, "c": {"d": [1]}}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("glue: 1\na: [x, my:profit]\n", 2),
        ("glue: 1\na: {b: https://x.org}\n", 2),
        ("glue: 1\na:\n  {b: [s3://x/y]}\n", 3),
        ("glue: 1\na: {b:c: 1}\n", 2),
    ],
)
def test_what_dvc_does_not_take_is_refused_where_it_is_to_read_it(text: str, line: int) -> None:
    assert parse(text).values["glue"] == 1
    with pytest.raises(ConfigError, match=rf"glue.yaml:{line} has .* without quotes in .*, which DVC") as caught:
        parse(text, strict=True)
    assert caught.value.hint is not None and caught.value.hint.startswith('write "')


def test_what_set_writes_dvc_takes() -> None:
    value = {"function": "my:profit", "at": ["s3://b/p", "a b"], "on": "2024-01-01 10:00:00", "n": 1}
    text = f"a: {one_line(value)}\nb: [\"x:y\", 'https://z', plain]\nc: my:block\n"
    assert parse(text, strict=True).values["a"] == value
    assert YAML(typ="safe").load(text)["a"] == value  # libyaml, as DVC uses it
