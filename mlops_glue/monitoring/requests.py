"""Finding a request in the prediction log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue.errors import DataError, UsageError
from mlops_glue.monitoring import window


def find(config: configs.Config, root: Path, request_id: str) -> list[dict[str, Any]]:
    """Return the logged rows of a request: glue's columns, the features as used, and the prediction.

    Raises:
        UsageError: there is no prediction log.
        DataError: the log has no such request.
    """
    import pyarrow.compute as pc

    log = window.of_log(config, root, datetime.now(UTC) + timedelta(days=1), last=None, since=None, rows=1 << 62)
    for names in log.files().values():
        for name in names:
            for table in log.pieces([name]):
                rows = table.filter(pc.equal(table.column("glue_request_id"), request_id))
                if rows.num_rows:
                    return sorted(rows.to_pylist(), key=lambda row: row["glue_row"])
    hint = "rows reach the log within a minute; glue serve --state keeps rows that are waiting"
    raise DataError(f"{log.folder.where} has no request {request_id!r}", hint=hint)


def answered(config: configs.Config, root: Path, request: str, version: int | None, row: int = 0) -> dict[str, Any]:
    """Return one row of a request, counted from 0, and check that `version` answered it unless it is None.

    Raises:
        UsageError: the request has no such row, or another version has answered it.
        DataError: the log has no such request.
    """
    rows = find(config, root, request)
    found = next((one for one in rows if one["glue_row"] == row), None)
    if found is None:
        there = f"rows {rows[0]['glue_row']} to {rows[-1]['glue_row']}" if len(rows) > 1 else "one row"
        raise UsageError(f"--row {row}: request {request} has {there}, counted from 0", hint="--row 0")
    if version not in (None, found["glue_version"]):
        problem = f"version {version}: request {request} was answered by v{found['glue_version']}"
        raise UsageError(problem, hint=f"glue lineage --request {request}")
    return found
