"""Rewrite an ONNX model of any framework so that its inputs and outputs are those of glue's own models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlops_glue.errors import DataError, brief

MIN_OPSET = 13
PLACE = "glue_at_"  # followed by a number: a constant with that number, the index of a column
PREFIX = "own_"  # added to every name in the model, so that no name clashes with those that glue adds
MATRICES = ("number", "text")
NUMBERS = {1: "float", 11: "double", 10: "float16", 7: "int64", 6: "int32", 9: "bool"}  # types a number can be cast to
TEXT = 8
FLOATS = ("float", "double", "float16")
Proto = Any  # a protobuf message of onnx, which has no type annotations


@dataclass(frozen=True)
class Value:
    """An input or output.

    Attributes:
        name: its name.
        kind: a name in `NUMBERS`, `text`, or a description of any other type.
        shape: its shape; None: the shape, or one axis of it, is unknown.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...] | None


def load(given: Any, *, one_file: bool = False) -> Proto:
    """Load a model from bytes, a path or a `ModelProto`, and inline its functions.

    The notes that exporters attach to nodes are removed: they contain paths and line numbers and differ on each export.

    Args:
        given: the model; it is not changed.
        one_file: refuse weights in another file, because glue would not notice if that file changed.

    Raises:
        DataError: it is not a model, or its opset is older than 13.
    """
    import onnx
    from onnx import inliner

    if isinstance(given, str | Path) and not Path(given).is_file():
        raise DataError(f"{given} does not exist")
    try:
        if isinstance(given, bytes | bytearray):
            model = onnx.load_model_from_string(bytes(given))
        elif isinstance(given, str | Path):
            model = onnx.load(given, load_external_data=not one_file)
        else:
            model = onnx.load_model_from_string(_serialized(given))
        if one_file and any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer):
            raise DataError("keeps its weights in another file", hint="torch.onnx.export(..., external_data=False)")
        if model.functions:
            model = inliner.inline_local_functions(model)
    except DataError:
        raise
    except Exception as error:  # protobuf's errors have no common class
        raise DataError(f"is not an ONNX model: {brief(error, 120)}") from error
    if not model.graph.node:
        raise DataError("is not an ONNX model: it has no nodes")
    domains = {_without_notes(node) for node in _nodes(model.graph)}
    own = next((one for one in model.opset_import if one.domain in ("", "ai.onnx")), None)
    if own is not None and own.version < MIN_OPSET:
        raise DataError(f"has opset {own.version}", hint=f"export it with opset {MIN_OPSET} or later")
    kept = [one for one in model.opset_import if one is own or one.domain in domains]
    del model.opset_import[:]
    model.opset_import.extend(kept if own is not None else [*kept, onnx.helper.make_opsetid("", 21)])
    model.ir_version = max(model.ir_version, 8)
    weights = {tensor.name for tensor in model.graph.initializer}
    fed = [value for value in model.graph.input if value.name not in weights]  # old models list weights too
    del model.graph.input[:]
    model.graph.input.extend(fed)
    return model


def _serialized(given: Any) -> bytes:
    if not hasattr(given, "SerializeToString"):
        hint = "return a ModelProto, its bytes, or the path of its file"
        raise DataError(f"is not an ONNX model, but {type(given).__name__}", hint=hint)
    content: bytes = given.SerializeToString()
    return content


def _nodes(graph: Proto) -> Iterator[Proto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _nodes(inner)


def _without_notes(node: Proto) -> str:
    """Remove an exporter's notes from a node, and return the node's domain."""
    node.ClearField("doc_string")
    if hasattr(node, "metadata_props"):
        del node.metadata_props[:]
    return str(node.domain)


def metadata(model: Proto) -> dict[str, str]:
    """Return the model's metadata."""
    return {entry.key: entry.value for entry in model.metadata_props}


def inputs(model: Proto) -> list[Value]:
    """Return the model's inputs, without its weights."""
    return [_value(value) for value in model.graph.input]


def outputs(model: Proto) -> list[Value]:
    """Return the model's outputs, with their original names."""
    return [_value(value) for value in model.graph.output]


def _value(value: Proto) -> Value:
    tensor = value.type.tensor_type if value.type.HasField("tensor_type") else None
    if tensor is None:
        return Value(value.name, str(value.type.WhichOneof("value")).removesuffix("_type"), None)
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in tensor.shape.dim)
    kind = "text" if tensor.elem_type == TEXT else NUMBERS.get(tensor.elem_type, f"tensor of type {tensor.elem_type}")
    return Value(value.name, kind, shape)


def with_matrices(model: Proto, numeric: Sequence[str], text: Sequence[str], output: str) -> Proto:
    """Return the model with the inputs `number` (rows, numeric) of float and `text` (rows, text), and one output `out`.

    Each input of the model must be one of these matrices, or have the name of an encoded column and the shape (rows, 1)
    or (rows,).

    Raises:
        DataError: an input is neither, or has another shape or type.
    """
    import onnx
    from onnx import compose, helper

    columns = {MATRICES[0]: list(numeric), MATRICES[1]: list(text)}
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    before = [node for value in inputs(model) for node in _fed(value, types[value.name], columns)]
    made = compose.add_prefix(model, PREFIX)
    del made.graph.input[:], made.graph.output[:]
    wide = {name: len(of) for name, of in columns.items() if of}
    made.graph.input.extend(
        helper.make_tensor_value_info(name, 1 if name == MATRICES[0] else TEXT, [None, width])
        for name, width in wide.items()
    )
    after = list(made.graph.node)
    del made.graph.node[:]
    places = {name for node in before for name in node.input if name.startswith(PLACE)}
    made.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.array([int(name.removeprefix(PLACE))], np.int64), name)
        for name in sorted(places)
    )
    flat = onnx.numpy_helper.from_array(np.array([-1], np.int64), "glue_flat")
    made.graph.initializer.append(flat)
    made.graph.node.extend([*before, *after, helper.make_node("Identity", [PREFIX + output], ["out"])])
    kind = next(value.type.tensor_type.elem_type for value in model.graph.output if value.name == output)
    made.graph.output.append(helper.make_tensor_value_info("out", kind, None))
    return made


def _fed(value: Value, elem_type: int, columns: dict[str, list[str]]) -> list[Proto]:
    """Build the nodes that compute an input of the model from the two matrices."""
    from onnx import helper

    source = MATRICES[value.kind == "text"]
    steps: list[tuple[str, list[str], dict[str, int]]]
    if _is_matrix(value, columns):
        steps = [("Identity", [], {})]
    else:
        steps = [("Gather", [f"{PLACE}{columns[source].index(value.name)}"], {"axis": 1})]
        steps += [("Reshape", ["glue_flat"], {})] if len(value.shape or ()) == 1 else []
    if source == MATRICES[0] and elem_type != 1:
        steps.append(("Cast", [], {"to": elem_type}))
    nodes, last = [], source
    for at, (step, extra, options) in enumerate(steps):
        following = PREFIX + value.name if at == len(steps) - 1 else f"glue_{at}_{value.name}"
        nodes.append(helper.make_node(step, [last, *extra], [following], **options))
        last = following
    return nodes


def _is_matrix(value: Value, columns: dict[str, list[str]]) -> bool:
    """Check whether an input is the matrix of its name (True) or a column (False).

    Raises:
        DataError: it is neither, or has another shape or type.
    """
    name, shape = value.name, value.shape
    if value.kind != "text" and value.kind not in NUMBERS.values():
        raise DataError(f"input {name!r} is a {value.kind}; supported are {', '.join(NUMBERS.values())} and text")
    if shape is None or len(shape) not in (1, 2):
        found = "no shape" if shape is None else f"{len(shape)} axes"
        hint = "a column has the shape (rows, 1) or (rows,), a matrix (rows, columns)"
        raise DataError(f"input {name!r} has {found}", hint=hint)
    if shape[0] is not None:
        raise DataError(f"input {name!r} takes exactly {shape[0]} rows", hint="export it with a dynamic first axis")
    source = MATRICES[value.kind == "text"]
    own, width = columns[source], shape[1] if len(shape) == 2 else 1
    if name == source and own and not (width == 1 and name in own):
        if width not in (None, len(own)) or len(shape) != 2:
            raise DataError(f"input {name!r} has {width} columns, but the table has {len(own)} columns of {name}")
        return True
    if name not in own:
        raise _unknown(value, columns)
    if width not in (None, 1):
        raise DataError(f"input {name!r} is a column, but has the width {width}")
    return False


def _unknown(value: Value, columns: dict[str, list[str]]) -> DataError:
    other = next((kind for kind, names in columns.items() if value.name in names), None)
    if other is not None:
        return DataError(f"input {value.name!r} takes {value.kind}, but the column is {other}")
    known = ", ".join(name for names in columns.values() for name in names)
    hint = "name each input after a column; or use one matrix `number` of all numbers and one `text` of all texts"
    return DataError(f"input {value.name!r} ({value.kind}) is not a column; the columns are {known:.300}", hint=hint)


def with_outcome(model: Proto, labels: Sequence[Any] | None, order: Sequence[int], *, of_one: bool) -> bytes:
    """Give a model of `with_matrices` the outputs of glue's own models.

    A regression model returns the value, of shape (rows, 1). A classifier returns the most probable label, of shape
    (rows,), and the probabilities.

    Args:
        model: its output `out` is the value or the probabilities.
        labels: the classes in the order of the new probabilities; None: regression.
        order: the position of each of these classes among the model's probabilities.
        of_one: the model returns only the probability of the second of two classes.
    """
    import onnx
    from onnx import helper

    def constant(name: str, value: Any) -> str:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    del model.graph.output[:]
    nodes = [helper.make_node("Cast", ["out"], ["glue_float"], to=1)]
    if labels is None:
        nodes.append(helper.make_node("Reshape", ["glue_float", constant("glue_one", [-1, 1])], ["variable"]))
        model.graph.output.append(helper.make_tensor_value_info("variable", 1, [None, 1]))
    else:
        wide = constant("glue_wide", [-1, 1 if of_one else len(order)])
        nodes.append(helper.make_node("Reshape", ["glue_float", wide], ["glue_given"]))
        given = "glue_given"
        if of_one:
            first = helper.make_node("Sub", [constant("glue_whole", np.float32(1)), "glue_given"], ["glue_first"])
            nodes += [first, helper.make_node("Concat", ["glue_first", "glue_given"], ["glue_both"], axis=1)]
            given = "glue_both"
        places = constant("glue_order", np.array(order, np.int64))
        nodes.append(helper.make_node("Gather", [given, places], ["probabilities"], axis=1))
        nodes.append(helper.make_node("ArgMax", ["probabilities"], ["glue_best"], axis=1, keepdims=0))
        if isinstance(labels[0], str):
            names = constant("glue_labels", np.array(labels, object))
        else:
            is_float = isinstance(labels[0], float)
            names = constant("glue_labels", np.array(labels, np.float64 if is_float else np.int64))
        nodes.append(helper.make_node("Gather", [names, "glue_best"], ["label"], axis=0))
        kind = TEXT if isinstance(labels[0], str) else 11 if isinstance(labels[0], float) else 7
        model.graph.output.append(helper.make_tensor_value_info("label", kind, [None]))
        model.graph.output.append(helper.make_tensor_value_info("probabilities", 1, [None, len(order)]))
    model.graph.node.extend(nodes)
    return model.SerializeToString(deterministic=True)  # type: ignore[no-any-return]
