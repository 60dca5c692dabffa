"""`glue predict IN OUT`: batch scoring with the champion, in bounded memory."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue import console, files, layout, streaming, tables
from mlops_glue.delivery.complete import with_features
from mlops_glue.delivery.fetch import of_registry, read_only
from mlops_glue.errors import DataError, UsageError, combined
from mlops_glue.pipeline import up_to_date
from mlops_glue.scaffold.outputs import check_outputs
from mlops_glue.serving.outside import Outside

if TYPE_CHECKING:
    from mlops_glue.scoring import Bundle

OUTPUTS = (".csv", ".csv.gz", ".parquet")
MANY = 0.05  # share of a column's values


def predict(
    source: str, target: str, *, kind: str | None = None, version: int | None = None, env: str | None = None
) -> int:
    """Score a file, or each table in a folder; the output holds the input's columns, then the prediction.

    Args:
        source: a table, a folder of tables, or - for standard input.
        target: a file, a folder, or - for standard output, which gets the whole result or nothing.
        kind: the format of standard input, default csv; standard output is csv but where this is parquet.
        version: a model version; default the champion.
        env: an entry of `environments`.

    Raises:
        DataError: tables cannot be scored; the others of the folder are.
    """
    if kind is not None and "-" not in (source, target):
        raise UsageError("--format is of standard input and output", hint=f"glue predict - - --format {kind}")
    if target == "-" and (Path(source).is_dir() or (kind == "parquet" and sys.stdout.isatty())):
        raise UsageError("standard output takes one table, and no Parquet where it is a terminal", hint="name a file")
    with tempfile.TemporaryDirectory() as scratch:
        came, goes = Path(scratch, f"in.{kind or 'csv'}"), Path(scratch, f"out.{kind if kind == 'parquet' else 'csv'}")
        if source == "-":
            with came.open("wb") as file:  # it is read more than once
                shutil.copyfileobj(sys.stdin.buffer, file)
        inputs, outputs = _files(came if source == "-" else Path(source), goes if target == "-" else Path(target))
        refused = _scored(inputs, outputs, {came: "standard input", goes: "standard output"}, version, env)
        if refused:
            raise combined(refused)
        if target == "-":
            console.whole_file(goes)
    return 0


def _scored(
    inputs: list[Path], outputs: list[Path], streams: dict[Path, str], version: int | None, env: str | None
) -> list[DataError]:
    """Score each file; what is wrong with those that cannot be."""
    from mlops_glue.scoring import Bundle

    root = layout.find_root()
    config = configs.load(root, env, needs=configs.A_MODEL)
    check_outputs(root, [path for path in outputs if path not in streams], config)
    refused: list[DataError] = []
    with tempfile.TemporaryDirectory() as scratch:
        chosen, folder = as_run_left_it(root, config, env, version) or of_registry(
            read_only(root, config), root, config, version, Path(scratch)
        )
        bundle = Bundle(folder, threads=os.cpu_count() or 1)
        for one, out in zip(inputs, outputs, strict=True):
            named = streams.get(one, str(one))
            with console.rows_bar(streams.get(one, one.name)) as advance:
                complete = partial(with_features, config, root, bundle, where=one)
                try:
                    rows, outside = score_file(bundle, one, out, advance, complete)
                except DataError as error:
                    refused.append(DataError(error.message.replace(str(one), named), hint=error.hint))
                    continue
            _warn(named, bundle, rows, outside)
            went = streams.get(out, str(out))
            console.progress(f"{went}: {console.rows(rows)} scored by {config.model_name} v{chosen} ({bundle.format})")
    return refused


def _warn(source: str, bundle: Bundle, rows: int, outside: Counter[str]) -> None:
    """A line for each column of which many values are none that training had: other words, another unit."""
    for column in bundle.schema.columns:
        if outside[column.name] > MANY * rows:
            if column.categories:
                known = ", ".join(column.categories[:5]) + ", …" * (len(column.categories) > 5)
            else:
                known = f"{column.minimum:,.7g} to {column.maximum:,.7g}"
            console.progress(
                f"warning: {source}: column {column.name!r}: {outside[column.name]:,} of {rows:,} values are none that "
                f"training had (it had {known})"
            )


def as_run_left_it(root: Path, config: configs.Config, env: str | None, version: int | None) -> tuple[int, Path] | None:
    """The champion, where it is plainly what the last run made and nothing has changed since: no tool is imported."""
    if up_to_date.load(root, env or os.environ.get("GLUE_ENV")) is None:
        return None
    told = files.read_json(root / layout.DELIVERY)
    mine = told["model"] == config.model_name and told["champion"] == told["version"]
    return (told["version"], root / layout.BUNDLE) if mine and version in (None, told["version"]) else None


def _files(source: Path, target: Path) -> tuple[list[Path], list[Path]]:
    if source.is_dir():
        inputs = sorted(p for p in source.iterdir() if p.name.lower().endswith(tables.SUFFIXES))
        if not inputs:
            raise UsageError(f"{source}: no table in this folder", hint=f"one of {', '.join(tables.SUFFIXES)}")
        if target.is_file() or target.name.lower().endswith(OUTPUTS):
            raise UsageError(f"{target}: for a folder of tables the output is a folder")
        stems = [p.name[: -len(tables.suffix(p))] for p in inputs]
        outputs = [target / f"{stem}.parquet" for stem in stems]
        twice = next((s for s in stems if stems.count(s) > 1), None)
        if twice is not None:
            raise UsageError(f"{source}: two tables are named {twice!r}", hint="score them one by one")
    else:
        tables.find_table(str(source), source)
        if not target.name.lower().endswith(OUTPUTS):
            raise UsageError(f"{target}: not a file that glue writes", hint=f"one of {', '.join(OUTPUTS)}")
        inputs, outputs = [source], [target]
    if not target.parent.is_dir():
        raise UsageError(
            f"{target}: there is no folder {target.parent}", hint=f"mkdir -p {shlex.quote(str(target.parent))}"
        )
    same = next((i for i, o in zip(inputs, outputs, strict=True) if o.exists() and o.samefile(i)), None)
    if same is not None:
        raise UsageError(f"{same}: is input and output at once")
    return inputs, outputs


def score_file(
    bundle: Bundle,
    source: Path,
    target: Path,
    advance: Callable[..., None],
    complete: Callable[[Any], Any] = lambda rows: rows,
) -> tuple[int, Counter[str]]:
    """Score one file into another, piece by piece.

    Args:
        bundle: the model.
        source: a table.
        target: a CSV or Parquet file.
        advance: called with the `share` of the file that is read, and with the number of `rows` that are done.
        complete: gives raw rows the features that the file does not have.

    Returns:
        The number of rows, and how many have a value that training did not have, by column.
    """
    seen, outside = Outside(bundle.schema), Counter[str]()
    as_csv = not target.name.lower().endswith(".parquet")
    rows = 0
    asked = set(bundle.features.columns) if bundle.features else set()
    optional = [c.name for c in bundle.schema.columns if c.nullable and c.name not in asked]
    pieces = streaming.batches(source, decimal=bundle.schema.decimal, verbatim=as_csv, optional=optional, done=advance)
    # the next piece is read and the last one written while this one is scored; no more than three are in memory
    with files.atomic(target) as temporary, ThreadPoolExecutor(2) as pool:
        sink: Any = None
        ahead, behind = pool.submit(next, pieces, None), None
        while (piece := ahead.result()) is not None:
            ahead = pool.submit(next, pieces, None)
            typed, carried = piece
            here = range(rows, rows + typed.num_rows)
            scored = bundle.scored(complete(typed), carried, where=str(source), rows=here, see=seen.see)
            outside.update(seen.count())
            if sink is None:
                sink = streaming.open_writer(temporary, target, scored.schema)
            if behind is not None:
                behind.result()
            behind = pool.submit(sink.write_table, scored)
            rows += typed.num_rows
            advance(rows=typed.num_rows)
        if behind is not None:
            behind.result()
        sink.close()
    return rows, outside
