"""The stages of a pipeline as a graph: each stage, and the stages whose outputs it reads."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

WIDE, HIGH, GAP, ROW = 110, 30, 22, 42  # of a box, between columns, and from row to row
LONGEST = 16  # characters in a box


def graph(stages: Mapping[str, Mapping[str, Any]], wrong: Mapping[str, bool] | None = None) -> str:
    """Draw the stages as an SVG, with the tables on the left; "" if there are no stages.

    Args:
        stages: by name, in order, the paths that each stage reads (`deps`) and writes (`outs`).
        wrong: whether each stage's output is out of date; a stage that is not listed is drawn without a state.
    """
    maker = {out: name for name, stage in stages.items() for out in stage["outs"]}
    needs = {
        name: list(dict.fromkeys(maker.get(dep, dep) for dep in stage["deps"] if maker.get(dep) != name))
        for name, stage in stages.items()
    }
    tables = [dep for of in needs.values() for dep in of if dep.startswith("data/")]
    needs = {name: [dep for dep in needs.get(name, []) if dep in {*stages, *tables}] for name in [*tables, *stages]}
    depth: dict[str, int] = {}
    for name in needs:  # a stage is drawn to the right of the stages that it reads
        depth[name] = max((depth.get(dep, 0) + 1 for dep in needs[name]), default=0)
    if not stages:
        return ""
    place: dict[str, tuple[int, int]] = {}
    for name, column in depth.items():
        place[name] = column, sum(1 for other in place if depth[other] == column)
    columns, rows = max(depth.values()) + 1, max(row for _, row in place.values()) + 1
    drawn = [_line(place[dep], place[name]) for name in needs for dep in needs[name]]
    drawn += [_box(name, *place[name], None if name not in stages else (wrong or {}).get(name)) for name in needs]
    size = columns * (WIDE + GAP) - GAP + 2, rows * ROW - (ROW - HIGH) + 2
    text = escape("; ".join(f"{name} reads {', '.join(of)}" for name, of in needs.items() if of), quote=True)
    return (
        f'<svg role="img" aria-label="{text}" width="{size[0]}" height="{size[1]}" viewBox="-1 -1 {size[0]} {size[1]}">'
        f"{''.join(drawn)}</svg>"
    )


def _line(start: tuple[int, int], end: tuple[int, int]) -> str:
    (x0, y0), (x1, y1) = (
        (start[0] * (WIDE + GAP) + WIDE, start[1] * ROW + HIGH // 2),
        (end[0] * (WIDE + GAP), end[1] * ROW + HIGH // 2),
    )
    return f'<path d="M{x0} {y0}C{x0 + GAP // 2} {y0} {x1 - GAP // 2} {y1} {x1} {y1}"/>'


def _box(name: str, column: int, row: int, wrong: bool | None) -> str:
    x, y, kind = column * (WIDE + GAP), row * ROW, {None: "", True: ' class="wrong"', False: ' class="good"'}[wrong]
    text = name if len(name) <= LONGEST else f"…{name[1 - LONGEST :]}"
    return (
        f'<g{kind}><title>{escape(name)}</title><rect x="{x}" y="{y}" width="{WIDE}" height="{HIGH}" rx="6"/>'
        f'<text x="{x + WIDE // 2}" y="{y + HIGH // 2 + 4}" text-anchor="middle">{escape(text)}</text></g>'
    )
