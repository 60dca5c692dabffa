"""Every mistake in glue.yaml is told with its line, all at once."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from mlops_glue import config
from mlops_glue.errors import ConfigError, GlueError, UsageError

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
        ("path: t.csv", "pth: t.csv", ["data.sources.t.path", "data.sources.t.pth"]),
        ("t: {path: t.csv}", "t: 5", ["data.sources.t"]),
        ("task: binary", "task: binry", ["data.labels.task"]),
        ("glue: 1", "features: {use: 5, transform: a:b}\nglue: 1", ["features.use", "promote.metric"]),
        ("glue: 1", "split: {by: time}\nserve: {port: x}\nglue: 1", ["split.by", "serve.port", "promote.metric"]),
        ("train:", "trian:", ["train", "trian"]),
    ],
)
def test_the_sections_beside_a_wrong_one_are_checked(tmp_path: Path, old: str, new: str, said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD.replace(old, new) + "promote: {metric: rocauc}\n")
    assert sorted({p.split(" ")[1].strip(":") for p in caught.value.problems}) == sorted(said)


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
        assert config.resolve_scheme(url, "serve.prediction_log") == url
    with pytest.raises(ConfigError, match=r"serve\.prediction_log: environment variable LOG_URL is not set"):
        config.resolve_scheme("${LOG_URL}/log", "serve.prediction_log")
    monkeypatch.setenv("LOG_URL", "gs://bucket")
    assert config.resolve_scheme("${LOG_URL}/log", "serve.prediction_log") == "gs://bucket/log"


TREE = """\
glue: 1
project: demo
data:
  sources:
    t: {path: t.csv, timestamp: at, entity: who}
  labels: {source: t, target: y, task: binary}
train: {}
"""


def problems(tmp_path: Path, text: str, **more: object) -> list[str]:
    """All that is told, each with its line."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, **more)
    return [one.removeprefix("glue.yaml:") for one in caught.value.problems]


ENVIRONMENTS = """\
features: {online_store: {type: redis, connection_string: 'h:1', more: {a: 1, b: 2}}}
tracking: {uri: base.db}
serve:
  port: 8001
  cors: [https://a.org]
  log: {omit: [x], rotate_s: 5.0}
environments:
  near: {}
  prod:
    tracking: {uri: prod.db}
    serve: {workers: 2, cors: [], log: {rotate_s: 7.0}}
    features: {online_store: {connection_string: 'h:2', more: {b: 3}}}
  other:
    features: {online_store: {type: sqlite, path: a}}
    monitor: {labels: {path: l.csv, id: i}}
  same: {features: {online_store: {type: redis, more: {c: 1}}}}
"""


def test_an_environment_lies_over_the_rest_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every depth; lists as a whole; a store of another type takes nothing from the one below."""
    monkeypatch.setenv("GLUE_ENV", "prod")
    text = TREE + ENVIRONMENTS
    base = {"type": "redis", "connection_string": "h:1", "more": {"a": 1, "b": 2}}
    for env in ("", "near"):
        made = load(tmp_path, text, env=env)
        assert (made.serve.port, made.serve.workers, made.tracking.uri) == (8001, 1, "base.db")
        assert made.features.online_store == base and made.monitor.labels is None
    for env in ("prod", None):  # by the variable where nothing is said
        made = load(tmp_path, text, env=env)
        assert (made.serve.port, made.serve.workers, made.tracking.uri) == (8001, 2, "prod.db")
        assert (made.serve.cors, made.serve.log.omit, made.serve.log.rotate_s) == ([], ["x"], 7.0)
        assert made.features.online_store == base | {"connection_string": "h:2", "more": {"a": 1, "b": 3}}
    made = load(tmp_path, text, env="other")
    assert made.features.online_store == {"type": "sqlite", "path": "a"} and made.serve.port == 8001
    assert made.monitor.labels is not None and made.monitor.labels.id == "i"
    assert load(tmp_path, text, env="same").features.online_store == base | {"more": {"a": 1, "b": 2, "c": 1}}
    monkeypatch.delenv("GLUE_ENV")
    assert load(tmp_path, text).serve.workers == 1
    for env, said in (("prd", "did you mean 'prod'?"), ("x", "there are: 'near', 'prod', 'other', 'same'")):
        with pytest.raises(ConfigError) as caught:
            load(tmp_path, text, env=env)
        assert caught.value.problems == [f"glue.yaml environments: no {env!r} ({said})"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            "environments: {prod: {train: {seed: 1}}}\n",
            ["8 environments.prod.train: is the same in every environment; only where things live may differ"],
        ),
        (
            "environments: {prod: {features: {use: a}}}\n",
            ["8 environments.prod.features.use: is the same in every environment; only where things live may differ"],
        ),
        (
            "environments:\n  prod:\n    serve: {prt: 1}\n",
            ["10 environments.prod.serve.prt: unknown key (did you mean 'port'?)"],
        ),
        (
            "environments:\n  prod:\n    serve: {port: 70000}\n",
            ["10 environments.prod.serve.port: should be less than or equal to 65535, not 70000"],
        ),
        (
            "environments: {prod: {monitor: {labels: {path: a}}}}\n",
            ["8 environments.prod.monitor.labels: give either id or entity: what says which prediction a label is of"],
        ),
        (  # wrong by what the base says: told at the base's own place
            "serve: {log: {omit: [who]}}\nenvironments:\n  prod:\n    monitor: {labels: {path: a, entity: who}}\n",
            ["11 environments.prod.monitor.labels.entity: 'who' is not in the log as it is; give id instead"],
        ),
        (
            "monitor: {labels: {path: a, entity: who}}\nenvironments:\n  prod:\n    serve: {log: {omit: [who]}}\n",
            ["8 monitor.labels.entity: 'who' is not in the log as it is; give id instead (in environments.prod)"],
        ),
        (  # what is wrong without an environment is told once
            "monitor: {performance: {metric: recal}}\nenvironments: {prod: {serve: {port: 1}}}\n",
            ["8 monitor.performance.metric: no metric 'recal' for a binary task (did you mean 'recall'?)"],
        ),
        (
            "evaluate: {metrics: [f1]}\nenvironments: {a: {monitor: {performance: {metric: recall}}}, b: {}}\n",
            [
                "9 environments.a.monitor.performance.metric: 'recall' is not in evaluate.metrics, so it has no value "
                "on the holdout"
            ],
        ),
        (
            "monitor: {on_alert: [retrain], labels: {path: a, id: b}}\n"
            "environments: {prod: {monitor: {labels: {url: '${U}', query: q}}}}\n",
            ["9 environments.prod.monitor.labels: give path, or url and query"],
        ),
        (
            "environments: {prod: 5}\nci: {env: prod}\n",
            ["8 environments.prod: should be a section, with keys of its own, not 5"],
        ),
        ("ci: {env: prd}\nenvironments: {prod: {}}\n", ["8 ci.env: no environment 'prd' (did you mean 'prod'?)"]),
        ("ci: {env: prod}\n", ["8 ci.env: no environment 'prod' (there is none)"]),
    ],
    ids=str,
)
def test_what_is_wrong_with_an_environment(tmp_path: Path, more: str, said: list[str]) -> None:
    assert problems(tmp_path, TREE + more, env="") == said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            "ci: {secrets: [GITHUB_X]}\n",
            "ci.secrets.0: 'GITHUB_X': GitHub keeps names that begin with GITHUB_ to itself",
        ),
        ("ci: {secrets: [A, HOME]}\n", "ci.secrets.1: 'HOME': the jobs set it themselves"),
        (
            "ci: {schedule: '0 0 * *'}\n",
            "ci.schedule: should be five fields of cron: minute hour day month weekday, not '0 0 * *'",
        ),
        ("validation: {u: [x]}\n", "validation.u: no source 'u' (there are: 't')"),
        (
            "validation: {t: []}\n",
            "validation.t: an empty suite checks nothing; leave the table out or name expectations",
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
            "features.category: 'prediction' is a name that glue uses; rename the column",
        ),
        ("features: {number: [a], datetime: [a]}\n", "features.datetime: 'a' stands in number too"),
        ("features: {boolean: [a], exclude: [a]}\n", "features.boolean: 'a' stands in exclude too"),
        (
            "features: {transform: a:b}\n",
            "features.transform: makes feature tables, and features.use takes nothing from them",
        ),
        (
            "features: {delay: soon}\n",
            "features.delay: should be seconds, not below 0, or a length of time like 90s, 5m or 1h, not 'soon'",
        ),
        (
            "features: {delay: -1}\n",
            "features.delay: should be seconds, not below 0, or a length of time like 90s, 5m or 1h, not -1",
        ),
        (
            "serve: {shadow: champion}\n",
            "serve.shadow: the champion answers already; name another alias, not 'champion'",
        ),
        (
            "serve: {log: {hash: [a]}}\n",
            "serve.log: hash needs hash_key: a hash without a key is undone by trying every value",
        ),
        ("monitor: {labels: {url: '${U}', id: a}}\n", "monitor.labels: url and query go together"),
        ("monitor: {labels: {path: a, query: q, id: a}}\n", "monitor.labels: url and query go together"),
        (
            "monitor: {on_alert: [retrain]}\n",
            "monitor.on_alert: takes labelled rows of the log: monitor.labels says where the truth is; "
            "or retrain: {data: reread}",
        ),
        ("monitor: {last: 90s}\n", "monitor.last: should be a length of time like 12h, 7d or 4w, not '90s'"),
        ("split: {fresh_after: [0]}\n", "split.fresh_after.0: should be greater than 0, not 0"),
        ("tracking: 5\n", "tracking: should be a section, with keys of its own, not 5"),
        ("serve: []\n", "serve: should be a section, with keys of its own"),
        (
            "ci: {image: ghcr.io/me/it:1}\n",
            "ci.image: should be host/owner/name in small letters, without a tag: that is the model's "
            "version, not 'ghcr.io/me/it:1'",
        ),
    ],
)
def test_each_mistake_in_its_own_words(tmp_path: Path, more: str, said: str) -> None:
    (told,) = problems(tmp_path, TREE + more)
    assert told == f"8 {said}" or (said.endswith("(") and told.startswith(f"8 {said}"))


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
def test_what_is_no_mistake(tmp_path: Path, more: str) -> None:
    assert load(tmp_path, TREE + more).project == "demo"


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
        problem = f"8 ci.schedule: should be five fields of cron: minute hour day month weekday, not {schedule!r}"
        assert problems(tmp_path, text) == [problem]


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
        said = f"8 ci.image: its registry takes a login of {login}'s (ci: {{cloud: {login}}})"
        assert problems(tmp_path, f"{TREE}ci: {{image: {image}}}\n") == [said]


def test_tables_that_are_not_there(tmp_path: Path) -> None:
    sources = "    a: {path: 'raw/x.csv'}\n    b: {path: gone.csv}\n    c: {path: empty.csv}\n    d: {path: t.cs}\n"
    text = TREE.replace("  labels", sources + "  labels")
    (tmp_path / "gone.csv.dvc").write_text("")
    (tmp_path / "empty.csv").write_text("")
    assert problems(tmp_path, text) == [
        "6 data.sources.a.path: 'raw/x.csv' is not there (no such file)",
        "7 data.sources.b.path: 'gone.csv' is not there (run: dvc pull)",
        "8 data.sources.c.path: 'empty.csv' is empty",
        "9 data.sources.d.path: 't.cs' is not there (did you mean 't.csv'?)",
    ]
    assert load(tmp_path, text, tables=False).project == "demo"


def test_features_of_feast_are_held_against_the_rest(tmp_path: Path) -> None:
    untimed = TREE.replace(", timestamp: at", "")
    more = "features: {use: ['v:a', x, 'v:a']}\n"
    assert problems(tmp_path, untimed + more) == [
        "8 features.repo: no feature_store.yaml in 'feature_repo' (a Feast repository has one)",
        "8 features.use.1: 'x' is not view:feature",
        "8 features.use.2: 'v:a' stands there twice",
        "8 features.use: a join as of a time needs data.sources.t.timestamp",
    ]
    (tmp_path / "feature_repo").mkdir()
    (tmp_path / "feature_repo/feature_store.yaml").write_text("")
    (tmp_path / "table.csv").write_text("x\n1\n")
    sources = "    table: {path: table.csv}\n    u: {path: table.csv, timestamp: [a, b, c]}\n"
    assert problems(tmp_path, TREE.replace("  labels", sources + "  labels") + more.replace("x, 'v:a'", "'w:a'")) == [
        "6 data.sources.table: is a name that glue uses; rename the source",
        "7 data.sources.u.timestamp: one column says when a feature was so",
    ]
    assert load(tmp_path, TREE + "features: {use: a_service, transform: 'a:b'}\n").features.use == "a_service"


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


def test_problems_are_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = TREE.replace("project: demo\n", "") + "serve: {port: x}\nzzz: 1\nsplit: {by: nothing}\n"
    assert problems(tmp_path, text) == [
        "1 project: is required",
        "7 serve.port: should be a valid integer, not 'x'",
        "8 zzz: unknown key (there are: 'glue', 'project', 'data', 'train', 'validation', 'features', 'split', "
        "'evaluate', 'package', 'registry', 'promote', 'tracking', … (16 in all))",
        "9 split.by: should be 'random', 'time' or 'entity', not 'nothing'",
    ]


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("", "1 is empty or not a mapping", "glue init shows what one looks like"),
        ("- a\n", "1 is empty or not a mapping", "glue init shows what one looks like"),
        ("glue: 1\nb: [1\n", "3 is not YAML: ", "check the indent and quotes there"),
        ("a:\n\tb: 1\n", "2 a tab indents this line", "indent with spaces"),
        ("a: 1\nb: 2\na: 3\n", "3 a: this key stands twice", None),
        ("a: &x 1\nb: *x\n", "1 aliases (*x) are not taken", None),
        ("a: 1\nb: !!python/name:os.system x\n", "2 tag tag:yaml.org,2002:python/name:os.system is not taken", None),
        ("a: !mine x\n", "1 tag !mine is not taken", None),
        ("%YAML 1.1\n---\na: 1\n", "1 %YAML is not taken: it would change what yes and 010 mean", None),
        ("a: 1\nb: 2024-02-30\n", "2 is not YAML: '2024-02-30': day is out of range for month", None),
        ("? [a]\n: 1\n", "1 is not YAML: a key is a text or a number", None),
        ("a: " + "[" * 50 + "]" * 50 + "\n", "1 is nested too deeply", None),
        (
            "a: 1\n>>>>>>> theirs\n",
            "2 holds both sides of a git merge",
            "git checkout --ours glue.yaml, or --theirs; then glue run",
        ),
    ],
    ids=str,
)
def test_what_is_no_file_of_glues(tmp_path: Path, text: str, said: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    (told,) = caught.value.problems
    assert told.startswith(f"glue.yaml:{said}") and (hint is None or caught.value.hint == hint), told


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        config.load(tmp_path)
    assert (caught.value.message, caught.value.hint) == (f"no glue.yaml in {tmp_path}", "glue init")
    (tmp_path / "glue.yaml").write_bytes(b"glue: \xff\n")
    with pytest.raises(ConfigError, match=r"^glue\.yaml:1 cannot be read: "):
        config.load(tmp_path)
    (tmp_path / "t.csv").write_text("x\n")
    (tmp_path / "glue.yaml").write_bytes(b"\xef\xbb\xbf" + TREE.encode())
    assert config.load(tmp_path).project == "demo" == config.load(tmp_path, text="\ufeff" + TREE).project


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
        load(tmp_path, TREE, overrides={key: value})
    assert (caught.value.message, caught.value.hint) == (said, hint)


def test_what_is_set_has_the_type_that_yaml_gives_it(tmp_path: Path) -> None:
    """In sections that are there, are empty, or are not there yet."""
    text = TREE.replace("train: {}", "train:") + "split: {}\n"
    sets = {"train.seed": "7", "train.params.a.b": "[1, '2', null]", "split.test_size": "0.5", "tracking.uri": "'5'"}
    made = load(tmp_path, text, overrides=sets)
    assert (made.train.seed, made.train.params, made.split.test_size) == (7, {"a": {"b": [1, "2", None]}}, 0.5)
    assert made.tracking.uri == "5"


def test_values_are_as_yaml_has_them(tmp_path: Path) -> None:
    text = TREE.replace(
        "train: {}", "train: {params: {a: yes, b: true, c: 1, d: 1.5, e: 2024-01-02T03:04:05, f: '1', g: =, h: ~}}"
    )
    assert load(tmp_path, text).train.params == {
        **{"a": "yes", "b": True, "c": 1, "d": 1.5, "e": datetime(2024, 1, 2, 3, 4, 5), "f": "1", "g": "=", "h": None}
    }


def test_a_problem_found_later_is_told_with_its_line(tmp_path: Path) -> None:
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


def test_variables_are_put_in_at_every_depth(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(("text", "wanted"), [("90s", 90), ("15m", 900), ("2h", 7200), ("3d", 259200), ("1w", 604800)])
def test_lengths_of_time(text: str, wanted: int) -> None:
    assert config.span(text).total_seconds() == wanted
    assert config.Features(delay=text).delay_s == wanted and config.Features(delay=wanted + 0.5).delay_s == wanted + 0.5


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
def test_one_value_is_put_into_the_text(tmp_path: Path, before: str, key: str, value: str, after: str) -> None:
    (tmp_path / "glue.yaml").write_text(before)
    assert config.overridden(tmp_path, {key: value}) == after


def test_a_place_in_a_variable_that_is_not_set_is_told_with_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOWHERE_SET", raising=False)
    text = TREE.replace("  labels", "  remote: 's3://${NOWHERE_SET}'\n  labels") + "tracking: {uri: '${NOWHERE_SET}'}\n"
    made = load(tmp_path, text)
    for of, key in ((config.remote_url, "data.remote"), (config.tracking_uri, "tracking.uri")):
        with pytest.raises(ConfigError) as caught:
            of(made)
        assert caught.value.problems == [f"glue.yaml {key}: environment variable NOWHERE_SET is not set"]
    assert config.resolve_scheme("s3://${NOWHERE_SET}", "x") == "s3://${NOWHERE_SET}"


def test_the_schema_for_editors_is_json() -> None:
    text = config.json_schema()
    assert text.startswith('{\n "') and text.endswith("\n}\n")
    schema = json.loads(text)
    assert set(schema["properties"]) == set(config.Config.model_fields)
    in_environment = schema["properties"]["environments"]["additionalProperties"]["properties"]
    assert set(in_environment) == {"data", "tracking", "features", "serve", "monitor"}
    assert set(in_environment["features"]["properties"]) == {"online_store", "offline_store"}
    assert in_environment["serve"]["$ref"].removeprefix("#/$defs/") in schema["$defs"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    t: {", "    a.b: {path: t.csv}\n    t: {", "a table's name has letters, digits, _, - and spaces alone"),
        ("train: {}", "train: {}\nmonitor: {alerts: {webhooks: [{url: 'ftp://h'}]}}", "is no http:// or https:// URL"),
    ],
)
def test_what_a_name_or_an_address_may_be(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert [one.partition(": ")[2] for one in problems(tmp_path, TREE.replace(old, new))] == [said]
    good = TREE.replace("    t: {", "    my-table 2_ü: {path: t.csv}\n    t: {")
    hooks = "monitor: {alerts: {webhooks: [{url: 'http://h'}, {url: 'https://h'}, {url: '${HOOK}'}]}}\n"
    assert load(tmp_path, good + hooks).project == "demo"


def test_yamls_own_tags_are_taken(tmp_path: Path) -> None:
    made = load(
        tmp_path, TREE.replace("train: {}", "train: {params: {a: !!str 1, b: !!float 2, c: !!map {d: !!seq [1]}}}")
    )
    assert made.train.params == {"a": "1", "b": 2.0, "c": {"d": [1]}}


def test_half_a_character_is_refused(tmp_path: Path) -> None:
    (told,) = problems(tmp_path, TREE.replace("train: {}", 'train: {params: {a: "\\ud800"}}'))
    assert told == "7 holds half of a surrogate pair, which is no character"
