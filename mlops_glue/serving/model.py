"""The model of one version, from a folder that is not trusted until it is checked."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from mlops_glue.errors import DataError, GlueError
from mlops_glue.scoring import Bundle
from mlops_glue.serving.contract import Contract, Invalid, asked_rows, json_key


class Model:
    """A bundle that answers requests.

    Args:
        folder: the bundle.
        digest: SHA-256 that was recorded when the version was registered.
        name: of the registered model.
        version: its number.
        unseen: may a category be one that training did not have?
        max_rows: of a request.
        threads: of onnxruntime.

    Raises:
        DataError: the folder is not what was registered, or holds what a bundle does not.
    """

    def __init__(
        self,
        folder: Path,
        digest: str,
        *,
        name: str,
        version: int,
        unseen: bool = True,
        max_rows: int = 1000,
        threads: int = 1,
    ) -> None:
        self.name, self.version, self.digest = name, version, digest
        self.loaded = time.time()
        self._bundle = Bundle(folder, threads, digest)
        self.examples = self._bundle.examples
        if not self.examples:
            raise DataError(f"{folder.name}/input_example.json: is missing, or holds no row")
        self.schema, self.features, self.format = self._bundle.schema, self._bundle.features, self._bundle.format
        self.contract = Contract(self.schema, self.features, unseen=unseen, max_rows=max_rows)
        self._label_places()

    def _label_places(self) -> None:
        """Where the probability of a class stands."""
        labels = self.schema.labels or []
        self._labels = [json_key(label) for label in labels]
        self._place = {label: at for at, label in enumerate(labels)}
        self._positive = labels.index(self.schema.class_order[-1]) if len(labels) == 2 else None

    def scored(self, inputs: dict[str, Any]) -> tuple[list[Any], list[list[float]] | None]:
        """Predictions and, for classes, probabilities in the order of the labels.

        Args:
            inputs: of `Contract.matrices`.

        Raises:
            ToolError: the model cannot be run on them.
        """
        value, probability = self._bundle.score(inputs)
        said: list[Any] = value.tolist()
        if probability is None:
            return said, None
        flat = probability.reshape(-1)
        if math.isnan(flat.dot(flat)):  # of values so large that the model overflows; the label means nothing then
            unknown = np.isnan(probability).any(axis=1).tolist()
            said = [None if is_nan else one for one, is_nan in zip(said, unknown, strict=True)]
        return said, probability.tolist()

    def named(self, said: list[Any], shares: list[list[float]] | None) -> list[dict[str, Any]]:
        """What `scored` gives as an answer has it: row by row."""
        if shares is None:
            return [{"prediction": one} for one in said]
        return [
            {"prediction": one, "probabilities": dict(zip(self._labels, row, strict=True))}
            for one, row in zip(said, shares, strict=True)
        ]

    def plain(self, said: list[Any], shares: list[list[float]] | None) -> dict[str, Any]:
        """What `scored` gives as a plain FastAPI server would: scalars of one row, lists of several.

        The probability is that of the positive class; where there are more than two, that of the predicted one.
        """
        made: dict[str, list[Any]] = {"prediction": said}
        if shares is not None and self._positive is not None:
            made["probability"] = [row[self._positive] for row in shares]
        elif shares is not None:
            of = self._place
            made["probability"] = [None if v is None else row[of[v]] for v, row in zip(said, shares, strict=True)]
        return made if len(said) > 1 else {name: values[0] for name, values in made.items()}

    def answers(self, inputs: dict[str, Any]) -> list[dict[str, Any]]:
        """Both in one."""
        return self.named(*self.scored(inputs))

    def example_keys(self) -> list[tuple[Any, ...]]:
        """By what the features of the first example row are looked up, where it is looked up at all."""
        rows = self.contract.of_table(asked_rows(self.examples[:1], self.features))
        return self.contract.keys(rows, self.contract.missing(rows))

    def self_test(self) -> list[dict[str, Any]]:
        """Score the input example, some times over, so that the first request is not the slow one.

        Raises:
            GlueError: it cannot be scored.
        """
        try:
            inputs = self.contract.matrices(self.contract.of_table(self.examples))
            said = self.answers(inputs)
            for _ in range(20):
                self.answers(inputs)
        except GlueError:
            raise
        except Exception as error:
            first = error.problems[0] if isinstance(error, Invalid) else {}
            why = f"{first['field']}: {first['problem']}" if first else str(error)
            raise DataError(f"{self.name} v{self.version}: its input example cannot be scored: {why}") from error
        return said
