"""validate: the table against its expectations; a failure stops the run and leaves the report."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from mlops_glue import io, layout
from mlops_glue.config import Config
from mlops_glue.errors import CheckFailed


def validate(config: Config, root: Path) -> None:
    """Write `result.json` and `report.html`.

    Raises:
        CheckFailed: an expectation of severity critical is not met.
        ConfigError: an expectation is misspelt or takes no such argument.
    """
    name = config.data.labels.source
    wanted: list[dict[str, dict[str, Any]]] = [
        {e: {}} if isinstance(e, str) else e for e in config.validation.get(name, [])
    ]
    results: list[dict[str, Any]] = []
    table = io.read_parquet(root / layout.TABLE)
    if wanted:
        from mlops_glue.adapters import great_expectations as gx

        results = gx.validate(io.frame(table), wanted, name)
    failed = [r for r in results if not r["success"]]
    folder = root / layout.VALIDATION
    io.write_json(folder / "result.json", {"table": name, "rows": table.num_rows, "expectations": results})
    io.write_text(folder / "report.html", _page(name, table.num_rows, results))
    if failed:
        first = failed[0]
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise CheckFailed(
            f"{name}: {first['expectation']} {first['kwargs']}: {first['observed']}{more}",
            hint=f"see {layout.VALIDATION}/report.html; the limits are in {layout.CONFIG} validation.{name}",
        )


def _page(name: str, rows: int, results: list[dict[str, Any]]) -> str:
    lines = "".join(
        f"<tr class={'ok' if r['success'] else 'bad'}><td>{'passed' if r['success'] else 'FAILED'}</td>"
        f"<td>{html.escape(str(r['kwargs'].get('column', '')))}</td><td>{html.escape(r['expectation'])}</td>"
        f"<td>{html.escape(str({k: v for k, v in r['kwargs'].items() if k != 'column'})[:300])}</td>"
        f"<td>{html.escape(r['observed'])}</td></tr>"
        for r in sorted(results, key=lambda r: r["success"])
    )
    passed = sum(r["success"] for r in results)
    return (
        f"<!doctype html><meta charset=utf-8><title>Validation of {html.escape(name)}</title><style>"
        "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}"
        "table{border-collapse:collapse;width:100%}td,th{padding:.35rem .6rem;border-bottom:1px solid #ddd;"
        "text-align:left;vertical-align:top}.bad td:first-child{color:#b00020;font-weight:600}"
        ".ok td:first-child{color:#1b7f3b}</style>"
        f"<h1>{html.escape(name)}</h1><p>{rows:,} rows, {passed} of {len(results)} expectations met.</p>"
        "<table><tr><th>Outcome<th>Column<th>Expectation<th>Arguments<th>Observed</tr>" + lines + "</table>\n"
    )
