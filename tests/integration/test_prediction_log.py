"""The prediction log: what a worker has written is found, whole and once, whatever happens to whom."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.dataset as ds
import pytest

from mlops_glue.adapters.fsspec import Folder
from mlops_glue.errors import ToolError
from mlops_glue.serving import segments
from mlops_glue.serving.segments import FORMAT, About, Column, Segment
from mlops_glue.serving.ship import retain, ship_once
from tests.support.project import Glue, row_of
from tests.support.server import answering, ask, serving, with_serve

FIELDS = [Column("amount", "number", "double"), Column("shop", "category", "string"), Column("at", "datetime", "")]
ABOUT = About(FORMAT, "fraud", 7, "f" * 64, FIELDS, ["no", "yes"])


def record(n: int, when: float | None = None, rows: int = 1, answered: bool = True) -> tuple[Any, ...]:
    values = [(n + 0.5, f"shop {n % 3}", "2026-11-25T10:00:00+01:00")] * rows
    shares = [[0.25, 0.75]] * rows
    return (f"id{n}", when or time.time(), None, "champion", answered, values, ["yes"] * rows, shares)


def to(folder: Path) -> tuple[Path, str]:
    (folder / "spool").mkdir(exist_ok=True)
    return folder / "spool", str(folder / "log")


def table(folder: Path) -> Any:
    return ds.dataset(folder / "log", partitioning="hive").to_table()


def test_what_is_written_is_shipped_once_and_typed(tmp_path: Path) -> None:
    shipping = to(tmp_path)
    segment = Segment(tmp_path / "spool", ABOUT)
    midnight = 1_795_564_800.0  # 2026-11-25 UTC
    segment.write([record(1, midnight - 1), record(2, midnight + 1, rows=3)])
    segment.write([(*record(3, midnight + 2)[:5], [(None, None, None)], [None], [[float("nan")] * 2])])
    assert ship_once(*shipping) == 0  # its writer is at it
    segment.close()
    assert ship_once(*shipping) == 5 and ship_once(*shipping) == 0
    (tmp_path / "spool").rmdir()  # by who cleans up
    Segment(tmp_path / "spool", ABOUT).close()
    assert ship_once(*shipping) == 0
    days = sorted(p.name for p in (tmp_path / "log").iterdir())
    assert days == ["date=2026-11-24", "date=2026-11-25"] and list((tmp_path / "spool").iterdir()) == []
    got = table(tmp_path).to_pandas().sort_values(["glue_request_id", "glue_row"])
    assert got.glue_request_id.tolist() == ["id1", "id2", "id2", "id2", "id3"]
    assert got.glue_row.tolist() == [0, 0, 1, 2, 0] and got.amount.tolist()[:2] == [1.5, 2.5]
    assert got["at"].iloc[0] == pd.Timestamp("2026-11-25T09:00:00Z")
    assert got.glue_time.iloc[0] == pd.Timestamp("2026-11-24T23:59:59Z")
    assert got.prediction.iloc[0] == "yes" and got.prediction.isna().iloc[-1]
    assert got.probability_yes.iloc[0] == 0.75
    where = f"{tmp_path}/log/**/*.parquet"
    said = duckdb.sql(f"select count(*), max(glue_version), avg(amount) from '{where}' where date = '2026-11-25'")
    assert said.fetchall()[0] == (4, 7, 2.5)


def test_it_is_read_by_evidently(tmp_path: Path) -> None:
    from evidently import Report
    from evidently.presets import DataDriftPreset

    shipping = to(tmp_path)
    segment = Segment(tmp_path / "spool", ABOUT)
    segment.write([record(n) for n in range(400)])
    segment.close()
    ship_once(*shipping)
    frame = pd.read_parquet(tmp_path / "log")[["amount", "shop", "prediction"]]
    done = Report([DataDriftPreset()]).run(frame[:200], frame[200:])
    assert "amount" in json.dumps(done.dict(), default=str)


def test_a_writer_that_is_killed_leaves_what_it_had_written(tmp_path: Path) -> None:
    """At any moment; a frame that is not whole is of no answer, and is left out."""
    shipping, whole = to(tmp_path), 0
    for seed in range(8):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            segment, n = Segment(tmp_path / "spool", ABOUT), 0
            while True:
                segment.write([record(seed * 10**6 + n + k) for k in range(3)])
                os.write(writer, b"xxx")  # acknowledged
                n += 3
        os.close(writer)
        acknowledged = len(os.read(reader, 3))  # it has begun, however slow the machine is
        time.sleep(random.Random(seed).uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while got := os.read(reader, 1 << 16):
            acknowledged += len(got)
        os.close(reader)
        (left,) = segments.waiting(tmp_path / "spool")
        with left.open("ab") as torn:
            torn.write(b"\x10\x00\x00\x00half a frame"[: seed * 3])
        shipped = ship_once(*shipping)
        assert acknowledged <= shipped <= acknowledged + 3
        whole += shipped
    ids = table(tmp_path)["glue_request_id"].to_pylist()
    assert len(ids) == len(set(ids)) == whole


def test_shipping_that_is_killed_is_done_again(tmp_path: Path) -> None:
    """Twenty times at any moment: every row is there, and once."""
    shipping, n, r = to(tmp_path), 0, random.Random(5)
    context = multiprocessing.get_context("fork")
    for _ in range(20):
        segment = Segment(tmp_path / "spool", ABOUT)
        for _ in range(20):
            segment.write([record(n + k) for k in range(100)])
            n += 100
        segment.close()
        child = context.Process(target=ship_once, args=shipping)
        child.start()
        time.sleep(r.uniform(0.0, 0.12))
        child.kill()
        child.join()
    ship_once(*shipping)
    ids = table(tmp_path)["glue_request_id"].to_pylist()
    assert len(ids) == len(set(ids)) == n
    assert segments.waiting(tmp_path / "spool") == []
    assert duckdb.sql(f"select count(distinct glue_request_id) from '{tmp_path}/log/*/*.parquet'").fetchall()[0] == (n,)


def test_a_destination_that_is_away_keeps_the_segments(tmp_path: Path) -> None:
    shipping = to(tmp_path)
    (tmp_path / "log").write_text("a file where the folder should be")
    segment = Segment(tmp_path / "spool", ABOUT)
    segment.write([record(1)])
    segment.close()
    with pytest.raises(ToolError, match="log"):
        ship_once(*shipping)
    (tmp_path / "log").unlink()
    assert ship_once(*shipping) == 1
    with pytest.raises(ToolError, match="nosuch://x/y: ValueError: Protocol not known") as told:
        Folder("nosuch://x/y")
    for secret in ("nosuch://user:hidden@host/x", "nosuch://host/x?sv=1&sig=hidden", "nosuch://host/x#hidden"):
        with pytest.raises(ToolError, match=r"nosuch://(\*\*\*@)?host/x.*: ValueError: Protocol not known") as told:
            Folder(secret)
        assert "hidden" not in told.value.message


def test_it_goes_to_any_url_of_fsspec(tmp_path: Path) -> None:
    import fsspec

    shipping = tmp_path, "memory://glue/log"
    segment = Segment(tmp_path, ABOUT)
    segment.write([record(1)])
    segment.close()
    assert ship_once(*shipping) == 1
    (name,) = fsspec.filesystem("memory").glob("/glue/log/date=*/*.parquet")
    assert pd.read_parquet(f"memory:/{name}").glue_request_id.tolist() == ["id1"]
    assert retain(Folder("memory://glue/log"), None, 1) == 1


def test_old_files_are_removed(tmp_path: Path) -> None:
    shipping = to(tmp_path)
    for day in range(6):
        segment = Segment(tmp_path / "spool", ABOUT)
        segment.write([record(day, time.time() - day * 86_400)])
        segment.close()
    ship_once(*shipping)
    (tmp_path / "log" / "mine.txt").write_text("no file of the log")
    files = sorted((tmp_path / "log").rglob("*.parquet"), reverse=True)  # newest day first
    for days, path in enumerate(files):
        os.utime(path, (time.time() - days * 86_400,) * 2)
    folder = Folder(str(tmp_path / "log"))
    assert retain(folder, None, None) == 0
    assert retain(folder, 4.5, None) == 1 and not files[-1].exists()
    assert retain(folder, None, 2 * files[0].stat().st_size + 10) == 3
    assert [p for p in files if p.exists()] == files[:2] and (tmp_path / "log" / "mine.txt").exists()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, once_run_penguins: Path) -> Path:
    """A project that has run, copied once for this file."""
    return shutil.copytree(once_run_penguins, tmp_path_factory.mktemp("log"), dirs_exist_ok=True) / "project"


def test_fields_are_left_out_or_hashed(project: Path, glue: Glue) -> None:
    before = with_serve(project, "{prediction_log: kept, log: {omit: [sex, year], hash: [island]}}")
    assert "hash needs hash_key" in glue("serve", cwd=project, code=2).stderr
    (project / "glue.yaml").write_text(before)
    keyed = (
        "{prediction_log: kept, log: {omit: [sex, year, yaer], hash: [island], hash_key: '${LOG_KEY}', rotate_s: 0.1}}"
    )
    with_serve(project, keyed)
    try:
        assert "LOG_KEY is not set" in glue("serve", cwd=project, code=2).stderr
        rows = [row_of(project) | {"island": name, "sex": "s3cr3t"} for name in ("Dream", "Biscoe", "Dream")]
        with serving(project, env={"LOG_KEY": "s3cr3t-key"}) as (url, _):
            assert ask(url, body={"rows": rows})[0] == 200
            time.sleep(1)
            assert b"s3cr3t" not in b"".join(
                p.read_bytes() for p in (project / ".glue/serve").rglob("*") if p.is_file()
            )
        said = (project / "told.txt").read_text()
        assert "serve.log.omit: v1 has no field 'yaer' (did you mean 'year'?)" in said and said.count("warning") == 1
        got = pd.read_parquet(project / "kept")
        assert not {"sex", "year"} & set(got.columns)
        first, second, third = got.sort_values("glue_row").island
        assert first == third != second and len(first) == 32 and "Dream" not in set(got.island)
        everything = b"".join(p.read_bytes() for p in project.rglob("*") if p.is_file() and ".dvc" not in p.parts)
        assert b"s3cr3t" not in everything
    finally:
        (project / "glue.yaml").write_text(before)


def test_its_place_is_in_a_variable(project: Path, glue: Glue, tmp_path: Path) -> None:
    before = with_serve(project, "{prediction_log: '${LOG_PLACE}/kept', log: {rotate_s: 0.1}}")
    try:
        assert "LOG_PLACE is not set" in glue("serve", cwd=project, code=2).stderr
        with serving(project, env={"LOG_PLACE": str(tmp_path)}) as (url, _):
            assert ask(url, body=row_of(project))[0] == 200
        assert len(pd.read_parquet(tmp_path / "kept")) == 1
        assert str(tmp_path) not in (project / "told.txt").read_text()
    finally:
        (project / "glue.yaml").write_text(before)


@pytest.mark.parametrize("full", ["refuse", "serve"])
def test_a_full_disk(full: str, project: Path) -> None:
    """What cannot be logged is refused, or answered and counted, as configured; and when there is room it goes on."""
    before = with_serve(project, f"{{prediction_log: of_{full}, log: {{full: {full}}}}}")
    row = row_of(project)
    try:
        with serving(project, "--quiet") as (url, pid):
            assert ask(url, body=row)[0] == 200
            (worker,) = answering(pid)
            soft = resource.prlimit(worker, resource.RLIMIT_FSIZE)
            resource.prlimit(worker, resource.RLIMIT_FSIZE, (600, soft[1]))
            statuses = [ask(url, body=row)[0] for _ in range(6)]
            assert statuses[-1] == (503 if full == "refuse" else 200)
            (said,) = ask(url, "/ready")[1]["degraded"]
            assert said.startswith("the prediction log cannot be written: ")
            told = ask(url, "/metrics")[1]
            resource.prlimit(worker, resource.RLIMIT_FSIZE, soft)
            assert ask(url, body=row)[0] == 200 and ask(url, "/ready")[1]["degraded"] == []
        lost = int(next(line for line in told.splitlines() if line.startswith("glue_log_lost_total")).split()[1][:-2])
        assert lost > 0
        assert len(pd.read_parquet(project / f"of_{full}")) == 8 - lost  # each that got a 200, but those counted
        assert statuses.count(503) == (lost if full == "refuse" else 0)
    finally:
        (project / "glue.yaml").write_text(before)


def test_two_servers_write_to_one_log(project: Path) -> None:
    before = with_serve(project, "{prediction_log: shared, log: {rotate_s: 0.2}}")
    row = row_of(project)
    try:
        with serving(project, "--quiet") as (one, _):
            text = (project / "told.txt").read_text()
            with serving(project, "--quiet", "--workers", "2") as (other, _):
                assert one in text and one != other
                ids = [ask(url, body=row)[1]["request_id"] for _ in range(40) for url in (one, other)]
        got = pd.read_parquet(project / "shared").glue_request_id
        assert sorted(got) == sorted(ids)
    finally:
        (project / "glue.yaml").write_text(before)
