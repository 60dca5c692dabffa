"""Plan a new project: infer the values of the templates from its tables."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mlops_glue import layout
from mlops_glue.config import KINDS
from mlops_glue.errors import DataError
from mlops_glue.files import yaml_text
from mlops_glue.metrics import METRICS
from mlops_glue.pipeline.class_kind import kind_of_class
from mlops_glue.pipeline.profile import Profile, infer_task
from mlops_glue.scaffold import checks, defaults, feature_repo, infer
from mlops_glue.scaffold.feature_repo import NewView
from mlops_glue.scaffold.infer import Request, Table
from mlops_glue.scaffold.manifest import Answers
from mlops_glue.streaming import size
from mlops_glue.tables import WHOLE_BYTES

MOST_NOTES = 20  # columns that are listed one by one
FRAUD: dict[str, Any] = {  # what the fraud template sets in place of what its tables show
    "project": "fraud_detection",
    "model": "fraud_detection_model",
    "metrics": ["roc_auc", "average_precision", "f1", "log_loss"],
    "thresholds": [("roc_auc", "min", 0.8, "a constant scores 0.5")],
    "slices": ["merchant_category"],
    "transform": "features:build",
    "use": [
        "customer_features:age",
        "customer_features:income",
        "transaction_features:transaction_count_7d",
        "transaction_features:average_transaction_amount_30d",
    ],
}


def plan(request: Request) -> tuple[Answers, list[str]]:
    """Read the tables, check the target, and infer the rest.

    Returns:
        The values of the templates, by their folder, and what the user should know.

    Raises:
        DataError: the target cannot be learned, or no column is left to learn it from.
        UsageError: an option does not fit the tables.
    """
    notes: list[str] = []
    tables, label = infer.read_tables(request, notes)
    checks.check_target(label, request.target, notes)
    columns = infer.features(request, label)
    notes += [note for table in tables for note in infer.null_words(table, request.target)]
    notes += _column_notes(columns)
    # a template brings its own views
    proposed = [] if request.preset else feature_repo.views(tables, label, request.target, notes)
    views = [view for one in proposed for view in feature_repo.as_in_feast(one, request.feast)]
    if not views and not any(p.kind for p in columns):
        reasons = "; ".join(f"{name!r}: {reason}" for name, reason in _excluded(label, columns)[:3])
        problem = f"{label.file.name}: no column is left to learn {request.target!r} from"
        raise DataError(problem, hint=reasons or "the table has no other column")
    task = _task(request, label, notes)
    project = _project(request, tables, label, task) | _columns(label, columns, views)
    answers: Answers = {"project": project}
    named = request.estimator is not None or request.library is not None
    if request.preset or named or (request.root / "model.py").exists():
        is_small = False
    else:
        whole = size(label.file) <= WHOLE_BYTES
        is_small = whole and defaults.is_small(label.rows, columns, request.target, task)
    if is_small:  # the project receives a model.py that cross-validates several models
        project |= {"estimator": "model:build", "params": flow({})}
        answers["regressor" if task == "regression" else "classifier"] = {}
    if views:
        answers["feast"] = feature_repo.answers(views, project["project"])
    project |= request.preset
    return answers, notes


def _column_notes(columns: list[Profile]) -> list[str]:
    """Return notes on the columns that are left out, and on those that may be meant as something else."""
    excluded = [p for p in columns if p.kind is None]
    notes = [f"left out {p.name!r}: {p.reason}" for p in excluded[:MOST_NOTES]]
    if len(excluded) > MOST_NOTES:
        notes.append(f"left out {len(excluded) - MOST_NOTES} more columns: see {layout.CONFIG}")
    odd = [p for p in columns if p.kind is not None and p.reason]
    notes += [f"{p.name!r}{' is read as categories' * (p.kind == 'category')}: {p.reason}" for p in odd[:MOST_NOTES]]
    return notes


def _excluded(label: Table, columns: list[Profile]) -> list[tuple[str, str]]:
    """Return each column that the model must not see, with the reason."""
    excluded = [(p.name, p.reason) for p in columns if p.kind is None]
    excluded += [(label.when, "the timestamp")] if isinstance(label.when, str) else []
    return excluded + [(column, "the entity") for column in label.entities]


def _task(request: Request, label: Table, notes: list[str]) -> str:
    """Return the task: the requested one, else the estimator's, else the one that the target's values suggest."""
    values = label.rows.column(request.target)
    task = request.task
    kind = kind_of_class(request.estimator[0]) if task is None and request.estimator is not None else None
    if kind is not None:
        few = "binary" if len(values.unique().drop_null()) == 2 else "multiclass"
        task = few if kind == "classifier" else "regression"
    if task is not None:
        checks.check_task(label, request.target, task)
    found = task or infer_task(values)
    checks.check_classes(label, request.target, found, notes, asked=task is not None)
    notes.append(f"task: {found}")
    return found


def _project(request: Request, tables: list[Table], label: Table, task: str) -> dict[str, Any]:
    """Return the values of `glue.yaml` for the tables, the target and the estimator."""
    name = infer.name_of((request.in_place or request.root).name) or "project"
    values = label.rows.column(request.target)
    positive = defaults.positive(values, task)
    estimator, params = request.estimator or _default(request, label, task)
    return {
        "project": name,
        "model": name,
        "sources": [_source(request, table, request.target if table is label else "") for table in tables],
        "source": label.name,
        "path": path_in(request.root, label.file, request.in_place),
        "target": request.target,
        "positive": None if positive is None else yaml_text(positive),
        "task": task,
        "metrics": list(METRICS[task]),
        "thresholds": defaults.thresholds(task, values),
        "estimator": estimator,
        "params": flow(params),
    }


def _default(request: Request, label: Table, task: str) -> tuple[str, dict[str, Any]]:
    """Return import path and arguments of the default estimator, or of the requested library's estimator."""
    if request.library is not None:
        return defaults.booster(request.library, label.rows, request.target, task)
    return defaults.estimator(label.rows, request.target, task)


def _source(request: Request, table: Table, target: str) -> dict[str, Any]:
    expectations = defaults.expectations(table.rows, table.profiles, target)
    source = request.queries.get(table.file)
    return {
        "name": table.name,
        "path": path_in(request.root, table.file, request.in_place),
        "entity": table.entities[0] if table.entities else None,
        "timestamp": table.when,
        "created": table.created,
        "expectations": [flow(expectation)[1:-1] for expectation in expectations],
        **({"url": source.url, "query": source.query} if source is not None else {}),
        **({"timeout_s": f"{source.timeout_s:g}"} if source is not None and source.timeout_s is not None else {}),
    }


def _columns(label: Table, columns: list[Profile], views: list[NewView]) -> dict[str, Any]:
    """Return the values of `glue.yaml` for the columns."""
    in_views = {name for view in views if view.table is label for name, _ in view.fields}
    return {
        "kinds": {kind: [p.name for p in columns if p.kind == kind and p.name not in in_views] for kind in KINDS},
        "excluded": _excluded(label, columns),
        "transform": None,
        "use": [f"{view.name}:{field}" for view in views for field, _ in view.fields],
        "unmatched": 0.5,
        "delay": "1s" if views else None,  # tables often have rows with exactly the labels' times
        "by": "time" if label.when else "entity" if label.entities else "random",
        "slices": defaults.slices(columns),
    }


def flow(value: Any) -> str:
    """Return a value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{yaml_text(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return yaml_text(value) if isinstance(value, str) else json.dumps(value)


def path_in(root: Path, file: Path, in_place: Path | None = None) -> str:
    """Return a table's path: below the project folder (or `in_place`) it stays, any other is copied to `data/raw`."""
    if in_place is not None and file.is_relative_to(in_place):
        return Path(os.path.relpath(file, root)).as_posix()
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else f"{layout.RAW}/{file.name}"
