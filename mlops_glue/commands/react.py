"""What `glue monitor` does beside looking for drift: performance by labels, alerts, retraining."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue import console, files, layout
from mlops_glue.errors import ConfigError, GlueError, UsageError
from mlops_glue.monitoring import alerts, labels
from mlops_glue.monitoring.drift import Version
from mlops_glue.monitoring.performance import ESTIMATED_ROWS, performance
from mlops_glue.monitoring.sample import RowSample
from mlops_glue.monitoring.target import target_drift
from mlops_glue.monitoring.window import Window
from mlops_glue.parsing import as_text

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_glue.adapters.mlflow import Store

SHOWN = 8  # columns in a message
WORST = ("performance", "drift", "ok")
BAD = ("performance", "drift")


class Performances:
    """How each version of a window does, by labels where there are some.

    Attributes:
        tables: rows of the log with their truth, of all versions so far.
        problem: why the labels could not be read.
    """

    def __init__(self, config: configs.Config, root: Path, window: Window) -> None:
        self._config, self._window = config, window
        self.tables: list[pa.Table] = []
        self.problem: Exception | None = None
        self._labels: labels.Labels | None = None
        if config.monitor.labels is not None:
            try:
                self._labels = labels.read(config.monitor.labels, config.data.labels.target, root)
            except ConfigError as error:
                self.problem = configs.located(root, error)
            except GlueError as error:
                self.problem = error

    def of(self, version: Version, rows: int, names: list[str]) -> dict[str, Any] | None:
        """Of a version, whose so many rows are in these files of the log; None where nothing can be said of it."""
        if adopted(version):
            return None
        said = ["prediction", *(f"probability_{label}" for label in version.schema.labels or [])]
        monitor, joined, sampled = self._config.monitor, labels.Joined(None, rows), RowSample(ESTIMATED_ROWS)
        try:
            if self._labels is not None:
                joined = labels.join(self._labels, self._window.pieces(names, self._columns(said)))
            if joined.table is not None:
                joined = joined.in_words_of(version.schema)
                self.tables.append(joined.table)
            few = joined.labelled < monitor.performance.min_labelled and version.schema.labels is not None
            for piece in self._window.pieces(names, [*said, "glue_time"]) if few else ():
                sampled.add(piece)
            metric, from_these = self._config.promote.metric, sampled.table() if few and rows else None
            of = performance(version.schema, version.folder, monitor.performance, metric, joined, from_these)
            if of["estimated"] and from_these is not None and from_these.num_rows < rows:
                of["sampled"] = from_these.num_rows
            return of | {"target": target_drift(version.schema, version.folder, monitor.drift, joined)}
        except Exception as error:  # that the inputs drift is told whatever is wrong with the labels
            self.problem = self.problem or error
            return None

    def _columns(self, said: list[str]) -> list[str] | None:
        """Those of the log that are needed; None: all, which a retraining learns from."""
        monitor = self._config.monitor
        if monitor.on_alert and monitor.retrain.data == "append":
            return None
        assert self._labels is not None
        return [*said, "glue_request_id", "glue_row", "glue_time", self._labels.log_column]


def adopted(version: Version) -> bool:
    """Was it trained elsewhere, and so has no holdout that its performance could be held against?"""
    return bool(files.read_json(version.folder / "parity.json").get("adopted"))


def of_table(config: configs.Config, version: Version, rows: pa.Table, total: int) -> dict[str, Any] | None:
    """How a version does on scored rows of a table that has the truth itself, or what is to be expected.

    Args:
        config: of the project.
        version: what scored them.
        rows: all rows of the table, or a sample.
        total: how many the table has.
    """
    if "prediction" not in rows.column_names or adopted(version):
        return None
    joined, target = labels.Joined(None, total), version.schema.target
    if target in rows.column_names:
        known = rows.append_column(labels.TRUTH, as_text(rows.column(target)))
        joined = labels.Joined(known.filter(known.column(labels.TRUTH).is_valid()), total)
    options, metric = config.monitor.performance, config.promote.metric
    of = performance(version.schema, version.folder, options, metric, joined, rows)
    of["sampled"] = rows.num_rows if rows.num_rows < total else None
    return of | {"target": target_drift(version.schema, version.folder, config.monitor.drift, joined)}


def labels_drift(of: dict[str, Any] | None) -> str | None:
    """That the labels drifted, in a line; None where they did not, or none has come."""
    found = (of or {}).get("target")
    if not found or not found["drifted"]:
        return None
    return f"the labels drifted: {found['method']} {found['distance']:.3f}, drift from {found['threshold']:.3f}"


def judged(told: dict[str, Any], counts: set[int], *, target: bool) -> None:
    """Put performance, and where asked (`target`) drift of the labels, into the verdict of a window.

    It is the worst of the versions that still answer.
    """
    for one in told["versions"]:
        of = one.get("performance")
        if of is not None and of["verdict"] == "performance":
            one["verdict"] = "performance"
        elif target and one["verdict"] == "ok" and labels_drift(of):
            one["verdict"] = "drift"
        one["former"] = one["version"] not in counts
    now = [one for one in told["versions"] if not one["former"]]
    said = {one["verdict"] for one in now}
    told["verdict"] = next((verdict for verdict in WORST if verdict in said), "not enough data")
    told["performance"] = next((one["performance"] for one in now if one.get("performance")), None)


def alert(config: configs.Config, root: Path, store: Store, told: dict[str, Any], now: datetime) -> None:
    """Tell who is to be told; what came of it is in `told` afterwards.

    What was told is kept in the registry too: the machine of a job ends with it, and the next one is to know.
    """
    if not (config.monitor.alerts.channels or config.monitor.alerts.webhooks):
        return
    model = config.model_name
    shared = alerts.Shared(
        lambda: store.get_model_tag(model, alerts.TAG), lambda state: store.set_model_tag(model, alerts.TAG, state)
    )
    sent = alerts.tell(root, config.monitor.alerts, summary(told, root), now=now, shared=shared)
    told["alert"] = {"event": sent.event, "since": sent.since, "sent": sent.sent, "problems": sent.problems}
    for line in (*(f"not told: {problem}" for problem in sent.problems), *sent.notes):
        console.progress(f"warning: {line}")


def train_again(
    config: configs.Config, root: Path, store: Store, told: dict[str, Any], tables: list[pa.Table], now: datetime
) -> None:
    """Train again where that is asked for; what came of it is in `told` afterwards."""
    if "retrain" in config.monitor.on_alert and told["verdict"] in BAD:
        from mlops_glue.commands.retrain import retrain

        told["retrain"] = retrain(config, root, store, told["env"], tables, now)


def summary(told: dict[str, Any], root: Path) -> dict[str, Any]:
    """What the monitor found as `alerts.tell` takes it: what, by how much, where to look."""
    now = [one for one in told["versions"] if not one["former"]]
    columns = [
        {"column": name, **{key: one["columns"][name][key] for key in ("distance", "threshold", "why")}}
        for one in now
        for name in one["drifted"]
    ]
    share = max((one["drift_share"] for one in now if one["drift_share"] is not None), default=0.0)
    of = told["performance"]
    lost = 0.0
    if of is not None and of["verdict"] == "performance":
        lost = max((of["worse"] or 0.0) / (of["drop"] or 1.0) / 10, alerts.WORSE)  # of the allowed drop
    env = f" --env {told['env']}" if told["env"] else ""
    return {
        "model": told["model"],
        "env": told["env"],
        "verdict": told["verdict"],
        "severity": max(share, lost, alerts.WORSE if told["verdict"] in BAD else 0.0),
        "time": told["time"].isoformat(timespec="seconds"),
        "window": [one and one.isoformat(timespec="seconds") for one in (told["since"], told["until"])],
        "rows": told["rows"],
        "drift_share": share,
        "columns": columns[:SHOWN],
        "performance": of,
        "report": str(root / (told.get("page") or layout.LATEST)),
        "look": f"glue monitor{env}",
        "lines": list(lines(told, columns, share)),
    }


def drifted_share(version: dict[str, Any], share: float) -> str:
    """How much drifted: of the columns' importance, or of the columns where each counts as much as another."""
    weights = {round(column["weight"], 9) for column in version.get("columns", {}).values() if "weight" in column}
    if len(weights) > 1:
        return f"columns carrying {share:.0%} of importance drifted"
    return f"{share:.0%} of columns drifted"


def lines(told: dict[str, Any], columns: list[dict[str, Any]], share: float) -> list[str]:
    """What drifted and by how much, for people."""
    out = []
    if columns:
        out.append(f"{drifted_share(told['versions'][0], share)} (alert above {told['versions'][0]['threshold']:.0%})")
    for one in columns[:SHOWN]:
        if one["distance"] is None:
            out.append(f"  {one['column']}: {one['why']}")
        else:
            out.append(f"  {one['column']}: {one['why']}, {one['distance']:.2f} (drift from {one['threshold']:.2f})")
    if len(columns) > SHOWN:
        out.append(f"  and {len(columns) - SHOWN} more")
    of = told["performance"]
    return [*out, *filter(None, (performs(of), labels_drift(of)))]


def performs(of: dict[str, Any] | None) -> str | None:
    """Performance in a line."""
    if of is None or of["value"] is None:
        return (of or {}).get("note")
    before, wide = of["holdout"], f"{of['low']:.4f} to {of['high']:.4f}"
    said = f"{of['metric']} {of['value']:.4f} ({wide}), on the holdout {before['value']:.4f}"
    sample = f" on a sample of {of['sampled']:,} of {of['rows']:,} rows" if of.get("sampled") else ""
    if of["estimated"]:
        return f"{said}; estimated from the model's own probabilities{sample}, no label went into it"
    of_rows = f"by {of['labelled']:,} of {of['rows']:,} rows, those with a label"
    return f"{said}; {of_rows}{',' if sample else ''}{sample.removesuffix(' rows')}"


def tell_performance(of: dict[str, Any] | None) -> None:
    """Print what is known of a version's performance."""
    if of is None:
        return
    if said := performs(of):
        console.result(f"  {said}")
    if said := labels_drift(of):
        console.result(f"  {said}")
    if of["lag_s"]:
        console.result(f"  labels come after {_long(of['lag_s'][0])}, nine of ten within {_long(of['lag_s'][1])}")
    for problem in of["problems"]:
        console.progress(f"labels: {problem}")


def tell_reaction(told: dict[str, Any]) -> None:
    """Print who was told, and what came of a retraining."""
    sent = told.get("alert")
    if sent and sent["sent"]:
        console.result(f"alert: {sent['event'] or 'what had not arrived'}, to {', '.join(sent['sent'])}")
    elif sent and sent["since"] and not sent["problems"]:
        console.result(f"alert: open since {sent['since']}, already sent")
    if done := told.get("retrain"):
        console.result(f"retraining: {done['outcome']}: {done['reason']}")


def _long(seconds: float) -> str:
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def test_alert(env: str | None) -> int:
    """Send a test to every channel; returns 1 where one did not take it."""
    root = layout.find_root()
    config = configs.load(root, env, tables=False)
    there = alerts.channels(config.monitor.alerts)
    if not there:
        raise UsageError(
            f"{layout.CONFIG} monitor.alerts: names no channel", hint='monitor: {alerts: {channels: ["${SLACK_URL}"]}}'
        )
    found: dict[str, Any] = {"model": config.model_name, "env": env, "verdict": "ok", "report": str(root / layout.PAGE)}
    found |= {"look": "glue monitor", "lines": ["Nothing is wrong: somebody tries whether alerts arrive."]}
    message = alerts.worded("test", found, None)
    said = alerts.delivered(message, there, config.monitor.alerts.timeout_s)
    for name, problem in said.items():
        console.result(f"{name}: {problem or 'sent'}")
    return 1 if any(said.values()) else 0
