"""Counters of a worker, added up over all workers when Prometheus asks.

Each worker keeps plain numbers and writes them, whole, to a file of its own four times a second; the worker that is
asked adds its own to the others' files. The request path only counts. This is not prometheus_client's multiprocess
mode, because that maps its files into memory: on a full disk the first new series would kill the worker (SIGBUS).
"""

from __future__ import annotations

import bisect
import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
EACH_S = 0.25
COUNTERS = "counters-"
HELP: dict[str, tuple[str, tuple[str, ...]]] = {
    "glue_requests_total": ("Requests by route and status", ("route", "status")),
    "glue_rows_total": ("Rows that were scored", ()),
    "glue_errors_total": ("Requests to /predict that were not answered, by kind", ("kind",)),
    "glue_unseen_values_total": ("Values that training did not have, by column", ("column",)),
    "glue_entities_not_found_total": ("Rows for which a view of the online store had nothing", ("view",)),
    "glue_model_swaps_total": ("Times that another model version was taken", ()),
    "glue_model_reload_failures_total": ("Times that another model version could not be taken", ()),
    "glue_canary_fallbacks_total": ("Requests that the canary could not take, so that the champion answered", ()),
    "glue_shadow_failures_total": ("Requests that the shadow could not score", ()),
    "glue_log_lost_total": ("Requests that could not be written to the prediction log", ()),
}


@dataclass(frozen=True)
class Gauge:
    """A value of the worker that is asked."""

    name: str
    help: str
    value: float
    labels: dict[str, str] = field(default_factory=dict)


class Snapshot(TypedDict):
    """What one process has counted."""

    values: list[tuple[list[str], float]]  # name and labels, number
    buckets: list[int]
    sum: float
    in_flight: int


class Counters:
    """What one process counts.

    Args:
        folder: of the files of all processes; None for a worker alone.
    """

    def __init__(self, folder: Path | None) -> None:
        self._values: dict[tuple[str, ...], float] = {}
        self._buckets = [0] * (len(BUCKETS_S) + 1)
        self._sum = 0.0
        self._file = folder / f"{COUNTERS}{os.getpid()}.json" if folder else None
        self._written = ""

    def add(self, name: str, *labels: str, by: float = 1) -> None:
        """Count."""
        key = (name, *labels)
        self._values[key] = self._values.get(key, 0) + by

    def answered(self, requests: Sequence[tuple[int, float, int]]) -> None:
        """Count requests to /predict: status, seconds and rows of each."""
        for status, n in Counter(status for status, _, _ in requests).items():
            self.add("glue_requests_total", "/predict", str(status), by=n)
        for _, seconds, _ in requests:
            self._buckets[bisect.bisect_left(BUCKETS_S, seconds)] += 1
        self._sum += sum(seconds for _, seconds, _ in requests)
        rows = sum(rows for _, _, rows in requests)
        if rows:
            self.add("glue_rows_total", by=rows)

    def _snapshot(self, in_flight: int) -> Snapshot:
        values = [([*key], value) for key, value in self._values.items()]
        return {"values": values, "buckets": self._buckets, "sum": self._sum, "in_flight": in_flight}

    def write(self, in_flight: int = 0) -> None:
        """Let the other workers know; a full disk costs them this worker's numbers, nothing else."""
        if self._file is None:
            return
        text = json.dumps(self._snapshot(in_flight))
        if text == self._written:
            return
        with contextlib.suppress(OSError):
            temporary = self._file.with_suffix(".tmp")
            temporary.write_text(text)
            temporary.replace(self._file)
            self._written = text

    def _snapshots(self, in_flight: int) -> Iterator[Snapshot]:
        yield self._snapshot(in_flight)
        if self._file is None:
            return
        for path in sorted(self._file.parent.glob(f"{COUNTERS}*.json")):
            if path != self._file:
                with contextlib.suppress(OSError, ValueError):
                    snapshot: Snapshot = json.loads(path.read_text())
                    if not _is_alive(int(path.stem.removeprefix(COUNTERS))):
                        snapshot["in_flight"] = 0
                    yield snapshot

    def render(self, gauges: Sequence[Gauge], in_flight: int) -> bytes:
        """Prometheus' text format.

        Args:
            gauges: of this worker.
            in_flight: requests that this worker is at.
        """
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
        from prometheus_client.registry import Collector

        families: list[Metric] = []
        snapshots = list(self._snapshots(in_flight))
        sums: dict[tuple[str, ...], float] = {}
        for snapshot in snapshots:
            for key, value in snapshot["values"]:
                sums[tuple(key)] = sums.get(tuple(key), 0) + value
        for name, (text, labels) in HELP.items():
            family = CounterMetricFamily(name, text, labels=labels)
            found = [(given[1:], value) for given, value in sums.items() if given[0] == name]
            for values, number in found or ([] if labels else [((), 0)]):
                family.add_metric(values, number)
            families.append(family)
        cumulated, count = [], 0
        columns = zip(*(snapshot["buckets"] for snapshot in snapshots), strict=True)
        for edge, counts in zip([*map(str, BUCKETS_S), "+Inf"], columns, strict=True):
            count += sum(counts)
            cumulated.append((edge, count))
        latency = HistogramMetricFamily("glue_latency_seconds", "From a request to /predict to its answer")
        latency.add_metric([], cumulated, sum(snapshot["sum"] for snapshot in snapshots))
        busy = sum(snapshot["in_flight"] for snapshot in snapshots)
        for gauge in (*gauges, Gauge("glue_in_flight", "Requests that the workers are at", busy)):
            gauge_family = GaugeMetricFamily(gauge.name, gauge.help, labels=list(gauge.labels))
            gauge_family.add_metric(list(gauge.labels.values()), gauge.value)
            families.append(gauge_family)

        class Rendered(Collector):
            def collect(self) -> list[Metric]:
                return [latency, *families]

        registry = CollectorRegistry()
        registry.register(Rendered())
        return generate_latest(registry)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
