"""What an ONNX file may hold: it comes from a registry that others can write to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mlops_glue.errors import DataError

MAX_BYTES = 1 << 30
MAX_NODES = 100_000
DOMAINS = {b"", b"ai.onnx", b"ai.onnx.ml"}


def check_file(path: Path) -> None:
    """Refuse an ONNX file that could read other files, run code, or take all memory, before onnxruntime sees it.

    It reads protobuf's wire format itself (protobuf.dev: encoding; field numbers of onnx.proto), because the package
    `onnx` is not installed where a model is served.

    Raises:
        DataError: it is too large, has too many nodes, or has external data, functions, or operators not of ONNX.
    """
    if (size := path.stat().st_size) > MAX_BYTES:
        raise DataError(f"{path.name}: has {size:,} bytes; the limit is {MAX_BYTES:,}")
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
            if nodes > MAX_NODES:
                raise DataError(f"model.onnx: has more than {MAX_NODES:,} nodes")
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
