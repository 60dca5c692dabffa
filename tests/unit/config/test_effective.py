"""What counts in an environment, and where it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_glue import config as configs
from mlops_glue.config import Value
from tests.support.configs import TREE, load

TEXT = f"""{TREE}\
serve:
  port: 8001
  log: {{hash: [who], hash_key: '${{LOG_KEY}}'}}
features: {{online_store: {{type: redis, connection_string: 'h:1,password=canary-secret'}}}}
tracking: {{uri: 'https://me:canary-secret@mlflow.acme.org/ml'}}
environments:
  prod:
    serve: {{workers: 2, log: {{rotate_s: 7.0}}, prediction_log: 's3://acme-predictions-of-prod/all-of-them-2026'}}
    features: {{online_store: {{type: postgres, host: db, password: canary-secret}}}}
    tracking: {{uri: '${{TRACKING}}'}}
    monitor: {{alerts: {{webhooks: [{{url: 'https://hooks.slack.com/services/T0/canary-secret'}}]}}}}
  same: {{serve: {{port: 8001}}}}
"""


@pytest.fixture
def values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Value]]:
    monkeypatch.setenv("TRACKING", "https://canary-secret.example.org")
    load(tmp_path, TEXT)
    return {env: configs.effective(tmp_path, env) for env in ("", "prod", "same")}


def test_each_value_has_its_origin(values: dict[str, dict[str, Value]]) -> None:
    base, prod = values[""], values["prod"]
    assert base["serve.port"].origin == "glue.yaml:9" and prod["serve.port"].origin == "glue.yaml:9"
    assert (prod["serve.workers"].shown, prod["serve.workers"].origin) == (2, "glue.yaml:15 environments.prod")
    assert (base["serve.workers"].shown, base["serve.workers"].origin) == (1, "default")
    assert prod["serve.log.rotate_s"].line == 15 and prod["serve.log.hash"].line == 10
    assert prod["tracking.uri"].shown == "${TRACKING}" and prod["tracking.uri"].variables == ["TRACKING"]
    assert prod["serve.log.hash_key"].shown == "${LOG_KEY}"
    assert prod["data.sources.t.path"].origin == "glue.yaml:5" and prod["train.seed"].origin == "default"
    assert "features.online_store.connection_string" not in prod  # a store of another type
    assert prod["serve.prediction_log"].shown == "s3://acme-predictions-of-prod/all-of-them-2026"
    assert list(base)[:2] == ["glue", "project"] and not any(key.startswith("environments") for key in base)
    of_models = configs.Config.model_fields
    assert {key.partition(".")[0] for key in base} == set(of_models) - {"environments"}


def test_no_secret_is_shown(values: dict[str, dict[str, Value]]) -> None:
    assert "canary" not in repr([[value.shown, value.origin] for side in values.values() for value in side.values()])
    assert values[""]["tracking.uri"].shown.startswith("https://***@mlflow.acme.org/")
    assert values["prod"]["features.online_store.password"].shown == "***"
    assert values[""]["features.online_store.connection_string"].shown == "h:1,password=***"


def test_what_differs(values: dict[str, dict[str, Value]]) -> None:
    assert configs.differences(values[""], values["same"]) == {}
    found = configs.differences(values[""], values["prod"])
    online = [f"features.online_store.{key}" for key in ("type", "connection_string", "host", "password")]
    serve = ["serve.workers", "serve.prediction_log", "serve.log.rotate_s"]
    assert sorted(found) == sorted([*online, *serve, "tracking.uri", "monitor.alerts.webhooks"])
    assert found["features.online_store.host"][0] is None
