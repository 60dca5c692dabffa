"""Checks that each storage location and server in `glue.yaml` answers and accepts writes, within a time limit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import layout
from mlops_glue.config import Config
from mlops_glue.delivery.fetch import opened
from mlops_glue.errors import GlueError, Unreachable
from mlops_glue.report.finding import Finding, in_environment
from mlops_glue.secrets import redacted
from mlops_glue.waiting import within

LIMIT_S = 10.0  # for each check
MAX_SKEW_S = 30.0  # S3 refuses signatures that are 15 minutes off; times of runs and alerts are misleading earlier
MIN_FREE = 1 << 30  # bytes


def of_places(root: Path, config: Config) -> tuple[list[Finding], set[str]]:
    """Return the findings, and the config sections whose servers do not answer."""
    found: list[Finding] = []
    away: set[str] = set()
    looks = {_remote: "data", _databases: "features", _mlflow: "tracking", _artifacts: "", _log: "", _alerts: ""}
    for look, section in looks.items():
        if look is _artifacts and "tracking" in away:
            continue
        try:
            found += look(root, config)
        except GlueError as error:
            check = f"check that it is running, and check its address: {in_environment('glue config show', config)}"
            fix = error.hint if error.hint and not isinstance(error, Unreachable) else check
            found += [Finding("problem", line, fix) for line in error.message.splitlines()]
            away.add(section)
    return found, away


def _remote(root: Path, config: Config) -> Iterator[Finding]:
    from mlops_glue.adapters import dvc

    if config.data is None or (config.data.remote is None and not dvc.has_remote(root)):
        return
    url = configs.remote_url(config)
    where, free = within(LIMIT_S, "data.remote: DVC's remote", lambda: dvc.try_remote(root, url))
    room = f", {free / 1e9:,.1f} GB free" if free is not None else ""
    if free is not None and free < MIN_FREE:
        yield Finding(
            "problem", f"data.remote: {redacted(where)} is nearly full{room}", f"df -h {where}; dvc gc --cloud"
        )
    else:
        yield Finding("ok", f"data.remote: {redacted(where)} answers and accepts files{room}")


def _databases(root: Path, config: Config) -> Iterator[Finding]:
    """Check each PostgreSQL server: Feast would wait forever for a server that hangs."""
    from mlops_glue.adapters import sql

    for key, place in _postgres(config):
        place = configs.resolve(place, key)
        within(LIMIT_S, f"{key}: PostgreSQL", lambda place=place, key=key: sql.check_answers(place, key))  # type: ignore[misc]
        yield Finding("ok", f"{key}: PostgreSQL answers")


def _postgres(config: Config) -> Iterator[tuple[str, Any]]:
    features, labels = config.features, config.monitor.labels
    for key in ("online_store", "offline_store"):
        store = getattr(features, key)
        if store is not None and store.get("type") == "postgres":
            yield f"features.{key}", store
    if isinstance(features.registry, dict) and features.registry.get("registry_type") == "sql":
        yield "features.registry", features.registry["path"]
    if labels is not None and labels.url is not None:
        yield "monitor.labels.url", labels.url
    for name, source in config.data.sources.items() if config.data is not None else ():
        if source.url is not None:
            yield f"data.sources.{name}.url", source.url


def _mlflow(root: Path, config: Config) -> Iterator[Finding]:
    uri = configs.tracking_uri(config)
    if uri is None or not uri.startswith(("http://", "https://")):
        return
    from mlops_glue.adapters.mlflow import server

    server.ready()
    found = server.look(uri, config.model_name, min(config.tracking.timeout_s, LIMIT_S))
    clock = "" if found.skew_s is None else f", clock difference {abs(found.skew_s):.0f} s"
    yield Finding("ok", f"tracking.uri: MLflow {found.version} answers in {found.took_s * 1000:.0f} ms{clock}")
    if not found.may_write:
        problem = "tracking.uri: MLflow refuses writes: the login is wrong, or the user has read-only access"
        yield Finding("problem", problem, "export MLFLOW_TRACKING_USERNAME=… MLFLOW_TRACKING_PASSWORD=…")
    if found.skew_s is not None and abs(found.skew_s) > MAX_SKEW_S:
        ahead = "ahead of" if found.skew_s > 0 else "behind"
        problem = f"tracking.uri: the server's clock is {abs(found.skew_s):.0f} s {ahead} this machine's"
        yield Finding("problem", problem, "timedatectl set-ntp true (on the machine whose clock is wrong)")
    theirs, ours = found.version.split("."), found.ours.split(".")
    if theirs[:2] != ours[:2]:
        level = "note" if theirs[0] == ours[0] else "problem"
        yield Finding(
            level,
            f"tracking.uri: the server runs MLflow {found.version}, this machine has {found.ours}",
            f"pip install mlflow=={found.version}",
        )


def _artifacts(root: Path, config: Config) -> Iterator[Finding]:
    if config.tracking.uri is None:
        return
    store = opened(root, config, create=False)
    where = within(LIMIT_S, "MLflow's artifact store", lambda: store.try_artifacts(config.project))
    yield Finding("ok", f"MLflow's artifact store {redacted(where)} stores files and returns them")


def _log(root: Path, config: Config) -> Iterator[Finding]:
    if config.serve.prediction_log is None:
        return
    to = configs.resolve(config.serve.prediction_log, "serve.prediction_log")
    if "://" not in to:
        return  # a folder in the project
    from mlops_glue.log_place import opened

    within(LIMIT_S, "serve.prediction_log", lambda: opened(to).try_out())
    yield Finding("ok", f"serve.prediction_log: {redacted(to)} answers and accepts rows")


def _alerts(root: Path, config: Config) -> Iterator[Finding]:
    """Check the format of each alert address, without sending anything."""
    from urllib.parse import urlsplit

    alerts = config.monitor.alerts
    named = [(f"monitor.alerts.webhooks.{at}.url", hook.url) for at, hook in enumerate(alerts.webhooks)]
    test = in_environment("glue monitor --test-alert", config)
    for key, url in named:
        parts = urlsplit(configs.resolve(url, key))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            yield Finding(
                "problem",
                f"{layout.CONFIG} {key}: must be an http:// or https:// URL",
                f"edit {layout.CONFIG}, then: {test}",
            )
    channels = [("monitor.alerts.channels", channel) for channel in alerts.channels]
    for key, url in channels:
        if "://" not in configs.resolve(url, key):
            yield Finding(
                "problem", f"{layout.CONFIG} {key}: must be a URL ({url})", f"use mailto://… or slack://…, then: {test}"
            )
    if named or channels:
        yield Finding("ok", f"monitor.alerts: {len(named) + len(channels)} configured; to send a test alert: {test}")
