"""Artifacts that would run code, read files or take all memory are refused by whatever is served, with no side effect.

Each is registered with a digest of its own: who can write to a registry can write the digest too.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skops.io
from onnx import TensorProto, helper
from sklearn.ensemble import ExtraTreesRegressor, RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier

from mlops_glue import files
from mlops_glue.adapters import onnx as room
from mlops_glue.adapters import onnx_files, skl2onnx
from mlops_glue.bundle import check, check_table
from mlops_glue.config import Config
from mlops_glue.delivery import fetch, trial
from mlops_glue.errors import DataError, GlueError, ToolError
from mlops_glue.monitoring.observe import Source
from mlops_glue.schema import Column, Schema
from mlops_glue.scoring import Bundle
from mlops_glue.serving.model import Model
from tests.support.models import endless

X = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A sound one."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    model = LogisticRegression().fit(X, Y)
    (folder / "model.onnx").write_bytes(skl2onnx.export(Pipeline([("m", model)]), 3, 0))
    columns = [Column(name, "number", "double") for name in "abc"]
    files.write_json(folder / "schema.json", Schema("binary", "y", columns, [0, 1]).to_dict())
    files.write_json(folder / "input_example.json", [{"a": 1.0, "b": 2.0, "c": 3.0}])
    return folder


def load(folder: Path) -> Model:
    return Model(folder, files.digest(folder), name="m", version=1)


def test_a_sound_one_is_served(bundle: Path) -> None:
    (said,) = load(bundle).self_test()
    assert said["prediction"] == 1 and set(said["probabilities"]) == {"0", "1"}


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.mark}",)


def pickled(folder: Path, mark: Path) -> None:
    (folder / "model.onnx").unlink()
    (folder / "model.skops").write_bytes(pickle.dumps(Evil(mark)))


def pickle_beside(folder: Path, mark: Path) -> None:
    (folder / "model.onnx").unlink()
    (folder / "python_model.pkl").write_bytes(pickle.dumps(Evil(mark)))


def loader_module(folder: Path, mark: Path) -> None:
    (folder / "code").mkdir()
    (folder / "code" / "evil.py").write_text(f"import os; os.system('touch {mark}')")
    (folder / "MLmodel").write_text("flavors: {python_function: {loader_module: evil, code: code}}")


def skops_of_its_own(folder: Path, mark: Path) -> None:
    (folder / "model.onnx").unlink()
    skops.io.dump(
        Pipeline([("f", FunctionTransformer(func=os.system)), ("m", LogisticRegression().fit(X, Y))]),
        folder / "model.skops",
    )


def zip_slip(folder: Path, mark: Path) -> None:
    (folder / "model.onnx").unlink()
    skops.io.dump(LogisticRegression().fit(X, Y), folder / "whole.skops")
    with zipfile.ZipFile(folder / "whole.skops") as old, zipfile.ZipFile(folder / "model.skops", "w") as new:
        for name in old.namelist():
            text = old.read(name)
            if name == "schema.json":
                text = text.replace(b'"file": "', b'"file": "../../' + b"../" * 8)
            new.writestr(name, text)
        new.writestr(f"../../{mark.name}", b"")
    (folder / "whole.skops").unlink()


def symlink(folder: Path, mark: Path) -> None:
    (folder / "reference.json").symlink_to("/etc/passwd")


def external_data(folder: Path, mark: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    model.graph.initializer.append(tensor)
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def external_data_within(folder: Path, mark: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    body = helper.make_graph([helper.make_node("Constant", [], ["o"], value=tensor)], "b", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], ["r"], then_branch=body, else_branch=body))
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def custom_operators(folder: Path, mark: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    model.graph.node.append(helper.make_node("Run", ["number"], ["r"], domain="com.evil"))
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def functions(folder: Path, mark: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    node = helper.make_node("Identity", ["a"], ["b"])
    model.functions.append(helper.make_function("ai.onnx.ml", "f", ["a"], ["b"], [node], [helper.make_opsetid("", 21)]))
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def many_nodes(folder: Path, mark: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    node = helper.make_node("Identity", ["number"], ["x"]).SerializeToString()
    one = b"\x0a" + bytes([len(node)]) + node  # field 1 of a graph
    graph = model.graph.SerializeToString() + one * 1_000_000
    model.ClearField("graph")
    size, n = b"", len(graph)
    while n > 127:
        size, n = size + bytes([n & 127 | 128]), n >> 7
    (folder / "model.onnx").write_bytes(model.SerializeToString() + b"\x3a" + size + bytes([n]) + graph)


def too_large(folder: Path, mark: Path) -> None:
    with (folder / "model.onnx").open("r+b") as file:
        file.truncate(2 << 30)  # sparse: no disk is taken


def five_columns(folder: Path, mark: Path) -> None:
    kept = json.loads((folder / "schema.json").read_text())
    (folder / "schema.json").write_text(json.dumps({**kept, "task": "multiclass", "labels": [0, 1, 2]}))


def inflates(folder: Path, mark: Path) -> None:
    (folder / "model.onnx").unlink()
    with zipfile.ZipFile(folder / "model.skops", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("schema.json", "{}")
        with archive.open("1.npy", "w", force_zip64=True) as member:
            for _ in range(130):
                member.write(bytes(8 << 20))


def no_onnx(folder: Path, mark: Path) -> None:
    (folder / "model.onnx").write_bytes(b"\x00\xff" * 500)


POISONS: dict[Callable[[Path, Path], None], str] = {
    pickled: "is not a model that is safe to load",
    pickle_beside: "python_model.pkl: is not part of a bundle",
    loader_module: "is not part of a bundle",
    skops_of_its_own: "is not a model that is safe to load",
    zip_slip: "is not a model that is safe to load",
    symlink: "reference.json: is not a plain file",
    external_data: "has external data",
    external_data_within: "has external data",
    custom_operators: "operators that are not part of ONNX",
    functions: "contains functions",
    many_nodes: "more than 100,000 nodes",
    too_large: "the limit is",
    no_onnx: "is not an ONNX file",
    five_columns: r"probabilities \(1, 2\) for 1 rows and 3 classes",
    inflates: "bytes unpacked; the limit is",
}


@pytest.mark.parametrize("poison", POISONS, ids=lambda one: one.__name__)
def test_a_poisoned_one_is_refused(poison: Callable[[Path, Path], None], bundle: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    poison(bundle, mark)
    before = {p.name for p in tmp_path.rglob("*")}
    digest = files.digest(bundle) if poison is not too_large else "it takes long and is not reached"
    with pytest.raises(GlueError, match=POISONS[poison]):
        if poison is too_large:
            onnx_files.check_file(bundle / "model.onnx")
        Model(bundle, digest, name="m", version=1).self_test()
    with pytest.raises(GlueError, match=POISONS[poison]):  # whoever else loads a bundle asks the same
        if poison is too_large:
            onnx_files.check_file(bundle / "model.onnx")
        Bundle(bundle).predict(pa.table({name: [1.0] for name in "abc"}))
    assert not mark.exists() and {p.name for p in tmp_path.rglob("*")} == before
    shutil.rmtree(bundle)


def test_one_byte_of_another_is_refused(bundle: Path) -> None:
    digest = files.digest(bundle)
    text = (bundle / "model.onnx").read_bytes()
    (bundle / "model.onnx").write_bytes(text[:100] + bytes([text[100] ^ 1]) + text[101:])
    with pytest.raises(DataError, match="is not the bundle that was registered"):
        Model(bundle, digest, name="m", version=1)


DEEP = "[" * 200_000 + "]" * 200_000
COLUMN = {"name": "a", "kind": "number"}
WRONG = {  # of a key of the schema
    "task": [3, "none", None],
    "target": [None, 1],
    "labels": [None, [], 3, [[0], 1], [0, 0], [{"a": 1}, 2]],
    "trained": [[], [7], 3],
    "positive": [7, []],
    "nulls": [None, 3, [1]],
    "decimal": [None, "x"],
    "trims": ["yes", None],
    "columns": [
        None,
        {},
        [3],
        [None],
        [{}],
        [COLUMN, COLUMN],
        [{"name": f"c{n}", "kind": "number"} for n in range(60_000)],
    ],
}
OF_COLUMN = {
    "name": [None, 1, []],
    "kind": ["unknown", None, []],
    "dtype": [None, 3],
    "nullable": [None, "yes", 1],
    "categories": ["abc", [1], {}],
    "minimum": ["x", [], True],
    "maximum": ["x", {}],
    "day_first": ["no", 3],
    "base": ["x", None, float("nan"), float("inf")],
    "more": [1],
}
VIEW = {"name": "v", "keys": {"a": "a"}, "features": {"b": "number"}, "ttl_s": 0, "definition": "x"}
LIST = {"use": ["v:b"], "views": [VIEW], "columns": {"b": "v:b"}}
TEXTS = {
    "schema.json": [
        "",
        "{",
        "null",
        "[]",
        "3",
        "NaN",
        DEEP,
        '{"columns": ' + DEEP + "}",
        "\udcff",
        '{"task": 1, "task": 2}',
    ],
    "features.json": [
        *("", "null", "[1,2]", "{}", DEEP),
        *(json.dumps(LIST | {key: value}) for key in LIST for value in (None, 3, [1], {"a": 1}, [None])),
        *(json.dumps(LIST | {"views": [VIEW | {"keys": value}]}) for value in (None, 3, [], {"a": 1})),
        *(json.dumps(LIST | {key: 3}) for key in ("request", "types", "more")),
        json.dumps(LIST | {"delay_s": "x"}),
    ],
    "parity.json": ["", "[]", "null", DEEP],
    "holdout.json": ["", "[]", "null", DEEP],
    "signature.json": ["", "[]"],
    "input_example.json": ["", "null", "{}", "[]", "[3]", "[null]", DEEP],
}


def cases() -> Iterator[tuple[str, str]]:
    """A file of a bundle, and a text that none of glue's has."""
    for name, texts in TEXTS.items():
        yield from ((name, text) for text in texts)
    sound = Schema("binary", "y", [Column(name, "number", "double") for name in "abc"], [0, 1]).to_dict()
    for key, values in WRONG.items():
        yield from (("schema.json", json.dumps(sound | {key: value})) for value in values)
    for key, values in OF_COLUMN.items():
        for value in values:
            columns = [sound["columns"][0] | {key: value}, *sound["columns"][1:]]
            yield "schema.json", json.dumps(sound | {"columns": columns})


def test_every_text_that_is_none_of_glues_is_refused_in_one_line(bundle: Path) -> None:
    held = {path.name: path.read_bytes() for path in bundle.iterdir()}
    for name, text in cases():
        (bundle / name).write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(GlueError) as caught:
            load(bundle)
        assert caught.value.exit_code == 4 and "\n" not in caught.value.message, text[:200]
        assert name in caught.value.message and len(caught.value.message) < 400, (
            text[:200],
            caught.value.message[:400],
        )
        (bundle / name).unlink()
        if name in held:
            (bundle / name).write_bytes(held[name])
    load(bundle).self_test()


def test_a_file_beyond_its_limit_is_not_read(bundle: Path) -> None:
    for name in ("schema.json", "holdout.json", "reference.parquet"):
        with (bundle / name).open("ab") as file:
            file.truncate(2 << 30)  # sparse: no disk is taken
        with pytest.raises(DataError, match=f"{name}: has 2,147,483,648 bytes; the limit is"):
            Bundle(bundle)
        (bundle / name).unlink()
        if name == "schema.json":
            (bundle / name).write_text(
                json.dumps(Schema("binary", "y", [Column(n, "number") for n in "abc"], [0, 1]).to_dict())
            )


def test_tables_that_are_none_or_too_much(bundle: Path) -> None:
    many = pa.table({"a": pa.array([0]).take(pa.array([0] * 1_100_000))})  # some kilobytes
    for name in ("reference.parquet",):
        pq.write_table(many, bundle / name)
        with pytest.raises(DataError, match=f"{name}: has 1,100,000 rows; the limit is 1,000,000"):
            check_table(bundle)
        for content in (b"", b"PAR1", b"PAR1" * 9):
            (bundle / name).write_bytes(content)
            with pytest.raises(DataError, match=f"{name}: is not a Parquet file"):
                check_table(bundle)
        (bundle / name).unlink()
    check_table(bundle)


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(20, max_depth=6, random_state=0),
        DecisionTreeClassifier(random_state=0),
        StackingClassifier([("a", RandomForestClassifier(9, random_state=0)), ("b", DecisionTreeClassifier())], cv=2),
        ExtraTreesRegressor(20, random_state=0),
    ],
    ids=lambda one: type(one).__name__,
)
def test_forests_send_null_where_scikit_learn_does(estimator: object, bundle: Path) -> None:
    """Also where training had no null."""
    model = Pipeline([("m", estimator)]).fit(X, Y)
    asked = X.copy()
    asked[np.random.default_rng(1).random(asked.shape) < 0.3] = np.nan
    made = skl2onnx.export(model, 3, 0)
    (bundle / "model.onnx").write_bytes(made)
    onnx_files.check_file(bundle / "model.onnx")
    got = room.runner(room.session(made))({"number": asked})
    if hasattr(model, "predict_proba"):
        np.testing.assert_allclose(got[1], model.predict_proba(asked), atol=1e-5)
    else:
        np.testing.assert_allclose(np.ravel(got[0]), model.predict(asked), atol=1e-5)


def test_a_model_that_never_answers_is_refused_in_time_and_one_that_does_is_tried_once(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.answers(tmp_path, bundle, files.digest(bundle), "m", 1)
    with monkeypatch.context() as patch:
        patch.setattr(trial.subprocess, "run", None)
        trial.answers(tmp_path, bundle, files.digest(bundle), "m", 1)  # known now, for nothing
    endless(bundle)
    check(bundle)  # nothing is to be seen
    monkeypatch.setenv("GLUE_TRIAL_TIMEOUT_S", "3")
    for _ in range(2):  # it is not remembered as sound
        before = time.monotonic()
        with pytest.raises(
            DataError, match="m v1: does not answer: its own example is not scored within 3 s"
        ) as caught:
            trial.answers(tmp_path, bundle, files.digest(bundle), "m", 1)
        assert caught.value.exit_code == 4 and time.monotonic() - before < 20
    assert len(list((tmp_path / trial.TRIED).iterdir())) == 1


def test_who_predicts_and_who_watches_tries_it_too(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless(bundle)
    monkeypatch.setenv("GLUE_TRIAL_TIMEOUT_S", "3")
    config = Config.model_validate({"glue": 1, "project": "m"})
    store = Mock(trust=[])
    store.champion.return_value, store.download_bundle.return_value = 1, bundle
    with pytest.raises(DataError, match="m v1: does not answer"):
        fetch.of_registry(store, tmp_path, config, None, tmp_path)
    with pytest.raises(DataError, match="v1 cannot be used for comparison: m v1: does not answer"):
        Source(store, tmp_path, config, tmp_path).load(1)
    with pytest.raises(DataError, match="m v1: does not answer"):
        fetch.fetch(store, tmp_path, config, 1, tmp_path)


def test_what_a_trial_says_is_one_line(bundle: Path, tmp_path: Path) -> None:
    five_columns(bundle, tmp_path)
    with pytest.raises(DataError, match=r"^m v1: the model returns .* for 1 rows and 3 classes$"):
        trial.answers(tmp_path, bundle, files.digest(bundle), "m", 1)


def test_what_onnxruntime_writes_by_itself_stays_off_the_terminal(
    bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One line of glue's is enough: of a model that it refuses, and of one that fails while it runs."""
    model = onnx.load(bundle / "model.onnx")
    last = model.graph.output[1].name
    for node in model.graph.node:
        node.output[:] = ["before" if name == last else name for name in node.output]
    model.graph.initializer.append(helper.make_tensor("shape", TensorProto.INT64, [2], [7, 5]))
    model.graph.node.append(helper.make_node("Reshape", ["before", "shape"], [last]))
    (bundle / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ToolError, match=r"^onnxruntime: "):
        Bundle(bundle).predict(pa.table({name: [1.0] for name in "abc"}))
    model.graph.node[-1].op_type = "NoSuchOperator"
    (bundle / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ToolError, match=r"^onnxruntime refuses the model"):
        Bundle(bundle)
    assert capfd.readouterr() == ("", "")
