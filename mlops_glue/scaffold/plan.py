"""What a new project is to be: the answers that the templates take, inferred from its tables."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mlops_glue import layout
from mlops_glue.errors import DataError
from mlops_glue.files import yaml_text
from mlops_glue.metrics import METRICS
from mlops_glue.pipeline.profile import Profile, infer_task
from mlops_glue.pipeline.train import kind_of_class
from mlops_glue.scaffold import checks, defaults, feature_repo, infer
from mlops_glue.scaffold.feature_repo import NewView
from mlops_glue.scaffold.infer import Request, Table
from mlops_glue.scaffold.manifest import Answers
from mlops_glue.streaming import WHOLE_BYTES

KINDS = ("number", "category", "boolean", "datetime")
MOST_NOTES = 20  # columns that are named one by one
FRAUD: dict[str, Any] = {  # what the fraud template knows better than its tables show
    "project": "fraud_detection",
    "model": "fraud_detection_model",
    "metrics": ["roc_auc", "average_precision", "f1", "log_loss"],
    "thresholds": [("roc_auc", "min", 0.8, "0.5 is what a constant gets")],
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
        What the templates take, by their folder, and what the user should know.

    Raises:
        DataError: the target cannot be learnt, or no column is left to learn it from.
        UsageError: an option does not fit the tables.
    """
    notes: list[str] = []
    tables, label = infer.read_tables(request, notes)
    checks.check_target(label, request.target, notes)
    columns = infer.features(request, label)
    notes += [note for table in tables for note in infer.null_words(table)]
    notes += _column_notes(columns)
    views = _views(request, tables, label, notes)
    excluded = _excluded(label, columns)
    if not views and not any(p.kind for p in columns):
        raise DataError(
            f"{label.file.name}: no column is left to learn {request.target!r} from",
            hint="; ".join(f"{column!r}: {reason}" for column, reason in excluded[:3]) or "it has no other column",
        )
    task = _task(request, label, notes)
    small = _is_small(request, label, columns, task)
    answers: Answers = {
        "project": {
            **_sources(request, tables, label),
            **_target(request, label, task),
            **_columns(label, columns, excluded, views),
            **_estimator(request, label, task, small),
            "slices": defaults.slices(columns, None),
            **request.preset,
        }
    }
    if small:
        answers["regressor" if task == "regression" else "classifier"] = {}
    if views:
        answers["feast"] = feature_repo.answers(views, answers["project"]["project"])
    return answers, notes


def _column_notes(columns: list[Profile]) -> list[str]:
    """Which columns are left out, and which may have been meant as something else."""
    excluded = [p for p in columns if p.kind is None]
    notes = [f"left out {p.name!r}: {p.reason}" for p in excluded[:MOST_NOTES]]
    if len(excluded) > MOST_NOTES:
        notes.append(f"left out {len(excluded) - MOST_NOTES} more columns: see {layout.CONFIG}")
    odd = [p for p in columns if p.kind is not None and p.reason]
    notes += [f"{p.name!r}{' is taken as categories' * (p.kind == 'category')}: {p.reason}" for p in odd[:MOST_NOTES]]
    return notes


def _excluded(label: Table, columns: list[Profile]) -> list[tuple[str, str]]:
    """Each column that the model must not see, with the reason."""
    excluded = [(p.name, p.reason) for p in columns if p.kind is None]
    excluded += [(label.when, "the timestamp")] if isinstance(label.when, str) else []
    return excluded + [(column, "the entity") for column in label.entities]


def _views(request: Request, tables: list[Table], label: Table, notes: list[str]) -> list[NewView]:
    """The feature views; a template brings its own."""
    if request.preset:
        return []
    proposed = feature_repo.views(tables, label, request.target, notes)
    return [view for one in proposed for view in feature_repo.as_in_feast(one, request.feast)]


def _task(request: Request, label: Table, notes: list[str]) -> str:
    """The task that was asked for, that the estimator is for, or that the target's values show."""
    values = label.rows.column(request.target)
    task = request.task
    if task is None and request.estimator is not None:
        kind = kind_of_class(request.estimator[0])
        if kind == "classifier":
            task = "binary" if len(values.unique().drop_null()) == 2 else "multiclass"
        elif kind is not None:
            task = "regression"
    if task is not None:
        checks.check_task(label, request.target, task)
    found = task or infer_task(values)
    checks.check_classes(label, request.target, found, notes, asked=task is not None)
    notes.append(f"task: {found}")
    return found


def _is_small(request: Request, label: Table, columns: list[Profile], task: str) -> bool:
    """Does the project get a `model.py` that cross-validates several models?"""
    if request.preset or request.estimator is not None or (request.root / "model.py").exists():
        return False
    whole = label.file.stat().st_size <= WHOLE_BYTES
    return whole and defaults.is_small(label.rows, columns, request.target, task)


def _sources(request: Request, tables: list[Table], label: Table) -> dict[str, Any]:
    name = infer.name_of((request.in_place or request.root).name) or "project"
    sources = [
        {
            "name": table.name,
            "path": path_in(request.root, table.file, request.in_place),
            "entity": table.entities[0] if table.entities else None,
            "timestamp": table.when,
            "created": table.created,
            "expectations": [
                flow(expectation)[1:-1]
                for expectation in defaults.expectations(
                    table.rows, table.profiles, request.target if table is label else ""
                )
            ],
        }
        for table in tables
    ]
    path = path_in(request.root, label.file, request.in_place)
    return {"project": name, "model": name, "sources": sources, "source": label.name, "path": path}


def _target(request: Request, label: Table, task: str) -> dict[str, Any]:
    values = label.rows.column(request.target)
    positive = defaults.positive(values, task)
    return {
        "target": request.target,
        "positive": None if positive is None else yaml_text(positive),
        "task": task,
        "metrics": list(METRICS[task]),
        "thresholds": defaults.thresholds(task, values),
    }


def _columns(
    label: Table, columns: list[Profile], excluded: list[tuple[str, str]], views: list[NewView]
) -> dict[str, Any]:
    in_views = {name for view in views if view.of is label for name, _ in view.fields}
    return {
        "kinds": {kind: [p.name for p in columns if p.kind == kind and p.name not in in_views] for kind in KINDS},
        "excluded": excluded,
        "transform": None,
        "use": [f"{view.name}:{field}" for view in views for field, _ in view.fields],
        "unmatched": 0.5,
        "delay": "1s" if views else None,  # tables often have rows of the very moments of the labels
        "by": "time" if label.when else "entity" if label.entities else "random",
    }


def _estimator(request: Request, label: Table, task: str, small: bool) -> dict[str, Any]:
    if small:
        return {"estimator": "model:build", "params": flow({})}
    estimator, params = request.estimator or defaults.estimator(label.rows, request.target, task)
    return {"estimator": estimator, "params": flow(params)}


def flow(value: Any) -> str:
    """A value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{yaml_text(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return yaml_text(value) if isinstance(value, str) else json.dumps(value)


def path_in(root: Path, file: Path, in_place: Path | None = None) -> str:
    """A table below the project folder (or `in_place`) stays where it is; any other is copied to `data/raw`."""
    if in_place is not None and file.is_relative_to(in_place):
        return Path(os.path.relpath(file, root)).as_posix()
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else f"{layout.RAW}/{file.name}"
