"""evaluate: metrics on the holdout with their uncertainty, by slice, against thresholds and the trivial predictor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlops_glue import io, layout, metrics
from mlops_glue.adapters import onnx
from mlops_glue.config import METRICS, Config
from mlops_glue.errors import ConfigError
from mlops_glue.pipeline.train import xy
from mlops_glue.schema import Schema


def evaluate(config: Config, root: Path) -> None:
    """Write `metrics.json` (flat numbers, for DVC) and `report/evaluation.json`."""
    import numpy as np
    from sklearn.dummy import DummyClassifier, DummyRegressor

    schema = Schema.from_dict(io.read_json(root / layout.COLUMNS)["schema"])
    model = onnx.load_skops(root / layout.MODEL)
    features, truth = xy(io.read_parquet(root / layout.TEST), schema)
    _, learnt = xy(io.read_parquet(root / layout.TRAIN), schema)
    truth = class_indices(schema, truth)
    label, probability = outcome(model, schema, features)
    trivial: Any = DummyRegressor() if schema.task == "regression" else DummyClassifier(strategy="prior")
    trivial.fit(np.zeros((len(learnt), 1)), learnt)
    trivial_label, trivial_probability = outcome(trivial, schema, np.zeros((len(truth), 1)))
    names = config.evaluate.metrics or list(METRICS[schema.task])
    known = metrics.table(schema.task, len(schema.labels or []))
    wrong = [m for m in (*names, *config.evaluate.thresholds) if m not in known]
    if wrong:
        raise ConfigError([f"{layout.CONFIG} evaluate: {wrong[0]!r} is no metric of a {schema.task} task"])
    scores: dict[str, Any] = {}
    for name in dict.fromkeys([*names, *config.evaluate.thresholds]):
        low, high = metrics.bootstrap(known[name], truth, label, probability, config.train.seed)
        scores[name] = {
            "value": metrics.compute(known[name], truth, label, probability),
            "low": low,
            "high": high,
            "trivial": metrics.compute(known[name], truth, trivial_label, trivial_probability),
        }
    thresholds = [_threshold(name, limit, scores[name]["value"]) for name, limit in config.evaluate.thresholds.items()]
    io.write_json(root / layout.METRICS, {name: score["value"] for name, score in scores.items()})
    report = {"rows": len(truth), "metrics": scores, "thresholds": thresholds}
    report["slices"] = _slices(config, root, schema, known, names, truth, label, probability)
    io.write_json(root / layout.EVALUATION / "evaluation.json", report)


def class_indices(schema: Schema, values: Any) -> Any:
    """Labels as indices into `schema.labels`; regression values as they are."""
    import numpy as np

    if schema.labels is None:
        return values
    order = {value: at for at, value in enumerate(schema.labels)}
    return np.array([order[v] for v in values.tolist()])


def outcome(model: Any, schema: Schema, features: Any) -> tuple[Any, Any]:
    """What a model says, in the form that `metrics` takes: class indices and probabilities, or values and None."""
    import numpy as np

    said = np.ravel(model.predict(features))
    if schema.labels is None:
        return said, None
    label = class_indices(schema, said)
    if not hasattr(model, "predict_proba"):
        return label, np.eye(len(schema.labels))[label]  # a model without probabilities is certain
    probability = np.zeros((len(label), len(schema.labels)))
    probability[:, class_indices(schema, model.classes_)] = model.predict_proba(features)
    return label, probability


def _threshold(name: str, limit: Any, value: float) -> dict[str, Any]:
    # a NaN meets no threshold: both comparisons are false
    met = (limit.min is None or value >= limit.min) and (limit.max is None or value <= limit.max)
    return {"metric": name, "value": value, "min": limit.min, "max": limit.max, "met": bool(met)}


def _slices(
    config: Config, root: Path, schema: Schema, known: Any, names: list[str], truth: Any, label: Any, probability: Any
) -> list[dict[str, Any]]:
    import numpy as np

    from mlops_glue.schema import as_text

    out: list[dict[str, Any]] = []
    if not config.evaluate.slices:
        return out
    rows = io.read_parquet(root / layout.TEST, [layout.ROW]).column(layout.ROW)
    table = io.read_parquet(root / layout.TABLE)
    for column in config.evaluate.slices:
        if column not in table.column_names:
            raise ConfigError([f"{layout.CONFIG} evaluate.slices: no column {column!r}"])
        values = as_text(table.column(column).take(rows)).to_pylist()
        for value in sorted(set(values), key=str)[:50]:
            at = np.flatnonzero([v == value for v in values])
            some = None if probability is None else probability[at]
            scores = {m: metrics.compute(known[m], truth[at], label[at], some) for m in names}
            out.append({"column": column, "value": value, "rows": len(at), "metrics": scores})
    return out
