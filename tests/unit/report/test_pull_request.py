"""What the report of a pull request says of values that nobody chose for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlops_glue import cli, files, layout, pages
from mlops_glue.commands import report as command
from mlops_glue.config import Config
from mlops_glue.delivery.contract import contract, differences
from mlops_glue.report.comment import MOST, as_text, shortened
from mlops_glue.report.facts import Metric
from mlops_glue.report.pull_request import refusals, worse
from mlops_glue.schema import Schema


def row(value: float | None, low: float, high: float, base: float | None, higher: bool) -> list[Metric]:
    return [Metric("m", value, low, high, None, "", None, None, base, None, higher_is_better=higher)]


def test_worse_is_by_the_interval_where_no_row_can_be_compared() -> None:
    for rows, holds in (
        (row(0.80, 0.7, 0.9, 0.81, True), True),
        (row(0.80, 0.7, 0.9, 0.95, True), False),
        (row(0.5, 0.45, 0.6, 0.4, False), False),  # of a loss
        (row(0.4, 0.3, 0.5, 0.4, False), True),
        (row(None, 0, 0, 0.4, True), False),  # not defined any more
        (row(0.4, 0.3, 0.5, None, True), None),
    ):
        assert worse(rows, "m", "main")["holds"] is holds


def test_what_callers_of_a_model_notice() -> None:
    def taken(**columns: Any) -> dict[str, str]:
        given = [
            {"name": name, "kind": "number", "nullable": True, "categories": None} | c for name, c in columns.items()
        ]
        return contract(Schema.from_dict({"task": "binary", "target": "y", "labels": ["no", "yes"], "columns": given}))

    town = {"kind": "category", "categories": ["Aa", "Be"]}
    before, after = (
        taken(a={}, b={}, town=town),
        taken(b={"nullable": False}, c={}, town=town | {"categories": ["Aa", "Ce"]}),
    )
    assert differences(before, after) == [
        "a: number -> none",
        "b: number -> number, never null",
        "town = Be: known -> none",
        "c: none -> number",
        "town = Ce: none -> known",
    ]
    assert differences(before, before) == []


def test_a_comment_is_never_too_long() -> None:
    one = {"column": "c" * 200, "distance": 1.0, "threshold": 0.2, "drifted": True, "why": "nulls"}
    columns = [one | {"reference_null_share": 0.0, "null_share": 0.0} for _ in range(5000)]
    slices = [{"name": "s" * 400, "rows": 1, "value": 0.1, "base": 0.1, "difference": 0.0}] * 5000
    told = {
        "project": "p",
        "marker": ".",
        "refused": [],
        "notes": ["n" * 500] * 200,
        "against": "main",
        "evaluation": None,
        "metrics": [],
        "tables": [{"name": "t" * 300, "rows": "1", "before": "1", "columns": "x" * 500}] * 200,
        "validation": None,
        "drift": {"verdict": "drift", "columns": columns},
        "contract": ["c" * 500] * 500,
        "finding": "",
        "cells": [["x", "yes", "", "", ""]],
        "slices": slices,
        "slice_metric": "m",
        "sliced": [("code", 50, 60)],
        "stages": [],
        "url": None,
        "images": [],
    }
    page = files.render(layout.templates() / "report/pull_request.md", told, filters={"md": as_text, "n": pages.number})
    assert "For code, only the 50 values with the most rows are shown, of 60." in page
    assert "And 4900 more, which changed less." in page and "And 400 more." in page
    assert len(page) > MOST >= len(shortened(page)) > MOST - 2000


@pytest.mark.parametrize("there", [True, False])
def test_the_page_is_opened_or_said_where_it_is(
    there: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: asked.append(url) or there)
    command.open_page(Path("/some where/index.html"))
    assert asked == ["file:///some%20where/index.html"]
    said = "no browser found; open the page yourself: /some where/index.html\n"
    assert capsys.readouterr().err == ("" if there else said)


@pytest.mark.parametrize("word", ["--pr", "--json"])
def test_what_writes_no_page_opens_none(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", "--open", word])
    assert stop.value.code == 2 and "--open needs a page" in capsys.readouterr().err


def test_a_refusal_of_what_is_here_now_is_one_of_the_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config.model_validate({"glue": 1, "project": "p"})
    monkeypatch.setattr("mlops_glue.report.pull_request.fingerprint", lambda _: "now")
    reasons = ["auc 0.7000 misses threshold min 0.8", "log_loss 0.3000 is worse than champion v1's 0.2000"]
    told = {"model": "p", "env": None, "version": 2, "champion": 1, "fingerprint": "now", "refused": reasons}
    assert refusals(config, tmp_path, reasons[:1]) == []
    for changed, wanted in (({}, [f"v2: {reasons[1]}"]), ({"fingerprint": "before"}, []), ({"champion": 2}, [])):
        files.write_json(tmp_path / layout.DELIVERY, told | changed)
        assert refusals(config, tmp_path, reasons[:1]) == wanted
