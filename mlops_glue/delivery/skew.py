"""skew: will a model be served what it was trained on? Some of the holdout is replayed through the online store."""

from __future__ import annotations

import contextlib
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from mlops_glue import features as feast
from mlops_glue import layout, tables
from mlops_glue.adapters.feast.repo import Repository, utc
from mlops_glue.config import Config
from mlops_glue.dates import timestamps_utc
from mlops_glue.errors import ToolError
from mlops_glue.records import FeatureList

EVER = datetime(1970, 1, 1, tzinfo=UTC)
ROWS = 20  # of the holdout, spread over its time


def replay(config: Config, root: Path, features: FeatureList) -> tuple[int, int, list[str]]:
    """Fill the online store as it was before each sampled row, and read it: how many, of how many rows, what differs.

    The row's own moment is left out, and with `features.delay` what is not that old: it is not there yet when the
    request comes. The store is the configured one, under a project name of its own that is taken away after; its
    sources hold the sampled entities alone.
    """
    rows = tables.read_parquet(root / layout.TEST, [layout.ROW, layout.TIMESTAMP_COLUMN])
    order = np.argsort(rows.column(layout.TIMESTAMP_COLUMN).to_numpy(), kind="stable")
    at = tables.evenly_spaced(len(order), ROWS)
    sample = tables.read_parquet(root / layout.JOINED).take(rows.column(layout.ROW).take(order[at]))
    when = timestamps_utc(sample, config.source.timestamps, features.day_first)
    keys = sample.select(list(dict.fromkeys([*features.keys, *features.request]))).to_pylist()
    known = [at for at, key in enumerate(keys) if all(key[name] is not None for name in features.keys)]
    with tempfile.TemporaryDirectory() as folder:
        repository = feast.open_live(config, root, replay_in=Path(folder))
        repository.replace_sources(lambda path: _filtered(root, path, features, keys, Path(folder)))
        repository.apply()
        try:
            return len(known), len(order), _differences(repository, features, sample, when, keys, known)
        finally:
            with contextlib.suppress(ToolError):  # a store that is down is told by the replay itself
                repository.teardown()


def _filtered(root: Path, path: Path, features: FeatureList, keys: list[dict[str, Any]], folder: Path) -> Path:
    """The rows of a source that are about the sampled entities of any view on it, as a file of its own."""
    import pyarrow as pa
    import pyarrow.compute as pc

    views = [v for v in features.views if v.path and (root / v.path).resolve() == path.resolve()]
    if not views or not path.is_file():
        return path
    table = tables.read_parquet(path)
    kept = np.zeros(table.num_rows, bool)
    for view in views:
        about = np.ones(table.num_rows, bool)
        for key, column in view.keys.items():
            values = feast.source_rows(root, view, [key]).column(key)
            asked = pa.array([one[column] for one in keys]).cast(values.type)
            about &= pc.is_in(values, asked).to_numpy()
        kept |= about
    out = folder / f"{views[0].name}.parquet"
    tables.write_parquet(out, table.filter(pa.array(kept)))
    return out


def _differences(
    repository: Repository, features: FeatureList, sample: Any, when: Any, keys: list[dict[str, Any]], known: list[int]
) -> list[str]:
    stored = sorted({view.of for view in features.views if not view.on_demand})
    older = timedelta(seconds=features.delay_s) or timedelta.resolution
    kinds = feast.kinds(features)

    def as_of(moment: datetime, at: int) -> dict[str, Any]:
        repository.materialize(stored, EVER, moment)
        (row,) = repository.read(features.use, features.views, [keys[at]], utc(when[at]))
        return {column: row[ref.replace(":", "__")] for column, ref in features.columns.items()}

    out = []
    for at in known:
        now = utc(when[at])
        row = as_of(now - older, at)
        trained = {column: sample.column(column)[at].as_py() for column in features.columns}
        wrong = [column for column, kind in kinds.items() if not feast.same(trained[column], row[column], kind)]
        later = as_of(now, at) if wrong else {}
        for column in wrong:
            said = feast.skew(features, features.columns[column], keys[at], now, trained[column], row[column])
            of_now = feast.same(trained[column], later[column], kinds[column])
            out.append(f"{said}: {feast.OF_ITS_MOMENT} ({feast.DELAY})" if of_now else said)
    return out
