"""Choose the scale on which a regression is fitted: by `train.target`, or by cross-validation of the training rows.

The metric of the promotion decides. A model of the logarithm predicts roughly the median of a row's target, not its
mean: absolute and relative errors become smaller, squared errors rarely do, and sums are too low. So it has to be
requested, and the sum is reported.
"""

from __future__ import annotations

from pathlib import Path

from mlops_glue import files, layout, measures, metrics, paired
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError
from mlops_glue.paired import Outcome
from mlops_glue.pipeline import cross_validate, log_target
from mlops_glue.pipeline.evaluation import Compared, Scale


def settled(config: Config, root: Path) -> tuple[Config, Scale]:
    """Return the config with `train.target` log or as_is, and the reason.

    Raises:
        ConfigError: log is requested, and it is undefined for some values of the target.
    """
    rows, requested = cross_validate.read(config, root), config.train.target
    scale: Scale = {"target": rows.schema.target, "asked": requested, "taken": requested}
    log_target.check(config, rows.schema, None)
    why = log_target.refused(rows.schema, rows.target)
    if requested == "log" and why is not None:
        raise ConfigError([f"{log_target.WHERE}: {why}"], hint="remove train.target")
    if why is not None:
        scale |= {"taken": "as_is", "why": why}
    elif requested == "auto":
        found = _compared(config, root, rows)
        scale |= {"taken": "log" if found["low"] > 0 else "as_is", "compared": found}
    return _with(config, scale["taken"]), scale


def _with(config: Config, taken: str) -> Config:
    return config.model_copy(update={"train": config.train.model_copy(update={"target": taken})})


def _compared(config: Config, root: Path, rows: cross_validate.Rows) -> Compared:
    name = measures.main_metric(config, rows.schema.task)
    metric = measures.find(config, rows.schema, root, name, f"{layout.CONFIG} promote.metric")
    folds = cross_validate.folds_of(config, rows, config.train.seed)
    log, as_is = (
        cross_validate.together(cross_validate.predictions(_with(config, taken), rows, folds))
        for taken in ("log", "as_is")
    )
    gain = paired.difference(metric, log, as_is, config.train.seed, config.promote.confidence)
    return {
        "metric": name,
        "folds": len(folds),
        "log": metrics.compute(metric, *log),
        "as_is": metrics.compute(metric, *as_is),
        "gain": gain.value,
        "low": gain.low,
        "high": gain.high,
        "level": gain.level,
        "log_sum": sum_of(log),
        "as_is_sum": sum_of(as_is),
    }


def sum_of(predicted: Outcome) -> float:
    """Return the sum of the predictions divided by the sum of the truth; NaN if that is 0."""
    whole = float(predicted[0].sum())
    return float(predicted[1].sum()) / whole if whole else float("nan")


def of_holdout(config: Config, root: Path, predicted: Outcome) -> Scale | None:
    """Return the scale that stage train chose, with the sum on the holdout; None if none was requested."""
    if config.train.target == "as_is":
        return None
    scale: Scale = files.read_json(root / layout.SCALE)
    return {**scale, "holdout_sum": sum_of(predicted)}
