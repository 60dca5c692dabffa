"""The frame and style of every HTML page. A page can be read without a server, a network or a script.

A page that a stage writes is self-contained. `report` writes pages that link to each other, and `glue ui` serves them.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from mlops_glue import files, layout
from mlops_glue.version import __version__

PLOT_BYTES = 500_000  # larger plots are not embedded
MARK = '<meta name="generator" content="mlops_glue">'  # marks a page that glue wrote and may replace
NAMES = {  # all pages, in navigation order
    "index": "Project",
    "data": "Data",
    "validation": "Validation",
    "evaluation": "Evaluation",
    "compare": "Comparison",
    "monitoring": "Monitoring",
    "lineage": "Lineage",
    "card": "Model card",
}
SHOWN = {  # alternative text for each plot
    "roc": "ROC curve: true positive rate against false positive rate, at all thresholds",
    "precision_recall": "Precision against recall, at all thresholds",
    "calibration": "Calibration: observed share against predicted probability; on the diagonal they are equal",
    "threshold": "Precision, recall and, if configured, the cost per row, by decision threshold",
    "confusion": "Confusion matrix: number of rows by true and predicted class, and their share of the true class",
    "prediction": "Predicted against true values; on the diagonal they are equal",
    "residuals": "Residuals: true minus predicted value, against predicted value; ideally near zero",
    "importances": "Permutation importances: the loss in the metric when a column is shuffled",
    "contributions": "Contributions: how much each column changes the prediction",
}


class Link(NamedTuple):
    """An entry of the navigation."""

    address: str
    text: str
    here: bool  # it is this page


@dataclass(frozen=True)
class Frame:
    """The parts of a page around its content.

    Attributes:
        project: the project's name.
        facts: the version and commit that the page describes.
        made: when the page was written, in ISO 8601; None for the output of a stage, which has no date.
        links: the navigation.
        live: a stamp of the page's sources; with it, the page reloads when they change. None without a server.
    """

    project: str
    facts: Sequence[str] = ()
    made: str | None = None
    links: Sequence[Link] = ()
    live: str | None = None


class Plot(NamedTuple):
    """A plot embedded as an image, so that its scripts do not run and its ids do not conflict with others."""

    name: str
    alt: str
    source: str | None  # None: too large


def plot(name: str, svg: str, alt: str = "") -> Plot:
    """Embed an SVG as a plot. `alt` defaults to the text for its name."""
    data = svg.encode()
    source = f"data:image/svg+xml;base64,{base64.b64encode(data).decode()}" if len(data) <= PLOT_BYTES else None
    return Plot(name, alt or SHOWN.get(name, name.replace("_", " ")), source)


def number(value: float | None, sign: str = "") -> str:
    """Format a metric with four decimals, and with `sign` "+" its sign; n/a if it is undefined.

    Large values have no decimals, and small values have four significant digits. Values below 1e-12 are rounding
    errors and are shown as zero.
    """
    if value is None or value != value:
        return "n/a"
    size = abs(value)
    form = "z.4f" if size < 1e-12 or 5e-5 <= size < 1e5 else ",.0f" if 1e5 <= size < 1e12 else ".4g"
    return format(value, f"{sign}{form}")


def bounds(threshold: Mapping[str, Any]) -> str:
    """Format a threshold: `min 0.8`, `max 0.9`, or both."""
    ends = {"min": threshold["min"], "max": threshold["max"]}
    return ", ".join(f"{end} {limit}" for end, limit in ends.items() if limit is not None)


def when(text: str | None) -> str:
    """Format an ISO time for people, in UTC."""
    return "" if not text else datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def percent(share: float | None) -> str:
    """Format a share from 0 to 1 as a percentage."""
    return "–" if share is None else f"{share:.1%}"


def seconds(value: float | None) -> str:
    """Format a duration."""
    if value is None:
        return "–"
    return f"{value:.1f} s" if value < 60 else f"{value / 60:.0f} min"


def links(folder: Path, here: str, also: Sequence[str] = ()) -> list[Link]:
    """Return the navigation links from a page to the pages in its folder, and to `also`, which will be written."""
    there = [name for name in NAMES if name in (here, *also) or _is_page(folder / f"{name}.html")]
    return [Link(f"{name}.html", NAMES[name], name == here) for name in there] if len(there) > 1 else []


def _is_page(path: Path) -> bool:
    return path.is_file() and is_ours(path)


def is_ours(path: Path) -> bool:
    """Whether glue wrote this page."""
    with path.open("rb") as file:
        return MARK.encode() in file.read(4096)


def address(path: Path, folder: Path) -> str:
    """Return the relative URL of a file from a page in `folder`."""
    from urllib.parse import quote

    return quote(Path(os.path.relpath(path, folder)).as_posix())


def render(
    template: str,
    frame: Frame,
    title: str,
    values: Mapping[str, Any],
    filters: Mapping[str, Callable[..., Any]] | None = None,
) -> str:
    """Render a page from a template in `templates/report`. Values are escaped unless the template marks them safe."""
    own: dict[str, Callable[..., Any]] = {"n": number, "bounds": bounds, "when": when, "percent": percent}
    around = {"frame": frame, "title": title, "glue": __version__, "mark": MARK}
    path = layout.templates() / "report" / template
    text = files.render(path, {**around, **values}, filters={**own, "seconds": seconds, **(filters or {})})
    return "\n".join(line for line in text.splitlines() if line.strip()) + "\n"
