"""Counters of a worker, added up over all workers when Prometheus asks.

Each worker keeps plain numbers and writes them, whole, to a file of its own four times a second; whoever is asked adds
its own to the others' files. The request path only counts.
"""

from __future__ import annotations

import bisect
import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
EACH_S = 0.25
COUNTERS = "counters-"
HELP = {
    "glue_requests_total": ("Requests by route and status", ("route", "status")),
    "glue_rows_total": ("Rows that were scored", ()),
    "glue_errors_total": ("Requests to /predict that were not answered, by kind", ("kind",)),
    "glue_values_outside_total": ("Values that training did not have, by column", ("column",)),
    "glue_entities_not_found_total": ("Rows for which a view of the online store had nothing", ("view",)),
    "glue_model_swaps_total": ("Times that another model version was taken", ()),
    "glue_model_reload_failures_total": ("Times that another model version could not be taken", ()),
    "glue_canary_fallbacks_total": ("Requests that the canary could not take, so that the champion answered", ()),
    "glue_shadow_failures_total": ("Requests that the shadow could not score", ()),
    "glue_log_lost_total": ("Requests that could not be written to the prediction log", ()),
}


class Counters:
    """What one worker has counted.

    Args:
        folder: of the workers' files; None for a worker alone.
    """

    def __init__(self, folder: Path | None) -> None:
        self.values: dict[tuple[str, ...], float] = {}
        self._buckets = [0] * (len(BUCKETS_S) + 1)
        self._sum = 0.0
        self._file = folder / f"{COUNTERS}{os.getpid()}.json" if folder else None
        self._written: Any = None

    def add(self, name: str, *labels: str, by: float = 1) -> None:
        """Count."""
        key = (name, *labels)
        self.values[key] = self.values.get(key, 0) + by

    def answered(self, requests: list[tuple[int, float, int]]) -> None:
        """Requests to /predict: status, seconds, rows of each."""
        for status, n in Counter(status for status, _, _ in requests).items():
            self.add("glue_requests_total", "/predict", str(status), by=n)
        for _, seconds, _ in requests:
            self._buckets[bisect.bisect_left(BUCKETS_S, seconds)] += 1
        self._sum += sum(seconds for _, seconds, _ in requests)
        rows = sum(rows for _, _, rows in requests)
        if rows:
            self.add("glue_rows_total", by=rows)

    def _snapshot(self) -> dict[str, Any]:
        values = [[*key, value] for key, value in self.values.items()]
        return {"values": values, "buckets": self._buckets, "sum": self._sum}

    def write(self) -> None:
        """Let the other workers know; a full disk costs them this worker's numbers, nothing else."""
        if self._file is None:
            return
        text = json.dumps(self._snapshot())
        if text == self._written:
            return
        with contextlib.suppress(OSError):
            temporary = self._file.with_suffix(".tmp")
            temporary.write_text(text)
            temporary.replace(self._file)
            self._written = text

    def _everyone(self) -> Iterator[dict[str, Any]]:
        yield self._snapshot()
        if self._file is None:
            return
        for path in sorted(self._file.parent.glob(f"{COUNTERS}*.json")):
            if path != self._file:
                with contextlib.suppress(OSError, ValueError):
                    yield json.loads(path.read_text())

    def render(self, gauges: dict[str, tuple[str, dict[str, str], float]]) -> bytes:
        """Prometheus' text format.

        Args:
            gauges: name: help, labels, value; of this worker.
        """
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        sums: dict[tuple[str, ...], float] = {}
        buckets, total = [0] * (len(BUCKETS_S) + 1), 0.0
        for one in self._everyone():
            for *key, value in one["values"]:
                sums[tuple(key)] = sums.get(tuple(key), 0) + value
            buckets = [a + b for a, b in zip(buckets, one["buckets"], strict=True)]
            total += one["sum"]
        made: list[Any] = []
        for name, (text, labels) in HELP.items():
            family = CounterMetricFamily(name, text, labels=labels)
            for key, value in sums.items():
                if key[0] == name:
                    family.add_metric(key[1:], value)
            if not labels and not family.samples:
                family.add_metric([], 0)
            made.append(family)
        counts, running = [], 0
        for edge, count in zip([*map(str, BUCKETS_S), "+Inf"], buckets, strict=True):
            running += count
            counts.append((edge, running))
        latency = HistogramMetricFamily("glue_latency_seconds", "From a request to /predict to its answer")
        latency.add_metric([], counts, total)
        made.append(latency)
        for name, (text, named, value) in gauges.items():
            gauge = GaugeMetricFamily(name, text, labels=list(named))
            gauge.add_metric(list(named.values()), value)
            made.append(gauge)

        class Made:
            def collect(self) -> list[Any]:
                return made

        registry = CollectorRegistry()
        registry.register(Made())  # type: ignore[arg-type]
        return generate_latest(registry)
