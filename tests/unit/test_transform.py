"""A transform that looks ahead is refused, and what cannot be looked at is named."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mlops_glue.config import Config
from mlops_glue.errors import CheckFailed, DataError, StageError
from mlops_glue.pipeline import transform

START = pd.Timestamp("2026-01-01", tz="UTC")
CLOCKS = {"made": (["id"], ["at"])}
Build = Callable[[dict[str, pd.DataFrame]], dict[str, pd.DataFrame]]


def config(**clocks: Any) -> Config:
    sources = {name: {"path": f"{name}.csv", **({"timestamp": at} if at else {})} for name, at in clocks.items()}
    data = {"sources": sources, "labels": {"source": "events", "target": "y"}}
    return Config.model_validate(
        {"glue": 1, "project": "p", "data": data, "train": {}, "features": {"transform": "m:f"}}
    )


def events(rows: int = 100, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    at = START + pd.to_timedelta(rng.permutation(rows), unit="h")
    return pd.DataFrame({"id": rng.integers(0, 5, rows), "at": at, "v": rng.normal(size=rows) + 5})


def check(
    build: Build, *, clocks: dict[str, Any] | None = None, at: dict[str, Any] | None = None, **tables: Any
) -> None:
    tables = {"events": events(), **tables}
    made_of = config(**(dict.fromkeys(tables, "at") | (at or {})))
    known = {n: transform.known_at(made_of, n, pa.Table.from_pandas(t)) for n, t in tables.items()}
    made = transform.run(made_of, Path.cwd(), build, tables)
    transform.check_no_future(made_of, Path.cwd(), build, tables, known, made, CLOCKS if clocks is None else clocks)


def before(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    rows = tables["events"].sort_values(["id", "at"])
    return rows.assign(total=rows.groupby("id")["v"].cumsum(), last=rows.groupby("id")["v"].shift())


def ahead(column: str, how: Callable[[pd.DataFrame], Any]) -> Build:
    return lambda tables: {"made": (rows := before(tables)).assign(**{column: how(rows)})}


def stamped(shift: Callable[[Any], Any]) -> Build:
    return lambda tables: {"made": before(tables).assign(at=lambda t: shift(t["at"]))}


def test_what_uses_the_past_alone_passes(caplog: pytest.LogCaptureFixture) -> None:
    check(lambda tables: {"made": before(tables)})
    check(stamped(lambda at: at + pd.Timedelta(1, "us")))
    assert caplog.text == ""


LOOKS_AHEAD: dict[str, tuple[Build, str]] = {
    "the mean of all": (ahead("total", lambda t: t["v"].mean()), "total of id"),
    "hardly another": (
        ahead("total", lambda t: 5 * (1 + 1e-8 * (t["at"] == t["at"].max()).sum() * len(t))),
        "total of id",
    ),
    "of an entity": (ahead("total", lambda t: t.groupby("id")["v"].transform("last")), "total of id"),
    "whole numbers that differ by one in many": (ahead("n", lambda t: (1 << 60) + len(t)), "n of id"),
    "text": (ahead("word", lambda t: f"of {len(t)}"), "word of id"),
    "a time": (ahead("end", lambda t: t["at"].max()), "end of id"),
    "true and false": (ahead("late", lambda t: len(t) > 80), "late of id"),
    "null where there was a value": (ahead("last", lambda t: np.nan if len(t) > 80 else t["v"]), "is nan, and"),
    "a value where there was null": (ahead("last", lambda t: t["v"] if len(t) > 80 else np.nan), ", and nan"),
    "a list": (ahead("all", lambda t: [[len(t)]] * len(t)), "all of id"),
    "fewer rows": (
        lambda tables: {"made": before(tables).iloc[len(tables["events"]) // 2 :]},
        "rows of that time, and",
    ),
    "rows that the future takes away": (
        lambda tables: {"made": before(tables).iloc[:: 2 if len(tables["events"]) > 80 else 1]},
        "rows of that time, and",
    ),
    "a column that only the future has": (
        lambda tables: {"made": before(tables).assign(**({"x": 1} if len(tables["events"]) > 80 else {}))},
        "has a column 'x', and none",
    ),
    "a table that only the future has": (
        lambda tables: {"made": before(tables)} if len(tables["events"]) > 80 else {"other": before(tables)},
        "is not made",
    ),
    "a time of a second before": (stamped(lambda at: at - pd.Timedelta(seconds=1)), "rows of that time, and"),
    "the start of the day": (
        lambda tables: {
            "made": tables["events"]
            .assign(at=lambda t: t["at"].dt.floor("D"))
            .groupby(["id", "at"], as_index=False)["v"]
            .sum()
        },
        "made",
    ),
}


@pytest.mark.parametrize("name", LOOKS_AHEAD)
def test_what_uses_the_future_is_refused(name: str) -> None:
    build, said = LOOKS_AHEAD[name]
    with pytest.raises(CheckFailed, match=said) as refused:
        check(build)
    assert refused.value.message.startswith("features.transform looks ahead: made ")
    assert refused.value.hint == "at each row use only rows before its time"


@pytest.mark.parametrize("seed", range(5))
def test_a_snapshot_of_today_hides_nothing(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Many rows of one late moment: the other source is cut all the same, and the snapshot is named."""
    snapshot = pd.DataFrame({"id": range(500), "at": START + pd.Timedelta(days=400 + seed), "age": 7})
    check(lambda tables: {"made": before(tables)}, customers=snapshot, events=events(seed=seed))
    assert "not checked whether it looks ahead in customers: all its rows are of after 2026-01-" in caplog.text
    assert "in events" not in caplog.text
    with pytest.raises(CheckFailed, match="total of id"):
        check(ahead("total", lambda t: t["v"].mean()), customers=snapshot, events=events(seed=seed))


def test_what_cannot_be_looked_at_is_named(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    good: Build = lambda tables: {"made": before(tables)}  # noqa: E731
    check(good, planes=pd.DataFrame({"id": [1]}), at={"planes": None})
    assert "in planes: it has no timestamp" in caplog.text
    caplog.clear()
    check(good, clocks={})
    assert "no view of features.use reads a file that it makes" in caplog.text
    caplog.clear()
    check(stamped(lambda at: START + pd.Timedelta(days=-1)), events=events().assign(at=START))
    assert "in events: all its rows are of after 2025-12-31T23:59:59" in caplog.text
    caplog.clear()
    check(stamped(lambda at: at + pd.Timedelta(days=99)))
    assert "no source has rows of a later time than what it makes" in caplog.text
    caplog.clear()
    late: Build = lambda t: {"made": before(t), "more": before(t).assign(at=START + pd.Timedelta(days=99))}  # noqa: E731
    check(late, clocks=CLOCKS | {"more": (["id"], ["at"])})
    assert "for more: all its rows are of after" in caplog.text


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="has no column 'when'"):
        check(lambda tables: {"made": before(tables)}, clocks={"made": (["id"], ["when"])})
    with pytest.raises(DataError, match="a table 'other', which it does not make"):
        check(lambda tables: {"made": before(tables)}, clocks={"other": (["id"], ["at"])})
    with pytest.raises(StageError, match=r"with the rows up to 2026-01-0.* alone, .*ZeroDivisionError"):
        check(lambda tables: {"made": before(tables).assign(x=1 / (len(tables["events"]) // 80))})


def test_a_row_that_was_written_down_late_is_of_the_future() -> None:
    rows = events().assign(written=lambda t: t["at"] + pd.Timedelta(days=2))
    late = config(events="at").model_dump(exclude_none=True, exclude_unset=True)
    late["data"]["sources"]["events"]["created"] = "written"
    made_of = Config.model_validate(late)
    known = {"events": transform.known_at(made_of, "events", pa.Table.from_pandas(rows))}
    assert (known["events"] == rows["written"].to_numpy("datetime64[us]")).all()
    for build, refused in (
        (lambda tables: {"made": before(tables)}, True),
        (lambda tables: {"made": before(tables).assign(at=lambda t: t["written"])}, False),
    ):
        made = transform.run(made_of, Path.cwd(), build, {"events": rows})
        words = (made_of, Path.cwd(), build, {"events": rows}, known, made, CLOCKS)
        if refused:
            with pytest.raises(CheckFailed, match="rows of that time"):
                transform.check_no_future(*words)
        else:
            transform.check_no_future(*words)


def test_digits_at_the_end_of_a_sum_are_no_difference() -> None:
    def build(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        made = before(tables)
        return {"made": made.assign(total=made["total"] * (1 + 1e-13 * len(made)), zero=1e-14 * len(made) * made["v"])}

    check(lambda tables: {"made": build(tables)["made"].drop(columns="zero")})
