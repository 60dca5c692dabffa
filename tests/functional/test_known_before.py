"""Production as it goes, on the fraud template: each event is asked about before what it changes is in the store."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import sys
from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score

from mlops_glue import config as configs
from mlops_glue import feature_stores
from mlops_glue.delivery.skew import replay
from mlops_glue.records import FeatureList
from mlops_glue.scoring import Bundle
from tests.support.feature_project import edit
from tests.support.project import Glue
from tests.support.server import JSON, serving

SMALL = (("3_000, 200_000, 240", "400, 5_200, 240"),)  # customers, transactions and days
FEATURES = "artifacts/featurize/tables/transaction_features.parquet"
MICROSECOND = timedelta(microseconds=1)
EVER = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def fraud(tmp_path_factory: pytest.TempPathFactory, glue: Glue, empty_store: Path) -> Path:
    """The template on fewer rows, run once."""
    root = tmp_path_factory.mktemp("known") / "fraud"
    glue("init", "fraud", cwd=root.parent)
    edit(root / "data/generate.py", *SMALL)
    subprocess.run([sys.executable, "data/generate.py"], cwd=root, check=True, capture_output=True)
    shutil.copy(empty_store, root)
    cheap = ["train.params={max_iter: 30}", "evaluate.thresholds={}", "validation={}"]
    glue("run", *(word for one in cheap for word in ("--set", one)), cwd=root)
    return root


def holdout(root: Path) -> pd.DataFrame:
    """What the model was tried on, in the order of time, with the features that it was given."""
    rows = pq.read_table(root / "artifacts/split/test.parquet", columns=["glue_row"])["glue_row"].to_numpy()
    joined = pq.read_table(root / "artifacts/featurize/joined.parquet").to_pandas()
    return joined.iloc[rows].sort_values("event_timestamp", kind="stable").reset_index(drop=True)


def changes(root: Path) -> dict[str, list[datetime]]:
    """When something new was known of each customer, in the order of time."""
    customers = pd.read_parquet(root / "artifacts/ingest/customers.parquet")
    customers["event_timestamp"] = customers[["event_timestamp", "created_timestamp"]].max(axis=1)
    both = pd.concat([customers, pd.read_parquet(root / FEATURES)])[["customer_id", "event_timestamp"]]
    both["event_timestamp"] = both["event_timestamp"].dt.tz_convert("UTC")
    return {
        str(who): [one.to_pydatetime() for one in sorted(times)]
        for who, times in both.groupby("customer_id")["event_timestamp"]
    }


class Played:
    """A server, and an online store that has what was known until `until`."""

    def __init__(self, root: Path, start: datetime) -> None:
        for file in (root / "feature_repo/data").glob("online.db*"):
            file.unlink()
        self._live = feature_stores.open_live(configs.load(root), root)
        self._live.apply()
        listed = FeatureList.from_dict(json.loads((root / "artifacts/bundle/features.json").read_text()))
        self._changes = changes(root)
        assert {view.name for view in listed.views} == {"customer_features", "transaction_features"}
        self.until, self.fills = EVER, 0
        self.fill(start)

    def fill(self, until: datetime) -> None:
        self._live.materialize(["transaction_features"], self.until, until)
        self._live.materialize(["customer_features"], EVER, until)  # some of its rows come late
        self.until, self.fills = until, self.fills + 1

    def is_fresh_for(self, customer: str, moment: datetime) -> bool:
        """Does the store have all that was known of a customer before a moment?"""
        mine = self._changes[customer]
        return bisect_right(mine, self.until) == bisect_left(mine, moment)


def test_what_is_served_is_what_was_trained_on(fraud: Path) -> None:
    """The store is filled up to the next event where it lacks something of that customer, and never with the event."""
    events = holdout(fraud)
    sent = events[["customer_id", "amount", "merchant_category", "hour"]].to_dict("records")
    moments = [one.to_pydatetime() for one in events["event_timestamp"]]
    store = Played(fraud, moments[0] - MICROSECOND)
    answers = []
    with serving(fraud, "--quiet") as (url, _):
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        for row, moment in zip(sent, moments, strict=True):
            if not store.is_fresh_for(row["customer_id"], moment):
                store.fill(moment - MICROSECOND)
            connection.request("POST", "/predict", json.dumps({"rows": [row]}), JSON)
            reply = connection.getresponse()
            answer = json.loads(reply.read())
            assert reply.status == 200, answer
            answers.append(answer["predictions"][0]["probabilities"]["true"])
        connection.close()
    assert len(answers) >= 1000 and store.fills > 20

    table = pq.read_table(fraud / "artifacts/featurize/joined.parquet").schema.empty_table()
    trained = Bundle(fraud / "artifacts/bundle").predict(type(table).from_pandas(events, preserve_index=False))[1][:, 1]
    np.testing.assert_allclose(answers, trained, rtol=0, atol=1e-6)
    report = json.loads((fraud / "artifacts/evaluate/report/evaluation.json").read_text())
    served = average_precision_score(events["is_fraud"], answers)
    assert abs(served - report["metrics"]["average_precision"]["value"]) < 0.001
    # the answers depend on what is looked up: those of the store as it was at the start are others
    stale = events.assign(transaction_count_7d=0, average_transaction_amount_30d=np.nan)
    assert (
        np.abs(Bundle(fraud / "artifacts/bundle").predict(type(table).from_pandas(stale))[1][:, 1] - trained).max()
        > 0.01
    )


def test_a_row_of_the_very_moment_is_refused(fraud: Path, tmp_path: Path, glue: Glue) -> None:
    root = tmp_path / "fraud"
    shutil.copytree(fraud, root)
    edit(root / "features.py", ('events["event_timestamp"] + AFTER', 'events["event_timestamp"]'))
    before = (root / "mlflow.db").read_bytes()
    done = glue("run", cwd=root, code=1)
    said = re.search(
        r"skew: transaction_features:transaction_count_7d of customer_id (C\d+) at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) is "
        r"(\S+) in training and (\S+) from the online store just before \(([\d,]+) of 5,200 label rows\)",
        done.stderr,
    )
    assert said is not None, done.stderr
    assert "hint: features: {delay: 1s} in glue.yaml" in done.stderr
    events = pd.read_parquet(root / "data/raw/transactions.parquet").query("customer_id == @said.group(1)")
    at = pd.Timestamp(said.group(2), tz="UTC")
    week = events[(events["event_timestamp"] <= at) & (events["event_timestamp"] > at - pd.Timedelta(days=7))]
    assert int(said.group(3)) == len(week)
    assert (root / "mlflow.db").read_bytes() == before

    # what the hint says mends it: each label gets the row before
    edit(root / "glue.yaml", ("  repo: feature_repo", "  delay: 1s\n  repo: feature_repo"))
    glue("run", "--until", "featurize", cwd=root)
    pd.testing.assert_frame_equal(holdout_features(root), holdout_features(fraud))


def holdout_features(root: Path) -> pd.DataFrame:
    joined = pd.read_parquet(root / "artifacts/featurize/joined.parquet")
    return joined[["transaction_count_7d", "average_transaction_amount_30d"]]


def test_the_replay_finds_a_row_of_the_very_moment(fraud: Path, tmp_path: Path) -> None:
    """A model that was trained on such rows, by whatever way it came about."""
    root = tmp_path / "fraud"
    shutil.copytree(fraud, root)
    config = configs.load(root)
    listed = FeatureList.from_dict(json.loads((root / "artifacts/bundle/features.json").read_text()))
    assert replay(config, root, listed)[::2] == (20, [])
    table = pd.read_parquet(root / FEATURES)
    table["event_timestamp"] -= pd.Timedelta(1, "us")
    table.to_parquet(root / FEATURES, index=False)
    joined = pd.read_parquet(root / "artifacts/featurize/joined.parquet")
    keys = ["customer_id", "event_timestamp"]
    own = joined[keys].merge(
        table.assign(event_timestamp=table["event_timestamp"].dt.as_unit("us")), on=keys, how="left"
    )
    columns = ["transaction_count_7d", "average_transaction_amount_30d"]
    joined.assign(**{name: own[name] for name in columns}).to_parquet(
        root / "artifacts/featurize/joined.parquet", index=False
    )
    rows, _, found = replay(config, root, listed)
    assert rows == 20 and len(found) >= 25, found
    assert all("is not yet in the online store (features: {delay: 1s}" in one for one in found)
