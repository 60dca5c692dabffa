"""Every mistake in glue.yaml is told with its line, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_glue import config
from mlops_glue.errors import ConfigError, GlueError

GOOD = """\
glue: 1
project: demo
data:
  sources:
    t: {path: t.csv}
  labels: {source: t, target: y, task: binary}
train:
  estimator: sklearn.linear_model.LogisticRegression
  params: {C: 1.0}
"""


def load(tmp_path: Path, text: str, **kwargs: object) -> config.Config:
    (tmp_path / "t.csv").write_text("x,y\n1,0\n")
    (tmp_path / "glue.yaml").write_text(text)
    return config.load(tmp_path, **kwargs)  # type: ignore[arg-type]


def test_a_good_one_loads_with_defaults(tmp_path: Path) -> None:
    made = load(tmp_path, GOOD)
    assert made.model_name == "demo"
    assert made.split.test_size == 0.2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("train:", "trian:", "glue.yaml:7 trian: unknown key (did you mean 'train'?)"),
        ("estimator:", "estimater:", "glue.yaml:8 train.estimater: unknown key (did you mean 'estimator'?)"),
        ("project: demo", "project: 7", "glue.yaml:2 project: should be a valid string, not 7"),
        ("project: demo\n", "", "glue.yaml:1 project: is required"),
        ("project: demo", "project: demo\nproject: two", "glue.yaml:3 project: this key stands twice"),
        ("  params", "\tparams", "glue.yaml:9 a tab indents this line"),
        ("source: t,", "source: u,", "glue.yaml:6 data.labels.source: no source 'u'"),
        (
            "path: t.csv",
            "path: tt.csv",
            "glue.yaml:5 data.sources.t.path: 'tt.csv' is not there (did you mean 't.csv'?)",
        ),
        ("task: binary", "task: binry", "glue.yaml:6 data.labels.task: should be"),
        ("params: {C: 1.0}", "params: {C: 1.0", "glue.yaml:"),
        ("params: {C: 1.0}", "params: &a {C: 1.0}\nsplit: *a", "aliases"),
        ("train:", "registry: {model: a/b}\ntrain:", "glue.yaml:7 registry.model: "),
        ("project: demo\n", "<<<<<<< HEAD\nproject: demo\n=======\n", "glue.yaml:2 holds both sides of a git merge"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD.replace(old, new))
    assert said in caught.value.message
    assert caught.value.exit_code == 2


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD.replace("project: demo", "project: 7").replace("params:", "parms:") + "extra: 1\n")
    assert [p.split(" ")[1] for p in caught.value.problems] == ["project:", "train.parms:", "extra:"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("project: demo", "project: 7", ["project", "promote.metric"]),
        ("params:", "parms:", ["train.parms", "promote.metric"]),
        ("path: t.csv", "pth: t.csv", ["data.sources.t.path", "data.sources.t.pth", "promote.metric"]),
        ("t: {path: t.csv}", "t: 5", ["data.sources.t"]),
        ("task: binary", "task: binry", ["data.labels.task", "promote.metric"]),
        ("glue: 1", "features: {use: 5, transform: a:b}\nglue: 1", ["features.use", "promote.metric"]),
        ("glue: 1", "split: {by: time}\nserve: {port: x}\nglue: 1", ["split.by", "serve.port", "promote.metric"]),
        ("train:", "trian:", ["train", "trian"]),
    ],
)
def test_what_is_left_is_held_against_each_other_too(tmp_path: Path, old: str, new: str, said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD.replace(old, new) + "promote: {metric: rocauc}\n")
    assert sorted({p.split(" ")[1].strip(":") for p in caught.value.problems}) == sorted(said)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("evaluate: {metrics: [roc_acu]}\n", "no metric 'roc_acu' for a binary task (did you mean 'roc_auc'?)"),
        ("evaluate: {thresholds: {roc_auc: {}}}\n", "give min or max"),
        ("validation: {t: []}\n", "an empty suite checks nothing"),
        ("split: {by: time}\n", "needs data.sources.t.timestamp"),
        ("serve: {shutdown_s: .inf}\n", "serve.shutdown_s: should be a finite number, not inf"),
        ("serve: {cors: [https://example.org/]}\n", "serve.cors.0: String should match pattern"),
        ("split: {test_size: 1.5}\n", "should be less than 1, not 1.5"),
        ("train: {seed: -1}\n", "glue.yaml:7 train.seed: should be greater than or equal to 0, not -1"),
        ("train: {seed: 4294967296}\n", "glue.yaml:7 train.seed: should be less than 4294967296, not 4294967296"),
        ("features: {number: [y]}\n", "'y' is the target"),
        ("monitor: {performance: {metric: f2}}\n", "glue.yaml:10 monitor.performance.metric: no metric 'f2' for a bin"),
        (
            "evaluate: {metrics: [f1]}\nmonitor: {performance: {metric: recall}}\n",
            "'recall' is not in evaluate.metrics",
        ),
        ("monitor: {on_alert: [retrain]}\n", "monitor.labels says where the truth is"),
        ("monitor: {on_alert: [page]}\n", "glue.yaml:10 monitor.on_alert.0: should be 'retrain', not 'page'"),
        ("monitor: {labels: {path: a, url: b, id: c}}\n", "give path, or url and query"),
        ("monitor: {labels: {path: a}}\n", "give either id or entity: what says which prediction a label is of"),
        ("monitor: {labels: {path: a, id: b, entity: c}}\n", "give either id or entity"),
        (
            "serve: {log: {omit: [who]}}\nmonitor: {labels: {path: a, entity: who}}\n",
            "monitor.labels.entity: 'who' is not in the log as it is; give id instead",
        ),
        ("monitor: {alerts: {webhooks: [{url: u, secret: plain}]}}\n", "name a variable of the environment"),
        ("monitor: {alerts: {cooldown: soon}}\n", "monitor.alerts.cooldown: should be a length of time like 90s"),
        ("monitor: {drift: 3}\n", "monitor.drift: should be a section, with keys of its own"),
    ],
)
def test_sections_are_held_against_each_other(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, (GOOD.partition("train:")[0] if more.startswith("train:") else GOOD) + more)
    assert said in caught.value.message


@pytest.mark.parametrize("wrong", ["{url: 'ftp://me:hidden@h'}", "{url: 'https://h', secret: hidden}"])
def test_what_may_be_a_secret_is_not_told(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD + f"monitor: {{alerts: {{webhooks: [{wrong}]}}}}\n")
    assert "monitor.alerts.webhooks.0." in caught.value.message and "hidden" not in caught.value.message


def test_an_environment_has_its_own_alerts(tmp_path: Path) -> None:
    more = "monitor: {last: 3d, drift: {share: 0.5}}\nenvironments: {prod: {monitor: {alerts: {channels: ['${C}']}}}}\n"
    made = load(tmp_path, GOOD + more, env="prod").monitor
    assert (made.alerts.channels, made.last, made.drift.share) == (["${C}"], "3d", 0.5)
    assert load(tmp_path, GOOD + more, env="").monitor.alerts.channels == []


def test_set_is_typed_and_checked(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD, overrides={"train.params.C": "2.5"}).train.params == {"C": 2.5}
    with pytest.raises(ConfigError):
        load(tmp_path, GOOD, overrides={"train.sede": "1"})


def test_an_unset_secret_is_named_and_a_set_one_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_URI", "http://user:hunter2@host")
    made = load(tmp_path, GOOD + "tracking: {uri: '${SECRET_URI}'}\n")
    assert "hunter2" not in repr(made)
    assert config.resolve(made.tracking.uri or "", "tracking.uri").endswith("hunter2@host")
    monkeypatch.delenv("SECRET_URI")
    with pytest.raises(GlueError, match="SECRET_URI is not set"):
        config.resolve("${SECRET_URI}", "tracking.uri")


def test_of_a_place_in_a_variable_the_scheme_must_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOG_URL", raising=False)
    for url in ("", "data/predictions", "s3://${LOG_BUCKET}/log"):
        assert config.with_scheme(url, "serve.prediction_log") == url
    with pytest.raises(ConfigError, match=r"serve\.prediction_log: environment variable LOG_URL is not set"):
        config.with_scheme("${LOG_URL}/log", "serve.prediction_log")
    monkeypatch.setenv("LOG_URL", "gs://bucket")
    assert config.with_scheme("${LOG_URL}/log", "serve.prediction_log") == "gs://bucket/log"
