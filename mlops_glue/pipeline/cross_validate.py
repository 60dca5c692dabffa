"""Cross-validate the estimator on the training rows only: `glue tune` compares parameters in this way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import files, layout, measures, metrics
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError, GlueError, StageError, brief
from mlops_glue.paired import Outcome
from mlops_glue.pipeline.execute import isolated, set_seeds
from mlops_glue.pipeline.fitting import FitContext
from mlops_glue.pipeline.outcome import outcome
from mlops_glue.pipeline.split import folds, training_rows
from mlops_glue.pipeline.threads import threads_for
from mlops_glue.pipeline.train import build, chosen, fitted, xy
from mlops_glue.schema import Schema

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Array = np.ndarray[Any, Any]
Fold = tuple[Array, Array]  # numbers of the rows to train on, and of the rows to predict
Run = Callable[[Iterable[tuple[Config, int]]], Iterator[Outcome]]  # runs `predicted`, here or elsewhere


@dataclass(frozen=True)
class Rows:
    """The training rows, encoded.

    Attributes:
        features: a frame of shape (rows, columns).
        target: an array of shape (rows,).
        schema: of the columns, with the decision rule if `glue.yaml` sets one.
    """

    table: pa.Table
    features: pd.DataFrame
    target: Array
    schema: Schema


def read(config: Config, root: Path) -> Rows:
    """Return the rows that stage train learns from.

    Raises:
        ConfigError: the model is a file, which cannot be trained again on a part of the rows.
    """
    if config.train.onnx_file is not None:
        raise ConfigError(
            [f"{layout.CONFIG} train.onnx: {config.train.onnx_file} is a file, and cannot be cross-validated"],
            hint="train: {onnx: module:function}",
        )
    schema = Schema.from_dict(files.read_json(root / layout.COLUMNS)["schema"])
    schema = replace(schema, decision=measures.given_decision(config, schema))
    table = training_rows(config, root)
    return Rows(table, *xy(table, schema), schema)


def folds_of(config: Config, rows: Rows, seed: int) -> list[Fold]:
    """Return `tune.folds` folds of the rows."""
    classes = rows.schema.labels is not None
    return folds(config, rows.table, rows.target, config.tune.folds, seed, classes=classes)


def with_params(config: Config, params: dict[str, Any]) -> Config:
    """Return the configuration with the estimator's parameters overridden."""
    train = config.train.model_copy(update={"params": {**config.train.params, **params}})
    return config.model_copy(update={"train": train})


def predicted(rows: Rows, of: list[Fold], task: tuple[Config, int]) -> Outcome:
    """Return the truth of a fold, and the predictions of a model trained on the other rows."""
    config, number = task
    learned, held = of[number]
    set_seeds(config.train.seed)  # independent of what was fitted before, here or on another machine
    features = rows.features.iloc[learned]
    model, _ = fitted(
        build(config, rows.schema, features),
        features,
        rows.target[learned],
        classes=rows.schema.labels is not None,
        context=FitContext(config, rows.table),
    )
    some = rows.features.iloc[held]
    with threads_for(some):
        label, probability = outcome(chosen(model), rows.schema, some)
    return rows.schema.class_indices(rows.target[held]), label, probability


def elsewhere(root: Path, rows: Rows, of: list[Fold], task: tuple[Config, int]) -> Outcome:
    """Return `predicted`, computed in a separate process with the project at `root`.

    Raises:
        StageError: the model cannot be fitted.
    """
    with isolated(root, task[0].train.seed):
        try:
            return predicted(rows, of, task)
        except GlueError:
            raise
        except Exception as error:
            raise StageError(brief(error)) from error


def predictions(config: Config, rows: Rows, of: list[Fold], run: Run | None = None) -> Iterator[Outcome]:
    """Yield `predicted` for each fold: lazily one after the other, or as `run` does it."""
    run = run or partial(map, partial(predicted, rows, of))
    return run([(config, number) for number in range(len(of))])


def scores(
    config: Config, rows: Rows, metric: metrics.Metric, of: list[Fold], run: Run | None = None
) -> Iterator[float]:
    """Yield the metric of each fold."""
    return (metrics.compute(metric, *found) for found in predictions(config, rows, of, run))


def together(outcomes: Iterator[Outcome]) -> Outcome:
    """Return the predictions of all folds, joined as if from one model."""
    truth, label, probability = zip(*outcomes, strict=True)
    whole = None if probability[0] is None else np.concatenate(probability)
    return np.concatenate(truth), np.concatenate(label), whole
