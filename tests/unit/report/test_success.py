"""The measures of success, of an audit record, a registry and a monitor's history made by hand."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mlops_glue import config as configs
from mlops_glue import layout
from mlops_glue.delivery import audit
from mlops_glue.report import success
from mlops_glue.report.success import Known, Measure

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = START + timedelta(days=60)


def day(number: float) -> str:
    return (START + timedelta(days=number)).isoformat()


def move(at: float, version: int | None, previous: int | None = None, event: str = "promote") -> dict[str, Any]:
    return {"time": day(at), "version": version, "previous": previous, "event": event}


def tags(commit: str = "", *, refused: list[str] | None = None, dirty: str = "false") -> dict[str, str]:
    made = {"time": day(0), "alias": "champion", "by": "run", "champion": None, "refused": refused or []}
    decision = json.dumps({**made, "compared": None})
    return {"mlflow.source.git.commit": commit, "glue.git_dirty": dirty, "glue.verdict.1": decision}


def run(at: float, verdict: str) -> dict[str, Any]:
    return {"time": day(at), "verdict": verdict}


def measured(**known: Any) -> dict[str, Measure]:
    return {measure.name: measure for measure in success.measures(Known(**known), NOW)}


def test_a_project_of_two_months() -> None:
    found = measured(
        moves=[move(0, 1), move(20, 2, 1), move(20.5, 1, 2, "rollback"), move(40, 4, 1, "force"), move(50, None, 4)],
        tags={1: tags("a"), 2: tags("b"), 3: tags("b", refused=["roc_auc 0.6, min 0.7"]), 4: tags("b")},
        committed={"a": START - timedelta(days=2), "b": START + timedelta(days=16)},
        runs=[
            *(run(10, "ok"), run(11, "not enough data"), run(12, "drift"), run(13, "performance"), run(16, "ok")),
            *(run(30, "drift"), run(31, "not enough data")),
        ],
    )
    assert list(found) == list(success.TITLES)
    assert found["deployment_frequency"].value == pytest.approx(1.5)
    assert found["deployment_frequency"].text == "1.5 in 30 days (3 in 60)"
    assert found["lead_time"].text == "3.0 days (median of 2 commits)"  # v4 is of v2's commit, by other rows
    assert found["time_to_detect"].text == "8.0 days (median of 2 alerts, each from the last quiet run)"
    text = "2.2 days (median of 1 alert, 1 rollback; 1 still open)"
    assert (found["time_to_restore"].text, found["time_to_restore"].unit) == (text, "s")
    assert found["time_to_restore"].value == pytest.approx((4 + 0.5) / 2 * 86_400)
    assert (found["refused_share"].value, found["refused_share"].text) == (0.25, "25% (1 of 4)")


def test_what_is_not_known_says_why() -> None:
    assert {measure.text for measure in success.unknown("no project")} == {"n/a: no project"}
    found = measured()
    assert all(measure.value is None for measure in found.values())
    assert found["deployment_frequency"].text == "n/a: no promotion to champion in the audit record"
    assert found["time_to_detect"].text == "n/a: no run of glue monitor is recorded in this project"
    assert found["time_to_restore"].text == "n/a: no resolved alert and no rollback"
    assert found["refused_share"].text == "n/a: no candidate in the registry yet"
    away = measured(problem="MLflow: http://h does not answer", moves=[move(59.5, 1)])
    assert away["lead_time"].text == away["refused_share"].text == "n/a: MLflow: http://h does not answer"
    assert away["deployment_frequency"].text == "n/a: 1 deployment, the first less than a day ago"


def test_an_alert_that_nothing_quiet_came_before_has_no_time_to_detect() -> None:
    found = measured(runs=[run(1, "drift"), run(2, "ok")])
    assert found["time_to_detect"].text == "n/a: no alert after a quiet run in 2 runs of glue monitor"
    assert found["time_to_restore"].text == "24.0 hours (median of 1 alert, 0 rollbacks)"


def test_code_that_was_not_committed_has_no_lead_time() -> None:
    of = {1: tags("a", dirty="true"), 2: tags("gone"), 3: tags("b")}
    moves = [move(1, 1), move(2, 2, 1), move(3, 3, 2)]
    found = measured(moves=moves, tags=of, committed={"a": START, "b": START})
    assert found["lead_time"].text == "3.0 days (median of 1 commit; excluded: 2 without a clean commit in this clone)"
    without = measured(moves=moves[:2], tags=of, committed={"a": START})
    assert without["lead_time"].text.startswith(
        "n/a: no champion so far was trained on a clean commit that is in this clone"
    )


def test_a_decision_that_somebody_wrote_over_is_told() -> None:
    assert "glue.verdict.1 is not a decision" in measured(tags={1: {"glue.verdict.1": "x"}})["refused_share"].text


def test_a_project_is_read_from_its_own_records(tmp_path: Path) -> None:
    (tmp_path / "glue.yaml").write_text("glue: 1\nproject: p\nregistry: {model: m}\nserve: {port: 8000}\n")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    config = configs.load(tmp_path, needs=configs.A_MODEL)
    for model, alias, at in (("m", "champion", 0), ("m", "challenger", 1), ("other", "champion", 2)):
        audit.record(tmp_path, audit.move(tmp_path, model, alias, 1, None, "promote", time=day(at)))
    history = tmp_path / layout.HISTORY
    history.parent.mkdir()
    lines = [{**run(at, "ok"), "model": "m", "env": env} for at, env in ((1, None), (2, "prod"))]
    history.write_text("\n".join(json.dumps(line) for line in [*lines, {**run(3, "drift"), "model": "m", "env": None}]))
    found = {measure.name: measure for measure in success.collect(config, tmp_path)}
    days = (datetime.now(UTC) - START).days
    assert found["deployment_frequency"].value == pytest.approx(30 / days, rel=0.1)
    assert found["time_to_detect"].text.startswith("2.0 days")  # not since the run in another environment
    assert found["refused_share"].text == "n/a: no candidate in the registry yet"
    assert not (tmp_path / layout.TRACKING_DB).exists()
    history.write_text('{"time": 1}')
    assert {m.text for m in success.collect(config, tmp_path)} == {
        "n/a: a record has been edited and cannot be read: 'model'"
    }
