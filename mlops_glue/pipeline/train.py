"""train: preprocessing that suits the columns and the estimator, then the estimator, as one scikit-learn pipeline."""

from __future__ import annotations

import inspect
import logging
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import files, layout, measures, tables
from mlops_glue.adapters import skops
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError, GlueError, StageError, brief, project_lines
from mlops_glue.modules import import_callable
from mlops_glue.pipeline import (
    by_column,
    class_kind,
    class_weights,
    evaluation,
    fitting,
    inner_folds,
    log_target,
    memory,
    native,
    older_rows,
    own_onnx,
    refit,
    streamed,
    trusting,
    unused_params,
)
from mlops_glue.pipeline.execute import set_seeds
from mlops_glue.pipeline.fitting import FitContext
from mlops_glue.pipeline.older_rows import Array, Estimator
from mlops_glue.pipeline.preprocess import preprocessing
from mlops_glue.pipeline.split import batches
from mlops_glue.pipeline.spread import spread
from mlops_glue.pipeline.threads import limit_lightgbm, threads_for
from mlops_glue.schema import Schema
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

DEFAULT = {
    "binary": "sklearn.ensemble.HistGradientBoostingClassifier",
    "multiclass": "sklearn.ensemble.HistGradientBoostingClassifier",
    "regression": "sklearn.ensemble.HistGradientBoostingRegressor",
}
log = logging.getLogger(__name__)
VERBOSITY = {"verbose", "verbosity", "silent", "logging_level", "verbose_eval"}  # of CatBoost and LightGBM


def train(config: Config, root: Path) -> None:
    """Fit on `train.parquet`; write `model.skops`, and `refit.json`, which records whether a second fit differs."""
    schema = Schema.from_dict(files.read_json(root / layout.COLUMNS)["schema"])
    measures.check_decision(config, schema.task)  # the threshold may have been added after featurize
    measures.costs(config, schema)  # fails before a long fit, not after it
    memory.check(config, root, schema, config.train.named or DEFAULT[schema.task])
    if config.train.stream:
        streamed.train(config, root, schema, build)
        return
    table = tables.read_parquet(root / layout.TRAIN)
    features, target = xy(table, schema)
    table = table.select([name for name in table.column_names if name in layout.OWN_COLUMNS])  # the rest is a copy now
    classes = schema.labels is not None
    model, context = build(config, schema, features), FitContext(config, table)
    trust = trusting.checked(
        config,
        root,
        model,
        (features, target),
        lambda *rows: chosen(fitted(*rows, classes=classes, context=context)[0]),
    )
    if config.train.target != "as_is":
        config = _on_scale(config, root)
        model, context = build(config, schema, features), FitContext(config, table)
    unused_params.warn(model)
    if (note := inner_folds.described(config, model)) is not None:
        log.info(note)
    in_doubt, params = refit.is_in_doubt(model), refit.params(model)
    try:
        started = time.perf_counter()
        with spread(config, model):
            model, caught = fitted(model, features, target, classes=classes, context=context)
        fit_s = time.perf_counter() - started
        if config.split.fresh_after:
            kept = _with_older(root, context, (chosen(model), features, target), classes=classes)
            if not kept.all():
                features, target = features[kept], target[kept]
                unfitted = build(config, schema, features)
                model, caught = fitted(unfitted, features, target, classes=classes, context=context)
    except GlueError:
        raise
    except Exception as error:
        estimator = config.train.named or DEFAULT[schema.task]
        raise StageError(f"{estimator}: fit failed: {brief(error)}{project_lines(error, root)}") from error
    unused_params.log_warnings(caught, model)
    model = chosen(model)
    path = root / layout.MODEL
    path.parent.mkdir(parents=True, exist_ok=True)
    skops.save(model, path, trust.names)
    set_seeds(config.train.seed)
    in_doubt = in_doubt or refit.params(build(config, schema, features)) != params
    differs = _fit_twice(context, schema, (features, target), fit_s) if in_doubt else None
    if differs is not None:
        log.warning("warning: %s", f"{kind_of(model)}: the {refit.described(differs)}")
    files.write_json(root / layout.REFIT, {"difference": differs})


def _on_scale(config: Config, root: Path) -> Config:
    """Return the config with the chosen scale of the target; write the reason to `scale.json`."""
    from mlops_glue.pipeline import target_scale  # it imports this module

    config, scale = target_scale.settled(config, root)
    log.info("%s", evaluation.scale_in_words(scale))
    files.write_json(root / layout.SCALE, scale)
    return config


def _fit_twice(context: FitContext, schema: Schema, learn: tuple[pd.DataFrame, Array], fit_s: float) -> float | None:
    """Return by how much two fits of a sample differ, with the threads of a full fit; None if no difference is seen."""

    def fit(features: pd.DataFrame, target: Array) -> Estimator:
        model, classes = build(context.config, schema, features), schema.labels is not None
        return fitted(model, features, target, classes=classes, like=learn[0], context=context)[0]

    return refit.difference(fit, *learn, context.config.train.seed, fit_s)


def _with_older(
    root: Path, context: FitContext, learn: tuple[Estimator, pd.DataFrame, Array], *, classes: bool
) -> Array:
    """Return for each training row whether it is learned from, shape (rows,); write the counts to `learned.json`."""

    def fit(model: Estimator, features: pd.DataFrame, target: Array) -> Estimator:
        return fitted(model, features, target, classes=classes, context=context)[0]

    config = context.config
    batch = batches(config.split.fresh_after, context.table)
    first, losses = older_rows.first_batch(*learn, batch, fit, config.train.seed)
    kept = batch >= first
    after = config.split.fresh_after[first - 1 :] if first else []
    made = {"older_left_out": int((~kept).sum()), "after": list(after), "losses": losses}
    files.write_json(root / layout.LEARNED, made)
    return kept


def fitted(
    model: Estimator,
    features: pd.DataFrame,
    target: Array,
    *,
    classes: bool,
    like: pd.DataFrame | None = None,
    context: FitContext | None = None,
) -> tuple[Estimator, list[warnings.WarningMessage]]:
    """Return the fitted model and its warnings; if it refuses the labels, it is fitted on class indices.

    XGBoost takes only the classes 0 … k-1. Whether an estimator takes others is not known in advance, so it is tried.

    Args:
        model: the unfitted model.
        features: of the rows to fit on.
        target: of the rows, shape (rows,).
        classes: whether the target has classes.
        like: features whose size determines the number of threads; by default `features`.
        context: weights, validation rows and folds; see `fitting`.
    """
    import numpy as np

    if isinstance(model, own_onnx.OnnxRegressor):
        return model, _fit(model, features, target, like, context)
    if (inner := log_target.inside(model)) is not None:
        made, warned = fitted(inner, features, np.log1p(target), classes=False, like=like, context=context)
        return log_target.fitted_around(made, features, target), warned
    are_indices = np.array_equal(known := np.unique(target), np.arange(len(known))) if classes else True
    refused: Exception | None = None
    caught: list[warnings.WarningMessage] = []
    try:
        caught = _fit(model, features, target, like, context)
        kept = not classes or np.array_equal(getattr(model, "classes_", known), known)  # else it changed the labels
        # a search drops candidates that refuse the labels
        if kept and (are_indices or not any(w.category.__name__ == "FitFailedWarning" for w in caught)):
            return model, caught
    except (ValueError, TypeError) as error:
        if are_indices:
            raise
        refused = error
    else:
        class_kind.check_classes(model, known)
    by_index: Estimator | None = None
    try:
        by_index = _by_index(model, known.tolist())
        return by_index, _fit(by_index, features, target, like, context)
    except Exception:
        if by_index is None and refused is not None:
            raise refused from None  # it cannot be copied
        if refused is not None:
            raise  # if the labels were the first problem, this is the other one, else the same
        return model, caught


def _fit(
    model: Estimator, features: pd.DataFrame, target: Array, like: pd.DataFrame | None, context: FitContext | None
) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as caught, threads_for(features if like is None else like):
        warnings.simplefilter("default")
        _stop_late(model, target)
        limit_lightgbm(model, features if like is None else like)
        fitting.fit(model, features, target, context)
    return caught


def _by_index(model: Estimator, labels: list[Any]) -> Estimator:
    """Return an unfitted copy whose last estimator receives class indices, and whose predictions are labels.

    A vote of one model does this with scikit-learn alone: `VotingClassifier` encodes the labels and decodes the winner,
    so that loading the model needs no code from glue.
    """
    from sklearn.base import clone
    from sklearn.ensemble import VotingClassifier
    from sklearn.pipeline import Pipeline

    new = clone(model)
    last = new.steps[-1][1] if isinstance(new, Pipeline) else new
    class_weights.by_index(last, labels)
    how = "soft" if hasattr(last, "predict_proba") else "hard"
    vote = VotingClassifier([("estimator", last)], voting=how, flatten_transform=False)
    return Pipeline([*new.steps[:-1], (new.steps[-1][0], vote)]) if isinstance(new, Pipeline) else vote


def _stop_late(model: Estimator, target: Array) -> None:
    """Turn off early stopping if a class has one row: its validation rows are stratified, which needs two."""
    from collections import Counter

    last = model.steps[-1][1] if hasattr(model, "steps") else model
    if getattr(last, "early_stopping", None) == "auto" and hasattr(last, "predict_proba"):
        rare = min(Counter(target.tolist()).items(), key=lambda pair: pair[1])
        if rare[1] < 2:
            last.set_params(early_stopping=False)
            warnings.warn(f"no early stopping: class {rare[0]!r} has only one training row", stacklevel=2)


def trivial(schema: Schema, target: Array) -> Estimator:
    """Return the trivial predictor, which ignores the features: the mean, or the shares of the classes."""
    import numpy as np
    from sklearn.dummy import DummyClassifier, DummyRegressor

    model: Estimator = DummyRegressor() if schema.task == "regression" else DummyClassifier(strategy="prior")
    return model.fit(np.zeros((len(target), 1)), target)


def xy(table: pa.Table, schema: Schema) -> tuple[pd.DataFrame, Array]:
    """Return the encoded features as a frame (numbers first, then text) and the target as an array of shape (rows,)."""
    frame = table.select([*schema.numeric, *schema.text]).to_pandas()
    return frame, table.column(f"target:{schema.target}").to_numpy()


def chosen(model: Estimator) -> Estimator:
    """Replace a fitted search by the estimator that it chose, as the saved model needs no candidates."""
    from sklearn.pipeline import Pipeline

    if (inner := log_target.inside(model)) is not None:
        model.regressor = model.regressor_ = chosen(inner)
        return model
    if hasattr(model, "best_estimator_"):
        return chosen(model.best_estimator_)
    if isinstance(model, Pipeline) and hasattr(model.steps[-1][1], "best_estimator_"):
        return Pipeline([*model.steps[:-1], (model.steps[-1][0], chosen(model.steps[-1][1]))])
    if (vote := _vote_of_one(model)) is not None:
        vote.estimators_ = [chosen(vote.estimators_[0])]
        vote.named_estimators_["estimator"] = vote.estimators_[0]
        vote.estimators = [("estimator", vote.estimators_[0])]
    return model


def _vote_of_one(model: Estimator) -> Estimator | None:
    """Return the vote that `_by_index` put into a fitted model; None if there is none."""
    from sklearn.ensemble import VotingClassifier

    last = model.steps[-1][1] if hasattr(model, "steps") else model
    return last if isinstance(last, VotingClassifier) and len(getattr(last, "estimators_", [])) == 1 else None


def kind_of(model: Estimator) -> str:
    """Return the class name of the last estimator in a pipeline."""
    model = log_target.bare(model)
    while hasattr(model, "steps"):
        model = model.steps[-1][1]
    vote = _vote_of_one(model)
    return type(model).__name__ if vote is None else kind_of(vote.estimators_[0])


def build(config: Config, schema: Schema, features: pd.DataFrame) -> Estimator:
    """Return the unfitted pipeline; if `train.target` is log, it is fitted on the logarithm of the target.

    Raises:
        ConfigError: the estimator cannot be imported, is not an estimator, or does not take a configured parameter.
    """
    model = _pipeline(config, schema, features)
    return log_target.around(model) if config.train.target == "log" else model


def _pipeline(config: Config, schema: Schema, features: pd.DataFrame) -> Estimator:
    from sklearn.pipeline import Pipeline

    if config.train.onnx is not None:
        return own_onnx.estimator(config, schema)
    path = config.train.estimator or DEFAULT[schema.task]
    estimator = _estimator(path, dict(config.train.params), config.train.seed)
    _check_kind(estimator, schema.task)
    fitting.check(config, estimator)
    class_weights.check(config, schema, estimator)
    log_target.check(config, schema, estimator)
    if isinstance(estimator, Pipeline) or config.train.preprocess:
        class_kind.check_base(estimator)
    form = native.form_of(estimator) if config.train.categories == "native" else None
    if isinstance(estimator, Pipeline) or not config.train.preprocess:
        return estimator
    prepare = preprocessing(schema, estimator, features, config.train, form)
    if form is not None:
        native.tell(estimator, prepare)
    model = Pipeline([("prepare", prepare), ("estimator", estimator)])
    by_column.check(config, schema, model)
    return model


def _check_kind(estimator: Estimator, task: str) -> None:
    """Check for a classifier for classes, a regressor for numbers; an estimator without a known kind passes.

    Raises:
        ConfigError: the estimator has another kind.
    """
    from sklearn.utils import get_tags

    try:
        kind = get_tags(estimator).estimator_type
    except Exception:  # not from scikit-learn, or a pipeline of such estimators
        return
    if kind is not None and kind != ("regressor" if task == "regression" else "classifier"):
        problem = f"{kind_of(estimator)} is a {kind.replace('_', ' ')}, the task is {task}"
        raise ConfigError([f"{layout.CONFIG} train.estimator: {problem.replace('a outlier', 'an outlier')}"])


def _silence(path: str, accepted: Mapping[str, Any], params: dict[str, Any]) -> None:
    """Silence CatBoost and LightGBM, which by default print a line for each round or each failed split."""
    if "allow_writing_files" in accepted:
        params.setdefault("allow_writing_files", False)  # CatBoost writes a folder of logs wherever it runs
    if VERBOSITY & set(params):
        return
    if "allow_writing_files" in accepted:
        params["verbose"] = False
    elif path.startswith("lightgbm."):
        params["verbose"] = -1


def _estimator(path: str, params: dict[str, Any], seed: int) -> Estimator:
    name = path.replace(":", ".").rpartition(".")[2]
    where = f"{layout.CONFIG} train.estimator"
    make = import_callable(path, where, "package.module.Class")
    accepted = inspect.signature(make).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
        for param in params:
            if param not in accepted:
                suggestion = did_you_mean(param, list(accepted))
                raise ConfigError([f"{layout.CONFIG} train.params.{param}: {name} does not take it ({suggestion})"])
    if "random_state" in accepted and not {"random_state", "random_seed"} & set(params):
        params["random_state"] = seed
    _silence(path, accepted, params)
    try:
        estimator = make(**params)
    except Exception as error:
        raise ConfigError(
            [f"{where}: {path!r} cannot be built: {brief(error)}{project_lines(error, Path.cwd())}"]
        ) from error
    if isinstance(estimator, type):
        raise ConfigError(
            [f"{where}: {path!r} returns the class {estimator.__name__}; let it return {estimator.__name__}()"]
        )
    # an unfitted StackingClassifier without its own final estimator claims that it cannot predict; its class can
    if not hasattr(estimator, "fit") or not (hasattr(estimator, "predict") or hasattr(type(estimator), "predict")):
        raise ConfigError([f"{where}: {path!r} returns {type(estimator).__name__}, which has no fit and predict"])
    return estimator
