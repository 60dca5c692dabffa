"""`glue predict IN OUT`: batch scoring with the champion, in bounded memory."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from mlops_glue import config as configs
from mlops_glue import console, layout
from mlops_glue.delivery.complete import with_features
from mlops_glue.delivery.fetch import as_run_left_it, of_registry, read_only
from mlops_glue.errors import DataError, UsageError, combined
from mlops_glue.scaffold.outputs import check_outputs
from mlops_glue.serving import score_files


def predict(
    source: str, target: str, *, kind: str | None = None, version: int | None = None, env: str | None = None
) -> int:
    """Score a file, or each table in a folder; the output holds the input's columns, then the prediction.

    Raises:
        DataError: tables cannot be scored; the others of the folder are.
    """
    if kind is not None and "-" not in (source, target):
        raise UsageError("--format is of standard input and output", hint=f"glue predict - - --format {kind}")
    if target == "-" and (Path(source).is_dir() or (kind == "parquet" and sys.stdout.isatty())):
        raise UsageError("standard output takes one table, and no Parquet where it is a terminal", hint="name a file")
    with tempfile.TemporaryDirectory() as scratch:
        stdin = Path(scratch, f"in.{kind or 'csv'}")
        stdout = Path(scratch, f"out.{kind if kind == 'parquet' else 'csv'}")
        if source == "-":
            with stdin.open("wb") as file:  # it is read more than once
                shutil.copyfileobj(sys.stdin.buffer, file)
        inputs, outputs = score_files.inputs_and_outputs(
            stdin if source == "-" else Path(source), stdout if target == "-" else Path(target)
        )
        refused = _score(inputs, outputs, {stdin: "standard input", stdout: "standard output"}, version, env)
        if refused:
            raise combined(refused)
        if target == "-":
            console.whole_file(stdout)
    return 0


def _score(
    inputs: list[Path], outputs: list[Path], streams: dict[Path, str], version: int | None, env: str | None
) -> list[DataError]:
    """Score each file; returns what is wrong with those that cannot be scored."""
    from mlops_glue.scoring import Bundle

    root = layout.find_root()
    config = configs.load(root, env, needs=configs.A_MODEL)
    check_outputs(root, [path for path in outputs if path not in streams], config)
    refused: list[DataError] = []
    with tempfile.TemporaryDirectory() as scratch:
        chosen, folder = as_run_left_it(root, config, version) or of_registry(
            read_only(root, config), root, config, version, Path(scratch)
        )
        bundle = Bundle(folder, threads=os.cpu_count() or 1)
        for source, target in zip(inputs, outputs, strict=True):
            name = streams.get(source, str(source))
            with console.progress_bar(streams.get(source, source.name)) as progress:
                complete = partial(with_features, config, root, bundle, where=source)
                try:
                    rows, unseen = score_files.score_file(bundle, source, target, progress, complete)
                except DataError as error:
                    refused.append(DataError(error.message.replace(str(source), name), hint=error.hint))
                    continue
            for warning in score_files.unseen_warnings(bundle, rows, unseen):
                console.progress(f"warning: {name}: {warning}")
            written = streams.get(target, str(target))
            model = f"{config.model_name} v{chosen} ({bundle.format})"
            console.progress(f"{written}: {console.rows(rows)} scored by {model}")
    return refused
