"""What `glue compare` says of facts that were made by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any, cast

import numpy as np

from mlops_glue import files
from mlops_glue.delivery.compare import Measured
from mlops_glue.delivery.side_by_side import AgainstBase, Changed, CommonRows, SideBySide, Size, differing
from mlops_glue.delivery.sides import Recorded, Side
from mlops_glue.pages import Frame
from mlops_glue.pipeline import plots
from mlops_glue.report.side_by_side import all_tables, code, headlines, page, record
from mlops_glue.schema import Column, Schema

MARKUP = "<script>alert(1)</script>"
SCORE: Recorded = {"value": 0.8, "low": 0.7, "high": 0.9}
A = Side(
    "v1",
    ["main"],
    version=1,
    run="a" * 32,
    created="2024-05-06T07:08:09+00:00",
    aliases=["champion"],
    commit="c" * 40,
    dirty=False,
    params={"train.params.C": "1.0", "seed": "0", "features": "x, y, z", "long": "v" * 99},
    metrics={"roc_auc": SCORE},
    data={"t": {"rows": 1200, "md5": "d" * 32}},
    holdout={"rows": 300, "md5": "e" * 32},
)
B = replace(
    A,
    name="v2",
    given=["2"],
    version=2,
    aliases=[],
    dirty=True,
    params={"train.params.C": MARKUP, "seed": "0", "features": "x, z, new", "long": "w" * 99},
)
FILE = Side("s.json", ["s.json"], metrics={"roc_auc": {"value": 0.75, "low": None, "high": None}})
MEASURED: Measured = {
    "metric": "roc_auc",
    "candidate": 0.85,
    "champion": 0.8,
    "gain": 0.05,
    "low": 0.01,
    "high": 0.09,
    "confidence": 0.9,
    "method": "DeLong",
    "slack": 0.0,
    "noticeable": 0.03,
    "finding": "better",
    "rows": 280,
}
FOUND = SideBySide(
    model="m",
    sides=[A, B],
    params=differing([A, B]),
    code=[Changed("v2", "v1", [" model.py | 2 +-", " 1 file changed"])],
    common=CommonRows(280, 20, ["v2"]),
    comparisons=[AgainstBase("v2", [MEASURED, cast(Measured, {**MEASURED, "metric": "f1", "gain": float("nan")})])],
    problems=[],
    sizes={"v1": Size("onnx", 2_000, 150_000, 0.02), "v2": Size("skops", 2_000_000, 3_000_000, None)},
)


def said(found: SideBySide) -> dict[str, dict[str, list[str]]]:
    """The cells of every row, by the titles of the tables."""
    return {table.title: {row[0]: row[1:] for row in table.rows} for table in all_tables(found)}


def test_the_tables_say_what_differs() -> None:
    found = said(FOUND)
    assert found["m: models compared"]["given as"] == ["main", "–"]
    assert found["m: models compared"]["commit"] == ["c" * 12, f"{'c' * 12} + changes"]
    measured = found["Metrics on the same 280 rows of the current holdout"]
    assert measured["roc_auc"] == ["v2", "0.8000", "0.8500", "+0.0500", "+0.0100 to +0.0900", "better"]
    assert measured["f1"][3] == "n/a"
    params = found["Parameters that differ"]
    assert list(params) == ["train.params.C", "features", "long"]
    assert params["features"] == ["3 columns", "3: +new -y"] and params["long"][0] == "v" * 39 + "…"
    assert found["Data"] == {"t": [f"1,200 rows, md5 {'d' * 12}"] * 2, "(holdout)": [f"300 rows, md5 {'e' * 12}"] * 2}
    assert found["Size and latency"] == {
        "format": ["onnx", "skops"],
        "model": ["2.0 kB", "2.0 MB"],
        "bundle": ["0.1 MB", "3.0 MB"],
        "one row": ["0.02 ms", "–"],
    }
    notes = [note for table in all_tables(FOUND) for note in table.notes]
    assert any(note.startswith("20 holdout rows are excluded") for note in notes)
    assert any("The training rows of v2 are unknown" in note for note in notes)
    assert headlines(FOUND)[0].startswith("v2: roc_auc 0.8500, v1 0.8000 on the same holdout: better; the gain is")
    assert next(iter(code(FOUND))) == (
        "Code changes from v1 to v2 (as it ran):",
        [" model.py | 2 +-", " 1 file changed"],
    )


def test_what_was_not_measured_together_stands_as_it_was_recorded() -> None:
    why = "not compared on the same rows: there is no holdout here"
    alone = replace(FOUND, sides=[A, B, FILE], comparisons=[], common=None, problems=[why])
    (table,) = (table for table in all_tables(alone) if "recorded" in table.title)
    assert table.rows == [["roc_auc", *["0.8000 (0.7000 to 0.9000)"] * 2, "0.7500"]]
    assert table.notes[0] == "Not compared on the same rows: there is no holdout here."
    assert table.notes[1].startswith("They may be measured on different rows") and "95 %" in table.notes[-1]
    same = [table for table in all_tables(replace(alone, sides=[A, B])) if "recorded" in table.title]
    assert same[0].notes[1] == "All were measured on the same holdout."
    files_alone = list(all_tables(replace(alone, sides=[FILE, A], problems=[])))[1]
    assert files_alone.head == ["metric", "s.json", "v1", "difference"] and files_alone.rows[0][-1] == "+0.0500"
    assert not any("recorded" in table.title for table in all_tables(FOUND))
    assert any("recorded" in table.title for table in all_tables(replace(FOUND, sides=[A, B, FILE])))


def test_long_lists_of_changed_files_are_cut() -> None:
    lines = [*(f" f{n} | 1 +" for n in range(50)), " 50 files changed"]
    ((_, shown),) = code(replace(FOUND, code=[Changed("v2", "v1", lines)]))
    assert len(shown) == 21 and shown[-1] == lines[-1] and shown[-2] == " … and 31 more"
    (same,) = code(replace(FOUND, code=[Changed("v2", "v1", [])]))
    (unknown,) = code(replace(FOUND, code=[Changed("v2", "v1", [], "git is not installed")]))
    assert same == ("Code of v2: the same as the code of v1.", [])
    assert unknown == ("Code of v2 compared with v1: git is not installed.", [])
    ((lost, shown),) = code(replace(FOUND, code=[Changed("v2", "v1", lines[-1:], "what v2 had is not recorded")]))
    assert lost == "Code changes from v1 to v2 (what v2 had is not recorded):" and shown == lines[-1:]


class Tags(HTMLParser):
    """The tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append(tag)
        asked = [value or "" for name, value in attrs if name in ("src", "href")]
        assert all(value.startswith(("#", "data:")) for value in asked)


FRAME = Frame("p", made="2026-01-02T03:04:05+00:00")


def test_the_page_is_whole_and_runs_nothing() -> None:
    schema = Schema("binary", "y", [Column("x", "number", "double")], ["no", "yes"])
    rng = np.random.default_rng(0)
    truth, score = rng.integers(0, 2, 50), rng.random(50)
    outcome = truth, (score > 0.5).astype(int), np.column_stack([1 - score, score])
    plot = plots.of_models(schema, {"v1": outcome, "v2": outcome})
    text = page(replace(FOUND, plot=plot, problems=["v3 cannot be loaded"]), FRAME)
    tags = Tags()
    tags.feed(text)
    assert tags.found.count("h1") == 1 and "img" in tags.found and "script" not in tags.found
    assert text.count("<th scope=") > 10 and "<th>" not in text and "></th>" not in text
    assert tags.found.count("table") == 5 and "v3 cannot be loaded" in text and "&lt;script&gt;" in text
    assert '<td class="ok">better</td>' in text
    without = page(replace(FOUND, comparisons=[], common=None), FRAME)
    assert "<img" not in without and without.startswith("<!doctype html>")


def test_json_has_no_nan_and_no_code() -> None:
    found = json.loads(json.dumps(files.json_value(record(FOUND)), allow_nan=False))
    assert found["beside"][0]["metrics"][0]["base"] == 0.8 and found["beside"][0]["metrics"][1]["gain"] is None
    assert "code" not in found["sides"][0] and "plot" not in found
    assert found["sides"][1]["params"]["train.params.C"] == MARKUP
