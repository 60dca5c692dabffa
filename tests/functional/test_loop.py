"""The whole loop: serve, drift, alert, retrain, take over, quiet. And its twin: a poisoned feed changes nothing."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlops_glue import config as configs
from mlops_glue.delivery.fetch import opened
from mlops_glue.files import digest
from mlops_glue.monitoring import retrain_limits as limits
from tests.support.project import Glue
from tests.support.server import ask, hooked, serving

SERVE = "{poll_s: 0.5, prediction_log: data/predictions, log: {rotate_s: 0.5}}"
MONITOR = """{labels: {path: data/labels, id: request, row: row, target: bought}, performance: {metric: accuracy},
  alerts: {webhooks: [{url: "HOOK", secret: "${HOOK_SECRET}"}], cooldown: 1s},
  on_alert: [retrain], retrain: {min_labelled: 500, cooldown: 1s, max_refused: 1}}
"""


def shoppers(rows: int, seed: int, regime: float = 0.0) -> pd.DataFrame:
    """Who buys: those who spend more than the others; `regime` is by how much all spend more than before."""
    rng = np.random.default_rng(seed)
    spends = np.clip(rng.normal(regime, 1, rows), -3, 3)
    bought = spends + rng.normal(0, 0.3, rows) > regime
    town = rng.choice(["Aa", "Be", "Ce"], rows)
    return pd.DataFrame({"spends": spends, "age": rng.integers(18, 80, rows), "town": town, "bought": bought})


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """On GitHub the workflow would train."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.setenv("HOOK_SECRET", "a secret")


Hook = tuple[str, list[dict[str, Any]]]  # the address of a webhook, and what it was told


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    """Takes alerts."""
    with hooked() as made:
        yield made


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, glue: Glue, empty_store: Path, hook: Hook) -> Path:
    """A project with a champion, whose log says what it was asked at once."""
    folder = tmp_path_factory.mktemp("shop")
    before = shoppers(500, 0)
    before.loc[:1, "spends"] = [-3.0, 3.0]
    before.to_csv(folder / "shop.csv", index=False)
    glue("init", "shop", "--data", "shop.csv", "--target", "bought", cwd=folder)
    root = folder / "shop"
    shutil.copy(empty_store, root)
    text = (root / "glue.yaml").read_text()
    text = f"{text[: text.index('serve:')]}serve: {SERVE}\nmonitor: {MONITOR}".replace("HOOK", hook[0], 1)
    (root / "glue.yaml").write_text(text)
    (root / "data/labels").mkdir()
    learn = ["train.estimator=sklearn.linear_model.LogisticRegression", "promote.metric=accuracy"]
    learn.append("evaluate.thresholds={accuracy: {min: 0.75}}")
    glue("run", *(word for one in learn for word in ("--set", one)), cwd=root)
    return root


@pytest.fixture(scope="module")
def url(shop: Path) -> Iterator[str]:
    with serving(shop, "--quiet") as (url, _):
        yield url


def traffic(root: Path, url: str, rows: pd.DataFrame, truth: Any) -> int:
    """Ask, wait for the log, and let the labels come; returns the version that answered."""
    labels, version = [], 0
    for at in range(0, len(rows), 250):
        some = rows.iloc[at : at + 250]
        status, told = ask(url, body={"rows": json.loads(some.drop(columns="bought").to_json(orient="records"))})
        assert status == 200, told
        version = told["model_version"]
        labels += [(told["request_id"], row, one) for row, one in enumerate(truth[at : at + 250])]
    frame = pd.DataFrame(labels, columns=["request", "row", "bought"])
    frame.to_csv(root / f"data/labels/{frame['request'][0]}.csv", index=False)
    end = time.monotonic() + 60
    wanted = set(frame["request"])
    while not wanted <= set(logged(root)):
        assert time.monotonic() < end, "it is not in the log"
        time.sleep(0.1)
    return version


def logged(root: Path) -> list[str]:
    files = (root / "data/predictions").rglob("*.parquet")
    return [one for file in files for one in pd.read_parquet(file, columns=["glue_request_id"])["glue_request_id"]]


def monitor(glue: Glue, root: Path, code: int) -> dict[str, Any]:
    return json.loads(glue("monitor", "--json", "--no-page", cwd=root, code=code).stdout)  # type: ignore[no-any-return]


def table(root: Path) -> str:
    return hashlib.md5((root / "data/raw/shop.csv").read_bytes()).hexdigest()


def champion(root: Path, url: str, version: int) -> None:
    """The server answers with it, soon."""
    end = time.monotonic() + 60
    while (told := ask(url, body=ROW)[1])["model_version"] != version:
        assert time.monotonic() < end, told
        time.sleep(0.1)


ROW = {"spends": 0.5, "age": 40, "town": "Aa"}


def forget(root: Path) -> None:
    """What was served so far."""
    for folder in ("data/predictions", "data/labels"):
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).mkdir()


def test_the_loop(shop: Path, url: str, glue: Glue, hook: Hook) -> None:
    forget(shop)
    alerts = hook[1]
    alerts.clear()
    now = ask(url, body=ROW)[1]["model_version"]
    usual = shoppers(250, 1)
    assert traffic(shop, url, usual, usual["bought"]) == now
    quiet = monitor(glue, shop, 0)
    assert quiet["verdict"] == "ok" and quiet["performance"]["labelled"] == 250 and "retrain" not in quiet

    rich = shoppers(5000, 2, regime=0.9)
    traffic(shop, url, rich, rich["bought"])
    told = monitor(glue, shop, 1)
    (of,) = told["versions"]
    assert told["verdict"] == "performance" and "spends" in of["drifted"]
    assert told["performance"]["value"] < told["performance"]["holdout"]["value"] - 0.01
    assert told["retrain"]["outcome"] == "promoted", told["retrain"]
    version = told["retrain"]["version"]
    assert version > now
    lines = (shop / "data/raw/shop.csv").read_text().splitlines()
    assert len(lines) == 1 + 500 + 5250
    assert table(shop) in (shop / "data/raw/shop.csv.dvc").read_text()  # DVC has this version, and the one before

    champion(shop, url, version)
    again = shoppers(500, 3, regime=0.9)
    assert traffic(shop, url, again, again["bought"]) == version
    after = monitor(glue, shop, 0)
    assert after["verdict"] == "ok", after
    assert [one["former"] for one in after["versions"] if one["version"] == now] == [True]
    assert [(one["type"], one["signed"][:3]) for one in alerts] == [("opened", "v1,"), ("resolved", "v1,")]
    for said in ("spends weight ", "accuracy 0.", "on the holdout 0.", "details: glue monitor"):
        assert said in re.sub(" +", " ", alerts[0]["text"])
    assert after["performance"]["labelled"] == 500 and after["performance"]["verdict"] == "ok"


def test_its_twin_a_poisoned_feed(shop: Path, url: str, glue: Glue) -> None:
    """Labels by the toss of a coin: a worse candidate, which is refused; nothing of it stays."""
    forget(shop)
    now, before = ask(url, body=ROW)[1]["model_version"], table(shop)
    rows = shoppers(5000, 11, regime=0.9 * (now > 1))
    traffic(shop, url, rows, np.random.default_rng(0).random(5000) < 0.5)
    told = monitor(glue, shop, 1)
    assert told["verdict"] == "performance"
    assert told["retrain"]["outcome"] == "refused", told["retrain"]
    assert "accuracy" in told["retrain"]["reason"] and "misses threshold min 0.75" in told["retrain"]["reason"]
    assert table(shop) == before
    champion(shop, url, now)
    told = monitor(glue, shop, 1)  # a person must look
    assert told["retrain"]["outcome"] == "skipped" and "glue monitor --resume" in told["retrain"]["reason"]
    status = json.loads(glue("status", "--json", cwd=shop).stdout)
    assert status["delivery"]["champion"] == now and not any(status["stages"].values())
    glue("monitor", "--resume", cwd=shop)
    config = configs.load(shop)
    assert limits.load(opened(shop, config), config.model_name).refused == 0


@pytest.mark.long
def test_the_demo_shows_it_and_touches_nothing(penguins: Path, glue: Glue) -> None:
    glue("run", cwd=penguins)
    before = digest(penguins)
    began = time.monotonic()
    shown = glue("monitor", "--demo-drift", cwd=penguins).stdout
    assert time.monotonic() - began < 180
    assert [line[:2] for line in shown.splitlines() if line[:1].isdigit()] == ["1.", "2.", "3.", "4."]
    quiet, drifted, after = shown.split("glue monitor\n")[1:]
    assert "v1, 250 rows: ok" in quiet and "performance" in drifted and "promoted: v2 is champion" in drifted
    assert "penguins v2, 1,000 rows: ok" in after.replace("project v2", "penguins v2")
    assert digest(penguins) == before
    scratch = Path(re.search(r"stay in (\S+): rm -r", shown).group(1))  # type: ignore[union-attr]
    assert (scratch / "monitoring/report.html").is_file()
    shutil.rmtree(scratch.parent)
