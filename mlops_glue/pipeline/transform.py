"""The project's own transform: raw tables in, feature tables out, and the proof that it does not look ahead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import io, layout
from mlops_glue.config import Config
from mlops_glue.errors import CheckFailed, DataError, GlueError, StageError, brief, own_lines
from mlops_glue.modules import imported

if TYPE_CHECKING:
    import pandas as pd

Tables = dict[str, Any]
CUT = 0.6  # of the time that the tables span: what happened later is taken away
CLOSE = 1e-9  # relative; sums in another order differ in their last digits


def load(config: Config) -> Callable[[Tables], Tables]:
    """The function that `features.transform` names.

    Raises:
        ConfigError: it does not import, or is no function.
    """
    found = imported(config.features.transform or "", f"{layout.CONFIG} features.transform", "module:function")
    return found  # type: ignore[no-any-return]


def run(config: Config, root: Path, transform: Callable[[Tables], Tables], tables: Tables) -> Tables:
    """What the function makes of the tables, checked; times in UTC, microseconds.

    Args:
        config: of the project.
        root: the project.
        transform: takes and gives data frames by name.
        tables: pandas frames by source; the function gets copies.

    Raises:
        StageError: it raises; told with the lines of the project's code alone.
        DataError: it gives no frames, an empty one, or two columns of one name.
    """
    named = f"features.transform {config.features.transform}"
    try:
        made = transform({name: table.copy() for name, table in tables.items()})
    except GlueError:
        raise
    except Exception as error:
        raise StageError(f"{named}: {brief(error)}{own_lines(error, root)}") from error
    import pandas as pd

    if not isinstance(made, dict) or not all(isinstance(t, pd.DataFrame) for t in made.values()):
        raise DataError(f"{named}: gives {type(made).__name__}", hint="return a dict of data frames by name")
    for name, table in made.items():
        twice = sorted({str(c) for c in table.columns if list(table.columns).count(c) > 1})
        if table.empty:
            raise DataError(f"{named}: the table {name!r} is empty")
        if twice:
            raise DataError(f"{named}: the table {name!r} has two columns {twice[0]!r}")
        for column in table.columns:
            if isinstance(table[column].dtype, pd.DatetimeTZDtype) or table[column].dtype.kind == "M":
                table[column] = _utc(table[column])
    return made


def _utc(values: Any) -> Any:
    """Naive times count as UTC, as Feast takes them."""
    aware = values.dt.tz_localize("UTC") if values.dt.tz is None else values.dt.tz_convert("UTC")
    return aware.dt.as_unit("us")


def write(root: Path, made: Tables) -> None:
    """One Parquet file for each table.

    Raises:
        DataError: a column is of values that have no common type.
    """
    import pyarrow as pa

    for name, table in made.items():
        try:
            columns = pa.Table.from_pandas(table, preserve_index=False)
        except pa.ArrowException as error:
            raise DataError(f"features.transform: the table {name!r}: {': '.join(map(str, error.args))}") from error
        io.write_parquet(root / layout.FEATURE_TABLES / f"{name}.parquet", columns)


def check_no_future(
    config: Config,
    transform: Callable[[Tables], Tables],
    tables: Tables,
    made: Tables,
    clocks: dict[str, tuple[list[str], str]],
) -> None:
    """Take away what happened after a moment: what the transform said of the time before it must stay the same.

    Args:
        config: of the project.
        transform: as `run` takes it.
        tables: the raw tables.
        made: what came of them.
        clocks: of each made table that Feast reads, its keys and the column that says when.

    Raises:
        CheckFailed: a value changed, so it was computed with the future.
    """
    import pandas as pd

    when = {name: _clock(config, name) for name in tables}
    spans = [tables[name][column] for name, column in when.items() if column is not None]
    if not spans or not clocks:
        return
    first, last = min(s.min() for s in spans), max(s.max() for s in spans)
    cut = first + (last - first) * CUT
    before = {name: table if when[name] is None else table[table[when[name]] <= cut] for name, table in tables.items()}
    if any(table.empty for table in before.values()):
        return
    try:
        again = transform({name: table.copy() for name, table in before.items()})
    except Exception as error:
        raise StageError(
            f"features.transform {config.features.transform}: with the rows up to {cut} alone: "
            f"{brief(error)}{own_lines(error, Path.cwd())}",
            hint="it is run again on a part of the data, to see that it does not look ahead",
        ) from error
    for name, (keys, clock) in clocks.items():
        if name not in made or clock not in made[name] or name not in again:
            continue
        old, new = (_before(t[name], keys, clock, cut) for t in (made, again))
        said = _difference(old, new, keys, clock)
        if said is not None:
            moment = pd.Timestamp(cut).isoformat(timespec="seconds")
            raise CheckFailed(
                f"features.transform looks ahead: {name} {said} without what happened after {moment}",
                hint="at each row use only rows before its time",
            )


def _clock(config: Config, name: str) -> str | None:
    stamp = config.data.sources[name].timestamp
    return stamp if isinstance(stamp, str) else None


def _before(table: pd.DataFrame, keys: list[str], clock: str, cut: Any) -> pd.DataFrame:
    import pandas as pd

    moments = pd.to_datetime(table[clock], utc=True)
    kept: pd.DataFrame = table[(moments <= cut).to_numpy()].sort_values([*keys, clock], kind="stable")
    return kept.reset_index(drop=True)


def _difference(old: pd.DataFrame, new: pd.DataFrame, keys: list[str], clock: str) -> str | None:
    """The first value that differs, as text."""
    import numpy as np
    import pandas as pd

    if len(old) != len(new):
        return f"has {len(old):,} rows of that time, and {len(new):,}"
    for column in [c for c in old.columns if c in new.columns]:
        a, b = old[column], new[column]
        both_null = (a.isna() & b.isna()).to_numpy()
        if pd.api.types.is_numeric_dtype(a) and pd.api.types.is_numeric_dtype(b):
            same = np.isclose(a.to_numpy(float, na_value=np.nan), b.to_numpy(float, na_value=np.nan), rtol=CLOSE)
        else:
            same = (a.astype(object) == b.astype(object)).to_numpy()
        wrong = np.flatnonzero(~(same | both_null))
        if len(wrong):
            row = old.loc[wrong[0]]
            of = ", ".join(f"{key} {row[key]}" for key in keys)
            return f"{column} of {of} at {row[clock]} is {a[wrong[0]]}, and {b[wrong[0]]}"
    return None
