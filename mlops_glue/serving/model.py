"""The model of one version, from a folder that is not trusted until it is checked."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from mlops_glue import io
from mlops_glue.adapters import onnx
from mlops_glue.errors import DataError, GlueError
from mlops_glue.records import FeatureList
from mlops_glue.schema import Schema
from mlops_glue.serving.contract import Contract

FILES = {
    "model.onnx",
    "model.skops",
    "schema.json",
    "features.json",
    "signature.json",
    "parity.json",
    "input_example.json",
    "reference.json",
    "reference.parquet",
}


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
        check_folder(folder, digest)
        self.name, self.version, self.digest = name, version, digest
        self.loaded = time.time()
        try:
            self.schema = Schema.from_dict(io.read_json(folder / "schema.json"))
            kept = folder / "features.json"
            self.features = FeatureList.from_dict(io.read_json(kept)) if kept.is_file() else None
            self.examples: list[dict[str, Any]] = io.read_json(folder / "input_example.json")
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(f"{folder.name}: is no bundle: {type(error).__name__}") from error
        self.contract = Contract(self.schema, self.features, unseen=unseen, max_rows=max_rows)
        self._live: Any = None
        self._estimator: Any = None
        if (folder / "model.onnx").is_file():
            onnx.check_file(folder / "model.onnx")
            self._live = onnx.session(folder / "model.onnx", threads)
        else:
            self._estimator = onnx.load_skops(folder / "model.skops")
        self.format = "onnx" if self._live is not None else "skops"
        # the session within does without the checks of each call, which the contract has made already
        self._outputs = [o.name for o in self._live.get_outputs()] if self._live is not None else []
        self._run: Any = getattr(self._live, "_sess", self._live).run if self._live is not None else None
        labels = self.schema.labels or []
        self._truth = bool(labels) and isinstance(labels[0], bool)
        self._trained = [_key(label) for label in self.schema.trained or labels]
        # in the order of the labels; those that training did not have are never said
        self._never = dict.fromkeys(map(_key, labels), 0.0) if len(self._trained) < len(labels) else {}

    def answers(self, inputs: dict[str, Any]) -> list[dict[str, Any]]:
        """Prediction and, for classes, probabilities of each row.

        Args:
            inputs: of `Contract.matrices`.

        Raises:
            ToolError: the model cannot be run on them.
        """
        if self._live is not None:
            out = self._run(self._outputs, inputs, None)
        else:
            out = self._by_estimator(inputs)
        values = out[0].reshape(-1)
        said: list[Any] = values.astype(np.float64).tolist() if self.schema.labels is None else values.tolist()
        if self.schema.labels is None or len(out) < 2:
            return [{"prediction": value} for value in said]
        if self._truth:
            said = [bool(value) for value in said]  # ONNX has no boolean label
        flat = out[1].reshape(-1)
        if math.isnan(
            flat.dot(flat)
        ):  # of values so large that the model itself overflows; the label means nothing then
            said = [
                None if is_nan else value
                for value, is_nan in zip(said, np.isnan(out[1]).any(axis=1).tolist(), strict=True)
            ]
        names, every = self._trained, out[1].tolist()
        if self._never:
            every = [{**self._never, **dict(zip(names, one, strict=True))} for one in every]
        else:
            every = [dict(zip(names, one, strict=True)) for one in every]
        return [{"prediction": v, "probabilities": one} for v, one in zip(said, every, strict=True)]

    def _by_estimator(self, inputs: dict[str, Any]) -> list[Any]:
        """A model that ONNX cannot express: scikit-learn and pandas are in this worker then."""
        import pandas as pd

        parts = []
        if self.schema.numeric:
            parts.append(pd.DataFrame(inputs["number"], columns=self.schema.numeric))
        if self.schema.text:
            parts.append(pd.DataFrame(inputs["text"], columns=self.schema.text))
        frame = pd.concat(parts, axis=1)
        out = [self._estimator.predict(frame)]
        if hasattr(self._estimator, "predict_proba"):
            out.append(self._estimator.predict_proba(frame))
        return out

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
            raise DataError(f"{self.name} v{self.version}: its input example cannot be scored: {error}") from error
        return said


def check_folder(folder: Path, digest: str) -> None:
    """Is it a bundle of plain files, and the one that was registered?

    Raises:
        DataError: it is not.
    """
    if not folder.is_dir() or folder.is_symlink():
        raise DataError(f"{folder}: is no bundle")
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file():
            raise DataError(f"{folder.name}/{path.name}: is no plain file")
        if path.name not in FILES:
            raise DataError(f"{folder.name}/{path.name}: is no part of a bundle")
    if not (folder / "model.onnx").is_file() and not (folder / "model.skops").is_file():
        raise DataError(f"{folder.name}: holds neither model.onnx nor model.skops")
    if io.digest(folder) != digest:
        raise DataError(f"{folder.name}: is not the bundle that was registered: its digest is another")


def _key(label: Any) -> str:
    """A class as the name of a member in JSON."""
    return ("false", "true")[label] if isinstance(label, bool) else str(label)
