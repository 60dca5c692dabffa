"""The window of a monitoring run: the rows of the prediction log that it covers, read in pieces of bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlops_glue import config as configs
from mlops_glue import parsing, streaming
from mlops_glue.errors import ToolError, UsageError, first_line
from mlops_glue.layout import CONFIG, LOGGED
from mlops_glue.log_place import LogPlace, opened

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1  # of the prediction log
AHEAD = timedelta(minutes=5)  # tolerated clock difference
CELLS = 1 << 20  # in a piece
UNREADABLE = (OSError, ValueError, KeyError, TypeError)  # Arrow's errors, and tables that glue did not write
File = tuple[LogPlace, str]  # its location and name


def span(last: str) -> timedelta:
    """Parse a duration such as 7d.

    Raises:
        UsageError: the text has another form.
    """
    if re.fullmatch(configs.WINDOW, last) is None:
        raise UsageError(f"--last {last}: must be a duration", hint="--last 12h, --last 7d or --last 4w")
    return configs.span(last)


def moment(text: str) -> datetime:
    """Parse an ISO 8601 time, in UTC if it has no offset.

    Raises:
        UsageError: the text has another form.
    """
    try:
        when = datetime.fromisoformat(text)
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"--since {text}: must be a time", hint="--since 2026-11-25 or 2026-11-25T10:00:00Z") from None


def of_log(
    config: configs.Config, root: Path, now: datetime, *, last: str | None, since: str | None, rows: int | None
) -> Window:
    """Return the requested window of the prediction log; without `last`, `since` and `rows`, `monitor.last` applies.

    Raises:
        UsageError: there is no log, or the window is not valid.
    """
    if config.serve.prediction_log is None:
        raise UsageError(
            f"{CONFIG} serve.prediction_log: not set, so there are no served rows to monitor",
            hint="serve: {prediction_log: data/predictions}, or glue monitor --current FILE",
        )
    where = configs.resolve(config.serve.prediction_log, "serve.prediction_log")
    folder = opened(where, root)
    begin = moment(since) if since is not None else None
    if begin is not None and begin > now:
        raise UsageError(f"--since {since}: is in the future", hint=f"it is {now.isoformat(timespec='seconds')}")
    if begin is None and rows is None:
        begin = now - span(last or config.monitor.last)
    return Window(folder, config.model_name, begin, now, rows)


@dataclass
class Window:
    """Rows of the prediction log, answered in `[since, until)`.

    Attributes:
        folder: the log.
        model: the model's name; rows of other models in the same log are excluded.
        since: the window's beginning; None: determined by `rows`.
        until: its end.
        rows: the maximum number of rows, latest first.
        waiting: files that are not uploaded to the log yet, with their future names.
        problems: files and rows that were not used, in words.
    """

    folder: LogPlace
    model: str
    since: datetime | None
    until: datetime
    rows: int | None = None
    waiting: LogPlace | None = None
    problems: list[str] = field(default_factory=list)

    def files(self) -> dict[int, list[File]]:
        """Return the files that may contain rows in the window, by version, newest day first."""
        folders = [self.folder, *([self.waiting] if self.waiting is not None else [])]
        named = {name: folder for folder in folders for name, _, _ in folder.files()}  # a file may be in both
        found: dict[int, list[File]] = {}
        for name in sorted(named, reverse=True):
            if (match := LOGGED.search(name)) is None:
                continue
            day = datetime.fromisoformat(match.group(1)).replace(tzinfo=UTC)
            if self.since is None or day + timedelta(days=1) > self.since:
                found.setdefault(int(match.group(2)), []).append((named[name], name))
        return found

    def resolve_start(self, version: int | None = None) -> None:
        """Set `since` so that the window contains `rows` rows, of one version or of all."""
        if self.rows is None:
            return

        def day(file: File) -> str:
            return file[1].partition("/")[0]

        found = [file for number, own in self.files().items() if version in (None, number) for file in own]
        newest = np.empty(0, "datetime64[us]")
        for _, of_day in groupby(sorted(found, key=day, reverse=True), day):
            times = [piece.column("glue_time").to_numpy() for piece in self.pieces(list(of_day), ["glue_time"])]
            newest = np.sort(np.concatenate([newest, *times]).astype(newest.dtype))[-self.rows :]
            if len(newest) == self.rows:
                break
        if len(newest):
            self.since = datetime.fromtimestamp(newest[0].astype(np.int64) / 1e6, UTC)

    def pieces(self, files: list[File], columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Yield the answered rows of files that are in the window.

        Raises:
            ToolError: the log was written by a newer glue.
        """
        for folder, name in files:
            try:
                yield from self._of_file(folder, name, columns)
            except UNREADABLE as error:
                self._problem(f"{name}: cannot be read: {first_line(error, 120)}")

    def _of_file(self, folder: LogPlace, name: str, columns: list[str] | None) -> Iterator[pa.Table]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with folder.open(name) as stream, pq.ParquetFile(stream, **streaming.PARQUET_OPTIONS) as file:
            about = file.schema_arrow.metadata or {}
            if int(about.get(b"glue.prediction_log", b"1")) > FORMAT:
                raise ToolError(f"{name}: written by a newer version of glue", hint="pip install -U mlops-glue")
            if about.get(b"glue.model", self.model.encode()) != self.model.encode():
                return
            needed = [c for c in file.schema_arrow.names if columns is None or c in (*columns, "glue_answered")]
            for batch in file.iter_batches(max(CELLS // len(needed), 1024), columns=needed):
                table = self._chosen(pa.Table.from_batches([batch]), name)
                if table.num_rows:
                    yield table

    def _chosen(self, table: pa.Table, name: str) -> pa.Table:
        when = table.column("glue_time").to_numpy().astype("datetime64[us]")
        until = np.datetime64(self.until.replace(tzinfo=None), "us")
        mask = (when < until) & table.column("glue_answered").to_numpy()
        if late := int((when >= until + np.timedelta64(int(AHEAD.total_seconds()), "s")).sum()):
            self._problem(f"{name}: {late} rows are in the future and are excluded: is a clock wrong?")
        if self.since is not None:
            mask &= when >= np.datetime64(self.since.astimezone(UTC).replace(tzinfo=None), "us")
        return table if mask.all() else table.filter(mask)

    def _problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)


def pieces_of(path: Path, types: dict[str, str], decimal: str = ".") -> Iterator[pa.Table]:
    """Yield the rows of a table in pieces. Columns that were text in training, by their Arrow `types`, stay text.

    Raises:
        DataError: the file cannot be read, or has no rows.
    """
    for modelled, typed in streaming.batches(path, decimal=decimal):
        if streaming.suffix(path) == ".parquet":
            yield modelled
            continue
        for at, name in enumerate(typed.column_names):
            if types.get(name) == "string" and parsing.is_text(modelled.column(name).type):
                typed = typed.set_column(at, name, parsing.with_nulls(modelled.column(name)))
        yield typed
