"""A model that comes as ONNX from the user: what their function makes, or a file that a stage of theirs has made.

It is checked on the training rows, and rewritten once to take the two matrices that every model of glue's takes. So
nothing after `train` needs to know where it comes from.
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
GIVEN = ("features", "target", "labels", "seed", "sample_weight")  # what a function may take besides its parameters
LABELS, OUTPUT = "glue.labels", "glue.output"  # keys of a model's metadata
CHUNK_ROWS = 10_000
PARITY_ROWS = 1_000  # are predicted by what was turned into ONNX, too
ALONE_ROWS = 5  # are predicted one by one, too
TOLERANCE = 1e-3  # of a probability's sum, and of what a row alone is given


class OnnxRegressor:
    """An ONNX model of the user's with the manners of a scikit-learn regressor.

    Attributes:
        model: of a fitted one: ONNX that takes the encoded columns as `number` and `text`.
    """

    model: bytes

    def __init__(self, learn: Learn) -> None:
        self._learn = learn

    def fit(self, features: pd.DataFrame, target: Array, sample_weight: Array | None = None) -> OnnxRegressor:
        """Call the user's function, or read their file, and check what comes of it.

        Raises:
            StageError: the function fails, or its model is not one that can be served.
        """
        self.model, classes = self._learn(features, target, sample_weight)
        if classes is not None:
            self.classes_ = classes
        self.__dict__.pop("_run", None)
        return self

    def predict(self, features: pd.DataFrame) -> Array:
        """The value or label of each row, shape (rows,)."""
        return np.ravel(self._outputs(features)[0])

    def _outputs(self, features: pd.DataFrame) -> list[Array]:
        if "_run" not in self.__dict__:
            self._run = runner(self.model)
        try:
            return in_chunks(self._run, features)
        except GlueError as error:
            raise ValueError(error.message) from error  # as estimators refuse rows

    def __getstate__(self) -> dict[str, Any]:
        """What is kept in a file: the model alone."""
        return {name: value for name, value in self.__dict__.items() if name in ("model", "classes_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxRegressor:
        """Another one that can be fitted; all that the two share does not change."""
        made = type(self)(self.__dict__.get("_learn"))  # type: ignore[arg-type]  # a loaded one is not fitted again
        made.__setstate__(self.__getstate__())
        return made


class OnnxClassifier(OnnxRegressor):
    """The same of a classifier.

    Attributes:
        classes_: the labels in the order of the probabilities, shape (classes,).
    """

    classes_: Array

    def predict(self, features: pd.DataFrame) -> Array:
        """The most probable label of each row, shape (rows,)."""
        return super().predict(features).astype(self.classes_.dtype)

    def predict_proba(self, features: pd.DataFrame) -> Array:
        """Probabilities, float32 of shape (rows, classes)."""
        return self._outputs(features)[1]


def runner(model: bytes) -> onnx.Run:
    """A model as a function, once it is known to hold only what glue serves."""
    onnx_files.check(model)
    return onnx.runner(onnx.session(model))


def in_chunks(run: onnx.Run, features: pd.DataFrame) -> list[Array]:
    """The outputs for all rows of a frame, which has the numbers first and then the text."""
    is_text = [str(kind).startswith(("object", "str")) for kind in features.dtypes]
    numbers = features.loc[:, np.logical_not(is_text)].to_numpy(np.float32)
    texts = features.loc[:, is_text].to_numpy(object)
    parts = [
        run({"number": numbers[at : at + CHUNK_ROWS], "text": texts[at : at + CHUNK_ROWS]})
        for at in range(0, max(len(features), 1), CHUNK_ROWS)
    ]
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def estimator(config: Config, schema: Schema) -> OnnxRegressor:
    """The unfitted model that `train.onnx` stands for.

    Raises:
        ConfigError: the function does not import, or does not take a parameter; or a file is given any but `labels`.
    """
    path, params = config.train.onnx or "", dict(config.train.params)
    if config.train.onnx_file is None:
        ask = _caller(config, import_callable(path, WHERE, "module:function"))
        labels = None
    else:
        labels = params.pop("labels", None)
        if params or config.train.weight is not None:
            key = f"params.{next(iter(params))}" if params else "weight"
            raise ConfigError([f"{layout.CONFIG} train.{key}: {path} is a file, which takes no such thing"])
        ask = None

    def learn(features: pd.DataFrame, target: Array, weight: Array | None) -> tuple[bytes, Array | None]:
        known, index = (None, target) if schema.labels is None else np.unique(target, return_inverse=True)
        given = Path(config.train.onnx_file or "") if ask is None else ask(features, index, known, weight)
        try:
            says = None if labels is None else json.dumps(labels)
            return checked(given, schema, features, known, is_file=ask is None, labels=says)
        except GlueError as error:
            raise StageError(f"{WHERE}: {path}: {error.message}", hint=error.hint) from error

    return (OnnxRegressor if schema.labels is None else OnnxClassifier)(learn)


def _caller(config: Config, make: Callable[..., Any]) -> Callable[..., Any]:
    """The user's function, as one of features, target, classes and weights."""
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
        beside = {"labels": None if known is None else known.tolist(), "sample_weight": weight}
        beside = {name: value for name, value in beside.items() if name in accepted}
        try:
            return make(features.reset_index(drop=True), target, **beside, **params)
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
    """What the user gave as the ONNX model that is kept, and its classes.

    Args:
        given: bytes, a path or a `ModelProto` of ONNX; or what `tf2onnx.is_model` takes.
        schema: of the columns.
        features: the training rows.
        known: their classes, sorted; None: the task is of numbers.
        is_file: nobody but the file says which class is which.
        labels: instead of its metadata, JSON.

    Raises:
        GlueError: it is no such model, or it answers the training rows with what is no value or probability.
    """
    converted = tf2onnx.convert(given) if tf2onnx.is_model(given) else None
    model = onnx_graph.load(given if converted is None else converted.onnx, one_file=is_file)
    says, names = onnx_graph.metadata(model), [value.name for value in onnx_graph.inputs(model)]
    order = None if known is None else _labels(labels or says.get(LABELS), schema, known.tolist(), is_file=is_file)
    output = _output(onnx_graph.outputs(model), says.get(OUTPUT))
    model = onnx_graph.with_matrices(model, schema.numeric, schema.text, output)
    run = runner(model.SerializeToString())
    out = in_chunks(run, features)[0]
    width = 1 if out.ndim == 1 else out.shape[-1]
    if out.ndim > 2 or len(out) != len(features):
        raise StageError(f"output {output!r} has the shape {out.shape} for {len(features):,} rows")
    if order is None and width != 1:
        raise StageError(f"output {output!r} has {width} values a row, and {schema.target!r} is one number")
    of_one = order is not None and len(order) == 2 and width == 1
    if order is not None and not of_one and width != len(order):
        raise StageError(f"output {output!r} has {width} values a row, and there are {len(order)} classes: {order}")
    _check_values(out, features, is_probability=order is not None, of_one=of_one)
    _check_alone(run, out, features)
    if converted is not None:
        _check_parity(converted, names, out, features, schema)
    if order is None:
        return onnx_graph.with_outcome(model, None, [], of_one=False), None
    wanted = [label for label in schema.labels or [] if label in order]
    made = onnx_graph.with_outcome(model, wanted, [order.index(label) for label in wanted], of_one=of_one)
    return made, np.array(wanted, object if isinstance(wanted[0], str) else None)


def _labels(says: str | None, schema: Schema, known: list[Any], *, is_file: bool) -> list[Any]:
    """The labels in the order of the model's probabilities: a function is given indices into the known ones."""
    hint = f"its metadata {LABELS}: {json.dumps(schema.labels)}, in the order of its probabilities"
    if says is None:
        if is_file:
            raise StageError("does not say which probability is of which class", hint=hint)
        return known
    try:
        labels = json.loads(says)
    except ValueError:
        labels = None
    if not isinstance(labels, list) or len({json.dumps(label) for label in labels}) != len(labels):
        raise StageError(f"metadata {LABELS} is no JSON list of different labels: {says:.100}", hint=hint)
    every = schema.labels or []
    odd = [one for one in labels if one not in every or isinstance(one, bool) != isinstance(every[0], bool)]
    lacking = [one for one in known if one not in labels]
    if odd or lacking:
        what = f"has {odd[0]!r}, which is no class" if odd else f"lacks {lacking[0]!r}"
        raise StageError(f"metadata {LABELS} {what} of {schema.target!r}", hint=hint)
    return [every[every.index(one)] for one in labels]


def _output(found: list[onnx_graph.Value], says: str | None) -> str:
    """The name of the output with the probabilities or the value."""
    names = [value.name for value in found]
    if says is not None:
        if says not in names:
            raise StageError(f"metadata {OUTPUT} is {says!r}, and the outputs are {', '.join(names)}")
        return says
    floats = [value.name for value in found if value.kind in onnx_graph.FLOATS]
    if len(floats) == 1:
        return floats[0]
    if not floats:
        kinds = ", ".join(f"{value.name} ({value.kind})" for value in found)
        raise StageError(f"no output is a tensor of float: {kinds}", hint="of skl2onnx: options={'zipmap': False}")
    raise StageError(
        f"several outputs may be meant: {', '.join(floats)}", hint=f"its metadata {OUTPUT}: {floats[-1]}, for one"
    )


def _check_values(out: Array, features: pd.DataFrame, *, is_probability: bool, of_one: bool) -> None:
    """Every training row is given a number, and of classes probabilities."""
    values = out.reshape(len(features), -1).astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        null = features.iloc[bad[0]].isna()
        name = next((str(column) for column in features.columns[null]), None)
        why = f"; in the first of them {name!r} is null, which is NaN" if name is not None else ""
        problem = f"gives {values[bad[0]].tolist()} for {len(bad):,} of {len(values):,} training rows"
        raise StageError(f"{problem}{why}", hint="let the model itself replace NaN" if name is not None else None)
    if not is_probability:
        return
    total = np.ones(len(values)) if of_one else values.sum(axis=1)
    odd = (values < -TOLERANCE).any(axis=1) | (values > 1 + TOLERANCE).any(axis=1) | (np.abs(total - 1) > TOLERANCE)
    if odd.any():
        row = [float(f"{value:.4g}") for value in values[odd][0][:5]]
        hint = "end it with Sigmoid" if of_one else "end it with Softmax"
        raise StageError(f"gives no probabilities: {row} for a training row", hint=hint)


def _check_alone(run: onnx.Run, out: Array, features: pd.DataFrame) -> None:
    """A row is given the same whatever rows it comes with: else the served model is another one."""
    for at in range(min(ALONE_ROWS, len(features))):
        alone, among = np.ravel(in_chunks(run, features.iloc[at : at + 1])[0]), np.ravel(out[at])
        if alone.shape != among.shape or not np.allclose(alone, among, rtol=TOLERANCE, atol=TOLERANCE):
            problem = f"gives {alone[:3].tolist()} for a row alone, and {among[:3].tolist()} for it among others"
            raise StageError(problem, hint="export it for inference: of PyTorch, model.eval()")


def _check_parity(
    converted: tf2onnx.Converted, names: list[str], out: Array, features: pd.DataFrame, schema: Schema
) -> None:
    """The ONNX form says what the model that it was made of says."""
    some, feeds = features.iloc[:PARITY_ROWS], {}
    for name in names:
        columns = [name] if name in some.columns else schema.text if name == "text" else schema.numeric
        feeds[name] = some[columns].to_numpy()
    said = np.ravel(converted.predict(feeds))
    got = np.ravel(out[: len(some)])
    apart = float(np.max(np.abs(said - got) / np.maximum(1.0, np.abs(said)))) if said.shape == got.shape else math.inf
    if not apart <= TOLERANCE:
        raise StageError(f"its ONNX form is not faithful: {len(some):,} training rows differ by up to {apart:.2g}")
