"""What a project measures by: its own functions, which get what the table has, and what mistakes cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_glue.config import Config
from mlops_glue.delivery.compare import measured
from mlops_glue.errors import ConfigError, StageError
from mlops_glue.measures import costs, definition, find
from mlops_glue.metrics import METRICS, compute
from mlops_glue.schema import Schema

YES_NO = Schema("binary", "y", labels=["no", "yes"], positive="no")  # so that the positive class is index 1
BIRDS = Schema("multiclass", "y", labels=["a", "b", "c"])
VALUE = Schema("regression", "y")
MODULE = """
from rates import RATE


def profit(truth, said):
    seen.append((truth, said))
    truth[:] = truth[::-1]  # what is done to the arrays is done to copies
    return RATE * float((truth == said).sum())


def broken(truth, said):
    return truth.mean() / None


seen = []
"""


def config(**evaluate: Any) -> Config:
    data = {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}}
    return Config.model_validate({"glue": 1, "project": "p", "data": data, "train": {}, "evaluate": evaluate})


def own(function: str, **more: Any) -> Config:
    return config(metrics=[{"function": function, "higher_is_better": False, **more}])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "my_metrics.py").write_text(MODULE)
    (tmp_path / "rates.py").write_text("RATE = 2\n")
    return tmp_path


@pytest.mark.parametrize(
    ("schema", "needs", "truth_seen", "said_seen"),
    [
        (YES_NO, "prediction", ["yes", "no", "no"], ["no", "no", "yes"]),
        (YES_NO, "probability", ["yes", "no", "no"], [0.75, 0.9, 0.25]),
        (BIRDS, "prediction", ["a", "b", "b"], ["b", "b", "a"]),
        (VALUE, "prediction", [0, 1, 1], [1, 1, 0]),
        (VALUE, "probability", [0, 1, 1], [1, 1, 0]),
    ],
)
def test_a_function_of_the_projects_own_gets_what_the_table_has(
    project: Path, schema: Schema, needs: str, truth_seen: list[Any], said_seen: list[Any]
) -> None:
    metric = find(own("my_metrics:profit", needs=needs), schema, project, "profit")
    assert not metric.higher_is_better and metric.whole and metric.losses is None
    assert metric.of_label == (needs == "prediction" or schema is VALUE)
    truth, label = np.array([0, 1, 1]), np.array([1, 1, 0])
    share = np.array([0.75, 0.9, 0.25])
    probability = None if schema is VALUE else np.column_stack([1 - share, share])
    value = compute(metric, truth, label, probability)
    seen_truth, seen_said = (metric.score.__closure__ and _seen(metric)[-1]) or (None, None)
    assert list(seen_said) == said_seen and list(seen_truth)[::-1] == truth_seen
    assert value == 2 * sum(a == b for a, b in zip(truth_seen[::-1], said_seen, strict=True))
    assert truth.tolist() == [0, 1, 1] and label.tolist() == [1, 1, 0]


def _seen(metric: Any) -> list[Any]:
    """What the function of `MODULE` was called with."""
    cells = [cell.cell_contents for cell in metric.score.__closure__]
    function = next(one for one in cells if getattr(one, "__name__", "") == "profit")
    seen: list[Any] = function.__globals__["seen"]
    return seen


def test_its_name_and_its_code_say_what_it_is(project: Path) -> None:
    known = own("my_metrics:profit", name="gain")
    assert list(known.evaluate.own) == ["gain"] and known.evaluate.measured(["f1"]) == ["gain"]
    before = definition(known, YES_NO, project, "gain")
    assert before is not None and before.startswith("my_metrics:profit of the prediction ")
    assert definition(own("my_metrics:profit", needs="probability"), YES_NO, project, "profit") != before
    (project / "rates.py").write_text("RATE = 3\n")  # which it imports
    assert definition(known, YES_NO, project, "gain") != before
    assert definition(known, YES_NO, project, "f1") is None
    with pytest.raises(ConfigError, match=r"glue\.yaml evaluate: 'profit' is not a metric of a binary task"):
        find(known, YES_NO, project, "profit")
    with pytest.raises(ConfigError, match=r"^glue\.yaml promote\.metric: 'rmse' is not a metric of a binary task$"):
        find(known, YES_NO, project, "rmse", "glue.yaml promote.metric")


def test_what_is_wrong_in_it_has_its_file_and_line(project: Path) -> None:
    metric = find(own("my_metrics:broken"), VALUE, project, "broken")
    with pytest.raises(StageError) as told:
        compute(metric, np.ones(3), np.ones(3), None)
    first, second = told.value.message.splitlines()
    assert first.startswith("metric my_metrics:broken: TypeError: unsupported operand")
    assert second == "  my_metrics.py:12 in broken: return truth.mean() / None"
    for path, said in (
        ("my_metrics:profits", "no 'profits' in my_metrics (did you mean 'profit'?)"),
        ("mine:x", "No m"),
    ):
        with pytest.raises(ConfigError, match=r"evaluate\.metrics: ") as refused:
            find(own(path), VALUE, project, path.partition(":")[2])
        assert said in refused.value.message
    (project / "my_metrics.py").write_text("def broken(truth, said):\n    return {}\n")
    with pytest.raises(StageError, match="metric my_metrics:broken: TypeError"):
        compute(find(own("my_metrics:broken"), VALUE, project, "broken"), np.ones(3), np.ones(3), None)


def test_what_two_classes_cost(tmp_path: Path) -> None:
    known = config(cost={"false_positive": 1, "false_negative": 10, "true_positive": -2})
    assert costs(known, YES_NO) == [[0, 1], [10, -2]]  # by true and predicted class, the positive one last
    assert known.evaluate.measured(["f1"]) == ["f1", "cost"]
    truth, label = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    metric = find(known, YES_NO, tmp_path, "cost")
    assert compute(metric, truth, label, None) == (1 + 10 - 2) / 4 and not metric.higher_is_better
    assert metric.losses is not None and metric.losses(truth, label, None).tolist() == [0, 1, 10, -2]
    by_label = config(cost={"yes": {"no": 1}, "no": {"yes": 10, "no": -2}})
    assert costs(by_label, YES_NO) == costs(known, YES_NO)
    assert definition(by_label, YES_NO, tmp_path, "cost") == definition(known, YES_NO, tmp_path, "cost")
    assert costs(config(), YES_NO) is None
    with pytest.raises(ConfigError, match="'cost' is not a metric of a binary task"):
        find(config(), YES_NO, tmp_path, "cost")


@pytest.mark.parametrize(
    ("cost", "schema", "said"),
    [
        ({"false_positive": 1, "false_negative": 2}, BIRDS, "'y' has 3 classes: give the costs by true and predicted"),
        ({"false_positive": 1, "false_negative": 2}, VALUE, "'y' is a number, and costs apply only to classes"),
        ({"a": {"b": 1}}, BIRDS, "has no cost for true label 'a' and predicted label 'c'"),
        ({"no": {"yes": 1}, "yes": {"noo": 1}}, YES_NO, "'y' has no 'noo' (did you mean 'no'?)"),
        ({"No": {"yes": 1}}, YES_NO, "'y' has no 'No' (did you mean 'no'?)"),
    ],
)
def test_costs_that_do_not_fit_the_classes(cost: Any, schema: Schema, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        costs(config(cost=cost), schema)
    assert said in refused.value.message and refused.value.message.startswith("glue.yaml evaluate.cost: ")


def test_costs_of_labels_that_are_no_text() -> None:
    for labels in ([0, 1], [False, True]):
        known = Schema("binary", "y", labels=labels)
        assert costs(config(cost={labels[0]: {labels[1]: 5}, labels[1]: {labels[0]: 7}}), known) == [[0, 5], [7, 0]]


def test_all_others_are_those_of_metrics(tmp_path: Path) -> None:
    assert find(config(), VALUE, tmp_path, "rmse") is METRICS["regression"]["rmse"]
    assert config().evaluate.measured(["r2", "rmse"]) == ["r2", "rmse"]
    assert config(metrics=["f2", "f2", "f1"]).evaluate.measured(["r2"]) == ["f2", "f1"]


def test_models_are_compared_by_what_they_cost(tmp_path: Path) -> None:
    """The mean of the rows' differences by hand, and the slack is of what the champion saves."""
    rng = np.random.default_rng(0)
    truth, label, other = (rng.integers(0, 2, 200) for _ in range(3))
    known = config(cost={"false_positive": 1, "false_negative": 4})
    promoted = known.model_copy(update={"promote": known.promote.model_copy(update={"metric": "cost"})})
    evaluation: Any = {"metrics": {"cost": {"trivial": 2.5}}}
    found = measured(promoted, tmp_path, YES_NO, evaluation, ((truth, label, None), (truth, other, None)))
    paid = np.array([[0, 1], [4, 0]])
    saved = paid[truth, other] - paid[truth, label]
    assert found["gain"] == pytest.approx(saved.mean()) and found["method"] == "paired t"
    assert found["slack"] == pytest.approx(0.01 * (2.5 - paid[truth, other].mean()))
    assert found["metric"] == "cost" and found["too_small"] is False
