"""Evidently: the drift page. Importing Evidently takes seconds, so a separate process draws the page meanwhile.

The page starts with the verdict and its distances; below, Evidently draws a smaller sample of the rows.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mlops_glue import files, layout, telemetry
from mlops_glue.encoding import encode
from mlops_glue.errors import MissingExtra, ToolError
from mlops_glue.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

METHODS = {
    "wasserstein": "Wasserstein distance (normed)",
    "jensenshannon": "Jensen-Shannon distance",
    "words": "Jensen-Shannon distance of the words",
}
DRAWN = ("wasserstein", "jensenshannon")
MAX_COLUMNS = 60  # that Evidently draws; each takes about 100 kB
MAX_NAMED = 8  # drifted columns named at the top of a page
MAX_ERROR = 300  # characters
TIMEOUT_S = 300.0  # to draw a page: the alert waits for it


class Painter:
    """The process that draws the page; it starts to import Evidently as soon as it is created.

    Raises:
        MissingExtra: Evidently is not installed.
    """

    def __init__(self) -> None:
        if find_spec("evidently") is None:
            raise MissingExtra("evidently", "monitoring")
        telemetry.off()
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", "from mlops_glue.adapters.evidently import wait; wait()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def __enter__(self) -> Painter:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        with self._process:  # which closes its streams
            pass

    def draw(
        self,
        page: Path,
        reference: pa.Table,
        current: pa.Table,
        schema: Schema,
        columns: dict[str, dict[str, Any]],
        found: dict[str, Any] | None = None,
        about: dict[str, str] | None = None,
    ) -> int:
        """Draw the page of two samples of raw rows, and return its size in bytes.

        Args:
            page: the file to write.
            reference: reference rows with predictions.
            current: rows of the window.
            schema: the version's.
            columns: by encoded column, and for `prediction`: method, distance, threshold, drifted, and if known nulls,
                ranges and unseen values.
            found: verdict, rows, drift_share (of the weight), threshold, and performance if known.
            about: title, window and back (a relative URL), each optional.

        Raises:
            DataError: a sample lacks a column of the schema.
            ToolError: Evidently could not draw the page.
        """
        measured = {
            name: column
            for name, column in columns.items()
            if column["distance"] is not None and column["method"] in DRAWN
        }
        ranked = sorted(measured, key=lambda name: (not measured[name]["drifted"], -measured[name].get("weight", 1.0)))
        drawn = {name: measured[name] for name in ranked[:MAX_COLUMNS]}
        with files.atomic(page) as temporary:
            job = {
                "columns": drawn,
                "drift_share": (found or {}).get("threshold"),
                "reference": _encoded(reference, schema, drawn),
                "current": _encoded(current, schema, drawn),
            }
            html = self._run(json.dumps(job).encode())
            temporary.write_text(_with_head(html, columns, found, about or {}), encoding="utf-8")
            return temporary.stat().st_size

    def _run(self, job: bytes) -> str:
        """Send the job to the process, and return Evidently's page; the process then ends."""
        try:
            html, errors = self._process.communicate(job, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise ToolError(f"Evidently did not draw the page in {TIMEOUT_S:.0f} s", hint="--no-page") from None
        if self._process.returncode != 0:
            lines = errors.decode(errors="replace").strip().splitlines()
            raise ToolError(f"Evidently could not draw the page: {lines[-1][:MAX_ERROR] if lines else 'it ended'}")
        return html.decode()


def wait() -> None:
    """Import Evidently, read a job from standard input, and write the page to standard output."""
    gc.disable()  # saves a fifth of the import time, and the process ends soon
    with contextlib.redirect_stdout(sys.stderr):
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        text = sys.stdin.read()
        if not text:  # no page was requested
            return
        job = json.loads(text)
        columns = job["columns"]
        definition = DataDefinition(
            numerical_columns=[name for name, column in columns.items() if column["method"] == "wasserstein"],
            categorical_columns=[name for name, column in columns.items() if column["method"] == "jensenshannon"],
        )
        preset = DataDriftPreset(
            columns=list(columns),
            num_method="wasserstein",
            cat_method="jensenshannon",
            per_column_threshold={name: column["threshold"] for name, column in columns.items()},
            **({"drift_share": job["drift_share"]} if job["drift_share"] is not None else {}),
        )
        current, reference = (
            Dataset.from_pandas(_frame(job[part], columns), definition) for part in ("current", "reference")
        )
        html = Report([preset]).run(current, reference).get_html_str(as_iframe=False)
    sys.stdout.buffer.write(html.encode())


def _encoded(rows: pa.Table, schema: Schema, columns: dict[str, dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the columns to draw, encoded as for the model.

    Numbers are clipped to the range of the reference, as for the distance: a request may contain a float32 of 1e38,
    whose moments are beyond float32.
    """
    used = [column for column in schema.columns if any(name in columns for name in column.inputs)]
    encoded = encode(rows, Schema(schema.task, schema.target, used))
    if "prediction" in columns:
        encoded["prediction"] = rows.column("prediction").to_numpy()
    made: dict[str, list[Any]] = {}
    for name, column in columns.items():
        values = encoded[name]
        if column["method"] == "wasserstein":
            values = values.astype(float)
            made[name] = (np.clip(values, *column["range"]) if column.get("range") else values).tolist()
        else:
            made[name] = [None if value is None or value != value else str(value) for value in values]
    return made


def _frame(rows: dict[str, list[Any]], columns: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Return the rows of a job as Evidently expects them: a null is not a category."""
    import pandas as pd

    kinds = {name: float if column["method"] == "wasserstein" else object for name, column in columns.items()}
    nulls = {name: [np.nan if value is None else value for value in values] for name, values in rows.items()}
    return pd.DataFrame(nulls).astype(kinds)


def _with_head(
    html: str, columns: dict[str, dict[str, Any]], found: dict[str, Any] | None, about: dict[str, str]
) -> str:
    """Return Evidently's page with a title, and with the verdict and its distances above the widgets."""
    title = about.get("title", "Drift") + (f": {found['verdict']}" if found else "")
    facts = [f"{found['rows']:,} rows"] if found else []
    if found and found.get("sampled"):
        facts.append(f"distances computed on a random sample of {found['sampled']:,}")
    facts += [about["window"]] if "window" in about else []
    values = {
        "title": title,
        "facts": [*facts, f"drawn {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"],
        "drifted": _drifted(columns, found) if found and found["drift_share"] is not None else None,
        "back": about.get("back"),
        "performance": found.get("performance") if found else None,
        "columns": sorted(columns.items(), key=lambda item: not item[1]["drifted"]),
        "methods": METHODS,
    }
    head = files.render(layout.templates() / "report" / "drift.html", values)
    html = html.replace("<head>", f'<head><meta charset="utf-8"><title>{escape(title)}</title>', 1)
    return html.replace("<body>", f"<body>{head}", 1)


def _drifted(columns: dict[str, dict[str, Any]], found: dict[str, Any]) -> str:
    """Describe how much of the columns' weight drifted, and in which columns."""
    weights = {name: column["weight"] for name, column in columns.items() if column["drifted"] and "weight" in column}
    ranked = sorted(weights, key=lambda name: -weights[name])
    named = ", ".join(f"{name} {weights[name]:.0%}" for name in ranked[:MAX_NAMED])
    share = f"{found['drift_share']:.0%} of the columns' weight drifted (alert above {found['threshold']:.0%})"
    more = " and others" if len(ranked) > MAX_NAMED else ""
    prediction = "; so did the predictions" if columns.get("prediction", {}).get("drifted") else ""
    return share + (f": {named}{more}" if named else "") + prediction
