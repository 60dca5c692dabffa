"""The current model and the base commit's model on the same holdout rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlops_glue import config as configs
from mlops_glue import files, layout, paired, tables, trusted
from mlops_glue.errors import DataError, GlueError, first_line
from mlops_glue.report import facts
from mlops_glue.schema import Schema
from mlops_glue.trusted import Trusted

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_glue.report.base import BaseRevision


class SameRows(NamedTuple):
    """Both models' predictions on the holdout, in the current order of its rows."""

    mine: paired.Outcome
    theirs: paired.Outcome
    rows: pa.ChunkedArray  # the row numbers in the labels table
    schema: Schema  # of the current model


def same_rows(root: Path, base: BaseRevision) -> SameRows:
    """Score the holdout with both models, each on its own input columns.

    Raises:
        GlueError: the base's model or holdout is not available, or the model has another target or task.
    """
    schema = _schema(files.read_json(root / layout.COLUMNS), files.read_json(root / facts.EVALUATION))
    other = _schema(base.json(layout.COLUMNS), base.json(facts.EVALUATION))
    if schema is None or other is None:
        raise DataError(f"{base.name} has no result")
    if (schema.task, schema.target, schema.class_order) != (other.task, other.target, other.class_order):
        raise DataError(f"the model of {base.name} predicts {other.target} ({other.task} {other.labels or ''})")
    holdout, before = tables.read_parquet(root / layout.TEST), base.table(layout.TEST)
    model = base.file(layout.MODEL)
    if before is None or model is None:
        raise DataError(f"{base.name} has no model")
    row, row_before = (table.column(layout.ROW).to_numpy() for table in (holdout, before))
    order = np.argsort(row_before)[np.searchsorted(np.sort(row_before), row)]
    allowed = configs.load(root, needs=(), tables=False).package.trust
    brought = base.file(layout.BUNDLE) if allowed else None  # each model with the code of its own revision
    mine = _outcome(root / layout.MODEL, schema, holdout, _trust(root / layout.BUNDLE, allowed))
    theirs = _outcome(model, other, before.take(order), _trust(brought, allowed))
    return SameRows(mine, theirs, holdout.column(layout.ROW), schema)


def _schema(columns: Mapping[str, Any] | None, evaluation: Mapping[str, Any] | None) -> Schema | None:
    """Return a model's schema, with the decision threshold used in its evaluation."""
    if columns is None or evaluation is None:
        return None
    return Schema.from_dict(columns["schema"] | {"decision": evaluation.get("decision")})


def _trust(bundle: Path | None, allowed: list[str]) -> Trusted:
    """Return the code in a model's bundle, if the current `package.trust` allows it."""
    if bundle is None or not (bundle / trusted.FILE).is_file():
        return trusted.NOTHING
    found = Trusted.from_dict(files.read_json(bundle / trusted.FILE))
    found.check(allowed)
    return found


def _outcome(model: Path, schema: Schema, holdout: pa.Table, trust: Trusted) -> paired.Outcome:
    from mlops_glue.adapters import skops
    from mlops_glue.pipeline.outcome import outcome
    from mlops_glue.pipeline.threads import threads_for
    from mlops_glue.pipeline.train import xy

    features, target = xy(holdout, schema)
    try:
        with threads_for(features), trust.importable():
            return schema.class_indices(target), *outcome(skops.load(model, trust.names), schema, features)
    except GlueError:
        raise
    except Exception as error:  # an estimator may raise anything, for example if its package version has changed
        raise DataError(f"the model cannot be scored: {first_line(error)}") from error
