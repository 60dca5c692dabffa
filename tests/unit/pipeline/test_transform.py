"""A transform that looks ahead is refused, and what cannot be looked at is named."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mlops_glue import layout, tables
from mlops_glue.config import Config
from mlops_glue.errors import CheckFailed, ConfigError, DataError, StageError
from mlops_glue.pipeline import transform

START = pd.Timestamp("2026-01-01", tz="UTC")
CLOCKS = {"made": (["id"], ["at"])}
Build = Callable[[dict[str, pd.DataFrame]], dict[str, pd.DataFrame]]


def config(transform: str = "m:f", created: str | None = None, **clocks: Any) -> Config:
    sources = {name: {"path": f"{name}.csv", **({"timestamp": at} if at else {})} for name, at in clocks.items()}
    if created:
        sources["events"]["created"] = created
    data = {"sources": sources, "labels": {"source": "events", "target": "y"}}
    return Config.model_validate(
        {"glue": 1, "project": "p", "data": data, "train": {}, "features": {"transform": transform}}
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
    checked = partial(transform.run, "m:f", Path.cwd(), build)
    transform.check_no_future(checked, tables, known, checked(tables), CLOCKS if clocks is None else clocks)


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
    "null where there was a value": (ahead("last", lambda t: np.nan if len(t) > 80 else t["v"]), "is nan, but"),
    "a value where there was null": (ahead("last", lambda t: t["v"] if len(t) > 80 else np.nan), ", but nan"),
    "a list": (ahead("all", lambda t: [[len(t)]] * len(t)), "all of id"),
    "fewer rows": (
        lambda tables: {"made": before(tables).iloc[len(tables["events"]) // 2 :]},
        "rows up to then, but",
    ),
    "rows that the future takes away": (
        lambda tables: {"made": before(tables).iloc[:: 2 if len(tables["events"]) > 80 else 1]},
        "rows up to then, but",
    ),
    "a column that only the future has": (
        lambda tables: {"made": before(tables).assign(**({"x": 1} if len(tables["events"]) > 80 else {}))},
        "has a column 'x', but not",
    ),
    "a table that only the future has": (
        lambda tables: {"made": before(tables)} if len(tables["events"]) > 80 else {"other": before(tables)},
        "is not returned",
    ),
    "a time of a second before": (stamped(lambda at: at - pd.Timedelta(seconds=1)), "rows up to then, but"),
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
    assert refused.value.hint == "for each row, use only rows from before its time"


@pytest.mark.parametrize("seed", range(5))
def test_a_snapshot_of_today_hides_nothing(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Many rows of one late moment: the other source is cut all the same, and the snapshot is named."""
    snapshot = pd.DataFrame({"id": range(500), "at": START + pd.Timedelta(days=400 + seed), "age": 7})
    check(lambda tables: {"made": before(tables)}, customers=snapshot, events=events(seed=seed))
    assert "not checked whether it looks ahead in customers: all its rows are later than 2026-01-" in caplog.text
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
    assert "no view of features.use reads a table that it returns" in caplog.text
    caplog.clear()
    check(stamped(lambda at: START + pd.Timedelta(days=-1)), events=events().assign(at=START))
    assert "in events: all its rows are later than 2025-12-31T23:59:59" in caplog.text
    caplog.clear()
    check(stamped(lambda at: at + pd.Timedelta(days=99)))
    assert "no source has rows later than the rows that it returns" in caplog.text
    caplog.clear()
    late: Build = lambda t: {"made": before(t), "more": before(t).assign(at=START + pd.Timedelta(days=99))}  # noqa: E731
    check(late, clocks=CLOCKS | {"more": (["id"], ["at"])})
    assert "for more: all its rows are later than" in caplog.text


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="has no column 'when'"):
        check(lambda tables: {"made": before(tables)}, clocks={"made": (["id"], ["when"])})
    with pytest.raises(DataError, match="a table 'other', which it does not return"):
        check(lambda tables: {"made": before(tables)}, clocks={"other": (["id"], ["at"])})
    with pytest.raises(StageError, match=r"with only the rows up to 2026-01-0.*, .*ZeroDivisionError"):
        check(lambda tables: {"made": before(tables).assign(x=1 / (len(tables["events"]) // 80))})


def test_a_row_that_was_written_down_late_is_of_the_future() -> None:
    rows = events().assign(written=lambda t: t["at"] + pd.Timedelta(days=2))
    made_of = config(created="written", events="at")
    known = {"events": transform.known_at(made_of, "events", pa.Table.from_pandas(rows))}
    assert (known["events"] == rows["written"].to_numpy("datetime64[us]")).all()
    for build, refused in (
        (lambda tables: {"made": before(tables)}, True),
        (lambda tables: {"made": before(tables).assign(at=lambda t: t["written"])}, False),
    ):
        checked = partial(transform.run, "m:f", Path.cwd(), build)
        words = (checked, {"events": rows}, known, checked({"events": rows}), CLOCKS)
        if refused:
            with pytest.raises(CheckFailed, match="rows up to then"):
                transform.check_no_future(*words)
        else:
            transform.check_no_future(*words)


def test_digits_at_the_end_of_a_sum_are_no_difference() -> None:
    def build(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        made = before(tables)
        return {"made": made.assign(total=made["total"] * (1 + 1e-13 * len(made)), zero=1e-14 * len(made) * made["v"])}

    check(lambda tables: {"made": build(tables)["made"].drop(columns="zero")})


FRAME = pd.DataFrame({"id": [1, 2], "at": [START, START], "v": [1.0, 2.0]})


@pytest.mark.parametrize(
    "made, said, hint",
    [
        ([FRAME], "returns list", "return a dict of data frames by name"),
        ({"a": FRAME, "b": 3}, "returns dict", "return a dict of data frames by name"),
        ({"a": FRAME, "b": FRAME.head(0)}, "the table 'b' is empty", None),
        (
            {"a": pd.DataFrame([[1, 2, 3, 4, 5]], columns=["z", "y", "x", "y", "z"])},
            "the table 'a' has two columns 'y'",
            None,
        ),
    ],
)
def test_what_a_transform_may_not_give(made: Any, said: str, hint: str | None) -> None:
    with pytest.raises(DataError) as refused:
        transform.run("m:f", Path.cwd(), lambda tables: made, {"events": FRAME})
    assert refused.value.message == f"features.transform m:f: {said}" and refused.value.hint == hint


def test_a_transform_that_fails_is_told_with_the_lines_of_the_project_and_glues_own_errors_as_they_are(
    tmp_path: Path,
) -> None:
    (tmp_path / "own.py").write_text("def f(tables):\n    return tables['none']\n")
    space: dict[str, Any] = {}
    exec(compile((tmp_path / "own.py").read_text(), str(tmp_path / "own.py"), "exec"), space)
    with pytest.raises(StageError) as failed:
        transform.run("m:f", tmp_path, space["f"], {"events": FRAME})
    assert failed.value.message == ("features.transform m:f: KeyError: 'none'\n  own.py:2 in f: return tables['none']")

    def refuses(_: Any) -> Any:
        raise DataError("mine", hint="so")

    with pytest.raises(DataError) as mine:
        transform.run("m:f", tmp_path, refuses, {"events": FRAME})
    assert (mine.value.message, mine.value.hint) == ("mine", "so")


def test_a_transform_gets_copies_and_its_times_become_utc_to_the_microsecond() -> None:
    def build(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        rows = tables["events"]
        rows["v"] = 0.0
        at = rows["at"]
        return {
            "made": rows.assign(
                naive=at.dt.tz_localize(None).dt.as_unit("ns"),
                paris=at.dt.tz_convert("Europe/Paris").dt.as_unit("s"),
                day=[one.date() for one in at],
            )
        }

    given = FRAME.copy()
    (made,) = transform.run("m:f", Path.cwd(), build, {"events": given}).values()
    assert given.equals(FRAME) and (made["v"] == 0).all()
    for column in ("at", "naive", "paris"):
        assert str(made[column].dtype) == "datetime64[us, UTC]" and (made[column] == START).all()
    assert made["day"].dtype == object


def test_the_function_is_that_of_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of_transform.py").write_text("def f(tables):\n    return tables\nlimit = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert transform.load(config("of_transform:f", events="at"), tmp_path)({"a": FRAME})["a"].equals(FRAME)
    for wrong, said in (
        ("of_transform:limit", "glue.yaml features.transform: no 'limit' in of_transform (there are: 'f')"),
        ("nowhere:f", "glue.yaml features.transform: 'nowhere:f' does not import: No module named 'nowhere'"),
    ):
        with pytest.raises(ConfigError) as refused:
            transform.load(config(wrong, events="at"), tmp_path)
        assert refused.value.problems == [said]
        assert refused.value.hint == ("module:function" if "nowhere" in wrong else None)


def test_each_table_is_a_file_of_its_columns_alone(tmp_path: Path) -> None:
    transform.write(tmp_path, {"a": FRAME.set_index(pd.Index([7, 8], name="n")), "b": FRAME[["v"]]})
    for name, columns in (("a", ["id", "at", "v"]), ("b", ["v"])):
        written = tables.read_parquet(tmp_path / layout.FEATURE_TABLES / f"{name}.parquet")
        assert written.column_names == columns and written.column("v").to_pylist() == [1.0, 2.0]
    with pytest.raises(DataError) as refused:
        transform.write(tmp_path, {"c": pd.DataFrame({"mixed": [1, "x"]})})
    assert refused.value.message.startswith("features.transform: the table 'c': ")
    assert "for column mixed with type object" in refused.value.message and "', '" not in refused.value.message


def test_a_row_is_known_when_it_happened_and_was_written_down_whichever_is_later() -> None:
    table = pa.table({"at": ["2026-01-01", "2026-01-03"], "written": ["2026-01-02", "2026-01-02"]})
    made_of = config(events="at", plain=None)
    assert transform.known_at(made_of, "plain", table) is None
    assert transform.known_at(made_of, "events", table).astype("datetime64[D]").astype(str).tolist() == [
        "2026-01-01",
        "2026-01-03",
    ]
    made_of = config(created="written", events="at")
    assert transform.known_at(made_of, "events", table).astype("datetime64[D]").astype(str).tolist() == [
        "2026-01-02",
        "2026-01-03",
    ]


def hours(*numbers: float) -> Any:
    return np.datetime64("2026-01-01", "us") + np.array([int(60 * n) for n in numbers]) * np.timedelta64(1, "m")


@pytest.mark.parametrize(
    "known, stamps, cut",
    [
        ([hours(*range(11))], [hours(*range(11))], hours(7)),  # after 0.6 of the way from the first to the last
        ([hours(*range(11))], [hours(*range(10, -1, -1))], hours(7)),
        ([hours(9, 1, 8)], [hours(0, 1, 2, 3), hours(4, 5, 6, 7, 8, 9, 10)], hours(8)),  # of all tables
        ([hours(9), hours(8, 20), None, hours()], [hours(*range(11))], hours(8)),  # the first of any source
        ([hours(1, 6)], [hours(*range(11))], hours(6)),  # none is later: before the latest there is
        ([hours(1, 3), hours(2)], [hours(*range(11))], hours(3)),
        ([hours(0)], [hours(*range(11))], None),  # nothing is made before it
        ([hours(0.5)], [hours(0, 1, 2)], hours(0.5)),
        ([None, hours()], [hours(1)], None),
        ([hours(1)], [np.array(["NaT", "NaT"], "datetime64[us]")], None),
        ([hours(5)], [np.concatenate([hours(1, 2), np.array(["NaT"] * 9, "datetime64[us]")])], hours(5)),
    ],
)
def test_where_the_future_is_cut_off(known: list[Any], stamps: list[Any], cut: Any) -> None:
    found = transform.time_cut(dict(enumerate(known)), dict(enumerate(stamps)))  # type: ignore[arg-type]
    assert found is None if cut is None else found == cut[0] - np.timedelta64(1, "us")


NAN = float("nan")


@pytest.mark.parametrize(
    "a, b, same",
    [
        ([1.0, 1.0, 0.0], [1 + 0.9e-9, 1 + 1.1e-9, 0.0], [True, False, True]),  # to the last digits
        ([-1e6, 0.0, 0.0], [-1e6, 0.9e-6, 1.1e-6], [True, True, False]),  # of nearly nothing, by the greatest
        ([np.inf, 0.0, -np.inf], [np.inf, 1e-13, np.inf], [True, False, False]),
        ([1, 2], [1.0, 2.5], [True, False]),
        ([(1 << 60), 3], [(1 << 60) + 1, 3], [False, True]),
        ([True, False], [True, True], [True, False]),
        (["a", "b", None], ["a", "c", "a"], [True, False, False]),
        ([[1, 2], [3]], [[1, 2], [4]], [True, False]),
        ([[1], None], [[1], [2]], [True, False]),
        (pd.Series([1, 2, None], dtype="Int64"), pd.Series([1, 3, 2], dtype="Int64"), [True, False, False]),
        (pd.Series([1.5, None], dtype="Float64"), [1.5, 2.0], [True, False]),
        (pd.Series(["a", "b"], dtype="category"), ["a", "c"], [True, False]),
        (["1", "2"], [1.0, 2.0], [False, False]),
        ([START, START], [START, START + pd.Timedelta(1, "us")], [True, False]),
        ([], [], []),
    ],
)
def test_what_counts_as_the_same_value(a: Any, b: Any, same: list[bool]) -> None:
    for one, other in ((a, b), (b, a)):
        assert transform.equal_values(pd.Series(one), pd.Series(other)).tolist() == same


def test_the_first_difference_is_told_by_its_row() -> None:
    old = pd.DataFrame({"id": [3, 4], "place": ["a", "b"], "at": [START, START], "v": [1.0, NAN], "w": ["x", "y"]})
    words = ["id", "place"], "at"
    assert transform.first_difference(old, old.copy(), *words) is None
    assert transform.first_difference(old, old.assign(more=1), *words) is None
    assert transform.first_difference(old, old.assign(w=["x", "z"]), *words) == (
        "w of id 4, place b at 2026-01-01 00:00:00+00:00 is y, but z"
    )
    assert transform.first_difference(old, old.assign(v=[2.0, 5.0], w="-"), *words) == (
        "v of id 3, place a at 2026-01-01 00:00:00+00:00 is 1.0, but 2.0"
    )
    assert transform.first_difference(old, old.assign(v=[1.0, 0.0]), *words) == (
        "v of id 4, place b at 2026-01-01 00:00:00+00:00 is nan, but 0.0"
    )
    assert transform.first_difference(old, old.drop(columns="v"), *words) == "has a column 'v', but not"
    many = pd.concat([old] * 600, ignore_index=True)
    assert transform.first_difference(many, many.tail(1100), *words) == "has 1,200 rows up to then, but 1,100"


def test_a_row_is_known_at_the_latest_of_its_clocks() -> None:
    made = {"t": pd.DataFrame({"id": 1, "at": [START] * 3, "seen": [START + pd.Timedelta(days=d) for d in (-1, 1, 2)]})}
    made["t"]["seen"] = made["t"]["seen"].where([True, True, False])
    found = transform.row_times(made, "t", ["id"], ["at", "seen"])
    assert found.dtype == "datetime64[us]" and found.astype("datetime64[D]").astype(str).tolist() == [
        "2026-01-01",
        "2026-01-02",
        "NaT",
    ]
    for keys, columns, said in (
        (["ids", "at"], ["seen"], "has no column 'ids' (did you mean 'id'?)"),
        (["id"], ["at", "sees"], "has no column 'sees' (did you mean 'seen'?)"),
    ):
        with pytest.raises(DataError) as refused:
            transform.row_times(made, "t", keys, columns)
        assert refused.value.message == f"features.transform: the table 't' {said}"
    with pytest.raises(DataError) as refused:
        transform.row_times(made, "u", ["id"], ["at"])
    assert refused.value.message == "features.transform: a view reads a table 'u', which it does not return"


def test_what_is_said_where_nothing_can_be_judged_and_where_the_second_run_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    good: Build = lambda tables: {"made": before(tables)}  # noqa: E731
    said = "warning: features.transform: not checked whether it looks ahead"

    def told() -> list[str]:
        lines = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return lines

    check(good, clocks={})
    assert told() == [f"{said}: no view of features.use reads a table that it returns"]
    check(stamped(lambda at: at + pd.Timedelta(days=99)))
    assert told() == [
        f"{said}: no source has rows later than the rows that it returns, so none could be removed",
    ]
    later = pd.DataFrame({"id": [1], "at": [START + pd.Timedelta(days=400)]})
    check(good, planes=pd.DataFrame({"id": [1]}), later=later, at={"planes": None})
    assert told() == [
        f"{said} in planes: it has no timestamp, so none was removed",
        f"{said} in later: all its rows are later than 2026-01-03T11:59:59, so none was removed",
    ]
    late: Build = lambda t: {"made": before(t), "more": before(t).assign(at=START + pd.Timedelta(days=99))}  # noqa: E731
    check(late, clocks={"more": (["id"], ["at"])} | CLOCKS)
    assert told() == [f"{said} for more: all its rows are later than 2026-01-05T02:59:59"]
    with pytest.raises(StageError) as failed:
        check(lambda tables: {"made": before(tables).assign(x=1 / (len(tables["events"]) // 80))})
    assert failed.value.message.startswith(
        "with only the rows up to 2026-01-03T11:59:59, features.transform m:f: ZeroDivisionError: "
    )
    assert failed.value.hint == "it is run again on a part of the data, to check that it does not look ahead"
    with pytest.raises(CheckFailed) as refused:
        check(ahead("word", lambda t: f"of {len(t)}"))
    assert refused.value.message == (
        "features.transform looks ahead: made word of id 0 at 2026-01-01 14:00:00+00:00 is of 100, but of 60 "
        "without what happened after 2026-01-03T11:59:59"
    )


def test_a_table_that_cannot_be_judged_does_not_hide_the_next_and_rows_may_come_in_any_order() -> None:
    def build(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        rows = before(tables)
        late = rows.assign(at=START + pd.Timedelta(days=99))
        return {"more": late, "made": rows.assign(total=rows["v"].mean())}

    with pytest.raises(CheckFailed, match="total of id"):
        check(build, clocks={"more": (["id"], ["at"])} | CLOCKS)
    just: Build = lambda t: {  # noqa: E731
        "made": before(t),
        "more": before(t).assign(at=START + pd.Timedelta(60, "h") - pd.Timedelta(1, "us"), all=len(t["events"])),
    }
    with pytest.raises(CheckFailed, match="looks ahead: more has 100 rows up to then, but 60"):
        check(just, clocks=CLOCKS | {"more": (["id"], ["at"])})  # just before what is taken away
    check(lambda tables: {"made": before(tables).sample(frac=1, random_state=len(tables["events"]))})
