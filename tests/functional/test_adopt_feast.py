"""`glue adopt` in a repository with Feast: its views and entities are brought in, and its files stay as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlops_glue import config, tables
from mlops_glue.scaffold import feast
from tests.support.project import BOOM, Glue, contents

DEFINITIONS = """\
from datetime import timedelta
from feast import BigQuerySource, Entity, FeatureService, FeatureView, Field, FileSource, PushSource
from feast.types import Float32, Int64

driver = Entity(name="driver", join_keys=["driver_id"])
DAYS = 2
stats = FileSource(path="data/stats.parquet", timestamp_field="event_timestamp", created_timestamp_column="created")
driver_stats = FeatureView(
    name="driver_stats",
    entities=[driver],
    ttl=timedelta(days=DAYS, hours=12),
    schema=[Field(name="conv_rate", dtype=Float32), Field(name="trips", dtype=Int64)],
    source=stats,
)
warehouse = FeatureView(name="warehouse", entities=[driver], source=BigQuerySource(table="a.b"))
lost = FeatureView(name="lost", entities=[driver], source=FileSource(path="data/lost.parquet", timestamp_field="t"))
"""
TRAIN = """\
import pandas as pd
from feast import FeatureStore
from sklearn.linear_model import LogisticRegression
orders = pd.read_csv("orders.csv")
training = FeatureStore("store").get_historical_features(
    entity_df=orders, features=["driver_stats:conv_rate", "driver_stats:trips"]).to_df()
X = training.drop(columns=["completed", "event_timestamp"])
LogisticRegression(max_iter=300).fit(X, training["completed"])
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Orders of drivers, and a Feast repository with what is known of these; its code is not to be run."""
    draw, rows = np.random.default_rng(0), 300
    (tmp_path / "store/data").mkdir(parents=True)
    hours = pd.to_datetime("2024-01-01", utc=True) + pd.to_timedelta(np.arange(rows), unit="h")
    rate = draw.random(rows)
    stats = {"driver_id": np.arange(rows) % 5, "event_timestamp": hours, "created": hours, "conv_rate": rate}
    stats |= {"trips": draw.integers(0, 9, rows), "secret": draw.random(rows)}
    pd.DataFrame(stats).to_parquet(tmp_path / "store/data/stats.parquet")
    later = (hours + pd.Timedelta(minutes=30)).strftime("%Y-%m-%d %H:%M:%S")
    orders = {"driver_id": stats["driver_id"], "event_timestamp": later, "distance": draw.random(rows)}
    pd.DataFrame({**orders, "completed": (rate > 0.5).astype(int)}).to_csv(tmp_path / "orders.csv", index=False)
    (tmp_path / "store/feature_store.yaml").write_text(
        "project: drivers\nprovider: local\nregistry: data/registry.db\n"
    )
    (tmp_path / "store/definitions.py").write_text(BOOM + DEFINITIONS)
    (tmp_path / "train.py").write_text(BOOM + TRAIN)
    return tmp_path


def test_views_are_read_without_running_them(repository: Path) -> None:
    (view,), notes = feast.views(repository / "store")
    assert view == feast.FeastView(
        "driver_stats",
        repository / "store/data/stats.parquet",
        ["driver_id"],
        "event_timestamp",
        "created",
        2.5,
        ["conv_rate", "trips"],
    )
    assert notes == [
        "view warehouse reads BigQuerySource: left out, as its table is not here",
        "view lost reads data/lost.parquet, which does not exist",
    ]


def test_a_feast_repository_is_brought_in(repository: Path, glue: Glue) -> None:
    before = contents(repository)
    told = glue("adopt", "--yes", cwd=repository).stderr
    assert "features of driver_stats are joined: glue/feature_repo defines these views on glue's own tables" in told
    assert "store/feature_store.yaml: view warehouse reads BigQuerySource" in told
    made = config.load(repository / "glue")
    assert made.features.use == ["driver_stats:conv_rate", "driver_stats:trips"]
    assert (made.source.entity, made.source.timestamp) == ("driver_id", "event_timestamp")
    assert made.data.sources["stats"].path == "../store/data/stats.parquet"
    assert made.data.sources["stats"].created == "created"
    assert (made.data.labels.target, made.features.number) == ("completed", ["distance"])
    definitions = (repository / "glue/feature_repo/definitions.py").read_text()
    assert "ttl=timedelta(days=3),  # as in the repository's own view" in definitions
    glue("run", "--until", "featurize", cwd=repository / "glue")
    joined = tables.read_parquet(repository / "glue/artifacts/featurize/joined.parquet").to_pandas()
    rates = joined[next(name for name in joined.columns if name.endswith("conv_rate"))]
    assert ((rates > 0.5).astype(int) == joined["completed"]).all()
    assert {k: v for k, v in contents(repository).items() if not k.startswith("glue/")} == before


def test_labels_with_two_times_are_joined_by_the_one_of_feast(repository: Path, glue: Glue) -> None:
    table = pd.read_csv(repository / "orders.csv")
    table.assign(created=table["event_timestamp"]).to_csv(repository / "orders.csv", index=False)
    done = glue("adopt", "--dry-run", cwd=repository)
    assert "timestamp: event_timestamp" in done.stdout and "repo: feature_repo" in done.stdout


def test_where_the_labels_have_no_key_nothing_is_joined(repository: Path, glue: Glue) -> None:
    table = pd.read_csv(repository / "orders.csv").drop(columns="driver_id")
    table.to_csv(repository / "orders.csv", index=False)
    done = glue("adopt", "--dry-run", cwd=repository)
    assert "view driver_stats is not joined: orders.csv has no column driver_id" in done.stderr
    assert "repo:" not in done.stdout
