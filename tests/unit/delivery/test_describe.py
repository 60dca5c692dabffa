"""What MLflow's page says of a version."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from mlops_glue.delivery.describe import decided, decision, described, parameters, verdict
from mlops_glue.delivery.history import Verdict
from mlops_glue.schema import Decision


def test_every_parameter_of_a_model_is_named_as_scikit_learn_names_it() -> None:
    boosting = HistGradientBoostingClassifier(max_iter=7)
    own = Pipeline([("scale", StandardScaler()), ("model", boosting)])
    assert parameters(own)["model__max_iter"] == 7 and "steps" not in parameters(own)
    made = parameters(Pipeline([("prepare", StandardScaler()), ("estimator", boosting)]))
    assert made["max_iter"] == 7 and made["prepare__with_mean"] is True and made["max_leaf_nodes"] == 31
    assert "estimator" not in made
    assert parameters(object()) == {}


SCORE = {"value": 0.61234, "low": 0.6, "high": None, "trivial": 0.5}


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ([], "f1 0.6123, trivial predictor 0.5000; no thresholds set."),
        ([True], "f1 0.6123, trivial predictor 0.5000; all thresholds met."),
        ([False], "f1 0.6123, trivial predictor 0.5000; thresholds missed: f1."),
    ],
)
def test_the_first_line_says_how_good_it_is(limits: list[bool], said: str) -> None:
    thresholds = [{"metric": "f1", "min": 0.1, "max": None, "met": met} for met in limits]
    report = {"metrics": {"f1": SCORE}, "thresholds": thresholds, "target": "y", "task": "binary", "model": "Tree"}
    lines = described(
        "m v2",
        report | {"rows": 10, "train_rows": 40},
        {"t": "0123456789abcdef"},
        "no commit",
        {"owner": "the birds\nteam", "intended_use": "x" * 500, "risks": None},
    ).splitlines()
    assert "* Owner: the birds team" in lines and "Complete card: `glue card 2`." in lines
    assert [len(line) for line in lines if line.startswith("* Intended use: ")] == [len("* Intended use: ") + 200]
    assert not [line for line in lines if "Risks" in line]
    assert lines[0] == said and "m v2 predicts `y` (binary) with Tree." in lines
    assert any(line.startswith("| f1 | 0.6123 | 0.6000 to n/a | 0.5000 | ") for line in lines)
    assert lines[-1] == "Trained on 40 rows of t `0123456789ab`; no commit."


def test_a_decision_is_one_line() -> None:
    made: dict[str, Any] = {"time": "2026-11-29T19:20:00+00:00", "alias": "champion", "by": "run", "compared": None}
    assert decided(made | {"refused": []}) == "* 2026-11-29 19:20 UTC, glue run: **champion**"
    assert decided(made | {"refused": ["a", "b"]}).endswith("glue run: **not champion**: a; b")
    assert len(decided(made | {"refused": ["a" * 9000]})) == 1000


@pytest.mark.parametrize(
    ("champion", "previous", "refused", "same_as", "expected"),
    [
        (2, None, [], None, ["m v2 is champion"]),
        (2, 2, [], None, ["m v2 is champion"]),
        (2, 1, [], None, ["m v2 is champion, replacing v1"]),
        (1, 1, [], None, ["m v2 is challenger"]),
        (1, 1, ["it is bad"], None, ["m v2 refused: it is bad", "v1 stays champion"]),
        (None, None, ["it is bad"], None, ["m v2 refused: it is bad", "there is no champion"]),
        (
            2,
            1,
            [],
            1,
            ["v2 is the same model as v1: the change had no effect on it", "m v2 is champion, replacing v1"],
        ),
    ],
)
def test_a_verdict_says_who_is_champion(
    champion: int | None, previous: int | None, refused: list[str], same_as: int | None, expected: list[str]
) -> None:
    assert verdict("m", Verdict(2, champion, previous, refused), same_as) == expected


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (Decision("given", 0.2), "decision threshold 0.2, as configured"),
        (Decision("f2", 0.117748, rows=2400), "decision threshold 0.1177, chosen by f2 on 2,400 training rows"),
        (Decision("cost", costs=[[0.0, 1.0], [2.0, 0.0]]), "labels with the lowest expected cost"),
    ],
)
def test_what_decides_a_label_is_told(made: Decision, said: str) -> None:
    assert decision(asdict(made)) == said
