"""What a bundle is: each file within its limits, each record what it says; a refusal names the file in one line."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper

from mlops_glue import bundle as bundles
from mlops_glue import files, layout
from mlops_glue.adapters import onnx_files
from mlops_glue.bundle import check, check_table
from mlops_glue.errors import DataError
from mlops_glue.records import FeatureList, FeatureView
from mlops_glue.schema import Column, Schema

SCHEMA = Schema("binary", "y", [Column("a", "number", "double")], ["no", "yes"], "yes")
FEATURES = FeatureList(["v:a"], [FeatureView("v", {"id": "id"}, {"a": "number"}, 0.0, "d")], {"a": "v:a"})


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A sound one."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    io_ = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", io_[:1], io_[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), str(folder / "model.onnx"))
    files.write_json(folder / "schema.json", SCHEMA.to_dict())
    return folder


def refusal(folder: Path, **given: Any) -> str:
    with pytest.raises(DataError) as refused:
        check(folder, **given)
    assert "\n" not in refused.value.message
    return refused.value.message


def test_a_sound_one(bundle: Path) -> None:
    """With little in it, with all that may be in it, and as it was registered."""
    found = check(bundle)
    assert (found.schema, found.features, found.examples, found.model) == (SCHEMA, None, [], bundle / "model.onnx")
    files.write_json(bundle / "features.json", FEATURES.to_dict())
    files.write_json(bundle / "input_example.json", [{"a": 1}, {"a": None}])
    for name in ("parity.json", "signature.json", "holdout.json"):
        files.write_json(bundle / name, {})
    pq.write_table(pa.table({"a": [1], "b": [1]}), bundle / layout.SAMPLE)
    found = check(bundle, files.digest(bundle))
    assert (found.features, found.examples) == (FEATURES, [{"a": 1}, {"a": None}])
    check_table(bundle)
    assert refusal(bundle, digest="0" * 64) == "bundle: is not the bundle that was registered: its digest differs"
    assert refusal(bundle, digest="").startswith("bundle: is not the bundle")


def test_what_is_no_folder_of_a_bundle(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(bundle)
    for folder in (tmp_path / "none", bundle / "schema.json", tmp_path / "link"):
        assert refusal(folder) == f"{folder}: is not a bundle"
    (bundle / "model.onnx").unlink()
    assert refusal(bundle) == "bundle: contains neither model.onnx nor model.skops"
    (bundle / "schema.json").rename(bundle / "model.onnx")
    assert refusal(bundle) == "model.onnx: is not an ONNX file"


def test_only_plain_files_of_a_bundle(bundle: Path, tmp_path: Path) -> None:
    """In the folder of a model of MLflow's others are left alone, and nothing of them is read."""
    for name in ("MLmodel", "notes.txt", "model.pkl"):
        (bundle / name).write_text("x")
        assert refusal(bundle) == f"bundle/{name}: is not part of a bundle"
        check(bundle, others=True)
        (bundle / name).unlink()
    (bundle / "folder").mkdir()
    assert refusal(bundle) == "bundle/folder: is not a plain file"
    files.write_json(bundle / "parity.json", [])
    files.write_json(bundle / "input_example.json", "no rows")
    assert check(bundle, others=True).examples == []
    (bundle / "folder").rmdir()
    (bundle / "input_example.json").unlink()
    assert refusal(bundle) == "bundle/parity.json: does not belong to a bundle: it is not an object"
    (bundle / "parity.json").unlink()
    (tmp_path / "outside.json").write_text((bundle / "schema.json").read_text())
    (bundle / "schema.json").unlink()
    (bundle / "schema.json").symlink_to(tmp_path / "outside.json")
    assert refusal(bundle) == "bundle/schema.json: is not a plain file" == refusal(bundle, others=True)
    (bundle / "schema.json").unlink()
    assert refusal(bundle) == f"{bundle}: is not a bundle: schema.json is missing"


@pytest.mark.parametrize("name", ["parity.json", "signature.json", "holdout.json", "features.json", "schema.json"])
def test_records_that_are_no_json(name: str, bundle: Path) -> None:
    for text in ("{", "[" * 100_000, ""):
        (bundle / name).write_text(text)
        assert refusal(bundle) == f"bundle/{name}: does not belong to a bundle: not JSON, or nested too deeply"
    (bundle / name).write_text("[]")
    assert refusal(bundle).startswith(f"bundle/{name}: does not belong to a bundle: ")


@pytest.mark.parametrize(
    ("value", "right"),
    [([], True), ([{}], True), ({}, False), ([[]], False), ([{}, 1], False), ("x", False), (None, False)],
)
def test_the_example_is_a_list_of_rows(value: Any, right: bool, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_json(bundle / "input_example.json", value)
    if right:
        assert check(bundle).examples == value
    else:
        assert refusal(bundle) == "bundle/input_example.json: does not belong to a bundle: it is not a list of rows"
    monkeypatch.setattr(bundles, "MAX_ROWS", 2)
    for rows in (2, 3):
        files.write_json(bundle / "input_example.json", [{}] * rows)
        assert (rows == 2 and check(bundle)) or (rows == 3 and "it is not a list of rows" in refusal(bundle))


def test_files_have_limits(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON one, tables another; models one of their own."""
    pq.write_table(pa.table({"a": [1], "b": [1]}), bundle / layout.SAMPLE)
    sizes = {path.name: path.stat().st_size for path in bundle.iterdir()}
    assert sizes["schema.json"] < sizes[layout.SAMPLE]
    monkeypatch.setattr(bundles, "MAX_JSON_BYTES", sizes["schema.json"])
    monkeypatch.setattr(bundles, "MAX_TABLE_BYTES", sizes[layout.SAMPLE])
    monkeypatch.setattr(onnx_files, "MAX_BYTES", sizes["model.onnx"])
    check(bundle)
    monkeypatch.setattr(bundles, "MAX_TABLE_BYTES", sizes[layout.SAMPLE] - 1)
    of_table = f"bundle/{layout.SAMPLE}: has {sizes[layout.SAMPLE]:,} bytes; the limit is {sizes[layout.SAMPLE] - 1:,}"
    assert refusal(bundle) == of_table
    (bundle / layout.SAMPLE).unlink()
    monkeypatch.setattr(bundles, "MAX_JSON_BYTES", 20)
    assert refusal(bundle) == f"bundle/schema.json: has {sizes['schema.json']:,} bytes; the limit is 20"
    monkeypatch.setattr(bundles, "MAX_JSON_BYTES", 1 << 20)
    monkeypatch.setattr(bundles, "MAX_TABLE_BYTES", 1)
    check(bundle)  # a model is no table
    monkeypatch.setattr(onnx_files, "MAX_BYTES", 10)
    assert refusal(bundle) == f"model.onnx: has {sizes['model.onnx']} bytes; the limit is 10"


def test_tables_have_limits(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what their own heads say: bytes of all row groups, rows and columns."""
    for name in (layout.SAMPLE,):
        (bundle / name).write_bytes(b"torn")
        with pytest.raises(DataError) as refused:
            check_table(bundle)
        assert refused.value.message == f"bundle/{name}: is not a Parquet file"
        pq.write_table(pa.table({"a": list(range(3000)), "b": [0.5] * 3000}), bundle / name, row_group_size=1000)
        check_table(bundle)
        about = pq.read_metadata(bundle / name)
        size = sum(about.row_group(at).total_byte_size for at in range(3))
        for what, most, number in (
            ("MAX_TABLE_BYTES", "bytes", size),
            ("MAX_ROWS", "rows", 3000),
            ("MAX_COLUMNS", "columns", 2),
        ):
            with monkeypatch.context() as limited:
                limited.setattr(bundles, what, number)
                check_table(bundle)
                limited.setattr(bundles, what, number - 1)
                with pytest.raises(DataError) as refused:
                    check_table(bundle)
                assert refused.value.message == f"bundle/{name}: has {number:,} {most}; the limit is {number - 1:,}"
        (bundle / name).unlink()


def test_a_skops_archive_says_how_much_is_in_it(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bundle / "model.skops"
    (bundle / "model.onnx").unlink()
    path.write_bytes(b"torn")
    assert refusal(bundle) == "model.skops: is not a model that is safe to load: BadZipFile"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", "0" * 5000)
        archive.writestr("1.npy", "0" * 5000)
    assert check(bundle).model == path
    for limit, most, right in (
        ("MAX_BYTES", 10_000, True),
        ("MAX_BYTES", 9_999, False),
        ("MAX_ARCHIVE_MEMBERS", 2, True),
        ("MAX_ARCHIVE_MEMBERS", 1, False),
    ):
        with monkeypatch.context() as limited:
            limited.setattr(bundles if limit == "MAX_ARCHIVE_MEMBERS" else onnx_files, limit, most)
            if right:
                check(bundle)
            else:
                limit = f"{onnx_files.MAX_BYTES:,}"
                assert refusal(bundle) == f"model.skops: has 10,000 bytes unpacked; the limit is {limit}"


def changed(**values: Any) -> dict[str, Any]:
    return {**SCHEMA.to_dict(), **values}


UNFIT = "decision does not fit the labels"
BAD_DECISIONS: list[dict[str, Any]] = [
    *({"threshold": value} for value in (0, 1, float("nan"), -0.5)),
    {"threshold": 0.5, "costs": [[0, 1], [1, 0]]},
    *({"costs": costs} for costs in (None, [], [[0]], [[0, 1]], [[0, 1], [1]], [[0, float("inf")], [1, 0]])),
]
A, B = ({"name": name, "kind": "number", "dtype": "double"} for name in "ab")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (changed(task="ranking"), "task is not one of binary, multiclass, regression"),
        (changed(task=1), "task: Input should be a valid string"),
        (changed(columns=[A, A]), "two columns have the same name"),
        (
            changed(columns=[A | {"kind": "image"}]),
            "columns.0.kind: Input should be 'number', 'category', 'boolean', ",
        ),
        (changed(columns=[A | {"base": float("inf")}]), "base is not a number"),
        (changed(columns=[A, B | {"base": float("nan")}]), "base is not a number"),
        (changed(decimal=";"), "decimal is not a decimal sign"),
        (changed(labels=None), "labels do not fit the task"),
        (changed(task="regression"), "labels do not fit the task"),
        (changed(labels=[["no"], "yes"]), "labels are not classes"),
        (changed(labels=["no", None, "yes"]), "labels are not classes"),
        (changed(trained=[["no"]]), "labels are not classes"),
        (changed(positive={"yes": 1}), "labels are not classes"),
        (changed(labels=[], positive=None), "labels are empty, or repeated"),
        (changed(labels=["no", "no", "yes"]), "labels are empty, or repeated"),
        (changed(positive="maybe"), "trained or positive is not among the labels"),
        (changed(trained=["no", "maybe"]), "trained or positive is not among the labels"),
        (changed(trained=[]), "trained or positive is not among the labels"),
        *((changed(decision={"by": "f2", **given}), UNFIT) for given in BAD_DECISIONS),
        (changed(decision={"threshold": 0.5}), "decision.by: Field required"),
        ({"task": "binary"}, "target: Field required"),
        (changed(columns=[{"name": "a"}]), "columns.0.kind: Field required"),
        (changed(more=1), "Schema.__init__() got an unexpected keyword argument 'more'"),
        ([], ": Input should be an object"),
    ],
    ids=str,
)
def test_a_schema_that_is_none_of_glues(schema: Any, said: str, bundle: Path) -> None:
    (bundle / "schema.json").write_text(json.dumps(schema))
    told = refusal(bundle).removeprefix("bundle/schema.json: does not belong to a bundle: ")
    assert told == said or (": " in said and told.startswith(said)), told
    assert len(told) <= 200


@pytest.mark.parametrize(
    "schema",
    [
        changed(trained=["no"], labels=["no", "maybe", "yes"], task="multiclass", positive=None),
        changed(labels=[0, 1], positive=0),
        changed(labels=[0.5, 1.5], positive=None),
        changed(labels=[False, True], positive=True, decimal=","),
        changed(labels=None, positive=None, task="regression", columns=[A, B | {"base": 1e12}]),
        changed(columns=[]),
        changed(decision={"by": "given", "threshold": 0.2}),
        changed(decision={"by": "cost", "costs": [[0, 1], [1.5, -2]], "rows": 8}),
        changed(decision=None),
    ],
    ids=str,
)
def test_a_schema_that_is_glues(schema: Any, bundle: Path) -> None:
    (bundle / "schema.json").write_text(json.dumps(schema))
    assert check(bundle).schema == Schema.from_dict(schema)


def test_a_schema_of_too_many_columns_is_not_looked_at(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "MAX_COLUMNS", 1500)
    for number in (1500, 1501):
        columns = [A | {"name": str(at)} for at in range(number)]
        (bundle / "schema.json").write_text(json.dumps(changed(columns=columns)))
        if number == 1500:
            assert len(check(bundle).schema.columns) == 1500
        else:
            assert refusal(bundle) == "bundle/schema.json: has 1,501 columns; the limit is 1,500"


def test_features_that_are_none_of_glues(bundle: Path) -> None:
    for change, said in (
        ({"views": [{}]}, "views.0.name: Field required"),
        ({"columns": {"a": 1}}, "columns.a: Input should be a valid string"),
    ):
        (bundle / "features.json").write_text(json.dumps(FEATURES.to_dict() | change))
        assert refusal(bundle) == f"bundle/features.json: does not belong to a bundle: {said}"
