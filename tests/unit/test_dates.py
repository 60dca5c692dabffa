"""Dates as text, as columns and as parts."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_glue.dates import as_datetime, infer_day_first, timestamps_utc
from mlops_glue.encoding import encode
from mlops_glue.errors import DataError
from mlops_glue.schema import Column, Schema


@pytest.mark.parametrize(
    ("written", "day_first"),
    [
        (["05/01/2022", "31/12/2022"], True),
        (["05/01/2022", "12/31/2022"], False),
        (["05/01/2022", None], False),
        (["05.01.2022", "06.02.2022"], True),
        (["2022-01-05", "2022-12-31"], None),
        (["01/12/2022"], False),
        (["01/13/2022"], False),
        (["13/01/2022"], True),
        (["12/01/2022"], False),
    ],
)
def test_the_day_of_a_written_date(written: list[str], day_first: bool | None) -> None:
    values = pa.chunked_array([written])
    assert infer_day_first(values) is day_first
    first = as_datetime(values.slice(0, 1), day_first)[0].astype(str)[:10]  # one row alone is read as the whole was
    one, two, three = re.split("[-/.]", written[0])
    year, month, day = (
        (three, two, one) if day_first else (three, one, two) if day_first is False else (one, two, three)
    )
    assert first == f"{year}-{month}-{day}"


@pytest.mark.parametrize(("written", "day_first"), [("18/10/1993", False), ("10/18/1993", True), ("18.10.1993", False)])
def test_a_date_written_the_other_way_round_is_refused(written: str, day_first: bool) -> None:
    """Read one by one, 18/10 would be of October and 05/10 of May."""
    rows = pa.table({"at": ["1993-10-01", written]})
    schema = Schema("binary", "y", [Column("at", "datetime", day_first=day_first)], [0, 1])
    with pytest.raises(DataError, match=rf"column 'at', row 2: '{written}' is not a date"):
        encode(rows, schema, rows=range(2))


def one(kind: Any, values: Any, of: Any = None, **column: Any) -> Any:
    """The encoded column, where it is one."""
    schema = of or Schema("binary", "y")
    made = encode(pa.table({"c": values}), replace(schema, columns=[Column("c", kind, **column)]))
    return made["c"]


@pytest.mark.parametrize(
    ("moment", "parts"),
    [
        ("1970-01-01T00:00:00", (0, 1, 3, 0)),  # a Thursday
        ("1969-12-31T23:59:59", (-1 / 86400, 12, 2, 23)),
        ("2024-02-29T12:30:00", (19782 + 12.5 / 24, 2, 3, 12)),
        ("2023-12-31T06:00:00", (19722.25, 12, 6, 6)),
        ("2024-01-01T00:00:00", (19723, 1, 0, 0)),
    ],
)
def test_the_parts_of_a_date(moment: str, parts: tuple[float, ...]) -> None:
    for values in (pa.array([np.datetime64(moment, "us"), None]), pa.array([moment, None])):
        made = encode(pa.table({"d": values}), Schema("binary", "y", [Column("d", "datetime")]))
        assert [float(made[f"d.{part}"][0]) for part in ("days", "month", "weekday", "hour")] == pytest.approx(parts)
        assert all(np.isnan(column[1]) and column.dtype == np.float32 for column in made.values())


def test_moments_of_any_type_are_microseconds() -> None:
    ns = pa.chunked_array([pa.array([1_500_000_000_000_001_999, None], pa.timestamp("ns"))])
    assert as_datetime(ns).astype(str).tolist() == ["2017-07-14T02:40:00.000001", "NaT"]
    for kind in (pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ms", "UTC")):
        made = as_datetime(pa.chunked_array([pa.array([datetime(2024, 2, 29)]).cast(kind)]))
        assert made.dtype == "datetime64[us]" and str(made[0])[:10] == "2024-02-29"
    assert np.isnat(as_datetime(pa.chunked_array([pa.nulls(1)]))).all()
    assert np.isnat(as_datetime(pa.chunked_array([["NA"]]))).all()
    with pytest.raises(ValueError, match="'NA' is not a date"):
        as_datetime(pa.chunked_array([["NA"]]), nulls=["-"])
    assert str(as_datetime(pa.chunked_array([["02/01/2024"]]))[0])[:10] == "2024-02-01"  # month first, but told


def when(parts: dict[str, Any], columns: list[str] | None = None, **how: Any) -> list[str]:
    return timestamps_utc(pa.table(parts), columns or list(parts), **how).astype(str).tolist()  # type: ignore[no-any-return]


def test_a_moment_of_one_column_is_read_as_the_column_says() -> None:
    assert when({"at": ["05/01/2022", "31/12/2022"]})[0][:10] == "2022-01-05"
    assert when({"at": ["05/01/2022", "04/12/2022"]})[0][:10] == "2022-05-01"
    assert when({"at": ["05/01/2022"]}, day_first=True)[0][:10] == "2022-01-05"
    assert when({"at": ["05/01/2022"]}, day_first=False)[0][:10] == "2022-05-01"


YMD = {"year": [2024.0, 1999], "month": [2, 12], "day": [29, 31]}


def test_a_moment_is_made_of_its_parts() -> None:
    assert when(YMD) == ["2024-02-29T00:00:00.000000", "1999-12-31T00:00:00.000000"]
    assert when(YMD | {"hour": [23, 0]}) == ["2024-02-29T23:00:00.000000", "1999-12-31T00:00:00.000000"]
    assert when(YMD | {"hour": [23, 1], "minute": [59, 0]}) == [
        "2024-02-29T23:59:00.000000",
        "1999-12-31T01:00:00.000000",
    ]
    assert when({"y": ["2024"], "m": ["02"], "d": [" 9"], "more": ["x"]}, ["y", "m", "d"])[0][:10] == "2024-02-09"
    assert [str(one) for one in when({"year": [1, 9999], "month": [1, 12], "day": [1, 31]})] == [
        "0001-01-01T00:00:00.000000",
        "9999-12-31T00:00:00.000000",
    ]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((0, 1, 1, 0, 0), "0000-01-01 00:00"),
        ((10000, 1, 1, 0, 0), "10000-01-01 00:00"),
        ((2024, 0, 1, 0, 0), "2024-00-01 00:00"),
        ((2024, 13, 1, 0, 0), "2024-13-01 00:00"),
        ((2024, 1, 0, 0, 0), "2024-01-00 00:00"),
        ((2024, 4, 31, 0, 0), "2024-04-31 00:00"),
        ((2023, 2, 29, 0, 0), "2023-02-29 00:00"),
        ((2024, 1, 1, -1, 0), "2024-01-01 -1:00"),
        ((2024, 1, 1, 24, 0), "2024-01-01 24:00"),
        ((2024, 1, 1, 0, -1), "2024-01-01 00:-1"),
        ((2024, 1, 1, 0, 60), "2024-01-01 00:60"),
    ],
)
def test_parts_that_are_no_moment_are_refused_by_row(parts: tuple[int, ...], said: str) -> None:
    names = ("year", "month", "day", "hour", "minute")
    table = {name: [2024 if name == "year" else 1, None, part] for name, part in zip(names, parts, strict=True)}
    with pytest.raises(DataError) as refused:
        when(table)
    assert refused.value.message == f"timestamp year, month, day, hour, minute, row 3: '{said}' is not a date"
    assert refused.value.hint == "write dates as 2026-11-25, with a time as 2026-11-25T12:00:00Z"


def test_rows_without_a_moment_are_counted() -> None:
    """Of a column, and of parts of which one is not known."""
    for parts, name in (({"at": ["2024-01-01", None, "NA"]}, "at"), (YMD | {"day": [1, None]}, "year, month, day")):
        with pytest.raises(DataError) as refused:
            when(parts)
        lost = "2 of 3" if name == "at" else "1 of 2"
        assert refused.value.message == f"timestamp {name}: {lost} rows have no time"
        assert refused.value.hint == "give each row a time, or remove these rows from the table"
    for wrong, said in (
        (["2024-01-01", "soon"], ", row 2: 'soon' is not a date"),
        ([1.5], ": contains double, not dates"),
    ):
        with pytest.raises(DataError) as refused:
            when({"at": wrong})
        assert refused.value.message == f"timestamp at{said}"
