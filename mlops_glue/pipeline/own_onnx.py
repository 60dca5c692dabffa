"""An ONNX model from the user: the result of their function, or a file that one of their stages wrote.

It is checked on the training rows, and rewritten once to take the two matrices that every model in glue takes. So
nothing after stage train needs to know where it comes from.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import layout
from mlops_glue.adapters import onnx, onnx_files, onnx_graph, tf2onnx
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError, GlueError, StageError, brief, project_lines
from mlops_glue.modules import import_callable
from mlops_glue.schema import Schema
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, Any]
Learn = Callable[["pd.DataFrame", Array, Array | None], tuple[bytes, Array | None]]
WHERE = f"{layout.CONFIG} train.onnx"
GIVEN = ("features", "target", "labels", "seed", "sample_weight")  # arguments that glue itself passes
LABELS, OUTPUT = "glue.labels", "glue.output"  # keys of a model's metadata
CHUNK_ROWS = 10_000
PARITY_ROWS = 1_000  # rows that the model before its conversion to ONNX predicts too
ALONE_ROWS = 5  # rows that are also predicted one by one
TOLERANCE = 1e-3  # of the sum of probabilities, and of the prediction of a single row


class OnnxRegressor:
    """The user's ONNX model with the interface of a scikit-learn regressor.

    Attributes:
        model: once fitted, the ONNX model that takes the encoded columns as `number` and `text`.
    """

    model: bytes

    def __init__(self, learn: Learn) -> None:
        self._learn = learn

    def fit(self, features: pd.DataFrame, target: Array, sample_weight: Array | None = None) -> OnnxRegressor:
        """Call the user's function, or read their file, and check the model.

        Raises:
            StageError: the function fails, or its model cannot be served.
        """
        self.model, classes = self._learn(features, target, sample_weight)
        if classes is not None:
            self.classes_ = classes
        self.__dict__.pop("_run", None)
        return self

    def predict(self, features: pd.DataFrame) -> Array:
        """Return the value or label of each row, shape (rows,)."""
        return np.ravel(self._outputs(features)[0])

    def _outputs(self, features: pd.DataFrame) -> list[Array]:
        if "_run" not in self.__dict__:
            self._run = runner(self.model)
        try:
            return in_chunks(self._run, features)
        except GlueError as error:
            raise ValueError(error.message) from error  # the error with which estimators refuse rows

    def __getstate__(self) -> dict[str, Any]:
        """Return what is saved in a file: only the model."""
        return {name: value for name, value in self.__dict__.items() if name in ("model", "classes_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxRegressor:
        """Return a copy that can be fitted; whatever the two share does not change."""
        made = type(self)(self.__dict__.get("_learn"))  # type: ignore[arg-type]  # a loaded model is not fitted again
        made.__setstate__(self.__getstate__())
        return made


class OnnxClassifier(OnnxRegressor):
    """The user's ONNX model with the interface of a scikit-learn classifier.

    Attributes:
        classes_: the labels in the order of the probabilities, shape (classes,).
    """

    classes_: Array

    def predict(self, features: pd.DataFrame) -> Array:
        """Return the most probable label of each row, shape (rows,)."""
        return super().predict(features).astype(self.classes_.dtype)

    def predict_proba(self, features: pd.DataFrame) -> Array:
        """Return probabilities, float32 of shape (rows, classes)."""
        return self._outputs(features)[1]


def runner(model: bytes) -> onnx.Run:
    """Return a model as a function, after checking that glue can serve all of it."""
    onnx_files.check(model)
    return onnx.runner(onnx.session(model))


def in_chunks(run: onnx.Run, features: pd.DataFrame) -> list[Array]:
    """Return the outputs for all rows of a frame, which has the numbers first and then the text."""
    is_text = [str(kind).startswith(("object", "str")) for kind in features.dtypes]
    numbers = features.loc[:, np.logical_not(is_text)].to_numpy(np.float32)
    texts = features.loc[:, is_text].to_numpy(object)
    parts = [
        run({"number": numbers[at : at + CHUNK_ROWS], "text": texts[at : at + CHUNK_ROWS]})
        for at in range(0, max(len(features), 1), CHUNK_ROWS)
    ]
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def estimator(config: Config, schema: Schema) -> OnnxRegressor:
    """Return the unfitted model for `train.onnx`.

    Raises:
        ConfigError: the function cannot be imported or does not take a parameter; or a file has params but `labels`.
    """
    path, params = config.train.onnx or "", dict(config.train.params)
    if config.train.onnx_file is None:
        ask = _caller(config, import_callable(path, WHERE, "module:function"))
        labels = None
    else:
        labels = params.pop("labels", None)
        if params or config.train.weight is not None:
            key = f"params.{next(iter(params))}" if params else "weight"
            raise ConfigError([f"{layout.CONFIG} train.{key}: {path} is a file, which cannot take it"])
        ask = None

    def learn(features: pd.DataFrame, target: Array, weight: Array | None) -> tuple[bytes, Array | None]:
        known, index = (None, target) if schema.labels is None else np.unique(target, return_inverse=True)
        given = Path(config.train.onnx_file or "") if ask is None else ask(features, index, known, weight)
        try:
            order = None if labels is None else json.dumps(labels)
            return checked(given, schema, features, known, is_file=ask is None, labels=order)
        except GlueError as error:
            raise StageError(f"{WHERE}: {path}: {error.message}", hint=error.hint) from error

    return (OnnxRegressor if schema.labels is None else OnnxClassifier)(learn)


def _caller(config: Config, make: Callable[..., Any]) -> Callable[..., Any]:
    """Return the user's function as a function of features, target, classes and weights."""
    path, params = config.train.onnx, dict(config.train.params)
    accepted = inspect.signature(make).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
        for param in params:
            if param not in accepted:
                known = did_you_mean(param, [name for name in accepted if name not in GIVEN])
                raise ConfigError([f"{layout.CONFIG} train.params.{param}: {path} does not take it ({known})"])
    if config.train.weight is not None and "sample_weight" not in accepted:
        raise ConfigError([f"{layout.CONFIG} train.weight: {path} takes no sample_weight"])
    if "seed" in accepted:
        params.setdefault("seed", config.train.seed)

    def ask(features: pd.DataFrame, target: Array, known: Array | None, weight: Array | None) -> Any:
        extra = {"labels": None if known is None else known.tolist(), "sample_weight": weight}
        extra = {name: value for name, value in extra.items() if name in accepted}
        try:
            return make(features.reset_index(drop=True), target, **extra, **params)
        except Exception as error:
            raise StageError(f"{WHERE}: {path} failed: {brief(error)}{project_lines(error, Path.cwd())}") from error

    return ask


def checked(
    given: Any,
    schema: Schema,
    features: pd.DataFrame,
    known: Array | None,
    *,
    is_file: bool = False,
    labels: str | None = None,
) -> tuple[bytes, Array | None]:
    """Return the user's model as the ONNX model to save, and its classes.

    Args:
        given: bytes, a path or a `ModelProto` of ONNX; or a model that `tf2onnx.is_model` accepts.
        schema: of the columns.
        features: the training rows.
        known: their classes, sorted; None: the task is regression.
        is_file: whether the model is a file, so that it must define the order of its classes itself.
        labels: the order of the classes as JSON, in place of the model's metadata.

    Raises:
        GlueError: it is not such a model, or returns invalid values or probabilities for the training rows.
    """
    converted = tf2onnx.convert(given) if tf2onnx.is_model(given) else None
    model = onnx_graph.load(given if converted is None else converted.onnx, one_file=is_file)
    metadata, names = onnx_graph.metadata(model), [value.name for value in onnx_graph.inputs(model)]
    order = None if known is None else _labels(labels or metadata.get(LABELS), schema, known.tolist(), is_file=is_file)
    output = _output(onnx_graph.outputs(model), metadata.get(OUTPUT))
    model = onnx_graph.with_matrices(model, schema.numeric, schema.text, output)
    run = runner(model.SerializeToString())
    out = in_chunks(run, features)[0]
    width = 1 if out.ndim == 1 else out.shape[-1]
    if out.ndim > 2 or len(out) != len(features):
        raise StageError(f"output {output!r} has the shape {out.shape} for {len(features):,} rows")
    if order is None and width != 1:
        raise StageError(f"output {output!r} has {width} values per row, and {schema.target!r} is one number")
    of_one = order is not None and len(order) == 2 and width == 1
    if order is not None and not of_one and width != len(order):
        raise StageError(f"output {output!r} has {width} values per row, and there are {len(order)} classes: {order}")
    _check_values(out, features, is_probability=order is not None, of_one=of_one)
    _check_alone(run, out, features)
    if converted is not None:
        _check_parity(converted, names, out, features, schema)
    if order is None:
        return onnx_graph.with_outcome(model, None, [], of_one=False), None
    classes = [label for label in schema.labels or [] if label in order]
    made = onnx_graph.with_outcome(model, classes, [order.index(label) for label in classes], of_one=of_one)
    return made, np.array(classes, object if isinstance(classes[0], str) else None)


def _labels(stated: str | None, schema: Schema, known: list[Any], *, is_file: bool) -> list[Any]:
    """Return the labels in the order of the model's probabilities; a function receives indices of known labels."""
    hint = f"add metadata {LABELS}: {json.dumps(schema.labels)}, in the order of its probabilities"
    if stated is None:
        if is_file:
            raise StageError("does not define which probability belongs to which class", hint=hint)
        return known
    try:
        labels = json.loads(stated)
    except ValueError:
        labels = None
    if not isinstance(labels, list) or len({json.dumps(label) for label in labels}) != len(labels):
        raise StageError(f"metadata {LABELS} is not a JSON list of distinct labels: {stated:.100}", hint=hint)
    every = schema.labels or []
    odd = [one for one in labels if one not in every or isinstance(one, bool) != isinstance(every[0], bool)]
    lacking = [one for one in known if one not in labels]
    if odd or lacking:
        what = f"has {odd[0]!r}, which is not a class" if odd else f"lacks the class {lacking[0]!r}"
        raise StageError(f"metadata {LABELS} {what} of {schema.target!r}", hint=hint)
    return [every[every.index(one)] for one in labels]


def _output(found: list[onnx_graph.Value], stated: str | None) -> str:
    """Return the name of the output with the probabilities or the value."""
    names = [value.name for value in found]
    if stated is not None:
        if stated not in names:
            raise StageError(f"metadata {OUTPUT} is {stated!r}, and the outputs are {', '.join(names)}")
        return stated
    floats = [value.name for value in found if value.kind in onnx_graph.FLOATS]
    if len(floats) == 1:
        return floats[0]
    if not floats:
        kinds = ", ".join(f"{value.name} ({value.kind})" for value in found)
        raise StageError(f"no output is a tensor of float: {kinds}", hint="with skl2onnx: options={'zipmap': False}")
    raise StageError(
        f"several outputs are possible: {', '.join(floats)}", hint=f"add metadata {OUTPUT}, such as {floats[-1]}"
    )


def _check_values(out: Array, features: pd.DataFrame, *, is_probability: bool, of_one: bool) -> None:
    """Check that every training row receives finite numbers, and for classes probabilities."""
    values = out.reshape(len(features), -1).astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        null = features.iloc[bad[0]].isna()
        name = next((str(column) for column in features.columns[null]), None)
        why = f"; in the first of them {name!r} is null, which is NaN" if name is not None else ""
        problem = f"returns {values[bad[0]].tolist()} for {len(bad):,} of {len(values):,} training rows"
        raise StageError(f"{problem}{why}", hint="replace NaN inside the model" if name is not None else None)
    if not is_probability:
        return
    total = np.ones(len(values)) if of_one else values.sum(axis=1)
    odd = (values < -TOLERANCE).any(axis=1) | (values > 1 + TOLERANCE).any(axis=1) | (np.abs(total - 1) > TOLERANCE)
    if odd.any():
        row = [float(f"{value:.4g}") for value in values[odd][0][:5]]
        hint = "end it with Sigmoid" if of_one else "end it with Softmax"
        raise StageError(f"returns values that are not probabilities: {row} for a training row", hint=hint)


def _check_alone(run: onnx.Run, out: Array, features: pd.DataFrame) -> None:
    """Check that a row's prediction does not depend on the other rows, as the served model would then differ."""
    for at in range(min(ALONE_ROWS, len(features))):
        alone, among = np.ravel(in_chunks(run, features.iloc[at : at + 1])[0]), np.ravel(out[at])
        if alone.shape != among.shape or not np.allclose(alone, among, rtol=TOLERANCE, atol=TOLERANCE):
            problem = f"returns {alone[:3].tolist()} for a row alone, but {among[:3].tolist()} for it among others"
            raise StageError(problem, hint="export it for inference: with PyTorch, model.eval()")


def _check_parity(
    converted: tf2onnx.Converted, names: list[str], out: Array, features: pd.DataFrame, schema: Schema
) -> None:
    """Check that the ONNX form predicts what the converted model predicts."""
    some, feeds = features.iloc[:PARITY_ROWS], {}
    for name in names:
        columns = [name] if name in some.columns else schema.text if name == "text" else schema.numeric
        feeds[name] = some[columns].to_numpy()
    expected = np.ravel(converted.predict(feeds))
    got = np.ravel(out[: len(some)])
    apart = math.inf
    if expected.shape == got.shape:
        apart = float(np.max(np.abs(expected - got) / np.maximum(1.0, np.abs(expected))))
    if not apart <= TOLERANCE:
        raise StageError(f"its ONNX form is not faithful: {len(some):,} training rows differ by up to {apart:.2g}")
