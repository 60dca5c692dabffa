"""skew: will a model be served what it was trained on? Some of the holdout is replayed through the online store."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mlops_glue import features as feast
from mlops_glue import io, layout
from mlops_glue.adapters.feast.repo import Repository, utc
from mlops_glue.config import Config
from mlops_glue.errors import ToolError
from mlops_glue.records import FeatureList, View
from mlops_glue.schema import moments

ROWS = 20  # of the holdout, spread over its time


def replay(config: Config, root: Path, features: FeatureList) -> tuple[int, list[str]]:
    """Fill the online store as it was at the time of each sampled row, and read it: the number of rows, what differs.

    The store is the configured one, under a project name of its own that is taken away after; its sources hold the
    sampled entities alone.
    """
    rows = io.read_parquet(root / layout.TEST, [layout.ROW, layout.WHEN])
    order = np.argsort(rows.column(layout.WHEN).to_numpy(), kind="stable")
    at = io.spread(len(order), ROWS)
    sample = io.read_parquet(root / layout.JOINED).take(rows.column(layout.ROW).take(order[at]))
    when = moments(sample, config.source.timestamps, features.day_first)
    keys = sample.select(list(dict.fromkeys([*features.keys, *features.request]))).to_pylist()
    known = [at for at, key in enumerate(keys) if all(key[name] is not None for name in features.keys)]
    with tempfile.TemporaryDirectory() as folder:
        repository = feast.open_live(config, root, replay_in=Path(folder))
        repository.replace_sources(lambda path: _filtered(root, path, features, keys, Path(folder)))
        repository.apply()
        try:
            return len(known), _differences(repository, features, sample, when, keys, known)
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
    table = io.read_parquet(path)
    kept = np.zeros(table.num_rows, bool)
    for view in views:
        about = np.ones(table.num_rows, bool)
        for key, column in view.keys.items():
            values = feast.source_rows(root, view, [key]).column(key)
            asked = pa.array([one[column] for one in keys]).cast(values.type)
            about &= pc.is_in(values, asked).to_numpy()
        kept |= about
    out = folder / f"{views[0].name}.parquet"
    io.write_parquet(out, table.filter(pa.array(kept)))
    return out


def _differences(
    repository: Repository, features: FeatureList, sample: Any, when: Any, keys: list[dict[str, Any]], known: list[int]
) -> list[str]:
    start = utc("1970-01-01")
    stored = sorted({view.of for view in features.views if not view.on_demand})
    out = []
    for at in known:
        now = utc(when[at])
        repository.materialize(stored, start, now)
        (row,) = repository.read(features.use, features.views, [keys[at]], now)
        for column, ref in features.columns.items():
            trained, served = sample.column(column)[at].as_py(), row[ref.replace(":", "__")]
            if not feast.same(trained, served, feast.kind_of(features, ref)):
                about = ", ".join(f"{name} {keys[at][name]}" for name in _view(features, ref).keys.values())
                out.append(
                    f"skew: {ref} of {about} at {now:%Y-%m-%d %H:%M:%S} is {trained!r} in training and {served!r} from "
                    "the online store"
                )
    return out


def _view(features: FeatureList, ref: str) -> View:
    return next(view for view in features.views if view.name == ref.partition(":")[0])
