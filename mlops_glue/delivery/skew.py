"""skew: a check that features are served as in training, by replaying holdout rows through the online store."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_glue import feature_skew, feature_stores, layout, row_groups, tables
from mlops_glue import features as feast
from mlops_glue.adapters.feast.repository import Repository
from mlops_glue.config import Config
from mlops_glue.dates import timestamps_utc
from mlops_glue.errors import ToolError, Unreachable
from mlops_glue.records import FeatureList

EVER = datetime(1970, 1, 1, tzinfo=UTC)
ROWS = 20  # holdout rows to replay, spread over its time


@dataclass(frozen=True)
class _Request:
    """A label row as a request: its time, its lookup keys, and its features in training."""

    time: datetime
    keys: dict[str, Any]
    trained: dict[str, Any]


def replay(config: Config, root: Path, features: FeatureList) -> tuple[int, int, list[str]]:
    """Fill the online store as before each sampled row, and read it.

    Values from the row's own time are excluded, and with `features.delay` all that are newer than the delay, because
    they are not available yet when the request arrives. The configured store is used, with a separate project name that
    is removed afterwards; its sources contain only the sampled entities.

    Returns:
        The number of replayed rows, the number of holdout rows, and the differences.
    """
    requests, rows = _sample(config, root, features)
    with tempfile.TemporaryDirectory() as folder:
        repository = feature_stores.open_live(config, root, replay_in=Path(folder))
        keys = [request.keys for request in requests]
        repository.replace_sources(lambda path: sampled_source(root, path, features, keys, Path(folder)))
        repository.apply()
        known = [request for request in requests if all(request.keys[name] is not None for name in features.keys)]
        answers = True
        try:
            differences = [text for request in known for text in _differences(repository, features, request)]
            return len(known), rows, differences
        except Unreachable:
            answers = False  # to a teardown too
            raise
        finally:
            with contextlib.suppress(ToolError):  # the replay itself reports a store that is down
                if answers:
                    repository.teardown()


def _sample(config: Config, root: Path, features: FeatureList) -> tuple[list[_Request], int]:
    """Return a sample of holdout rows, ordered by time, and the number of holdout rows."""
    holdout = tables.read_parquet(root / layout.TEST, [layout.ROW, layout.TIMESTAMP_COLUMN])
    order = np.argsort(holdout.column(layout.TIMESTAMP_COLUMN).to_numpy(), kind="stable")
    places = holdout.column(layout.ROW).take(order[tables.evenly_spaced(len(order), ROWS)])
    sample = row_groups.take(root / layout.JOINED, places.to_numpy())
    times = timestamps_utc(sample, config.source.timestamps, features.day_first)
    keys = sample.select(features.asked_by).to_pylist()
    trained = sample.select([*features.columns]).to_pylist()
    requests = [_Request(feature_skew.utc(time), *rest) for time, *rest in zip(times, keys, trained, strict=True)]
    return requests, len(order)


def sampled_source(root: Path, path: Path, features: FeatureList, keys: list[dict[str, Any]], folder: Path) -> Path:
    """Write the rows of a source for the sampled entities of its views to a separate file, and return its path."""
    views = [view for view in features.views if view.path and (root / view.path).resolve() == path.resolve()]
    if not views or not path.is_file():
        return path
    table = tables.read_parquet(path)
    kept = np.zeros(table.num_rows, bool)
    for view in views:
        about = np.ones(table.num_rows, bool)
        for key, column in view.keys.items():
            values = feast.source_rows(root, view, [key]).column(key)
            sampled = pa.array([row[column] for row in keys]).cast(values.type)
            about &= pc.is_in(values, sampled).to_numpy()
        kept |= about
    out = folder / f"{views[0].name}.parquet"
    tables.write_parquet(out, table.filter(pa.array(kept)))
    return out


def _differences(repository: Repository, features: FeatureList, request: _Request) -> list[str]:
    stored = sorted({view.of for view in features.views if not view.on_demand})
    delay = timedelta(seconds=features.delay_s) or timedelta.resolution

    def served_at(time: datetime) -> dict[str, Any]:
        repository.materialize(stored, EVER, time)
        (row,) = repository.read(features.use, features.views, [request.keys], request.time)
        return {column: row[ref.replace(":", "__")] for column, ref in features.columns.items()}

    trained, served = request.trained, served_at(request.time - delay)
    kinds = feast.kinds(features)
    wrong = [name for name, kind in kinds.items() if not feature_skew.same(trained[name], served[name], kind)]
    served_later = served_at(request.time) if wrong else {}
    out = []
    for name in wrong:
        ref = features.columns[name]
        text = feature_skew.describe(features, ref, request.keys, request.time, trained[name], served[name])
        if feature_skew.same(trained[name], served_later[name], kinds[name]):
            text += f": {feature_skew.NOT_YET_KNOWN} ({feature_skew.DELAY_HINT})"
        out.append(text)
    return out
