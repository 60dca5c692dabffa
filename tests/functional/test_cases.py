"""Awkward tables, and what each must give: a champion's metrics, or one clear line and nothing changed on disk.

The commands run in this process, so that a case costs a second or less. The estimator is a cheap one, and most cases
run the stages without DVC and without a registry, since the tables are what is tried here.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Callable
from datetime import time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_glue.config import Serve
from mlops_glue.pipeline.stages import FORMAT
from mlops_glue.schema import Schema
from mlops_glue.serving import contract
from tests.support.project import CHEAP, Glue, Ran, run_stages, table


def csv(text: str | pd.DataFrame, encoding: str = "utf-8", name: str = "t.csv", **how: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        body = text if isinstance(text, str) else text.to_csv(index=False, **how)
        raw = body.encode(encoding)
        (folder / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return folder / name

    return write


def parquet(made: pa.Table) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        pq.write_table(made, folder / "t.parquet")
        return folder / "t.parquet"

    return write


def jsonl(text: str) -> Callable[[Path], Path]:
    return csv(text, name="t.jsonl")


def x_of(rows: int = 60) -> np.ndarray[Any, Any]:
    return table(rows)["x"].to_numpy()


def numbers(task_column: Any, rows: int = 60) -> pd.DataFrame:
    return table(rows).assign(y=task_column)


N = 60
DATES = pd.date_range("2024-01-01", periods=N, freq="D")
WIDE = pd.concat(
    [table(), pd.DataFrame(np.random.default_rng(0).normal(size=(N, 2000)).round(3)).add_prefix("c")], axis=1
)
LONE = table().assign(y=["rare", *(["a", "b"] * N)[: N - 1]])
LEAK = table(400).sort_values("y").assign(x=np.random.default_rng(1).normal(size=400))

# name: how the table is written, options of init, task that comes of it (None: any), what init says
GOOD: dict[str, tuple[Callable[[Path], Path], list[str], str | None, str]] = {
    "plain": (csv(table()), [], "binary", ""),
    "gz": (csv(table(), name="t.csv.gz"), [], "binary", ""),
    "parquet": (parquet(pa.Table.from_pandas(table())), [], "binary", ""),
    "jsonl": (jsonl(table().to_json(orient="records", lines=True)), [], "binary", ""),
    "points and spaces in its name": (csv(table(), name="sales 2024.v2 (1).csv"), [], "binary", ""),
    "upper-case suffix": (csv(table(), name="T.CSV"), [], "binary", ""),
    "target with nulls": (
        csv(table().assign(y=[None, *table()["y"][1:]])),
        [],
        "binary",
        "1 row without a value left out",
    ),
    "target with blanks": (
        csv(table().assign(y=[f"{word}{' ' * (at % 2)}" for at, word in enumerate(table()["y"])])),
        [],
        "multiclass",
        "'no', 'no ' are written differently",
    ),
    "target 0 and 1": (csv(numbers((x_of() > 0).astype(int))), [], "binary", ""),
    "target of floats 0.0 and 1.0": (csv(numbers((x_of() > 0).astype(float))), [], "binary", ""),
    "target true and false": (csv(numbers(x_of() > 0)), [], "binary", ""),
    "target 1, 2, 3": (csv(numbers(np.digitize(x_of(), [-0.5, 0.5]) + 1)), [], "multiclass", ""),
    "target of numbers": (csv(numbers(3 * x_of() + 1)), [], "regression", ""),
    "target of numbers with nulls": (
        csv(numbers(np.where(np.arange(N) % 7, x_of(), np.nan))),
        [],
        "regression",
        "rows without a value",
    ),
    "target of decimals": (
        parquet(pa.table({"x": x_of(), "y": pa.array((3 * x_of()).round(2).astype(str)).cast(pa.decimal128(9, 2))})),
        [],
        "regression",
        "",
    ),
    "a class with one row": (csv(LONE), [], "multiclass", ""),
    "one of 40 rows": (csv(table(40)), [], "binary", ""),
    "named index, id and class": (
        csv(table().rename(columns={"x": "index", "noise": "id", "town": "class"})),
        [],
        "binary",
        "",
    ),
    "named like glue's own": (
        csv(table().rename(columns={"noise": "glue_row", "town": "prediction"})),
        [],
        "binary",
        "left out 'glue_row': glue uses this name",
    ),
    "spaces and dots in names": (
        csv(table().rename(columns={"x": "a b", "noise": "a.b", "town": " c "})),
        [],
        None,
        "",
    ),
    "unicode and digits in names": (
        csv(table().rename(columns={"x": "größe", "noise": "2nd", "town": "都市"})),
        [],
        None,
        "",
    ),
    "quotes and yaml in names": (
        csv(table().rename(columns={"x": 'say "x"', "noise": "a: b", "town": "#no [x] {y}"})),
        [],
        None,
        "",
    ),
    "names that yaml reads as others": (
        csv(table().rename(columns={"x": "yes", "noise": "null", "town": "1"})),
        [],
        None,
        "",
    ),
    "brackets of one-hot names": (
        csv(table().rename(columns={"x": "x<1", "noise": "x[2]", "town": "a_b"})),
        [],
        None,
        "",
    ),
    "no name at all": (csv(table().reset_index().rename(columns={"index": ""})), [], None, ""),
    "byte order mark": (csv(table(), encoding="utf-8-sig"), [], "binary", ""),
    "utf-16": (csv(table(), encoding="utf-16"), [], "binary", ""),
    "latin-1": (csv(table().replace("Kiel", "Köln"), encoding="latin-1"), [], "binary", ""),
    "semicolons": (csv(table(), sep=";"), [], "binary", ""),
    "tabs": (csv(table(), sep="\t"), [], "binary", ""),
    "bars": (csv(table(), sep="|"), [], "binary", ""),
    "carriage returns": (csv(table(), lineterminator="\r\n"), [], "binary", ""),
    "quoted newlines": (csv(table().assign(note=["a\nb", 'c "d"', "e,f"] * 20)), [], "binary", ""),
    "thousands separators": (csv(table().assign(n=[f"{1000 + i * 1234:,}" for i in range(N)])), [], "binary", ""),
    "decimal commas": (csv(table(), sep=";", decimal=","), [], "binary", ""),
    "mixed types": (csv(table().assign(m=[1, "two", 3.5] * 20)), [], "binary", ""),
    "a stray word among numbers": (csv(table().assign(m=["oops", *range(1, N)])), [], "binary", ""),
    "all null": (csv(table().assign(empty=None)), [], "binary", "left out 'empty'"),
    "one value": (csv(table().assign(same="a")), [], "binary", "left out 'same'"),
    "integers with nulls": (csv(table().assign(n=[None if i % 5 == 0 else str(i) for i in range(N)])), [], None, ""),
    "blanks and marks for null": (
        csv(
            table().assign(
                n=["  ", "1.5", "?", "2.5"] * 15,
                m=[".", *(3 * i % 17 for i in range(1, N))],
                b=["No ", "   ", "Yes"] * 20,
                d=[" ", *DATES.astype(str)[1:]],
            )
        ),
        [],
        "binary",
        "",
    ),
    "mostly null": (csv(table().assign(n=[1.5 * i if i % 20 == 0 else None for i in range(N)])), [], None, ""),
    "Yes and No": (csv(table().assign(b=["Yes", "No", "Yes"] * 20)), [], "binary", ""),
    "infinite": (csv(table().assign(n=["inf", "-inf", *map(str, range(N - 2))])), [], "binary", ""),
    "huge and tiny": (csv(table().assign(n=[1e300, -1e300, 1e-300, 0] * 15)), [], "binary", ""),
    "big integers": (csv(table().assign(n=[2**62 + i * 10**15 for i in range(N)])), [], "binary", ""),
    "dates, iso": (csv(table().assign(d=DATES.astype(str))), [], "binary", ""),
    "dates, german": (csv(table().assign(d=DATES.strftime("%d.%m.%Y"))), [], "binary", ""),
    "dates, american": (csv(table().assign(d=DATES.strftime("%m/%d/%Y"))), [], "binary", ""),
    "dates with zones": (csv(table().assign(d=[f"{d:%Y-%m-%dT%H:%M:%S}+02:00" for d in DATES])), [], "binary", ""),
    "dates in words": (csv(table().assign(d=DATES.strftime("%b %d, %Y"))), [], "binary", ""),
    "dates, some null": (
        csv(table().assign(d=[None if i % 9 == 0 else str(d) for i, d in enumerate(DATES)])),
        [],
        None,
        "",
    ),
    "asked timestamp": (csv(table().assign(d=DATES.astype(str))), ["--timestamp", "d"], "binary", ""),
    "asked entity": (csv(table().assign(who=[i // 3 for i in range(N)])), ["--entity", "who"], "binary", ""),
    "asked task": (csv(numbers(np.digitize(x_of(), [0]))), ["--task", "multiclass"], "multiclass", ""),
    "2,000 columns": (csv(WIDE), [], "binary", ""),
    "many categories": (csv(table(300).assign(c=[f"c{i % 90}" for i in range(300)])), [], "binary", ""),
    "a number for each row": (csv(table().assign(key=range(1000, 1000 + N))), [], "binary", ""),
    "a text for each row": (
        csv(table().assign(key=[f"u-{i * 7919 % 99991}" for i in range(N)])),
        [],
        None,
        "left out 'key'",
    ),
    "sorted by the target": (csv(LEAK), [], "binary", ""),
    "categories of pandas in parquet": (
        parquet(
            pa.Table.from_pandas(
                table().assign(n=range(N)).astype(dict.fromkeys(["town", "n", "y"], "category")).set_index("town")
            )
        ),
        [],
        "binary",
        "",
    ),
    "seldom types in parquet": (
        parquet(
            pa.table(
                {
                    "x": x_of().astype("float16"),
                    "text": pa.array(table()["town"], pa.string_view()),
                    "u": pa.array([2**64 - 1 - at**2 * 2**20 for at in range(N)], pa.uint64()),
                    "d": pa.array([timedelta(at) for at in range(N)], pa.duration("ns")),
                    "t": pa.array([time(at % 7) for at in range(N)]),
                    "null": pa.nulls(N),
                    "l": [[1, 2]] * N,
                    "s": [{"a": 1}] * N,
                    "bytes": [b"\xff"] * N,
                    "y": pa.array(table()["y"], pa.large_string()),
                }
            )
        ),
        [],
        "binary",
        "left out 't': a time of day",
    ),
    "codes that float32 does not tell apart, in parquet": (
        parquet(
            pa.table(
                {
                    "x": x_of(),
                    "shop": [2**53 + at % 4 for at in range(N)],
                    "till": pa.array([2**64 - 1 - at % 4 for at in range(N)], pa.uint64()),
                    "part": pa.array([None if at == 7 else 2**53 + at % 3 for at in range(N)]),
                    "y": table()["y"],
                }
            )
        ),
        [],
        "binary",
        "'shop' is read as categories",
    ),
    "keys missing in jsonl": (
        jsonl("\n".join(json.dumps({"x": i, **({"z": i * 2} if i % 3 else {}), "y": "ab"[i > 30]}) for i in range(N))),
        [],
        "binary",
        "",
    ),
    "only categories": (csv(table(300)[["town", "y"]].assign(more=["a", "b", "c"] * 100)), [], "binary", ""),
    "twins of rows": (csv(pd.concat([table(), table()])), [], "binary", ""),
}


# What DVC, the run's own lines and the registry make of them: names of files and columns, warnings, rare types.
WHOLE = ["plain", "points and spaces in its name", "quotes and yaml in names", "twins of rows", "target 0 and 1"]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name == "2,000 columns" else ()) for name in GOOD]
)
def test_a_table_with_a_nuisance_becomes_a_model(name: str, tmp_path: Path, inside: Callable[..., Ran]) -> None:
    write, options, task, said = GOOD[name]
    file = write(tmp_path)
    code, _out, err = inside("init", "p", "--data", file.name, "--target", "y", *options, cwd=tmp_path)
    assert code == 0, err
    assert said in err
    project = tmp_path / "p"
    if name in WHOLE or name.endswith("in parquet"):
        kept = ["--no-publish"] * (name in WHOLE)
        code, _out, err = inside("run", "--json", *kept, *CHEAP, cwd=project)
        assert code == 0, err
    else:
        run_stages(project, dict(word.split("=") for word in CHEAP[1::2]))
    report = json.loads((project / "artifacts/evaluate/report/evaluation.json").read_text())
    assert task is None or report["task"] == task
    parity = json.loads((project / "artifacts/bundle/parity.json").read_text())
    assert parity["format"] == "onnx" and parity["faithful"], parity
    schema = Schema.from_dict(json.loads((project / "artifacts/bundle/schema.json").read_text()))
    example = json.loads((project / "artifacts/bundle/input_example.json").read_text())
    contract.Contract(schema, None, Serve(unseen="refuse", max_rows=10)).from_dicts(
        example
    )  # what is shown can be asked
    if name == "blanks and marks for null":
        kinds = {c.name: c.kind for c in schema.columns}
        assert (kinds["n"], kinds["m"], kinds["b"], kinds["d"]) == ("number", "number", "boolean", "datetime")
    if name == "decimal commas":
        assert {c.name: c.kind for c in schema.columns}["x"] == "number"
    assert all(np.isfinite(m["value"]) for m in report["metrics"].values() if m["value"] is not None)
    if name == "target 0 and 1":  # by a threshold of x
        assert report["warnings"][0].startswith("column 'x' alone determines the target")
    if name in ("plain", "twins of rows", "target 0 and 1"):
        assert [f"warning: {line}" in err for line in report["warnings"]] == [True] * (name != "plain")
        page = (project / "artifacts/evaluate/report/report.html").read_text()
        assert ('class="bad">warning' in page) == (name != "plain")
    if name == "twins of rows":
        assert "of the holdout are also training rows: drop the duplicates" in report["warnings"][0]
    if name == "sorted by the target":
        assert report["metrics"]["roc_auc"]["value"] < 0.75  # the order of rows is no feature


def text(rows: str) -> Callable[[Path], Path]:
    return csv(rows)


BODY = "\n".join(f"{i},{i % 3},{'ab'[i % 2]}" for i in range(50))
# name: the table, the target that is asked for, exit code, what the error says
BAD: dict[str, tuple[Callable[[Path], Path], str, int, str]] = {
    "no such target": (csv(table()), "price", 2, "--target price: no such column in t.csv"),
    "misspelt target": (csv(table().rename(columns={"y": "churn"})), "chrun", 2, "did you mean 'churn'?"),
    "target in another case": (csv(table().rename(columns={"y": "Churn"})), "churn", 2, "did you mean 'Churn'?"),
    "target with the name of glue's answer": (
        csv(table().rename(columns={"y": "prediction"})),
        "prediction",
        2,
        "--target prediction: is a name reserved by glue",
    ),
    "target of one class": (csv(table().assign(y="a")), "y", 4, "1 distinct value"),
    "target of nulls": (csv(table().assign(y=None)), "y", 4, "0 distinct value"),
    "target of lengths of time": (
        parquet(pa.table({"x": x_of(), "y": pa.array(range(N), pa.duration("s"))})),
        "y",
        4,
        "--target y: is a duration",
    ),
    "target of dates": (
        csv(table().assign(y=[f"2024-01-{1 + at % 28:02}" for at in range(N)])),
        "y",
        4,
        "--target y: contains dates, which are not classes",
    ),
    "target of money": (
        csv(table(600).assign(y=[f"${at * 7:,}.50" for at in range(600)])),
        "y",
        4,
        "600 classes in 600 rows are too many to learn: text like '$0.50': numbers with a sign",
    ),
    "target of lists": (parquet(pa.table({"x": x_of(), "y": [[1]] * N})), "y", 4, "--target y: is nested"),
    "empty": (text(""), "y", 4, "t.csv: is empty"),
    "only blanks": (text("\n\n  \n"), "y", 4, "t.csv: is empty"),
    "a header only": (text("x,z,y\n"), "y", 4, "has a header but no rows"),
    "twin columns": (text(f"x,x,y\n{BODY}\n"), "y", 4, "column 'x' occurs 2 times"),
    "ragged rows": (
        text(f"x,z,y\n{BODY}\n1,2\n"),
        "y",
        4,
        "hint: each row needs a value for each name in the first line",
    ),
    "no other column": (text("y\n" + "a\nb\n" * 30), "y", 4, "no column is left"),
    "only keys": (text("k,y\n" + "\n".join(f"u{i},{'ab'[i % 2]}" for i in range(60))), "y", 4, "no column is left"),
    "not parquet": (csv(table(), name="t.parquet"), "y", 4, "cannot be read as parquet"),
    "not gzip": (lambda f: csv(table())(f).rename(f / "t.csv.gz"), "y", 4, "t.csv.gz"),
    "broken jsonl": (jsonl('{"x": 1, "y": "a"}\n{"x": \n'), "y", 4, "cannot be read as jsonl"),
    "another format": (csv(table(), name="t.xlsx"), "y", 4, "not a table that glue reads"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_table_that_cannot_be_is_refused_with_a_line(name: str, tmp_path: Path, inside: Callable[..., Ran]) -> None:
    write, target, wanted, said = BAD[name]
    file = write(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    code, _out, err = inside("init", "p", "--data", file.name, "--target", target, cwd=tmp_path)
    assert (code, said in err) == (wanted, True), err
    assert len(err.splitlines()) <= 3 and err.startswith("error: ")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, glue: Glue) -> Path:
    """A project that was never run: to be copied."""
    folder = tmp_path_factory.mktemp("cases")
    csv(table())(folder)
    glue("init", "p", "--data", "t.csv", "--target", "y", cwd=folder)
    return folder / "p"


@pytest.fixture
def project(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / "p")


def _yaml(old: str, new: str) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        text = (root / "glue.yaml").read_text()
        assert old in text, old
        (root / "glue.yaml").write_text(text.replace(old, new, 1))

    return edit


def _data(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        path = root / "data/raw/t.csv"
        change(pd.read_csv(path)).to_csv(path, index=False)

    return edit


def _code(body: str, trust: str = "") -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        (root / "mine.py").write_text(body)
        _yaml("estimator: model:build", "estimator: mine:build")(root)
        if trust:
            _yaml("trust: []", f"trust: [{trust}]")(root)

    return edit


def _file(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        (root / name).write_text(change((root / name).read_text()))

    return edit


_no_suite = _file("glue.yaml", lambda t: re.sub(r"validation:.*?\n\n", "", t, flags=re.DOTALL))
MERGE = "<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> other\n"
FAILS = "class Mine:\n    def fit(self, X, y):\n        return self.go(X)\n    def go(self, X):\n        return 1 / 0\n"
FAILS += "    def predict(self, X):\n        return X\n    def get_params(self, deep=True):\n        return {}\n"
FAILS += "    def __sklearn_tags__(self):\n        from sklearn.base import BaseEstimator\n"
FAILS += "        return BaseEstimator().__sklearn_tags__()\n"
FAILS += "def build():\n    return Mine()\n"
# name: what was done to a sound project, exit code of `glue run`, what the error says
MISTAKES: dict[str, tuple[Callable[[Path], None], int, list[str]]] = {
    "a tab": (_yaml("  test_size", "\ttest_size"), 2, ["is not YAML: found character"]),
    "a wrong indent": (_yaml("  test_size", "   test_size"), 2, ["is not YAML"]),
    "a key twice": (_yaml("split:", "project: p\nsplit:"), 2, ["repeats the key project of line 3"]),
    "an unknown key": (
        _yaml("test_size", "tset_size"),
        2,
        ["split.tset_size: unknown key (did you mean 'test_size'?)"],
    ),
    "a point in a table's name": (_yaml("    source: t", "    source: t.x"), 2, ["no source 't.x'"]),
    "a table named as a path": (
        _yaml("    t:\n", "    ../t:\n"),
        2,
        ["data.sources.../t: a table name may contain only letters"],
    ),
    "a wrong type": (_yaml("test_size: 0.2", "test_size: many"), 2, ["split.test_size: ", "'many'"]),
    "several at once": (
        lambda r: (_yaml("test_size", "tset_size")(r), _yaml("seed: 0", "seed: zero")(r))[0],
        2,
        ["split.tset_size", "train.seed"],
    ),
    "an empty config": (_file("glue.yaml", lambda _: ""), 2, ["is empty or not a mapping"]),
    "both sides of a merge in glue.yaml": (
        _file("glue.yaml", lambda t: MERGE + t),
        2,
        ["glue.yaml:1 contains both sides"],
    ),
    "both sides of a merge in dvc.yaml": (
        _file("dvc.yaml", lambda t: t + MERGE),
        2,
        ["contains both sides of a git merge"],
    ),
    "an estimator that is not there": (
        _yaml("estimator: model:build", "estimator: model:bild"),
        2,
        ["did you mean 'build'?"],
    ),
    "a module that is not there": (_yaml("estimator: model:build", "estimator: nowhere.Thing"), 2, ["does not import"]),
    "an estimator that is none": (
        _yaml("estimator: model:build", "estimator: pathlib.Path"),
        2,
        ["no fit and predict"],
    ),
    "a parameter that is not taken": (
        _yaml("params: {}", "params: {depth: 3}"),
        2,
        ["params.depth: build does not take it"],
    ),
    "a regressor for classes": (
        _yaml("estimator: model:build", "estimator: sklearn.linear_model.LinearRegression"),
        2,
        ["glue.yaml:", "train.estimator: LinearRegression is a regressor, the task is binary"],
    ),
    "code that builds what is no classifier": (
        _code("from sklearn.ensemble import IsolationForest\ndef build():\n    return IsolationForest()\n"),
        2,
        ["train.estimator: IsolationForest is an outlier detector, the task is binary"],
    ),
    "a holdout of one row": (
        _yaml("test_size: 0.2", "test_size: 0.000001"),
        4,
        ["holdout has 1 of 60", "hint: glue run --set split.test_size=0.04"],
    ),
    "a function that gives a class": (
        _code("from sklearn.linear_model import LogisticRegression\ndef build():\n    return LogisticRegression\n"),
        2,
        ["train.estimator: 'mine:build' returns the class LogisticRegression; let it return LogisticRegression()"],
    ),
    "code that does not parse": (_code("def build(:\n    pass\n"), 4, ["SyntaxError", "mine.py:1"]),
    "code that raises when imported": (_code("x = {}['a']\n"), 4, ["KeyError", "mine.py:1: x = {}['a']"]),
    "code that imports what is not installed": (
        _code("import no_such_library\n"),
        4,
        ["No module named 'no_such_library'", "mine.py:1: import", "hint: pip install no_such_library"],
    ),
    "code that imports a name that is not there": (
        _code("from json import no_such_name\n"),
        4,
        ["cannot import name 'no_such_name'", "mine.py:1: from json"],
    ),
    "code that raises when it builds": (
        _code("def build():\n    return deep()\ndef deep():\n    raise ValueError('so')\n"),
        2,
        ["ValueError: so", "mine.py:2 in build: return deep()", "mine.py:4 in deep: raise ValueError('so')"],
    ),
    "code that raises when it fits": (
        _code(FAILS, trust="mine.Mine"),
        4,
        ["ZeroDivisionError", "mine.py:5 in go: return 1 / 0"],
    ),
    "code that exits": (_code("import sys\nsys.exit(0)\n"), 4, ["sys.exit"]),
    "a target renamed": (_data(lambda t: t.rename(columns={"y": "z"})), 2, ["data.labels.target"]),
    "a column gone": (_data(lambda t: t.drop(columns="noise")), 2, ["features.number.1: no column 'noise'"]),
    "no rows": (_data(lambda t: t.head(0)), 4, ["has a header but no rows"]),
    "a column all null": (_data(lambda t: t.assign(noise=None)), 1, ["expect_column_values_to_not_be_null", "noise"]),
    "a column of text now": (_data(lambda t: t.assign(noise="a")), 1, ["noise"]),
    "one class now": (_data(lambda t: t.assign(y="yes")), 4, ["only one class: 'yes'"]),
    "three classes now": (
        lambda r: (_no_suite(r), _data(lambda t: t.assign(y=["perhaps", *t["y"][1:]]))(r))[0],
        4,
        ["target 'y' has 3 values, and a binary task has two: 'no', 'perhaps', 'yes'", "hint: ", "task: multiclass"],
    ),
    "words for the target of a regression": (
        lambda r: (
            _no_suite(r),
            _file("glue.yaml", lambda t: re.sub("evaluate:.*?\n\n|    positive:.*?\n", "", t, flags=re.DOTALL))(r),
            _yaml("metric: roc_auc", "metric: r2")(r),
            _yaml("task: binary", "task: regression")(r),
        )[0],
        4,
        ["target 'y' is string ('yes', 'no'), not numbers", "hint: ", "task: multiclass"],
    ),
    "few rows now": (_data(lambda t: t.head(3)), 1, ["expect_table_row_count_to_be_between"]),
    "a table gone": (lambda r: (r / "data/raw/t.csv").unlink(), 2, ["'data/raw/t.csv' does not exist (run: dvc pull)"]),
    "an empty suite": (
        _file("glue.yaml", lambda t: re.sub(r"validation:.*?\n\n", "validation: {t: []}\n\n", t, flags=re.DOTALL)),
        2,
        ["validation.t: an empty suite checks nothing"],
    ),
    "an expectation that is misspelt": (
        _yaml("expect_table_row_count", "expect_table_rows_count"),
        2,
        ["expect_table_rows_count"],
    ),
    "an argument that is misspelt": (_yaml("min_value: 6}", "minvalue: 6}"), 2, ["minvalue"]),
    "a threshold without a limit": (_yaml("{min: 0.55}", "{}"), 2, ["give min or max"]),
    "a stage of glue's name": (
        _file("dvc.yaml", lambda t: t.replace(f"glue stage train --format {FORMAT}", "true")),
        2,
        ["glue uses this name for its own stage"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_a_line(name: str, project: Path, inside: Callable[..., Ran]) -> None:
    change, wanted, said = MISTAKES[name]
    change(project)
    code, _out, err = inside("run", "--no-publish", cwd=project)
    told = "\n".join(line for line in err.splitlines() if line.startswith(("error:", "hint:")))
    assert code == wanted, err
    assert all(one in told for one in said), told
    assert "mlops-glue[" not in told  # nothing of glue's own is missing
    assert len(told.splitlines()) <= 4
    assert not (project / "mlflow.db").exists()
