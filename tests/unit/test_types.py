"""Arrow's types, as a Parquet file may have them: each is taken as its values, or left out with the reason."""

from __future__ import annotations

import csv
import gzip
import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_glue import streaming, tables
from mlops_glue.config import Serve
from mlops_glue.encoding import encode, matrices
from mlops_glue.errors import DataError
from mlops_glue.monitoring.window import pieces_of
from mlops_glue.pipeline import featurize
from mlops_glue.pipeline.package import example_rows
from mlops_glue.pipeline.profile import profile
from mlops_glue.scaffold.defaults import expectations
from mlops_glue.schema import Column, Schema
from mlops_glue.serving.contract import Contract

WORDS, NUMBERS = ["a", None, "b", "a"], [1, None, 2, 1]
MOMENTS = [datetime(2024, 1, 1, 12), None, datetime(2024, 1, 2, 12), datetime(2024, 1, 1, 12)]
UNITS = ("s", "ms", "us", "ns")


def of(values: list[Any], kind: Any) -> Any:
    return pa.array(values, kind)


TAKEN: list[tuple[Any, str, list[Any]]] = [
    *((of(WORDS, kind), "category", WORDS) for kind in (pa.large_string(), pa.string_view())),
    *((of(WORDS, kind).dictionary_encode(), "category", WORDS) for kind in (pa.string(), pa.large_string())),
    (pa.ExtensionArray.from_storage(pa.json_(), of(WORDS, pa.string())), "category", WORDS),
    (of(NUMBERS, pa.int16()).dictionary_encode(), "number", NUMBERS),
    (of(MOMENTS, pa.timestamp("ns")).dictionary_encode(), "datetime", MOMENTS),
    (of(NUMBERS, pa.float32()).cast(pa.float16()), "number", NUMBERS),
    *(
        (of([None if v is None else Decimal(v) for v in NUMBERS], kind), "number", NUMBERS)
        for kind in (pa.decimal32(5, 2), pa.decimal64(9, 2), pa.decimal128(20, 2), pa.decimal256(50, 2))
    ),
    (of([2**64 - 1, None, 2**63, 7], pa.uint64()), "number", [2.0**64, None, 2.0**63, 7]),
    (pa.ExtensionArray.from_storage(pa.bool8(), of([1, None, 0, 1], pa.int8())), "boolean", [1, None, 0, 1]),
    *(
        (of(MOMENTS, pa.timestamp(unit, zone)), "datetime", MOMENTS)
        for unit in UNITS
        for zone in (None, "UTC", "Asia/Tokyo", "+02:00")
    ),
    (
        of([1704110400 * 10**9 + 1, None, 1704196800 * 10**9, 1704110400 * 10**9], pa.timestamp("ns")),
        "datetime",
        MOMENTS,
    ),
    *(
        (
            of([date(2024, 1, 1), None, date(2024, 1, 2), date(2024, 1, 1)], kind),
            "datetime",
            [None if m is None else m.replace(hour=0) for m in MOMENTS],
        )
        for kind in (pa.date32(), pa.date64())
    ),
]
LEFT_OUT: list[tuple[Any, str]] = [
    (pa.nulls(4), "no values"),
    *(
        (of([time(1), None, time(2), time(3)], kind), "a time of day")
        for kind in (pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"))
    ),
    *((of([timedelta(1), None, timedelta(2), timedelta(3)], pa.duration(unit)), "a duration") for unit in UNITS),
    *(
        (of([b"\xff", None, b"b", b"c"], kind), "bytes, not text")
        for kind in (pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(1))
    ),
    (pa.ExtensionArray.from_storage(pa.uuid(), of([b"u" * 16] * 4, pa.binary(16))), "bytes, not text"),
    (of([[1], None, [2], [3]], None), "nested (list"),
    (of([{"a": 1}, None, {"a": 2}, {"a": 3}], None), "nested (struct"),
    (of([[("a", 1)]] * 4, pa.map_(pa.string(), pa.int64())), "nested (map"),
]


def stored(tmp_path: Path, values: Any) -> list[pa.Table]:
    """As each reader of Parquet gives it."""
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"c": values, "y": [0, 1, 0, 1]}), path)
    pieces = [typed for typed, _ in streaming.batches(path)]
    return [tables.read_table(path), pa.concat_tables(pieces), pa.concat_tables(pieces_of(path, {}))]


@pytest.mark.parametrize(
    ("values", "kind", "wanted"), TAKEN, ids=[f"{at}-{v.type}" for at, (v, *_) in enumerate(TAKEN)]
)
def test_what_is_taken(tmp_path: Path, values: Any, kind: Any, wanted: list[Any]) -> None:
    plain = {"category": pa.string(), "boolean": pa.bool_(), "datetime": pa.timestamp("us")}.get(kind, pa.float64())
    schema = Schema("binary", "y", [Column("c", kind)])
    expected = encode(pa.table({"c": pa.array(wanted).cast(plain)}), schema)
    for table in stored(tmp_path, values):
        found = profile(table)
        assert (found[0].kind, found[0].nulls) == (kind, 1)
        assert expectations(table, found, "y")
        for name, encoded in encode(table, schema).items():
            np.testing.assert_array_equal(encoded, expected[name])
    raw = stored(tmp_path, values)[0]
    made = Schema("binary", "y", [Column("c", kind, str(raw.schema.field("c").type))])
    asked = json.loads(json.dumps(example_rows(raw.select(["c"]), made), default=str))
    served = Contract(made, None, Serve(max_rows=9))
    for name, matrix in served.matrices(served.from_dicts(asked)).items():
        np.testing.assert_array_equal(matrix, matrices(expected, schema)[name])


@pytest.mark.parametrize(("values", "reason"), LEFT_OUT, ids=[f"{v.type}" for v, _ in LEFT_OUT])
def test_what_is_left_out(tmp_path: Path, values: Any, reason: str) -> None:
    for table in stored(tmp_path, values):
        found = profile(table)[0]
        assert (found.kind, found.reason.startswith(reason)) == (None, True), found.reason
        for kind in ("number", "boolean", "datetime", "category"):  # where glue.yaml has it nevertheless
            try:
                encode(table, Schema("binary", "y", [Column("c", kind)]))  # type: ignore[arg-type]
            except DataError as error:
                assert "column 'c'" in error.message


@pytest.mark.parametrize("values", [v for v, *_ in (*TAKEN, *LEFT_OUT)], ids=lambda v: str(v.type))
@pytest.mark.parametrize("name", ["o.csv.gz", "o.parquet"])
def test_what_is_carried_along(tmp_path: Path, values: Any, name: str) -> None:
    """Every type can be written beside the predictions; in Parquet it is what it was."""
    stored(tmp_path, values)
    for _, carried in streaming.batches(tmp_path / "t.parquet", verbatim=name == "o.csv.gz"):
        sink = streaming.open_writer(tmp_path / name, tmp_path / name, carried.schema)
        sink.write_table(carried)
        sink.close()
    if name == "o.parquet":
        assert pq.read_table(tmp_path / name).equals(pq.read_table(tmp_path / "t.parquet"))
        return
    with gzip.open(tmp_path / name, "rt", newline="") as stream:
        rows = list(csv.reader(stream))
    assert (rows[0], [row[1] for row in rows[1:]]) == (["c", "y"], ["0", "1", "0", "1"])


def test_a_target_of_more_bits_than_a_float_has() -> None:
    values = pa.chunked_array([[2**53 + 1, 2**60]])
    assert featurize.as_target(values, "regression", "y").to_pylist() == [2.0**53, 2.0**60]
