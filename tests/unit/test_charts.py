"""Charts are well-formed, escape what they are told, and draw what there is."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

from mlops_glue.report import charts

STAGE = {"outcome": "executed", "note": "1.0 s"}
POINT = {"at": 0.0, "value": 1.0, "low": 0.5, "high": 2.0, "kind": "value", "title": "<b>"}


def test_an_edge_that_others_imply_is_left_out_and_a_cycle_ends() -> None:
    stages = [{**STAGE, "name": name} for name in ("a", "b", "<c>")]
    drawn = ElementTree.fromstring(charts.graph(stages, [("a", "b"), ("b", "<c>"), ("a", "<c>"), ("b", "nowhere")]))
    assert len(drawn.findall("path")) == 2 and len(drawn.findall("g")) == 3
    assert drawn.get("aria-label") == "Pipeline: a executed 1.0 s; b executed 1.0 s; <c> executed 1.0 s"
    boxes = [float(box.get("y", "")) for box in drawn.iterfind("g/rect")]
    assert boxes == sorted(set(boxes))  # one under the other
    ElementTree.fromstring(charts.graph(stages, [("a", "b"), ("b", "a")]))
    ElementTree.fromstring(charts.graph([], []))


def test_values_that_are_not_known_or_all_the_same() -> None:
    for points in (
        [],
        [POINT],
        [POINT, POINT],
        [{**POINT, "value": None, "low": None, "high": None}],
        [{**POINT, "value": 0.0}, {**POINT, "at": 1e9, "value": -1e9}],
    ):
        text = charts.series('"said"', points, ("<", ">"), limit=0.3, zero=True)
        assert ElementTree.fromstring(text).get("aria-label") == '"said"' and "nan" not in text
    unknown = dict.fromkeys(("value", "low", "high", "trivial", "champion"))
    for text in (
        charts.measures([{**unknown, "name": "m", "limits": [0.1], "higher_is_better": True}]),
        charts.spark([None, None]),
        charts.spark([], 0.1),
        charts.beside(None, None, []),
        charts.bar(0.0, 0.0),
        *map(charts.legend, ("value", "champion", "trivial", "limit", "bad", "open")),
    ):
        assert ElementTree.fromstring(text).get("viewBox") and "nan" not in text


def test_a_threshold_stands_where_its_value_would() -> None:
    to = re.findall(r'class="limit"|cx="([\d.]+)"', charts.beside(0.5, 0.5, [0.0, 0.5, 1.0]))
    assert to[-1] == "46"
    assert charts.number(None) == charts.number(math.nan) == "n/a" and charts.number(12345.678) == "12,345.7"
