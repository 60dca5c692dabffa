"""What each key of glue.yaml may hold, and the JSON Schema of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mlops_glue import config
from mlops_glue.errors import ConfigError
from tests.support.configs import GOOD, TREE, load, problems

CRON = "should be five fields of cron: minute (0-59) hour (0-23) day (1-31) month (1-12, JAN) weekday (0-6, MON)"


def test_a_minimal_config_has_defaults(tmp_path: Path) -> None:
    made = load(tmp_path, GOOD)
    assert made.model_name == "demo"
    assert made.split.test_size == 0.2


@pytest.mark.parametrize("wrong", ["{url: 'ftp://me:hidden@h'}", "{url: 'https://h', secret: hidden}"])
def test_a_possible_secret_is_not_printed(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD + f"monitor: {{alerts: {{webhooks: [{wrong}]}}}}\n")
    assert "monitor.alerts.webhooks.0." in caught.value.message and "hidden" not in caught.value.message


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            "ci: {secrets: [GITHUB_X]}\n",
            "ci.secrets.0: 'GITHUB_X': GitHub or the jobs already set it",
        ),
        ("tune: {space: {C: [a, 2]}}\n", "tune.space.C: should be a finite number"),
        ("tune: {space: {C: [1, .inf]}}\n", "tune.space.C: should be a finite number"),
        ("tune: {space: {C: {low: true, high: 2}}}\n", "tune.space.C.low: should be a finite number, not True"),
        (
            "tune: {space: {C: {choices: [1, 2026-01-01]}}}\n",
            "tune.space.C.choices.1: should be a text, a finite number, true, false or null, "
            "not datetime.date(2026, 1, 1)",
        ),
        (
            "tune: {space: {C: {choices: [.nan]}}}\n",
            "tune.space.C.choices.0: should be a text, a finite number, true, false or null, not nan",
        ),
        ("ci: {secrets: [A, HOME]}\n", "ci.secrets.1: 'HOME': GitHub or the jobs already set it"),
        (
            "ci: {schedule: '0 0 * *'}\n",
            f"ci.schedule: {CRON}, not '0 0 * *'",
        ),
        ("validation: {u: [x]}\n", "validation.u: no source 'u' (there are: 't')"),
        (
            "validation: {t: []}\n",
            "validation.t: an empty suite checks nothing; remove the table or add expectations",
        ),
        ("evaluate: {metrics: [f1, r2]}\n", "evaluate.metrics.1: no metric 'r2' for a binary task ("),
        (
            "evaluate: {thresholds: {recal: {min: 1}}}\n",
            "evaluate.thresholds.recal: no metric 'recal' for a binary task (did you mean 'recall'?)",
        ),
        ("promote: {metric: recal}\n", "promote.metric: no metric 'recal' for a binary task (did you mean 'recall'?)"),
        ("features: {number: [y]}\n", "features.number: 'y' is the target"),
        (
            "features: {category: [prediction]}\n",
            "features.category: 'prediction' is a name reserved by glue; rename the column",
        ),
        ("features: {number: [a], datetime: [a]}\n", "features.datetime: 'a' is also listed in number"),
        ("features: {boolean: [a], exclude: [a]}\n", "features.boolean: 'a' is also listed in exclude"),
        (
            "features: {transform: a:b}\n",
            "features.transform: creates feature tables, but features.use selects nothing from them",
        ),
        (
            "features: {delay: soon}\n",
            "features.delay: should be a number of seconds (0 or more) or a duration like 90s, 5m or 1h, not 'soon'",
        ),
        (
            "features: {delay: -1}\n",
            "features.delay: should be a number of seconds (0 or more) or a duration like 90s, 5m or 1h, not -1",
        ),
        (
            "serve: {shadow: champion}\n",
            "serve.shadow: the champion already answers; choose another alias, not 'champion'",
        ),
        (
            "serve: {log: {hash: [a]}}\n",
            "serve.log: hash needs hash_key: a hash without a key can be reversed by trying every value",
        ),
        ("monitor: {labels: {url: '${U}', id: a}}\n", "monitor.labels: url and query go together"),
        ("monitor: {labels: {path: a, query: q, id: a}}\n", "monitor.labels: url and query go together"),
        (
            "monitor: {on_alert: [retrain]}\n",
            "monitor.on_alert: needs labelled rows of the log: set monitor.labels, or retrain: {data: reread}",
        ),
        ("monitor: {last: 90s}\n", "monitor.last: should be a duration like 12h, 7d or 4w, not '90s'"),
        ("split: {fresh_after: [0]}\n", "split.fresh_after.0: should be greater than 0, not 0"),
        ("tracking: 5\n", "tracking: should be a section with keys, not 5"),
        ("serve: []\n", "serve: should be a section with keys"),
        (
            "ci: {image: ghcr.io/me/it:1}\n",
            "ci.image: should be host/owner/name in lower case, without a tag: the tag is the model's "
            "version, not 'ghcr.io/me/it:1'",
        ),
    ],
)
def test_each_mistake_has_its_message(tmp_path: Path, more: str, said: str) -> None:
    (told,) = problems(tmp_path, TREE + more)
    assert told == f"8 {said}" or (said.endswith("(") and told.startswith(f"8 {said}"))


@pytest.mark.parametrize(
    ("schedule", "is_valid"),
    [
        *((f"{minute} 0 * * *", True) for minute in ("*", "*/5", "0", "59", "0-59", "5,10-20/2,*/59", "7/3")),
        *((f"{minute} 0 * * *", False) for minute in ("", "60", "*/0", "*/", "1-", "-1", "1,,2", "a", "1-60", "*5")),
        *((f"0 0 * {month} *", True) for month in ("jan", "Jan-FEB", "1,dec", "12")),
        *((f"0 0 * {month} *", False) for month in ("0", "13", "jan2", "1-", "janu")),
        ("0 23 31 * 6", True),
        ("0 24 * * *", False),
        ("0 0 0 * *", False),
        ("0 0 32 * *", False),
        ("0 0 * * 7", False),
        ("0 0 * *", False),
        ("0 0 * * * *", False),
    ],
)
def test_a_schedule_is_cron(schedule: str, is_valid: bool, tmp_path: Path) -> None:
    text = f"{TREE}ci: {{schedule: '{schedule}'}}\n"
    if is_valid:
        assert load(tmp_path, text).ci.schedule == schedule
    else:
        problem = f"8 ci.schedule: {CRON}, not {schedule!r}"
        assert problems(tmp_path, text) == [problem]


@pytest.mark.parametrize(("text", "wanted"), [("90s", 90), ("15m", 900), ("2h", 7200), ("3d", 259200), ("1w", 604800)])
def test_lengths_of_time(text: str, wanted: int) -> None:
    assert config.span(text).total_seconds() == wanted
    assert config.Features(delay=text).delay_s == wanted and config.Features(delay=wanted + 0.5).delay_s == wanted + 0.5


def test_the_schema_for_editors_is_json() -> None:
    text = config.json_schema()
    assert text.startswith('{\n "') and text.endswith("\n}\n")
    schema = json.loads(text)
    assert set(schema["properties"]) == set(config.Config.model_fields)
    in_environment = schema["properties"]["environments"]["additionalProperties"]["properties"]
    sections = {place.partition(".")[0] for place in config.PLACES}
    assert set(in_environment) == sections & set(config.Config.model_fields)
    assert set(in_environment["features"]["properties"]) == {"online_store", "offline_store", "registry"}
    assert in_environment["serve"] == schema["properties"]["serve"]
    data = in_environment["data"]["properties"]
    assert set(data) == {"remote", "sources"}
    assert set(data["sources"]["additionalProperties"]["properties"]) == {"path", "url"}


def test_an_editor_explains_every_key_and_completes_names() -> None:
    schema = json.loads(config.json_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    for section in (schema, *schema["$defs"].values()):
        for key, about in section.get("properties", {}).items():
            of_section = schema["$defs"].get(about.get("$ref", "").rpartition("/")[2], {})
            assert about.get("description") or of_section.get("description"), key
    estimator = schema["$defs"]["Train"]["properties"]["estimator"]
    assert "lightgbm.LGBMClassifier" in estimator["examples"]
    (expectation,) = [kind for kind in _items(schema, "validation")["anyOf"] if kind.get("type") == "object"]
    assert "expect_column_values_to_be_unique" in expectation["propertyNames"]["anyOf"][0]["enum"]


def _items(schema: dict[str, Any], key: str) -> dict[str, Any]:
    found: dict[str, Any] = schema["properties"][key]["additionalProperties"]["items"]
    return found


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"serve": {"workerz": 3}}, ["serve"]),
        ({"evaluate": {"thresholds": {"roc_auc": 0.8}}}, ["evaluate", "thresholds", "roc_auc"]),
        ({"validation": {"t": [3]}}, ["validation", "t", 0]),
        ({"environments": {"prod": {"train": {"seed": 1}}}}, ["environments", "prod"]),
        ({"glue": 2}, ["glue"]),
    ],
)
def test_an_editor_finds_what_glue_refuses(change: dict[str, Any], path: list[Any]) -> None:
    valid = {
        "glue": 1,
        "project": "p",
        "data": {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}},
        "train": {"estimator": "mine:build"},
        "validation": {"t": ["expect_my_own", {"expect_column_values_to_be_unique": {"column": "a"}}]},
        "evaluate": {"metrics": ["f2", "roc_auc"], "thresholds": {"roc_auc": {"min": 0.8}}},
        "environments": {"prod": {"serve": {"port": 80}}},
    }
    validator = jsonschema.Draft202012Validator(json.loads(config.json_schema()))
    assert not list(validator.iter_errors(valid))
    (found,) = validator.iter_errors(valid | change)
    assert list(found.absolute_path) == path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "    t: {",
            "    a.b: {path: t.csv}\n    t: {",
            "a table name may contain only letters, digits, _, - and spaces",
        ),
        (
            "train: {}",
            "train: {}\nevaluate: {cost: {false_positive: 0, false_negative: 0}}",
            "every cost is 0: all decisions would cost the same",
        ),
        (
            "train: {}",
            "train: {}\nmonitor: {alerts: {webhooks: [{url: 'ftp://h'}]}}",
            "is not an http:// or https:// URL",
        ),
        (
            "train: {}",
            "train: {}\ncompute: {address: 'ray://h:1'}",
            "should be auto, local, HOST:PORT or ${NAME}",
        ),
    ],
)
def test_what_a_name_or_an_address_may_be(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert [one.partition(": ")[2] for one in problems(tmp_path, TREE.replace(old, new))] == [said]
    good = TREE.replace("    t: {", "    my-table 2_ü: {path: t.csv}\n    t: {")
    hooks = "monitor: {alerts: {webhooks: [{url: 'http://h'}, {url: 'https://h'}, {url: '${HOOK}'}]}}\n"
    assert load(tmp_path, good + hooks).project == "demo"
