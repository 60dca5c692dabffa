"""A worker's counters, summed over all workers when Prometheus scrapes one of them.

Each worker counts in memory and writes its numbers to its own file four times a second. The worker that is scraped adds
the other files to its own numbers. prometheus_client's multiprocess mode is not used: it maps its files into memory,
and on a full disk the first new series would kill the worker (SIGBUS).
"""

from __future__ import annotations

import bisect
import contextlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
EDGES = (*map(str, BUCKETS_S), "+Inf")
EACH_S = 0.25
FILES = "counters-"
LATENCY, IN_FLIGHT = "glue_latency_seconds", "glue_in_flight"
HELP: dict[str, tuple[str, tuple[str, ...]]] = {
    "glue_requests_total": ("Requests by route and status", ("route", "status")),
    "glue_rows_total": ("Rows scored", ()),
    "glue_errors_total": ("Requests to /predict that failed, by kind", ("kind",)),
    "glue_unseen_values_total": ("Values that the training data did not contain, by column", ("column",)),
    "glue_entities_not_found_total": ("Rows for which a view of the online store had no value", ("view",)),
    "glue_model_swaps_total": ("Switches to another model version", ()),
    "glue_model_reload_failures_total": ("Failed switches to another model version", ()),
    "glue_canary_fallbacks_total": ("Requests that the canary could not read, so that the champion answered", ()),
    "glue_shadow_failures_total": ("Requests that the shadow could not score", ()),
    "glue_log_lost_total": ("Requests that could not be written to the prediction log", ()),
}

Series = tuple[str, ...]  # the name, then the values of its labels
Gauge = tuple[str, str, dict[str, str], float]  # name, help, labels, value


class Counters:
    """The counters of one process."""

    def __init__(self, folder: Path) -> None:
        self._series = Counter[Series]()
        self._file = folder / f"{FILES}{os.getpid()}.json"
        self._written = ""

    def add(self, name: str, *labels: str, by: float = 1) -> None:
        """Add to a counter."""
        self._series[(name, *labels)] += by  # type: ignore[assignment]  # seconds are fractions

    def answered(self, requests: Sequence[tuple[int, float, int]]) -> None:
        """Count requests to /predict, each given as status, seconds and number of rows."""
        for status, n in Counter(status for status, _, _ in requests).items():
            self.add("glue_requests_total", "/predict", str(status), by=n)
        for edge, n in Counter(bisect.bisect_left(BUCKETS_S, seconds) for _, seconds, _ in requests).items():
            self.add(LATENCY, EDGES[edge], by=n)
        self.add(LATENCY, "sum", by=sum(seconds for _, seconds, _ in requests))
        self.add("glue_rows_total", by=sum(rows for _, _, rows in requests))

    def write(self, in_flight: int = 0) -> None:
        """Write the counters for the other workers; on a full disk they see old numbers, with no other harm."""
        text = json.dumps([*self._series.items(), ((IN_FLIGHT,), in_flight)])
        if text != self._written:
            with contextlib.suppress(OSError):
                temporary = self._file.with_suffix(".tmp")
                temporary.write_text(text)
                temporary.replace(self._file)
                self._written = text

    def _of_all(self, in_flight: int) -> Counter[Series]:
        """Return the sums over all processes."""
        sums = self._series + Counter({(IN_FLIGHT,): in_flight})
        for path in self._file.parent.glob(f"{FILES}*.json"):
            if path == self._file:
                continue
            with contextlib.suppress(OSError, ValueError):
                series = Counter({tuple(key): value for key, value in json.loads(path.read_text())})
                if not _is_alive(int(path.stem.removeprefix(FILES))):
                    del series[(IN_FLIGHT,)]
                sums += series
        return sums

    def render(self, gauges: Sequence[Gauge], in_flight: int) -> bytes:
        """Return the metrics in Prometheus' text format."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
        from prometheus_client.registry import Collector

        sums, count = self._of_all(in_flight), 0.0
        families: list[Metric] = []
        busy: Gauge = (IN_FLIGHT, "Requests in progress", {}, sums[(IN_FLIGHT,)])
        for name, text, labels_of_gauge, value in (*gauges, busy):
            gauge = GaugeMetricFamily(name, text, labels=list(labels_of_gauge))
            gauge.add_metric(list(labels_of_gauge.values()), value)
            families.append(gauge)
        for name, (text, labels) in HELP.items():
            family = CounterMetricFamily(name, text, labels=labels)
            series = [key for key in sums if key[0] == name] if labels else [(name,)]
            for key in series:
                family.add_metric(key[1:], sums[key])
            families.append(family)
        buckets = [(edge, count := count + sums[(LATENCY, edge)]) for edge in EDGES]
        latency = HistogramMetricFamily(LATENCY, "Time from a request to /predict to its answer")
        latency.add_metric([], buckets, sums[(LATENCY, "sum")])

        class Families(Collector):
            def collect(self) -> list[Metric]:
                return [latency, *families]

        registry = CollectorRegistry()
        registry.register(Families())
        return generate_latest(registry)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
