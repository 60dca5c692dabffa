"""Small charts as SVG text, drawn to be read on a phone: no script, colours by the page's style, text in words too."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

WIDTH = 340  # of a phone's column; the page enlarges
BOX, LEVEL = (150, 44), 66  # of a stage, and from one level of stages to the next
MARKS = {"executed": "✓", "restored": "✓", "unchanged": "✓", "failed": "✕", "refused": "✕", "changed": "!"}


def _element(tag: str, *inside: str, **attributes: Any) -> str:
    """One element; `inside` is markup, attributes are values. `_` stands for `-`, and at the end for nothing."""
    said = "".join(f' {k.rstrip("_").replace("_", "-")}="{escape(_short(v))}"' for k, v in attributes.items())
    return f"<{tag}{said}>{''.join(inside)}</{tag}>"


def _short(value: Any) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def _text(x: float, y: float, text: str, **attributes: Any) -> str:
    return _element("text", escape(text), x=x, y=y, **attributes)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return _element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def _svg(width: float, height: float, said: str | None, body: Iterable[str]) -> str:
    """The whole; `said` is what it shows in words, None where the text beside it says it."""
    told: dict[str, Any] = {"role": "img", "aria_label": said} if said else {"aria_hidden": "true"}
    size: dict[str, Any] = {"viewBox": f"0 0 {width:g} {height:g}", "width": f"{width:g}", "height": f"{height:g}"}
    return _element("svg", *body, **size, **told)


def number(value: float | None) -> str:
    """As people read it: four places behind the point, fewer of large ones."""
    if value is None or not math.isfinite(value):
        return "n/a"
    return f"{value:z.4f}" if abs(value) < 100 else f"{value:,.1f}"


def _scale(values: Iterable[float | None], start: float, end: float) -> Any:
    """From values to places between `start` and `end`, with some room at both ends."""
    known = [v for v in values if v is not None and math.isfinite(v)] or [0.0]
    low, high = min(known), max(known)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    low, high = low - room, high + room
    return lambda value: start + (value - low) / (high - low) * (end - start)


def graph(stages: Sequence[dict[str, Any]], edges: Sequence[tuple[str, str]]) -> str:
    """Stages from top to bottom, each under what it depends on.

    Args:
        stages: name, outcome and `note`, each.
        edges: pairs of names, from what is made to what takes it; an edge that others imply is left out.
    """
    names = [one["name"] for one in stages]
    after = {name: {b for a, b in edges if a == name and b in names} for name in names}
    level = dict.fromkeys(names, 0)
    for _ in names:  # the longest way to each
        for a in names:
            for b in after[a]:
                level[b] = min(max(level[b], level[a] + 1), len(names))
    rows = [[name for name in names if level[name] == at] for at in sorted(set(level.values()))]
    width = max(WIDTH, max(map(len, rows), default=1) * (BOX[0] + 14) - 14 + 4)
    place = {
        name: (width / 2 + (at - (len(row) - 1) / 2) * (BOX[0] + 14), y * LEVEL + 2)
        for y, row in enumerate(rows)
        for at, name in enumerate(row)
    }
    drawn = [_edge(place[a], place[b]) for a in names for b in sorted(after[a]) if not _implied(a, b, after)]
    drawn += [_stage(one, *place[one["name"]]) for one in stages]
    said = "; ".join(f"{one['name']} {one['outcome']} {one['note']}".strip() for one in stages)
    return _svg(width, len(rows) * LEVEL - LEVEL + BOX[1] + 4, f"Pipeline: {said}", drawn)


def _implied(a: str, b: str, after: dict[str, set[str]]) -> bool:
    """Is there a longer way from one stage to the other?"""
    seen, waiting = {a}, [one for one in after[a] if one != b]
    while waiting:
        at = waiting.pop()
        if at == b:
            return True
        if at not in seen:
            seen.add(at)
            waiting += after[at]
    return False


def _edge(a: tuple[float, float], b: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = (a[0], a[1] + BOX[1]), b
    middle = (y1 + y2) / 2
    way = f"M{x1:g} {y1:g}C{x1:g} {middle:g} {x2:g} {middle:g} {x2:g} {y2:g}"
    return _element("path", d=way, class_="edge")


def _stage(one: dict[str, Any], x: float, y: float) -> str:
    left = x - BOX[0] / 2
    name = one["name"] if len(one["name"]) <= 15 else one["name"][:14] + "…"
    box = _element("rect", x=left, y=y, width=BOX[0], height=BOX[1], rx=8)
    mark = _text(left + 10, y + 27, MARKS.get(one["outcome"], "·"), class_="mark")
    under = " ".join(part for part in (one["outcome"], one["note"]) if part)
    return _element(
        "g",
        box,
        mark,
        _text(left + 28, y + 19, name, class_="name"),
        _text(left + 28, y + 35, under),
        class_=f"stage {one['outcome']}",
    )


def measures(rows: Sequence[dict[str, Any]]) -> str:
    """A line for each metric: its value with the interval, and whatever of trivial, champion and threshold there is.

    Args:
        rows: name, value, low, high, trivial, champion, limits and higher_is_better, each.
    """
    drawn, told = [], []
    for at, row in enumerate(rows):
        y = at * 56
        ends = [row["value"], row["low"], row["high"], row["trivial"], row["champion"], *row["limits"]]
        to = _scale(ends, 6, WIDTH - 6)
        better = "higher is better" if row["higher_is_better"] else "lower is better"
        drawn += [_text(6, y + 14, row["name"], class_="name"), _text(WIDTH - 6, y + 14, better, class_="end")]
        drawn.append(_line(6, y + 34, WIDTH - 6, y + 34, "axis"))
        drawn += [_line(to(limit), y + 22, to(limit), y + 46, "limit") for limit in row["limits"]]
        drawn += [_shape(to(row[key]), y + 34, key) for key in ("trivial", "champion") if row[key] is not None]
        drawn += _interval(to, row, y + 34)
        others = [f"{key} {number(row[key])}" for key in ("trivial", "champion") if row[key] is not None]
        told.append(f"{row['name']} {number(row['value'])}, {', '.join(others)}")
    return _svg(WIDTH, len(rows) * 56, f"Metrics: {'; '.join(told)}", drawn)


def _interval(to: Any, row: dict[str, Any], y: float) -> list[str]:
    out = []
    if row["low"] is not None and row["high"] is not None:
        out.append(_line(to(row["low"]), y, to(row["high"]), y, "interval"))
    return [*out, _shape(to(row["value"]), y, "value")] if row["value"] is not None else out


def _shape(x: float, y: float, kind: str) -> str:
    """Each kind has a form of its own, so that none is told by its colour alone."""
    if kind == "bad":
        return _element("path", d=f"M{x - 5:.1f} {y - 5:.1f}h10v10h-10z", class_=f"point {kind}")
    if kind == "champion":
        return _element("path", d=f"M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z", class_=f"point {kind}")
    if kind == "trivial":
        return _element("path", d=f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8", class_=f"point {kind}")
    return _element("circle", cx=x, cy=y, r=4.5, class_=f"point {kind}")


def legend(kind: str) -> str:
    """The shape of a kind, for the words beside a chart."""
    inside = _line(7, 1, 7, 13, "limit") if kind == "limit" else _shape(7, 7, kind)
    return _svg(14, 14, None, [inside])


def series(
    said: str,
    points: Sequence[dict[str, Any]],
    ends: tuple[str, str],
    *,
    limit: float | None = None,
    zero: bool = False,
) -> str:
    """Values over time or versions, with their intervals where they have some.

    Args:
        said: what it is of, in words.
        points: at (where across), value, low and high (None: not known), kind (ok, bad or open) and title, each.
        ends: what stands under the first and the last.
        limit: a line across.
        zero: does the axis begin at zero?
    """
    top, bottom, left, right = 12.0, 150.0, 58.0, WIDTH - 12.0
    values = [p.get(key) for p in points for key in ("value", "low", "high")]
    up = _scale([*values, limit, 0.0 if zero else None], bottom, top)
    across = _scale([p["at"] for p in points], left, right)
    known = [p for p in points if p["value"] is not None]
    drawn = [_line(left, bottom + 6, right, bottom + 6, "axis")]
    shown = [v for v in values if v is not None]
    for value in sorted({min(shown), max(shown)}) if shown else ():
        drawn += [
            _line(left, up(value), right, up(value), "grid"),
            _text(left - 6, up(value) + 4, f"{value:.3g}", class_="end"),
        ]
    if limit is not None:
        drawn.append(_line(left, up(limit), right, up(limit), "limit"))
    way = " ".join(f"{across(p['at']):.1f},{up(p['value']):.1f}" for p in known)
    drawn.append(_element("polyline", points=way, class_="way"))
    for p in points:
        x = across(p["at"])
        if p.get("low") is not None and p.get("high") is not None:
            drawn.append(_line(x, up(p["low"]), x, up(p["high"]), "interval"))
        y = up(p["value"]) if p["value"] is not None else bottom + 6
        drawn.append(_element("g", _element("title", escape(p["title"])), _shape(x, y, p["kind"])))
    drawn.append(_text(left, bottom + 24, ends[0]))
    if len(points) > 1:
        drawn.append(_text(right, bottom + 24, ends[1], class_="end"))
    return _svg(WIDTH, bottom + 30, said, drawn)


def spark(values: Sequence[float | None], limit: float | None = None) -> str:
    """A column's values as a line without axes; the numbers stand beside it."""
    to = _scale([*values, limit, 0.0], 22.0, 2.0)
    known = [(at, value) for at, value in enumerate(values) if value is not None]
    step = 88 / max(len(values) - 1, 1)
    drawn = [_line(0, to(limit), 92, to(limit), "limit")] if limit is not None else []
    if known:
        way = " ".join(f"{2 + at * step:.1f},{to(value):.1f}" for at, value in known)
        drawn += [_element("polyline", points=way, class_="way"), _dot(2 + known[-1][0] * step, to(known[-1][1]))]
    return _svg(92, 24, None, drawn)


def _dot(x: float, y: float) -> str:
    return _element("circle", cx=x, cy=y, r=2.5, class_="point value")


def beside(value: float | None, whole: float | None, among: Iterable[float | None]) -> str:
    """Where a slice's value is among the others', and the whole's as a line."""
    to = _scale([*among, whole], 4.0, 88.0)
    drawn = [_line(0, 10, 92, 10, "axis")]
    drawn += [_line(to(whole), 2, to(whole), 18, "limit")] if whole is not None else []
    return _svg(92, 20, None, [*drawn, *([_dot(to(value), 10)] if value is not None else [])])


def bar(value: float, most: float) -> str:
    """A value as a length; one below zero is of the other colour."""
    length = min(abs(value) / most, 1) * 92 if most else 0
    return _svg(
        92, 12, None, [_element("rect", x=0, y=2, width=length, height=8, rx=2, class_="less" if value < 0 else "more")]
    )
