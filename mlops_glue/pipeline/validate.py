"""validate: check the tables against their expectations; a failure stops the run and leaves the report."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from mlops_glue import files, layout, row_groups, tables
from mlops_glue.config import Config, path_of
from mlops_glue.errors import CheckFailed
from mlops_glue.pipeline import expectations, validated

MAX_VALUES = 10  # values of an argument that are shown
log = logging.getLogger(__name__)


def validate(config: Config, root: Path) -> None:
    """Write `result.json` and `suite.json` in Great Expectations' own form, and `report.html`.

    The files of the labels' table are in the folder itself, those of another source in a subfolder with its name.

    Raises:
        CheckFailed: an expectation is not met or did not run; with severity warning or info it is only a warning.
        ConfigError: an expectation is misspelt or does not take an argument.
    """
    labels = config.data.labels.source
    failed: list[str] = []
    for name in dict.fromkeys([labels, *config.validation]):
        folder = validated.folder(root, name, labels)
        failed += _validated(name, config, root / path_of(config, name), folder)
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        name = failed[0].partition(":")[0]
        page = f"{layout.VALIDATION}/{'' if name == labels else name + '/'}report.html"
        raise CheckFailed(failed[0] + more, hint=f"see {page}; the limits are in {layout.CONFIG} validation.{name}")


def _validated(name: str, config: Config, path: Path, folder: Path) -> list[str]:
    """Write the reports of one table; return the failures as text."""
    listed: list[dict[str, dict[str, Any]]] = [
        {e: {}} if isinstance(e, str) else e for e in config.validation.get(name, [])
    ]
    records: list[dict[str, Any]] = []
    result: dict[str, Any] = {"success": None, "results": [], "suite_name": name, "meta": {}}
    suite: dict[str, Any] = {"name": name, "expectations": [], "meta": {}}
    if listed:
        from mlops_glue.adapters import great_expectations as gx

        validation = gx.Validation(listed, name, f"{layout.CONFIG} validation.{name}")
        if expectations.is_large(path):
            expectations.run(validation, listed, path)
        else:
            validation.run(tables.to_pandas(tables.read_parquet(path)))
        records, result, suite = validation.results(row_groups.empty(path).column_names)
    failed = [r for r in records if not r["success"] and (r["severity"] == "critical" or not r["ran"])]
    files.write_json(folder / "result.json", result)
    files.write_json(folder / "suite.json", suite)
    page = validated.page(config.project, name, row_groups.rows(path), result)
    files.write_text(folder / "report.html", page)
    for record in records:
        if not record["success"] and record not in failed:
            log.warning("%s: %s", record["severity"], format_failure(name, record))
    return [format_failure(name, record) for record in failed]


def format_failure(name: str, record: dict[str, Any]) -> str:
    """Return a failed expectation as a sentence: the column, what was expected, and what was observed."""
    columns = {key: value for key, value in record["kwargs"].items() if key.startswith("column")}
    named = ", ".join(
        repr(column) for value in columns.values() for column in ([value] if type(value) is str else value)
    )
    where = f"column{'s' if ',' in named else ''} {named}" if columns else "the table"
    arguments = [f"{key} {_shown(value)}" for key, value in record["kwargs"].items() if key not in columns]
    expected = record["expectation"] + (f" ({', '.join(arguments)})" if arguments else "")
    does = "does not meet" if record["ran"] else "could not be checked against"
    return f"{name}: {where} {does} {expected}: {record['observed']}"


def _shown(value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    return ", ".join(map(str, value[:MAX_VALUES])) + (
        f" and {len(value) - MAX_VALUES} more" if len(value) > MAX_VALUES else ""
    )
