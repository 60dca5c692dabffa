"""Whatever stands in glue.yaml or behind --set: it loads, or one error with a place says why not."""

from __future__ import annotations

import difflib
import random
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mlops_glue import config
from mlops_glue.errors import ConfigError, UsageError

GOOD = """\
# what this is
glue: 1
project: demo   # its name
data:
  sources:
    t: {path: t.csv, entity: who, timestamp: null}  # the table
  labels: {source: t, target: y, task: binary}

validation:
  t:
    - expect_column_values_to_be_between: {column: x, min_value: 0, mostly: 0.9}  # of x
    - expect_column_to_exist: {column: x}

train:
  estimator: sklearn.linear_model.LogisticRegression
  params: {C: 1.0}  # its params
  # of the seed
  seed: 0

evaluate:
  metrics: [roc_auc,
    f1]
  thresholds:
    roc_auc: {min: 0.8}  # 0.5 is what a constant gets

split: {by: entity, test_size: 0.2}
package: {require: null}  # onnx: refuse
monitor:
  labels:
    url: ${LABELS}
    query: |
      select x,
      \ty
      from t
    id: it   # of the request

  drift: {share: 0.3}
environments:
  prod: {serve: {port: 8001}}
"""
ODD = """
2024-02-30|2024-13-45|2024-02-28|2001-12-14t21:59:43.10-05:00|2024-01-01 99:99:99|12:99:99|!!int x|!!float x|!!bool zz
|!!str 5|!!timestamp foo|!!binary zzz|!!set {x}|!!omap [x: 1]|!foo 3|!!python/object:os.system {}|0x_|0o9|0b2|1_|.|=|~
|1e400|-.inf|.nan|&x false|&x null|&x 1|*x|{? [1]: 2}|{? {a: 1}: 2}|{null: 3}|{1: 2}|{1.5: 2}|{true: 2}|[[]]|{}|[]|''
|"\\ud800"|"\\0"|"a\\nb"|on|yes|no|010|1:20|<<|@|`|%|-|?|: |#|{|}|[|"|'|,|\t|\\|💥|{a: 1, a: 2}|{<<: {a: 1}}|{<<: 3}
""".replace("\n", "").split("|")
ODD += ["9" * 5000, "x" * 5000, "[" * 300, "../" * 2000, "|\n      a\n   b", ">\n\n", "\n  - 1", "\n  a: 1\n  b"]


@pytest.fixture(scope="module")
def root() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "t.csv").write_text("x,y,who\n1,0,a\n")
        yield Path(folder)


def loads(root: Path, text: str, **more: Any) -> config.Config | None:
    """The config, or None where it is refused as a user's mistake; each problem has its place."""
    try:
        return config.load(root, "", text=text, **more)
    except ConfigError as error:
        assert error.exit_code == 2 and error.problems
        for one in error.problems:
            assert re.match(r"glue\.yaml:\d+ ", one) and "\n" not in one.strip() and len(one) < 12_000, one
            one.encode()
        return None


def test_the_good_one_loads(root: Path) -> None:
    made = loads(root, GOOD)
    assert made is not None and made.monitor.labels is not None
    assert made.monitor.labels.query == "select x,\n\ty\nfrom t\n"


def mutated(rng: random.Random) -> str:
    """A value, a key or some characters of the good one are something else."""
    text = GOOD
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        found = list(re.finditer(r"(?<=: )[^\s,{}\[\]]+|[\w]+(?=:)|(?<=[ {\[,])[\w.]+", text))
        spot = rng.choice(found)
        kind = rng.randrange(6)
        if kind < 4:
            text = text[: spot.start()] + rng.choice(ODD) + text[spot.end() :]
        elif kind == 4:
            text = text[: spot.start()] + text[spot.end() + rng.randrange(3) :]
        else:
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice(ODD)[:50] + text[at + rng.randrange(4) :]
    return text


@pytest.mark.parametrize("seed", range(8))
def test_what_is_odd_is_a_mistake_with_its_line(root: Path, seed: int) -> None:
    rng = random.Random(seed)
    refused = sum(loads(root, mutated(rng)) is None for _ in range(40))
    assert 0 < refused < 40


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60), st.integers(0, len(GOOD)))
def test_any_text_anywhere_too(root: Path, text: str, at: int) -> None:
    loads(root, GOOD[:at] + text + GOOD[at:])


@pytest.mark.parametrize("value", ODD)
def test_each_odd_value_of_a_parameter_is_what_yaml_says(root: Path, value: str) -> None:
    """`false` with an anchor is no 0, and so on: the values are those of YAML's safe loader."""
    text = GOOD.replace("{C: 1.0}", value)
    made = loads(root, text)
    yaml = YAML(typ="safe", pure=True)
    try:
        wanted = yaml.load(text)["train"]["params"]
    except (YAMLError, ValueError, LookupError, RecursionError):
        wanted = None
    if made is not None and isinstance(wanted, dict) and wanted:
        assert made.train.params == wanted


@pytest.mark.parametrize(
    "value", ["&x false", "!!bool false", "&x 1", "&x 1.5", "2024-02-28", "2001-12-14t21:59:43.1Z"]
)
def test_a_value_has_its_own_type(root: Path, value: str) -> None:
    made = loads(root, GOOD.replace("C: 1.0", f"C: {value}"))
    wanted = YAML(typ="safe", pure=True).load(value)
    assert made is not None and type(made.train.params["C"]) is type(wanted) and made.train.params["C"] == wanted


PATHS = [
    "project",
    "train.params",
    "train.params.C",
    "train.params.new",
    "train.seed",
    "train.new",
    "train.new.deep",
    "evaluate.metrics",
    "evaluate.thresholds.roc_auc.min",
    "evaluate.thresholds.f1.min",
    "evaluate.thresholds",
    "data.sources.t.timestamp",
    "package.require",
    "promote.metric",
    "promote",
    "registry.model",
    "monitor.labels.query",
    "monitor.labels.id",
    "monitor.drift.share",
    "environments.prod.serve.port",
    "environments.new.serve.port",
    "validation.t",
]
VALUES = [
    "300",
    "0.25",
    "null",
    "true",
    "text",
    "'two words'",
    "a: 1",
    "{a: 1, b: [x, null]}",
    "[1, 2]",
    "{}",
    "2024-02-28",
]
VALUES += ["'it''s # no comment'", "', '", "'yes'", "'5'", "ä", "-", "''", '"a\\nb"']


@pytest.mark.parametrize("path", PATHS)
def test_set_changes_one_value_and_no_other_character(root: Path, path: str) -> None:
    (root / "glue.yaml").write_text(GOOD)
    for value in random.Random(path).sample(VALUES, 7):
        try:
            after = config.overridden(root, {path: value})
        except UsageError:
            assert value == "-"  # an empty list item is null to YAML; a lone dash may be refused
            continue
        safe = YAML(typ="safe", pure=True)
        wanted = _with(safe.load(GOOD), path.split("."), safe.load(value))
        assert safe.load(after) == wanted, (path, value)
        before, now = GOOD.splitlines(), after.splitlines()
        gone = [line for line in difflib.ndiff(before, now) if line.startswith("- ")]
        block = path in (
            "train.params",
            "evaluate.thresholds",
            "evaluate.metrics",
            "monitor.labels.query",
            "validation.t",
        )
        assert len(gone) <= (4 if block else 1), (path, value, gone)
        kept = re.findall(r"#.*", GOOD)
        lost = [one for one in kept if one not in after]
        inside = {"evaluate.thresholds": ["# 0.5 is what a constant gets"], "validation.t": ["# of x"]}.get(path, [])
        assert [one for one in lost if one not in inside] == []
        for line in set(now) - set(before):
            assert "  #" not in line or line.split("  #")[1] in GOOD


def test_set_takes_a_section_that_is_empty_too(root: Path) -> None:
    (root / "glue.yaml").write_text("glue: 1\npromote:  # by\n  # nothing\nserve:\n  canary:\n  port: 1\n")
    after = config.overridden(root, {"promote.metric": "f1", "serve.canary.share": "0.1", "serve.log": "{full: serve}"})
    assert after == (
        "glue: 1\npromote: {metric: f1}  # by\n  # nothing\n"
        "serve:\n  canary: {share: 0.1}\n  port: 1\n  log: {full: serve}\n"
    )


def _with(tree: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    tree = dict(tree or {})
    tree[path[0]] = _with(tree.get(path[0]), path[1:], value)
    return tree


@pytest.mark.parametrize("value", ODD)
def test_set_takes_an_odd_value_or_says_that_it_is_none(root: Path, value: str) -> None:
    (root / "glue.yaml").write_text(GOOD)
    keys = ("train.params.x", "project", "train", "a..b", "", "evaluate.metrics.0", "train.seed.y")
    for key in random.Random(value).sample(keys, 2):
        try:
            text = config.overridden(root, {key: value})
        except (UsageError, ConfigError) as error:
            assert error.exit_code == 2
        else:
            loads(root, text)
