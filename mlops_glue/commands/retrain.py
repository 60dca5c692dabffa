"""Retraining as `monitor.on_alert: [retrain]` asks for it: the pipeline on the data that now counts, then its gates."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue import console, files, layout, tables
from mlops_glue.delivery import describe
from mlops_glue.errors import CheckFailed, DataError, GlueError
from mlops_glue.monitoring import retrain as limits

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_glue.adapters.mlflow import Store


def retrain(
    config: configs.Config, root: Path, store: Store, env: str | None, tables: list[pa.Table], now: datetime
) -> dict[str, Any]:
    """Train and deliver, where the limits allow it; in a job on GitHub: ask for train.yml.

    Args:
        config: of the project.
        root: the project.
        store: the registry, where jobs find what those before them did.
        env: the environment's name.
        tables: rows of the log with their truth.
        now: the time.

    Returns:
        `outcome` is promoted, refused, unchanged, failed, skipped or asked; `reason` says why.
    """
    from filelock import FileLock, Timeout

    try:
        if os.environ.get("GITHUB_ACTIONS") == "true":
            return _asked(config, store, tables, now)
        with FileLock(root / layout.RETRAIN_LOCK, timeout=0):
            return _retrain(config, root, env, tables, now)
    except Timeout:
        return _ended("skipped", "another retraining is at work in this project")
    except GlueError as error:  # the monitor's own verdict is printed all the same
        return _ended("failed", f"{error.message}{f' ({error.hint})' if error.hint else ''}")


def _asked(config: configs.Config, store: Store, tables: list[pa.Table], now: datetime) -> dict[str, Any]:
    """What the workflow of the monitor is to do: `asked` starts train.yml, which trains on the tables as they are."""
    model, options = config.model_name, config.monitor.retrain
    try:
        kept = limits.checked(store.get_model_tag(model, limits.TAG) or "{}")
    except ValueError:
        raise DataError(
            f"{model}: what the registry keeps of its retrainings cannot be read", hint="glue monitor --resume"
        ) from None
    new = tables if kept["began"] is None else limits.answered_after(tables, datetime.fromisoformat(kept["began"]))
    counted = limits.labelled(new) if config.monitor.labels is not None else None
    kept["refused"] = _refused(store, model, kept["resumed"])
    why = limits.why_not(options.model_copy(update={"data": "reread"}), kept, counted, now)
    if why is not None:
        return _ended("skipped", why)
    store.set_model_tag(
        model, limits.TAG, json.dumps({"began": now.isoformat(timespec="seconds"), "resumed": kept["resumed"]})
    )
    return _ended("asked", "the workflow starts train.yml")


def _refused(store: Store, model: str, resumed: int) -> int:
    """The latest versions in a row that were refused since the champion, and since a person had a look."""
    from mlops_glue.delivery.history import REFUSED

    after = max(store.champion(model) or 0, resumed)
    newest = sorted((version for version in store.versions(model) if version > after), reverse=True)
    return sum(1 for _ in takewhile(lambda version: REFUSED in store.tags(model, version), newest))


def resume(env: str | None) -> int:
    """A person has looked: candidates are trained again, here and by jobs."""
    root, now = layout.find_root(), datetime.now(UTC)
    config = configs.load(root, env, tables=False, needs=())
    for name in limits.begin_anew(root, now, had_some=_had_some(config)):
        console.progress(f"what cannot be read is {layout.STATE}/{name} now")
    refused = limits.state(root)["refused"]
    limits.keep(root, {"refused": 0, "began": None})
    if config.tracking.uri is not None:  # jobs have no file of their own
        try:
            refused += _resumed(config, root)
        except GlueError as error:
            console.progress(f"warning: jobs do not know of it: {error.message}")
    console.result(f"retraining may go on; {refused} candidates in a row were refused")
    return 0


def _resumed(config: configs.Config, root: Path) -> int:
    from mlops_glue.delivery.fetch import opened

    store, model = opened(root, config, create=False), config.model_name
    versions = store.versions(model)
    if not versions:
        return 0
    refused = _refused(store, model, 0)
    store.set_model_tag(model, limits.TAG, json.dumps({"resumed": max(versions)}))
    return refused


def _had_some(config: configs.Config) -> bool:
    """Has a retraining added rows of the log to the table?"""
    return config.monitor.retrain.data == "append" and bool(config.split.fresh_after)


def _retrain(
    config: configs.Config, root: Path, env: str | None, answered: list[pa.Table], now: datetime
) -> dict[str, Any]:
    if there := limits.put_back(root):
        console.progress(f"{', '.join(there)}: put back as before a retraining that was killed")
    options = config.monitor.retrain
    new = limits.unused(root, answered, had_some=_had_some(config))
    rows = limits.labelled(new)
    counted = rows if config.monitor.labels is not None else None  # the source that is read again has its own
    why = limits.why_not(options, limits.state(root), counted, now)
    if why is not None:
        return _ended("skipped", why)
    limits.began(root)
    path = root / config.source.path
    changed = [config.source.path] if options.data == "append" else []
    if options.data == "append":
        fresh, after = limits.as_source(config, root, new), tables.read_table(path).num_rows
    else:
        fresh, after = None, _known_until(config, root)
    bounds = limits.bounds(list(config.split.fresh_after), after)
    with limits.put_back_unless(root, [*changed, layout.CONFIG, "dvc.yaml"]) as stay:
        if fresh is not None:
            tables.append_rows(path, fresh)
            console.progress(f"retraining: {rows:,} labelled rows are added to {config.source.path}")
        done = _run(root, env, {"split.fresh_after": json.dumps(bounds)})
        if done["outcome"] == "promoted":
            stay.append(True)
    if done["outcome"] == "promoted":
        limits.note_used(root, new)
    elif options.data == "append":
        console.progress(f"retraining: {config.source.path} is as it was before; so is what was made of it")
        _run(root, env)
    refused = limits.state(root)["refused"]
    limits.keep(root, {"refused": {"promoted": 0, "refused": refused + 1}.get(done["outcome"], refused)})
    return done


def _known_until(config: configs.Config, root: Path) -> int | str:
    """What the champion was made of, of a table that somebody else adds to: up to a moment, or so many first rows.

    Raises:
        DataError: that is not known, or the table does not begin with those rows any more.
    """
    from mlops_glue.delivery.fetch import opened
    from mlops_glue.delivery.publish import NEWEST
    from mlops_glue.delivery.rows import version_rows

    store = opened(root, config, create=False)
    champion = store.champion(config.model_name)
    newest = store.tags(config.model_name, champion).get(NEWEST) if champion is not None else None
    if config.split.by == "time" and newest is not None:
        return newest
    of_champion = version_rows(store, config.model_name, champion) if champion is not None else None
    where = f"{config.source.path}: which of its rows are fresh is not known"
    if of_champion is None:
        raise DataError(f"{where}: the champion does not say which ones it was made of", hint="glue run")
    if not of_champion.begin(tables.read_table(root / config.source.path)):
        raise DataError(f"{where}: it does not begin with those of v{champion}", hint="split: {by: time}")
    return len(of_champion.ids)


def _run(root: Path, env: str | None, overrides: dict[str, str] | None = None) -> dict[str, Any]:
    """`glue run`; what it says of its result goes to stderr, for stdout has the monitor's."""
    from mlops_glue.commands.run import run
    from mlops_glue.delivery.run import Options

    try:
        with contextlib.redirect_stdout(sys.stderr):
            code = run(Options(overrides=overrides or {}), env=env)
    except CheckFailed as error:
        return _ended("refused", error.message)
    except GlueError as error:
        return _ended("failed", error.message)
    told = files.read_json(root / layout.DELIVERY)
    fresh = told.get("fresh")
    if code:
        return _ended("refused", "; ".join(told["refused"]), told["version"], fresh)
    if told["champion"] == told["version"] and told["previous"] != told["version"]:
        said = f"v{told['version']} is champion, before it v{told['previous']}"
        return _ended("promoted", said, told["version"], fresh)
    return _ended("unchanged", "nothing has changed since the last run", told["version"], fresh)


def _ended(
    outcome: str, reason: str, version: int | None = None, fresh: dict[str, Any] | None = None
) -> dict[str, Any]:
    learned = f"; {describe.fresh_rows(fresh)}" if fresh else ""
    return {"outcome": outcome, "reason": f"{reason}{learned}", "version": version, "fresh": fresh}
