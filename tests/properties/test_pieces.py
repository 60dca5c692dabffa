"""A table that is worked on in pieces gives what it gives in one: the bytes of ingest and split, and the columns."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_glue import csv_format, files, layout, raw_table, row_groups, streaming, tables
from mlops_glue.config import Config
from mlops_glue.errors import CheckFailed, DataError, StageError
from mlops_glue.pipeline import join, memory
from mlops_glue.pipeline.featurize import featurize
from mlops_glue.pipeline.ingest import ingest
from mlops_glue.pipeline.split import split
from tests.support import feature_project

WORDS = ["", "NA", "red", "blue", " teal ", "1,5", "007", "12E3", "12000", "1.50", "1.5", "true", "2024-01-31"]
KINDS = ["whole", "number", "word", "code", "date", "flag", "empty"]


def column(kind: str, rows: int, rng: Any) -> list[str]:
    """Texts of a kind, of which an odd one may be the last."""
    made: dict[str, Any] = {
        "whole": lambda: str(rng.integers(-5, 10**6)),
        "number": lambda: f"{rng.normal():.3f}",
        "word": lambda: WORDS[rng.integers(len(WORDS))],
        "code": lambda: f"{rng.integers(1000):04d}",
        "date": lambda: f"2024-{rng.integers(1, 13):02d}-{rng.integers(1, 29):02d}",
        "flag": lambda: ["true", "false"][rng.integers(2)],
        "empty": lambda: "",
    }
    texts = ["" if rng.random() < 0.1 else made[kind]() for _ in range(rows)]
    if rng.random() < 0.3:
        texts[-1] = made[KINDS[rng.integers(len(KINDS))]]()
    return texts


def write(folder: Path, form: str, seed: int, kinds: list[str], rows: int) -> Path:
    """A table in one of the formats; `folder` is one of Parquet files."""
    rng = np.random.default_rng(seed)
    made: dict[str, Any] = {f"{kind}{at}": column(kind, rows, rng) for at, kind in enumerate(kinds)}
    made |= {"x": rng.normal(size=rows).round(2), "who": [f"w{n}" for n in rng.integers(0, 9, rows)]}
    made |= {"at": pd.date_range("2024-01-01", periods=rows, freq="h")[rng.permutation(rows)].astype(str)}
    made |= {"y": rng.integers(0, 2, rows)}
    frame, path = pd.DataFrame(made), folder / f"t.{form}"
    if form == "csv":
        frame.to_csv(path, index=False)
    elif form == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif form == "parquet":
        frame.to_parquet(path, row_group_size=17, index=False)
    else:
        path = folder / "t"
        path.mkdir()
        for at, first in enumerate(range(0, rows, 37)):
            frame[first : first + 37].to_parquet(path / f"part-{at:03d}.parquet", index=False)
    return path


def config_of(path: Path, kinds: list[str], by: str) -> Config:
    data = {
        "sources": {"t": {"path": path.name, "timestamp": "at", "entity": "who"}},
        "labels": {"source": "t", "target": "y", "task": "binary"},
    }
    listed = [f"{kind}{at}" for at, kind in enumerate(kinds)]
    features = {"number": ["x"], "category": listed}
    return Config.model_validate(
        {"glue": 1, "project": "p", "data": data, "train": {}, "features": features, "split": {"by": by}}
    )


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    form=st.sampled_from(["csv", "jsonl", "parquet", "folder"]),
    seed=st.integers(0, 10**6),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4),
    by=st.sampled_from(["time", "entity", "random"]),
)
def test_pieces_give_what_the_whole_gives(form: str, seed: int, kinds: list[str], by: str) -> None:
    rows = 60 + seed % 100
    with tempfile.TemporaryDirectory() as place, mock.patch.object(row_groups, "GROUP_ROWS", 29):
        root = Path(place)
        path = write(root, form, seed, kinds, rows)
        config = config_of(path, kinds, by)
        with (
            mock.patch.object(streaming, "BATCH_ROWS", 11),
            mock.patch.object(csv_format, "BLOCK_BYTES", 700),
            mock.patch.object(raw_table, "SPOOL_BYTES", 1000),
        ):
            try:
                whole = tables.read_table(path, ["who"])
            except DataError as error:  # a column of JSON Lines is text in one piece and a date in another
                with pytest.raises(DataError, match=re.escape(error.message)):
                    ingest(config, root)
                return
            ingest(config, root)
            tables.write_parquet(root / "whole.parquet", whole)
        assert (root / layout.TABLE).read_bytes() == (root / "whole.parquet").read_bytes()
        assert not [*root.glob(f"{layout.STATE}/*")]
        in_pieces = results(config, root)
        assert pq.ParquetFile(root / layout.FEATURES).metadata.num_row_groups > 1
        with mock.patch.object(row_groups, "GROUP_ROWS", 1 << 20):
            tables.write_parquet(root / layout.TABLE, tables.read_parquet(root / layout.TABLE))
            assert results(config, root) == in_pieces


def results(config: Config, root: Path) -> list[Any]:
    """What featurize and split make of the table."""
    featurize(config, root)
    split(config, root)
    paths = (layout.FEATURES, layout.TRAIN, layout.TEST)
    made = [tables.read_parquet(root / path).combine_chunks() for path in paths]
    return [files.read_json(root / layout.COLUMNS), *(json.dumps(table.to_pylist(), default=str) for table in made)]


REPOSITORY = """
from datetime import timedelta
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, String
customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
schema = [Field(name="balance", dtype=Float64), Field(name="town", dtype=String)]
source = FileSource(name="told", path="../artifacts/ingest/customers.parquet", timestamp_field="at")
told = FeatureView(name="told", entities=[customer], ttl=timedelta(days=9), schema=schema, source=source)
"""


@pytest.mark.parametrize("delay", ["0", "1h"])
def test_features_are_joined_in_pieces(delay: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes as of all rows at once; and what is wrong with the whole is told of the whole."""
    customers, events = feature_project.tables()
    customers.to_parquet(tmp_path / "customers.parquet")
    events.to_parquet(tmp_path / "events.parquet")
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo/feature_store.yaml").write_text("project: shop\nprovider: local\n")
    (tmp_path / "repo/definitions.py").write_text(REPOSITORY)
    tables_of = {"path": "customers.parquet", "entity": "customer_id", "timestamp": "at"}
    values: dict[str, Any] = {
        "glue": 1,
        "project": "p",
        "data": {
            "sources": {"events": {**tables_of, "path": "events.parquet"}, "customers": tables_of},
            "labels": {"source": "events", "target": "y", "task": "binary"},
        },
        "features": {"repo": "repo", "use": ["told:balance", "told:town"], "number": ["amount"], "delay": delay},
        "train": {},
    }
    values["features"]["delay"] = 0.0 if delay == "0" else delay
    config = Config.model_validate(values)
    ingest(config, tmp_path)

    def made() -> list[bytes]:
        featurize(config, tmp_path)
        assert not [*(tmp_path / layout.STATE).iterdir()]
        return [(tmp_path / path).read_bytes() for path in (layout.JOINED, layout.FEATURES, layout.FEATURE_LIST)]

    whole = made()
    monkeypatch.setattr(join, "JOIN_ROWS", 97)
    assert made() == whole
    few = Config.model_validate(values | {"features": values["features"] | {"unmatched": 0.01}})
    missing = tables.read_parquet(tmp_path / layout.JOINED, ["balance"]).column(0).null_count
    with pytest.raises(CheckFailed, match=rf"told has no row for {missing / 600:.1%} of the label rows"):
        featurize(few, tmp_path)


def test_a_transform_that_would_not_fit_is_refused(tmp_path: Path) -> None:
    tables.write_parquet(tmp_path / layout.TABLE, pa.table({"x": np.zeros(1 << 20), "at": np.zeros(1 << 20, "M8[us]")}))
    data = {"sources": {"t": {"path": "t.csv", "timestamp": "at"}}, "labels": {"source": "t", "target": "x"}}
    features = {"use": ["v:x"], "transform": "ours:build"}
    values = {"glue": 1, "project": "p", "data": data, "train": {}, "features": features}
    memory.check_transform(Config.model_validate(values), tmp_path)
    refusal = r"ours:build needs whole tables in memory, about 0\.1 GiB, and 0\.0 GiB may be used"
    with pytest.raises(StageError, match=refusal):
        memory.check_transform(Config.model_validate(values | {"compute": {"memory": "10MiB"}}), tmp_path)


def test_rows_are_taken_by_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_groups, "GROUP_ROWS", 10)
    table = pa.table({"a": range(35), "a.b": [f"v{n}" for n in range(35)]})
    tables.write_parquet(tmp_path / "t.parquet", table)
    for rows in ([], [34, 0, 0, 12], [*range(35)], [10]):
        at = np.array(rows, np.int64)
        assert row_groups.take(tmp_path / "t.parquet", at).equals(table.take(at))
        assert row_groups.take(tmp_path / "t.parquet", at, ["a"]).equals(table.select(["a"]).take(at))
    with pytest.raises(IndexError, match="has 35 rows, but no row 35"):
        row_groups.take(tmp_path / "t.parquet", np.array([35]))
