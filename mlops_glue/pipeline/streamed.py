"""`train.stream`: XGBoost learns from all training rows in pieces; only text columns are entirely in memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import files, layout, row_groups, tables
from mlops_glue.adapters import skops, xgboost
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError, StageError, brief
from mlops_glue.pipeline import by_column, trusting, unused_params
from mlops_glue.pipeline.older_rows import Array, Estimator
from mlops_glue.pipeline.preprocess import ONE_HOT
from mlops_glue.schema import Schema

if TYPE_CHECKING:
    import pandas as pd


HEAD_ROWS = 1000
NEEDS = "or use a sample: train: {rows: N}"


def check(config: Config, schema: Schema, model: Estimator) -> None:
    """Check that an unfitted model can learn from pieces.

    Raises:
        ConfigError: with the reason.
    """
    steps = [name for name, _ in getattr(model, "steps", [])]
    last = model.steps[-1][1] if steps else model
    train, problem = config.train, None
    if not type(last).__module__.startswith("xgboost.") or steps not in (["prepare", "estimator"], []):
        problem = f"{type(last).__name__} cannot learn from pieces; xgboost.XGBClassifier and XGBRegressor can"
    elif not train.preprocess or train.categories == "native" or by_column.constraints(model):
        problem = "needs preprocess: true and categories: encoded, and no constraints by column"
    elif train.weight is not None or train.early_stopping is not None or config.split.fresh_after:
        problem = "does not support weight, early_stopping and split.fresh_after"
    elif train.target != "as_is" or schema.free_text:
        problem = "needs target: as_is, and no features.text"
    if problem is not None:
        raise ConfigError([f"{layout.CONFIG} train.stream: {problem}"], hint=NEEDS)


def train(config: Config, root: Path, schema: Schema, build: Callable[..., Estimator]) -> None:
    """Run stage train in pieces: write `model.skops` and `refit.json`; `build` returns the unfitted model.

    Raises:
        ConfigError: the estimator, or another key of `train`, does not support pieces.
        StageError: the fit failed.
    """
    target = target_of(root, schema)
    first = head(root, schema, target)
    model = build(config, schema, first[0])
    check(config, schema, model)
    trust = trusting.checked(config, root, model, first, lambda some, *rows: some.fit(*rows))
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            fit(root, schema, model, first, target)
    except Exception as error:
        raise StageError(f"{config.train.named}: fit failed: {brief(error)}") from error
    unused_params.log_warnings([one for one in caught if unused_params.NOT_USED.search(str(one.message))], model)
    (root / layout.MODEL).parent.mkdir(parents=True, exist_ok=True)
    skops.save(model, root / layout.MODEL, trust.names)
    files.write_json(root / layout.REFIT, {"difference": None})


def target_of(root: Path, schema: Schema) -> Array:
    """Return the target of the training rows: numbers, or classes 0 … k - 1, the only classes that XGBoost takes.

    Raises:
        StageError: the classes are not 0 … k - 1.
    """
    target: Array = tables.read_parquet(root / layout.TRAIN, [f"target:{schema.target}"]).column(0).to_numpy()
    if schema.labels is not None and not np.array_equal(found := np.unique(target), np.arange(len(found))):
        problem = f"train.stream: XGBoost needs classes numbered from 0, and {schema.target!r} has {found[0]!r}"
        raise StageError(problem, hint=f"number the classes in the table; {NEEDS}")
    return target


def head(root: Path, schema: Schema, target: Array) -> tuple[pd.DataFrame, Array]:
    """Return rows that the preprocessing depends on: some of each class, and of each value of a column with few."""
    import pandas as pd

    rows = [np.arange(min(HEAD_ROWS, len(target)))]
    if schema.labels is not None:
        rows.append(np.unique(target, return_index=True)[1])
    for name in schema.text:
        codes = pd.factorize(tables.read_parquet(root / layout.TRAIN, [name]).column(0).to_numpy())[0]
        rows.append(np.unique(codes, return_index=True)[1][: ONE_HOT + 1])
    chosen = np.unique(np.concatenate(rows))
    frame = row_groups.take(root / layout.TRAIN, chosen, [*schema.numeric, *schema.text]).to_pandas()
    return frame, target[chosen]


def fit(root: Path, schema: Schema, model: Estimator, first: tuple[pd.DataFrame, Array], target: Array) -> None:
    """Fit a pipeline of preprocessing and XGBoost on all training rows; `first` comes from `head`."""
    (_, prepare), (_, estimator) = model.steps
    prepare.fit(*first)
    whole: dict[str, Array] = {}
    for name, part, columns in prepare.transformers_:
        if name not in ("number", "remainder"):  # these parts learn from all rows of their own columns
            names = [first[0].columns[at] for at in columns]
            texts = tables.read_parquet(root / layout.TRAIN, names).to_pandas()
            if type(part).__name__ == "TargetEncoder":  # it encodes training rows by cross-fitting
                whole[name] = part.fit_transform(texts, target)
            else:
                part.fit(texts, target)

    def pieces() -> Iterator[tuple[Array, Array]]:
        at = 0
        for piece in row_groups.pieces(root / layout.TRAIN, [*schema.numeric, *schema.text]):
            here = slice(at, at := at + piece.num_rows)
            yield _encoded(prepare, piece.to_pandas(), {name: made[here] for name, made in whole.items()}), target[here]

    xgboost.fit_in_pieces(estimator, pieces, None if schema.labels is None else len(np.unique(target)))


def _encoded(prepare: Any, rows: pd.DataFrame, known: dict[str, Array]) -> Array:
    """Return preprocessed rows; the columns of parts in `known` are given."""
    made = []
    for name, part, columns in prepare.transformers_:
        if name in known:
            made.append(known[name])
        elif name == "number":
            made.append(rows.iloc[:, columns].to_numpy(np.float32))
        elif name != "remainder":
            made.append(part.transform(rows.iloc[:, columns]))
    return np.hstack(made)
