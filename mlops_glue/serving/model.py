"""A model version that answers requests, loaded from a folder that is not trusted until it is checked."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue.adapters.onnx import Inputs
from mlops_glue.config import Serve
from mlops_glue.errors import DataError, GlueError
from mlops_glue.schema import Schema
from mlops_glue.scoring import Bundle
from mlops_glue.serving.contract import Contract, without_looked_up
from mlops_glue.serving.fields import Rows, json_key

if TYPE_CHECKING:
    from mlops_glue.explanation import Explainer

MAX_EXPLAINED = 100  # rows in a request: explaining a row costs as much as scoring some hundred
WARM_UP = 20  # runs before the first request, which would otherwise be slow

Scores = tuple[list[Any], list[list[float]] | None]  # predictions, and for classes the probabilities of each label


class Answers:
    """Formats scores as the answer to a request."""

    def __init__(self, schema: Schema) -> None:
        labels = schema.labels or []
        self._names = [json_key(label) for label in labels]
        self._positions = {label: at for at, label in enumerate(labels)}
        self._positive = labels.index(schema.class_order[-1]) if len(labels) == 2 else None

    def by_row(self, predictions: list[Any], probabilities: list[list[float]] | None) -> list[dict[str, Any]]:
        """Return one object per row."""
        if probabilities is None:
            return [{"prediction": value} for value in predictions]
        return [
            {"prediction": label, "probabilities": dict(zip(self._names, row, strict=True))}
            for label, row in zip(predictions, probabilities, strict=True)
        ]

    def plain(self, predictions: list[Any], probabilities: list[list[float]] | None) -> dict[str, Any]:
        """Return the answer of a plain FastAPI server: scalars for one row, lists for several.

        The probability is that of the positive class or, with more than two classes, of the predicted class.
        """
        columns: dict[str, list[Any]] = {"prediction": predictions}
        if probabilities is not None and self._positive is not None:
            columns["probability"] = [row[self._positive] for row in probabilities]
        elif probabilities is not None:
            at, rows = self._positions, zip(predictions, probabilities, strict=True)
            columns["probability"] = [None if label is None else row[at[label]] for label, row in rows]
        return columns if len(predictions) > 1 else {name: values[0] for name, values in columns.items()}


class Model:
    """A bundle that answers requests.

    Args:
        folder: the bundle.
        digest: the SHA-256 that was recorded when the version was registered.
        name: the registered model's name.
        version: the version's number.
        options: the section `serve`, which limits requests.
        trust: the names of the bundle's own code that may run.

    Raises:
        DataError: the folder is not the one that was registered, or contains files that a bundle does not have.
    """

    def __init__(
        self,
        folder: Path,
        digest: str,
        *,
        name: str,
        version: int,
        options: Serve | None = None,
        trust: Sequence[str] = (),
    ) -> None:
        self.name, self.version, self.digest = name, version, digest
        self.loaded_at = time.time()
        # one thread, because several worker processes score at the same time
        self._bundle = Bundle(folder, 1, digest, trust=trust)
        self.runs_code = self._bundle.runs_code
        self.form = self._bundle.form
        self.examples = self._bundle.examples
        if not self.examples:
            raise DataError(f"{folder.name}/input_example.json: is missing, or holds no row")
        self.schema, self.features, self.format = self._bundle.schema, self._bundle.features, self._bundle.format
        self.contract = Contract(self.schema, self.features, options or Serve())
        self.answers = Answers(self.schema)
        self._explainer: Explainer | None = None
        if options is not None and options.explain:
            from mlops_glue.explanation import of_bundle  # it needs Arrow, to read the background

            self._explainer = of_bundle(self._bundle, folder)

    def score(self, inputs: Inputs) -> Scores:
        """Return predictions and, for classes, probabilities in the order of the labels.

        Raises:
            ToolError: the model failed on the inputs.
        """
        value, probability = self._bundle.score(inputs)
        predictions: list[Any] = value.tolist()
        if probability is None:
            return predictions, None
        flat = probability.reshape(-1)
        if math.isnan(flat.dot(flat)):  # the model overflowed on very large values, so its label means nothing
            unknown = np.isnan(probability).any(axis=1).tolist()
            predictions = [None if is_nan else label for label, is_nan in zip(predictions, unknown, strict=True)]
        return predictions, probability.tolist()

    @property
    def explains(self) -> bool:
        """Can this model explain its predictions?"""
        return self._explainer is not None

    def explain(self, rows: Rows) -> list[dict[str, Any]]:
        """Return `base` and `contributions` by column for each row, null for NaN; see `Explainer`."""
        assert self._explainer is not None
        found = self._explainer.explain(self.contract.matrices(rows))
        return [
            {
                "base": base if math.isfinite(base) else None,
                "contributions": {
                    name: value if math.isfinite(value) else None
                    for name, value in zip(found.columns, values, strict=True)
                },
            }
            for base, values in zip(found.base.tolist(), found.contributions.tolist(), strict=True)
        ]

    def about(self) -> dict[str, Any]:
        """Describe the model for JSON; `decision` is present if glue chooses the label, not the model."""
        decision = {} if self.schema.decision is None else {"decision": asdict(self.schema.decision)}
        return {
            "name": self.name,
            "version": self.version,
            "format": self.format,
            "runs_code": self.runs_code,
            "digest": self.digest,
            "task": self.schema.task,
            "target": self.schema.target,
            "labels": self.schema.labels,
            **decision,
            "features": self.contract.order,
            "looked_up": dict(self.features.columns) if self.features else {},
            "schema": self.contract.json_schema,
        }

    @cached_property
    def example_keys(self) -> list[tuple[Any, ...]]:
        """The lookup keys of the first example row; empty without online features."""
        rows = self.contract.from_dicts(without_looked_up(self.examples[:1], self.features))
        return self.contract.keys(rows, self.contract.incomplete(rows))

    def self_test(self) -> list[dict[str, Any]]:
        """Score the input example several times, so that the first request is not slow.

        Raises:
            GlueError: the example cannot be scored.
        """
        try:
            inputs = self.contract.matrices(self.contract.from_dicts(self.examples))
            for _ in range(WARM_UP):
                self.score(inputs)
            return self.answers.by_row(*self.score(inputs))
        except GlueError:
            raise
        except Exception as error:
            raise DataError(f"{self.name} v{self.version}: its input example cannot be scored: {error}") from error
