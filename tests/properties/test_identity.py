"""Identity: reading, typing and encoding never make two values one, or lose what stands there, without a word."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_glue import csv_format, dates, features, parsing, streaming, tables
from mlops_glue.config import LabelTable, Serve
from mlops_glue.encoding import encode, matrices
from mlops_glue.errors import DataError
from mlops_glue.monitoring import labels
from mlops_glue.parsing import as_text
from mlops_glue.pipeline.featurize import column_of
from mlops_glue.pipeline.profile import profile
from mlops_glue.precision import float32_fit
from mlops_glue.reading import reading_notes
from mlops_glue.schema import Schema
from mlops_glue.serving.contract import Contract
from mlops_glue.words import EPOCH, MICROSECOND, to_micros

CODES = {
    "whole": lambda r: str(r.randrange(-50, 50)),
    "zeros": lambda r: f"{r.randrange(40):0{r.randrange(1, 6)}d}",
    "64 bits": lambda r: str(r.choice([2**63 - 1, 2**63 - 2, -(2**63), 7])),
    "beyond": lambda r: str(r.choice([2**63, 2**63 - 1, 10**19 + r.randrange(9)])),
    "long": lambda r: str(10**19 + r.randrange(99)),
    "float": lambda r: r.choice(["1", "1.0", "2", "2.50", "2.5", "1e0"]),
    "53 bits": lambda r: r.choice([str(2**53), str(2**53 + 1), "0.5"]),
    "sign": lambda r: r.choice(["+5", "5", "-5", "-0", "0"]),
    "hex": lambda r: r.choice(["0x10", "16", "0X1"]),
    "words": lambda r: r.choice(["a", " a", "a ", "A", "true", "True", "1"]),
    "dates": lambda r: r.choice(["2024-01-01", "2024-01-01 00:00", "2024-01-01T00:00:00Z", "9999-12-31"]),
}


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("seed", range(12))
def test_keys_that_differ_stay_apart(tmp_path: Path, kind: str, seed: int) -> None:
    """As they are read, as text in the log and in labels, and where they are cast to what they were in training."""
    r = random.Random(seed)
    keys = [CODES[kind](r) for _ in range(30)]
    (tmp_path / "t.csv").write_text("key,x\n" + "".join(f"{key},1\n" for key in keys))
    read = tables.read_table(tmp_path / "t.csv", ["key"])
    for values in (read.column("key"), as_text(read.column("key"))):
        got = values.to_pylist()
        assert len(set(got)) == len(set(keys) if kind != "dates" else set(got)), (kind, values.type)
        pairs = set(zip(keys, got, strict=True))
        assert len(pairs) == len(set(keys))
    if kind in ("zeros", "long", "beyond", "hex") and any(
        not k.lstrip("-").isdigit() or k != str(int(k)) for k in keys
    ):
        assert as_text(read.column("key")).to_pylist() == keys


WRITTEN = {
    "formats": lambda r: r.choice(
        ["1", "1.0", "2", "2.50", "2.5", "+2.5", "1.", "00.5", "0.5", ".5", "-.5", "-0.5", "3e0"]
    ),
    "exponents": lambda r: r.choice(["1e5", "100000", "12E3", "12000", "7", "10E4"]),
    "zeros": lambda r: f"{r.randrange(40):0{r.randrange(1, 4)}d}",
    "zero": lambda r: r.choice(["0", "-0", "0.0", "1.5"]),
    "two places": lambda r: f"{r.randrange(400) / 100:.2f}",
    "as Python has it": lambda r: str(r.choice([1e-7, 1e22, 0.1, 5.0]) * r.randrange(9)),
}


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("seed", range(8))
def test_texts_that_become_one_number_are_told(
    tmp_path: Path, name: str, form: str, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """By `glue init` and by `glue run`; and no text is told of that stays by itself."""
    r = random.Random(seed)
    words = [WRITTEN[name](r) for _ in range(r.choice([5, 60]))]
    table = pa.table({"x": words})
    file = tmp_path / f"t.{form}"
    if form == "parquet":
        pq.write_table(table, file)
    else:
        rows = ["x", *words] if form == "csv" else [json.dumps({"x": word}) for word in words]
        file.write_text("".join(f"{row}\n" for row in rows))
    read = tables.read_table(file)
    (found,) = profile(read)
    kind = found.kind or "category"
    schema = Schema("binary", "y", [column_of("x", kind, read.column("x"), ".")])
    values = matrices(encode(read, schema), schema)["text" if kind == "category" else "number"][:, 0].tolist()
    if len(set(words)) == 1 or kind == "boolean":
        return
    equal = {(one, other) for at, one in enumerate(words) for of, other in enumerate(words) if values[at] == values[of]}
    pairs = {pair for pair in equal if pair[0] != pair[1]}
    for said in (found.reason, caplog.text):
        notes = " ".join([*reading_notes(read, file.name), said])
        assert any(f"{one} and {other}" in notes for one, other in pairs) == bool(pairs), (notes, pairs)
    if name == "exponents" and pairs:
        assert pairs <= {("1e5", "10E4"), ("10E4", "1e5")}


def test_of_many_rows_one_that_becomes_another_is_told(tmp_path: Path) -> None:
    """Where numbers repeat, as those do that name something; and none is told of a column of ones that do not."""
    r = random.Random(0)
    versions = [f"{r.randrange(9)}.{r.randrange(1, 9)}" for _ in range(30_000)]
    versions[12_345] = f"{versions[0]}0"
    measured = [str(r.random()) for _ in versions]
    rows = "".join(f"{one}, {other}\n" for one, other in zip(versions, measured, strict=True))
    (tmp_path / "t.csv").write_text(f"version,measured\n{rows}")
    said = f"t.csv: texts that are equal as numbers: of 'version' {versions[0]} and {versions[0]}0"
    assert reading_notes(tables.read_table(tmp_path / "t.csv"), "t.csv") == [said]


def test_a_text_that_may_be_a_code_stays_text(tmp_path: Path) -> None:
    """12E3 beside 12000; 1.5e4 and 1e+05 are what programs write."""
    for words, kind in [
        (["12E3", "12000", "1.5"], pa.string()),
        (["12E3", "12001"], pa.float64()),
        (["1e+05", "100000"], pa.float64()),
        (["1.5e4", "15000"], pa.float64()),
    ]:
        (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{word},1\n" for word in words))
        assert tables.read_table(tmp_path / "t.csv").schema.field("x").type == kind


@pytest.mark.parametrize("seed", range(10))
def test_long_keys_of_jsonl_stay_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(csv_format, "BLOCK_BYTES", 200)
    r = random.Random(seed)
    keys: list[Any] = [r.choice([None, 10**19 + r.randrange(30), r.randrange(9)]) for _ in range(60)]
    keys.append(10**19)
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"key": key, "x": 1.5}) + "\n" for key in keys))
    wanted = [None if key is None else str(key) for key in keys]
    assert tables.read_table(tmp_path / "t.jsonl").column("key").to_pylist() == wanted
    pieces = [as_text(raw.column("key")).to_pylist() for raw, _ in streaming.batches(tmp_path / "t.jsonl")]
    assert [key for piece in pieces for key in piece] == wanted


KEYS: list[tuple[str, pa.Array, list[Any] | None]] = [
    ("int64", pa.array(["12", None, "7"]), [12, None, 7]),
    ("int64", pa.array([" 12 ", "7"]), [12, 7]),
    ("int64", pa.array(["12", "0012"]), None),
    ("int64", pa.array(["12", "12.0"]), None),
    ("int64", pa.array(["+12"]), None),
    ("int64", pa.array([str(2**63 - 1)]), [2**63 - 1]),
    ("int64", pa.array([str(2**63)]), None),
    ("int64", pa.array([12.0, None]), [12, None]),  # as pandas has whole numbers with nulls
    ("int64", pa.array([12.5]), None),
    ("int64", pa.array([float(2**53 - 1)]), [2**53 - 1]),
    ("int64", pa.array([float(2**53)]), None),  # as 2^53 + 1 is
    ("string", pa.array([12, None]), ["12", None]),
    ("string", pa.array([12.0]), ["12"]),
    ("string", pa.array([1e19]), None),
    ("string", pa.array(["0012", " a ", "NA"]), ["0012", " a ", None]),
    ("double", pa.array(["12.5", "7"]), [12.5, 7.0]),
]


@pytest.mark.parametrize(("kind", "given", "wanted"), KEYS)
def test_a_key_is_as_it_was_in_training_or_refused(kind: str, given: pa.Array, wanted: list[Any] | None) -> None:
    table = pa.table({"key": given})
    if wanted is None:
        with pytest.raises(DataError, match="column 'key' contains .*was " + kind):
            features.key_as_trained(table, "key", kind)
        return
    assert features.key_as_trained(table, "key", kind).column("key").to_pylist() == wanted


def test_labels_of_keys_that_look_alike(tmp_path: Path) -> None:
    """0012 is not 12; and of 20 digits each is its own."""
    long = [str(10**19 + at) for at in range(5)]
    keys = ["0012", "12", *long]
    (tmp_path / "l.csv").write_text("who,y\n" + "".join(f"{key},{at}\n" for at, key in enumerate(keys)))
    log = pa.table({"id": keys, "glue_time": pa.array([datetime(2024, 1, 1)] * 7), "glue_row": [0] * 7})
    found = labels.read(LabelTable(path="l.csv", id="who", matches="id"), "y", tmp_path)
    joined = labels.join(found, [log]).table
    assert joined is not None
    assert dict(zip(joined.column("id").to_pylist(), joined.column(labels.TRUTH).to_pylist(), strict=True)) == {
        key: str(at) for at, key in enumerate(keys)
    }


NUMBERS: dict[str, Any] = {
    "EAN of one maker": lambda r: 4006381000000 + r.randrange(400),
    "EAN of many": lambda r: r.choice([4006381000000, 5901234000000, 7613035000000]) + r.randrange(40),
    "ms by the minute": lambda r: 1_700_000_000_000 + 60_000 * r.randrange(500_000),
    "seconds": lambda r: 1_700_000_000 + r.randrange(10**7),
    "small": lambda r: r.randrange(-(2**24), 2**24 + 1),
    "just beyond": lambda r: 2**24 + r.randrange(100),
    "of 64 bits": lambda r: 2**62 + r.randrange(60),
    "with a fraction": lambda r: 1_700_000_000 + r.randrange(200) / 2,
    "money": lambda r: r.choice([r.randrange(10**9), r.randrange(10**4)]),
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("as_words", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_what_the_model_gets_tells_numbers_apart_or_it_is_said(
    name: str, as_words: bool, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """By batch and by request, equally."""
    r = random.Random(seed)
    values = [NUMBERS[name](r) for _ in range(400)]
    raw = pa.chunked_array([[str(v) for v in values] if as_words else values])
    table = pa.table({"x": raw, "y": [0, 1] * 200})
    found = profile(table)[0]
    assert found.kind is not None or "identifier" in found.reason or "are told apart" in found.reason
    kind = found.kind or "number"
    column = column_of("x", kind, raw, ".")
    schema = Schema("binary", "y", [column], [0, 1])
    encoded = matrices(encode(table, schema), schema)
    distinct = len(set(encoded["text" if kind == "category" else "number"][:, 0].tolist()))
    if distinct < len(set(values)):
        assert "are equal for the model" in caplog.text
        assert found.kind is None or "are equal (float32)" in found.reason
        assert name == "money" or found.kind is None
    served = Contract(schema, None, Serve(max_rows=999))
    asked = [{"x": str(v) if kind == "category" and as_words else v} for v in values]
    got = served.matrices(served.decode(json.dumps({"rows": asked}).encode()))
    for one, matrix in encoded.items():
        np.testing.assert_array_equal(got[one], matrix)


@pytest.mark.parametrize(
    ("values", "base", "twins"),
    [
        ([2**24, 2**24 - 1, 0], 0.0, None),
        ([2**24, 2**24 + 1], 2.0**24, None),
        ([2**24, 2**24 + 1, *range(0, 10**5, 7)], 0.0, ("16777216", "16777217")),
        ([2**40, 2**40 + 1, 0, 2**39], 0.0, ("1099511627776", "1099511627777")),
        ([0.1, 0.2, 0.1 + 1e-12], 0.1, None),
        ([*np.linspace(0, 1, 300), 0.5 + 1e-12], 0.0, None),  # rounding
    ],
)
def test_when_a_base_is_taken_off(values: list[Any], base: float, twins: tuple[str, str] | None) -> None:
    found = float32_fit(pa.chunked_array([values]))
    assert (found.base, found.twins) == (base, twins)


@pytest.mark.parametrize("seed", range(100))
def test_dates_of_ten_thousand_years_are_the_same_for_a_column_and_for_one(seed: int) -> None:
    """In microseconds, whatever way they are written; what is none is none to both."""
    r = random.Random(seed)
    day_first = r.random() < 0.5
    first, last = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)
    moments = [first, last, *(first + (last - first) * r.random() for _ in range(6))]
    order = "%d{0}%m{0}%Y" if day_first else "%m{0}%d{0}%Y"
    zone = timedelta(hours=r.randrange(-12, 13), minutes=r.choice([0, 30]))
    forms = {
        "%Y-%m-%dT%H:%M:%S.%f": timedelta(0),
        "%Y/%m/%d %H:%M:%S": timedelta(0),
        order.format(r.choice("./-")) + " %H:%M:%S,%f": timedelta(0),
        "%d %B %Y %I:%M:%S %p": timedelta(0),
        "%B %d, %Y %H:%M:%S": timedelta(0),
        f"%Y-%m-%d %H:%M:%S.%f{'-' if zone < timedelta(0) else '+'}{abs(zone).seconds // 3600:02d}"
        f":{abs(zone).seconds // 60 % 60:02d}": zone,
        "%Y-%m-%dT%H:%M:%SZ": timedelta(0),
    }
    for form, apart in forms.items():
        wanted = [m if "%f" in form else m.replace(microsecond=0) for m in moments]
        written = [m.strftime(form.replace("%Y", f"{m.year:04d}")) for m in wanted]
        micros = [(m - EPOCH - apart) // MICROSECOND for m in wanted]
        assert [to_micros(one, day_first) for one in written] == micros
        column = dates.parse_dates(pa.chunked_array([[*written, None]]), day_first)
        assert column[:-1].astype(np.int64).tolist() == micros and np.isnat(column[-1])


@pytest.mark.parametrize(
    "wrong",
    [
        "2024-02-30", "2023-02-29", "31.13.2024", "2024-00-10", "2024-13-01", "2024-01-01 24:00", "2024-01-01 23:60",
        "2024-01-01T00:00:60", "32.12.2024", "10000-01-01", "0000-01-01", "30 Foo 2024", "2024-01-01 13:00 PM",
        "2024-01-01 0:00 am", "2024-01-01T00:00:00+25:00", "soon", "",
    ],
)  # fmt: skip
def test_what_is_no_date_is_refused_by_its_row(wrong: str) -> None:
    assert to_micros(wrong, day_first=True) is None
    if wrong:
        with pytest.raises(parsing.InvalidValue) as refused:
            dates.parse_dates(pa.chunked_array([["2024-02-29", None], ["2024-02-29", wrong, wrong]]), day_first=True)
        assert (refused.value.row, str(refused.value)) == (3, f"{wrong!r} is not a date")


@pytest.mark.parametrize(
    ("written", "iso"),
    [
        ("31.12.9999", "9999-12-31T00:00"), ("9999-12-31 23:59:59.999999", "9999-12-31T23:59:59.999999"),
        ("1.2.69", "1969-02-01T00:00"), ("1.2.68", "2068-02-01T00:00"), ("2024-01-01 12:00 am", "2024-01-01T00:00"),
        ("2024-01-01 12:30 PM", "2024-01-01T12:30"), ("2024-01-01 1:05pm", "2024-01-01T13:05"),
        ("Mon, Jan 1, 2024", "2024-01-01T00:00"),
        ("3 Sept 2024", "2024-09-03T00:00"), ("3-Mar-2024", "2024-03-03T00:00"),
        ("2024-01-01T00:00:00.1234567", "2024-01-01T00:00:00.123456"), ("20240229T1200", "2024-02-29T12:00"),
        ("2024-01-01T00:00+0530", "2023-12-31T18:30"), ("2024-01-01T00:00-01", "2024-01-01T01:00"),
    ],
)  # fmt: skip
def test_dates_as_people_write_them(written: str, iso: str) -> None:
    wanted = (datetime.fromisoformat(iso).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND
    assert to_micros(written, day_first=True) == wanted


def test_an_index_of_pandas_is_no_feature(tmp_path: Path) -> None:
    """Sorted by the target, it tells it; the moment of a series stays, because it may be the clock."""
    import pandas as pd

    frame = pd.DataFrame({"x": np.arange(60.0), "y": [0, 1] * 30}, index=np.random.default_rng(0).permutation(60) // 2)
    frame.to_parquet(tmp_path / "unnamed.parquet")
    frame.rename_axis("place").to_parquet(tmp_path / "named.parquet")
    days = pd.date_range("2024-01-01", periods=60, name="day")
    frame.set_index(days).to_parquet(tmp_path / "day.parquet")
    frame.rename(columns={"x": "Unnamed: 0"}).to_csv(tmp_path / "t.csv", sep="\t")
    kinds = {path.name: {p.name: p.kind for p in profile(tables.read_table(path))} for path in tmp_path.iterdir()}
    assert kinds["unnamed.parquet"] == {"x": "number", "y": "number", "__index_level_0__": None}
    assert kinds["named.parquet"] == {"x": "number", "y": "number", "place": None}
    assert kinds["day.parquet"] == {"x": "number", "y": "number", "day": "datetime"}
    assert kinds["t.csv"] == {"": None, "Unnamed: 0": None, "y": "number"}
    tables.write_parquet(tmp_path / "again.parquet", tables.read_table(tmp_path / "named.parquet"))  # as ingest does
    assert {p.name: p.kind for p in profile(pq.read_table(tmp_path / "again.parquet"))}["place"] is None
