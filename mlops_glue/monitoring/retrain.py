"""Retraining as `monitor.on_alert: [retrain]` asks for it: the pipeline on the data that now counts, then its gates.

`monitoring.run` calls it where the verdict is drift or performance; `retrain_limits.why_not` says what stops it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue import layout, tables
from mlops_glue.adapters import dvc, github, gitlab
from mlops_glue.delivery import describe
from mlops_glue.delivery.fetch import read_only
from mlops_glue.delivery.history import refusal
from mlops_glue.delivery.run import Options, RunResult
from mlops_glue.errors import CheckFailed, DataError, GlueError
from mlops_glue.monitoring import retrain_limits as limits
from mlops_glue.monitoring import retrain_rows
from mlops_glue.pipeline.fingerprint import hashes
from mlops_glue.secrets import redacted

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_glue.adapters.mlflow import Store
    from mlops_glue.pipeline.evaluation import Fresh

log = logging.getLogger(__name__)
Train = Callable[[Path, str | None, Options], RunResult]


def retrain(
    config: configs.Config, root: Path, store: Store, labelled: list[pa.Table], now: datetime, train: Train
) -> dict[str, Any]:
    """Train and deliver, where the limits allow it; in a job on GitHub or GitLab: ask for a job that trains.

    Returns:
        `outcome` is promoted, refused, unchanged, failed, skipped or asked; `reason` says why.
    """
    from filelock import FileLock, Timeout

    try:
        with FileLock(root / layout.RETRAIN_LOCK, timeout=0):
            if restored := retrain_rows.restore(root):
                log.info("%s: restored as before a retraining that was killed", ", ".join(restored))
            state = limits.load(store, config.model_name)
            if github.is_job() or gitlab.is_job():
                return _request_training(config, store, state, labelled, now)
            return _retrain(config, root, store, state, labelled, now, train)
    except Timeout:
        return _result("skipped", "another retraining is at work in this project")
    except GlueError as error:  # the monitor's own verdict is printed all the same
        return _result("failed", f"{error.message}{f' ({error.hint})' if error.hint else ''}")


def _request_training(
    config: configs.Config, store: Store, state: limits.State, labelled: list[pa.Table], now: datetime
) -> dict[str, Any]:
    """What the job of the monitor is to do: `asked` starts the one that trains, on the tables as they are."""
    model, options = config.model_name, config.monitor.retrain.model_copy(update={"data": "reread"})
    new = labelled if state.began is None else limits.answered_after(labelled, state.began)
    counted = limits.count(new) if config.monitor.labels is not None else None
    state.refused = _refused_in_a_row(store, model, state.resumed)
    why = limits.why_not(options, state, counted, now)
    if why is not None:
        return _result("skipped", why)
    limits.save(store, model, state, began=now)
    return _result("asked", "the job starts the one that trains")


def _refused_in_a_row(store: Store, model: str, resumed: int) -> int:
    """The latest versions in a row that were refused since the champion, and since a person had a look."""
    after = max(store.champion(model) or 0, resumed)
    newest = sorted((version for version in store.versions(model) if version > after), reverse=True)
    return sum(1 for _ in takewhile(lambda version: refusal(store.tags(model, version)), newest))


def resume(config: configs.Config, root: Path) -> int:
    """A person has looked: candidates are trained again, here and by jobs. Returns how many in a row were refused."""
    store, model = read_only(root, config), config.model_name
    versions = store.versions(model) if store is not None else []
    if store is None or not versions:
        return 0
    try:
        state = limits.load(store, model)
    except DataError:  # it begins anew
        state = limits.State()
    refused = max(state.refused, _refused_in_a_row(store, model, state.resumed))
    state = limits.begin_anew(root, state, datetime.now(UTC), had_some=_used_rows(config))
    limits.save(store, model, state, refused=0, began=None, resumed=max(versions))
    return refused


def _used_rows(config: configs.Config) -> bool:
    """Has a retraining added rows of the log to the table?"""
    return config.monitor.retrain.data == "append" and bool(config.split.fresh_after)


def _retrain(
    config: configs.Config,
    root: Path,
    store: Store,
    state: limits.State,
    labelled: list[pa.Table],
    now: datetime,
    train: Train,
) -> dict[str, Any]:
    new = limits.unused(root, state, labelled, had_some=_used_rows(config))
    counted = limits.count(new) if config.monitor.labels is not None else None  # a table read again has its own
    why = limits.why_not(config.monitor.retrain, state, counted, now)
    if why is not None:
        return _result("skipped", why)
    if config.source.query is not None and config.split.by != "time":
        problem = f"{config.source.path}: a query that is read again does not say which of its rows are fresh"
        raise DataError(problem, hint="split: {by: time}")
    state = limits.save(store, config.model_name, state, began=datetime.now(UTC))
    path, appends = root / config.source.path, config.monitor.retrain.data == "append"
    fresh = retrain_rows.as_source(config, root, new) if appends else None
    after = tables.read_table(path).num_rows if appends else _known_until(config, root, store)
    changed = [*([config.source.path] if appends else []), layout.CONFIG, "dvc.yaml"]
    with retrain_rows.transaction(root, changed) as changes:
        if fresh is not None:
            tables.append_rows(path, fresh)
            log.info("retraining: %s labelled rows are added to %s", f"{fresh.num_rows:,}", config.source.path)
        bounds = fresh_after(config.split.fresh_after, after)
        result = _run(config, root, train, {"split.fresh_after": json.dumps(bounds)})
        if result["version"] is not None:
            _send(config, root, result["version"])
        if result["outcome"] == "promoted":
            changes.pop_all()  # they stay
    if result["outcome"] == "promoted":
        limits.note_used(root, new)
        limits.save(store, config.model_name, state, refused=0)
    elif appends:
        log.info("retraining: %s is as it was before; so is what was made of it", config.source.path)
        _run(config, root, train)
    if result["outcome"] == "refused":
        limits.save(store, config.model_name, state, refused=state.refused + 1)
    return result


def _send(config: configs.Config, root: Path, version: int) -> None:
    """The candidate's tables go to DVC's remote, where there is one: of one that is refused nothing else keeps them."""
    kept = {source.path for source in config.data.sources.values() if (root / f"{source.path}.dvc").is_file()}
    try:
        remote = configs.remote_url(config)
        if kept and (remote is not None or dvc.has_remote(root)):
            dvc.send(root, {path: md5 for path, md5 in hashes(root).items() if path in kept}, remote)
    except GlueError as error:
        alone = f"{', '.join(sorted(kept))} of v{version}: in DVC's cache of this machine alone"
        log.warning("warning: %s: %s; glue reproduce %d --push sends it", alone, redacted(error.message), version)


def fresh_after(former: list[int | str], now: int | str) -> list[int | str]:
    """`split.fresh_after` with one more; a bound that is not before it is of a table that is no more."""
    return [bound for bound in former if type(bound) is not type(now) or bound < now] + [now]  # type: ignore[operator]


def _known_until(config: configs.Config, root: Path, store: Store) -> int | str:
    """What the champion was made of, of a table that somebody else adds to: up to a moment, or so many first rows.

    Raises:
        DataError: that is not known, or the table does not begin with those rows any more.
    """
    from mlops_glue.delivery.publish import NEWEST
    from mlops_glue.delivery.rows import version_rows

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


def _run(config: configs.Config, root: Path, train: Train, overrides: dict[str, str] | None = None) -> dict[str, Any]:
    """Run the pipeline and deliver; what came of the candidate."""
    try:
        queried = any(source.query is not None for source in config.data.sources.values())
        again = queried and config.monitor.retrain.data == "reread"
        result = train(root, config.environment, Options(overrides=overrides or {}, refresh=again))
    except CheckFailed as error:
        return _result("refused", error.message)
    except GlueError as error:
        return _result("failed", error.message)
    delivery = result.delivery
    assert delivery is not None  # nothing stops it before
    fresh, version = delivery["fresh"], delivery["version"]
    if result.refused:
        return _result("refused", "; ".join(result.refused), version, fresh)
    if delivery["champion"] == version and delivery["previous"] != version:
        return _result("promoted", f"v{version} is champion, before it v{delivery['previous']}", version, fresh)
    return _result("unchanged", "nothing has changed since the last run", version, fresh)


def _result(outcome: str, reason: str, version: int | None = None, fresh: Fresh | None = None) -> dict[str, Any]:
    learned = f"; {describe.fresh_rows(fresh)}" if fresh else ""
    return {"outcome": outcome, "reason": f"{reason}{learned}", "version": version, "fresh": fresh}
