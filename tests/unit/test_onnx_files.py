"""What an ONNX file may not hold, wherever it stands: other files, other operators, training steps, sparse tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from mlops_glue.adapters.onnx_files import check_file
from mlops_glue.errors import DataError

FLOAT = TensorProto.FLOAT


def outside() -> Any:
    """A tensor that is in another file."""
    made = helper.make_tensor("w", FLOAT, [1], [1.0])
    made.ClearField("float_data")
    made.data_location = TensorProto.EXTERNAL
    made.external_data.add(key="location", value="../../etc/passwd")
    return made


def graph(*nodes: Any) -> Any:
    io = [helper.make_tensor_value_info(name, FLOAT, [1]) for name in ("x", "y")]
    return helper.make_graph(list(nodes) or [helper.make_node("Identity", ["x"], ["y"])], "g", io[:1], io[1:])


def model(of: Any = None) -> Any:
    return helper.make_model(of or graph(), opset_imports=[helper.make_opsetid("", 21)])


def node(**attributes: Any) -> Any:
    """A node of ONNX's own with these attributes."""
    made = helper.make_node("Identity", ["x"], ["y"])
    made.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    return made


FOREIGN = helper.make_node("Do", ["x"], ["y"], domain="com.example")
SPARSE = helper.make_sparse_tensor(
    helper.make_tensor("v", FLOAT, [1], [1.0]), helper.make_tensor("i", TensorProto.INT64, [1], [0]), [4]
)


def changed(change: Callable[[Any], Any]) -> Any:
    made = model()
    change(made)
    return made


def sparse(part: str) -> Callable[[Any], Any]:
    def change(made: Any) -> None:
        made.graph.sparse_initializer.append(SPARSE)
        getattr(made.graph.sparse_initializer[0], part).CopyFrom(outside())

    return change


REFUSED: dict[str, tuple[Any, str]] = {
    "training_info": (changed(lambda m: m.training_info.add().algorithm.CopyFrom(graph())), "functions or training"),
    "functions": (
        changed(lambda m: m.functions.append(helper.make_function("", "F", ["x"], ["y"], [node()], m.opset_import))),
        "functions or training",
    ),
    "an initialiser": (changed(lambda m: m.graph.initializer.append(outside())), "external data"),
    "the values of a sparse initialiser": (changed(sparse("values")), "external data"),
    "the indices of a sparse initialiser": (changed(sparse("indices")), "external data"),
    "a tensor of a node": (model(graph(node(t=outside()))), "external data"),
    "tensors of a node": (model(graph(node(t=[helper.make_tensor("w", FLOAT, [1], [1.0]), outside()]))), "external"),
    "a sparse tensor of a node": (model(graph(node(t=SPARSE))), "a sparse tensor"),
    "sparse tensors of a node": (model(graph(node(t=[SPARSE]))), "a sparse tensor"),
    "an operator": (model(graph(FOREIGN)), "not part of ONNX"),
    "an operator in a graph of a node": (model(graph(node(g=graph(FOREIGN)))), "not part of ONNX"),
    "an operator in graphs of a node": (model(graph(node(g=[graph(), graph(FOREIGN)]))), "not part of ONNX"),
    "a tensor in a graph in a graph": (
        model(graph(node(g=graph(node(g=[graph(node(t=outside()))]))))),
        "external data",
    ),
    "a set of operators": (
        changed(lambda m: m.opset_import.append(helper.make_opsetid("com.example", 1))),
        "part of ONNX",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_glue_does_not_write_is_refused(name: str, tmp_path: Path) -> None:
    made, said = REFUSED[name]
    onnx.load_model_from_string(made.SerializeToString())  # it is an ONNX file
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(DataError, match=said):
        check_file(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "made",
    [
        model(),
        changed(lambda m: m.graph.sparse_initializer.append(SPARSE)),
        model(graph(node(t=[helper.make_tensor("w", FLOAT, [1], [1.0])] * 2, g=[graph(), graph(node())]))),
    ],
)
def test_the_same_with_nothing_in_it_is_taken(made: Any, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    check_file(tmp_path / "model.onnx")
