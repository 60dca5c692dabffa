"""What `glue run` says of a model that would be refused, or is the one of before."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlops_glue import files, layout
from mlops_glue.adapters.mlflow import BUNDLE_DIGEST
from mlops_glue.delivery import deliver, describe
from mlops_glue.errors import StageError
from mlops_glue.pipeline import session, validate

UNDEFINED = "auc is undefined on this holdout, so threshold min 0.8 is not met: a promotion would be refused"


@pytest.mark.parametrize(
    ("value", "met", "expected"),
    [
        (0.71, False, ["auc 0.7100 misses threshold min 0.8: a promotion would be refused"]),
        (0.79996, False, ["auc 0.79996 misses threshold min 0.8: a promotion would be refused"]),
        (None, False, [UNDEFINED]),
        (0.9, True, []),
    ],
)
def test_without_publishing_a_missed_threshold_is_a_warning(
    value: float | None, met: bool, expected: list[str]
) -> None:
    evaluation: Any = {
        "warnings": [],
        "thresholds": [{"metric": "auc", "value": value, "min": 0.8, "max": None, "met": met}],
    }
    assert describe.warnings(evaluation, published=False) == expected
    assert describe.warnings(evaluation, published=True) == []  # the refusal says it


def test_a_version_that_is_the_champion_again_is_known_by_its_bundle() -> None:
    digests = {1: "a", 2: "b", 3: "a"}
    store: Any = SimpleNamespace(tags=lambda _, version: {BUNDLE_DIGEST: digests[version]})
    found = [deliver.same_as(store, "m", *pair) for pair in ((2, 1), (3, 1), (1, 1), (1, None))]
    assert found == [None, 1, None, None]


@pytest.mark.parametrize(
    ("kwargs", "ran", "observed", "said"),
    [
        (
            {"column": "island", "value_set": ["Biscoe", "Dream"], "mostly": 0.9},
            True,
            "52 of 344 rows unexpected (15.12%), such as Torgersen",
            "t: column 'island' does not meet expect_it (value_set Biscoe, Dream, mostly 0.9): "
            "52 of 344 rows unexpected (15.12%), such as Torgersen",
        ),
        ({"min_value": 9}, True, "3", "t: the table does not meet expect_it (min_value 9): 3"),
        ({}, True, "3", "t: the table does not meet expect_it: 3"),
        (
            {"column_list": ["a", "b"]},
            False,
            "no column 'b'",
            "t: columns 'a', 'b' could not be checked against expect_it: no column 'b'",
        ),
        (
            {"column": "n", "value_set": list(range(12))},
            True,
            "x",
            "t: column 'n' does not meet expect_it (value_set 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more): x",
        ),
    ],
)
def test_an_expectation_that_is_not_met_is_a_sentence(
    kwargs: dict[str, Any], ran: bool, observed: str, said: str
) -> None:
    record = {"expectation": "expect_it", "kwargs": kwargs, "ran": ran, "observed": observed}
    assert validate.format_failure("t", record) == said


def test_how_long_a_stage_took_outlives_a_run_that_failed(tmp_path: Path) -> None:
    with session.recorded(tmp_path, ignore) as stages:
        stages("train", "executed", 3.0, [])
    with contextlib.suppress(StageError), session.recorded(tmp_path, ignore) as stages:
        stages("validate", "failed", 9.0, [])
        raise StageError("no", hint="see the page")
    assert files.read_json(tmp_path / layout.LAST_RUN)["hint"] == "see the page"
    with session.recorded(tmp_path, ignore) as stages:
        stages("validate", "restored", 0.0, [])
        stages("train", "unchanged", 0.0, [])
    kept = files.read_json(tmp_path / layout.LAST_RUN)["stages"]
    assert [stage["executed_s"] for stage in kept] == [None, 3.0]


def ignore(name: str, outcome: str, seconds: float, reasons: list[str]) -> None:
    """An `OnStage` that does nothing."""
