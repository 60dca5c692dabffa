"""package: the bundle for batch scoring and serving, with the proof that it predicts what scikit-learn predicts."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import files, layout, row_groups, tables, trusted
from mlops_glue.adapters import onnx, skl2onnx
from mlops_glue.config import Config
from mlops_glue.dates import as_datetime
from mlops_glue.encoding import as_numbers
from mlops_glue.errors import CheckFailed, ToolError
from mlops_glue.parsing import clean_words, is_text
from mlops_glue.pipeline import evaluation, reference, trusting
from mlops_glue.pipeline.outcome import in_pieces
from mlops_glue.pipeline.own_onnx import OnnxRegressor
from mlops_glue.pipeline.split import training_rows
from mlops_glue.pipeline.threads import threads_for
from mlops_glue.pipeline.train import xy
from mlops_glue.records import FeatureList
from mlops_glue.schema import Schema
from mlops_glue.scoring import Bundle
from mlops_glue.trusted import NOTHING, Trusted
from mlops_glue.words import words_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

LABELS_EQUAL = 0.999
PROBABILITY_P99 = 0.001
ODD_TEXT = "Words NEVER seen: Straße, \u0130stanbul, \u4e2d\u6587, na\u00efve \U0001f600\n12,5 % it's"
Parity = dict[str, Any]  # `parity.json`: whether the ONNX form is faithful, the numbers, and the form that is kept


def package(config: Config, root: Path) -> None:
    """Write the bundle for batch scoring and serving.

    Files: `model.onnx` if ONNX is faithful, else `model.skops`; `parity.json`, the proof of it; `schema.json`;
    `features.json`, the features from Feast, if there are any; `signature.json` in MLflow's form;
    `input_example.json`; `reference.parquet`, a sample of rows, and `holdout.json`, the metrics of the holdout, both
    for monitoring.

    Raises:
        CheckFailed: `package.require` is onnx, and ONNX is not faithful.
    """
    schema = Schema.from_dict(files.read_json(root / layout.COLUMNS)["schema"])
    evaluated = evaluation.read(root / layout.EVALUATION)
    schema = replace(schema, decision=evaluation.decision_of(evaluated))
    trust = trusting.trusted(config, root)
    model = trusting.load_model(config, root)
    carried = [layout.ROW, f"target:{schema.target}"]
    held = tables.read_parquet(root / layout.TEST)
    features, _ = xy(held, schema)
    parts = {"train": training_rows(config, root, carried), "test": held.select(carried)}
    del held
    if schema.labels is not None and len(learnt := np.asarray(model.classes_).tolist()) < len(schema.labels):
        schema = replace(schema, trained=learnt)
    folder = root / layout.BUNDLE
    parity = kept(model, root / layout.MODEL, schema, features, folder, trust, require=config.package.require)
    names, keys = [c.name for c in schema.columns], []
    if config.features.use:
        features_used = files.read_json(root / layout.FEATURE_LIST)
        files.write_json(folder / "features.json", features_used)
        listed = FeatureList.from_dict(features_used)
        keys = [key for key in listed.asked_by if key not in names]
    first = parts["train"].column(layout.ROW).slice(0, 3)
    example = row_groups.take(root / config.rows, first.to_numpy(), names + keys)
    probabilities = hasattr(model, "predict_proba")
    describe_bundle(folder, schema, parity, example_rows(example, schema), probabilities=probabilities)
    raw = partial(row_groups.take, root / config.rows, columns=names)
    sample = reference.sample(Bundle(folder, trust=config.package.trust), raw, parts)
    tables.write_parquet(folder / layout.SAMPLE, sample)
    holdout = reference.holdout(evaluated, sample, schema)
    files.write_json(folder / layout.HOLDOUT, holdout)


def describe_bundle(
    folder: Path, schema: Schema, parity: Parity, example: list[dict[str, Any]], *, probabilities: bool
) -> None:
    """Write the schema, the signature, the proof and example rows of a bundle."""
    files.write_json(folder / "schema.json", schema.to_dict())
    files.write_json(folder / "signature.json", reference.signature(schema, probabilities=probabilities))
    files.write_json(folder / "parity.json", parity)
    files.write_json(folder / "input_example.json", example)


def kept(
    model: Any,
    path: Path,
    schema: Schema,
    features: pd.DataFrame,
    folder: Path,
    trust: Trusted = NOTHING,
    *,
    require: str | None = None,
) -> Parity:
    """Write a model into a bundle: `model.onnx` if that is faithful on the encoded holdout, else its skops file.

    If the skops file contains classes or functions that are trusted by name, `trust.json` is written too.

    Returns:
        The proof.

    Raises:
        CheckFailed: ONNX is required, and is not faithful.
    """
    made: bytes | None = None
    parity: Parity
    try:
        if isinstance(model, OnnxRegressor):
            made, parity = model.model, {"faithful": True, "reason": "", "own": True}
        else:
            made = skl2onnx.export(model, len(schema.numeric), len(schema.text))
            with threads_for(features):
                parity = compare(model, made, schema, features)
        if not parity["faithful"] and (known := skl2onnx.known_limit(model)) is not None:
            parity["reason"] += f"; {known}"
    except ToolError as error:
        parity = {"faithful": False, "reason": error.message}
    parity["format"] = "onnx" if parity["faithful"] else "skops"
    if not parity["faithful"] and require == "onnx":
        raise CheckFailed(
            f"package.require is onnx, and ONNX is not faithful: {parity['reason']}",
            hint="use another estimator, or remove package.require to package the model as skops",
        )
    folder.mkdir(parents=True, exist_ok=True)
    if parity["faithful"] and made is not None:
        (folder / "model.onnx").write_bytes(made)
    else:
        shutil.copy(path, folder / "model.skops")
        if (own := trusting.within(trust, path)) is not None:
            files.write_json(folder / trusted.FILE, asdict(own))
            parity["runs_code"] = own.names
    return parity


def example_rows(table: pa.Table, schema: Schema) -> list[dict[str, Any]]:
    """Return rows as a request has them: numbers as numbers, dates in ISO 8601, whatever the text in the table."""
    rows: list[dict[str, Any]] = table.to_pylist()
    for column in schema.columns:
        values = table.column(column.name)
        if column.kind == "datetime":
            made: list[Any] = [
                None if np.isnat(value) else f"{value}Z"
                for value in as_datetime(values, column.day_first, schema.nulls)
            ]
        elif column.kind == "number" and not tables.is_number(values.type):  # text or decimals
            made = [None if np.isnan(value) else float(value) for value in as_numbers(values, column, schema)]
        elif column.kind == "boolean" and is_text(values.type):
            made = clean_words(values, schema.nulls).to_pylist()
        else:
            continue
        for row, value in zip(rows, made, strict=True):
            row[column.name] = value
    return rows


def compare(model: Any, made: bytes, schema: Schema, features: pd.DataFrame) -> Parity:
    """Compare ONNX with scikit-learn on the holdout and on awkward rows: all null, unseen categories, extremes."""
    import pandas as pd

    every = pd.concat([features, *awkward_rows(model, features, schema)], ignore_index=True)
    expected = np.ravel(in_pieces(model.predict, every, schema))
    live = onnx.runner(onnx.session(made))
    pieces = [live(_inputs(every[part], schema)) for part in schema.pieces(len(every))]
    got = [np.concatenate(parts) for parts in zip(*pieces, strict=True)]
    record: Parity = {"rows": len(every), "holdout_rows": len(features)}
    if np.size(got[0]) != len(every):  # of RFECV, skl2onnx (1.20) exports the selection, not the model
        return {**record, "faithful": False, "reason": f"it returns {got[0].shape[1]} values per row"}
    if schema.task == "regression":
        scale = float(np.std(expected[: len(features)])) or 1.0  # with the extremes it would hide every difference
        value = np.ravel(got[0])
        with np.errstate(invalid="ignore"):
            scaled = np.abs(value - expected) / np.maximum(scale, np.abs(expected))
        scaled[value == expected] = 0.0  # both infinite
        p99 = float(np.quantile(scaled, 0.99))
        record |= {"p99_difference": p99, "unit": "standard deviations of the prediction"}
        faithful = p99 <= PROBABILITY_P99
        reason = "" if faithful else f"p99 of the difference is {p99:.2g} standard deviations"
    else:
        labels = np.ravel(got[0]).astype(expected.dtype)
        if schema.decision is not None:
            expected, labels = (
                schema.decided(p, model.classes_.tolist())
                for p in (in_pieces(model.predict_proba, every, schema), got[1])
            )
        equal = float(np.mean(labels == expected))
        record["equal_labels"] = equal
        faithful, reason = equal >= LABELS_EQUAL, f"{equal:.4%} of the labels are equal"
        if hasattr(model, "predict_proba") and got[1].shape != (len(every), len(model.classes_)):
            faithful, reason = False, f"it returns probabilities of shape {got[1].shape}"
        elif hasattr(model, "predict_proba"):
            p99 = float(np.quantile(np.abs(got[1] - in_pieces(model.predict_proba, every, schema)).max(axis=1), 0.99))
            record["p99_probability_difference"] = p99
            if p99 > PROBABILITY_P99:
                faithful, reason = False, f"p99 of the difference in probability is {p99:.2g}"
    return {**record, "faithful": bool(faithful), "reason": "" if faithful else reason}


def _inputs(rows: pd.DataFrame, schema: Schema) -> onnx.Inputs:
    """Return encoded rows in the form that an ONNX model takes."""
    inputs = {}
    if schema.numeric:
        inputs["number"] = rows[schema.numeric].to_numpy(np.float32)
    if schema.text:
        inputs["text"] = rows[schema.text].to_numpy(object)
    return inputs


def awkward_rows(model: Any, features: pd.DataFrame, schema: Schema) -> list[pd.DataFrame]:
    """Return holdout rows made awkward: each number null in turn (at most 50), unseen text, extremes.

    Rows that scikit-learn itself refuses (such as an extreme that a scaler turns into infinity) are left out.
    """
    import pandas as pd

    start = features.head(min(20, len(features)))
    parts = []
    null, far, unseen = start.copy(), start.copy(), start.copy()
    for name in schema.numeric:
        null[name] = np.float32(np.nan)
        far[name] = np.float32(1e30)
    for name in schema.text:
        null[name] = ""
        unseen[name] = words_of(ODD_TEXT) if name in schema.free_text else "a value never seen"
    parts += [null.copy(), far.copy(), unseen.copy()]  # copies are one block: else pandas joins column by column
    for name in schema.numeric[:50]:
        row = start.head(1).copy()
        row[name] = np.float32(np.nan)
        parts.append(row)
    return parts if _takes(model, pd.concat(parts)) else [part for part in parts if _takes(model, part)]


def _takes(model: Any, rows: pd.DataFrame) -> bool:
    try:
        model.predict(rows)
    except ValueError:
        return False
    return True
