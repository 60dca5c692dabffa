"""A version of a model in Python, with the same predictions as `glue predict` and `glue explain`."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Collection, Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue import tables
from mlops_glue.errors import DataError, UsageError
from mlops_glue.explanation import added
from mlops_glue.serving import score_files

if TYPE_CHECKING:
    import pandas as pd

Rows = Any  # a data frame, an Arrow table, a mapping of columns, a sequence of mappings, or the path of a table
THE_ROWS = "the rows"


class Model:
    """One version of a model, loaded from its checked bundle.

    Rows are a pandas frame, an Arrow table, a mapping of columns or of a single row, a sequence of mappings, or the
    path of a table. They contain the raw columns of the training data, in any order; other columns are ignored.
    Features that the rows lack come from Feast, as for `glue predict`.

    Attributes:
        name: name of the registered model.
        version: number of the version.
        form: `onnx` or `skops`, and the custom code that the model runs, if any.
    """

    def __init__(self, config: configs.Config, root: Path, version: int, folder: Path) -> None:
        """Load the bundle in `folder`, which must not change while the model is used."""
        self.name, self.version = config.model_name, version
        self._score, self._explain = (
            score_files.Scorer(config, root, folder, explained) for explained in (False, True)
        )
        self._schema, self.form = self._score.bundle.schema, self._score.bundle.form

    @property
    def schema(self) -> pd.DataFrame:
        """Return the input columns: name, kind, type, nulls in training, categories, minimum and maximum."""
        import pandas as pd

        keys = ("name", "kind", "dtype", "nullable", "categories", "minimum", "maximum")
        columns = [asdict(column) for column in self._schema.columns]
        return pd.DataFrame([{key: column[key] for key in keys} for column in columns]).set_index("name")

    def predict(self, rows: Rows) -> pd.Series[Any]:
        """Predict the label, or the number, of each row; None if the model has no prediction for it.

        Returns:
            A series with the index of the frame.

        Raises:
            DataError: the rows lack a column, or a value cannot be read.
        """
        return self._scored(rows, self._score)["prediction"]

    def predict_proba(self, rows: Rows) -> pd.DataFrame:
        """Predict the probability of each class, in a column per label, with the index of the frame.

        Raises:
            UsageError: the model predicts a number, or has no probabilities.
            DataError: the rows lack a column, or a value cannot be read.
        """
        schema = self._schema
        if schema.labels is None:
            raise UsageError(f"{self.name} predicts a number, so it has no probabilities", hint="model.predict(rows)")
        scored = self._scored(rows, self._score)
        names = {f"probability_{label}": label for label in schema.labels}
        if not set(names) <= set(scored.columns):
            raise UsageError(f"{self.name} has no probabilities", hint="model.predict(rows)")
        return scored[list(names)].rename(columns=names)

    def explain(self, rows: Rows) -> pd.DataFrame:
        """Return each column's contribution to the prediction of each row: `base`, then a column per raw column.

        The base and the contributions add up to the probability of the positive class, in a multiclass task to the
        probability of the predicted class, and in a regression to the predicted number.

        Raises:
            DataError: the rows lack a column, or a value cannot be read.
        """
        found = self._scored(rows, self._explain)
        columns = [column.name for column in self._schema.columns]
        return found[added(columns)].set_axis(["base", *columns], axis=1)

    def _scored(self, rows: Rows, score: score_files.Scorer) -> pd.DataFrame:
        """Return the columns that `glue predict` would add to the rows."""
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "rows.parquet"), Path(folder, "scored.parquet")
            features, columns = score.bundle.features, [column.name for column in self._schema.columns]
            earlier = {*self._schema.answers, *added(columns)} - {*(features.asked_by if features else [])}
            source, index = written(rows, source, earlier)
            done = score(source, target)
            if done.refused is not None:
                raise DataError(done.refused.message.replace(str(source), THE_ROWS), hint=done.refused.hint)
            for warning in done.warnings:
                warnings.warn(warning, stacklevel=3)
            scored = tables.to_pandas(tables.read_parquet(target))
        if index is not None:
            scored.index = index
        return scored

    def __repr__(self) -> str:
        """Return the name, version, form and target."""
        return f"{self.name} v{self.version} ({self.form}), predicts {self._schema.target!r}"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<p>{escape(repr(self))}</p>{self.schema.to_html(border=0)}"


def written(rows: Rows, path: Path, without: Collection[str] = ()) -> tuple[Path, Any]:
    """Return rows as a file: the file that they name, or else `path`, which is written.

    Args:
        rows: rows in any form that `Model` accepts.
        path: the Parquet file to write.
        without: columns that are not written, such as those of earlier predictions.

    Returns:
        The file, and the index if the rows are a frame.

    Raises:
        UsageError: the file does not exist.
        DataError: the rows are not a table.
    """
    import pandas as pd
    import pyarrow as pa

    if isinstance(rows, str | PathLike):
        tables.find_table(str(rows), Path(rows))
        return Path(rows), None
    try:
        if isinstance(rows, Mapping) and all(value is None or pd.api.types.is_scalar(value) for value in rows.values()):
            rows = [rows]  # a single row
        frame = rows if isinstance(rows, pd.DataFrame | pa.Table) else pd.DataFrame(rows)
        names = list(frame.column_names if isinstance(frame, pa.Table) else map(str, frame.columns))
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise DataError(f"{THE_ROWS}: two columns are named {twice!r}", hint="rename one of them")
        table = frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame, preserve_index=False)
    except (ValueError, TypeError, NotImplementedError) as error:  # these include Arrow's errors
        why = "; ".join(map(str, error.args))
        raise DataError(f"{THE_ROWS}: {why}", hint="give each column values of one type") from None
    tables.write_parquet(path, table.select([name for name in table.column_names if name not in without]))
    return path, None if isinstance(frame, pa.Table) else frame.index
