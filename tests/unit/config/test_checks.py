"""The sections of glue.yaml are checked against each other and the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_glue import config
from mlops_glue.errors import ConfigError
from tests.support.configs import GOOD, TREE, load, problems


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("evaluate: {metrics: [roc_acu]}\n", "no metric 'roc_acu' for a binary task (did you mean 'roc_auc'?)"),
        ("evaluate: {thresholds: {roc_auc: {}}}\n", "give min or max"),
        (
            "evaluate: {thresholds: {roc_auc: {min: 0.9, max: 0.5}}}\n",
            "min 0.9 is greater than max 0.5: no value meets both",
        ),
        ("validation: {t: []}\n", "an empty suite checks nothing"),
        ("split: {by: time}\n", "needs data.sources.t.timestamp"),
        ("serve: {shutdown_s: .inf}\n", "serve.shutdown_s: should be a finite number, not inf"),
        ("serve: {cors: [https://example.org/]}\n", "serve.cors.0: String should match pattern"),
        ("split: {test_size: 1.5}\n", "should be less than 1, not 1.5"),
        ("train: {seed: -1}\n", "glue.yaml:7 train.seed: should be greater than or equal to 0, not -1"),
        ("train: {seed: 4294967296}\n", "glue.yaml:7 train.seed: should be less than 4294967296, not 4294967296"),
        ("features: {number: [y]}\n", "'y' is the target"),
        (
            "monitor: {performance: {metric: f_2}}\n",
            "glue.yaml:10 monitor.performance.metric: no metric 'f_2' for a bin",
        ),
        ("train: {weight: y}\n", "glue.yaml:7 train.weight: 'y' is the target"),
        (
            "train: {weight: w}\nfeatures: {number: [w]}\n",
            "features.number: 'w' is train.weight, which cannot be a feature: remove it from this list",
        ),
        (
            "train: {weight: w}\nmonitor: {on_alert: [retrain], labels: {path: a, id: b}}\n",
            "train.weight: is not in the log, whose rows a retraining would add: monitor: {retrain: {data: reread}}",
        ),
        (
            "evaluate: {metrics: [f1]}\nmonitor: {performance: {metric: recall}}\n",
            "'recall' is not in evaluate.metrics",
        ),
        ("monitor: {on_alert: [retrain]}\n", "needs labelled rows of the log: set monitor.labels"),
        ("monitor: {on_alert: [page]}\n", "glue.yaml:10 monitor.on_alert.0: should be 'retrain', not 'page'"),
        ("monitor: {labels: {path: a, url: b, id: c}}\n", "give path, or url and query"),
        ("monitor: {labels: {path: a}}\n", "give either id or entity, to match labels with predictions"),
        ("monitor: {labels: {path: a, id: b, entity: c}}\n", "give either id or entity"),
        (
            "serve: {log: {omit: [who]}}\nmonitor: {labels: {path: a, entity: who}}\n",
            "monitor.labels.entity: 'who' is hashed or omitted in the log; give id instead",
        ),
        ("monitor: {alerts: {webhooks: [{url: u, secret: plain}]}}\n", "name an environment variable"),
        ("monitor: {alerts: {cooldown: soon}}\n", "monitor.alerts.cooldown: should be a duration like 90s"),
        (
            "monitor: {performance: {metric: f2}}\n",
            "'f2' is not in evaluate.metrics, so it has no value on the holdout",
        ),
        (
            "evaluate: {metrics: [recall_at_50]}\nmonitor: {performance: {metric: recall_at_50}}\n",
            "monitor.performance.metric: 'recall_at_50' counts a fixed number of rows, and a window's size differs",
        ),
        (
            "promote: {metric: recall_at_50}\nmonitor: {labels: {path: a, id: b}}\n",
            "monitor.performance.metric: 'recall_at_50' counts a fixed number of rows",
        ),
        ("evaluate: {metrics: [mcc]}\n", "no metric 'mcc' for a binary task (did you mean 'matthews_corrcoef'?)"),
        ("evaluate: {metrics: [auc_score]}\n", "no metric 'auc_score' for a binary task (did you mean 'roc_auc'?)"),
        ("evaluate: {metrics: [cost]}\n", "no metric 'cost' for a binary task (it needs evaluate.cost: {false_pos"),
        (
            "evaluate: {metrics: ['my:profit']}\n",
            "no metric 'my:profit' for a binary task (one of your own: "
            '{function: "my:profit", higher_is_better: true})',
        ),
        ("evaluate: {metrics: [{function: my:profit}]}\n", "evaluate.metrics.0.higher_is_better: is required"),
        (
            "evaluate: {metrics: [{function: profit, higher_is_better: true}]}\n",
            "evaluate.metrics.0.function: should be module:function, not 'profit'",
        ),
        (
            "evaluate: {metrics: [f1, {function: my:f1, higher_is_better: true}]}\n",
            "evaluate.metrics: there is another metric named 'f1'; rename yours: {name: my_f1}",
        ),
        (
            "evaluate: {metrics: [{function: 'a:g', higher_is_better: true}, "
            "{function: 'b:g', higher_is_better: true}]}\n",
            "evaluate.metrics: there is another metric named 'g'; rename yours: {name: my_g}",
        ),
        (
            "evaluate: {cost: {false_positve: 1, false_negative: 2}}\n",
            "evaluate.cost.false_positve: unknown key (did you mean 'false_positive'?)",
        ),
        ("evaluate: {cost: {false_positive: 1}}\n", "evaluate.cost.false_negative: is required"),
        ("evaluate: {cost: 3}\n", "evaluate.cost: should be a section with keys, not 3"),
        ("evaluate: {cost: {no: {yes: much}}}\n", "evaluate.cost.no.yes: should be a valid number, not 'much'"),
        (
            "evaluate: {decision_threshold: {by: roc_auc}}\n",
            "evaluate.decision_threshold.by: 'roc_auc' is computed from the probabilities, so no threshold improves it",
        ),
        ("evaluate: {decision_threshold: {by: mcc}}\n", "no binary metric 'mcc' (did you mean 'matthews_"),
        ("evaluate: {decision_threshold: {by: cost}}\n", "'cost' (it needs evaluate.cost: {false_positive: 1, fa"),
        (
            "evaluate: {decision_threshold: {by: recall}}\n",
            "recall alone would be optimized trivially: also give min_precision",
        ),
        ("evaluate: {decision_threshold: {min_recall: 0.5}}\n", "evaluate.decision_threshold.by: is required"),
        ("evaluate: {decision_threshold: 1}\n", "decision_threshold: should be less than 1, not 1"),
        ("monitor: {drift: 3}\n", "monitor.drift: should be a section with keys"),
    ],
)
def test_sections_are_checked_against_each_other(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, (GOOD.partition("train:")[0] if more.startswith("train:") else GOOD) + more)
    assert said in caught.value.message


@pytest.mark.parametrize(
    "more",
    [
        "ci: {env: prod, secrets: [A, MY_GITHUB_X]}\nenvironments: {prod: {}}\n",
        "ci: {schedule: '59 23 31 12 6'}\n",
        "ci: {schedule: '0-5,7/2 */3 1 jan-Dec sun,Sat'}\n",
        "validation: {t: [a]}\n",
        "split: {by: time}\n",
        "split: {by: entity}\n",
        "monitor: {on_alert: [retrain], retrain: {data: reread}}\n",
        "monitor: {on_alert: [retrain], labels: {path: a, id: b}}\n",
        "monitor: {performance: {metric: recall}}\n",
        "evaluate: {metrics: [f1], thresholds: {recall: {min: 0.5}}}\nmonitor: {performance: {metric: recall}}\n",
        "serve: {log: {omit: [other]}}\nmonitor: {labels: {path: a, entity: who}}\n",
        "features: {delay: 0, number: [a], category: [b], exclude: [c]}\n",
        "features: {delay: 90s}\n",
    ],
)
def test_a_sound_config_passes(tmp_path: Path, more: str) -> None:
    assert load(tmp_path, TREE + more).project == "demo"


@pytest.mark.parametrize(
    ("image", "login"),
    [
        ("ghcr.io/a/b", "ghcr"),
        ("1.dkr.ecr.eu-west-1.amazonaws.com/a", "aws"),
        ("europe-docker.pkg.dev/a/b", "gcp"),
        ("eu.gcr.io/a/b", "gcp"),
        ("me.azurecr.io/b", "azure"),
        ("docker.io/ghcr.io/b", None),
        (None, None),
    ],
)
def test_whose_login_a_registry_takes(image: str | None, login: str | None, tmp_path: Path) -> None:
    assert config.registry_of(image) == login
    if login in ("aws", "gcp", "azure"):
        said = f"8 ci.image: its registry needs a login to {login} (ci: {{cloud: {login}}})"
        assert problems(tmp_path, f"{TREE}ci: {{image: {image}}}\n") == [said]


def test_tables_that_are_not_there(tmp_path: Path) -> None:
    sources = "    a: {path: 'raw/x.csv'}\n    b: {path: gone.csv}\n    c: {path: empty.csv}\n    d: {path: t.cs}\n"
    text = TREE.replace("  labels", sources + "  labels")
    (tmp_path / "gone.csv.dvc").write_text("")
    (tmp_path / "empty.csv").write_text("")
    assert problems(tmp_path, text) == [
        "6 data.sources.a.path: 'raw/x.csv' does not exist (no such file)",
        "7 data.sources.b.path: 'gone.csv' does not exist (run: dvc pull)",
        "8 data.sources.c.path: 'empty.csv' is empty",
        "9 data.sources.d.path: 't.cs' does not exist (did you mean 't.csv'?)",
    ]
    assert load(tmp_path, text, tables=False).project == "demo"


def test_features_of_feast_are_checked_against_the_rest(tmp_path: Path) -> None:
    untimed = TREE.replace(", timestamp: at", "")
    more = "features: {use: ['v:a', x, 'v:a']}\n"
    assert problems(tmp_path, untimed + more) == [
        "8 features.repo: no feature_store.yaml in 'feature_repo' (a Feast repository has one)",
        "8 features.use.1: 'x' is not view:feature",
        "8 features.use.2: 'v:a' is listed twice",
        "8 features.use: a point-in-time join needs data.sources.t.timestamp",
    ]
    (tmp_path / "feature_repo").mkdir()
    (tmp_path / "feature_repo/feature_store.yaml").write_text("")
    (tmp_path / "table.csv").write_text("x\n1\n")
    sources = "    table: {path: table.csv}\n    u: {path: table.csv, timestamp: [a, b, c]}\n"
    assert problems(tmp_path, TREE.replace("  labels", sources + "  labels") + more.replace("x, 'v:a'", "'w:a'")) == [
        "6 data.sources.table: is a name reserved by glue; rename the source",
        "7 data.sources.u.timestamp: must be a single column for a feature table",
    ]
    assert load(tmp_path, TREE + "features: {use: a_service, transform: 'a:b'}\n").features.use == "a_service"
    for name in ("prediction", "glue_time"):
        assert problems(tmp_path, TREE.replace("target: y", f"target: {name}")) == [
            f"6 data.labels.target: '{name}' is a name reserved by glue; rename the column"
        ]


@pytest.mark.parametrize(
    ("task", "threshold", "said"),
    [
        ("regression", "0.2", "applies to classes, but data.labels.task is regression"),
        ("regression", "{by: cost}", "applies to classes, but data.labels.task is regression"),
        (
            "multiclass",
            "0.2",
            "a multiclass task has no threshold; use {by: cost} to pick the class with the lowest cost",
        ),
        ("multiclass", "{by: f1}", "a multiclass task has no threshold; use {by: cost}"),
        ("multiclass", "{by: cost, min_recall: 0.2}", "a multiclass task has no threshold; use {by: cost}"),
        ("multiclass", "{by: cost}", ""),
    ],
)
def test_who_has_a_threshold(tmp_path: Path, task: str, threshold: str, said: str) -> None:
    cost = "" if task == "regression" else ", cost: {a: {b: 1}}"
    text = GOOD.replace("task: binary", f"task: {task}") + f"evaluate: {{decision_threshold: {threshold}{cost}}}\n"
    if said:
        assert f"10 evaluate.decision_threshold: {said}" in problems(tmp_path, text)[0]
    else:
        load(tmp_path, text)
