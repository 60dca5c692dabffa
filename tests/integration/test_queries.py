"""A table that a query gives, of a real PostgreSQL and of DuckDB: exact, in one order, read when asked."""

from __future__ import annotations

import contextlib
import decimal
import json
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from datetime import time as clock
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_glue.adapters import sql
from mlops_glue.errors import GlueError, ToolError
from mlops_glue.files import read_yaml
from tests.support.project import Glue, table
from tests.support.server import POSTGRES, postgres

URL = f"postgresql://postgres:hidden@{POSTGRES}/test"
LIMIT_S = 20.0


@pytest.fixture(scope="module")
def schema() -> Iterator[str]:
    """A schema of its own with `support.project.table` as `rows`, and a user of its name who may not read it."""
    name = f"q{uuid.uuid4().hex[:12]}"
    with postgres() as connection:
        connection.execute(f"create schema {name}")
        connection.execute(f"create table {name}.rows (id bigint, x double precision, noise real, town text, y text)")
        with connection.cursor() as cursor:
            rows = [(at, float(r.x), float(r.noise), r.town, r.y) for at, r in enumerate(table().itertuples())]
            cursor.executemany(f"insert into {name}.rows values (%s, %s, %s, %s, %s)", rows)
        connection.execute(f"create role {name} login")
        yield name
        connection.execute(f"drop schema {name} cascade")
        connection.execute(f"drop role {name}")


def read(url: str, text: str, root: Path, limit_s: float = LIMIT_S) -> pa.Table:
    return pa.concat_tables(sql.rows(url, text, root, limit_s))


EXACT: dict[str, tuple[str, str, pa.DataType, Any]] = {  # PostgreSQL's type, DuckDB's, Arrow's, and the value in SQL
    "yes": ("boolean", "boolean", pa.bool_(), True),
    "small": ("smallint", "smallint", pa.int16(), -32768),
    "whole": ("integer", "integer", pa.int32(), 2147483647),
    "big": ("bigint", "bigint", pa.int64(), 9007199254740993),  # which no float has
    "single": ("real", "real", pa.float32(), 0.5),
    "double": ("double precision", "double", pa.float64(), 0.1),
    "money": ("numeric(38, 10)", "decimal(38, 10)", pa.decimal128(38, 10), "1234567890123456789012345678.0123456789"),
    "text": ("text", "varchar", pa.string(), "  Ä 'q' \\ 0012 "),
    "day": ("date", "date", pa.date32(), "0001-01-01"),
    "hour": ("time", "time", pa.time64("us"), "23:59:59.999999"),
    "moment": ("timestamp", "timestamp", pa.timestamp("us"), "2026-03-29 02:30:00.000001"),
    "zoned": ("timestamptz", "timestamptz", pa.timestamp("us", "UTC"), "2026-11-30 23:30:00.123456+02:00"),
    "key": ("uuid", "uuid", pa.string(), "00112233-4455-6677-8899-aabbccddeeff"),
}


@pytest.mark.parametrize("kind", ["postgresql", "duckdb"])
def test_types_and_values_are_kept(kind: str, schema: str, tmp_path: Path) -> None:
    at = 0 if kind == "postgresql" else 1
    quoted = {name: "'" + str(value).replace("'", "''") + "'" for name, (_, _, _, value) in EXACT.items()}
    columns = ", ".join(f"{quoted[name]}::{types[at]} as {name}" for name, types in EXACT.items())
    nulls = ", ".join(f"null::{types[at]} as {name}" for name, types in EXACT.items())
    made = read(URL if at == 0 else "duckdb://", f"select {columns} union all select {nulls};", tmp_path)
    assert made.schema == pa.schema([(name, types[2]) for name, types in EXACT.items()])
    first, second = made.to_pylist()
    assert set(second.values()) == {None}
    assert first == {
        **{name: value for name, (_, _, _, value) in EXACT.items()},
        "money": decimal.Decimal("1234567890123456789012345678.0123456789"),
        "day": date(1, 1, 1),
        "hour": clock(23, 59, 59, 999999),
        "moment": datetime(2026, 3, 29, 2, 30, 0, 1),
        "zoned": datetime(2026, 11, 30, 21, 30, 0, 123456, UTC),
    }


@pytest.mark.parametrize("kind", ["postgresql", "duckdb"])
def test_rows_come_in_one_order_in_pieces(kind: str, schema: str, tmp_path: Path) -> None:
    """Whatever order the database has them in; text goes by its bytes, in any locale."""
    url, many = (URL, "generate_series(0, 69999)") if kind == "postgresql" else ("duckdb://", "range(70000)")
    text = f"select (i * 7919) % 70000 as n, 'w' || (i % 3) as w from {many} as g(i) order by md5(i::text)"
    pieces = list(sql.rows(url, text, tmp_path, LIMIT_S))
    assert pieces[0].num_rows == 0 and max(piece.num_rows for piece in pieces) <= sql.PIECE_ROWS
    assert pa.concat_tables(pieces).column("n").to_pylist() == list(range(70000))
    words = "select w, 1 as one from (values ('b'), ('a'), ('B'), ('ä'), (null), ('a_b'), ('aa')) as v(w)"
    assert read(url, words, tmp_path).column("w").to_pylist() == ["B", "a", "a_b", "aa", "b", "ä", None]


REFUSED = {  # of both databases: the query, and what is told
    "no such table": ("select * from nothing_there", "nothing_there"),
    "a typing error": ("selct 1", "syntax error"),
    "two statements": ("select 1; delete from ROWS", 'at or near ";"|not a single SELECT'),
    "a write": ("delete from ROWS", "syntax error|not a single SELECT"),
    "a write within": ("with gone as (delete from ROWS returning *) select * from gone", "data-modifying|top level"),
    "a copy": ("copy (select 1) to 'written.csv'", "syntax error|not a single SELECT"),
    "two columns of a name": ("select 1 as a, 2 as a", "two columns are called 'a'"),
    "an array": ("select ARRAY[1, 2] as listed", "column 'listed' has type .*, which cannot be stored exactly"),
    "an interval": (
        "select interval '1' day as long",
        "column 'long' has type .*interval.*, which cannot be stored exactly",
    ),
    "bytes": ("select 'x'::BYTES as raw", "column 'raw' has type .*, which cannot be stored exactly"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("kind", ["postgresql", "duckdb"])
def test_what_is_refused(kind: str, case: str, schema: str, tmp_path: Path) -> None:
    text, said = REFUSED[case]
    text = text.replace("ROWS", f"{schema}.rows").replace("BYTES", "bytea" if kind == "postgresql" else "blob")
    with pytest.raises(GlueError, match=f"(?i){said}") as error:
        read(URL if kind == "postgresql" else "duckdb://", text, tmp_path)
    assert "\n" not in error.value.message and "hidden" not in error.value.message and error.value.hint
    assert not list(tmp_path.iterdir())
    with psycopg.connect(URL) as connection:
        assert connection.execute(f"select count(*) from {schema}.rows").fetchone() == (60,)


@pytest.mark.parametrize(
    "text, said",
    [
        ("select avg(id) as mean from ROWS", "column 'mean' has type numeric, which cannot be stored exactly"),
        ("select 'infinity'::timestamp as t", "timestamp too large"),
        ("select 'NaN'::numeric(5, 2) as n", "column 'n': "),
        ("select pg_sleep(30)::text as t", "no more rows within 0.5 s"),
        ("select nextval('SEQUENCE') as n", "read-only transaction"),
    ],
)
def test_what_postgres_refuses(text: str, said: str, schema: str, tmp_path: Path) -> None:
    with psycopg.connect(URL) as connection:
        connection.execute(f"create sequence if not exists {schema}.counted")
    text = text.replace("ROWS", f"{schema}.rows").replace("SEQUENCE", f"{schema}.counted")
    with pytest.raises(GlueError) as error:
        read(URL, text, tmp_path, 0.5)
    assert said in error.value.message and "\n" not in error.value.message


def test_no_permission_no_server_no_password(schema: str, tmp_path: Path) -> None:
    urls = {
        f"postgresql://{schema}:s3cret@{POSTGRES}/test": f"permission denied for schema {schema}",
        "postgresql://me:s3cret@127.0.0.1:1/x": "Connection refused",
        "postgresql://me:s3cret@h:bad/x?y=z": "postgresql: ",
        "mysql://me:s3cret@h/x": "is not a postgresql:// or duckdb:// URL",
    }
    for url, said in urls.items():
        with pytest.raises(GlueError) as error:
            read(url, f"select * from {schema}.rows", tmp_path)
        assert said in error.value.message and "s3cret" not in f"{error.value.message}{error.value.hint}"


@contextlib.contextmanager
def frozen() -> Iterator[str]:
    """The address of a server that takes connections, as a frozen one does, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as its:
        yield f"127.0.0.1:{its.getsockname()[1]}"


def hang_up(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def freezing(after: bytes) -> Iterator[str]:
    """The address of PostgreSQL behind a wire that goes dead once this was asked."""

    def pass_on(source: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if after in data:
                    return
                to.sendall(data)

    host, port = POSTGRES.split(":")
    with contextlib.ExitStack() as stack:
        its = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def serve() -> None:
            client, _ = its.accept()
            server = socket.create_connection((host, int(port)))
            for end in (client, server):
                stack.callback(hang_up, end)
            threading.Thread(target=pass_on, args=(server, client), daemon=True).start()
            pass_on(client, server)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{its.getsockname()[1]}"


def test_a_frozen_server_is_left(schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps no time limit of its own."""
    monkeypatch.setattr(sql, "GRACE_S", 0.2)
    with freezing(after=b"FETCH") as place, pytest.raises(GlueError, match=r"no more rows within 0\.5 s"):
        read(f"postgresql://postgres@{place}/test?sslmode=disable", f"select * from {schema}.rows", tmp_path, 0.5)
    monkeypatch.setattr(sql, "CONNECT_S", 2)
    with frozen() as place, pytest.raises(GlueError, match="timeout"):
        read(f"postgresql://postgres@{place}/test", f"select * from {schema}.rows", tmp_path)


def test_a_file_of_duckdb_and_files(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "shop.db")) as connection:
        connection.execute("create table t as select 2 as a union all select 1")
    assert read("duckdb:///shop.db", "from t", tmp_path).to_pylist() == [{"a": 1}, {"a": 2}]
    (tmp_path / "lake").mkdir()
    for at in range(2):
        pq.write_table(pa.table({"a": [at], "e": pa.array(["x"]).dictionary_encode()}), tmp_path / f"lake/{at}.parquet")
    assert read("duckdb://", "select * from 'lake/*.parquet' where a > 0", tmp_path).to_pylist() == [{"a": 1, "e": "x"}]
    with pytest.raises(GlueError, match=r"gone\.db: no such file"):
        read("duckdb:///gone.db", "select 1 as a", tmp_path)


ENDLESS = "select a.range as x from range(9000000) a, range(9000000) b where (a.range * b.range) % 1000003 = -1"


def test_a_query_of_duckdb_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = time.monotonic()
    with pytest.raises(ToolError, match=r"^duckdb: no more rows within 0.5 s$") as told:
        list(sql.rows("duckdb://", ENDLESS, tmp_path, 0.5))
    assert "--timeout" in str(told.value.hint)
    monkeypatch.setattr(sql, "STATEMENT_S", 0.5)
    with pytest.raises(ToolError, match="no more rows within"):
        sql.query("duckdb://", ENDLESS, tmp_path)
    assert time.monotonic() - started < 30
    with pytest.raises(ToolError, match="duckdb: ConversionException"):  # what is refused in time stays as it was
        list(sql.rows("duckdb://", "select cast('x' as integer) as a", tmp_path, 60))


# --- in a project


PROJECT = """glue: 1
project: shop
data:
  sources:
    orders: {path: data/raw/orders.parquet, url: "${SHOP_URL}", query: QUERY}
  labels: {source: orders, target: y}
features: {number: [x, noise], category: [town]}
train: {estimator: sklearn.tree.DecisionTreeClassifier, params: {max_depth: 2}}
"""


@pytest.fixture
def project(tmp_path: Path, schema: str, empty_store: Path, quick_path: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOP_URL", URL)
    root = tmp_path / "shop"
    root.mkdir()
    (root / "mlflow.db").write_bytes(empty_store.read_bytes())
    (root / "glue.yaml").write_text(PROJECT.replace("QUERY", f"select * from {schema}.rows where id < 1000"))
    for words in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(words, cwd=root, check=True)
    return root


def stages(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    lines = (line.split() for line in done.stderr.splitlines() if " ...." in line)
    return {words[0]: words[2] for words in lines}


def test_it_is_read_once_and_when_asked(project: Path, schema: str, glue: Glue) -> None:
    done = glue("run", cwd=project)
    assert stages(done)["query"] == "executed" and "orders: 60 rows" in done.stderr
    kept, pointer = project / "data/raw/orders.parquet", project / "data/raw/orders.parquet.dvc"
    assert pq.read_table(kept).num_rows == 60
    about = read_yaml(pointer)["meta"]["glue"]
    assert (
        about["rows"] == 60 and about["url"] == "${SHOP_URL}" and about["md5"] == read_yaml(pointer)["outs"][0]["md5"]
    )
    before = kept.read_bytes(), pointer.read_bytes()

    with psycopg.connect(URL, autocommit=True) as connection:
        connection.execute(f"insert into {schema}.rows values (-1, 3.5, 0, 'Ulm', 'yes')")
        try:
            assert set(stages(glue("run", cwd=project)).values()) == {"unchanged"}  # nobody has asked
            done = glue("run", "--refresh", "--until", "ingest", cwd=project)
            assert stages(done)["query"] == stages(done)["ingest"] == "executed" and "orders: 61 rows" in done.stderr
        finally:
            connection.execute(f"delete from {schema}.rows where id = -1")
    assert read_yaml(pointer)["meta"]["glue"]["rows"] == 61
    glue("reproduce", "1", "--level", "bytes", cwd=project)  # of the rows that were read then
    found = json.loads(glue("lineage", "1", "--json", cwd=project).stdout)["provenance"]["data"][0]
    assert found["query"] == about and found["md5"] == about["md5"] and about["query"].startswith("select * from")
    assert "60 rows read at 20" in glue("lineage", "1", cwd=project).stdout

    done = glue("run", "--refresh", "--until", "ingest", cwd=project)
    assert kept.read_bytes() == before[0]
    done = glue("run", "--refresh", "--until", "ingest", cwd=project)
    assert "orders: the same 60 rows" in done.stderr and stages(done)["ingest"] == "unchanged"
    config = project / "glue.yaml"
    config.write_text(config.read_text().replace("id < 1000", "id < 50"))
    repro = subprocess.run(["dvc", "repro", "ingest"], cwd=project, capture_output=True, text=True, check=False)
    assert repro.returncode and "does not have the rows of the current data.sources.orders.query" in repro.stderr
    status = glue("status", cwd=project).stdout.splitlines()
    assert status[0].startswith("query        changed: data/raw/orders.parquet does not have the rows of")
    assert status[1].startswith("ingest       changed: data.sources.orders.query")
    told = json.loads(glue("report", "--json", cwd=project).stdout)["pipeline"]
    assert told["stages"][0]["name"] == "query" and {"query", "ingest", "publish"} <= set(told["behind"])
    assert "orders: 50 rows" in glue("run", "--until", "ingest", cwd=project).stderr
    assert glue("why", "query", cwd=project).stdout == "unchanged\n"
    kept.unlink()
    done = glue("run", "--until", "ingest", cwd=project, code=4)
    assert "dvc pull data/raw/orders.parquet.dvc" in done.stderr
    everything = [p for p in project.rglob("*") if p.is_file() and ".dvc/tmp" not in p.as_posix()]
    assert not [p for p in everything if b"hidden@" in p.read_bytes()]


def test_where_it_fails_all_is_as_before(
    project: Path, schema: str, glue: Glue, monkeypatch: pytest.MonkeyPatch
) -> None:
    glue("run", "--until", "ingest", cwd=project)
    config = project / "glue.yaml"
    text = config.read_text()

    def state() -> dict[str, bytes]:
        found = [*(project / "data/raw").iterdir(), project / "dvc.lock", project / "dvc.yaml"]
        return {p.name: p.read_bytes() for p in found}

    before = state()
    cases: list[tuple[Callable[[], None], str, int]] = [
        (lambda: config.write_text(text.replace("id < 1000", "false")), "orders: the query returns no rows", 4),
        (lambda: config.write_text(text.replace("id < 1000", "id < 'x'")), "invalid input syntax", 4),
        (lambda: monkeypatch.delenv("SHOP_URL"), "variable SHOP_URL is not set", 2),
        (lambda: monkeypatch.setenv("SHOP_URL", "postgresql://me:s3cret@127.0.0.1:1/x"), "Connection refused", 4),
    ]
    for change, said, code in cases:
        change()
        done = glue("run", "--refresh", "--until", "ingest", cwd=project, code=code)
        assert said in done.stderr and "s3cret" not in done.stderr and done.stderr.count("error: ") == 1, done.stderr
        assert state() == before
        config.write_text(text)
    assert stages(glue("run", "--until", "ingest", cwd=project))["query"] == "unchanged"  # no server is needed for that


def test_what_glue_yaml_may_say(project: Path, glue: Glue) -> None:
    text = (project / "glue.yaml").read_text()
    (project / "data/raw").mkdir(parents=True)
    mine = project / "data/raw/orders.parquet"
    pq.write_table(pa.table({"a": [1]}), mine)
    content = mine.read_bytes()
    done = glue("run", "--until", "ingest", cwd=project, code=4)
    assert "already exists, and was not written by a query" in done.stderr and mine.read_bytes() == content
    url = '"${SHOP_URL}"'
    for change, said in {
        (url, '"postgresql://me:s3cret@db/shop"'): "data.sources.orders.url: contains a password",
        (url, '"mysql://db/shop"'): "data.sources.orders.url: is not a postgresql:// or duckdb:// URL",
        ("path: data/raw/orders.parquet", "path: orders.csv"): "are kept in a .parquet file, not in orders.csv",
        (f"url: {url}, ", ""): "url and query go together",
    }.items():
        (project / "glue.yaml").write_text(text.replace(*change))
        done = glue("run", cwd=project, code=2)
        assert said in done.stderr and "s3cret" not in done.stderr
