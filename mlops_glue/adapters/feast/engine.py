"""A compute engine for Feast that takes Arrow from the offline store to the packed online store, a batch at a time.

    batch_engine: {type: mlops_glue.adapters.feast.engine.ArrowComputeEngine}

Feast's local engine, which makes a Python object of every value and holds them all, does what this one does not: views
that transform, aggregate, join others or are written back offline, value types that are not packed plainly, and every
other online store.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import repeat
from typing import Any, Literal

import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.common.materialization_job import MaterializationJobStatus
from feast.infra.compute_engines.local.compute import LocalComputeEngine
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.repo_config import FeastConfigBaseModel
from feast.utils import _get_column_names

from mlops_glue.adapters.feast.offline import AsofRetrievalJob, cast
from mlops_glue.adapters.feast.online import PLAIN, PackedOnlineStore
from mlops_glue.adapters.feast.packed import encode, key_of
from mlops_glue.tables import is_number

BATCH_ROWS = 65_536


class ArrowComputeEngineConfig(FeastConfigBaseModel):
    """Options of the engine in `feature_store.yaml`."""

    type: Literal["mlops_glue.adapters.feast.engine.ArrowComputeEngine"] = (
        "mlops_glue.adapters.feast.engine.ArrowComputeEngine"
    )


class ArrowComputeEngine(LocalComputeEngine):
    """Feast's local engine, with a short way for plain views into `PackedOnlineStore`."""

    def __init__(self, type: str | None = None, **keywords: Any) -> None:
        """Take what Feast passes on, its own name included."""
        super().__init__(**keywords)

    def _materialize_one(self, registry: Any, task: Any, **keywords: Any) -> Any:
        if not isinstance(self.online_store, PackedOnlineStore) or not _plain(task.feature_view):
            return super()._materialize_one(registry, task, **keywords)
        name = f"{task.feature_view.name}-{task.start_time}-{task.end_time}"
        try:
            self._write(registry, task)
        except Exception as error:  # Feast raises it where it wants to
            return LocalMaterializationJob(name, MaterializationJobStatus.ERROR, error)
        return LocalMaterializationJob(name, MaterializationJobStatus.SUCCEEDED)

    def _write(self, registry: Any, task: Any) -> None:
        view = task.feature_view
        entities = [registry.get_entity(name, task.project) for name in view.entities]
        keys, features, event, created = _get_column_names(view, entities)
        job = self.offline_store.pull_latest_from_table_or_query(
            config=self.repo_config,
            data_source=view.batch_source,
            join_key_columns=keys,
            feature_name_columns=features,
            timestamp_field=event,
            created_timestamp_column=created,
            start_date=task.start_time,
            end_date=task.end_time,
        )
        known, schema = self.online_store.declare(self.repo_config, view)
        file = self.online_store.file(self.repo_config)
        with _batches(job) as batches:
            for batch in batches:
                columns = _columns(view, batch)
                times = [_packed(_times(batch[event])), _packed(_times(batch[created])) if created else repeat(None)]
                packed = map(encode, zip(repeat(schema), *(columns[name] for name, _ in known.features), strict=False))
                ids = map(key_of, zip(*(columns[name] for name in known.keys), strict=True))
                file.write(known.name, zip(ids, *times, packed, strict=False))


def _columns(view: Any, batch: pa.RecordBatch) -> dict[str, list[Any]]:
    """The keys and features of a view by its names, as they are packed."""
    mapping = {old: new for new, old in (view.batch_source.field_mapping or {}).items()}
    columns = {}
    for field in [*view.features, *view.entity_columns]:
        if field.name == DUMMY_ENTITY_ID:
            columns[field.name] = [DUMMY_ENTITY_VAL] * batch.num_rows
        else:
            column = batch[mapping.get(field.name, field.name)]
            columns[field.name] = _packed(cast(column, field.dtype, f"{view.name}:{field.name}"))
    return columns


def _plain(view: Any) -> bool:
    """Whether a view's features are columns of its source, of types that are packed as they are."""
    more = ("feature_transformation", "aggregations", "filter", "source_views", "stream_source", "enable_validation")
    if any(getattr(view, name, None) for name in (*more, "offline")) or view.batch_source is None or not view.online:
        return False
    return all(field.dtype.to_value_type().name in PLAIN for field in [*view.features, *view.entity_columns])


@contextlib.contextmanager
def _batches(job: Any) -> Iterator[Iterator[pa.RecordBatch]]:
    """What a retrieval job gives, in pieces: as it comes from our offline store, out of one table from others."""
    if isinstance(job, AsofRetrievalJob):
        with job.batches(BATCH_ROWS) as batches:
            yield batches
    else:
        yield iter(job.to_arrow().to_batches(max_chunksize=BATCH_ROWS))


def _times(column: Any) -> Any:
    """Times, without a zone UTC, in microseconds."""
    return column.cast(pa.timestamp("us", "UTC"), safe=False)


def _packed(column: Any) -> list[Any]:
    """A column's values as they are packed."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    if pa.types.is_list(column.type) and pa.types.is_timestamp(column.type.value_type):
        whole = pa.ListArray.from_arrays(column.offsets, column.values.cast(pa.int64()), mask=column.is_null())
        return list(whole.to_pylist())
    if is_number(column.type) and column.null_count == 0:
        return list(column.to_numpy(zero_copy_only=False).tolist())
    return list(column.to_pylist())
