"""ONNX and skops: the two forms a model may be kept in. Pickle is neither written nor read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mlops_glue import telemetry
from mlops_glue.errors import DataError, ToolError, brief
from mlops_glue.modules import imports_blocked

# Exact names that scikit-learn's own models need beside skops' built-in list (seen on skops 0.16); the list inside
# an artifact is never consulted.
TRUSTED = [
    "collections.OrderedDict",
    "numpy.dtype",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRFClassifier",
    "xgboost.sklearn.XGBRFRegressor",
    "xgboost.sklearn.XGBRegressor",
]


def _route_missing(made: Any, model: Any) -> None:
    """Let NaN go where scikit-learn's forests send it; skl2onnx (1.20) sends it to the right in all of them."""
    forests = list(_forests(model, set()))
    for node in made.graph.node:
        attributes = {a.name: a for a in node.attribute}
        if "nodes_missing_value_tracks_true" not in attributes:
            continue
        values = np.array(attributes["nodes_values"].floats)
        for trees in forests:
            split = np.concatenate([tree.children_left for tree in trees]) >= 0
            if len(split) == len(values):
                known = np.concatenate([tree.threshold for tree in trees])[split]
                if np.allclose(values[split], known, rtol=1e-6, atol=1e-30):
                    left = np.concatenate([tree.missing_go_to_left for tree in trees])
                    attributes["nodes_missing_value_tracks_true"].ints[:] = (left * split).astype(int).tolist()
                    break


def _forests(part: Any, seen: set[int]) -> Iterator[list[Any]]:
    """The trees of each forest, and of each tree alone, at any depth of a fitted estimator."""
    if id(part) in seen:
        return
    seen.add(id(part))
    if hasattr(part, "tree_"):
        yield [part.tree_]
        return
    inner = list(part.estimators_) if hasattr(part, "estimators_") and not hasattr(part, "steps") else []
    if inner and all(hasattr(one, "tree_") for one in inner):
        yield [one.tree_ for one in inner]
        return
    if isinstance(part, dict):
        parts: Any = part.values()
    elif isinstance(part, list | tuple):
        parts = part
    else:
        parts = vars(part).values()
    for one in parts:
        if isinstance(one, list | tuple | dict) or hasattr(one, "get_params") or hasattr(one, "estimator"):
            yield from _forests(one, seen)


# What is served comes from a registry that others can write to
MOST_BYTES = 1 << 30
MOST_NODES = 100_000
DOMAINS = {b"", b"ai.onnx", b"ai.onnx.ml"}


def skops() -> Any:
    """The module `skops.io`. It looks through all of scikit-learn, which would import Dask and pytest too."""
    with imports_blocked("dask", "pytest"):
        import skops.io
    return skops.io


def save_skops(model: Any, path: Path) -> None:
    """Write an estimator in skops form.

    Raises:
        ToolError: it holds a type that is not on the trusted list, so nothing could load it safely.
    """
    form = skops()
    try:
        data = form.dumps(model)
        unknown = sorted(set(form.get_untrusted_types(data=data)) - set(TRUSTED))
    except Exception as error:
        raise ToolError(f"the model cannot be kept in skops form: {error}") from error
    if unknown:
        raise ToolError(
            f"the model holds {unknown[0]}, which is not on the list of types that are safe to load",
            hint="build it from scikit-learn's own classes",
        )
    path.write_bytes(_canonical(data))


def _canonical(data: bytes) -> bytes:
    """The same archive for the same model: skops names parts by their place in memory or at random, and dates them.

    Equal bytes matter: DVC compares them, and a hash of the model must mean the model.
    """
    import io
    import json
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as old:
        schema = json.loads(old.read("schema.json"))
        members = dict(_renumber(schema, {}, {}))
        if left := set(old.namelist()) - set(members) - {"schema.json"}:
            raise ToolError(f"the model cannot be kept in skops form: nothing refers to its part {min(left)}")
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
            for name, content in (
                ("schema.json", json.dumps(schema).encode()),
                *((to, old.read(name)) for name, to in members.items()),
            ):
                info = zipfile.ZipInfo(name)  # its date is 1980
                info.compress_type = zipfile.ZIP_DEFLATED
                new.writestr(info, content)
    return out.getvalue()


def _renumber(node: Any, places: dict[int, int], members: dict[str, str]) -> dict[str, str]:
    """Count the places in memory and the members of a skops schema, each in the order in which it is read.

    What is shared keeps being shared: two nodes of one place get one number. The parts of a set come in an order of
    their own in each process, so they are sorted by what stands in them.

    Returns:
        The new name of each member by the one it had.
    """
    if isinstance(node, list):
        for part in node:
            _renumber(part, places, members)
    elif isinstance(node, dict):
        if node.get("__loader__") == "SetNode":
            node["content"].sort(key=_apart_from_places)
        if isinstance(place := node.get("__id__"), int):
            node["__id__"] = places.setdefault(place, len(places) + 1)
        if isinstance(node.get("__loader__"), str) and isinstance(file := node.get("file"), str):
            node["file"] = members.setdefault(file, f"{len(members) + 1}.{file.rpartition('.')[2]}")
        for part in node.values():
            _renumber(part, places, members)
    return members


def _apart_from_places(node: Any) -> str:
    import json

    def kept(part: Any) -> Any:
        if isinstance(part, list):
            return [kept(one) for one in part]
        return {k: kept(v) for k, v in part.items() if k != "__id__"} if isinstance(part, dict) else part

    return json.dumps(kept(node), sort_keys=True)


def packages(path: Path) -> dict[str, str]:
    """The installed packages, with their versions, that the classes and functions in a skops file come from."""
    import json
    import sys
    import zipfile
    from importlib.metadata import distributions

    with zipfile.ZipFile(path) as archive:
        schema = archive.read("schema.json").decode()
    names = re.findall(r'"__module__": ("(?:[^"\\]|\\.)*")', schema)
    modules = {json.loads(name).partition(".")[0] for name in names}
    files = [f"\n{module}{end}," for module in modules - sys.stdlib_module_names for end in ("/__init__.py", ".py")]
    # by what each has installed: `packages_distributions` of the standard library takes some seconds
    found = {}
    for one in distributions():
        record = "\n" + (one.read_text("RECORD") or "")
        if any(file in record for file in files):
            found[one.name] = one.version
    return dict(sorted(found.items()))


def load_skops(path: Path) -> Any:
    """Load an estimator with the built-in exact list of trusted types.

    Raises:
        DataError: the file is no skops file or holds another type.
    """
    form = skops()
    try:
        return form.load(path, trusted=TRUSTED)
    except Exception as error:
        raise DataError(f"{path.name}: is not a model that is safe to load: {type(error).__name__}") from error


def export(model: Any, numeric: int, text: int) -> bytes:
    """The fitted pipeline as ONNX bytes, with inputs `number` float32 (rows, numeric) and `text` string (rows, text).

    Outputs: the value or label, and, of a classifier that has them, probabilities of shape (rows, classes).

    Raises:
        ToolError: skl2onnx has no converter for a part of it.
    """
    import contextlib
    import io
    import warnings

    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    types = []
    if numeric:
        types.append(("number", FloatTensorType([None, numeric])))
    if text:
        types.append(("text", StringTensorType([None, text])))
    options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            made = convert_sklearn(
                model, "glue", initial_types=types, options=options, target_opset={"": 21, "ai.onnx.ml": 3}
            )
    except Exception as error:
        raise ToolError(f"ONNX export: {brief(error, 200)}") from error
    _route_missing(made, model)
    if options is None and hasattr(model, "classes_"):
        del made.graph.output[1:]  # scores, or a list of dicts: no probabilities
    made.opset_import.sort(key=lambda o: o.domain)  # skl2onnx leaves them in the order of a set
    return made.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


def check_file(path: Path) -> None:
    """Refuse an ONNX file that could read other files, run code, or take all memory, before onnxruntime sees it.

    It reads protobuf's wire format itself (protobuf.dev: encoding; field numbers of onnx.proto), so that a worker needs
    no more packages.

    Raises:
        DataError: it is too large, has too many nodes, or has external data, functions, or operators not of ONNX.
    """
    if (size := path.stat().st_size) > MOST_BYTES:
        raise DataError(f"{path.name}: has {size:,} bytes; the limit is {MOST_BYTES:,}")
    try:
        nodes = _check_model(path.read_bytes())
    except (IndexError, ValueError, RecursionError):
        raise DataError(f"{path.name}: is no ONNX file") from None
    if nodes == 0:
        raise DataError(f"{path.name}: is no ONNX file: it has no node")


def _check_model(data: bytes) -> int:
    nodes = 0
    for number, start, end in _fields(data, 0, len(data)):
        if number in (20, 25):  # training_info, functions
            raise DataError("model.onnx: holds functions or training steps, which glue does not write")
        if number == 8:  # opset_import
            _check_domain(data, start, end, 1)
        elif number == 7:  # graph
            nodes = _check_graph(data, start, end, nodes)
    return nodes


def _check_graph(data: bytes, start: int, end: int, nodes: int) -> int:
    for number, a, b in _fields(data, start, end):
        if number == 1:  # node
            nodes += 1
            if nodes > MOST_NODES:
                raise DataError(f"model.onnx: has more than {MOST_NODES:,} nodes")
            _check_domain(data, a, b, 7)
            for inner, c, d in _fields(data, a, b):
                if inner == 5:  # attribute
                    nodes = _check_attribute(data, c, d, nodes)
        elif number == 5:  # initializer
            _check_tensor(data, a, b)
        elif number == 15:  # sparse_initializer: values, indices
            for inner, c, d in _fields(data, a, b):
                if inner in (1, 2):
                    _check_tensor(data, c, d)
    return nodes


def _check_attribute(data: bytes, start: int, end: int, nodes: int) -> int:
    for number, a, b in _fields(data, start, end):
        if number in (5, 10):  # t, tensors
            _check_tensor(data, a, b)
        elif number in (6, 11):  # g, graphs
            nodes = _check_graph(data, a, b, nodes)
        elif number in (22, 23):  # sparse_tensor, sparse_tensors
            raise DataError("model.onnx: holds a sparse tensor, which glue does not write")
    return nodes


def _check_tensor(data: bytes, start: int, end: int) -> None:
    if any(number == 13 for number, _, _ in _fields(data, start, end)):  # external_data
        raise DataError("model.onnx: has external data: it would read another file")


def _check_domain(data: bytes, start: int, end: int, field: int) -> None:
    for number, a, b in _fields(data, start, end):
        if number == field and data[a:b] not in DOMAINS:
            raise DataError("model.onnx: has operators that are not of ONNX")


_TAGS = {kind: b"".join(re.escape(bytes([b])) for b in range(8, 128) if b & 7 == kind) for kind in (0, 1, 5)}
# scalars, and the strings that trees are full of; millions of them in a forest, and nothing in them can hurt
_SCALARS = re.compile(
    rb"(?:[%b][\x80-\xff]{0,9}+[\x00-\x7f]|[%b].{4}|[%b].{8}|J\nBRANCH_LEQ|J\x04LEAF)++"
    % (_TAGS[0], _TAGS[5], _TAGS[1]),
    re.DOTALL,
)


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number and place of each field that has a length; scalars are passed over.

    Raises:
        ValueError: it is no message; IndexError: it ends too early.
    """
    while at < end:
        passed = _SCALARS.match(data, at, end)
        if passed is not None:
            at = passed.end()
            continue
        tag, at = _varint(data, at)
        if tag & 7 == 2:
            size, at = _varint(data, at)
            if at + size > end:
                raise ValueError
            yield tag >> 3, at, at + size
            at += size
        elif tag & 7 == 0:
            _, at = _varint(data, at)
        elif tag & 7 in (1, 5):
            at += 8 if tag & 7 == 1 else 4
        else:
            raise ValueError
    if at != end:
        raise ValueError


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError


def session(model: bytes | Path, threads: int = 1) -> Any:
    """An onnxruntime session on the CPU."""
    telemetry.off()
    import onnxruntime as ort

    getattr(ort, "disable_telemetry_events", lambda: None)()  # what may be on by then, where it was imported before
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # an error is raised too, and told in one line
    source = model if isinstance(model, bytes) else str(model)
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ToolError(f"onnxruntime refuses the model: {type(error).__name__}") from error


Inputs = dict[str, np.ndarray[Any, Any]]
Run = Callable[[Inputs], list[np.ndarray[Any, Any]]]


def runner(live: Any) -> Run:
    """A session as a function from inputs to `run`'s outputs; names are looked up once, not at each call."""
    wanted, outputs = [i.name for i in live.get_inputs()], [o.name for o in live.get_outputs()]
    within = getattr(live, "_sess", live)  # does without the checks that the one around it makes at each call

    def call(inputs: Inputs) -> list[np.ndarray[Any, Any]]:
        try:
            return within.run(outputs, {name: inputs[name] for name in wanted}, None)  # type: ignore[no-any-return]
        except Exception as error:
            raise ToolError(f"onnxruntime: {brief(error, 200)}") from error

    return call


def run(live: Any, inputs: Inputs) -> list[np.ndarray[Any, Any]]:
    """Outputs in the model's order: label, then probabilities (rows, classes) for a classifier.

    Raises:
        ToolError: onnxruntime cannot run it on these inputs.
    """
    return runner(live)(inputs)
