"""Every mistake in glue.yaml is reported with its line, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_glue import config
from mlops_glue.errors import ConfigError
from tests.support.configs import GOOD, TREE, load, problems


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("train:", "trian:", "glue.yaml:7 trian: unknown key (did you mean 'train'?)"),
        ("estimator:", "estimater:", "glue.yaml:8 train.estimater: unknown key (did you mean 'estimator'?)"),
        ("project: demo", "project: 7", "glue.yaml:2 project: should be a valid string, not 7"),
        ("project: demo\n", "", "glue.yaml:1 project: is required"),
        ("project: demo", "project: demo\nproject: two", "glue.yaml:3 repeats the key project of line 2"),
        ("  params", "\tparams", "glue.yaml:9 is not YAML: found character"),
        ("source: t,", "source: u,", "glue.yaml:6 data.labels.source: no source 'u'"),
        (
            "path: t.csv",
            "path: tt.csv",
            "glue.yaml:5 data.sources.t.path: 'tt.csv' does not exist (did you mean 't.csv'?)",
        ),
        ("task: binary", "task: binry", "glue.yaml:6 data.labels.task: should be"),
        ("params: {C: 1.0}", "params: {C: 1.0", "glue.yaml:"),
        ("params: {C: 1.0}", "params: &a {C: 1.0}\nsplit: *a", "an alias"),
        ("train:", "registry: {model: a/b}\ntrain:", "glue.yaml:7 registry.model: "),
        ("project: demo\n", "<<<<<<< HEAD\nproject: demo\n=======\n", "glue.yaml:2 contains both sides of a git merge"),
    ],
)
def test_a_mistake_is_reported_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD.replace(old, new))
    assert said in caught.value.message
    assert caught.value.exit_code == 2


def test_several_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD.replace("project: demo", "project: 7").replace("params:", "parms:") + "extra: 1\n")
    assert [p.split(" ")[1] for p in caught.value.problems] == ["project:", "train.parms:", "extra:"]


def test_what_only_serves_has_no_pipeline(tmp_path: Path) -> None:
    text = "glue: 1\nproject: demo\n"
    assert load(tmp_path, text, needs=()).model_name == "demo"
    assert problems(tmp_path, text) == ["1 data: is required", "1 train: is required"]
    assert problems(tmp_path, text, needs=("train",)) == ["1 train: is required"]
    more = "train: {}\nsplit: {}\nmonitor: {labels: {path: a, id: b}, on_alert: [retrain]}\nserve: {port: 1}\n"
    assert problems(tmp_path, text + more, needs=()) == [
        "3 train: needs data",
        "4 split: needs data",
        "5 monitor.labels: needs data",
        "5 monitor.on_alert: needs data",
    ]
    assert load(tmp_path, text + "registry: {model: other}\n", needs=()).model_name == "other"


def test_problems_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = TREE.replace("project: demo\n", "") + "serve: {port: x}\nzzz: 1\nsplit: {by: nothing}\n"
    assert problems(tmp_path, text) == [
        "1 project: is required",
        "7 serve.port: should be a valid integer, not 'x'",
        "8 zzz: unknown key (there are: 'glue', 'project', 'data', 'train', 'validation', 'features', 'split', "
        "'tune', 'evaluate', 'package', 'registry', 'promote', … (21 in total))",
        "9 split.by: should be 'random', 'time' or 'entity', not 'nothing'",
    ]


def test_a_problem_found_later_has_its_line(tmp_path: Path) -> None:
    load(tmp_path, TREE + "serve:\n  cors: [a://b]\n")
    given = [
        "glue.yaml serve.cors.0: is odd",
        "elsewhere: is odd",
        "glue.yaml data.sources.t.path: gone",
        "glue.yaml x: y",
    ]
    found = config.located(tmp_path, ConfigError(given, hint="look"))
    assert found.problems == [
        "glue.yaml:9 serve.cors.0: is odd",
        "elsewhere: is odd",
        "glue.yaml:5 data.sources.t.path: gone",
        "glue.yaml:1 x: y",
    ]
    assert found.hint == "look"
