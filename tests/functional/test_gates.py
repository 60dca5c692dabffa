"""Every gate is seen to refuse (the mutations that are not in `test_run.py` and `test_main_job.py` already)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.project import CHEAP, Glue, Ran, table


def replaced(old: str, new: str) -> Callable[[Path], None]:
    def mutate(root: Path) -> None:
        text = (root / "glue.yaml").read_text()
        assert old in text, old
        (root / "glue.yaml").write_text(text.replace(old, new, 1))

    return mutate


def data(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    def mutate(root: Path) -> None:
        raw = root / "data/raw/t.csv"
        change(pd.read_csv(raw)).to_csv(raw, index=False)

    return mutate


def suite(*lines: str) -> Callable[[Path], None]:
    def mutate(root: Path) -> None:
        text = (root / "glue.yaml").read_text()
        start, end = text.index("validation:"), text.index("features:")
        body = "".join(f"    - {line}\n" for line in lines) or "    []\n"
        (root / "glue.yaml").write_text(f"{text[:start]}validation:\n  t:\n{body}\n{text[end:]}")

    return mutate


MUTATIONS: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "an expectation that is misspelt": (suite("expect_colum_to_exist: {column: x}"), 2, "expect_column_to_exist"),
    "an argument that is misspelt": (suite("expect_column_to_exist: {columm: x}"), 2, "columm"),
    "an empty suite": (suite(), 2, "an empty suite checks nothing"),
    "an expectation that cannot run": (
        suite('expect_column_values_to_match_regex: {column: town, regex: "["}'),
        1,
        "expect_column_values_to_match_regex",
    ),
    "no rows": (data(lambda t: t.head(0)), 4, "has a header but no rows"),
    "a column of nulls": (data(lambda t: t.assign(x=None)), 1, "expect_column_values_to_not_be_null"),
    "a column that is gone": (data(lambda t: t.drop(columns="noise")), 2, "no column 'noise'"),
    "a column of another type": (
        data(lambda t: t.assign(x="many")),
        1,
        "column 'x' does not meet expect_column_values_to_be_in_type_list",
    ),
    "a target that is gone": (data(lambda t: t.drop(columns="y")), 2, "no column 'y'"),
    "a target of nulls": (
        data(lambda t: t.assign(y=None)),
        1,
        "column 'y' does not meet expect_column_values_to_not_be_null",
    ),
    "a category never seen": (data(lambda t: t.assign(town="Oslo")), 1, "expect_column_values_to_be_in_set"),
}


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory, glue: Glue) -> Path:
    """A project that was never run: to be copied."""
    folder = tmp_path_factory.mktemp("gates")
    table(200).to_csv(folder / "t.csv", index=False)
    glue("init", "p", "--data", "t.csv", "--target", "y", cwd=folder)
    return folder / "p"


@pytest.fixture
def project(new: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(new, tmp_path / "p")


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_turns_the_gate_red(name: str, project: Path, inside: Callable[..., Ran]) -> None:
    mutate, wanted, said = MUTATIONS[name]
    mutate(project)
    code, out, err = inside("run", *CHEAP, cwd=project)
    assert (code, said in err) == (wanted, True), err
    assert "is champion" not in out
    assert not (project / "mlflow.db").exists()


def test_expectations_that_were_not_evaluated_are_no_success(
    project: Path, inside: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    from great_expectations.datasource.fluent.interfaces import Batch

    validate = Batch.validate

    def nothing(self: Any, *words: Any, **named: Any) -> Any:
        result = validate(self, *words, **named)
        result.results = []
        result.statistics["evaluated_expectations"] = 0
        result.success = True
        return result

    monkeypatch.setattr(Batch, "validate", nothing)
    code, _, err = inside("run", "--until", "validate", *CHEAP, cwd=project)
    assert code == 4
    assert "Great Expectations evaluated 0 of " in err


def test_a_metric_that_is_not_defined_meets_no_threshold(tmp_path: Path, inside: Callable[..., Ran]) -> None:
    """The latest rows hold one class only: they have no ROC AUC."""
    made = table(200)
    made["when"] = pd.date_range("2024-01-01", periods=200, freq="D")
    made["y"] = np.where(np.arange(200) < 150, made["y"], "no")
    made.to_csv(tmp_path / "t.csv", index=False)
    inside("init", "p", "--data", "t.csv", "--target", "y", cwd=tmp_path)
    code, out, err = inside("run", *CHEAP, cwd=tmp_path / "p")
    assert code == 1, err
    assert "refused: roc_auc is undefined on this holdout, so threshold min" in out
    assert "warning: roc_auc is undefined: the holdout has no row in which y is 'yes'" in err
    assert "there is no champion" in out


def test_a_champion_that_the_holdout_cannot_be_scored_by_stays(
    project: Path, inside: Callable[..., Ran], glue: Glue
) -> None:
    """It takes a column that the table no longer has: there is nothing to compare, so nothing is better."""
    assert inside("run", *CHEAP, cwd=project)[0] == 0
    data(lambda t: t.drop(columns="noise"))(project)
    text = (project / "glue.yaml").read_text()
    kept = [line for line in text.splitlines() if "noise" not in line]
    (project / "glue.yaml").write_text("\n".join(kept) + "\n")
    code, out, err = inside("run", cwd=project)
    assert code == 1, err
    assert "champion v1 could not be scored on this holdout" in out and "v1 stays champion" in out
    assert json.loads(glue("status", "--json", cwd=project).stdout)["delivery"]["champion"] == 1


def test_without_a_champion_nothing_is_scored(project: Path, inside: Callable[..., Ran]) -> None:
    replaced("roc_auc: {min: 0.", "roc_auc: {min: 0.999")(project)
    code, out, _ = inside("run", *CHEAP, cwd=project)
    assert (code, "there is no champion" in out) == (1, True)
    code, _, err = inside("predict", "data/raw/t.csv", "out.csv", cwd=project)
    assert (code, "has no champion" in err, "hint: --version 1, or glue promote 1" in err) == (2, True, True)
    code, _, err = inside("card", cwd=project)
    assert (code, "hint: glue card 1, or glue promote 1" in err) == (2, True)
    code, _, err = inside("predict", "data/raw/t.csv", "no dir/out.csv", cwd=project)
    assert (code, "hint: mkdir -p 'no dir'" in err, (project / "no dir").exists()) == (2, True, False)
    assert not (project / "out.csv").exists()
