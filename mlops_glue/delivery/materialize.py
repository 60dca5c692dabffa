"""materialize: fill the online store with the latest values of the champion's features, for each changed view."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_glue import feature_skew, feature_stores, files, layout, tables
from mlops_glue import features as feast
from mlops_glue.adapters.feast.repository import EVENT_TIMESTAMP, Repository
from mlops_glue.config import Config
from mlops_glue.errors import ToolError
from mlops_glue.records import FeatureList, FeatureView

EVER = datetime(1970, 1, 1, tzinfo=UTC)
SAMPLE = 20  # entities to read back


def materialize(
    config: Config, root: Path, features: FeatureList, *, force: bool = False
) -> tuple[dict[str, str], list[str]]:
    """Fill the online store with each view that has changed since the last time, and record the progress by view.

    A view is filled from the end of the last time if the rows before it are unchanged, or else from the beginning, so
    that late rows are not missed.

    Returns:
        The outcome of each view (executed or unchanged), and the files in the project that record the store's content.

    Raises:
        DataError: a feature's definition has changed since the model was trained.
        ToolError: the store cannot be reached, or does not return the values that were written.
    """
    with tempfile.TemporaryDirectory() as folder:  # a refusal does not change the project's own registry
        scratch = feature_stores.open_repository(config, root, Path(folder))
        feast.check_definitions(scratch, features, feast.transform_hash(config, root))
    repository = feature_stores.open_live(config, root)
    gone = repository.online_file is not None and not repository.online_file.exists()  # before `apply` creates it
    repository.apply()
    path = root / layout.MATERIALIZED
    states: dict[str, Any] = files.read_json(path) if path.is_file() else {}
    # with the names of variables, so that no secret is written
    store_name = f"{config.environment or 'default'} {json.dumps(config.features.online_store, sort_keys=True)}"
    of_store = states.setdefault(store_name, {})
    outcomes = {}
    for view in features.views:
        if view.on_demand:
            continue
        now = datetime.now(UTC)
        before = {} if force or gone else of_store.get(view.name, {})
        state = _state(root, repository, view)
        start = _start(state, view, before, now)
        if start is None and not _read_back(root, repository, view, now):
            outcomes[view.name] = "unchanged"
            continue
        repository.materialize([view.of], start or EVER, now)
        if (wrong := _read_back(root, repository, view, now)) is not None:
            raise ToolError(f"materialize {view.name}: {wrong}", hint="glue materialize --force")
        of_store[view.name] = {"definition": view.definition, "until": now.isoformat()}
        if state is not None:
            of_store[view.name]["rows"] = state(now)
        files.write_json(path, states)
        outcomes[view.name] = "executed"
    online = repository.online_file and repository.online_file.resolve()
    inside = [online.relative_to(root).as_posix()] if online and online.is_relative_to(root) else []
    return outcomes, [layout.MATERIALIZED, *inside]


def empty_views(root: Path, repository: Repository, features: FeatureList) -> list[str]:
    """Return the views without values in the online store, or only older than the TTL, for a sample of entities."""
    import pyarrow as pa

    empty = []
    for view in (view.plain for view in features.views if view.path is not None and view.keys):
        source = feast.source_rows(root, view, list(view.keys))
        keys = source.take(pa.array(tables.evenly_spaced(source.num_rows, SAMPLE))).to_pylist()
        use = [f"{view.name}:{feature}" for feature in view.features]
        got = repository.read(use, [view], keys, datetime.now(UTC))
        if keys and all(value is None for row in got for value in row.values()):
            empty.append(view.name)
    return empty


State = Callable[[datetime], list[int]]


def _start(state: State | None, view: FeatureView, before: dict[str, Any], now: datetime) -> datetime | None:
    """Return the time to fill from; None if nothing has changed."""
    if before.get("definition") != view.definition:
        return EVER
    until = datetime.fromisoformat(before["until"])
    if state is None:
        return until  # late rows can only be detected in files
    then = state(until)
    if then != before.get("rows"):
        return EVER  # an earlier row was added late, changed or removed
    return until if state(now) != then else None


def _state(root: Path, repository: Repository, view: FeatureView) -> State | None:
    """Return a function for the number and checksum of a source's rows known at a time; None if it is not a file."""
    import numpy as np
    import pandas as pd

    if view.path is None:
        return None
    clock, created = repository.clock(view.of)
    used = list(dict.fromkeys([*view.keys, *view.features, clock, *([created] if created else [])]))
    frame = feast.source_rows(root, view, used).to_pandas()
    hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    clocks = [pd.to_datetime(frame[column], utc=True) for column in (clock, created) if column]

    def at(until: datetime) -> list[int]:
        kept = np.logical_and.reduce([(clock <= until).to_numpy() for clock in clocks])
        return [int(kept.sum()), int(hashes[kept].sum())]

    return at


def _read_back(root: Path, repository: Repository, view: FeatureView, now: datetime) -> str | None:
    """Compare the store with a join as of now for some entities, and return the first difference as text."""
    import pyarrow as pa

    if view.path is None or not view.keys:
        return None
    view = view.plain
    source = feast.source_rows(root, view, list(view.keys))
    keys = source.take(pa.array(tables.evenly_spaced(source.num_rows, SAMPLE)))
    use = [f"{view.name}:{feature}" for feature in view.features]
    times = pa.array([now] * keys.num_rows, pa.timestamp("us", "UTC"))
    expected = repository.join(keys.append_column(EVENT_TIMESTAMP, times), use, [view]).table.to_pylist()
    got = repository.read(use, [view], keys.to_pylist(), now)
    for key, in_source, served in zip(keys.to_pylist(), expected, got, strict=True):
        for feature, kind in view.features.items():
            value, online = in_source[f"{view.name}__{feature}"], served[f"{view.name}__{feature}"]
            if not feature_skew.same(value, online, kind):
                about = ", ".join(f"{column} {name}" for column, name in key.items())
                ref = f"{view.name}:{feature}"
                return f"{ref} of {about} is {value!r} in the source and {online!r} in the online store"
    return None
