"""Comparison of versions, runs and metrics files: their differences, and all models on one holdout.

The first is the base. The other models are compared with it on the same rows: the rows of the holdout on disk that none
of the models was trained on. For inputs that are not models, or if this is not possible, only recorded metrics are
compared.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mlops_glue import layout, measures, metrics, paired, row_groups, tables
from mlops_glue.adapters.git import code as git_code
from mlops_glue.delivery.compare import Measured, latencies_ms, measured, predicted
from mlops_glue.delivery.complete import with_features
from mlops_glue.delivery.rows import version_rows
from mlops_glue.delivery.sides import Side
from mlops_glue.delivery.trial import brought
from mlops_glue.errors import ConfigError, DataError, GlueError, UsageError, first_line
from mlops_glue.pipeline.evaluation import Evaluation
from mlops_glue.schema import Schema
from mlops_glue.scoring import Bundle

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_glue.adapters.mlflow import Store
    from mlops_glue.config import Config

Array = np.ndarray[Any, Any]
UNDEFINED = "undefined"


@dataclass(frozen=True)
class Size:
    """The size and latency of a version."""

    form: str  # onnx, or skops with the code that it runs
    model_bytes: int
    bundle_bytes: int
    latency_ms: float | None  # the median for one row, in this process; None: it could not be measured


@dataclass(frozen=True)
class Changed:
    """The code of a model, as it ran, compared with the base's code."""

    name: str
    base: str
    stat: list[str]  # the lines of `git diff --stat`; empty: the same code
    problem: str | None = None  # why the changes are unknown or incomplete


@dataclass(frozen=True)
class CommonRows:
    """The rows on which all models are compared."""

    rows: int
    trained_on: int  # excluded holdout rows, which one of the models was trained on
    unknown: list[str]  # the models whose training rows are unknown


@dataclass(frozen=True)
class AgainstBase:
    """A model compared with the base on the common rows. The base is the `champion` in `Measured`."""

    name: str
    metrics: list[Measured]  # the promotion metric first


@dataclass(frozen=True)
class SideBySide:
    """A complete comparison."""

    model: str
    sides: list[Side]  # the base first
    params: dict[str, list[str | None]]  # parameters that differ, in the order of the sides
    code: list[Changed]  # for each side that is not a file, compared with the first of them
    common: CommonRows | None
    comparisons: list[AgainstBase]
    problems: list[str]  # why something was not measured on the common rows
    sizes: dict[str, Size]
    plot: str | None = field(default=None)  # all models on the same rows, as SVG


@dataclass(frozen=True)
class Models:
    """The models that could be loaded, by the name of their side, and why others could not."""

    bundles: dict[str, Bundle]
    folders: dict[str, Path]
    problems: list[str]


def side_by_side(config: Config, root: Path, store: Store | None, sides: list[Side], *, draw: bool) -> SideBySide:
    """Compare the sides, and with `draw` plot all models.

    Raises:
        UsageError: two sides have different targets or tasks.
    """
    with tempfile.TemporaryDirectory() as folder:
        models = _loaded(config, root, store, sides, Path(folder))
        _check_same_target(sides, models)
        sizes, slow = _sizes(models)
        common, outcomes, problems = _outcomes(config, root, store, sides, models)
        comparisons, skipped = _against_base(config, root, sides, models, outcomes)
        plot = None
        if draw and comparisons:
            from mlops_glue.pipeline import plots

            plot = plots.of_models(models.bundles[next(iter(outcomes))].schema, outcomes)
    ignored = [f"{side.name}: ignored, not numbers: {', '.join(side.left_out)}" for side in sides if side.left_out]
    having = [side for side in sides if side.run is not None]  # a file has no code
    return SideBySide(
        model=config.model_name,
        sides=sides,
        params=differing(sides),
        code=[_changed(root, having[0], other) for other in having[1:]],
        common=common if comparisons else None,
        comparisons=comparisons,
        problems=[*ignored, *models.problems, *problems, *skipped, *slow],
        sizes=sizes,
        plot=plot,
    )


def differing(sides: Sequence[Side]) -> dict[str, list[str | None]]:
    """Return the parameters that differ between the sides that have parameters."""
    having = [side.params for side in sides if side.params]
    names = dict.fromkeys(name for params in having for name in params)
    differ = [name for name in names if len({params.get(name) for params in having}) > 1]
    return {name: [side.params.get(name) for side in sides] for name in differ}


def _loaded(config: Config, root: Path, store: Store | None, sides: Sequence[Side], scratch: Path) -> Models:
    models = Models({}, {}, [])
    for side in sides:
        if side.version is None or store is None:
            continue
        folder = scratch / side.name
        folder.mkdir()
        try:
            found = brought(store, root, config.model_name, side.version, folder)
            models.bundles[side.name] = Bundle(found, trust=config.package.trust)
            models.folders[side.name] = found
        except GlueError as error:
            models.problems.append(f"{side.name} cannot be loaded: {error.message}")
    return models


def _check_same_target(sides: Sequence[Side], models: Models) -> None:
    known: list[tuple[Side, str, str]] = []
    for side in sides:
        if side.name in models.bundles:
            schema = models.bundles[side.name].schema
            known.append((side, schema.target, schema.task))
        elif side.evaluation is not None:
            known.append((side, side.evaluation["target"], side.evaluation["task"]))
    for side, target, task in known[1:]:
        base, of_base, task_of_base = known[0]
        if (target, task) != (of_base, task_of_base):
            problem = f"{side.name} predicts {target!r} ({task}), but {base.name} predicts {of_base!r} ({task_of_base})"
            raise UsageError(f"{problem}: they cannot be compared", hint=f"glue lineage {side.version}")


def _sizes(models: Models) -> tuple[dict[str, Size], list[str]]:
    """Return the size and latency of each model, and why the latency is unknown."""
    names, problems = list(models.bundles), list[str]()
    latency: list[float | None] = [None] * len(names)
    try:
        latency = [*latencies_ms([models.bundles[name] for name in names])] if names else []
    except GlueError as error:
        problems.append(f"the latency could not be measured: {error.message}")
    sizes = {}
    for name, took in zip(names, latency, strict=True):
        bundle, folder = models.bundles[name], models.folders[name]
        every = {path.name: path.stat().st_size for path in folder.iterdir()}
        sizes[name] = Size(bundle.form, every[f"model.{bundle.format}"], sum(every.values()), took)
    return sizes, problems


def _outcomes(
    config: Config, root: Path, store: Store | None, sides: Sequence[Side], models: Models
) -> tuple[CommonRows | None, dict[str, paired.Outcome], list[str]]:
    """Return each model's predictions on the common rows, and why some could not be scored."""
    names = [side for side in sides if side.name in models.bundles]
    if len(names) < 2 or store is None:
        return None, {}, []
    schema = models.bundles[names[0].name].schema
    try:
        common, raw, truth = _rows(config, root, store, names, schema)
    except (GlueError, OSError, ValueError) as error:  # Arrow's errors are ValueErrors
        why = error.message if isinstance(error, GlueError) else first_line(error)
        return None, {}, [f"not compared on the same rows: {why}"]
    outcomes: dict[str, paired.Outcome] = {}
    problems = []
    for side in names:
        model = models.bundles[side.name]
        try:
            if model.schema.class_order != schema.class_order:
                raise DataError(f"it predicts {model.schema.class_order}, but {names[0].name} {schema.class_order}")
            complete = with_features(config, root, model, raw, "holdout", as_defined_now=True)
            outcomes[side.name] = predicted(model, complete, truth)
        except GlueError as error:
            problems.append(f"{side.name} could not be scored on this holdout: {error.message}")
    return common, outcomes, problems


def _rows(
    config: Config, root: Path, store: Store, sides: Sequence[Side], schema: Schema
) -> tuple[CommonRows, pa.Table, Array]:
    """Return the raw holdout rows that none of the versions was trained on, with their target.

    Raises:
        DataError: the holdout does not exist, has another target or other classes, or has too few such rows.
    """
    path, target = root / layout.TEST, f"target:{schema.target}"
    if not path.is_file() or not (root / layout.TABLE).is_file():
        raise DataError(f"there is no holdout here ({layout.TEST}): run glue run, or dvc pull")
    if target not in tables.parquet_shape(path)[1]:
        raise DataError(f"the holdout here has another target than {schema.target!r}")
    holdout = tables.read_parquet(path, [layout.ROW, target])
    at = holdout.column(layout.ROW).to_numpy()
    seen, unknown, most = np.zeros(len(at), bool), list[str](), ("", 0)
    for side in sides:
        rows = version_rows(store, config.model_name, cast(int, side.version))
        trained = rows.seen(root / layout.TABLE) if rows is not None else None
        if trained is None:
            unknown.append(side.name)
            continue
        seen |= trained[at]
        most = max(most, (side.name, int(trained[at].sum())), key=lambda pair: pair[1])
    if (left := int((~seen).sum())) < metrics.MIN_ROWS:
        problem = f"{most[0]} was trained on {most[1]:,} of the {len(at):,} rows of this holdout"
        raise DataError(f"{problem}; only {left:,} rows were not used by any model, too few for a comparison")
    kept = holdout.filter(~seen)
    _check_truth(kept.column(target).to_numpy(), schema)
    raw = row_groups.take(root / config.rows, kept.column(layout.ROW).to_numpy())
    return CommonRows(left, int(seen.sum()), unknown), raw, kept.column(target).to_numpy()


def _check_truth(truth: Array, schema: Schema) -> None:
    """Check that the models can predict the target in the rows."""
    if schema.labels is None:
        if not np.issubdtype(truth.dtype, np.number):
            raise DataError(f"{schema.target!r} is not a number in the holdout here, but these models predict numbers")
    elif new := [value for value in dict.fromkeys(truth.tolist()) if value not in schema.class_order]:
        raise DataError(
            f"the holdout here has rows where {schema.target!r} is {new[0]!r}, a class that the base does not know"
        )


def _against_base(
    config: Config, root: Path, sides: Sequence[Side], models: Models, outcomes: dict[str, paired.Outcome]
) -> tuple[list[AgainstBase], list[str]]:
    """Compare each model with the base by every metric. Also return the metrics that could not be computed."""
    base, problems, found = sides[0].name, list[str](), []
    if base not in outcomes:
        return [], []
    task = models.bundles[base].schema.task
    metric_names = [measures.main_metric(config, task), *config.evaluate.measured(list(metrics.METRICS[task]))]
    metric_names += config.evaluate.thresholds
    for side in sides[1:]:
        if side.name not in outcomes:
            continue
        report = side.evaluation or cast(Evaluation, {"metrics": {}})
        pair, rows = (outcomes[side.name], outcomes[base]), []
        for name in dict.fromkeys(metric_names):
            try:
                found_by = measured(config, root, models.bundles[base].schema, report, pair, name)
            except (GlueError, ConfigError) as error:
                problems.append(f"{name}: {error}")
                continue
            rows.append({**found_by, "finding": UNDEFINED} if np.isnan(found_by["gain"]) else found_by)
        found.append(AgainstBase(side.name, rows))
    return found, list(dict.fromkeys(problems))


def _changed(root: Path, base: Side, other: Side) -> Changed:
    missing = next((side.name for side in (base, other) if side.code is None), None)
    if missing is not None:
        return Changed(other.name, base.name, [], f"the code of {missing} is not recorded")
    assert base.code is not None and other.code is not None
    if base.code.tree and base.code.tree == other.code.tree:
        return Changed(other.name, base.name, [])
    lost = [side.name for side in (base, other) if side.dirty and side.code is not None and not side.code.tree]
    why = f"the uncommitted changes of {' and '.join(lost)} are not recorded" if lost else None
    try:
        return Changed(other.name, base.name, git_code.changes(root, base.code, other.code).splitlines(), why)
    except GlueError as error:
        return Changed(other.name, base.name, [], error.message)
