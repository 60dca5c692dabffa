"""The config as it is in an environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_glue.errors import ConfigError
from tests.support.configs import GOOD, TREE, load, problems


def test_an_environment_has_its_own_alerts(tmp_path: Path) -> None:
    more = "monitor: {last: 3d, drift: {share: 0.5}}\nenvironments: {prod: {monitor: {alerts: {channels: ['${C}']}}}}\n"
    made = load(tmp_path, GOOD + more, env="prod").monitor
    assert (made.alerts.channels, made.last, made.drift.share) == (["${C}"], "3d", 0.5)
    assert load(tmp_path, GOOD + more, env="").monitor.alerts.channels == []


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
    compute: {engine: ray, address: 'head:6379'}
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
        assert (made.compute.engine, made.compute.address) == ("ray", "head:6379")
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
            ["8 environments.prod.train: must be the same in every environment; only where things live may differ"],
        ),
        (
            "environments: {prod: {features: {use: a}}}\n",
            [
                "8 environments.prod.features.use: must be the same in every environment; "
                "only where things live may differ"
            ],
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
            ["8 environments.prod.monitor.labels: give either id or entity, to match labels with predictions"],
        ),
        (
            "serve: {log: {omit: [who]}}\nenvironments:\n  prod:\n    monitor: {labels: {path: a, entity: who}}\n",
            ["11 environments.prod.monitor.labels.entity: 'who' is hashed or omitted in the log; give id instead"],
        ),
        (
            "monitor: {labels: {path: a, entity: who}}\nenvironments:\n  prod:\n    serve: {log: {omit: [who]}}\n",
            ["10 environments.prod.monitor.labels.entity: 'who' is hashed or omitted in the log; give id instead"],
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
            ["8 environments.prod: should be a section with keys, not 5"],
        ),
        ("ci: {env: prd}\nenvironments: {prod: {}}\n", ["8 ci.env: no environment 'prd' (did you mean 'prod'?)"]),
        ("ci: {env: prod}\n", ["8 ci.env: no environment 'prod' (there are none)"]),
    ],
    ids=str,
)
def test_what_is_wrong_with_an_environment(tmp_path: Path, more: str, said: list[str]) -> None:
    assert problems(tmp_path, TREE + more, env="") == said


def test_an_environment_has_its_tables_elsewhere(tmp_path: Path) -> None:
    """The content may be another one, the meaning is not; those of no environment need not be there."""
    (tmp_path / "big.csv").write_text("x,y\n1,0\n")
    over = "environments: {prod: {data: {sources: {t: {path: big.csv}}, remote: 's3://b'}}}\n"
    text = TREE.replace("t.csv", "small.csv") + over
    made = load(tmp_path, text, env="prod").data
    source = made.sources["t"]
    assert (source.path, source.entity, source.timestamp, made.remote) == ("big.csv", "who", "at", "s3://b")
    assert problems(tmp_path, text, env="") == ["5 data.sources.t.path: 'small.csv' does not exist (no such file)"]
    missing = TREE + over.replace("big", "bih")
    hint = "did you mean 'big.csv'?"
    at = "8 environments.prod.data.sources.t.path"
    assert problems(tmp_path, missing, env="prod") == [f"{at}: 'bih.csv' does not exist ({hint})"]
    assert load(tmp_path, missing, env="").data.sources["t"].path == "t.csv"


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ("{t: {entity: x}}", "t.entity: must be the same in every environment; only where things live may differ"),
        ("{t: {pth: x}}", "t.pth: unknown key (did you mean 'path'?)"),
        ("{tt: {path: x}}", "tt: unknown key (did you mean 't'?)"),
        ("{t: {path: 1}}", "t.path: should be a valid string, not 1"),
        ("{t: 5}", "t: should be a section with keys, not 5"),
        ("{t: {path: ./t.csv}}", None),
        ("{t: {path: x}, u: {path: y}}", None),
        ("{t: {path: x}, u: {path: ./x}}", "u.path: './x' is already the path of table 't'"),
    ],
)
def test_what_of_a_table_an_environment_may_change(tmp_path: Path, places: str, said: str | None) -> None:
    text = TREE.replace("  labels:", "    u: {path: u.csv}\n  labels:")
    text += f"environments:\n  prod: {{data: {{sources: {places}}}}}\n"
    (tmp_path / "u.csv").write_text("a\n1\n")
    if said is None:
        load(tmp_path, text, env="")
    else:
        assert problems(tmp_path, text, env="") == [f"10 environments.prod.data.sources.{said}"]


def test_feast_s_registry_is_a_place(tmp_path: Path) -> None:
    text = TREE + (
        "features: {registry: {path: data/r.db, cache_ttl_seconds: 5}}\n"
        "environments:\n"
        "  prod: {features: {registry: {registry_type: sql, path: '${R}'}}}\n"
        "  near: {features: {registry: {path: b.db}}, registry: {sign: key.pem}, audit: {remote: origin}}\n"
        "  file: {features: {registry: c.db}}\n"
    )
    registry = {env: load(tmp_path, text, env=env).features.registry for env in ("", "prod", "near", "file")}
    assert registry[""] == {"path": "data/r.db", "cache_ttl_seconds": 5}
    assert registry["prod"] == {"registry_type": "sql", "path": "${R}"}
    assert registry["near"] == {"path": "b.db", "cache_ttl_seconds": 5} and registry["file"] == "c.db"


def test_the_example_of_the_documentation_is_sound(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs/environments.md").read_text(encoding="utf-8")
    (tmp_path / "feature_repo").mkdir()
    (tmp_path / "feature_repo/feature_store.yaml").write_text("project: p\n")
    example = page.partition("```yaml\n")[2].partition("```")[0]
    text = TREE.replace("    t: {", "    transactions: {").replace("source: t", "source: transactions")
    made = load(tmp_path, f"{text}features: {{use: [v:f]}}\n{example}", env="prod", tables=False)
    assert made.serve.log.hash == ["customer_id"] and made.audit.remote == "origin"
