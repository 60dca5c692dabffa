"""The words for a verdict: the same in the terminal, in an alert, and for two tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlops_glue.pages import number

Verdict = dict[str, Any]  # of a version or a table, as `DriftMonitor.verdict` gives it
Performance = dict[str, Any]  # of a version, as `performance.of_version` gives it
Record = dict[str, Any]  # of a run, as `latest.json` keeps it

ALERTING = ("performance", "drift")  # verdicts, the worst first
SHOWN = 12  # columns


def headline(name: str, verdict: Verdict) -> str:
    """What was compared, of how many rows, the verdict, and how much drifted."""
    share = "" if verdict["drift_share"] is None else f"; {share_of_drift(verdict)}"
    return f"{name}, {count_rows(verdict['rows'])}: {named(verdict['verdict'])}{share}"


def of_version(record: Record, version: Verdict) -> str:
    """The headline of a version."""
    former = " (retired)" if version["former"] else ""
    return headline(f"{record['model']} v{version['version']}{former}", version)


def named(verdict: str) -> str:
    """The word of a verdict."""
    return "performance dropped" if verdict == "performance" else verdict


def share_of_drift(verdict: Verdict) -> str:
    """How much drifted: of the columns' importance, or of the columns where each counts as much as another."""
    share, allowed = verdict["drift_share"] or 0.0, f"(alert above {verdict['threshold']:.0%})"
    if len({round(column["weight"], 9) for column in verdict["columns"].values()}) > 1:
        return f"columns carrying {share:.0%} of importance drifted {allowed}"
    return f"{share:.0%} of columns drifted {allowed}"


def too_few(record: Record) -> str:
    """That a window has too few rows for a verdict; those of versions that answer no more do not count."""
    least = f"a verdict needs {record['min_rows']:,} (monitor.min_rows)"
    counted = [version["rows"] for version in record["versions"] if not version["former"]]
    of_former = " of versions that still answer" if len(counted) < len(record["versions"]) else ""
    return f"not enough data: {count_rows(sum(counted))}{of_former} in the window, {least}"


def details(version: Verdict) -> list[str]:
    """Lines on what drifted of a version, and how it performs."""
    lines, record = [*drifted_columns(version), sampled(version)], version["performance"]
    if record is not None:
        lines += [performance(record), label_drift(record), label_delay(record)]
    return [line for line in lines if line]


def drifted_columns(verdict: Verdict) -> list[str]:
    """A line for each that drifted, the prediction first, then the weightiest."""
    drifted = {name: verdict["columns"][name] for name in verdict["drifted"]}
    prediction = verdict["prediction"]
    if prediction and prediction["drifted"]:
        of = verdict["predictions"]
        sample = f"  of a sample of {count_rows(of)}" if 0 < of < verdict["rows"] else ""
        drifted = {"prediction": prediction | {"note": sample}, **drifted}
    width = max(map(len, drifted), default=0)
    lines = [f"{name:<{width}}{_column(column)}" for name, column in list(drifted.items())[:SHOWN]]
    return [*lines, f"and {len(drifted) - SHOWN} more"] if len(drifted) > SHOWN else lines


def _column(column: dict[str, Any]) -> str:
    weight = f"  weight {column['weight']:.0%}" if "weight" in column else ""
    distance = "" if column["distance"] is None else f"  {column['method']} {column['distance']:.3f}"
    if column["why"] == "distribution":
        why = f", drift from {column['threshold']:.3f}"
    elif column["why"] == "nulls":
        why = f"  {column['null_share']:.0%} nulls, before {column['reference_null_share']:.0%}"
    else:
        why = f"  {column['why']}"
    return f"{weight}{distance}{why}{column.get('note', '')}"


def sampled(verdict: Verdict) -> str:
    """That distances are of some of the rows, where they are."""
    return f"distances are of a random sample of {count_rows(verdict['sampled'])}" if verdict.get("sampled") else ""


def performance(record: Performance | None) -> str:
    """Performance in a line; "" where nothing is known of it."""
    if record is None or record["value"] is None:
        return (record or {}).get("note") or ""
    value, low, high = (number(record[key]) for key in ("value", "low", "high"))
    line = f"{record['metric']} {value} ({low} to {high}), on the holdout {number(record['holdout']['value'])}"
    sample = f" on a sample of {record['sampled']:,} of {record['rows']:,} rows" if record.get("sampled") else ""
    if record["estimated"]:
        return f"{line}; estimated from the model's own probabilities{sample}, no label went into it"
    rows = f"by {record['labelled']:,} of {record['rows']:,} rows, those with a label"
    return f"{line}; {rows}{',' if sample else ''}{sample.removesuffix(' rows')}"


def unanswered(version: Verdict) -> str | None:
    """That a version had no answer to some rows: a request may hold a number that overflows the model."""
    if not version["unanswered"]:
        return None
    nulls = f"{version['unanswered']:,} of {version['predictions']:,} predictions are null"
    return f"v{version['version']}: {nulls}: the model has no answer to such rows; no performance counts them"


def label_drift(record: Performance | None) -> str:
    """That the labels drifted, in a line; "" where they did not, or none has come."""
    target = (record or {}).get("target")
    if not target or not target["drifted"]:
        return ""
    return f"the labels drifted: {target['method']} {target['distance']:.3f}, drift from {target['threshold']:.3f}"


def label_delay(record: Performance) -> str:
    """How long labels take; "" where that is not known."""
    if not record["lag_s"]:
        return ""
    median, ninetieth = (duration(seconds) for seconds in record["lag_s"])
    return f"labels come after {median}, nine of ten within {ninetieth}"


def incident(versions: Iterable[Verdict], record: Performance | None) -> list[str]:
    """The lines of an alert: what drifted and by how much, then performance."""
    lines = []
    for verdict in versions:
        if columns := drifted_columns(verdict):
            lines += [share_of_drift(verdict), *(f"  {line}" for line in columns)]
    return [*lines, *filter(None, (performance(record), label_drift(record)))]


def count_rows(number: int) -> str:
    """`1 row`, `12,480 rows`."""
    return f"{number:,} row{'s' * (number != 1)}"


def duration(seconds: float) -> str:
    """`3.0 days`, `5.0 hours`, `40 s`."""
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
