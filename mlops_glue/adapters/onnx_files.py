"""Check ONNX files before they are loaded: they come from a registry that others can write to."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue.errors import DataError

if TYPE_CHECKING:
    from google.protobuf.message import Message

MAX_BYTES = 1 << 30
MAX_NODES = 100_000
DOMAINS = {b"", b"ai.onnx", b"ai.onnx.ml"}
BYTES = "bytes"
# The part of onnx.proto that is checked: the number and type of each field. Every field may be repeated.
MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Model": {
        "graph": (7, "Graph"),
        "opset_import": (8, "OperatorSet"),
        "training_info": (20, BYTES),
        "functions": (25, BYTES),
    },
    "OperatorSet": {"domain": (1, BYTES)},
    "Graph": {"node": (1, "Node"), "initializer": (5, "Tensor"), "sparse_initializer": (15, "SparseTensor")},
    "Node": {"attribute": (5, "Attribute"), "domain": (7, BYTES)},
    "Attribute": {
        "t": (5, "Tensor"),
        "tensors": (10, "Tensor"),
        "g": (6, "Graph"),
        "graphs": (11, "Graph"),
        "sparse_tensor": (22, BYTES),
        "sparse_tensors": (23, BYTES),
    },
    "Tensor": {"external_data": (13, BYTES)},
    "SparseTensor": {"values": (1, "Tensor"), "indices": (2, "Tensor")},
}
REFUSED = {
    **dict.fromkeys(("training_info", "functions"), "contains functions or training steps, which glue does not write"),
    **dict.fromkeys(("sparse_tensor", "sparse_tensors"), "contains a sparse tensor, which glue does not write"),
    "external_data": "has external data: it would read another file",
}


def check_file(path: Path) -> None:
    """Check a file like `check`; a file that is too large is not read."""
    _check_size(path.name, path.stat().st_size)
    check(path.read_bytes(), path.name)


def check(data: bytes, name: str = "model.onnx") -> None:
    """Refuse an ONNX model that could read other files, run code or exhaust the memory, before onnxruntime loads it.

    The package `onnx` is not installed on serving hosts, but protobuf is, because onnxruntime requires it.

    Raises:
        DataError: the model is too large, has too many nodes, or has external data, functions or operators that are
            not part of ONNX.
    """
    from google.protobuf.message import DecodeError

    _check_size(name, len(data))
    try:
        model = _model_class().FromString(data)
    except DecodeError:
        raise DataError(f"{name}: is not an ONNX file") from None
    if _checked(model, 0) == 0:
        raise DataError(f"{name}: is not an ONNX file: it has no nodes")


def _check_size(name: str, size: int) -> None:
    if size > MAX_BYTES:
        raise DataError(f"{name}: has {size:,} bytes; the limit is {MAX_BYTES:,}")


def _checked(message: Message, nodes: int) -> int:
    """Check a part of the model and return the number of nodes up to and including this part."""
    for field, values in message.ListFields():
        if field.name in REFUSED:
            raise DataError(f"model.onnx: {REFUSED[field.name]}")
        if field.name == "domain" and not DOMAINS.issuperset(values):
            raise DataError("model.onnx: has operators that are not part of ONNX")
        if field.name == "node":
            nodes += len(values)
            if nodes > MAX_NODES:
                raise DataError(f"model.onnx: has more than {MAX_NODES:,} nodes")
        for value in values if field.message_type is not None else ():
            nodes = _checked(value, nodes)
    return nodes


@cache
def _model_class() -> type[Message]:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="checked_onnx.proto", package="checked_onnx", syntax="proto2")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            added = message.field.add(name=field, number=number, label=kinds.LABEL_REPEATED, type=kinds.TYPE_BYTES)
            if kind != BYTES:
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".checked_onnx.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made: type[Message] = message_factory.GetMessageClass(pool.FindMessageTypeByName("checked_onnx.Model"))
    return made
