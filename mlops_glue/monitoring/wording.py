"""The wording of a verdict, shared by the terminal, alerts and the comparison of two tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlops_glue.pages import number

Verdict = dict[str, Any]  # of a version or a table, from `DriftMonitor.verdict`
Performance = dict[str, Any]  # of a version, from `performance.of_version`
Record = dict[str, Any]  # of a run, as stored in `latest.json`

ALERTING = ("performance", "drift")  # verdicts, worst first
SHOWN = 12  # columns


def headline(name: str, verdict: Verdict) -> str:
    """Return a line with the name, the number of rows, the verdict, and the share that drifted."""
    share = "" if verdict["drift_share"] is None else f"; {share_of_drift(verdict)}"
    return f"{name}, {count_rows(verdict['rows'])}: {named(verdict['verdict'])}{share}"


def of_version(record: Record, version: Verdict) -> str:
    """Return the headline of a version."""
    former = " (retired)" if version["former"] else ""
    return headline(f"{record['model']} v{version['version']}{former}", version)


def named(verdict: str) -> str:
    """Return a verdict in words."""
    return "performance dropped" if verdict == "performance" else verdict


def share_of_drift(verdict: Verdict) -> str:
    """Return the share that drifted: of the columns' importance, or of the columns if all have the same weight."""
    share, allowed = verdict["drift_share"] or 0.0, f"(alert above {verdict['threshold']:.0%})"
    if len({round(column["weight"], 9) for column in verdict["columns"].values()}) > 1:
        return f"columns carrying {share:.0%} of importance drifted {allowed}"
    return f"{share:.0%} of columns drifted {allowed}"


def too_few(record: Record) -> str:
    """Report that a window has too few rows for a verdict. Rows of retired versions do not count."""
    least = f"a verdict needs {record['min_rows']:,} (monitor.min_rows)"
    counted = [version["rows"] for version in record["versions"] if not version["former"]]
    of_former = " of active versions" if len(counted) < len(record["versions"]) else ""
    return f"not enough data: {count_rows(sum(counted))}{of_former} in the window, {least}"


def details(version: Verdict) -> list[str]:
    """Return lines on a version's drift and performance."""
    lines, record = [*drifted_columns(version), sampled(version)], version["performance"]
    if record is not None:
        lines += [performance(record), label_drift(record), label_delay(record)]
    return [line for line in lines if line]


def drifted_columns(verdict: Verdict) -> list[str]:
    """Return a line for each drifted column, the prediction first, then by weight."""
    drifted = {name: verdict["columns"][name] for name in verdict["drifted"]}
    prediction = verdict["prediction"]
    if prediction and prediction["drifted"]:
        of = verdict["predictions"]
        sample = f"  on a sample of {count_rows(of)}" if 0 < of < verdict["rows"] else ""
        drifted = {"prediction": prediction | {"note": sample}, **drifted}
    width = max(map(len, drifted), default=0)
    lines = [f"{name:<{width}}{_column(column)}" for name, column in list(drifted.items())[:SHOWN]]
    return [*lines, f"and {len(drifted) - SHOWN} more"] if len(drifted) > SHOWN else lines


def _column(column: dict[str, Any]) -> str:
    weight = f"  weight {column['weight']:.0%}" if "weight" in column else ""
    distance = "" if column["distance"] is None else f"  {column['method']} {column['distance']:.3f}"
    if column["why"] == "distribution":
        why = f", threshold {column['threshold']:.3f}"
    elif column["why"] == "nulls":
        why = f"  {column['null_share']:.0%} nulls, reference {column['reference_null_share']:.0%}"
    else:
        why = f"  {column['why']}"
    return f"{weight}{distance}{why}{column.get('note', '')}"


def sampled(verdict: Verdict) -> str:
    """Report the sample size if distances were measured on a sample."""
    return (
        f"distances were measured on a random sample of {count_rows(verdict['sampled'])}"
        if verdict.get("sampled")
        else ""
    )


def performance(record: Performance | None) -> str:
    """Return the performance in a line; "" if it is unknown."""
    if record is None or record["value"] is None:
        return (record or {}).get("note") or ""
    value, low, high = (number(record[key]) for key in ("value", "low", "high"))
    line = f"{record['metric']} {value} ({low} to {high}), on the holdout {number(record['holdout']['value'])}"
    sample = f" on a sample of {record['sampled']:,} of {record['rows']:,} rows" if record.get("sampled") else ""
    if record["estimated"]:
        return f"{line}; estimated from the model's own probabilities{sample}, without labels"
    rows = f"from {record['labelled']:,} of {record['rows']:,} rows, which have a label"
    return f"{line}; {rows}{',' if sample else ''}{sample.removesuffix(' rows')}"


def unanswered(version: Verdict) -> str | None:
    """Report null predictions. A request may contain a number that overflows the model."""
    if not version["unanswered"]:
        return None
    nulls = f"{version['unanswered']:,} of {version['predictions']:,} predictions are null"
    return f"v{version['version']}: {nulls}: the model could not score these rows; performance excludes them"


def label_drift(record: Performance | None) -> str:
    """Report label drift in a line; "" if there is none, or no labels have arrived."""
    target = (record or {}).get("target")
    if not target or not target["drifted"]:
        return ""
    return f"the labels drifted: {target['method']} {target['distance']:.3f}, threshold {target['threshold']:.3f}"


def label_delay(record: Performance) -> str:
    """Report the delay of labels; "" if it is unknown."""
    if not record["lag_s"]:
        return ""
    median, ninetieth = (duration(seconds) for seconds in record["lag_s"])
    return f"labels arrive after {median} (median), 90 % within {ninetieth}"


def incident(versions: Iterable[Verdict], record: Performance | None) -> list[str]:
    """Return the lines of an alert: the drifted columns with their distances, then the performance."""
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
