"""Retraining for `monitor.on_alert: [retrain]`: run the pipeline on the current data, then check the candidate.

`monitoring.run` calls it if the verdict is drift or performance; `retrain_limits.why_not` limits it.
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
    """Train and deliver if the limits allow it; in a job on GitHub or GitLab, request a training job.

    Returns:
        `outcome` is promoted, refused, unchanged, failed, skipped or asked; `reason` is the reason in words.
    """
    from filelock import FileLock, Timeout

    try:
        with FileLock(root / layout.RETRAIN_LOCK, timeout=0):
            if restored := retrain_rows.restore(root):
                log.info("%s: restored, because the last retraining was killed", ", ".join(restored))
            state = limits.load(store, config.model_name)
            if github.is_job() or gitlab.is_job():
                return _request_training(config, store, state, labelled, now)
            return _retrain(config, root, store, state, labelled, now, train)
    except Timeout:
        return _result("skipped", "another retraining is running in this project")
    except GlueError as error:  # the monitor's own verdict is printed anyway
        return _result("failed", f"{error.message}{f' ({error.hint})' if error.hint else ''}")


def _request_training(
    config: configs.Config, store: Store, state: limits.State, labelled: list[pa.Table], now: datetime
) -> dict[str, Any]:
    """Decide for a monitoring job: `asked` makes it start the training job, on the current tables."""
    model, options = config.model_name, config.monitor.retrain.model_copy(update={"data": "reread"})
    new = labelled if state.began is None else limits.answered_after(labelled, state.began)
    counted = limits.count(new) if config.monitor.labels is not None else None
    state.refused = _refused_in_a_row(store, model, state.resumed)
    why = limits.why_not(options, state, counted, now)
    if why is not None:
        return _result("skipped", why)
    limits.save(store, model, state, began=now)
    return _result("asked", "this job starts the training job")


def _refused_in_a_row(store: Store, model: str, resumed: int) -> int:
    """Count the latest consecutive versions that were refused since the champion, and since a person resumed."""
    after = max(store.champion(model) or 0, resumed)
    newest = sorted((version for version in store.versions(model) if version > after), reverse=True)
    return sum(1 for _ in takewhile(lambda version: refusal(store.tags(model, version)), newest))


def resume(config: configs.Config, root: Path) -> int:
    """Allow retraining again, here and in jobs, after a person's review. Return the number of consecutive refusals."""
    store, model = read_only(root, config), config.model_name
    versions = store.versions(model) if store is not None else []
    if store is None or not versions:
        return 0
    try:
        state = limits.load(store, model)
    except DataError:  # start again with an empty state
        state = limits.State()
    refused = max(state.refused, _refused_in_a_row(store, model, state.resumed))
    state = limits.begin_anew(root, state, datetime.now(UTC), had_some=_used_rows(config))
    limits.save(store, model, state, refused=0, began=None, resumed=max(versions))
    return refused


def _used_rows(config: configs.Config) -> bool:
    """Whether a retraining has added rows of the log to the table."""
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
    counted = (
        limits.count(new) if config.monitor.labels is not None else None
    )  # a table that is read again has its own labels
    why = limits.why_not(config.monitor.retrain, state, counted, now)
    if why is not None:
        return _result("skipped", why)
    if config.source.query is not None and config.split.by != "time":
        problem = f"{config.source.path}: the fresh rows of a query that is read again are unknown"
        raise DataError(problem, hint="split: {by: time}")
    state = limits.save(store, config.model_name, state, began=datetime.now(UTC))
    path, appends = root / config.source.path, config.monitor.retrain.data == "append"
    fresh = retrain_rows.as_source(config, root, new) if appends else None
    after = tables.read_table(path).num_rows if appends else _known_until(config, root, store)
    changed = [*([config.source.path] if appends else []), layout.CONFIG, "dvc.yaml"]
    with retrain_rows.transaction(root, changed) as changes:
        if fresh is not None:
            tables.append_rows(path, fresh)
            log.info("retraining: adding %s labelled rows to %s", f"{fresh.num_rows:,}", config.source.path)
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
        log.info("retraining: restoring %s and the results from it", config.source.path)
        _run(config, root, train)
    if result["outcome"] == "refused":
        limits.save(store, config.model_name, state, refused=state.refused + 1)
    return result


def _send(config: configs.Config, root: Path, version: int) -> None:
    """Send the candidate's tables to DVC's remote, if there is one. Nothing else stores them if it is refused."""
    kept = {source.path for source in config.data.sources.values() if (root / f"{source.path}.dvc").is_file()}
    try:
        remote = configs.remote_url(config)
        if kept and (remote is not None or dvc.has_remote(root)):
            dvc.send(root, {path: md5 for path, md5 in hashes(root).items() if path in kept}, remote)
    except GlueError as error:
        alone = f"{', '.join(sorted(kept))} of v{version}: stored only in this machine's DVC cache"
        log.warning("warning: %s: %s; to send it: glue reproduce %d --push", alone, redacted(error.message), version)


def fresh_after(former: list[int | str], now: int | str) -> list[int | str]:
    """Return `split.fresh_after` with a new bound. Bounds that are not before it belong to a former table."""
    return [bound for bound in former if type(bound) is not type(now) or bound < now] + [now]  # type: ignore[operator]


def _known_until(config: configs.Config, root: Path, store: Store) -> int | str:
    """Return the part of the table that the champion was trained with: until a time, or the number of first rows.

    Raises:
        DataError: this is unknown, or the table no longer begins with those rows.
    """
    from mlops_glue.delivery.publish import NEWEST
    from mlops_glue.delivery.rows import version_rows

    champion = store.champion(config.model_name)
    newest = store.tags(config.model_name, champion).get(NEWEST) if champion is not None else None
    if config.split.by == "time" and newest is not None:
        return newest
    of_champion = version_rows(store, config.model_name, champion) if champion is not None else None
    where = f"{config.source.path}: its fresh rows are unknown"
    if of_champion is None:
        raise DataError(f"{where}: the champion has no record of its rows", hint="glue run")
    if not of_champion.begin(tables.read_table(root / config.source.path)):
        raise DataError(f"{where}: it does not begin with the rows of v{champion}", hint="split: {by: time}")
    return len(of_champion.ids)


def _run(config: configs.Config, root: Path, train: Train, overrides: dict[str, str] | None = None) -> dict[str, Any]:
    """Run the pipeline and deliver, and return the outcome for the candidate."""
    try:
        queried = any(source.query is not None for source in config.data.sources.values())
        again = queried and config.monitor.retrain.data == "reread"
        result = train(root, config.environment, Options(overrides=overrides or {}, refresh=again))
    except CheckFailed as error:
        return _result("refused", error.message)
    except GlueError as error:
        return _result("failed", error.message)
    delivery = result.delivery
    assert delivery is not None  # these options always publish
    fresh, version = delivery["fresh"], delivery["version"]
    if result.refused:
        return _result("refused", "; ".join(result.refused), version, fresh)
    if delivery["champion"] == version and delivery["previous"] != version:
        return _result("promoted", f"v{version} is champion, replacing v{delivery['previous']}", version, fresh)
    return _result("unchanged", "nothing has changed since the last run", version, fresh)


def _result(outcome: str, reason: str, version: int | None = None, fresh: Fresh | None = None) -> dict[str, Any]:
    learned = f"; {describe.fresh_rows(fresh)}" if fresh else ""
    return {"outcome": outcome, "reason": f"{reason}{learned}", "version": version, "fresh": fresh}
