"""`glue monitor`: what was served against what its version was trained on."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mlops_glue.monitoring.history import GAUGES, past
from tests.support.project import Glue
from tests.support.server import ask, serving

SINCE = ["--no-page", "--last", "2d", "--json"]


def customers(rows: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """`spend` decides, `age` and `noise` hardly."""
    rng = np.random.default_rng(seed)
    spend = rng.normal(shift, 1, rows)
    return pd.DataFrame(
        {
            "spend": spend,
            "age": rng.integers(18, 80, rows).astype(float),
            "noise": rng.normal(size=rows),
            "city": rng.choice(["Rome", "Oslo", "Bern"], rows, p=[0.5, 0.3, 0.2]),
            "member": rng.random(rows) < 0.4,
            "left": np.where(rng.random(rows) < 1 / (1 + np.exp(-3 * spend)), "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, glue: Glue, empty_store: Path) -> Path:
    """A champion that has answered 1,500 rows like those that it was trained on."""
    folder = tmp_path_factory.mktemp("monitor")
    customers(2000, 0).to_csv(folder / "customers.csv", index=False)
    glue("init", "p", "--data", "customers.csv", "--target", "left", cwd=folder)
    root = folder / "p"
    shutil.copy(empty_store, root)
    text = (root / "glue.yaml").read_text()
    at, end = text.index("  estimator:"), text.index("  seed:")
    linear = "  estimator: sklearn.linear_model.LogisticRegression\n"
    (root / "glue.yaml").write_text(text[:at] + linear + text[end:])
    glue("run", cwd=root)
    rows = json.loads(customers(1500, 1).drop(columns="left").to_json(orient="records"))
    with serving(root, "--quiet") as (url, _):
        for part in (rows[:750], rows[750:]):
            assert ask(url, body={"rows": part})[0] == 200
    assert list((root / "data/predictions").rglob("*.parquet"))
    return root


@pytest.fixture
def log(project: Path) -> Any:
    """The file of the log, which a test may change; it is as it was afterwards."""
    kept = project.parent / "kept"
    shutil.copytree(project / "data/predictions", kept)
    yield next((project / "data/predictions").rglob("*.parquet"))
    shutil.rmtree(project / "data/predictions")
    kept.rename(project / "data/predictions")


def told(glue: Glue, root: Path, *words: str, code: int = 0) -> Any:
    """The verdict, which `latest.json` has too."""
    said = json.loads(glue("monitor", *words, cwd=root, code=code).stdout)
    assert said["verdict"] == json.loads((root / "monitoring/latest.json").read_text())["verdict"]
    return said


def changed(path: Path, change: Any) -> None:
    """Write the file of the log anew."""
    table = pq.read_table(path, partitioning=None)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), path)


def put(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def test_what_was_served_is_quiet_and_told_everywhere(project: Path, glue: Glue) -> None:
    said = glue("monitor", cwd=project).stdout
    assert "p v1, 1,500 rows: ok; columns carrying 0% of importance drifted (alert above 30%)" in said
    latest = json.loads((project / "monitoring/latest.json").read_text())
    (one,) = latest["versions"]
    assert (latest["verdict"], latest["rows"], one["drifted"]) == ("ok", 1500, [])
    assert one["columns"]["spend"]["weight"] > 0.9 and one["columns"]["city"]["method"] == "jensenshannon"
    assert one["prediction"]["distance"] < 0.2
    page = (project / "monitoring/report.html").read_text()
    assert len(page) < 6e6 and "spend" in page and "<td>Wasserstein distance" in page
    assert not re.search(r"<(script|link|img)\b[^>]{0,200}\b(src|href)=.https?:", page)  # it opens offline
    gauges = (project / "monitoring/metrics.prom").read_text()
    assert 'glue_monitor_verdict{model="p",env="",verdict="ok"} 1\n' in gauges
    assert 'glue_monitor_column_distance{model="p",env="",version="1",column="spend"}' in gauges
    families = {family.name: family for family in text_string_to_metric_families(gauges)}
    assert families.keys() == {f"glue_monitor_{name}" for name in GAUGES}
    (sample,) = families["glue_monitor_performance"].samples
    assert sample.labels["estimated"] == "true" and sample.value == pytest.approx(one["performance"]["value"])
    row = json.loads((project / "monitoring/history.jsonl").read_text().splitlines()[-1])
    assert (row["verdict"], row["versions"], row["rows"]) == ("ok", [1], 1500)
    assert row["estimated"] and row["low"] < row["value"] < row["high"] and row["labelled"] == 0
    assert row["columns"]["spend"] == one["columns"]["spend"]["distance"]
    import mlflow

    store = f"sqlite:///{project / 'mlflow.db'}"
    client = mlflow.MlflowClient(store, store)  # another test may have named a registry
    run = client.get_run(one["run"])
    assert run.data.tags["glue.model_version"] == "1" and run.data.metrics["rows"] == 1500
    assert client.get_model_version("p", "1").tags["glue.monitored"] == one["run"]
    assert [f.path for f in client.list_artifacts(one["run"])] == ["report.html"]
    assert "monitoring" not in subprocess.check_output(["git", "status", "--short"], cwd=project, text=True)


def test_any_table_that_drifts_is_an_alert(project: Path, glue: Glue) -> None:
    customers(1000, 2, 0.5).to_csv(project.parent / "late.csv", index=False)
    said = told(glue, project, "--no-page", "--json", "--current", "../late.csv", code=1)
    (one,) = said["versions"]
    assert one["drifted"] == ["spend"] and one["drift_share"] > 0.9 and one["prediction"]["drifted"]
    assert one["columns"]["spend"]["distance"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("column", ["spend", "noise"])
def test_a_table_that_cannot_be_scored_is_not_ok(column: str, project: Path, glue: Glue) -> None:
    """However little the column that is missing weighs: what the model would say of such rows is not known."""
    customers(1000, 2).drop(columns=column).to_csv(project.parent / "less.csv", index=False)
    said = told(glue, project, "--no-page", "--json", "--current", "../less.csv", code=1)
    assert said["problems"] == [f"not scored, so performance is unknown: {column}: the column is missing"]
    (one,) = said["versions"]
    assert said["verdict"] == "drift" and one["drifted"] == [column]
    assert one["prediction"]["why"] == "unknown, because the rows cannot be scored"


def test_drift_that_the_model_ignores_is_no_alarm(project: Path, glue: Glue) -> None:
    table = customers(1000, 3)
    table["noise"] += 1
    table["age"] += 20
    table.to_parquet(project.parent / "ignored.parquet")
    said = told(glue, project, "--no-page", "--json", "--current", "../ignored.parquet")
    assert set(said["versions"][0]["drifted"]) == {"noise", "age"} and said["drift_share"] < 0.3
    assert said["versions"][0]["columns"]["age"]["out_of_range"] > 0.2


def test_with_few_rows_there_is_no_verdict(project: Path, glue: Glue) -> None:
    customers(1, 4, 5).to_csv(project.parent / "one.csv", index=False)
    said = told(glue, project, "--no-page", "--json", "--current", "../one.csv")
    assert (said["verdict"], said["drift_share"]) == ("not enough data", None)
    now = datetime.now(UTC).isoformat()
    said = glue("monitor", "--since", now, "--no-page", cwd=project).stdout
    assert "not enough data: 0 rows in the window, a verdict needs 200 (monitor.min_rows)" in said


def test_a_window_of_rows(project: Path, glue: Glue) -> None:
    """The second request had the latest 750 rows, all of one time."""
    said = told(glue, project, "--no-page", "--json", "--rows", "700")
    assert said["rows"] == 750


BAD: dict[str, tuple[Any, str]] = {  # name: (the column spend of the log, why it drifts)
    "all null": (lambda t: put(t, "spend", pa.nulls(t.num_rows, pa.float64())), "nulls"),
    "vanished": (lambda t: t.drop(["spend"]), "the column is missing"),
    "another type": (lambda t: put(t, "spend", pa.array(["much"] * t.num_rows)), "is not a number"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_column_that_is_not_what_it_was_drifts(name: str, project: Path, log: Path, glue: Glue) -> None:
    change, why = BAD[name]
    changed(log, change)
    said = told(glue, project, *SINCE, code=1)
    assert why in said["versions"][0]["columns"]["spend"]["why"] and said["drift_share"] > 0.9


def test_a_type_that_changed_in_between(project: Path, log: Path, glue: Glue) -> None:
    table = pq.read_table(log, partitioning=None)
    text = put(table, "city", pa.array([1.5] * table.num_rows))
    text = put(text, "spend", pa.array(["much"] * table.num_rows))
    pq.write_table(text.replace_schema_metadata(table.schema.metadata), log.with_name("v1-later.parquet"))
    (one,) = told(glue, project, *SINCE, code=1)["versions"]
    assert one["rows"] == 3000 and "not a number" in one["columns"]["spend"]["why"]
    assert one["columns"]["city"]["unseen"] == 0.5


def test_classes_that_are_missing_from_the_window_or_new(project: Path, log: Path, glue: Glue) -> None:
    """With the page: Evidently's own presets fail on them."""
    changed(log, lambda t: put(t, "city", pa.array(["Rome", "Ulm"] * (t.num_rows // 2))))
    changed(log, lambda t: put(t, "noise", pa.nulls(t.num_rows, pa.float64())))
    changed(log, lambda t: put(t, "prediction", pa.array(["yes"] * t.num_rows)).drop(["probability_no"]))
    said = told(glue, project, "--last", "2d", "--json")
    assert said["versions"][0]["columns"]["city"]["unseen"] == 0.5 and said["page"] == "monitoring/report.html"


def test_shadows_future_and_torn_files_are_left_out(project: Path, log: Path, glue: Glue) -> None:
    def change(table: pa.Table) -> pa.Table:
        answered, when = np.ones(table.num_rows, bool), table.column("glue_time").to_numpy().copy()
        answered[:300] = False
        when[300:400] += np.timedelta64(3, "h")
        times = pa.array(when, pa.timestamp("us", "UTC"))
        return put(put(table, "glue_answered", pa.array(answered)), "glue_time", times)

    changed(log, change)
    (log.parent / "v1-torn.parquet").write_bytes(log.read_bytes()[:1000])
    said = told(glue, project, *SINCE)
    assert (said["rows"], said["verdict"], len(said["problems"])) == (1100, "ok", 2)
    assert "100 rows are in the future" in " ".join(said["problems"])
    log.unlink()
    done = glue("monitor", *SINCE, cwd=project, code=4)
    assert "v1-torn.parquet: cannot be read" in done.stderr and done.stdout == ""


def test_versions_that_cannot_be_compared(project: Path, log: Path, glue: Glue) -> None:
    """Nothing is known of many rows of such a version; a few of them are told."""
    table = pq.read_table(log, partitioning=None)
    pq.write_table(table.slice(0, 50), log.with_name("v9-few.parquet"))
    said = told(glue, project, *SINCE)
    assert said["rows"] == 1500 and said["problems"][0].startswith(
        "50 rows are excluded: v9 cannot be used for comparison"
    )
    pq.write_table(table, log.with_name("v9-few.parquet"))
    assert "v9" in glue("monitor", *SINCE, cwd=project, code=4).stderr
    other = table.replace_schema_metadata({**table.schema.metadata, b"glue.model": b"another"})
    pq.write_table(other, log.with_name("v9-few.parquet"))
    assert told(glue, project, *SINCE)["rows"] == 1500
    newer = table.replace_schema_metadata({**table.schema.metadata, b"glue.prediction_log": b"9"})
    pq.write_table(newer, log)
    done = glue("monitor", *SINCE, cwd=project, code=4)
    assert "written by a newer version of glue" in done.stderr


def test_two_at_once(project: Path, glue: Glue) -> None:
    from filelock import FileLock

    with FileLock(project / ".glue/monitor.lock"):
        done = glue("monitor", *SINCE, cwd=project, code=4)
    assert "another glue monitor is running in this project" in done.stderr


def test_usage(project: Path, glue: Glue) -> None:
    for words, said in (
        (["--last", "7"], "--last 7: must be a duration"),
        (["--since", "noon"], "--since noon: must be a time"),
        (["--since", f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}"], "is in the future"),
        (["--version", "7"], "version 7: p has no such version"),
        (["--last", "7d", "--rows", "5"], "--last and --rows: give only one window"),
        (["--current", "nowhere.csv"], "--current nowhere.csv: no such file"),
        (["--current", ".."], "--current ..: is a folder"),
        (["--current", "../customers.csv", "--version", "7"], "version 7: p has no such version"),
    ):
        assert said in glue("monitor", "--no-page", *words, cwd=project, code=2).stderr
    text = (project / "glue.yaml").read_text()
    (project / "glue.yaml").write_text(text.replace("  last: 7d", "  last: 7 days"))
    assert "monitor.last" in glue("monitor", cwd=project, code=2).stderr
    (project / "glue.yaml").write_text(text.replace("  prediction_log:", "  # prediction_log:"))
    assert "serve.prediction_log: not set" in glue("monitor", cwd=project, code=2).stderr
    (project / "glue.yaml").write_text(text)


def test_a_clone_without_the_data(project: Path, glue: Glue, tmp_path: Path) -> None:
    """The workflow's job has glue.yaml, a registry and the log, and no table."""
    shutil.copy(project / "glue.yaml", tmp_path)
    text = (tmp_path / "glue.yaml").read_text().replace("data/predictions", str(project / "data/predictions"))
    (tmp_path / "glue.yaml").write_text(f"{text}tracking:\n  uri: sqlite:///{project}/mlflow.db\n")
    assert told(glue, tmp_path, *SINCE)["verdict"] == "ok"


ACCIDENTS = """  on_alert: [retrain]
  retrain: {data: reread}
  alerts: {webhooks: [{url: "http://127.0.0.1:9/"}], timeout_s: 1}
"""


def test_what_is_torn_hides_no_verdict_and_changes_no_exit_code(
    project: Path, log: Path, glue: Glue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torn history, retrainings and registry; a folder in the way of a file; nobody takes the alert."""
    import mlflow

    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    plain = (project / "glue.yaml").read_text()
    (project / "glue.yaml").write_text(re.sub(r"  on_alert: .*\n", lambda _: ACCIDENTS, plain))
    store = f"sqlite:///{project / 'mlflow.db'}"
    for name in ("glue.alerts", "glue.retraining"):
        mlflow.MlflowClient(store, store).set_registered_model_tag("p", name, '{"p": ')
    (project / "monitoring/history.jsonl").write_text('{"time": "20')
    (project / "monitoring/latest.json").unlink(missing_ok=True)
    (project / "monitoring/latest.json/x").mkdir(parents=True)
    changed(log, lambda t: put(t, "spend", pa.array(t["spend"].to_numpy() + 1)))
    done = glue("monitor", "--no-page", "--last", "2d", cwd=project, code=1)
    assert (
        "p v1, 1,500 rows: drift; " in done.stdout
        and "retraining: failed: p: the state of retraining in the registry" in done.stdout
    )
    for said in (
        "the registry's tag glue.alerts cannot be read",
        "not sent: monitor.alerts.webhooks.0: did not answer",
        "monitoring/latest.json: the monitoring result was not saved",
    ):
        assert said in done.stderr, said
    assert [run["verdict"] for run in past(project)] == ["drift"]

    (project / "glue.yaml").write_text(plain)
    changed(log, lambda t: put(t, "spend", pa.array(t["spend"].to_numpy() - 1)))
    done = glue("monitor", "--no-page", "--last", "2d", cwd=project, code=4)  # there is no alert, and nothing is kept
    assert "1,500 rows: ok" in done.stdout and "error: monitoring/latest.json" in done.stderr
    shutil.rmtree(project / "monitoring/latest.json")


def test_rows_that_wait_in_the_spool_and_such_without_an_answer(project: Path, log: Path, glue: Glue) -> None:
    """A server ships its segments every so often; one request overflowed the model."""
    from mlops_glue.serving.contract import Contract
    from mlops_glue.serving.model import Model
    from mlops_glue.serving.prediction_log import PredictionLog

    bundle = project / "artifacts/bundle"
    from mlops_glue import config, files

    options = config.PredictionLog()
    model = Model(bundle, files.digest(bundle), name="p", version=1)
    assert isinstance(model.contract, Contract)
    spool = project / ".glue/serve/log"
    waiting = PredictionLog(spool, options)
    rows = model.contract.from_dicts(json.loads(customers(400, 9).drop(columns="left").to_json(orient="records")))
    said, shares = model.score(model.contract.matrices(rows))
    assert shares is not None
    said[:3], shares[:3] = [None] * 3, [[float("nan")] * 2] * 3  # as `Model.score` gives it
    now = datetime.now(UTC).timestamp()
    waiting.write(model, "f", [("one", now, None, "champion", True, rows.values, said, shares)])
    (spool / "v1-torn.open").write_bytes(b"torn")
    found = told(glue, project, *SINCE)
    assert (found["rows"], found["verdict"]) == (1900, "ok")
    assert [f"{one['unanswered']} of {one['predictions']}" for one in found["versions"]] == ["3 of 1900"]
    assert "v1: 3 of 1,900 predictions are null" in found["problems"][0]
    name = next(spool.glob("v1-*-*.open")).stem
    shutil.copy(log, log.with_name(f"{name}.parquet"))  # as if it was shipped meanwhile
    assert told(glue, project, *SINCE)["rows"] == 1900
    waiting.close()
    for path in spool.iterdir():
        path.unlink()
