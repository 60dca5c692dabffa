"""The tables of `glue compare`, for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from mlops_glue import pages
from mlops_glue.delivery import describe
from mlops_glue.delivery.compare import Measured
from mlops_glue.delivery.side_by_side import CommonRows, SideBySide
from mlops_glue.delivery.sides import Recorded, Side
from mlops_glue.pages import number
from mlops_glue.pipeline.evaluation import trained_on
from mlops_glue.report.table import Table

LONGEST = 40  # characters of a parameter in a table
MOST_LINES = 20  # of `git diff --stat`
SHORT = 12  # characters of a hash
FEATURES = "features"  # the parameter that lists a model's columns
ABSENT = "–"


def record(found: SideBySide) -> dict[str, Any]:
    """Return the complete comparison for `--json`, without the models' code and the plot."""
    out = asdict(found)
    del out["plot"]
    for side in out["sides"]:
        del side["code"], side["evaluation"]
    out["held"], out["beside"] = out.pop("common"), out.pop("comparisons")
    for comparison in out["beside"]:
        for measured in comparison["metrics"]:
            measured["value"], measured["base"] = measured.pop("candidate"), measured.pop("champion")
    return out


def headlines(found: SideBySide) -> list[str]:
    """Return a sentence for each model compared with the base, on the promotion metric."""
    base = found.sides[0].name
    return [f"{one.name}: {describe.shown(one.metrics[0], base)}" for one in found.comparisons if one.metrics]


def all_tables(found: SideBySide) -> Iterator[Table]:
    """Yield each table that has content."""
    names = [side.name for side in found.sides]
    yield Table(f"{found.model}: models compared", ["item", *names], _identity(found.sides), [])
    if found.comparisons and found.common is not None:
        yield _measured(found)
    if (recorded := _recorded(found)) is not None:
        yield recorded
    params = [[name, *_values(name, values)] for name, values in found.params.items()]
    if params:
        yield Table("Parameters that differ", ["parameter", *names], params, [])
    elif sum(bool(side.params) for side in found.sides) > 1:
        yield Table("Parameters", [], [], ["All parameters are the same."])
    if data := _data(found.sides):
        yield Table("Data", ["table", *names], data, [])
    if found.sizes:
        yield _sizes(found)


def _identity(sides: list[Side]) -> list[list[str]]:
    """Return each model's identity, and the argument that named it. Lines without content are omitted."""
    lines = {
        "given as": [", ".join(_words(side)) for side in sides],
        "alias": [", ".join(side.aliases) for side in sides],
        "registered": [side.created[:16].replace("T", " ") if side.created else "" for side in sides],
        "run": [(side.run or "")[:SHORT] for side in sides],
        "commit": [_commit(side) for side in sides],
        "trained on": [trained_on(side.evaluation) if side.evaluation else "" for side in sides],
        "model": [side.evaluation["model"] if side.evaluation else "" for side in sides],
    }
    return [[name, *(cell or ABSENT for cell in cells)] for name, cells in lines.items() if any(cells)]


def _words(side: Side) -> list[str]:
    """Return the arguments that are not simply the model's name, version or run."""
    return [word for word in side.given if word not in (side.name, str(side.version), side.run)]


def _commit(side: Side) -> str:
    if side.commit is None:
        return ""
    return f"{side.commit[:SHORT]}{' + changes' if side.dirty else ''}"


def _measured(found: SideBySide) -> Table:
    """Return each metric of each model and of the base, with the interval of the gain."""
    base, common = found.sides[0].name, found.common
    assert common is not None
    rows = [
        [one["metric"], comparison.name, number(one["champion"]), number(one["candidate"]), *_gain(one)]
        for comparison in found.comparisons
        for one in comparison.metrics
    ]
    level = found.comparisons[0].metrics[0]["confidence"] if found.comparisons[0].metrics else 0.9
    head = ["metric", "model", f"base {base}", "value", "gain", f"{level:.0%} interval", "finding"]
    note = (
        "A positive gain is an improvement, also for metrics where lower is better. "
        "The intervals are not corrected for the number of metrics."
    )
    return Table(
        f"Metrics on the same {common.rows:,} rows of the current holdout", head, rows, [*_left_out(common), note]
    )


def _gain(one: Measured) -> list[str]:
    return [number(one["gain"], "+"), f"{number(one['low'], '+')} to {number(one['high'], '+')}", one["finding"]]


def _left_out(common: CommonRows) -> Iterator[str]:
    if common.trained_on:
        yield f"{common.trained_on:,} holdout rows are excluded: one of the models was trained on them."
    if common.unknown:
        names = ", ".join(common.unknown)
        yield f"The training rows of {names} are unknown: some of the rows compared here may be among them."


def _recorded(found: SideBySide) -> Table | None:
    """Return the metrics recorded at training; None if all models were compared on the same rows."""
    compared = {found.sides[0].name, *(one.name for one in found.comparisons)} if found.comparisons else set()
    if all(side.name in compared for side in found.sides):
        return None
    names = dict.fromkeys(name for side in found.sides for name in side.metrics)
    rows = [[name, *(_score(side.metrics.get(name)) for side in found.sides)] for name in names]
    head = ["metric", *_names(found)]
    if len(found.sides) == 2:
        head.append("difference")
        for row in rows:
            row.append(_difference(*(side.metrics.get(row[0]) for side in found.sides)))
    hashes = {side.holdout.get("md5") for side in found.sides}
    same = len(hashes) == 1 and None not in hashes
    which = (
        "All were measured on the same holdout."
        if same
        else "They may be measured on different rows, which can explain a difference."
    )
    notes = [*(f"{problem[0].upper()}{problem[1:]}." for problem in found.problems), which]
    if any(score["low"] is not None for side in found.sides for score in side.metrics.values()):
        notes.append("Brackets show the 95 % interval.")
    return Table("Metrics recorded at training", head, rows, notes)


def _difference(base: Recorded | None, other: Recorded | None) -> str:
    """Return the other value minus the base's. Without the rows, its uncertainty is unknown."""
    if base is None or other is None or base["value"] is None or other["value"] is None:
        return ABSENT
    return number(other["value"] - base["value"], "+")


def _names(found: SideBySide) -> list[str]:
    return [side.name for side in found.sides]


def _score(score: Recorded | None) -> str:
    if score is None:
        return ABSENT
    ends = f" ({number(score['low'])} to {number(score['high'])})" if score["low"] is not None else ""
    return f"{number(score['value'])}{ends}"


def _values(name: str, values: list[str | None]) -> list[str]:
    """Return a parameter's value for each model; for the list of columns, the differences from the base."""
    if name != FEATURES or values[0] is None:
        return [_short(value) for value in values]
    base = values[0].split(", ")
    cells = [f"{len(base)} columns"]
    for value in values[1:]:
        own = value.split(", ") if value is not None else []
        changed = [f"+{name}" for name in own if name not in base] + [f"-{name}" for name in base if name not in own]
        cells.append(ABSENT if value is None else _short(f"{len(own)}: {' '.join(changed) or 'the same'}"))
    return cells


def _short(value: str | None) -> str:
    if value is None:
        return ABSENT
    line = " ".join(value.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _data(sides: list[Side]) -> list[list[str]]:
    """Return rows and hash of each table, and of the holdout used at training."""
    every = [{**side.data, "(holdout)": side.holdout} for side in sides]
    names = dict.fromkeys(name for tables in every for name in tables)
    rows = [[name, *(_table(tables.get(name)) for tables in every)] for name in names]
    return [row for row in rows if set(row[1:]) != {ABSENT}]


def _table(table: dict[str, Any] | None) -> str:
    if not table or not table.get("md5"):
        return ABSENT
    rows = f"{table['rows']:,} rows, " if table["rows"] is not None else ""
    return f"{rows}md5 {table['md5'][:SHORT]}"


def _sizes(found: SideBySide) -> Table:
    sizes = [found.sizes.get(name) for name in _names(found)]
    lines = {
        "format": [size.form if size else ABSENT for size in sizes],
        "model": [_bytes(size.model_bytes) if size else ABSENT for size in sizes],
        "bundle": [_bytes(size.bundle_bytes) if size else ABSENT for size in sizes],
        "one row": [f"{size.latency_ms:.3g} ms" if size and size.latency_ms is not None else ABSENT for size in sizes],
    }
    note = "One row: the packaged model's median prediction time for one row on this machine, without request overhead."
    return Table(
        "Size and latency", ["item", *_names(found)], [[name, *cells] for name, cells in lines.items()], [note]
    )


def _bytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"


def code(found: SideBySide) -> Iterator[tuple[str, list[str]]]:
    """Yield the code changes from the base to each model: a sentence, and the lines of `git diff --stat`."""
    for one in found.code:
        if one.problem is not None and not one.stat:
            yield f"Code of {one.name} compared with {one.base}: {one.problem}.", []
        elif not one.stat:
            yield f"Code of {one.name}: the same as the code of {one.base}.", []
        else:
            more = len(one.stat) - MOST_LINES
            cut = [*one.stat[: MOST_LINES - 1], f" … and {more} more", one.stat[-1]] if more > 0 else one.stat
            how = "as it ran" if one.problem is None else one.problem
            yield f"Code changes from {one.base} to {one.name} ({how}):", cut


def page(found: SideBySide, frame: pages.Frame) -> str:
    """Render the comparison as a page."""
    names = _names(found)
    of = ", ".join([names[0], *(one.name for one in found.comparisons)])
    alt = f"One curve for each of {of}, on the same rows; the tables contain the numbers"
    values = {
        "headlines": headlines(found),
        "problems": found.problems if found.comparisons else [],
        "tables": list(all_tables(found)),
        "code": list(code(found)),
        "drawn": [pages.plot("models", found.plot[found.plot.index("<svg") :], alt)] if found.plot else [],
        "common": found.common,
    }
    return pages.render("compare.html", frame, f"{', '.join(names)}; {names[0]} is the base", values)
