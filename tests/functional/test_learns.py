"""A retraining learns from the rows that called for it, and is refused where they are poisoned. With all real tools."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from mlops_glue import config as configs
from mlops_glue import layout, tables
from mlops_glue.delivery import history
from mlops_glue.delivery.fetch import opened
from mlops_glue.delivery.run import run
from mlops_glue.monitoring import retrain_limits as limits
from mlops_glue.monitoring.labels import TRUTH
from mlops_glue.monitoring.retrain import retrain
from mlops_glue.pipeline.stages import FORMAT
from mlops_glue.scoring import Bundle
from tests.support.project import Glue

OLD, NOW = 3600, datetime(2026, 11, 28, tzinfo=UTC)
BEFORE, AFTER = [1.5, 1.2, -0.2, 0.2, 0.3, 0.0], [0.5, 0.3, 2.0, -1.5, 0.0, 0.0]  # what buys, and by how much
MADE_OF = ("glue.yaml", "dvc.yaml", "data/raw/shop.csv")
COLUMNS = [f"x{n}" for n in range(6)]


def customers(rows: int, seed: int, weights: list[float]) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6)).clip(-3, 3)
    bought = rng.random(rows) < 1 / (1 + np.exp(-(x @ np.array(weights))))
    return pd.DataFrame(x, columns=COLUMNS).assign(bought=bought)


def logged(rows: pd.DataFrame, name: str, hours: int) -> pa.Table:
    """Rows as the prediction log has them, with their truth, the latest first."""
    when = [NOW + timedelta(hours=hours, seconds=n) for n in range(len(rows))]
    made = {"glue_request_id": [f"{name}-{n}" for n in range(len(rows))], "glue_row": [0] * len(rows)}
    made |= {
        "glue_time": pa.array(when, pa.timestamp("us", "UTC")),
        TRUTH: rows["bought"].map({True: "true", False: "false"}),
    }
    return pa.table({**made, **{name: rows[name] for name in COLUMNS}}).take(np.arange(len(rows))[::-1])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, glue: Glue, empty_store: Path, tools: None) -> Path:
    folder = tmp_path_factory.mktemp("learns")
    old = customers(OLD, 0, BEFORE)
    old["at"] = pd.date_range("2025-01-01", periods=OLD, freq="h")
    old.loc[:1, COLUMNS] = [[-3.0] * 6, [3.0] * 6]
    old.to_csv(folder / "shop.csv", index=False)
    glue("init", "shop", "--data", "shop.csv", "--target", "bought", "--timestamp", "at", cwd=folder)
    root = folder / "shop"
    shutil.copy(empty_store, root)
    text = (root / "glue.yaml").read_text()
    monitor = "monitor: {labels: {path: data/labels, id: request}, on_alert: [retrain], retrain: {cooldown: 1s}}\n"
    text = f"{text[: text.index('serve:')]}serve: {{prediction_log: data/predictions}}\n{monitor}"
    (root / "glue.yaml").write_text(text)
    thresholds = "evaluate.thresholds={roc_auc: {min: 0.55}}"
    glue("run", "--set", thresholds, "--set", "split.by=time", cwd=root)
    (folder / "first").mkdir()
    for name in MADE_OF:
        shutil.copy(root / name, folder / "first")
    return root


@pytest.fixture(autouse=True)
def _here(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.chdir(shop)


def again(root: Path, rows: pa.Table) -> dict[str, Any]:
    config = configs.load(root)
    return retrain(config, root, opened(root, config), [rows], NOW, run)


def train_again(root: Path, rows: pa.Table) -> dict[str, Any]:
    config = configs.load(root)
    store = opened(root, config)
    limits.save(store, config.model_name, limits.load(store, config.model_name), began=None)
    return again(root, rows)


def champion(glue: Glue, root: Path) -> int:
    return int(json.loads(glue("status", "--json", cwd=root).stdout)["delivery"]["champion"])


def score_of_champion(root: Path, rows: pd.DataFrame) -> float:
    """Of what the last run made, which is champion."""
    frame = pa.Table.from_pandas(rows[COLUMNS], preserve_index=False)
    bundle = Bundle(root / layout.BUNDLE)
    _, probability = bundle.predict(frame, where="rows")
    return float(roc_auc_score(rows["bought"], probability[:, list(bundle.schema.class_order).index(True)]))


def by_hand(old: pd.DataFrame, fresh: pd.DataFrame, rows: pd.DataFrame) -> float:
    """What scikit-learn gets from the same fresh rows, with the older ones or alone, whichever is better."""
    scores = []
    for train in (pd.concat([old, fresh]), fresh):
        model = HistGradientBoostingClassifier(random_state=0).fit(train[COLUMNS], train["bought"])
        scores.append(float(roc_auc_score(rows["bought"], model.predict_proba(rows[COLUMNS])[:, 1])))
    return max(scores)


def state(root: Path) -> tuple[bytes, ...]:
    return tuple((root / one).read_bytes() for one in ("data/raw/shop.csv", "glue.yaml", "dvc.yaml", "dvc.lock"))


def test_the_datasets_of_a_run_are_whole_tables_and_its_version_says_how_many_rows_were_trained_on(shop: Path) -> None:
    with contextlib.closing(sqlite3.connect(shop / "mlflow.db")) as store:
        datasets = dict(store.execute("select name, dataset_profile from datasets order by rowid").fetchall())
        (description,) = store.execute("select description from model_versions order by version").fetchone()
    rows = {name: json.loads(profile)["num_rows"] for name, profile in datasets.items()}
    assert rows == {"shop": OLD, "holdout": OLD // 5}
    assert f"Trained on {OLD * 4 // 5:,} rows of shop" in description


def test_it_learns_from_the_fresh_rows(shop: Path, glue: Glue) -> None:
    """Twice, from 640 rows and from 1,200 more; a new clone and plain DVC split the table alike."""
    later, old = customers(4000, 9, AFTER), customers(OLD, 0, BEFORE)
    before = score_of_champion(shop, later)
    seen = old.head(0)
    for rows, seed, trained, bounds in ((640, 1, 512, [3600]), (1200, 2, 960, [3600, 4240])):
        fresh = customers(rows, seed, AFTER)
        done = train_again(shop, logged(fresh, f"r{seed}", seed))
        assert done["outcome"] == "promoted", done
        assert f"fresh rows: {rows:,}, {trained} for training and {rows - trained} held out" in done["reason"]
        assert done["fresh"]["older_left_out"] == OLD * 4 // 5
        report = json.loads((shop / layout.EVALUATION / "evaluation.json").read_text())
        seen = pd.concat([seen, fresh.head(trained)])
        assert report["train_rows"] == len(seen)  # and so the trivial predictor's, the monitor's reference
        assert configs.load(shop).split.fresh_after == bounds
        gain, wanted = score_of_champion(shop, later) - before, by_hand(old.head(OLD * 4 // 5), seen, later) - before
        assert wanted > 0.1 and gain >= 0.9 * wanted, (before, gain, wanted)
        held = tables.read_parquet(shop / layout.TEST)[layout.ROW].to_pylist()
        assert held == list(range(bounds[-1] + trained, bounds[-1] + rows))  # the latest
    assert champion(glue, shop) == 3
    assert (
        "fresh rows: 1,200, 960 for training and 240 held out"
        in glue("run", "--set", "promote.confidence=0.9", cwd=shop).stdout
    )
    lock = (shop / "dvc.lock").read_bytes()
    assert glue("stage", "split", "--format", str(FORMAT), cwd=shop).returncode == 0
    assert tables.read_parquet(shop / layout.TEST)[layout.ROW].to_pylist() == held
    assert (shop / "dvc.lock").read_bytes() == lock and not any(
        json.loads(glue("status", "--json", cwd=shop).stdout)["stages"].values()
    )


def test_its_twins_with_a_poisoned_feed(shop: Path, glue: Glue) -> None:
    """Labels turned round, labels by chance with no threshold that would find them, and too few rows to judge by."""
    now, before = champion(glue, shop), state(shop)
    weights = AFTER if now > 1 else BEFORE
    turned = customers(1500, 3, weights)
    turned["bought"] = ~turned["bought"]
    done = train_again(shop, logged(turned, "turned", 10))
    assert done["outcome"] == "refused" and "their labels seem to be reversed" in done["reason"], done
    chance = customers(1000, 4, weights)
    chance["bought"] = np.random.default_rng(5).random(1000) < 0.5
    done = train_again(shop, logged(chance, "chance", 11))
    assert done["outcome"] == "refused" and "not clearly better than chance" in done["reason"], done
    done = train_again(shop, logged(customers(99, 6, weights), "few", 12))
    assert done["outcome"] == "skipped"
    assert champion(glue, shop) == now and state(shop) == before
    store, model = opened(shop, configs.load(shop)), configs.load(shop).model_name
    store.set_model_tag(model, limits.TAG, '{"refused": 2, "beg')
    done = again(shop, logged(turned, "torn", 13))
    assert done["outcome"] == "failed" and "glue monitor --resume" in done["reason"]
    glue("monitor", "--resume", cwd=shop)
    assert limits.load(store, model).refused == 0


def test_a_version_that_is_built_again_stays_what_it_was(shop: Path, glue: Glue) -> None:
    """The first champion's table and configuration are back, as in a checkout of its commit."""
    from mlops_glue.adapters.mlflow import ENTRY, Store

    store = Store(shop, None)
    model = configs.load(shop).model_name
    if champion(glue, shop) == 1:  # it runs alone
        assert train_again(shop, logged(customers(640, 1, AFTER), "r1", 1))["outcome"] == "promoted"
    tags = store.tags(model, 1)
    assert len(history.decisions(tags)) == 1 and history.refusal(tags) is None
    now = store.champion(model)
    latest = {name: (shop / name).read_bytes() for name in MADE_OF}
    for name in MADE_OF:
        shutil.copy(shop.parent / "first" / Path(name).name, shop / name)
    shown = glue("run", "--no-promote", cwd=shop, code=None)
    version = json.loads((shop / layout.DELIVERY).read_text())["version"]
    assert version == 1, shown.stdout
    after = store.tags(model, 1)
    assert {key: value for key, value in after.items() if key in tags} == tags
    assert all(key.startswith((history.VERDICT, ENTRY)) for key in after if key not in tags)
    told = glue("run", cwd=shop, code=1).stdout
    assert f"v1 was champion before v{now} replaced it; to promote it again: glue promote 1" in told
    assert store.champion(model) == now and history.refusal(store.tags(model, 1)) is None
    for name, content in latest.items():
        (shop / name).write_bytes(content)


def test_it_reads_a_table_again_that_somebody_else_adds_to(shop: Path, glue: Glue) -> None:
    """What is later than all that the champion was made of is fresh; nothing is written into the table."""
    table = shop / "data/raw/shop.csv"
    text = (shop / "glue.yaml").read_text()
    (shop / "glue.yaml").write_text(text.replace("retrain: {", "retrain: {data: reread, "))
    before = pd.read_csv(table)
    fresh = customers(800, 21, AFTER)
    fresh["at"] = pd.date_range(pd.to_datetime(before["at"]).max() + pd.Timedelta("1h"), periods=800, freq="h")
    pd.concat([before, fresh]).to_csv(table, index=False)
    there = table.read_bytes()
    done = train_again(shop, logged(fresh, "reread", 1))
    assert done["outcome"] == "promoted", done
    assert done["fresh"] | {"rows": 800, "trained": 640, "held_out": 160} == done["fresh"], done["fresh"]
    assert table.read_bytes() == there
    later = customers(4000, 22, AFTER)
    gain = score_of_champion(shop, later)
    assert gain > 0.7
