"""The metrics of a project: those of `metrics`, custom functions, and the cost of errors.

Everything that computes a metric calls `find`: evaluate, the comparison of a candidate with the champion, and the
monitor. `definition` records a custom metric, or the costs, as they were when a version was evaluated.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import metrics
from mlops_glue.config import ChosenThreshold, Config, Cost, OwnMetric
from mlops_glue.errors import ConfigError, StageError, brief, project_lines
from mlops_glue.layout import CONFIG
from mlops_glue.metrics import Metric
from mlops_glue.modules import code_of, import_callable, importable
from mlops_glue.schema import Decision, Schema
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

COST = "cost"
WHERE = f"{CONFIG} evaluate"


def find(config: Config, schema: Schema, root: Path, name: str, where: str = WHERE) -> Metric:
    """Return a metric by name; `where` is the key of `glue.yaml` that contains the name.

    Raises:
        ConfigError: the task has no such metric, or a custom metric cannot be imported.
    """
    own = config.evaluate.own.get(name)
    if own is not None:
        return _of_project(own, schema, root)
    if name == COST and (matrix := costs(config, schema)) is not None:
        import numpy as np

        array = np.array(matrix)
        return metrics.mean_of(lambda y, p, q: array[y, p])
    found = metrics.find(schema.task, name)
    if found is None:
        raise ConfigError([f"{where}: {name!r} is not a metric of a {schema.task} task"])
    return found


def definition(config: Config, schema: Schema, root: Path, name: str) -> str | None:
    """Return the definition of a metric whose name is not enough: a hash of its code, or the costs; else None."""
    own = config.evaluate.own.get(name)
    if own is None:
        return json.dumps(costs(config, schema)) if name == COST else None
    texts = [(root / file).read_bytes() for file in code_of([own.function], None, root)]
    return f"{own.function} of the {own.needs} {hashlib.sha256(b''.join(texts)).hexdigest()[:12]}"


def costs(config: Config, schema: Schema) -> list[list[float]] | None:
    """Return the cost of a row by true and predicted class in the schema's `class_order`; None if not configured.

    Raises:
        ConfigError: `evaluate.cost` does not fit the target's classes.
    """
    given, order = config.evaluate.cost, schema.class_order
    if given is None:
        return None
    if schema.labels is None:
        raise ConfigError([f"{WHERE}.cost: {schema.target!r} is a number, and costs apply only to classes"])
    if isinstance(given, Cost):
        if len(order) != 2:
            problem = f"{schema.target!r} has {len(order)} classes: give the costs by true and predicted label"
            raise ConfigError([f"{WHERE}.cost: {problem}"], hint=f"cost: {{{order[0]}: {{{order[1]}: 1, …}}, …}}")
        return [[given.true_negative, given.false_positive], [given.false_negative, given.true_positive]]
    for label in [*given, *(predicted for row in given.values() for predicted in row)]:
        if label not in order:
            near = did_you_mean(str(label), [str(one) for one in order])
            raise ConfigError([f"{WHERE}.cost: {schema.target!r} has no {label!r} ({near})"])
    missing = [(a, b) for a in order for b in order if a != b and b not in given.get(a, {})]
    if missing:
        problem = f"has no cost for true label {missing[0][0]!r} and predicted label {missing[0][1]!r}"
        raise ConfigError([f"{WHERE}.cost: {problem}"])
    return [[float(given[a].get(b, 0)) for b in order] for a in order]


def main_metric(config: Config, task: str) -> str:
    """Return the metric that decides on promotion."""
    return config.promote.metric or metrics.default(task)


def check_decision(config: Config, task: str) -> None:
    """Check that `glue.yaml` configures a threshold only for a task that has one.

    Raises:
        ConfigError: the task has no threshold; the message names the target and its task.
    """
    configured = config.evaluate.decision_threshold
    by_cost = isinstance(configured, ChosenThreshold) and configured.words == COST
    if configured is None or task == "binary" or (task == "multiclass" and by_cost):
        return
    but = "; for several classes, use {by: cost}" if task == "multiclass" else ""
    problem = (
        f"{config.data.labels.target!r} is the target of a {task} task, but only a binary task has a threshold{but}"
    )
    raise ConfigError([f"{WHERE}.decision_threshold: {problem}"])


def given_decision(config: Config, schema: Schema) -> Decision | None:
    """Return the decision that `glue.yaml` fixes: a threshold, or the costs of classes; None if it must be chosen."""
    configured = config.evaluate.decision_threshold
    if schema.task == "multiclass" and isinstance(configured, ChosenThreshold) and configured.words == COST:
        return Decision(COST, costs=costs(config, schema))
    return Decision("given", configured) if schema.task == "binary" and isinstance(configured, float) else None


def _of_project(own: OwnMetric, schema: Schema, root: Path) -> Metric:
    """Wrap a custom metric. It may sum over rows, so samples must have as many rows as the table."""
    import numpy as np

    with importable(root):
        function = import_callable(own.function, f"{WHERE}.metrics", "module:function")
    order = schema.class_order
    labels = np.array(order, object if order and isinstance(order[0], str) else None)
    of_label = own.needs == "prediction" or schema.labels is None

    def score(truth: Array, label: Array, probability: Any) -> float:
        if schema.labels is None:
            given = truth.copy(), label.copy()
        else:
            shares = probability[:, 1].copy() if len(order) == 2 else probability.copy()
            given = labels[truth], labels[label] if of_label else shares
        try:
            with importable(root):
                value = function(*given)
            return float(value)
        except Exception as error:
            raise StageError(f"metric {own.function}: {brief(error)}{project_lines(error, root)}") from error

    return Metric(score, own.higher_is_better, of_label, whole=True)
