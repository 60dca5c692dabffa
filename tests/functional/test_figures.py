"""A figure of a sample says of how many rows it is, wherever it is read; a figure of all of them says nothing."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from mlops_glue import config as configs
from mlops_glue import console, files, layout
from mlops_glue.adapters import matplotlib
from mlops_glue.delivery import describe
from mlops_glue.pipeline import execute, plots, stages
from mlops_glue.report import facts, run, site
from mlops_glue.report import project as page
from mlops_glue.report import pull_request as report
from mlops_glue.report.pipeline import Pipeline
from mlops_glue.schema import Schema

TEXT = """glue: 1
project: p
data: {sources: {t: {path: t.csv}}, labels: {source: t, target: y}}
train: {estimator: sklearn.tree.DecisionTreeClassifier, params: {max_depth: 3}}
evaluate: {slices: [code]}
split: {test_size: 0.75}
"""
NOW = "2026-01-02T03:04:05+00:00"
COMPARED = {
    "metric": "f1",
    "version": 3,
    "candidate": 0.5,
    "champion": 0.4,
    "low": 0.0,
    "high": 0.2,
    "confidence": 0.9,
}
COMPARED |= {"gain": 0.1, "noticeable": 0.1, "finding": "no difference shown", "seen": None}


def evaluated(root: Path, rows: int, codes: int) -> Path:
    """A project of so many rows, of which each stands there twice, up to `package`."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=rows).round(6)
    table = pd.DataFrame({"x": x, "code": [f"c{at % codes}" for at in range(rows)], "y": np.where(x > 0.5, "a", "b")})
    table["z"] = rng.normal(size=rows).round(6)
    pd.concat([table, table]).to_csv(root / "t.csv", index=False)
    (root / "glue.yaml").write_text(TEXT)
    config = configs.load(root)
    with contextlib.chdir(root), execute.isolated(root, 0):
        for stage in stages.STAGES:
            stage.load()(config, root)
    return root


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One whose holdout has 6,000 rows and 60 values of the slice column, and one with 300 and 4."""
    return evaluated(tmp_path_factory.mktemp("many"), 4000, 60), evaluated(tmp_path_factory.mktemp("few"), 200, 4)


def said_by_run(root: Path, capsys: pytest.CaptureFixture[str]) -> str:
    told: Any = {
        "model": "p",
        "version": 1,
        "same_as": None,
        "comparison": compared(root),
        "refused": [],
        "champion": 1,
        "previous": 1,
    }
    parity = files.read_json(root / layout.BUNDLE / "parity.json")
    evaluation = evaluation_of(root)
    for line in describe.warnings(evaluation, published=True):
        console.progress(f"warning: {line}")
    table = run.metrics(evaluation)
    console.table(table.rows, table.head)
    return "\n".join(["".join(capsys.readouterr()), *table.notes, *run.outcome(told, evaluation, parity)])


def evaluation_of(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / layout.EVALUATION / "evaluation.json").read_text())
    return found


def compared(root: Path) -> dict[str, Any]:
    rows = evaluation_of(root)["rows"]
    few = f" of 5,000 of the {rows:,} rows" if rows > 5000 else ""
    return {**COMPARED, "rows": rows, "method": f"1,000 bootstrap samples{few}"}


def said_by_evaluation(root: Path, _: Any) -> str:
    return (root / layout.EVALUATION / "report.html").read_text()


def said_by_page(root: Path, _: Any, *, former: bool = False) -> str:
    """The sections of the page that are about the evaluation."""
    evaluation, comparison = evaluation_of(root), compared(root)
    if former:
        for key in ("method", "noticeable", "finding", "gain"):
            comparison.pop(key)
        evaluation |= {"warnings": []}
        evaluation.pop("intervals")
        for one in (*evaluation["importances"], *evaluation["slices"]):
            one.pop("rows" if "mean" in one else "values")
    version = facts.Version(1, NOW, ["champion"], {}, None, None, False, "onnx")
    project = page.Project(
        project="p",
        model="p",
        target="y",
        made=NOW,
        glue="0.1.0",
        env=None,
        commit=None,
        dirty=False,
        pipeline=Pipeline(NOW, None, None, [], [], []),
        data=[page.DataTable("t", "t.csv", None, None, "", None)],
        evaluation=evaluation,
        metrics=facts.metrics(evaluation),
        slices=facts.slices(evaluation),
        delivery={"version": 1, "champion": 1, "refused": [], "comparison": comparison},
        registry=facts.Registry(versions=[version], all=1, champion=version),
        main=None,
        monitoring=page.Monitoring(False),
    )
    source = site.Source(configs.load(root), root, project)
    return site.page("index", source, []) + site.page("evaluation", source, [])


def said_by_plots(root: Path, _: Any) -> str:
    evaluation = evaluation_of(root)
    values = np.arange(evaluation["rows"])
    with mock.patch.multiple(matplotlib, bars=title_of, points=title_of):  # what is drawn is cut at forty characters
        made = plots.of_importances(evaluation["importances"], evaluation["rows"])
        made |= plots.of_outcome(Schema("regression", "y", []), values, values, None)
    return " ".join(made.values())


def title_of(title: str, *_: Any, **__: Any) -> str:
    return title


def said_by_json(root: Path, _: Any) -> str:
    evaluation, holdout = evaluation_of(root), json.loads((root / layout.BUNDLE / layout.HOLDOUT).read_text())
    return " ".join(
        [
            f"importances {evaluation['importances'][0]['rows']:,} of {evaluation['rows']:,}",
            f"intervals {evaluation['intervals']['rows']:,} of {evaluation['rows']:,}",
            f"slices {len(evaluation['slices'])} of {evaluation['slices'][0]['values']}",
            f"calibration {holdout['calibration_rows']:,} of {holdout['rows']:,}",
            str(report.sliced(evaluation)),
        ]
    )


CASES: dict[str, tuple[Callable[..., str], list[str]]] = {
    "glue run": (
        said_by_run,
        [
            "the intervals are from 100 bootstrap samples of 5,000 rows, scaled to all rows",
            r"at 90% confidence \(1,000 bootstrap samples of 5,000 of the 6,000 rows\)",
            r"about [\d,]+ of the 6,000 rows of the holdout are also training rows, estimated from \d+ of [\d,]+ rows",
        ],
    ),
    "the evaluation's report": (
        said_by_evaluation,
        [
            "100 bootstrap samples of 5,000 of its 6,000 rows, scaled to all rows",
            "the 50 values with the most rows of 60",
        ],
    ),
    "the page": (
        said_by_page,
        [
            "100 bootstrap samples of 5,000 of its 6,000 rows, scaled to all rows",
            "confidence (1,000 bootstrap samples of 5,000 of the 6,000 rows",
            "is shuffled (1,000 of the 6,000 rows of the holdout)",
            "By code, the 50 values with the most rows of 60",
        ],
    ),
    "the plots": (
        said_by_plots,
        ["importances (1,000 of 6,000 rows)", "Prediction (2,000 of 6,000 rows)", "Residuals (2,000 of 6,000 rows)"],
    ),
    "JSON": (
        said_by_json,
        [
            "importances 1,000 of 6,000",
            "intervals 5,000 of 6,000",
            "slices 50 of 60",
            "calibration 5,000 of 6,000",
            "[('code', 50, 60)]",
        ],
    ),
}
PARTLY = (
    r"[\d,]+ of (the |its )?[\d,]+ (rows|values|classes)(?! of the holdout are also training rows)|narrowed|about \d"
)


@pytest.mark.parametrize("name", CASES)
def test_a_figure_says_of_how_many_rows_it_is(
    name: str, projects: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    say, wanted = CASES[name]
    many, few = projects
    said = say(many, capsys)
    for one in wanted:
        assert one in said or re.search(one, said), f"{one}: {said[-3000:]}"
    if name != "JSON":
        found = re.search(PARTLY, say(few, capsys))
        assert found is None, f"of all rows, and says {found and found[0]!r}"


def test_of_many_classes_the_ones_with_a_curve_are_counted() -> None:
    truth = np.arange(240) % 12
    probability = np.full((240, 12), 0.05)
    probability[np.arange(240), truth] = 0.45
    made = plots.of_outcome(Schema("multiclass", "y", [], list(range(12))), truth, truth, probability)
    assert "ROC (10 of 12 classes)" in made["roc"]
    made = plots.of_outcome(Schema("multiclass", "y", [], list(range(3))), truth % 3, truth % 3, probability[:, :3])
    assert "classes" not in made["roc"]


def test_what_a_former_glue_left_is_told_as_it_was(projects: tuple[Path, Path]) -> None:
    assert re.search(PARTLY, said_by_page(projects[0], None, former=True)) is None
