"""`glue predict IN OUT`: batch scoring with the champion, in bounded memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mlops_glue import config as configs
from mlops_glue import console, io, layout
from mlops_glue.errors import DataError, UsageError
from mlops_glue.schema import Schema


def predict(source: str, target: str, *, version: int | None = None, env: str | None = None) -> int:
    """Score a file, or each table in a folder; the output holds the input's columns, then the prediction."""
    from mlops_glue.adapters.mlflow import BUNDLE_DIGEST, Store
    from mlops_glue.scoring import Bundle

    root = layout.find_root()
    config = configs.load(root, env)
    inputs, outputs = _files(Path(source), Path(target))
    store = Store(root, config.tracking.uri and configs.resolve(config.tracking.uri, "tracking.uri"))
    chosen = version if version is not None else store.champion(config.model_name)
    if chosen is None:
        raise UsageError(f"{config.model_name} has no champion", hint="glue run")
    with tempfile.TemporaryDirectory() as folder:
        kept = store.bundle(config.model_name, chosen, Path(folder))
        if store.tags(config.model_name, chosen).get(BUNDLE_DIGEST) != io.digest(kept):
            raise DataError(f"{config.model_name} v{chosen}: its bundle is not the one that was registered")
        bundle = Bundle(kept)
        for one, out in zip(inputs, outputs, strict=True):
            rows = score_file(bundle, one, out)
            console.progress(f"{out}: {rows:,} rows scored by {config.model_name} v{chosen} ({bundle.format})")
    return 0


def _files(source: Path, target: Path) -> tuple[list[Path], list[Path]]:
    if source.is_dir():
        inputs = sorted(p for p in source.iterdir() if p.name.lower().endswith(io.SUFFIXES))
        if not inputs:
            raise UsageError(f"{source}: no table in this folder", hint=f"one of {', '.join(io.SUFFIXES)}")
        return inputs, [target / (p.name.removesuffix(io.suffix(p)) + ".parquet") for p in inputs]
    if not source.is_file():
        raise UsageError(f"{source}: no such file")
    if not target.name.lower().endswith((".csv", ".parquet")):
        raise UsageError(f"{target}: the output is a .csv or .parquet file")
    return [source], [target]


def score_file(bundle, source: Path, target: Path) -> int:  # type: ignore[no-untyped-def]
    """Score one file into another, batch by batch; returns the number of rows."""
    import pyarrow as pa

    rows = 0
    with io.atomic(target) as temporary:
        writer = None
        for batch in io.batches(source, text=bundle.schema.text):
            value, probability = bundle.predict(batch, where=f"{source} from row {rows + 1}")
            scored = batch.append_column("prediction", pa.array(value))
            schema: Schema = bundle.schema
            if schema.labels is not None and probability is not None:
                for at, label in enumerate(schema.labels):
                    scored = scored.append_column(f"probability_{label}", pa.array(probability[:, at]))
            if writer is None:
                writer = io.writer(temporary, scored.schema, csv=target.name.lower().endswith(".csv"))
            writer.write_table(scored)
            rows += batch.num_rows
        if writer is None:
            raise DataError(f"{source}: has no rows")
        writer.close()
    return rows
