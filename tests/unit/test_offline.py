"""The offline store by itself: what each join, window and refusal gives, on tables that one can read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_glue.errors import DataError, UsageError

pytest.importorskip("feast")

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
UTC_US = pa.timestamp("us", "UTC")
KINDS = {"id": "Int64", "shop": "String", "x": "Int64", "y": "String", "f": "Float32"}


def at(*hours: float | None) -> Any:
    """Moments, in hours after noon."""
    return pa.array([None if one is None else NOON + timedelta(hours=one) for one in hours], UTC_US)


def config(root: Path, *, with_timestamps: bool = False) -> Any:
    return SimpleNamespace(repo_path=root, offline_store=SimpleNamespace(with_timestamps=with_timestamps))


def source(path: str = "t.parquet", *, created: str = "", **other: Any) -> Any:
    from feast import FileSource

    return FileSource(name="s", path=path, timestamp_field="at", created_timestamp_column=created, **other)


def view(keys: str = "id", features: str = "x", *, name: str = "v", ttl_s: float = 0, of: Any = None) -> Any:
    import feast
    from feast import Entity, FeatureView, Field, ValueType

    kind = {"id": ValueType.INT64, "shop": ValueType.STRING}
    return FeatureView(
        name=name,
        entities=[Entity(name=one, join_keys=[one], value_type=kind[one]) for one in keys.split()],
        ttl=timedelta(seconds=ttl_s),
        schema=[Field(name=one, dtype=getattr(feast.types, KINDS[one])) for one in f"{features} {keys}".split()],
        source=of or source(),
    )


def write(root: Path, name: str = "t.parquet", **columns: Any) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), root / name)


def ask(hours: Any, **columns: Any) -> pd.DataFrame:
    """Rows of these entities at these hours after noon."""
    return pd.DataFrame({**columns, "event_timestamp": [NOON + timedelta(hours=one) for one in hours]})


@pytest.fixture
def join(tmp_path: Path) -> Callable[..., pa.Table]:
    from mlops_glue.adapters.feast import offline

    def joined(views: Any, refs: list[str], frame: Any, **other: Any) -> pa.Table:
        return offline.join(config(tmp_path), views if isinstance(views, list) else [views], refs, frame, **other)

    return joined


@pytest.fixture
def store() -> Any:
    from mlops_glue.adapters.feast.offline import AsofOfflineStore

    return AsofOfflineStore


Join = Callable[..., pa.Table]


@pytest.mark.parametrize("created", [False, True])
def test_the_latest_that_was_known_at_its_time(join: Join, tmp_path: Path, created: bool) -> None:
    """In no order; a null key is nobody; the moment itself counts; other columns stay as they were."""
    hours = (3, 1, 2, 0, 1)
    more = {"made": at(*hours)} if created else {}
    write(tmp_path, id=[1, 1, 2, None, 9], x=[13, 11, 22, 99, 19], at=at(*hours), **more)
    frame = ask([0, 1, 2.5, 3, 5, 2, 5], id=[1, 1, 1, 1, 2, 2, 7], note=list("abcdefg"))
    got = join(view(of=source(created="made" if created else "")), ["v:x"], frame)
    assert got["x"].to_pylist() == [None, 11, 11, 13, 22, 22, None]
    assert got.column_names == ["id", "note", "event_timestamp", "x"] and got["note"].to_pylist() == list("abcdefg")
    assert got["event_timestamp"].to_pylist() == [NOON + timedelta(hours=one) for one in (0, 1, 2.5, 3, 5, 2, 5)]
    assert str(got.schema.field("event_timestamp").type).endswith("tz=UTC]")


def test_what_was_written_down_later_counts_from_then(join: Join, tmp_path: Path) -> None:
    """An old event that comes late does not hide a newer one; what was never written down was never known."""
    write(
        tmp_path,
        **{"id": [1] * 5, "x": [1, 2, 3, 4, 5], "at": at(1, 2, 1.5, 3, None), "made": at(1, 2, 4, None, 1)},
    )
    frame = ask([0.5, 1, 2, 4, 9], id=[1] * 5)
    got = join(view(of=source(created="made")), ["v:x"], frame, with_timestamps=True)
    assert got["x"].to_pylist() == [None, 1, 2, 2, 2]
    assert got["v__known_timestamp"].to_pylist() == [None, *at(1, 2, 2, 2).to_pylist()]
    write(tmp_path, id=[1, 1], x=[1, 2], at=at(1, 2), made=at(5, 3))  # known at 5 of an hour before: hidden
    got = join(view(of=source(created="made")), ["v:x"], ask([2, 3, 5], id=[1] * 3), with_timestamps=True)
    assert got["x"].to_pylist() == [None, 2, 2] and got["v__known_timestamp"].to_pylist() == [
        None,
        *at(3, 3).to_pylist(),
    ]


@pytest.mark.parametrize(
    ("made", "wanted"),
    [((1, 1, 1), 3), ((1, 3, 2), 2), ((3, 1, 2), 1)],
    ids=["by place", "by creation", "whichever came first"],
)
def test_of_one_event_the_last_written_counts(join: Join, tmp_path: Path, made: Any, wanted: int) -> None:
    write(tmp_path, id=[1] * 3, x=[1, 2, 3], at=at(1, 1, 1), made=at(*made))
    assert join(view(of=source(created="made")), ["v:x"], ask([9], id=[1]))["x"].to_pylist() == [wanted]
    assert join(view(), ["v:x"], ask([9], id=[1]))["x"].to_pylist() == [3]  # without a time of writing: its place


@pytest.mark.parametrize("unit", ["us", "ns"])
@pytest.mark.parametrize(
    ("ttl_s", "age_us", "there"),
    [(60, 60_000_000, True), (60, 60_000_001, False), (0, 10**15, True), (1e-6, 1, True), (1e-6, 2, False)],
)
def test_what_is_just_as_old_as_the_ttl_counts(
    join: Join, tmp_path: Path, unit: str, ttl_s: float, age_us: int, there: bool
) -> None:
    write(tmp_path, id=[1], x=[7], at=at(0).cast(pa.timestamp(unit, "UTC")))
    frame = ask([0], id=[1])
    frame["event_timestamp"] += pd.Timedelta(microseconds=age_us)
    assert join(view(ttl_s=ttl_s), ["v:x"], frame)["x"].to_pylist() == [7 if there else None]


@pytest.mark.parametrize("late", [False, True])
def test_of_several_keys_all_must_be_equal(join: Join, tmp_path: Path, late: bool) -> None:
    ids, shops = [1, 1, 2, 1], ["a", "b", "a", "a"]
    write(tmp_path, id=ids, shop=shops, x=[1, 2, 3, 4], at=at(0, 0, 0, 0 if late else 1))
    frame = ask([1, 1, 1, 0.5], id=[1, 1, 2, 1], shop=["a", "b", "a", "a"])
    assert join(view("id shop"), ["v:x"], frame)["x"].to_pylist() == [4, 2, 3, 4 if late else 1]


def test_views_by_other_names_and_keys(join: Join, tmp_path: Path) -> None:
    """An alias, a column that the key is called in the rows, and the names of all views side by side."""
    write(tmp_path, id=[1, 2], x=[11, 22], y=["one", "two"], at=at(0, 0))
    plain, other = view(features="x y"), view(features="x y").with_name("w").with_join_key_map({"id": "buyer"})
    frame = ask([1, 1], id=[1, 2], buyer=[2, 9])
    got = join([plain, other], ["v:y", "w:x", "v:x"], frame, full_feature_names=True)
    assert got.column_names == ["id", "buyer", "event_timestamp", "v__y", "v__x", "w__x"]
    assert got.select(["v__y", "v__x", "w__x"]).to_pydict() == {
        "v__y": ["one", "two"],
        "v__x": [11, 22],
        "w__x": [22, None],
    }
    with pytest.raises(UsageError, match="two columns would be named 'x'") as refused:
        join([plain, other], ["v:x", "w:x"], frame)
    assert refused.value.hint == "full_feature_names=True"
    with pytest.raises(UsageError, match="two columns would be named 'x'"):
        join(plain, ["v:x"], frame.assign(x=1))
    timed = join([plain, other], ["v:x", "w:y"], frame, with_timestamps=True)
    assert timed.column_names[3:] == ["x", "v__known_timestamp", "y", "w__known_timestamp"]
    assert timed["w__known_timestamp"].to_pylist() == [NOON, None]
    assert join(plain, [], frame).column_names == ["id", "buyer", "event_timestamp"]


def test_columns_and_files_by_whatever_name(join: Join, tmp_path: Path) -> None:
    """Quotes in them, names that the view has for them, and several files, of which the last in order is the newer."""
    write(tmp_path, "it's/b.parquet", **{'a "k"': [1, 2], "X y": [3, 4], "at": at(1, 1)})
    write(tmp_path, "it's/a.parquet", **{'a "k"': [1, 1], "X y": [1, 2], "at": at(1, 0)})
    (tmp_path / "it's/c.txt").write_text("no table")
    names = {'a "k"': "id", "X y": "x", "gone": "y"}
    for path in ("it's", "it's/*.parquet"):
        got = join(view(of=source(path, field_mapping=names)), ["v:x"], ask([1, 0, 1], id=[1, 1, 2]))
        assert got["x"].to_pylist() == [3, 2, 4], path


def test_without_an_entity_there_is_one_row_for_all(join: Join, tmp_path: Path) -> None:
    from feast import FeatureView, Field
    from feast.types import Int64

    write(tmp_path, x=[1, 2, 3], at=at(0, 1, 1))
    alone = FeatureView(name="v", entities=[], ttl=None, schema=[Field(name="x", dtype=Int64)], source=source())
    assert join(alone, ["v:x"], ask([0.5, 1, -1], n=[1, 2, 3]))["x"].to_pylist() == [1, 3, None]


@pytest.mark.parametrize("frame_unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("file_unit", ["ms", "us", "ns"])
def test_times_of_any_unit_are_compared_as_they_are(
    join: Join, tmp_path: Path, frame_unit: str, file_unit: str
) -> None:
    write(tmp_path, id=[1, 1], x=[1, 2], at=at(1, 2).cast(pa.timestamp(file_unit)))  # without a zone it is UTC
    frame = ask([0, 1, 1.5, 2, 3], id=[1] * 5)
    frame["event_timestamp"] = frame["event_timestamp"].dt.as_unit(frame_unit)
    assert join(view(), ["v:x"], frame)["x"].to_pylist() == [None, 1, 1, 2, 2]


def test_nanoseconds_are_rounded_so_that_nothing_is_known_early(join: Join, tmp_path: Path) -> None:
    """The time of a row of features is rounded up to the microsecond, that of a label down."""
    moment = pd.Timestamp(NOON) + pd.Timedelta(nanoseconds=1500)
    frame = pd.DataFrame({"id": [1, 1], "event_timestamp": [moment, moment + pd.Timedelta(nanoseconds=500)]})
    write(tmp_path, id=[1], x=[1], at=pa.array([moment.value], pa.timestamp("ns", "UTC")))
    assert join(view(), ["v:x"], frame)["x"].to_pylist() == [None, 1]
    write(tmp_path, id=[1], x=[1], at=pa.array([moment.value // 1000], UTC_US))
    assert join(view(), ["v:x"], frame)["x"].to_pylist() == [1, 1]
    write(tmp_path, id=[1], x=[1], at=at(-1).cast(pa.timestamp("ns")), made=at(0))  # one of each
    got = join(view(of=source(created="made")), ["v:x"], frame, with_timestamps=True)
    assert got["x"].to_pylist() == [1, 1] and got["v__known_timestamp"].to_pylist() == [NOON] * 2


def test_times_that_nanoseconds_cannot_hold(join: Join, tmp_path: Path) -> None:
    write(tmp_path, id=[1], x=[1], at=at(0).cast(pa.timestamp("ns")))
    times = np.array(["1500-01-01", "3000-01-01"], "datetime64[us]")
    frame = pd.DataFrame({"id": [1, 1], "event_timestamp": times})
    assert join(view(), ["v:x"], frame)["x"].to_pylist() == [None, 1]


@pytest.mark.parametrize(
    "clock",
    [
        [date(2026, 3, 1), date(2026, 3, 2)],
        ["2026-03-01", "2026-03-02T00:00:00Z"],
        ["2026-03-01 00:00:00", "2026-03-02T02:00:00+02:00"],
        pa.array(["2026-03-01", "2026-03-02"], pa.large_string()),
        pa.array(["2026-03-01", "2026-03-02"]).dictionary_encode(),
    ],
    ids=str,
)
def test_days_and_text_are_times_too(join: Join, tmp_path: Path, clock: Any) -> None:
    write(tmp_path, id=[1, 1], x=[1, 2], at=clock)
    hours = pd.to_datetime(["2026-02-28T23:59:59", "2026-03-01T00:00:00", "2026-03-01T23:59:59", "2026-03-02T00:00:00"])
    frame = pd.DataFrame({"id": [1] * 4, "event_timestamp": hours})
    assert join(view(), ["v:x"], frame)["x"].to_pylist() == [None, 1, 1, 2]


@pytest.mark.parametrize(
    ("frame", "message", "hint"),
    [
        (ask([0], ide=[1]), "entity_df has no column 'id', which {t} (view 'v') is joined by", "did you mean 'ide'?"),
        (
            ask([0], id=["1"]),
            "'id' is string in entity_df and int64 in {t} (view 'v'): they can never be equal",
            "give both tables the same type",
        ),
        (ask([0], id=[1.5]), "'id' is double in entity_df and int64 in {t} (view 'v'): they can never be equal", None),
    ],
)
def test_rows_that_are_refused(join: Join, tmp_path: Path, frame: Any, message: str, hint: str | None) -> None:
    write(tmp_path, id=[1], x=[4], at=at(0))
    with pytest.raises(DataError) as refused:
        join(view(), ["v:x"], frame)
    assert refused.value.message.startswith(message.format(t=tmp_path / "t.parquet"))
    assert hint is None or refused.value.hint == hint


@pytest.mark.parametrize(
    ("mine", "theirs", "wanted"),
    [
        ([1.0, None, 2.0], pa.array([1, 2], pa.int64()), [1, None, 2]),
        ([None, None, None], pa.array([1, 2], pa.int64()), [None] * 3),
        ([1, 2, 9], pa.array([1.0, 2.0]), [1, 2, None]),
        (pd.Categorical(["a", "b", "c"]), pa.array(["a", "b"], pa.large_string()), [1, 2, None]),
        (["a", "b", None], pa.array(["a", "b"]).dictionary_encode(), [1, 2, None]),
        ([b"a", b"b", b"c"], pa.array([b"a", b"b"], pa.large_binary()), [1, 2, None]),
        ([True, False, None], pa.array([True, False]), [1, 2, None]),
    ],
    ids=str,
)
def test_keys_that_can_be_equal(join: Join, tmp_path: Path, mine: Any, theirs: Any, wanted: Any) -> None:
    write(tmp_path, id=theirs, x=[1, 2], at=at(0, 0))
    assert join(view(), ["v:x"], ask([1] * 3, id=mine))["x"].to_pylist() == wanted


@pytest.mark.parametrize(
    ("columns", "message", "hint"),
    [
        ({"id": [1], "xx": [1], "at": at(0)}, "{t} (view 'v') has no column 'x'", "did you mean 'xx'?"),
        ({"id": [1], "x": [1], "at": [5]}, "{t} (view 'v'): column 'at' is int64, not a time", None),
        ({"id": [1], "x": [1], "at": ["soon"]}, "DuckDB: Conversion Error: ", None),
        (
            {"id": [1], "x": [1], "X": [1], "at": at(0)},
            "{t} (view 'v'): columns ['x', 'X'] differ only in case",
            "rename all but one",
        ),
        (
            {"id": [1], "x": [1.5], "at": at(0)},
            "v:x is declared as Int64, but the file has double: Float value 1.5",
            None,
        ),
        ({"id": [1], "x": [[1]], "at": at(0)}, "v:x is declared as Int64, but the file has list", None),
    ],
)
def test_files_that_are_refused(join: Join, tmp_path: Path, columns: Any, message: str, hint: str | None) -> None:
    write(tmp_path, **columns)
    with pytest.raises(DataError) as refused:
        join(view(), ["v:x"], ask([1], id=[1]))
    told = refused.value.message
    assert told.startswith(message.format(t=tmp_path / "t.parquet")) and "\n" not in told
    assert hint is None or refused.value.hint == hint


def test_sources_that_are_refused(join: Join, tmp_path: Path) -> None:
    from feast import RequestSource
    from feast.data_format import DeltaFormat

    def refusal(of: Any) -> tuple[str, str | None]:
        from mlops_glue.adapters.feast.parquet_source import ParquetSource

        with pytest.raises(DataError) as refused:
            ParquetSource.of(config(tmp_path), of, "v")
        return refused.value.message, refused.value.hint

    told, hint = refusal(source())
    assert told == f"{tmp_path / 't.parquet'} (view 'v'): the file does not exist"
    assert hint == "the path is relative to feature_store.yaml"
    (tmp_path / "folder").mkdir()
    assert refusal(source("folder"))[0] == f"{tmp_path / 'folder'} (view 'v'): the file does not exist"
    (tmp_path / "t.parquet").write_bytes(b"torn")
    assert refusal(source())[0].startswith(f"{tmp_path / 't.parquet'} (view 'v'): cannot be read as parquet: ")
    no_parquet = ("source 's' (view 'v') is not a Parquet file", "offline_store: {type: duckdb}")
    assert refusal(source(file_format=DeltaFormat())) == no_parquet == refusal(RequestSource(name="s", schema=[]))
    elsewhere = "s3://bucket/t.parquet (view 'v') is not on this machine"
    assert refusal(source("s3://bucket/t.parquet")) == (elsewhere, "offline_store: {type: duckdb}, or dvc pull")


def window(root: Path, start: float, end: float, *, keys: Any = ("id",), created: str | None = None) -> Any:
    """The latest rows as SQL gives them, with their times."""
    from mlops_glue.adapters.feast import offline
    from mlops_glue.adapters.feast.parquet_source import ParquetSource

    times = [NOON + timedelta(hours=one) for one in (start, end)]
    found = ParquetSource.of(config(root), source(created=created or ""))
    with offline.database() as connection:
        got = connection.sql(offline.latest(found, [*keys], ["x"], *times)).to_arrow_table()
    return got.append_column("at", got["event"].cast(UTC_US)).rename_columns(
        {"k0": "id", "f0": "x"} if keys else {"f0": "x"}
    )


def test_the_latest_of_each_in_a_window(tmp_path: Path) -> None:
    """Both ends count; of one event the last written; what was written down after the end was not known."""
    write(
        tmp_path,
        **{
            "id": [2, 1, 1, 1, 2, 3],
            "x": [1, 2, 3, 4, 5, 6],
            "at": at(1, 2, 2, 0, 3.5, None),
            "made": at(1, 2, 2, 9, 4, 1),
        },
    )
    assert window(tmp_path, 0, 3).select(["id", "x", "at"]).to_pydict() == {
        "id": [1, 2],
        "x": [3, 1],
        "at": at(2, 1).to_pylist(),
    }
    assert window(tmp_path, 0, 3.5)["x"].to_pylist() == [3, 5]
    assert window(tmp_path, 0, 1)["x"].to_pylist() == [4, 1]
    assert window(tmp_path, 1.5, 2)["x"].to_pylist() == [3]
    assert window(tmp_path, 3.6, 9)["x"].to_pylist() == []
    timed = window(tmp_path, 0, 3.5, created="made")
    assert timed["x"].to_pylist() == [3, 1]
    assert window(tmp_path, 0, 4, created="made")["x"].to_pylist() == [3, 5]
    assert window(tmp_path, 0, 0, created="made")["x"].to_pylist() == []
    assert window(tmp_path, 0, 9, keys=())["x"].to_pylist() == [5]
    write(tmp_path, id=[1, 1, 1], x=[1, 2, 3], at=at(1, 1, 1), made=at(1, 3, 2))
    assert window(tmp_path, 0, 9, created="made")["x"].to_pylist() == [2]


def test_all_rows_of_a_window(store: Any, tmp_path: Path) -> None:
    """Without features every column is taken, which is how Feast asks for all."""
    write(tmp_path, id=[1, 2, 3, 4], x=[1, 2, 3, 4], z=[0] * 4, at=at(0, 1, 2, None), made=at(0, 5, 2, 0))

    def pulled(features: list[str], start: float | None, end: float | None, created: str | None = None) -> Any:
        times = [None if one is None else NOON + timedelta(hours=one) for one in (start, end)]
        job = store.pull_all_from_table_or_query(config(tmp_path), source(), ["id"], features, "at", created, *times)
        return job.to_arrow().sort_by("id")

    assert pulled(["x"], None, None).select(["id", "x"]).to_pydict() == {"id": [1, 2, 3], "x": [1, 2, 3]}
    assert pulled(["x"], None, None).column_names == ["id", "x", "at"]
    assert sorted(pulled([], None, None).column_names) == ["at", "id", "made", "x", "z"]
    assert pulled(["x"], 1, None)["id"].to_pylist() == [2, 3] and pulled(["x"], None, 1)["id"].to_pylist() == [1, 2]
    assert pulled(["x"], 0, 2, "made")["id"].to_pylist() == [1, 3]
    assert pulled(["x"], None, None, "made").column_names == ["id", "x", "at", "made"]
    assert pulled(["x", "id"], None, None).column_names == ["id", "x", "at"]  # no name twice
    with pytest.raises(DataError, match="has no column 'att'"):
        store.pull_all_from_table_or_query(config(tmp_path), source(), ["id"], ["x"], "att").to_arrow()


@pytest.mark.parametrize("created", [None, "made"])
def test_a_window_of_nanoseconds_ends_at_its_end(tmp_path: Path, created: str | None) -> None:
    """Both ends count, and nothing a nanosecond beyond."""
    first, last = pd.Timestamp(NOON).value, pd.Timestamp(NOON + timedelta(hours=1)).value
    times = pa.array([first - 1000, first, last, last + 1], pa.timestamp("ns", "UTC"))
    write(tmp_path, id=[1, 2, 3, 4], x=[1, 2, 3, 5], at=times, made=times)
    latest = window(tmp_path, 0, 1, created=created)
    assert latest.select(["id", "x"]).to_pydict() == {"id": [2, 3], "x": [2, 3]}
    assert latest["at"].to_pylist() == at(0, 1).to_pylist()


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_times_that_the_file_calls_otherwise(join: Join, store: Any, tmp_path: Path, unit: str) -> None:
    """A join takes the names that the source maps to; a window takes the file's, as Feast asks for them."""
    written, made = (at(*hours).cast(pa.timestamp(unit, "UTC")) for hours in ((0, 1, 2), (0, 3, 2)))
    write(tmp_path, who=[1, 1, 1], value=[1, 2, 3], When=written, **{"written down": made})
    names = {"who": "id", "value": "x", "When": "at", "written down": "made"}
    mapped = source(created="made", field_mapping=names)
    got = join(view(of=mapped), ["v:x"], ask([0, 1, 2, 3], id=[1] * 4), with_timestamps=True)
    assert got["x"].to_pylist() == [1, 1, 3, 3]
    assert got["v__known_timestamp"].to_pylist() == at(0, 0, 2, 2).to_pylist()
    of = [config(tmp_path), mapped, ["who"], ["value"], "When", "written down", NOON, NOON + timedelta(hours=2)]
    pulled = store.pull_all_from_table_or_query(*of).to_arrow()
    assert pulled.column_names == ["who", "value", "When", "written down"] and sorted(pulled["value"].to_pylist()) == [
        1,
        3,
    ]
    with pytest.raises(DataError, match="has no column 'at'"):
        store.pull_all_from_table_or_query(*of[:4], "at", None, *of[6:]).to_arrow()


def asked(store: Any, root: Path, frame: Any, refs: list[str], **other: Any) -> Any:
    of = config(root, with_timestamps=other.pop("with_timestamps", False))
    registry = SimpleNamespace(list_on_demand_feature_views=lambda *_, **__: [])
    return store.get_historical_features(of, [view()], refs, frame, registry, "p", **other)


def test_a_job_of_historical_features(store: Any, tmp_path: Path) -> None:
    write(tmp_path, id=[1], x=[4], at=at(0))
    frame = ask([2, 1, 3], id=[1, 1, 2])
    job = asked(store, tmp_path, frame, ["v:x"])
    assert (job.full_feature_names, job.on_demand_feature_views) == (False, [])
    assert job.to_arrow()["x"].to_pylist() == [4, 4, None] and job.to_df()["x"].tolist()[:2] == [4, 4]
    named = asked(store, tmp_path, frame, ["v:x"], full_feature_names=True, with_timestamps=True)
    assert named.full_feature_names
    assert named.to_arrow().column_names == ["id", "event_timestamp", "v__x", "v__known_timestamp"]
    assert asked(store, tmp_path, frame.iloc[:0], ["v:x"]).to_arrow().num_rows == 0
    with pytest.raises(UsageError, match="does not write data sets"):
        job.persist(SimpleNamespace())
    for given, said in (("SELECT 1", "an SQL query"), (None, "none (start_date and end_date)")):
        with pytest.raises(UsageError) as refused:
            asked(store, tmp_path, given, ["v:x"])
        assert refused.value.message == f"entity_df is {said}; this store needs a pandas frame"
        assert refused.value.hint == "pass the rows as a DataFrame"


@pytest.mark.parametrize(
    ("values", "declared", "wanted"),
    [
        (pa.array([1.0, float("nan"), None]), "Int64", [1, None, None]),
        (pa.array([1, 2], pa.int64()), "Int32", [1, 2]),
        (pa.array([0.1, 1e300]), "Float32", [np.float32(0.1), float("inf")]),
        (pa.array([NOON], pa.timestamp("ns", "UTC")), "UnixTimestamp", [NOON]),
        (pa.array([[1.0], None]), "Array(Int64)", [[1], None]),
        (pa.array([b"a"]), "Bytes", [b"a"]),
        (pa.array(["a"], pa.large_string()), "String", ["a"]),
        (pa.array([[b"a"]]), "Array(Bytes)", [[b"a"]]),
    ],
    ids=str,
)
def test_values_are_of_the_declared_type(values: Any, declared: str, wanted: Any) -> None:
    from feast import types

    from mlops_glue.adapters.feast.parquet_source import arrow_type, cast

    kind = eval(declared, vars(types))
    got = cast(values, kind, "v:x")
    assert got.to_pylist() == wanted and (arrow_type(kind) is None or got.type == arrow_type(kind))


@pytest.mark.parametrize(
    ("values", "declared"),
    [([1.5], "Int64"), ([1 << 40], "Int32"), (["one"], "Int64"), ([1.0, float("inf")], "Int64"), ([[1]], "String")],
    ids=str,
)
def test_values_that_the_declared_type_does_not_have(values: Any, declared: str) -> None:
    from feast import types

    from mlops_glue.adapters.feast.parquet_source import cast

    column, kind = pa.array(values), getattr(types, declared)
    with pytest.raises(DataError) as refused:
        cast(column, kind, "v:x")
    assert refused.value.message.startswith(f"v:x is declared as {kind}, but the file has {column.type}: ")
