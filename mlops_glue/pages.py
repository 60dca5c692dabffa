"""How every page is written: one frame and one style, read without a server, a network or a script.

A page that a stage writes stands alone. `report` writes pages with links to each other, and `glue ui` serves these.
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

PLOT_BYTES = 500_000  # a plot that is larger is not on a page
MARK = '<meta name="generator" content="mlops_glue">'  # of a page that glue wrote, and may replace
NAMES = {  # every page, in the order of the navigation
    "index": "Project",
    "data": "Data",
    "validation": "Validation",
    "evaluation": "Evaluation",
    "compare": "Comparison",
    "monitoring": "Monitoring",
    "lineage": "Lineage",
    "card": "Model card",
}
SHOWN = {  # what each plot shows, for who does not see it
    "roc": "ROC curve: true against false positive rate, at every threshold",
    "precision_recall": "Precision against recall, at every threshold",
    "calibration": "Calibration: the observed share against the predicted probability; on the diagonal they agree",
    "threshold": "Precision, recall and, where it is known, the cost of a row, by decision threshold",
    "confusion": "Confusion matrix: how many rows of each true class were predicted as which, and their share of it",
    "prediction": "Predicted against true values; on the diagonal they agree",
    "residuals": "Residuals: true minus predicted, against predicted; around zero they are good",
    "importances": "Permutation importances: how much worse the model gets when a column is shuffled",
    "contributions": "Contributions: how far each column moves the answer",
}


class Link(NamedTuple):
    """An entry of the navigation."""

    address: str
    text: str
    here: bool  # it is this page


@dataclass(frozen=True)
class Frame:
    """What stands around a page.

    Attributes:
        project: its name.
        facts: what the page is of: version, commit.
        made: when it was made, in ISO 8601; None: it is the result of a stage, which has no date.
        links: the navigation.
        live: what the page was made from, for the server that tells the reader when that has changed.
    """

    project: str
    facts: Sequence[str] = ()
    made: str | None = None
    links: Sequence[Link] = ()
    live: str | None = None


class Plot(NamedTuple):
    """A plot as an image in the page: no script in it runs, no id of one is another's."""

    name: str
    alt: str
    source: str | None  # None: it is too large


def plot(name: str, svg: str, alt: str = "") -> Plot:
    """A plot of these bytes; the text for who does not see it follows from its name."""
    data = svg.encode()
    source = f"data:image/svg+xml;base64,{base64.b64encode(data).decode()}" if len(data) <= PLOT_BYTES else None
    return Plot(name, alt or SHOWN.get(name, name.replace("_", " ")), source)


def number(value: float | None, sign: str = "") -> str:
    """A metric with four digits, and with `sign` "+" its sign; n/a where it is not defined.

    Of what is large no digit behind the point is shown, and of what four digits would show as zero the first ones are;
    below 1e-12 it is what rounding leaves of zero.
    """
    if value is None or value != value:
        return "n/a"
    size = abs(value)
    form = "z.4f" if size < 1e-12 or 5e-5 <= size < 1e5 else ",.0f" if 1e5 <= size < 1e12 else ".4g"
    return format(value, f"{sign}{form}")


def bounds(threshold: Mapping[str, Any]) -> str:
    """What a threshold asks for: `min 0.8`, or both ends."""
    ends = {"min": threshold["min"], "max": threshold["max"]}
    return ", ".join(f"{end} {limit}" for end, limit in ends.items() if limit is not None)


def when(text: str | None) -> str:
    """A time as people read it, in UTC."""
    return "" if not text else datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def percent(share: float | None) -> str:
    """A share of 0 to 1."""
    return "–" if share is None else f"{share:.1%}"


def seconds(value: float | None) -> str:
    """A time span."""
    if value is None:
        return "–"
    return f"{value:.1f} s" if value < 60 else f"{value / 60:.0f} min"


def links(folder: Path, here: str, also: Sequence[str] = ()) -> list[Link]:
    """From a page in a folder to those that lie there or will (`also`)."""
    there = [name for name in NAMES if name in (here, *also) or _is_page(folder / f"{name}.html")]
    return [Link(f"{name}.html", NAMES[name], name == here) for name in there] if len(there) > 1 else []


def _is_page(path: Path) -> bool:
    return path.is_file() and is_ours(path)


def is_ours(path: Path) -> bool:
    """Did glue write this page?"""
    with path.open("rb") as file:
        return MARK.encode() in file.read(4096)


def address(path: Path, folder: Path) -> str:
    """Where a page in `folder` finds a file."""
    from urllib.parse import quote

    return quote(Path(os.path.relpath(path, folder)).as_posix())


def render(
    template: str,
    frame: Frame,
    title: str,
    values: Mapping[str, Any],
    filters: Mapping[str, Callable[..., Any]] | None = None,
) -> str:
    """A page, from a template in `templates/report`. Every value is escaped but what the template calls safe."""
    own: dict[str, Callable[..., Any]] = {"n": number, "bounds": bounds, "when": when, "percent": percent}
    around = {"frame": frame, "title": title, "glue": __version__, "mark": MARK}
    path = layout.templates() / "report" / template
    text = files.render(path, {**around, **values}, filters={**own, "seconds": seconds, **(filters or {})})
    return "\n".join(line for line in text.splitlines() if line.strip()) + "\n"
