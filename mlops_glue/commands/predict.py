"""`glue predict IN OUT` and `glue explain`: score tables in bounded memory, and explain predictions."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlops_glue import config as configs
from mlops_glue import console, engine, files, layout
from mlops_glue.delivery.fetch import as_left_or_registered
from mlops_glue.errors import DataError, UsageError, combined
from mlops_glue.scaffold.outputs import check_outputs
from mlops_glue.serving import score_files

AVERAGED = 200  # rows of the holdout to average over


def explain(
    source: str | None = None,
    target: str | None = None,
    *,
    version: int | None = None,
    as_json: bool = False,
    env: str | None = None,
) -> int:
    """Show each column's contribution to the prediction: per row of a file, or averaged over the holdout."""
    if source is not None and target is not None:
        return predict(source, target, version=version, env=env, explained=True)
    if source is not None:
        raise UsageError(f"{source}: the output file is missing", hint=f"glue explain {source} explained.csv")
    from mlops_glue import explanation, tables
    from mlops_glue.drift import sample_part
    from mlops_glue.scoring import Bundle

    root = layout.find_root()
    config = configs.load(root, env, needs=configs.A_MODEL, tables=False)
    with tempfile.TemporaryDirectory() as scratch:
        chosen, folder = as_left_or_registered(root, config, version, Path(scratch))
        bundle = Bundle(folder, threads=os.cpu_count() or 1, trust=config.package.trust)
        explainer = explanation.of_bundle(bundle, folder)
        holdout = sample_part(tables.read_parquet(folder / layout.SAMPLE), "test")
        some = holdout.take(tables.evenly_spaced(holdout.num_rows, AVERAGED))
        found = explainer.explain(bundle.encoded(some.select(explainer.columns)))
    means = abs(found.contributions).mean(axis=0)
    order = sorted(zip(found.columns, means.tolist(), strict=True), key=lambda pair: -pair[1])
    if as_json:
        console.result_json({"version": chosen, "rows": some.num_rows, "columns": dict(order), "gap": found.gap})
        return 0
    what = "the value" if bundle.schema.labels is None else "the probability"
    console.result(
        f"{config.model_name} v{chosen}: how far each column moves {what}, averaged over {some.num_rows} rows"
    )
    console.table([[name, f"{mean:.4g}"] for name, mean in order], ["column", "mean |contribution|"])
    if found.holds:
        console.result(f"base and contributions add up to each prediction, within {found.gap:.1g}")
    score_files.warn_of_gap(found, f"{config.model_name} v{chosen}")
    return 0


def predict(
    source: str,
    target: str,
    *,
    kind: str | None = None,
    version: int | None = None,
    env: str | None = None,
    explained: bool = False,
) -> int:
    """Score a file, or each table in a folder; the output contains the input's columns, then the prediction.

    Raises:
        DataError: some tables cannot be scored; the other tables of the folder are scored.
    """
    if kind is not None and "-" not in (source, target):
        raise UsageError("--format applies only to standard input and output", hint=f"glue predict - - --format {kind}")
    if target == "-" and (Path(source).is_dir() or (kind == "parquet" and sys.stdout.isatty())):
        raise UsageError(
            "standard output accepts only one table, and a terminal no Parquet", hint="give an output file"
        )
    with tempfile.TemporaryDirectory() as scratch:
        stdin = Path(scratch, f"in.{kind or 'csv'}")
        stdout = Path(scratch, f"out.{kind if kind == 'parquet' else 'csv'}")
        if source == "-":
            with stdin.open("wb") as file:  # it is read more than once
                shutil.copyfileobj(sys.stdin.buffer, file)
        inputs, outputs = score_files.inputs_and_outputs(
            stdin if source == "-" else Path(source), stdout if target == "-" else Path(target)
        )
        streams = {stdin: "standard input", stdout: "standard output"}
        refused = _score(inputs, outputs, streams, version, env, explained=explained)
        if refused:
            raise combined(refused)
        if target == "-":
            console.whole_file(stdout)
    return 0


def _score(
    inputs: list[Path],
    outputs: list[Path],
    streams: dict[Path, str],
    version: int | None,
    env: str | None,
    *,
    explained: bool,
) -> list[DataError]:
    """Score each file; return the errors of files that cannot be scored."""
    root = layout.find_root()
    config = configs.load(root, env, needs=configs.A_MODEL)
    check_outputs(root, [path for path in outputs if path not in streams], config)
    refused: list[DataError] = []
    with tempfile.TemporaryDirectory() as scratch:
        chosen, folder = as_left_or_registered(root, config, version, Path(scratch))
        scorer = score_files.Scorer(config, root, folder, explained)
        model = f"{config.model_name} v{chosen} ({scorer.bundle.form})"
        pairs = list(zip(inputs, outputs, strict=True))
        for (source, target), scored in zip(pairs, _each(scorer, pairs, streams), strict=True):
            name, written = streams.get(source, str(source)), streams.get(target, str(target))
            if (error := scored.refused) is not None:
                hint = None if source in streams and str(source) in (error.hint or "") else error.hint
                refused.append(DataError(error.message.replace(str(source), name), hint=hint))
                continue
            for warning in scored.warnings:
                console.progress(f"warning: {name}: {warning}")
            console.progress(
                f"{written}: {console.rows(scored.rows)} {'explained' if explained else 'scored'} by {model}"
            )
    return refused


def _each(
    scorer: score_files.Scorer, pairs: list[tuple[Path, Path]], streams: dict[Path, str]
) -> Iterator[score_files.Scored]:
    """Score each file and yield the outcome; several files are scored by the engine of `compute`."""
    work = engine.opened(scorer.config) if len(pairs) > 1 else contextlib.nullcontext()
    with files.swept([target for _, target in pairs]), work as bind:
        if bind is not None:
            yield from bind(scorer.elsewhere())(pairs)
            return
        for source, target in pairs:
            with console.progress_bar(streams.get(source, source.name)) as progress:
                scored = scorer(source, target, progress)
            yield scored
