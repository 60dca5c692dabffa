"""A model loaded from its bundle: encode rows, run ONNX (or skops), and return the user's labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import bundle
from mlops_glue.adapters import onnx, skops
from mlops_glue.errors import DataError
from mlops_glue.trusted import described_form

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray[Any, Any]


class Bundle:
    """The model of one version, loaded from its folder after `bundle.check` has accepted it."""

    def __init__(
        self,
        folder: Path,
        threads: int = 1,
        digest: str | None = None,
        *,
        others: bool = False,
        trust: Sequence[str] | None = (),
    ) -> None:
        """Load the model. `trust` names the code that may run, as decided by the caller; None trusts all of its code.

        Raises:
            DataError: the folder is not a bundle, or the model runs code that is not trusted.
        """
        contents = bundle.check(folder, digest, others=others)
        if trust is not None:
            contents.trust.check(trust)
        self.runs_code = contents.trust.names
        self.form = described_form(contents.model.suffix[1:], ", ".join(self.runs_code))
        self.schema, self.features, self.examples = contents.schema, contents.features, contents.examples
        self.format = contents.model.suffix.removeprefix(".")
        is_onnx = self.format == "onnx"
        self._run = onnx.runner(onnx.session(contents.model, threads)) if is_onnx else None
        self._estimator: Any = None
        if not is_onnx:
            with contents.trust.importable():
                self._estimator = skops.load(contents.model, contents.trust.names)

    def lacks(self, table: pa.Table) -> bool:
        """Return whether raw rows lack features that come from Feast."""
        return self.features is not None and not set(self.features.columns) <= set(table.column_names)

    def predict(
        self,
        table: pa.Table,
        *,
        where: str = "input",
        rows: range | None = None,
        see: Callable[[onnx.Inputs], None] | None = None,
    ) -> tuple[Array, Any]:
        """Predictions and probabilities of raw rows; `see` is called with the encoded rows.

        For classes: the label as the user wrote it, shape (rows,), and probabilities float32 of shape (rows, classes)
        in the order of `schema.labels`. For regression: float64 values and None.
        """
        if len(pieces := self.schema.pieces(table.num_rows)) > 1:
            said = [
                self.predict(table[part], where=where, rows=None if rows is None else rows[part], see=see)
                for part in pieces
            ]
            values, probabilities = zip(*said, strict=True)
            return np.concatenate(values), None if probabilities[0] is None else np.concatenate(probabilities)
        inputs = self.encoded(table, where=where, rows=rows)
        if see is not None:
            see(inputs)
        return self.score(inputs)

    def encoded(self, table: pa.Table, *, where: str = "input", rows: range | None = None) -> onnx.Inputs:
        """Encode raw rows as inputs of the model."""
        from mlops_glue.encoding import encode, matrices  # imported here, because serving workers do not load Arrow

        return matrices(encode(table, self.schema, where=where, rows=rows), self.schema)

    def score(self, inputs: onnx.Inputs) -> tuple[Array, Any]:
        """Predict encoded rows, as `encoding.matrices` returns them."""
        out = self._run(inputs) if self._run is not None else self._run_estimator(inputs)
        value, probability = out[0].reshape(-1), out[1] if len(out) > 1 else None
        self._check_shape(len(next(iter(inputs.values()))), value, probability)
        if self.schema.labels is None:
            return value.astype(np.float64), None
        if isinstance(self.schema.labels[0], bool):
            value = value.astype(bool)  # ONNX has no boolean label
        if self.schema.trained is not None and probability is not None:
            every = np.zeros((len(value), len(self.schema.labels)), probability.dtype)
            every[:, [self.schema.labels.index(label) for label in self.schema.trained]] = probability
            probability = every
        if self.schema.decision is not None:
            if probability is None:
                raise DataError("the model returns no probabilities, but its schema needs them to decide")
            value = self.schema.decided(probability, self.schema.labels)
        return value, probability

    def _check_shape(self, rows: int, value: Array, probability: Any) -> None:
        classes = self.schema.trained if self.schema.trained is not None else self.schema.labels
        expected = None if classes is None or probability is None else (rows, len(classes))
        if len(value) != rows or (expected is not None and probability.shape != expected):
            shapes = f"{len(value)} predictions" + (f", probabilities {probability.shape}" if expected else "")
            raise DataError(f"the model returns {shapes} for {rows} rows and {len(classes or [])} classes")

    def _run_estimator(self, inputs: onnx.Inputs) -> list[Any]:
        """Run a model that ONNX cannot express; imports scikit-learn and pandas."""
        import pandas as pd

        names = (("number", self.schema.numeric), ("text", self.schema.text))
        frame = pd.concat([pd.DataFrame(inputs[kind], columns=of) for kind, of in names if of], axis=1)
        return skops.outputs(self._estimator, frame, decided=self.schema.decision is not None)

    def scored(self, typed: pa.Table, carried: pa.Table, *, where: str = "input", **options: Any) -> pa.Table:
        """Return the `carried` columns of raw rows, then `prediction` and, for classes, `probability_<label>`.

        Raises:
            DataError: a carried column already has such a name.
        """
        import pyarrow as pa

        value, probability = self.predict(typed, where=where, **options)
        unknown = None if probability is None else np.isnan(probability).any(axis=1)  # null, as in HTTP answers
        columns = {"prediction": pa.array(value, mask=unknown)}
        if probability is not None:
            for at, label in enumerate(self.schema.labels or []):
                columns[f"probability_{label}"] = pa.array(probability[:, at])
        for name, values in columns.items():
            if name in carried.column_names:
                raise DataError(f"{where}: already has a column {name!r}", hint="rename or remove the column")
            carried = carried.append_column(name, values)
        return carried

    def indices(self, value: Array, probability: Any) -> tuple[Array, Array]:
        """Convert class predictions to the form of `metrics`: indices into `schema.class_order`, and probabilities."""
        label = self.schema.class_indices(value)
        if probability is None:
            return label, np.eye(len(self.schema.class_order))[label]
        labels = self.schema.labels or []
        return label, probability[:, [labels.index(one) for one in self.schema.class_order]]
