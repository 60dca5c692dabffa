"""A project that begins from a query of a real PostgreSQL or of DuckDB, and each way in which it does not."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import struct
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_glue import config
from mlops_glue.files import read_yaml
from tests.support.project import CHEAP, Glue
from tests.support.server import POSTGRES, postgres

SQL = """-- those who left
select
\tx, town,   -- "as it is": #1
    amount, placed, y

from {table} where id < 1000;
"""
ROWS = """select i::bigint as id, (i * 37 % 101) / 10.0::double precision as x, (i % 9)::numeric(10, 2) as amount,
    case when i % 3 = 0 then 'Ulm' else 'Köln' end as town, timestamp '2025-01-01' + i * interval '9 hours' as placed,
    case when (i * 37 % 101) + (i % 5) * 9 > 60 then 'yes' else 'no' end as y from {series} as g(i)"""


@pytest.fixture(scope="module")
def orders() -> Iterator[str]:
    """A table of PostgreSQL."""
    name = f"q{uuid.uuid4().hex[:12]}"
    with postgres() as connection:
        connection.execute(f"create table {name} as " + ROWS.format(series="generate_series(0, 119)"))
        yield name
        connection.execute(f"drop table {name}")


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a table `orders` of DuckDB."""
    file = tmp_path_factory.mktemp("duckdb") / "shop.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("create table orders as " + ROWS.format(series="range(120)"))
    return file


def everything(folder: Path) -> dict[str, int]:
    return {p.relative_to(folder).as_posix(): p.stat().st_mtime_ns for p in folder.rglob("*")}


@pytest.mark.parametrize("kind", ["postgresql", "duckdb"])
def test_a_query_is_a_project_that_runs_without_the_database(
    kind: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    glue: Glue,
    empty_store: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if kind == "postgresql":
        monkeypatch.setenv("SHOP_URL", f"postgresql://postgres:hidden@{POSTGRES}/test")
        url, kept, table = "${SHOP_URL}", "${SHOP_URL}", request.getfixturevalue("orders")
    else:
        shutil.copy(request.getfixturevalue("warehouse"), tmp_path)
        url, kept, table = "duckdb:///shop.duckdb", "duckdb:///../shop.duckdb", "orders"
    (tmp_path / "orders.sql").write_text(SQL.format(table=table).replace("\n", "\r\n"))
    words = ["init", "shop", "--url", url, "--query", "orders.sql", "--target", "y", "--timestamp", "placed"]
    before = everything(tmp_path)
    done = glue(*words, "--dry-run", cwd=tmp_path)
    assert everything(tmp_path) == before and "would write data/raw/orders.parquet\n" in done.stdout
    assert done.stderr.startswith("data/raw/orders.parquet: 120 rows\n")

    glue(*words, cwd=tmp_path)
    root = tmp_path / "shop"
    made, text = config.load(root), (root / "glue.yaml").read_text()
    query = SQL.format(table=table).strip()
    assert (made.source.path, made.source.url, made.source.query) == ("data/raw/orders.parquet", kept, query)
    assert (
        '\n      query: |-\n        -- those who left\n        select\n        \tx, town,   -- "as it is": #1\n' in text
    )
    assert made.features.number == ["x", "amount"] and made.features.category == ["town"] and made.split.by == "time"
    about = read_yaml(root / "data/raw/orders.parquet.dvc")["meta"]["glue"]
    assert (about["query"], about["url"], about["rows"]) == (query, kept, 120)
    assert not [p for p in root.rglob("*") if p.is_file() and b"hidden" in p.read_bytes()]
    assert glue("upgrade", "--check", cwd=root).stdout.endswith("with your edits\n")

    shutil.copy(empty_store, root)
    if kind == "postgresql":
        monkeypatch.delenv("SHOP_URL")
    else:
        (tmp_path / "shop.duckdb").rename(tmp_path / "away")
    assert "query ....... unchanged" in glue("run", *CHEAP, cwd=root).stderr
    assert {line.split()[1] for line in glue("status", cwd=root).stdout.splitlines()[:7]} == {"unchanged"}
    if kind == "postgresql":
        monkeypatch.setenv("SHOP_URL", f"postgresql://postgres:hidden@{POSTGRES}/test")
    else:
        (tmp_path / "away").rename(tmp_path / "shop.duckdb")
    assert "orders: the same 120 rows" in glue("run", "--refresh", "--until", "ingest", cwd=root).stderr


def test_files_beside_a_query_are_tables_of_features(tmp_path: Path, glue: Glue, warehouse: Path) -> None:
    (tmp_path / "shop").mkdir()
    rows = [{"town": town, "size": at} for at, town in enumerate(("Ulm", "Köln"))]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "towns.parquet")
    words = ["--query", "select * from orders", "--target", "y", "--entity", "town", "--timestamp", "placed"]
    url = f"duckdb:///{warehouse}"  # four slashes: it is elsewhere on the machine
    glue("init", "shop", "--url", url, *words, "--data", "towns.parquet", cwd=tmp_path)
    made = config.load(tmp_path / "shop")
    assert made.data.labels.source == "shop" and made.data.sources["shop"].url == url
    assert made.data.sources["towns"].query is None and made.features.use[-1] == "towns:size"
    assert not (read_yaml(tmp_path / "shop/data/raw/towns.parquet.dvc")).get("meta")
    shutil.rmtree(tmp_path / "shop")
    (tmp_path / "towns.parquet").rename(tmp_path / "shop.parquet")
    done = glue("init", "shop", "--url", url, *words, "--data", "shop.parquet", cwd=tmp_path, code=2)
    assert "two tables are called 'shop'" in done.stderr and not (tmp_path / "shop").exists()


def test_files_are_named_from_the_project(tmp_path: Path, glue: Glue, warehouse: Path) -> None:
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        connection.execute(f"copy orders to '{tmp_path / 'orders.parquet'}'")
    words = ["init", "shop", "--url", "duckdb://", "--target", "y", "--query"]
    done = glue(*words, "from '../orders.parquet'", cwd=tmp_path, code=2)
    assert f"hint: mkdir -p {tmp_path / 'shop'}" in done.stderr and not (tmp_path / "shop").exists()
    (tmp_path / "shop").mkdir()
    done = glue(*words, "from 'orders.parquet'", cwd=tmp_path, code=4)
    assert "file paths are relative to the project folder" in done.stderr
    glue(*words, "from '../orders.parquet'", cwd=tmp_path)
    assert config.load(tmp_path / "shop").source.query == "from '../orders.parquet'"


@contextlib.contextmanager
def unwilling() -> Iterator[str]:
    """The address of a PostgreSQL that takes no password."""
    said = b'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "me"\0\0'

    def serve(its: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = its.accept()
                with client:
                    client.recv(1 << 12)
                    client.sendall(b"E" + struct.pack("!I", len(said) + 4) + said)

    with socket.create_server(("127.0.0.1", 0)) as its:
        threading.Thread(target=serve, args=(its,), daemon=True).start()
        yield f"127.0.0.1:{its.getsockname()[1]}"
        its.shutdown(socket.SHUT_RDWR)


LITERAL = "postgresql://me:s3cret@db/shop"
UNSET = ["--url", "${SHOP_URL}"]
REFUSED: dict[str, tuple[list[str], int, str, str]] = {  # what else is given, and code, problem and hint
    "no rows": (
        ["--query", "select * from orders where id < 0"],
        4,
        "--query: the query returns no rows",
        "check the database",
    ),
    "a typing error": (["--query", "selct 1"], 4, "--query: duckdb: ParserException: .*syntax error", "single SELECT"),
    "no such table": (["--query", "select * from oders"], 4, "oders does not exist", "single SELECT"),
    "two statements": (["--query", "select 1; select 2"], 4, "the query is not a single SELECT", "COPY, INSERT"),
    "a write": (["--query", "drop table orders"], 4, "the query is not a single SELECT", "COPY, INSERT"),
    "a type": (
        ["--query", "select [id] as ids, y from orders"],
        4,
        "column 'ids' has type .* cannot be stored exactly",
        '"ids"::numeric',
    ),
    "no such column": (["--target", "yes"], 2, "--target yes: no such column in shop.parquet", "there are: 'id'"),
    "no such time": (["--timestamp", "place"], 2, "--timestamp place: no such column", "did you mean 'placed'"),
    "an empty query": (["--query", " ;\n"], 2, "--query: is empty", "select … from …"),
    "no such file": (["--query", "order.sql"], 2, "--query order.sql: no such file", "did you mean 'orders.sql'"),
    "a file in Latin-1": (["--query", "latin.sql"], 2, "--query latin.sql: is not UTF-8", "iconv -f WINDOWS-1252"),
    "no such database": (["--url", "duckdb:///gone.db"], 4, "gone.db: no such file", "duckdb:///"),
    "another URL": (["--url", "mysql://db/shop"], 2, "--url: is not a postgresql:// or duckdb:// URL", "export"),
    "a password": (
        ["--url", LITERAL],
        2,
        "--url: contains a password; put the URL into an environment variable",
        "'.{DATABASE_URL}'",
    ),
    "what the shell put in": (
        ["--url", f"{LITERAL}2"],
        2,
        "--url: contains a password",
        "'.{SHOP}', in single quotes",
    ),
    "an unset variable": (UNSET, 2, "--url: environment variable SHOP_URL is not set", "export SHOP_URL=…"),
    "an empty variable": (
        [*UNSET, "SHOP_URL="],
        2,
        "--url: environment variable SHOP_URL is empty",
        "export SHOP_URL=…",
    ),
    "a host that is away": ([*UNSET, "SHOP_URL=postgresql://me:s3cret@127.0.0.1:1/x"], 4, "Connection refused", "up"),
    "a wrong password": (
        [*UNSET, "SHOP_URL=postgresql://me:s3cret@UNWILLING/x?sslmode=disable&gssencmode=disable"],
        *(4, "--query: postgresql: .*password authentication failed", "is the URL right"),
    ),
    "a template": (["--template", "fraud"], 2, "--template has its own tables: use either --query or --template", ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(
    case: str, tmp_path: Path, glue: Glue, warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, code, said, hint = REFUSED[case]
    monkeypatch.setenv("SHOP", f"{LITERAL}2")
    monkeypatch.delenv("SHOP_URL", raising=False)
    (tmp_path / "orders.sql").write_text("select * from orders")
    (tmp_path / "latin.sql").write_bytes("select 'Köln'".encode("latin-1"))
    shutil.copy(warehouse, tmp_path)
    given = {"--url": "duckdb:///shop.duckdb", "--query": "select * from orders", "--target": "y"}
    before = everything(tmp_path)
    with unwilling() as address:
        if words[-1].startswith("SHOP_URL="):
            monkeypatch.setenv("SHOP_URL", words[-1].removeprefix("SHOP_URL=").replace("UNWILLING", address))
        given |= dict([words[:2]])
        done = glue("init", "shop", *(word for pair in given.items() for word in pair), cwd=tmp_path, code=code)
    error, *more = done.stderr.splitlines()
    assert re.search(f"^error: .*{said}", error) and "s3cret" not in done.stderr and done.stdout == ""
    assert [line.partition(": ")[0] for line in more] == ["hint"] * bool(hint) and re.search(hint, "".join(more))
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    "words, hint",
    [
        (["--query", "select 1 as y", "--target", "y"], "--url '${DATABASE_URL}'"),
        (["--url", "duckdb://", "--target", "y"], "--query 'select … from …'"),
        (["--url", "duckdb://", "--query", "select 1 as y"], "--target COLUMN"),
        (["--data", "t.csv", "--target", "y", "--timeout", "3"], "--query 'select … from …'"),
    ],
)
def test_they_go_together(words: list[str], hint: str, tmp_path: Path, glue: Glue) -> None:
    done = glue("init", "shop", *words, cwd=tmp_path, code=2)
    assert done.stderr.startswith("error: ") and hint in done.stderr and not list(tmp_path.iterdir())


def test_a_timeout_ends_a_query_and_stays_with_it(tmp_path: Path, glue: Glue, warehouse: Path) -> None:
    shutil.copy(warehouse, tmp_path)
    words = ["init", "shop", "--url", "duckdb:///shop.duckdb", "--target", "y"]
    endless = "select a.range as x, 1 as y from range(9000000) a, range(9000000) b where (a.range * b.range) % 97 = -1"
    done = glue(*words, "--query", endless, "--timeout", "0.5", cwd=tmp_path, code=4)
    assert "no more rows within 0.5 s" in done.stderr and not (tmp_path / "shop").exists()
    assert "--timeout" in glue(*words, "--query", "select 1", "--timeout", "0", cwd=tmp_path, code=2).stderr
    glue(*words, "--query", "select * from orders", "--timeout", "45.5", cwd=tmp_path)
    assert re.search(r"^      timeout_s: 45\.5  #", (tmp_path / "shop/glue.yaml").read_text(), re.M)


@pytest.mark.parametrize("path", ["glue.yaml", "data/raw/orders.parquet", "data/raw/orders.parquet.dvc"])
def test_what_is_there_is_not_overwritten(path: str, tmp_path: Path, glue: Glue) -> None:
    """And the database is not asked."""
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text("mine")
    (tmp_path / "orders.sql").write_text("select 1 as y")
    before = everything(tmp_path)
    done = glue("init", "--url", "duckdb:///gone.db", "--query", "orders.sql", "--target", "y", cwd=tmp_path, code=2)
    assert f"{path} already exists" in done.stderr and everything(tmp_path) == before


def test_where_writing_fails_all_is_as_before(tmp_path: Path, glue: Glue, warehouse: Path) -> None:
    shutil.copy(warehouse, tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: [")
    before = everything(tmp_path)
    words = ["--url", "duckdb:///shop.duckdb", "--query", "select * from orders", "--target", "y"]
    done = glue("init", *words, cwd=tmp_path, code=None)
    assert done.returncode in (2, 4) and "error: " in done.stderr and everything(tmp_path) == before
