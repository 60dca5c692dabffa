"""Draw five kinds of plot with Matplotlib, as SVG text. The same data gives the same bytes: no date, no random ids."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

WIDE = 4.6  # inches
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "glue",  # ids inside the SVG
    "svg.fonttype": "none",  # keeps text as text: smaller and searchable
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
}
MARGINS = {"left": 0.16, "right": 0.98, "bottom": 0.14, "top": 0.92}  # shares of the figure, for ticks from 0 to 1
LONGEST, LONGEST_NAME = 54, 28  # characters of a title or axis label; of a name at a tick or in a legend
MOST_INSIDE = 4  # entries of a legend inside the plot
BLUE, GREY, RED = "#2f6db5", "#9a9a9a", "#b5452f"


@contextmanager
def _figure(
    title: str, x: str, y: str, out: list[str], height: float = 3.6, margins: Any = None, *, narrow: bool = False
) -> Iterator[Any]:
    """Create an empty plot with fixed margins: letting Matplotlib compute them would double the time."""
    import io

    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDE, height), layout=None if margins else "constrained")
        if margins:
            figure.subplots_adjust(**margins)
        axes = figure.add_subplot()
        # long column names leave the plot little space, so its title and label are right-aligned
        around: dict[str, Any] = {"fontsize": 9, "x": 0.98, "ha": "right"} if narrow else {}
        # y=1 is the default position; setting it saves a search for overlaps, a quarter of the time
        axes.set_title(_plain(title), y=1.0, **around)
        axes.set_xlabel(_plain(x), **around)
        axes.set_ylabel(_plain(y))
        yield axes
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    out.append(text.getvalue())


def _margins_for(names: Sequence[str], height: float, y: str = "", *, upright: bool = False) -> dict[str, float]:
    """Return the margins for names at the ticks of the y axis and, if `upright`, also of the x axis."""
    import matplotlib
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    with matplotlib.rc_context(STYLE):
        font = FontProperties(size=8)
        widths = [text_to_path.get_text_width_height_descent(name, font, ismath=False)[0] for name in names]
    longest, across, up = max(widths, default=0.0), WIDE * 72, height * 72  # in points
    left, bottom = longest + (30 if y else 12), 30 + (longest if upright else 12)
    return {"left": min(left / across, 0.85), "right": 0.97, "bottom": bottom / up, "top": 1 - 24 / up}


def _plain(text: str) -> str:
    """Shorten a long text, and escape $, because Matplotlib would read $…$ as a formula."""
    return (text if len(text) <= LONGEST else text[: LONGEST - 1] + "…").replace("$", r"\$")


def _name(text: str) -> str:
    """Shorten the name of a column or a class in the middle, because names often share a beginning or an end."""
    half = LONGEST_NAME // 2
    return _plain(text if len(text) <= LONGEST_NAME else f"{text[:half]}…{text[1 - half :]}")


def lines(
    title: str,
    x: str,
    y: str,
    series: dict[str, tuple[Array, Array]],
    *,
    diagonal: bool = False,
    level: float | None = None,
    marker: str = "",
    top: float = 1.0,
    wide: float | None = None,
    mark: float | None = None,
    right: tuple[Array, Array] | None = None,
) -> str:
    """Draw at most ten curves in the square from 0 to `top`.

    Args:
        title: the title.
        x: label of the x axis.
        y: label of the y axis.
        series: x and y values of each curve, by name.
        diagonal: draw the diagonal, the result of chance.
        level: draw a horizontal line, the result of chance.
        marker: Matplotlib's marker of the points.
        top: end of both axes.
        wide: end of the x axis, if it is not `top`.
        mark: draw a vertical line at this x value.
        right: a curve with its own axis on the right, the mean cost per row.
    """
    out: list[str] = []
    height, margins = 3.6, MARGINS if right is None else {**MARGINS, "right": 0.84}
    if len(series) > MOST_INSIDE:  # a larger legend would hide the curves, so it goes below the plot
        below = 0.2 * math.ceil(len(series) / 2)
        edges = {"bottom": (MARGINS["bottom"] * height + below), "top": MARGINS["top"] * height + below}
        height += below
        margins = {**margins, **{edge: place / height for edge, place in edges.items()}}
    with _figure(title, x, y, out, height, margins) as axes:
        if diagonal:
            axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
        if level is not None:
            axes.axhline(level, color=GREY, linewidth=1, linestyle="--")
        for name, (across, up) in series.items():
            colour = {"color": BLUE} if len(series) == 1 else {}
            axes.plot(across, up, label=_name(name), linewidth=1.6, marker=marker, markersize=4, **colour)
        end = top if wide is None else wide
        axes.set_xlim(-0.01 * end, 1.01 * end)
        axes.set_ylim(-0.01 * top, 1.01 * top)
        if mark is not None:
            axes.axvline(mark, color=GREY, linewidth=1.2, linestyle=":", label=f"{mark:.4g}")
        if right is not None:
            _draw_cost(axes, right)
        if len(series) > MOST_INSIDE:
            axes.figure.legend(loc="lower center", ncols=2)
        elif len(series) > 1:
            axes.legend()
    return out[0]


def _draw_cost(axes: Any, curve: tuple[Array, Array]) -> None:
    """Draw the mean cost per row with its own axis on the right."""
    cost = axes.twinx()
    cost.plot(*curve, color=RED, linewidth=1.6)
    cost.set_ylabel("cost per row")
    cost.spines["right"].set_visible(True)
    cost.grid(visible=False)
    axes.plot([], [], color=RED, label="cost (right)")


def matrix(title: str, labels: list[str], counts: Array) -> str:
    """Draw a confusion matrix, shape (classes, classes), rows are true classes; the colour is the share of the row."""
    import numpy as np

    out: list[str] = []
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size, shown = len(labels), [_plain(label)[:14] for label in labels]
    height = min(3.6 + max(size - 8, 0) * 0.2, 8)
    margins = _margins_for(shown, height, "true", upright=size > 4)
    with _figure(title, "predicted", "true", out, height, margins) as axes:
        axes.grid(False)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(size), shown, rotation=0 if size <= 4 else 90, fontsize=8)
        axes.set_yticks(range(size), shown, fontsize=8)
        for row in range(size) if size <= 12 else []:
            for column in range(size):
                colour = "white" if share[row, column] > 0.6 else "#222"
                text = f"{counts[row, column]:,}\n{share[row, column]:.1%}"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8 if size <= 6 else 6)
    return out[0]


def points(title: str, x: str, y: str, across: Array, up: Array, *, diagonal: bool) -> str:
    """Draw points, and the line of a perfect model: the diagonal, or zero."""
    out: list[str] = []
    with _figure(title, x, y, out) as axes:
        axes.scatter(across, up, s=8, alpha=0.35, color=BLUE, linewidths=0)
        if diagonal:
            ends = [min(across.min(), up.min()), max(across.max(), up.max())]
            axes.plot(ends, ends, color=GREY, linewidth=1, linestyle="--")
        else:
            axes.axhline(0, color=GREY, linewidth=1, linestyle="--")
    return out[0]


def bars(title: str, x: str, names: list[str], values: Array, errors: Array) -> str:
    """Draw horizontal bars, the first on top."""
    out: list[str] = []
    shown, height = [_name(name) for name in names], max(2.0, 0.9 + 0.24 * len(names))
    with _figure(title, x, "", out, height, _margins_for(shown, height), narrow=True) as axes:
        colours = [BLUE if value >= 0 else RED for value in values]
        axes.barh(range(len(names)), values, xerr=errors, color=colours, error_kw={"ecolor": GREY, "elinewidth": 1})
        axes.set_yticks(range(len(names)), shown, fontsize=8)
        axes.invert_yaxis()
        axes.locator_params(axis="x", nbins=4)  # names leave little space for more
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}")  # a common factor would cover the label
        axes.grid(axis="y", visible=False)
    return out[0]


def over_time(
    title: str,
    y: str,
    times: list[Any],
    series: dict[str, list[float]],
    limits: dict[str, float],
    *,
    share: bool = False,
    band: tuple[list[float], list[float]] | None = None,
) -> str:
    """Draw lines over time.

    Args:
        title: the title.
        y: label of the y axis.
        times: the times of the values.
        series: the values of each line by name; NaN: not known.
        limits: levels of horizontal lines, by name.
        share: use a percent axis, from 0 to 100.
        band: the lower and upper edge of a band around the first line.
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    out: list[str] = []
    with _figure(title, "time (UTC)", y, out) as axes:
        if band is not None:
            axes.fill_between(times, *band, color=BLUE, alpha=0.15, linewidth=0)
        for name, values in series.items():
            colour = {"color": BLUE} if len(series) == 1 else {}
            axes.plot(times, values, label=_name(name), marker="o", markersize=3, linewidth=1.4, **colour)
        for name, level in limits.items():
            axes.axhline(level, color=RED, linewidth=1, linestyle="--", label=_plain(name))
        if share:
            axes.set_ylim(0, 1.02)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        # with the default of at least 5 ticks, it finds no positions for 3 to 5 minutes, and warns
        places = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(places)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(places))  # type: ignore[no-untyped-call]
        if len(series) > 1:
            axes.figure.legend(loc="outside lower center", ncols=2)
        else:
            axes.legend()
    return out[0]
