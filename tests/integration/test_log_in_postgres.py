"""The prediction log as tables of PostgreSQL: what is in them is what a folder would hold."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adbc_driver_manager import dbapi

from mlops_glue.adapters.adbc import FILES, LogTables
from mlops_glue.adapters.fsspec import Folder
from mlops_glue.config import Serve
from mlops_glue.errors import MissingExtra, ToolError, Unreachable
from mlops_glue.log_place import opened
from mlops_glue.serving import segments
from mlops_glue.serving.launch import prepared_spool
from mlops_glue.serving.segments import FORMAT, About, Column, Segment
from mlops_glue.serving.ship import retain, ship_once
from tests.support import team
from tests.support.project import Glue, row_of
from tests.support.server import POSTGRES, ask, free_port, serving, with_serve

FIELDS = [Column("amount", "number", "double"), Column("shop", "category", "string"), Column("at", "datetime", "")]
ABOUT = About(FORMAT, "fraud", 7, "f" * 64, FIELDS, ["no", "yes"])
NAME = "date=2026-11-25/v7-a.parquet"


@pytest.fixture
def url() -> Iterator[str]:
    with team.database() as place:
        yield f"postgresql://{place}"


def rows_of(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as database:
        return database.execute(query).fetchall()


def table_of(url: str) -> str:
    ((name,),) = rows_of(url, "select distinct rows_in from glue_log_files")
    return str(name)


def segment(spool: Path, first: int, count: int, when: float) -> None:
    """A closed one; the last row of each has nothing but nulls."""
    spool.mkdir(exist_ok=True)
    made = Segment(spool, ABOUT)
    for n in range(first, first + count - 1):
        values = [(n + 0.5, f"shop {n % 3}\0", "2026-11-25T10:00:00+01:00")]
        made.write([(f"id{n}", when, None, "champion", True, values, ["yes"], [[0.25, 0.75]])])
    made.write(
        [(f"id{first + count - 1}", when, None, "champion", False, [(None, None, None)], [None], [[float("nan")] * 2])]
    )
    made.close()


def read(place: Any) -> pa.Table:
    tables = [pq.read_table(place.open(name)) for name, _, _ in sorted(place.files())]
    return pa.concat_tables(tables).sort_by([("glue_time", "ascending"), ("glue_request_id", "ascending")])


def test_it_holds_what_a_folder_holds(url: str, tmp_path: Path) -> None:
    midnight = 1_795_564_800.0  # 2026-11-25 UTC
    for place in ("folder", "tables"):
        spool = tmp_path / f"of_{place}"
        segment(spool, 0, 50, midnight - 1)
        segment(spool, 50, 30, midnight + 1)
        assert ship_once(spool, url if place == "tables" else str(tmp_path / "folder")) == 80
        assert segments.waiting(spool) == []
    there, here = read(opened(url)), read(Folder(str(tmp_path / "folder")))
    assert there.schema.equals(here.schema, check_metadata=True)
    whole = [column.to_pylist() for column in (there.drop(["shop"]).combine_chunks()).columns]
    assert repr(whole) == repr([column.to_pylist() for column in here.drop(["shop"]).columns])  # a NaN is none other
    assert there["shop"].to_pylist() == [shop and shop.rstrip("\0") for shop in here["shop"].to_pylist()]
    days = {name.partition("/")[0] for name, size, when in opened(url).files() if size > 0 and time.time() - when < 600}
    assert days == {"date=2026-11-24", "date=2026-11-25"}
    found = rows_of(url, f"select count(*), count(amount), max(glue_version) from {table_of(url)} where glue_answered")
    assert found == [(78, 78, 7)]


def test_what_is_sent_again_is_there_once_and_versions_have_tables_of_their_own(url: str, tmp_path: Path) -> None:
    place, file = LogTables(url), tmp_path / "a.parquet"
    assert place.files() == []
    for rows in (3, 2):
        pq.write_table(pa.table({"glue_request_id": ["r"] * rows, "x": [1.0] * rows}), file)
        place.put(file, NAME)
    assert rows_of(url, f"select count(*) from {table_of(url)}") == [(2,)]
    odd = {"A": [1], "a": [2], 'q"uote': ["it's"], "é" * 40: [3.5], "glue_file": ["x"], "select": [True]}
    odd |= {name: [0.5] for name in ("xmin", "", "a\0b", "x" * 70 + "a", "x" * 70 + "b")}
    pq.write_table(pa.table(odd), file)
    place.put(file, NAME.replace("v7", "v8"))
    place.put(file, NAME.replace("v8", "v8-b"))
    assert pq.read_table(place.open(NAME.replace("v7", "v8"))).to_pydict() == odd
    tables = rows_of(url, "select rows_in, count(*) from glue_log_files group by 1 order by 1")
    assert [(name[:14], count) for name, count in tables] == [("predictions_v7", 1), ("predictions_v8", 1)]
    place.remove(NAME)
    place.remove(NAME)
    assert NAME not in [name for name, _, _ in place.files()]
    with pytest.raises(ToolError, match=f"no {NAME} in glue_log_files"):
        place.open(NAME)


def test_shippers_that_are_killed_or_many_leave_each_row_once(url: str, tmp_path: Path) -> None:
    drawn, context = random.Random(5), multiprocessing.get_context("fork")
    for turn in range(8):
        segment(tmp_path / "spool", turn * 500, 500, time.time())
        child = context.Process(target=ship_once, args=(tmp_path / "spool", url))
        child.start()
        time.sleep(drawn.uniform(0.0, 0.15))
        child.kill()
        child.join()
    for turn in range(8, 14):
        segment(tmp_path / f"host{turn % 3}", turn * 500, 500, time.time())
    with ThreadPoolExecutor(4) as pool:
        spools = [tmp_path / "spool", *(tmp_path / f"host{n}" for n in range(3))]
        list(pool.map(lambda spool: ship_once(spool, url), spools))
    assert rows_of(url, f"select count(*), count(distinct glue_request_id) from {table_of(url)}") == [(7000, 7000)]


def test_a_host_that_freezes_in_a_file_stops_no_other(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLUE_ANSWER_TIMEOUT_S", "2")
    gate, ingest = team.Gate(POSTGRES), dbapi.Cursor.adbc_ingest
    segment(tmp_path / "frozen", 0, 100, time.time())
    for n in range(2):
        segment(tmp_path / "other", 1000 + 100 * n, 100, time.time())

    def freezes(cursor: Any, table: str, rows: Any, mode: str) -> Any:
        if mode == "append":
            gate.freeze()
        return ingest(cursor, table, rows, mode=mode)

    monkeypatch.setattr(dbapi.Cursor, "adbc_ingest", freezes)
    with pytest.raises(Unreachable, match="does not answer within 2 s"):
        ship_once(tmp_path / "frozen", url.replace(POSTGRES, f"127.0.0.1:{gate.port}"))
    monkeypatch.undo()
    assert ship_once(tmp_path / "other", url) == 200
    gate.shut()
    assert ship_once(tmp_path / "frozen", url) == 100
    assert rows_of(url, f"select count(*), count(distinct glue_request_id) from {table_of(url)}") == [(300, 300)]


def test_two_that_send_the_same_file_at_once_leave_it_once(url: str, tmp_path: Path) -> None:
    """As a shipper does whose first attempt went on without it."""
    for n in range(4):
        pq.write_table(pa.table({f"x{n % 2}": [1.0] * 20_000}), tmp_path / f"{n}.parquet")
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            list(pool.map(lambda n: LogTables(url).put(tmp_path / f"{n}.parquet", NAME), range(4)))
    tables = [name for (name,) in rows_of(url, "select tablename from pg_tables where tablename like 'predictions%'")]
    counts = [rows_of(url, f"select count(*) from {name}")[0][0] for name in tables]
    assert sorted(counts) == [0, 20_000] and pq.read_table(LogTables(url).open(NAME)).num_rows == 20_000


def test_old_files_go(url: str, tmp_path: Path) -> None:
    for n in range(4):
        segment(tmp_path / "spool", n * 10, 10, 1_795_564_800.0 + n * 86_400)
    ship_once(tmp_path / "spool", url)
    sizes = sorted((name, size) for name, size, _ in LogTables(url).files())
    assert retain(LogTables(url), None, sizes[-1][1] + sizes[-2][1]) == 2
    assert sorted(name for name, _, _ in LogTables(url).files()) == [name for name, _ in sizes[2:]]
    assert rows_of(url, f"select count(*) from {table_of(url)}") == [(20,)]
    table = table_of(url)
    pq.write_table(pa.table({"n": np.zeros(50_000), "s": ["red"] * 50_000}), tmp_path / "alike.parquet")
    LogTables(url).put(tmp_path / "alike.parquet", NAME)
    ((said, taken),) = rows_of(url, f"select bytes, pg_total_relation_size(rows_in) from {FILES} where name = '{NAME}'")
    assert 0.7 < said / taken < 1.4  # which a column of one value has not as Parquet
    assert retain(LogTables(url), 1e-9, None) == 3 and rows_of(url, f"select count(*) from {table}") == [(0,)]


def test_a_database_that_is_away_frozen_or_read_only(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment(tmp_path / "spool", 0, 10, time.time())
    nowhere = f"postgresql://someone:hidden-word@127.0.0.1:{free_port()}/x"
    with pytest.raises(ToolError, match="connection") as error:
        ship_once(tmp_path / "spool", nowhere)
    assert "hidden-word" not in f"{error.value} {error.value.hint}"
    for wrong in ("u:a@hidden-word@127.0.0.1/x", "u:a/hidden-word@127.0.0.1/x", "u:hidden-word?a@127.0.0.1/x"):
        with pytest.raises(ToolError, match="has a sign in its user or password that ends them") as error:
            LogTables(f"postgresql://{wrong}")
        assert "hidden" not in f"{error.value} {error.value.hint}"
    monkeypatch.setenv("GLUE_ANSWER_TIMEOUT_S", "2")
    gate, started = team.Gate(POSTGRES), time.monotonic()
    gate.freeze()
    with pytest.raises(Unreachable, match="does not answer within 2 s"):
        LogTables(url.replace(POSTGRES, f"127.0.0.1:{gate.port}")).files()
    assert time.monotonic() - started < 60
    gate.thaw()
    with pytest.raises(ToolError, match="read-only transaction"):
        ship_once(tmp_path / "spool", f"{url}?options=-cdefault_transaction_read_only%3Don")
    assert len(segments.waiting(tmp_path / "spool")) == 1  # it waits
    LogTables(url).try_out()
    assert ship_once(tmp_path / "spool", url) == 10


def test_the_driver_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    with pytest.raises(MissingExtra, match="adbc-driver-postgresql") as error:
        opened("postgresql://u@127.0.0.1/x")
    assert error.value.hint == 'pip install "mlops-glue[postgres]"'
    with pytest.raises(MissingExtra, match="adbc-driver-postgresql"):  # before anything is answered
        prepared_spool(tmp_path, Serve(prediction_log="postgresql://u@127.0.0.1/x"))
    assert prepared_spool(tmp_path, Serve(prediction_log="postgresql")) is not None  # a folder


def test_a_wide_table_of_every_type(url: str, tmp_path: Path) -> None:
    """PostgreSQL's rows have 8 kB: of more numbers than about a thousand it takes none."""
    rows, drawn = 1000, np.random.default_rng(0)
    wide = {f"n{n}": drawn.normal(size=rows) for n in range(900)}
    wide |= {"i": np.arange(rows) + 2**53, "f": np.float32([np.nan, np.inf] * 500), "ok": [True, None] * 500}
    wide |= {"when": pa.array([1, None] * 500, pa.timestamp("us", "UTC"))}
    pq.write_table(pa.table(wide), tmp_path / "w.parquet")
    LogTables(url).put(tmp_path / "w.parquet", NAME)
    got = pq.read_table(LogTables(url).open(NAME))
    assert got.schema.equals(pa.table(wide).schema) and got.drop(["f"]).equals(pa.table(wide).drop(["f"]))
    assert np.array_equal(got["f"].to_numpy(), wide["f"], equal_nan=True)
    pq.write_table(pa.table(wide | {f"m{n}": drawn.normal(size=rows) for n in range(300)}), tmp_path / "w.parquet")
    with pytest.raises(ToolError, match="1204 columns do not fit into a row of PostgreSQL"):
        LogTables(url).put(tmp_path / "w.parquet", NAME)
    assert pq.read_table(LogTables(url).open(NAME)).num_rows == rows  # as it was
    for most, value in ((320, "x" * 23), (400, "")):  # by the columns alone: no request decides whether a file is taken
        pq.write_table(pa.table({f"c{n}": [value] for n in range(most)}), tmp_path / "w.parquet")
        if value:  # texts of that length stay in the row
            LogTables(url).put(tmp_path / "w.parquet", NAME)
            continue
        with pytest.raises(ToolError, match="400 columns do not fit"):
            LogTables(url).put(tmp_path / "w.parquet", NAME)


def test_a_server_writes_there_and_the_monitor_reads_it(
    url: str, tmp_path: Path, once_run_penguins: Path, glue: Glue, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Path(shutil.copytree(once_run_penguins, tmp_path / "p", dirs_exist_ok=True)) / "project"
    secret = url.replace("postgres@", "postgres:hidden-word@")
    monkeypatch.setenv("LOG_URL", secret)
    rows = [row_of(project)] * 120
    found = []
    for place in ("${LOG_URL}", "kept"):
        before = with_serve(project, f"{{prediction_log: '{place}', log: {{rotate_s: 0.1}}}}")
        with serving(project) as (at, _):
            assert ask(at, body={"rows": rows})[0] == 200
        assert "hidden-word" not in (project / "told.txt").read_text()
        said = json.loads(glue("monitor", "--no-page", "--json", cwd=project, code=None).stdout)
        (version,) = said["versions"]
        found.append({key: value for key, value in version.items() if key != "run"})
        (project / "glue.yaml").write_text(before)
    assert found[0] == found[1] and found[0]["rows"] == 120
