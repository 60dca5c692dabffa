"""The results of Great Expectations for a reader: one line for each expectation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_glue import layout, pages
from mlops_glue.adapters import great_expectations
from mlops_glue.errors import first_line

LONGEST = 120  # characters of an argument or an observed value
MOST = 100  # expectations in a table of a page


@dataclass(frozen=True)
class Expectation:
    """The result of an expectation."""

    met: bool
    outcome: str  # met, DID NOT RUN or FAILED
    severity: str
    column: str
    expectation: str
    arguments: str
    observed: str


def expectations(result: Mapping[str, Any]) -> list[Expectation]:
    """Return the expectations of a result in Great Expectations' own form, unmet expectations first."""
    return sorted((_expectation(entry) for entry in result["results"]), key=lambda expectation: expectation.met)


def _expectation(entry: Mapping[str, Any]) -> Expectation:
    config, found = entry["expectation_config"], entry.get("result") or {}
    raised = (entry.get("exception_info") or {}).get("exception_message")
    observed = first_line(Exception(raised)) if raised else great_expectations.observed(found)
    met = bool(entry["success"]) and not raised
    arguments = {key: value for key, value in config["kwargs"].items() if key != "column"}
    return Expectation(
        met=met,
        outcome="met" if met else "DID NOT RUN" if raised else "FAILED",
        severity=config.get("severity", "critical"),
        column=config["kwargs"].get("column", ""),
        expectation=config["type"].removeprefix("expect_").replace("_", " "),
        arguments=", ".join(f"{key} {_cut(value)}" for key, value in arguments.items()),
        observed=_cut(observed),
    )


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def page(project: str, table: str, rows: int, result: Mapping[str, Any]) -> str:
    """Return the page that stage validate writes for a table."""
    one = {"name": table, "rows": rows, "expectations": expectations(result)}
    values = {"tables": [one], "behind": False, "most": MOST}
    return pages.render("validation.html", pages.Frame(project), f"validation of {table}", values)


def folder(root: Path, table: str, labels: str) -> Path:
    """Return the folder of a table's result; `labels` is the name of the labels' table."""
    return root / layout.VALIDATION / ("" if table == labels else table)
