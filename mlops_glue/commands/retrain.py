"""Retraining as `monitor.on_alert: [retrain]` asks for it: the pipeline on the data that now counts, then its gates."""

from __future__ import annotations

import contextlib
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue import console, io, layout
from mlops_glue.errors import CheckFailed, GlueError
from mlops_glue.monitoring import retrain as limits

if TYPE_CHECKING:
    import pyarrow as pa


def retrain(
    config: configs.Config, root: Path, env: str | None, tables: list[pa.Table], now: datetime
) -> dict[str, Any]:
    """Train and deliver, where the limits allow it.

    Args:
        config: of the project.
        root: the project.
        env: the environment's name.
        tables: rows of the log with their truth.
        now: the time.

    Returns:
        `outcome` is promoted, refused, unchanged, failed or skipped; `reason` says why.
    """
    from filelock import FileLock, Timeout

    if os.environ.get("GITHUB_ACTIONS") == "true":
        return _ended("skipped", "on GitHub, train.yml trains: the workflow of the monitor starts it")
    try:
        with FileLock(root / layout.RETRAIN_LOCK, timeout=0):
            return _retrain(config, root, env, tables, now)
    except Timeout:
        return _ended("skipped", "another retraining is at work in this project")


def _retrain(
    config: configs.Config, root: Path, env: str | None, tables: list[pa.Table], now: datetime
) -> dict[str, Any]:
    if limits.put_back(root):
        console.progress(f"{config.source.path}: rows of a retraining that was killed are taken away again")
    new = limits.unused(root, tables)
    rows = limits.labelled(new)
    options = config.monitor.retrain
    counted = rows if config.monitor.labels is not None else None  # the source that is read again has its own
    why = limits.why_not(options, limits.state(root), counted, now)
    if why is not None:
        return _ended("skipped", why)
    limits.began(root)
    if options.data == "reread":
        done = _run(root, env)
    else:
        try:
            with limits.appended(root, root / config.source.path, limits.as_source(config, root, new)) as stay:
                console.progress(f"retraining: {rows:,} labelled rows are added to {config.source.path}")
                done = _run(root, env)
                if done["outcome"] == "promoted":
                    stay.append(True)
        except GlueError as error:
            return _ended("failed", error.message)
    if done["outcome"] == "promoted":
        limits.note_used(root, new)
    elif options.data == "append":
        console.progress(f"retraining: {config.source.path} is as it was before; so is what was made of it")
        _run(root, env)
    refused = limits.state(root)["refused"]
    limits.keep(root, {"refused": {"promoted": 0, "refused": refused + 1}.get(done["outcome"], refused)})
    return done


def _run(root: Path, env: str | None) -> dict[str, Any]:
    """`glue run`; what it says of its result goes to stderr, for stdout has the monitor's."""
    from mlops_glue.commands.run import run

    try:
        with contextlib.redirect_stdout(sys.stderr):
            code = run(env=env)
    except CheckFailed as error:
        return _ended("refused", error.message)
    except GlueError as error:
        return _ended("failed", error.message)
    told = io.read_json(root / layout.DELIVERY)
    if code:
        return _ended("refused", "; ".join(told["refused"]), told["version"])
    if told["champion"] == told["version"] and told["previous"] != told["version"]:
        return _ended("promoted", f"v{told['version']} is champion, before it v{told['previous']}", told["version"])
    return _ended("unchanged", "nothing has changed since the last run", told["version"])


def _ended(outcome: str, reason: str, version: int | None = None) -> dict[str, Any]:
    return {"outcome": outcome, "reason": reason, "version": version}
