"""Evidently: the page that people read. Its import takes seconds, so it is drawn in a process of its own, meanwhile.

The page is drawn from a sample; the distances that it shows are those that were computed over all rows.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from functools import partial
from html import escape
from importlib import import_module
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from mlops_glue import files, tables, telemetry
from mlops_glue.errors import MissingExtra, ToolError
from mlops_glue.schema import Schema, encode

NAMES = {"wasserstein": "Wasserstein distance (normed)", "jensenshannon": "Jensen-Shannon distance"}
MOST_COLUMNS = 60  # of a page; it has some 100 kB for each
MOST_NAMED = 8  # drifted columns in the head of a page
WEIGHT = (
    "A column's weight is its part of what the model makes of all of them (permutation importance; where "
    "monitor.drift.weights is equal, or there is no model, each counts the same). So one column may carry most of it, "
    "while the share of drifted columns below counts columns."
)
# Evidently's grid is wider than a phone: what is too wide scrolls in its own card.
STYLE = """header{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;overflow-wrap:anywhere}
header h1{font-size:1.5rem;margin:0}header p{margin:.5rem 0}
.MuiGrid-root{min-width:0;max-width:100%}.MuiCardContent-root{overflow-x:auto}
@media(max-width:700px){.MuiCardContent-root{padding:8px}.MuiGrid-direction-xs-column{flex-wrap:nowrap}
.MuiTypography-h5,.MuiTypography-h6{font-size:1.1rem}}"""
JOB = "job.json"
LONGEST_S = 300.0  # to draw a page: the alert waits for it
NEEDED = ("evidently.core.report", "evidently.presets.drift", "plotly.graph_objects", "plotly.subplots")
EAGER = [  # packages of Evidently's that import all that they have
    "evidently",
    *(f"evidently.{name}" for name in ("presets", "metrics", "tests", "descriptors", "legacy.tests", "legacy.metrics")),
]


class Painter:
    """The process that draws; it imports Evidently as soon as it is made.

    Raises:
        MissingExtra: Evidently is not installed.
    """

    def __init__(self) -> None:
        if find_spec("evidently") is None:
            raise MissingExtra("evidently", "monitoring")
        code = "from mlops_glue.adapters.evidently import wait; wait()"
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        telemetry.off()
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def __enter__(self) -> Painter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._errors.close()

    def draw(
        self,
        page: Path,
        reference: Any,
        current: Any,
        schema: Schema,
        columns: dict[str, dict[str, Any]],
        found: dict[str, Any] | None = None,
        about: dict[str, str] | None = None,
    ) -> int:
        """Draw the page; both samples are Arrow tables of raw rows.

        Args:
            page: where it goes.
            reference: rows of the reference, with its predictions.
            current: rows of the window.
            schema: of the version.
            columns: by encoded column, and `prediction`: method, distance, threshold, drifted; what is known of their
                nulls, ranges and unseen values.
            found: verdict, rows, drift_share (of the weight), threshold, and performance, if that is known.
            about: title, window and back, a relative address; any may be left out.

        Returns:
            Its bytes.

        Raises:
            ToolError: Evidently could not draw it.
        """
        shown = {name: one for name, one in columns.items() if one["distance"] is not None}
        ranked = sorted(shown, key=lambda name: (not shown[name]["drifted"], -shown[name].get("weight", 1.0)))
        with tempfile.TemporaryDirectory() as scratch, files.atomic(page) as temporary:
            folder = Path(scratch)
            tables.write_parquet(folder / "reference.parquet", reference)
            tables.write_parquet(folder / "current.parquet", current)
            chosen = {name: shown[name] for name in ranked[:MOST_COLUMNS]}
            job = {
                "page": str(temporary),
                "schema": schema.to_dict(),
                "columns": chosen,
                "quality": columns,
                "found": found,
                "about": about or {},
            }
            files.write_json(folder / JOB, job)
            try:
                self._process.communicate(scratch.encode(), timeout=LONGEST_S)
            except subprocess.TimeoutExpired:
                raise ToolError(f"Evidently did not draw the page in {LONGEST_S:.0f} s", hint="--no-page") from None
            if self._process.returncode != 0:
                self._errors.seek(0)
                said = self._errors.read().decode(errors="replace").strip().splitlines()
                raise ToolError(f"Evidently could not draw the page: {said[-1][:300] if said else 'it ended'}")
            return temporary.stat().st_size


def wait() -> None:
    """Import Evidently, then draw the job of the folder that the standard input names."""
    gc.disable()  # it takes a fifth of the time, and the process ends soon
    _enter_lazily()
    with contextlib.suppress(Exception):  # drawing will tell
        for name in NEEDED:
            import_module(name)
    folder = Path(sys.stdin.read())
    if not folder.name:
        return
    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    try:
        _draw(folder, job)
    except Exception as first:  # once more with Evidently as it imports itself
        for name in [n for n in sys.modules if n.partition(".")[0] == "evidently"]:
            del sys.modules[name]
        try:
            _draw(folder, job)
        except Exception:
            raise first from None  # what is told is why; the second may be that pydantic takes no class twice
    os._exit(0)  # the page is closed; to take two thousand modules down takes a tenth of the time


def _enter_lazily() -> None:
    """Let Evidently's packages import what is asked of them, not all that they have: 2 s instead of 5."""
    found = find_spec("evidently")
    assert found is not None and found.origin is not None
    for name in EAGER:
        folder = Path(found.origin).parent.joinpath(*name.split(".")[1:])
        tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
        package = sys.modules[name] = ModuleType(name)
        package.__path__ = [str(folder)]
        package.__dict__["__getattr__"] = partial(_asked, name, _origins(name, tree))
        if "." in name and (parent := sys.modules.get(name.rpartition(".")[0])) is not None:
            setattr(parent, name.rpartition(".")[2], package)


def _origins(package: str, tree: ast.Module) -> dict[str, tuple[str, str]]:
    """Where a package has each of its names from: module, and name there."""
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    modules = [resolve_name("." * node.level + (node.module or ""), package) for node in imports]
    return {
        alias.asname or alias.name: (module, alias.name)
        for node, module in zip(imports, modules, strict=True)
        for alias in node.names
    }


def _asked(package: str, origins: dict[str, tuple[str, str]], name: str) -> Any:
    if name not in origins:
        raise AttributeError(f"{package} has no {name}")
    module, original = origins[name]
    if module != package and hasattr(found := import_module(module), original):
        return getattr(found, original)
    return import_module(f"{module}.{original}")


def _draw(folder: Path, job: dict[str, Any]) -> None:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets.drift import DataDriftPreset

    class Drift(DataDriftPreset):  # type: ignore[misc]
        def generate_metrics(self, context: Any) -> Any:
            """The count of drifted columns alone: each column's own metric is drawn, and then not shown."""
            return super().generate_metrics(context)[:1]

        def render(self, *given: Any, **named: Any) -> Any:
            """Evidently's own widgets, then what was counted over all rows; glue's verdict is the page's head."""
            found = job["found"] or {}
            widgets = super().render(*given, **named)
            if found:  # Evidently's verdict is by the number of columns, and of another threshold
                widgets = widgets[1:]
            return [*widgets, *_tables(job["quality"], found.get("performance"))]

    columns, schema = job["columns"], Schema.from_dict(job["schema"])
    definition = DataDefinition(
        numerical_columns=[name for name, one in columns.items() if one["method"] == "wasserstein"],
        categorical_columns=[name for name, one in columns.items() if one["method"] == "jensenshannon"],
    )
    parts = [
        Dataset.from_pandas(_frame(tables.read_parquet(folder / f"{part}.parquet"), schema, columns), definition)
        for part in ("current", "reference")
    ]
    methods = {one["method"]: _as_computed(one["method"], columns) for one in columns.values()}
    preset = Drift(
        columns=list(columns),
        num_method=methods.get("wasserstein"),
        cat_method=methods.get("jensenshannon"),
        per_column_threshold={name: one["threshold"] for name, one in columns.items()},
    )
    page = Report([preset]).run(*parts).get_html_str(as_iframe=False)
    head, body = _head(job["found"], job["about"], job["quality"])
    page = page.replace("<head>", f"<head>{head}", 1).replace("<body>", f"<body>{body}", 1)
    Path(job["page"]).write_text(page, encoding="utf-8")


def _head(found: dict[str, Any] | None, about: dict[str, str], columns: dict[str, Any]) -> tuple[str, str]:
    """The page's title and style, and what `glue monitor` says above Evidently's widgets."""
    title = about.get("title", "Drift") + (f": {found['verdict']}" if found else "")
    lines = [f"{found['rows']:,} rows"] if found else []
    lines += [about["window"]] if "window" in about else []
    lines += [f"drawn {datetime.now(UTC):%Y-%m-%d %H:%M} UTC from a sample of the rows; distances are of all"]
    texts = ["; ".join(lines)]
    if found and found["drift_share"] is not None:
        share = f"{found['drift_share']:.0%} of the columns' weight drifted (alert above {found['threshold']:.0%})"
        weights = {name: one["weight"] for name, one in columns.items() if one["drifted"] and "weight" in one}
        ranked = sorted(weights, key=lambda name: -weights[name])
        named = ", ".join(f"{name} {weights[name]:.0%}" for name in ranked[:MOST_NAMED])
        texts += [share + (f": {named}" if named else "") + (" and others" if len(ranked) > MOST_NAMED else ""), WEIGHT]
    body = f"<h1>{escape(title)}</h1>" + "".join(f"<p>{escape(text)}</p>" for text in texts)
    if "back" in about:
        body += f'<p><a href="{escape(about["back"])}">The project\'s report</a></p>'
    return f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>', f"<header>{body}</header>"


def _tables(columns: dict[str, Any], performance: dict[str, Any] | None) -> list[Any]:
    """Performance and data quality as Evidently's table widgets."""
    from evidently.legacy.renderers.html_widgets import table_data

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:z.4g}"

    def share(value: float | None) -> str:
        return "" if value is None else f"{value:.2%}"

    out = []
    if performance is not None:
        of = ["metric", "in this window", "95 % interval", "on the holdout", "95 % interval", "rows with a label"]
        now, then = performance, performance["holdout"]
        value = "not known" if now["value"] is None else number(now["value"])
        how = " (an estimate: no label went into it)" if now["estimated"] else ""
        both = (now, then)
        ranges = ["" if one["low"] is None else f"{number(one['low'])} to {number(one['high'])}" for one in both]
        row = [now["metric"], value + how, ranges[0], number(then["value"]), ranges[1], f"{now['labelled']:,}"]
        out.append(table_data(title="Performance", column_names=of, data=[row]))
    keys = ("null_share", "reference_null_share", "out_of_range", "unseen")
    of = ["column", "nulls", "nulls in the reference", "beyond the reference's range", "unseen values", "problem"]
    rows = [
        [name, *(share(one.get(key)) for key in keys), "" if one["distance"] is not None else one.get("why") or ""]
        for name, one in columns.items()
    ]
    return [*out, table_data(title="Data quality, over all rows", column_names=of, data=rows)]


def _frame(table: Any, schema: Schema, columns: dict[str, Any]) -> Any:
    """The encoded columns as Evidently takes them: text for what is counted, null for null.

    Numbers are float64: the moments of a float32 of 1e38, which one request may hold, are beyond float32.
    """
    import numpy as np
    import pandas as pd

    there = [c for c in schema.columns if any(name in columns for name in c.inputs)]
    encoded = encode(table, Schema(schema.task, schema.target, there))
    made = {name: values for name, values in encoded.items() if name in columns}
    if "prediction" in columns:
        made["prediction"] = table.column("prediction").to_numpy()
    frame = pd.DataFrame(made).astype({name: float for name in made if columns[name]["method"] == "wasserstein"})
    for name in (name for name in made if columns[name]["method"] == "jensenshannon"):
        frame[name] = frame[name].astype(object).where(frame[name].notna() & (frame[name] != ""), np.nan)
    for name in (name for name in made if columns[name].get("range")):  # as the distance has it: see summary.py
        frame[name] = frame[name].clip(*columns[name]["range"])
    return frame[list(columns)]


def _as_computed(method: str, columns: dict[str, Any]) -> Any:
    """A test of Evidently's that gives what was computed over all rows."""
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    def told(reference: Any, current: Any, kind: Any, threshold: float) -> tuple[float, bool]:
        one = columns[reference.name]
        return one["distance"], bool(one["drifted"])

    kinds = [ColumnType.Numerical, ColumnType.Categorical]
    test = StatTest(name=f"glue_{method}", display_name=f"{NAMES[method]}, all rows", allowed_feature_types=kinds)
    register_stattest(test, told)
    return test
