"""Which rows a replay looks at, and what it says of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_glue import layout, tables
from mlops_glue.config import Config
from mlops_glue.delivery import skew
from mlops_glue.errors import ToolError, Unreachable
from mlops_glue.records import FeatureList, FeatureView

CONFIG = Config.model_validate(
    {
        "glue": 1,
        "project": "p",
        "data": {
            "sources": {"t": {"path": "t.csv", "entity": "id", "timestamp": "at"}},
            "labels": {"source": "t", "target": "y"},
        },
        "train": {},
    }
)
FEATURES = FeatureList(["v:x"], [FeatureView("v", {"id": "id"}, {"x": "number"}, 0.0, "", of="v")], {"x": "v:x"})


class Store:
    """A repository whose online store has what training saw, and which notes as of when it was filled."""

    def __init__(self) -> None:
        self.filled: list[datetime] = []

    def replace_sources(self, path_of: Any) -> None: ...
    def apply(self) -> None: ...
    def teardown(self) -> None: ...

    def materialize(self, views: list[str], start: datetime, end: datetime) -> None:
        self.filled.append(end)

    def read(self, use: Any, views: Any, keys: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
        return [{"v__x": float(key["id"])} for key in keys]


@pytest.mark.parametrize("rows", [7, 20, 391])
def test_twenty_rows_of_the_holdout_are_spread_over_its_time(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = np.random.default_rng(rows).permutation(rows)  # the table is in no order of time
    when = np.datetime64("2026-01-01", "us") + order * np.timedelta64(1, "h")
    joined = {"id": order, "at": pa.array(when).cast(pa.timestamp("us", "UTC")), "x": order.astype(float)}
    tables.write_parquet(tmp_path / layout.JOINED, pa.table(joined))
    tables.write_parquet(tmp_path / layout.TEST, pa.table({layout.ROW: np.arange(rows), layout.TIMESTAMP_COLUMN: when}))
    store = Store()
    monkeypatch.setattr(skew.feature_stores, "open_live", lambda *_, **__: store)
    looked, held, found = skew.replay(CONFIG, tmp_path, FEATURES)
    many = min(rows, 20)
    assert (looked, held, found) == (many, rows, [])
    hours = [round((one - datetime(2026, 1, 1, tzinfo=UTC)).total_seconds() / 3600) for one in store.filled]
    assert hours == np.arange(rows)[tables.evenly_spaced(rows, 20)].tolist()  # the earliest first, to the end
    assert max(np.diff(hours)) <= -(-rows // (many - 1))


@pytest.mark.parametrize("error", [ToolError("no"), Unreachable("away")])
def test_a_store_that_is_away_is_not_asked_to_let_go(
    error: ToolError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go: list[bool] = []

    class Away(Store):
        def materialize(self, views: list[str], start: datetime, end: datetime) -> None:
            raise error

        def teardown(self) -> None:
            let_go.append(True)

    when = np.array(["2026-01-01"], "datetime64[us]")
    joined = {"id": [1], "at": pa.array(when).cast(pa.timestamp("us", "UTC")), "x": [1.0]}
    tables.write_parquet(tmp_path / layout.JOINED, pa.table(joined))
    tables.write_parquet(tmp_path / layout.TEST, pa.table({layout.ROW: [0], layout.TIMESTAMP_COLUMN: when}))
    monkeypatch.setattr(skew.feature_stores, "open_live", lambda *_, **__: Away())
    with pytest.raises(type(error)):
        skew.replay(CONFIG, tmp_path, FEATURES)
    assert let_go == [True] * (type(error) is ToolError)


HOUR = timedelta(hours=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
READINGS = "data/readings.parquet"
AT_ONCE = (
    "a feature row with the time of the request itself is not yet in the online store (features: {delay: 1s} in "
    "glue.yaml uses the values known one second earlier, also in training; or set the time of each feature row to when "
    "it becomes known)"
)


class Online:
    """An online store: of the rows that it was filled with, the latest of each key. Its sources are files."""

    def __init__(self, root: Path, path: str = READINGS) -> None:
        self.root, self.source = root, root / path
        self.calls: list[str] = []
        self.kept: dict[Any, Any] = {}

    def replace_sources(self, path_of: Any) -> None:
        self.source = path_of(self.source)
        self.calls.append("sources")

    def apply(self) -> None:
        self.calls.append("apply")

    def teardown(self) -> None:
        self.calls.append("teardown")
        raise ToolError("it is gone already")

    def materialize(self, views: list[str], start: datetime, end: datetime) -> None:
        assert views == ["a", "b"] and start == datetime(1970, 1, 1, tzinfo=UTC)
        self.kept = {}
        for row in sorted(tables.read_parquet(self.source).to_pylist(), key=lambda row: row["at"]):
            if start <= row["at"] <= end:
                self.kept[row["id"]] = row["x"]

    def read(self, use: Any, views: Any, keys: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
        assert use == OF_TWO.use and views == OF_TWO.views and now.tzinfo is UTC
        self.calls.append(f"{now:%d %H} {keys[0]['asked']}")
        return [{"b__x": self.kept.get(key["who"]), "f__twice": 2 * key["asked"]} for key in keys]


OF_TWO = FeatureList(
    ["b:x", "f:twice"],
    [
        FeatureView("b", {"id": "who"}, {"x": "number"}, 0.0, "", path=READINGS, of="b"),
        FeatureView("a2", {"id": "who"}, {}, 0.0, "", of="a"),
        FeatureView("f", {}, {"twice": "number"}, 0.0, "", on_demand=True, of="f"),
    ],
    {"x": "b:x", "twice": "f:twice"},
    request=["asked", "who"],  # a key may be asked for, too
)


def replayed(
    root: Path, monkeypatch: pytest.MonkeyPatch, trained: Any, *, delay_s: float = 0.0, who: Any = ("u", "v", "u", "v")
) -> tuple[tuple[int, int, list[str]], Online]:
    """Four requests at 2 to 5 o'clock, in no order; readings of `u` at 1, 2 and 3 o'clock: 10, 20 and 30."""
    order = np.array([2, 0, 3, 1])  # of time
    rows = {
        "at": [START + (2 + n) * HOUR for n in range(4)],
        "who": list(who),
        "asked": [7, 8, 9, 10],
        "x": list(trained),
        "twice": [14, 16, 18, 20],
    }
    joined = pa.table({**{name: [of[at] for at in order] for name, of in rows.items()}, "y": [0, 1, 0, 1]})
    (root / layout.JOINED).parent.mkdir(parents=True, exist_ok=True)
    tables.write_parquet(root / layout.JOINED, joined)
    when = np.array([one.replace(tzinfo=None) for one in joined.column("at").to_pylist()], "datetime64[us]")
    held = np.array([3, 1, 0, 2])  # rows of the table
    tables.write_parquet(root / layout.TEST, pa.table({layout.ROW: held, layout.TIMESTAMP_COLUMN: when[held]}))
    readings = {
        "id": ["u", "u", "u", "w"],
        "at": [START + n * HOUR for n in (3, 1, 2, 1)],
        "x": [30.0, 10.0, 20.0, 1.0],
    }
    tables.write_parquet(root / READINGS, pa.table(readings))
    store = Online(root)

    def opened(config: Config, folder: Path, *, replay_in: Path) -> Online:
        assert config is CONFIG and folder == root and replay_in.is_dir()
        return store

    monkeypatch.setattr(skew.feature_stores, "open_live", opened)
    return skew.replay(CONFIG, root, replace(OF_TWO, delay_s=delay_s)), store


def test_what_was_known_before_each_row_is_what_it_was_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reading of the row's own moment is not there yet; one that it had not is none."""
    found, store = replayed(tmp_path, monkeypatch, [10.0, None, 30.0, None])
    assert found == (4, 4, [])
    assert store.calls == ["sources", "apply", "01 02 7", "01 03 8", "01 04 9", "01 05 10", "teardown"]
    assert store.source != tmp_path / READINGS and not store.source.exists()  # taken away


def test_with_a_delay_what_is_not_that_old_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the second: what is exactly so old is."""
    assert replayed(tmp_path, monkeypatch, [10.0, None, 30.0, None], delay_s=3600.0)[0] == (4, 4, [])
    assert replayed(tmp_path, monkeypatch, [None, None, 20.0, None], delay_s=3601.0)[0] == (4, 4, [])


def test_what_differs_is_told_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = replayed(tmp_path, monkeypatch, [20.0, 5.0, 31.0, None])
    assert found == (
        4,
        4,
        [
            f"skew: b:x of who u at 2026-01-01 02:00:00 is 20.0 in training and 10.0 from the online store: {AT_ONCE}",
            "skew: b:x of who v at 2026-01-01 03:00:00 is 5.0 in training and None from the online store",
            "skew: b:x of who u at 2026-01-01 04:00:00 is 31.0 in training and 30.0 from the online store",
        ],
    )


def test_rows_without_a_key_are_not_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, store = replayed(tmp_path, monkeypatch, [99.0, None, 30.0, None], who=(None, "v", "u", None))
    assert found == (2, 4, []) and store.calls[2:4] == ["01 03 8", "01 04 9"]


def test_what_is_opened_is_taken_away_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise ToolError("down")

    monkeypatch.setattr(Online, "materialize", fails)
    with pytest.raises(ToolError, match="down"):
        replayed(tmp_path, monkeypatch, [1.0] * 4)
    monkeypatch.setattr(Online, "teardown", lambda self: (tmp_path / "taken away").touch())
    with pytest.raises(ToolError, match="down"):
        replayed(tmp_path, monkeypatch, [1.0] * 4)
    assert (tmp_path / "taken away").exists()


def test_of_a_source_the_rows_about_the_sampled_entities_are_kept_for_each_view_on_it(tmp_path: Path) -> None:
    """One view goes by two keys, of which one has another name in the source; one by the origin; one is of a lake."""
    views = [
        FeatureView("lake", {"id": "who"}, {}, 0.0, "", path=None, of="lake"),
        FeatureView("other", {"id": "who"}, {}, 0.0, "", path="other.parquet", of="other"),
        FeatureView("both", {"id": "who", "place": "where"}, {}, 0.0, "", path="s.parquet", mapping={"spot": "place"}),
        FeatureView("origin", {"origin": "who"}, {}, 0.0, "", path="./s.parquet", of="origin"),
    ]
    listed = FeatureList([], views, {})
    rows = {
        "id": pa.array([1, 1, 2, 3, 9, 2, 1], pa.int32()),
        "spot": ["a", "b", "b", "a", "a", None, "z"],
        "origin": pa.array([9, 9, 9, 9, 2, 9, 9], pa.int64()),
        "n": list(range(7)),
    }
    path = tmp_path / "s.parquet"
    tables.write_parquet(path, pa.table(rows))
    keys = [{"who": 1, "where": "a"}, {"who": 2, "where": "b"}, {"who": None, "where": "a"}]
    made = tmp_path / "made"
    made.mkdir()
    out = skew.sampled_source(tmp_path, path, listed, keys, made)
    kept = tables.read_parquet(out)
    assert out.parent == made and out.suffix == ".parquet"
    assert kept.column("n").to_pylist() == [0, 1, 2, 4] and kept.schema.equals(tables.read_parquet(path).schema)
    for as_it_is in (tmp_path / "others.parquet", tmp_path / "other.parquet"):  # of no view; of one, and no file
        assert skew.sampled_source(tmp_path, as_it_is, listed, keys, made) == as_it_is
