"""Scores tables in bounded memory: while one piece is scored, the next is read and the previous one is written."""

from __future__ import annotations

import logging
import shlex
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import files, other_formats, streaming, tables
from mlops_glue.config import Config
from mlops_glue.delivery.complete import with_features
from mlops_glue.errors import DataError, UsageError
from mlops_glue.scoring import Bundle
from mlops_glue.serving.unseen import UnseenValues

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_glue.explanation import Explained

log = logging.getLogger(__name__)
OUTPUTS = (".csv", ".csv.gz", ".parquet")
MANY = 0.05  # share of a column's values that causes a warning
SHOWN = 5  # categories in a warning


def inputs_and_outputs(source: Path, target: Path) -> tuple[list[Path], list[Path]]:
    """Return the tables to read, and the file to write for each.

    Raises:
        UsageError: a table is missing, or two tables would be written to the same file.
    """
    if source.is_dir():
        inputs = sorted(p for p in source.iterdir() if p.name.lower().endswith(streaming.SUFFIXES))
        if not inputs and any(source.rglob("*.parquet")):
            raise UsageError(f"{source}: its tables are in folders below", hint=other_formats.one_file(source))
        if not inputs:
            raise UsageError(f"{source}: no table in this folder", hint=f"one of {', '.join(streaming.SUFFIXES)}")
        if target.is_file() or target.name.lower().endswith(OUTPUTS):
            raise UsageError(f"{target}: if the input is a folder, the output must be a folder")
        stems = [p.name[: -len(streaming.suffix(p))] for p in inputs]
        outputs = [target / f"{stem}.parquet" for stem in stems]
        twice = next((stem for stem in stems if stems.count(stem) > 1), None)
        if twice is not None:
            raise UsageError(f"{source}: two tables are named {twice!r}", hint="score them one by one")
    else:
        tables.find_table(str(source), source)
        if not target.name.lower().endswith(OUTPUTS):
            raise UsageError(f"{target}: not a file that glue writes", hint=f"one of {', '.join(OUTPUTS)}")
        inputs, outputs = [source], [target]
    if not target.parent.is_dir():
        hint = f"mkdir -p {shlex.quote(str(target.parent))}"
        raise UsageError(f"{target}: there is no folder {target.parent}", hint=hint)
    same = next((i for i, o in zip(inputs, outputs, strict=True) if o.exists() and o.samefile(i)), None)
    if same is not None:
        raise UsageError(f"{same}: is both input and output")
    return inputs, outputs


@dataclass(frozen=True)
class Scored:
    """The outcome of scoring a file: its number of rows and warnings, or why it was refused."""

    rows: int = 0
    warnings: tuple[str, ...] = ()
    refused: DataError | None = None


@dataclass(frozen=True)
class Scorer:
    """Scores files with one model.

    Attributes:
        config: the configuration, which names the code that may run.
        root: the project.
        folder: the model's bundle.
        explained: add the contributions of the columns.
    """

    config: Config
    root: Path
    folder: Path
    explained: bool = False

    @cached_property
    def bundle(self) -> Bundle:
        """The model, with one thread: the last digit of an answer depends on the number of threads."""
        return Bundle(self.folder, trust=self.config.package.trust)

    @cached_property
    def _score(self) -> Callable[..., pa.Table]:
        return _explaining(self.bundle, self.folder) if self.explained else self.bundle.scored

    def __call__(self, source: Path, target: Path, progress: Callable[[float], None] = lambda share: None) -> Scored:
        """Score a file; `progress` is called with the share of it that has been read."""
        complete = partial(with_features, self.config, self.root, self.bundle, where=source)
        try:
            rows, unseen = score_file(self.bundle, source, target, progress, complete, self._score)
        except DataError as error:
            return Scored(refused=error)
        return Scored(rows, tuple(unseen_warnings(self.bundle, rows, unseen)))

    def elsewhere(self) -> Callable[[tuple[Path, Path]], Scored]:
        """Return the same function for a pair of paths, with the bundle's files, to run on another machine."""
        contents = {path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}
        return partial(_unpacked, self.config, self.root, contents, self.explained)


def _unpacked(
    config: Config, root: Path, contents: dict[str, bytes], explained: bool, pair: tuple[Path, Path]
) -> Scored:
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in contents.items():
            Path(scratch, name).write_bytes(content)
        return Scorer(config, root, Path(scratch), explained)(*pair)


def _explaining(bundle: Bundle, folder: Path) -> Callable[..., pa.Table]:
    """Return a function that scores a piece of a file and adds the contributions."""
    from mlops_glue import explanation

    explainer = explanation.of_bundle(bundle, folder)

    def score(typed: pa.Table, carried: pa.Table, **options: Any) -> pa.Table:
        scored = bundle.scored(typed, carried, **options)
        found = explainer.explain(bundle.encoded(typed))
        warn_of_gap(found, options["where"])
        return explanation.appended(scored, found)

    return score


def warn_of_gap(found: Explained, what: str) -> None:
    """Warn if contributions do not add up to the answer."""
    if not found.holds:
        log.warning(
            "warning: %s: base and contributions differ from the answer by up to %.2g: "
            "the model's answers are not repeatable",
            *(what, found.gap),
        )


def score_file(
    bundle: Bundle,
    source: Path,
    target: Path,
    progress: Callable[[float], None],
    complete: Callable[[pa.Table], pa.Table] = lambda rows: rows,
    score: Callable[..., pa.Table] | None = None,
) -> tuple[int, Counter[str]]:
    """Score a file piece by piece, and write the result to another file.

    Args:
        bundle: the model.
        source: a table.
        target: a CSV or Parquet file.
        progress: called with the share of the file that has been read, 0 to 1.
        complete: adds the features that the file does not have to raw rows.
        score: scores a piece; by default `bundle.scored`.

    Returns:
        The number of rows, and by column the number of values that the training data did not contain.
    """
    unseen, counts = UnseenValues(bundle.schema), Counter[str]()
    as_csv = not target.name.lower().endswith(".parquet")
    rows = 0
    looked_up = set(bundle.features.columns) if bundle.features else set()
    optional = [c.name for c in bundle.schema.columns if c.nullable and c.name not in looked_up]
    pieces = streaming.batches(source, decimal=bundle.schema.decimal, verbatim=as_csv, optional=optional, done=progress)
    with files.atomic(target) as temporary, ThreadPoolExecutor(2) as pool:  # no more than three pieces are in memory
        sink = None
        reading, writing = pool.submit(next, pieces, None), Future[None]()
        writing.set_result(None)
        while (piece := reading.result()) is not None:
            reading = pool.submit(next, pieces, None)
            typed, carried = piece
            span = range(rows, rows + typed.num_rows)
            scored = (score or bundle.scored)(complete(typed), carried, where=str(source), rows=span, see=unseen.see)
            counts.update(unseen.count())
            sink = sink or streaming.open_writer(temporary, target, scored.schema)
            writing.result()
            writing = pool.submit(sink.write_table, scored)
            rows += typed.num_rows
        writing.result()
        if sink is not None:
            sink.close()
    return rows, counts


def unseen_warnings(bundle: Bundle, rows: int, counts: Counter[str]) -> list[str]:
    """Return a warning for each column with many unseen values, such as other words or another unit."""
    warnings = []
    for column in bundle.schema.columns:
        if counts[column.name] > MANY * rows:
            if column.categories:
                known = ", ".join(column.categories[:SHOWN]) + ", …" * (len(column.categories) > SHOWN)
            else:
                known = f"{column.minimum:,.7g} to {column.maximum:,.7g}"
            warnings.append(
                f"column {column.name!r}: {counts[column.name]:,} of {rows:,} values do not occur in the training data "
                f"(which has {known}{'' if column.nullable else ', and no null'})"
            )
    return warnings
