"""A model as ONNX and as skops: what each form keeps, what is refused, and in which words."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import skops.io as skops_io
from onnx import TensorProto, helper
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from mlops_glue.adapters import onnx as room
from mlops_glue.adapters import onnx_files, skl2onnx, skops
from mlops_glue.errors import DataError, MissingExtra, ToolError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
GAPS = np.where(RNG.random(X.shape) < 0.2, np.float32("nan"), X)


def answers(model: Any, inputs: dict[str, Any], numeric: int = 3, text: int = 0) -> list[Any]:
    return room.runner(room.session(skl2onnx.export(model, numeric, text)))(inputs)


def test_a_classifier_gives_its_label_and_its_probabilities() -> None:
    model = LogisticRegression().fit(X, Y)
    label, share = answers(model, {"number": X})
    np.testing.assert_array_equal(label, model.predict(X))
    np.testing.assert_allclose(share, model.predict_proba(X), atol=1e-5)
    ridge = RidgeClassifier().fit(X, Y)  # which has no probabilities
    (label,) = answers(ridge, {"number": X})
    np.testing.assert_array_equal(label, ridge.predict(X))
    (value,) = answers(LinearRegression().fit(X, X[:, 0]), {"number": X, "more": X})  # what it does not take is left
    np.testing.assert_allclose(value[:, 0], X[:, 0], atol=1e-5)


def test_text_and_numbers_side_by_side() -> None:
    words = np.array([["a"], ["b"]] * 100, object)
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(words, Y)
    np.testing.assert_array_equal(answers(model, {"text": words}, 0, 1)[0], model.predict(words))
    made = onnx.load_model_from_string(skl2onnx.export(model, 0, 1))
    assert [one.name for one in made.graph.input] == ["text"]
    assert [one.domain for one in made.opset_import] == sorted(one.domain for one in made.opset_import)
    assert {one.domain: one.version for one in made.opset_import}["ai.onnx.ml"] <= 3
    assert skl2onnx.export(model, 0, 1) == skl2onnx.export(model, 0, 1)


def forests() -> list[Any]:
    trees = {"n_estimators": 5, "max_depth": 4, "random_state": 0}
    inner = StackingClassifier(
        [("a", DecisionTreeClassifier(max_depth=3, random_state=1)), ("b", RandomForestClassifier(**trees))],
        final_estimator=DecisionTreeClassifier(max_depth=2, random_state=0),
        cv=2,
    )
    return [
        DecisionTreeClassifier(max_depth=4, random_state=0),
        RandomForestClassifier(**trees),
        RandomForestRegressor(**trees),
        ExtraTreesRegressor(**trees),
        make_pipeline(FunctionTransformer(), RandomForestClassifier(**trees)),
        inner,
        CalibratedClassifierCV(RandomForestClassifier(**trees), cv=2),
    ]


@pytest.mark.parametrize("model", forests(), ids=lambda one: type(one).__name__)
def test_trees_send_a_gap_where_scikit_learn_does(model: Any) -> None:
    model.fit(GAPS, Y)
    got = answers(model, {"number": GAPS})
    if hasattr(model, "predict_proba"):
        np.testing.assert_allclose(got[1], model.predict_proba(GAPS), atol=1e-5)
    else:
        np.testing.assert_allclose(got[0][:, 0], model.predict(GAPS), atol=1e-5)
    sends_left = [tree.missing_go_to_left.any() for trees in skl2onnx.forests(model, set()) for tree in trees]
    assert any(sends_left)


def test_what_cannot_be_exported_or_run_is_told_in_one_line(tmp_path: Path) -> None:
    class Own(LinearRegression):
        pass

    with pytest.raises(ToolError, match=r"^.+\.Own has no ONNX form; use another") as refused:
        skl2onnx.export(make_pipeline(StandardScaler(), Own()).fit(X, Y), 3, 0)
    with pytest.raises(ToolError, match=r"^ONNX export: \w+: ") as refused:
        skl2onnx.export(make_pipeline(FunctionTransformer(np.sin), LinearRegression()).fit(X, Y), 3, 0)
    assert "\n" not in refused.value.message and len(refused.value.message) <= 250
    (tmp_path / "m.onnx").write_bytes(b"none")
    for given in (b"none", tmp_path / "m.onnx"):
        with pytest.raises(ToolError, match=r"^onnxruntime refuses the model: InvalidProtobuf$"):
            room.session(given)
    live = room.session(skl2onnx.export(LinearRegression().fit(X, Y), 3, 0))
    for wrong in ({}, {"number": X[:, :2]}, {"number": X.astype(str)}):
        with pytest.raises(ToolError, match=r"^onnxruntime: \w+: ") as refused:
            room.runner(live)(wrong)
        assert "\n" not in refused.value.message and len(refused.value.message) <= 250


@pytest.mark.parametrize("threads", [1, 2])
def test_a_session_has_as_many_threads_as_are_asked_for(threads: int, tmp_path: Path) -> None:
    data = skl2onnx.export(LinearRegression().fit(X, Y), 3, 0)
    (tmp_path / "m.onnx").write_bytes(data)
    for given in (data, tmp_path / "m.onnx"):
        options = room.session(given, threads).get_session_options()
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (threads, 1)
        assert options.log_severity_level == 4
    assert room.session(data).get_session_options().intra_op_num_threads == 1
    assert room.session(data).get_providers() == ["CPUExecutionProvider"]


def test_equal_models_are_equal_bytes(tmp_path: Path) -> None:
    """Wherever in memory they lie; what is shared is shared when it is loaded, and it says the same."""
    words = np.array([["a"], ["b"]] * 100, object)
    table = np.column_stack([words, X.astype(object)])

    def made(seed: int) -> Any:
        prepare = make_column_transformer((OneHotEncoder(), [0]), ("passthrough", [1, 2, 3]))
        return make_pipeline(prepare, RandomForestClassifier(n_estimators=3, random_state=seed)).fit(table, Y)

    paths = [tmp_path / f"{name}.skops" for name in "abc"]
    for path, seed in zip(paths, (0, 0, 1), strict=True):
        skops.save(made(seed), path)
    same, again, other = (path.read_bytes() for path in paths)
    assert same == again != other
    np.testing.assert_array_equal(skops.load(paths[0]).predict_proba(table), made(0).predict_proba(table))
    with zipfile.ZipFile(paths[0]) as archive:
        infos = archive.infolist()
        assert infos[0].filename == "schema.json"
        assert [one.filename.split(".")[0] for one in infos[1:]] == [str(at) for at in range(1, len(infos))]
        assert {one.filename.split(".")[1] for one in infos[1:]} == {"npy"}
        assert {one.date_time for one in infos} == {(1980, 1, 1, 0, 0, 0)}
        assert {one.compress_type for one in infos} == {zipfile.ZIP_DEFLATED}
        schema = json.loads(archive.read("schema.json"))
    assert schema["__id__"] == 1  # places in memory are counted from 1

    shared = [X, {3, 1, 2}]
    skops.save({"one": shared, "two": shared}, tmp_path / "d.skops")
    back = skops.load(tmp_path / "d.skops")
    assert back["one"] is back["two"] and back["one"][1] == {1, 2, 3}


def test_a_part_that_nothing_refers_to_is_no_model(tmp_path: Path) -> None:
    import io

    data = skops_io.dumps(LinearRegression().fit(X, Y))
    stream = io.BytesIO(data)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("b.npy", b"x")
        archive.writestr("a.npy", b"x")
    with pytest.raises(ToolError) as refused:
        skops.canonical(stream.getvalue())
    assert refused.value.message == "the model cannot be stored in skops format: nothing refers to its part a.npy"


class Custom(LinearRegression):
    """Of a project's own."""


def test_types_that_are_not_safe_are_neither_written_nor_loaded(tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    with pytest.raises(ToolError) as refused:
        skops.save(Custom().fit(X, Y), path)
    said = f"the model contains {Custom.__module__}.Custom, which is not on the list of types that are safe to load"
    assert refused.value.message == said and not path.exists()
    assert refused.value.hint == f"package: {{trust: [{Custom.__module__}.Custom]}} if you trust it"
    skops.save(Custom().fit(X, Y), path, [f"{Custom.__module__}.Custom"])
    assert skops.load(path, [f"{Custom.__module__}.Custom"]).predict(X).shape == (200,)
    with pytest.raises(ToolError, match=r"^the model cannot be stored in skops format: "):
        skops.save((one for one in [1]), path)
    path.write_bytes(skops_io.dumps(Custom().fit(X, Y)))
    with pytest.raises(
        DataError, match=r"^model\.skops: is not a model that is safe to load: UntrustedTypesFoundException$"
    ):
        skops.load(path)
    path.write_bytes(b"none")
    with pytest.raises(DataError, match=r"^model\.skops: is not a model that is safe to load: BadZipFile$"):
        skops.load(path)


def test_packages_that_a_model_needs(tmp_path: Path) -> None:
    import sklearn

    skops.save(make_pipeline(LinearRegression()).fit(X, Y), tmp_path / "m.skops")
    found = skops.packages(tmp_path / "m.skops")
    assert found["scikit-learn"] == sklearn.__version__ and found["numpy"] == np.__version__
    assert list(found) == sorted(found) and "pytest" not in found and "onnx" not in found


def test_parts_of_a_set_are_in_an_order_of_their_own() -> None:
    """By what stands in them, not by their places in memory."""

    def node(ids: tuple[int, ...], values: str) -> Any:
        parts = [{"__id__": i, "v": {"__id__": i + 1, "w": [v]}} for i, v in zip(ids, values, strict=True)]
        return {"__loader__": "SetNode", "__id__": 9, "content": parts}

    one, two = node((30, 20), "ab"), node((70, 80), "ba")
    for made in (one, two):
        assert skops.renumber(made, {}, {}) == {}
    assert one == two and [part["v"]["w"] for part in one["content"]] == [["a"], ["b"]]
    files = [{"__loader__": "N", "file": name} for name in ("x.npy", "y.json", "x.npy")] + [{"file": "z.npy"}]
    assert skops.renumber(files, {}, {}) == {"x.npy": "1.npy", "y.json": "2.json"}
    assert [one["file"] for one in files] == ["1.npy", "2.json", "1.npy", "z.npy"]


def graph(nodes: int) -> Any:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    return helper.make_graph([helper.make_node("Identity", ["x"], ["y"])] * nodes, "g", ends[:1], ends[1:])


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as refused:
        onnx_files.check_file(path)
    return refused.value.message


def test_an_onnx_file_has_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph(1200)).SerializeToString())
    size = path.stat().st_size
    for limit, most, said in (
        ("MAX_NODES", 1200, None),
        ("MAX_NODES", 1199, "model.onnx: has more than 1,199 nodes"),
        ("MAX_BYTES", size, None),
        ("MAX_BYTES", size - 1, f"model.onnx: has {size:,} bytes; the limit is {size - 1:,}"),
    ):
        with monkeypatch.context() as limited:
            limited.setattr(onnx_files, limit, most)
            if said is None:
                onnx_files.check_file(path)
            else:
                assert refusal(path) == said
    inner = helper.make_node("If", ["x"], ["y"], then_branch=graph(3), else_branch=graph(2))
    outer = graph(1)
    outer.node.append(inner)
    path.write_bytes(helper.make_model(outer).SerializeToString())
    monkeypatch.setattr(onnx_files, "MAX_NODES", 7)  # those of the graphs of a node count too
    onnx_files.check_file(path)
    monkeypatch.setattr(onnx_files, "MAX_NODES", 6)
    assert refusal(path) == "model.onnx: has more than 6 nodes"


def test_what_is_no_onnx_file(tmp_path: Path) -> None:
    """Wherever it is cut: what is left of it is refused, or has no node."""
    path = tmp_path / "model.onnx"
    model = helper.make_model(graph(2), producer_name="p", opset_imports=[helper.make_opsetid("", 21)])
    whole = model.SerializeToString()
    for at in range(len(whole)):
        path.write_bytes(whole[:at])
        if at >= len(whole) - 8:  # the graph is whole; what may be cut behind it are the operators' versions
            continue
        assert refusal(path).startswith("model.onnx: is not an ONNX file"), at
    path.write_bytes(b"")
    assert refusal(path) == "model.onnx: is not an ONNX file: it has no nodes"
    for wrong in (b"\x80" * 11, b"\x0b", b"\x0c", b"\x0f", b"\x3a\x7f", b"\x09\x00", b"\x0d\x00", b"\x08\x80"):
        path.write_bytes(whole + wrong)
        assert refusal(path) == "model.onnx: is not an ONNX file", wrong


def test_fields_of_every_form_are_passed_over(tmp_path: Path) -> None:
    """Numbers of any length, of 32 and 64 bits, and what is not known; a node behind them is found."""
    path = tmp_path / "model.onnx"
    whole = helper.make_model(graph(1)).SerializeToString()
    numbers = (b"\x08\x01", b"\x08" + b"\xff" * 9 + b"\x01", b"\x0d\x00\x01\x02\x03", b"\x09" + b"\x3a" * 8)
    long = b"\xaa\x06\x80\x01" + b"x" * 128  # field 101, of 128 bytes
    far = b"\xf8\x07\x01" + b"\xfd\x07" + b"\x01" * 4 + b"\xf9\x07" + b"\x01" * 8  # field 127
    for more in (*numbers, long, far, b"".join(numbers) + long + far):
        for data in (more + whole, whole + more, more + whole + more):
            path.write_bytes(data)
            onnx_files.check_file(path)
    path.write_bytes(long + far)
    assert refusal(path) == "model.onnx: is not an ONNX file: it has no nodes"


def test_what_converts_a_booster_is_asked_for_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """To keep the model in skops form without it would make another model on another machine."""
    import xgboost

    from mlops_glue.adapters.skl2onnx import converters

    monkeypatch.setattr(converters, "find_spec", lambda name: None)
    assert skl2onnx.export(LinearRegression().fit(X, Y), 3, 0)
    model = xgboost.XGBClassifier(n_estimators=2).fit(X, Y)
    with pytest.raises(MissingExtra, match="onnxmltools is not installed") as told:
        skl2onnx.export(make_pipeline(StandardScaler(), model), 3, 0)
    assert told.value.hint == 'pip install "mlops-glue[boosters]"'


def test_an_export_leaves_the_model_as_it_was() -> None:
    import pandas as pd
    import xgboost

    frame = pd.DataFrame(X, columns=list("abc"))
    inner = VotingClassifier(
        [("x", xgboost.XGBClassifier(n_estimators=2)), ("l", LinearDiscriminantAnalysis())], voting="soft"
    )
    model = make_pipeline(make_column_transformer(("passthrough", ["c", "a"]), ("drop", slice("b", "b"))), inner)
    model.fit(frame, Y == 1)
    before = skops_io.dumps(model)
    assert skl2onnx.export(model, 3, 0) == skl2onnx.export(model, 3, 0)
    assert skops.canonical(skops_io.dumps(model)) == skops.canonical(before)
    got = room.runner(room.session(skl2onnx.export(model, 3, 0)))({"number": X})
    np.testing.assert_allclose(got[1], model.predict_proba(frame), atol=1e-5)
