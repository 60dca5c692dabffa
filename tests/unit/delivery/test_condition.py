"""What is asked of a candidate alone, and how it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlops_glue import files
from mlops_glue.delivery import describe
from mlops_glue.delivery.condition import condition, of_leaks, of_validation, refusals


def expectation(success: bool, severity: str) -> dict[str, Any]:
    kwargs = {"column": "x"}
    return {"success": success, "expectation_config": {"type": "expect_it", "kwargs": kwargs, "severity": severity}}


@pytest.mark.parametrize(
    ("results", "holds", "value"),
    [
        ([], None, None),
        ([(True, "critical")], True, 0),
        ([(True, "critical"), (False, "warning")], True, 1),
        ([(False, "critical"), (False, "warning")], False, 2),
    ],
)
def test_expectations_that_are_warnings_are_counted(
    results: list[tuple[bool, str]], holds: bool | None, value: int | None, tmp_path: Path
) -> None:
    assert of_validation(None)["holds"] is None
    files.write_json(tmp_path / "result.json", {"results": []})
    files.write_json(tmp_path / "other/result.json", {"results": [expectation(*one) for one in results]})
    found = of_validation(tmp_path)
    assert (found["holds"], found["value"]) == (holds, value)
    assert ("all of them warnings" in found["detail"]) == (holds is True and value == 1)
    if holds is False:
        assert found["detail"] == "validation: 2 of 2 expectations not met, such as expect_it x"


def test_a_leak_is_told_and_refused_where_the_config_says_so() -> None:
    told: Any = {"leaks": ["column 'x' alone determines the target", "b", "c", "d"]}
    assert of_leaks({}, "refuse")["holds"] is None  # type: ignore[typeddict-item]
    assert of_leaks({"leaks": []}, "refuse")["holds"] is True  # type: ignore[typeddict-item]
    assert of_leaks(told, "accept")["holds"] is None and "{leak: refuse}" in of_leaks(told, "accept")["detail"]
    (line,) = refusals([of_leaks(told, "refuse")])
    assert line.startswith("leak: column 'x' alone") and "and 1 more" in line and "{leak: accept}" in line


def test_one_table_and_one_line_tell_all() -> None:
    found = [
        condition("a", True, value=0.5, limit=0.25),
        condition("b", False, "it is bad", value=2, limit=float("nan")),
        condition("c", None, "no data"),
        condition("d", True),
    ]
    assert describe.condition_cells(found)[:3] == [
        ["a", "yes", "0.5000", "0.2500", ""],
        ["b", "NO", "2", "", "it is bad"],
        ["c", "–", "", "", "no data"],
    ]
    assert describe.conditions(found) == "met: a, d; NOT met: b; not applied: c"
    assert refusals(found) == ["it is bad"]


MEASURED: Any = {"metric": "roc_auc", "candidate": 0.8, "champion": 0.8, "rows": 90, "confidence": 0.9, "method": "m"}


def test_models_that_predict_alike_and_holdouts_that_are_too_small_are_told() -> None:
    alike = MEASURED | {"low": 0.0, "high": 0.0, "noticeable": 0.0, "finding": "no difference shown"}
    said = describe.shown(alike, "v1")
    assert said.endswith("no difference shown; both models predict the same on these 90 rows") and "a loss" not in said
    near = alike | {"low": -0.1, "high": 0.1, "noticeable": 0.2}
    assert "can detect a loss of 0.2000" in describe.shown(near, "v1") and "too few" not in describe.shown(near, "v1")
    assert describe.shown(near | {"too_small": True}, "v1").endswith("too few rows to detect a smaller loss")
