"""ONNX of the user's own: what is taken, what is refused, and that nothing is mixed up on the way."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from mlops_glue.adapters import skops
from mlops_glue.delivery.publish import needed
from mlops_glue.errors import GlueError
from mlops_glue.pipeline import own_onnx
from mlops_glue.pipeline.package import kept
from mlops_glue.schema import Column, Schema

NUMBERS, TEXTS = ["a", "b", "c"], ["town"]
COLUMNS = [*(Column(name, "number", "double") for name in NUMBERS), Column("town", "category", "string")]
HEAD = '<ir_version: 8, opset_import: ["" : 18]>'
THREE = Schema("multiclass", "y", COLUMNS, ["high", "low", "mid"])
TWO = Schema("binary", "y", COLUMNS, [0, 1])
VALUE = Schema("regression", "y", COLUMNS)
SOFTMAX = "float[N, 3] number) => (float[N, 3] p) { p = Softmax <axis = 1> (number) }"


def rows(count: int = 30) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(count, 3)).astype(np.float32), columns=NUMBERS)
    return frame.assign(town=rng.choice(["Ulm", "Bonn"], size=count))


def model(text: str, head: str = HEAD, **metadata: str) -> Any:
    made = parser.parse_model(f"{head} g ({text}")
    helper.set_model_props(made, metadata)
    return made


def checked(given: Any, schema: Schema, frame: pd.DataFrame | None = None, **options: Any) -> Any:
    """The fitted model with scikit-learn's manners."""
    known = None if schema.labels is None else np.array(schema.labels)
    features = rows() if frame is None else frame
    kind = own_onnx.OnnxRegressor if schema.labels is None else own_onnx.OnnxClassifier
    return kind(lambda *_: own_onnx.checked(given, schema, features, known, **options)).fit(features, np.zeros(1))


def test_matrices_and_classes_in_the_order_of_the_metadata() -> None:
    frame = rows()
    said = {"glue.labels": '["low", "mid", "high"]'}
    fitted = checked(model(SOFTMAX, **said), THREE)
    power = np.exp(frame[NUMBERS].to_numpy())
    wanted = power / power.sum(axis=1, keepdims=True)
    assert fitted.classes_.tolist() == ["high", "low", "mid"]
    assert np.allclose(fitted.predict_proba(frame), wanted[:, [2, 0, 1]], atol=1e-6)
    assert fitted.predict(frame).tolist() == [["low", "mid", "high"][at] for at in wanted.argmax(axis=1)]


def test_without_metadata_a_function_has_the_order_that_it_was_given() -> None:
    assert checked(model(SOFTMAX), THREE).predict(rows()).tolist() == [
        ["high", "low", "mid"][at] for at in rows()[NUMBERS].to_numpy().argmax(axis=1)
    ]


@pytest.mark.parametrize("kind", ["float", "double", "float16"])
@pytest.mark.parametrize("shape", ["N, 1", "N"])
def test_columns_by_name_in_any_order(kind: str, shape: str) -> None:
    text = f"{kind}[{shape}] c, {kind}[{shape}] a) => ({kind}[M] out) {{ out = Sub(c, a) }}"
    frame = rows()
    assert np.allclose(checked(model(text), VALUE).predict(frame), frame.c - frame.a, atol=1e-2)


def test_a_column_called_as_a_matrix_is_called() -> None:
    schema = Schema("regression", "y", [Column("other", "number"), Column("number", "number")])
    frame = pd.DataFrame({"other": [1.0, 2.0], "number": [5.0, 7.0]}, dtype=np.float32)
    for shape, wanted in (("N, 1", [5, 7]), ("N", [5, 7])):
        made = model(f"float[{shape}] number) => (float[M] out) {{ out = Identity(number) }}")
        assert checked(made, schema, frame).predict(frame).tolist() == wanted
    whole = model("float[N, 2] number) => (float[N, 1] out) { out = ReduceSum <keepdims = 1> (number, axis) }")
    whole.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    assert checked(whole, schema, frame).predict(frame).tolist() == [6, 9]


def test_text_and_whole_numbers() -> None:
    node = helper.make_node(
        *("LabelEncoder", ["town"], ["of_town"]),
        **{"domain": "ai.onnx.ml", "keys_strings": ["Ulm"], "values_floats": [10.0], "default_float": 1.0},
    )
    inputs = [helper.make_tensor_value_info("town", TensorProto.STRING, ["N", 1])]
    inputs += [helper.make_tensor_value_info("whole", TensorProto.INT64, ["N", 1])]
    nodes = [node, helper.make_node("Cast", ["whole"], ["as_float"], to=1)]
    nodes.append(helper.make_node("Add", ["of_town", "as_float"], ["out"]))
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_model(helper.make_graph(nodes, "g", inputs, [out]), opset_imports=opsets, ir_version=8)
    schema = Schema("regression", "y", [Column("whole", "number"), Column("town", "category")])
    frame = pd.DataFrame({"whole": np.array([3, 4], np.float32), "town": ["Ulm", "elsewhere"]})
    assert checked(made.SerializeToString(), schema, frame).predict(frame).tolist() == [13, 5]


def test_of_two_classes_one_probability_is_enough() -> None:
    text = "float[N] a) => (float[N] p) { p = Sigmoid(a) }"
    fitted, frame = checked(model(text), TWO), rows()
    wanted = 1 / (1 + np.exp(-frame.a))
    assert np.allclose(fitted.predict_proba(frame), np.column_stack([1 - wanted, wanted]), atol=1e-6)
    assert fitted.predict(frame).tolist() == (wanted > 0.5).astype(int).tolist()
    turned = checked(model(text, **{"glue.labels": "[1, 0]"}), TWO)
    assert np.allclose(turned.predict_proba(frame)[:, 0], wanted, atol=1e-6)


def test_functions_are_put_in_and_notes_left_out() -> None:
    made = parser.parse_model("""<ir_version: 8, opset_import: ["" : 18, "mine" : 1]>
        g (float[N, 3] number) => (float[N, 3] p) { p = mine.soft(number) }
        <opset_import: ["" : 18], domain: "mine"> soft (x) => (y) { y = Softmax <axis = 1> (x) }""")
    made.graph.node[0].doc_string = "/home/me/net.py:12"
    fitted = checked(made, THREE)
    assert fitted.predict_proba(rows()).shape == (30, 3)
    assert b"/home/me" not in fitted.model


def test_it_is_kept_packaged_and_copied(tmp_path: Path) -> None:
    fitted, frame = checked(model(SOFTMAX), THREE), rows()
    skops.save(fitted, tmp_path / "model.skops")
    loaded = skops.load(tmp_path / "model.skops")
    for other in (loaded, copy.deepcopy(fitted), copy.deepcopy(fitted).fit(frame, np.zeros(1))):
        assert np.array_equal(other.predict_proba(frame), fitted.predict_proba(frame))
    parity = kept(loaded, tmp_path / "model.skops", THREE, frame, tmp_path / "bundle", require="onnx")
    assert (parity["format"], parity["own"]) == ("onnx", True)
    assert (tmp_path / "bundle/model.onnx").read_bytes() == fitted.model
    assert "mlops-glue" not in needed(tmp_path / "model.skops")  # it is no requirement of a logged model: on no index


WRONG = {
    "no column": (
        "float[N] d) => (float[N] p) { p = Sigmoid(d) }",
        "'d' (float) is not a column; the columns are a, b, c",
    ),
    "type": (
        "float[N] town) => (float[N] p) { p = Sigmoid(town) }",
        "'town' takes float, but the column is text",
    ),
    "width": ("float[N, 4] number) => (float[N, 4] p) { p = Sigmoid(number) }", "has 4 columns, but the table has 3"),
    "axes": ("float[N, 3, 1] number) => (float[N, 3, 1] p) { p = Sigmoid(number) }", "input 'number' has 3 axes"),
    "rows": ("float[8, 3] number) => (float[8, 3] p) { p = Sigmoid(number) }", "takes exactly 8 rows"),
    "classes": ("float[N, 3] number) => (float[N, 3] p) { p = Softmax(number) }", "there are 2 classes: [0, 1]"),
    "logits": ("float[N] a) => (float[N] p) { p = Identity(a) }", "returns values that are not probabilities"),
    "infinite": ("float[N] a) => (float[N] p) { z = Sub(a, a) p = Div(a, z) }", "for 30 of 30 training rows"),
    "label": ("float[N] a) => (int64[N] p) { p = Cast <to = 7> (a) }", "no output is a tensor of float: p (int64)"),
    "several": (
        "float[N] a) => (float[N] p, float[N] q) { p = Sigmoid(a) q = Sigmoid(a) }",
        "outputs are possible: p, q",
    ),
    "whole table": ("float[N] a) => (float[N] p) { m = ReduceMean(a) s = Sub(a, m) p = Sigmoid(s) }", "row alone"),
    "one row": ("float[N] a) => (float[1] p) { p = ReduceMean <keepdims = 1> (a) }", "has the shape (1,) for 30 rows"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_served_is_refused_in_one_line(case: str) -> None:
    text, words = WRONG[case]
    with pytest.raises(GlueError) as raised:
        checked(model(text), TWO)
    assert words in raised.value.message
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('["high", "low"]', "lacks the class 'mid'"),
        ('["high", "low", "middle", "mid"]', "has 'middle', which is not a class of 'y'"),
        ('["high", "low", "mid", "mid"]', "not a JSON list of distinct labels"),
        ("high, low, mid", "not a JSON list of distinct labels"),
    ],
)
def test_labels_that_are_not_those_of_the_target(said: str, words: str) -> None:
    with pytest.raises(GlueError, match=r"glue\.labels") as raised:
        checked(model(SOFTMAX, **{"glue.labels": said}), THREE)
    assert words in raised.value.message
    assert '["high", "low", "mid"]' in (raised.value.hint or "")


def test_a_null_that_becomes_nan_is_named() -> None:
    frame = rows()
    frame.loc[3, "b"] = np.nan
    with pytest.raises(GlueError, match=r"returns .nan, nan, nan. for 1 of 30 training rows; .* 'b' is null"):
        checked(model(SOFTMAX), THREE, frame)


def test_a_file_must_say_which_class_is_which(tmp_path: Path) -> None:
    onnx.save(model(SOFTMAX), tmp_path / "net.onnx")
    with pytest.raises(GlueError, match="does not define which probability belongs to which class"):
        checked(tmp_path / "net.onnx", THREE, is_file=True)
    given = checked(tmp_path / "net.onnx", THREE, is_file=True, labels=json.dumps(["low", "mid", "high"]))
    assert given.predict(rows())[0] in THREE.labels


def test_what_is_no_model(tmp_path: Path) -> None:
    for given in (b"no model", tmp_path / "absent.onnx", b""):
        with pytest.raises(GlueError, match=r"is not an ONNX model|does not exist"):
            checked(given, THREE)
    for given in (None, {}):
        with pytest.raises(GlueError, match=f"is not an ONNX model, but {type(given).__name__}") as told:
            checked(given, THREE)
        assert told.value.hint == "return a ModelProto, its bytes, or the path of its file"
    old = model(SOFTMAX, head='<ir_version: 7, opset_import: ["" : 11]>')
    with pytest.raises(GlueError, match="has opset 11"):
        checked(old, THREE)
    foreign = model(
        "float[N] a) => (float[N] p) { p = com.microsoft.Gelu(a) }",
        head='<ir_version: 8, opset_import: ["" : 18, "com.microsoft" : 1]>',
    )
    with pytest.raises(GlueError, match="operators that are not part of ONNX"):
        checked(foreign, TWO)


def test_weights_in_another_file(tmp_path: Path) -> None:
    made = model("float[N, 3] number) => (float[N, 3] p) { x = Add(number, w) p = Softmax <axis = 1> (x) }")
    made.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "w"))
    options = {"save_as_external_data": True, "size_threshold": 0, "location": "weights"}
    onnx.save(made, tmp_path / "net.onnx", **options)
    assert checked(tmp_path / "net.onnx", THREE).predict(rows()).shape == (30,)
    with pytest.raises(GlueError, match="keeps its weights in another file"):
        checked(tmp_path / "net.onnx", THREE, is_file=True, labels='["high", "low", "mid"]')


def test_keras_needs_tf2onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorflow", None)
    (tmp_path / "net.keras").write_bytes(b"")
    with pytest.raises(GlueError, match="tensorflow is not installed") as raised:
        checked(tmp_path / "net.keras", THREE)
    assert "pip install" in (raised.value.hint or "")
