"""The stages of the pipeline, in order: the dependencies of each, the keys of `glue.yaml` that it reads, its outputs.

To add a stage, write a function `(config, root) -> None` in a module of the same name, add an entry here, and add the
paths of its files to `layout`. If `dvc.lock` lacks the stage, only that stage runs. If nothing else has changed, a run
notices a new stage only when glue's version changes: during development, `rm .glue/unchanged.json`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mlops_glue import layout
from mlops_glue.config import KINDS, Config, path_of
from mlops_glue.modules import code_of

FORMAT = 9  # part of every stage's command: raise it when a stage's output changes, and DVC runs it again


REFITTED = ("categories", "early_stopping", "params", "preprocess", "weight")  # keys of `train` that affect the fit
Paths = Callable[[Config, Path], list[str]]  # from the config and the project folder; relative to the project folder


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline, as DVC knows it."""

    name: str  # also of its function, and of the function's module
    deps: Paths
    params: Callable[[Config], list[str]]  # the dotted keys of `glue.yaml` that it reads
    outs: Paths
    metrics: str | None = None  # a file for `dvc metrics`
    plots: str | None = None  # a folder for `dvc plots`

    @property
    def command(self) -> str:
        """The command in `dvc.yaml`."""
        return f"glue stage {self.name} --format {FORMAT}"

    def load(self) -> Callable[[Config, Path], None]:
        """Import the stage's module, with the libraries that it needs, and return the stage's function."""
        module = importlib.import_module(f"mlops_glue.pipeline.{self.name}")
        function: Callable[[Config, Path], None] = getattr(module, self.name)
        return function


def import_paths(config: Config) -> list[str | None]:
    """Return the import paths of code that the stages run: estimator, `package.trust`, transform, metrics."""
    transform = config.features.transform if config.features.use else None
    return [config.train.code, *config.package.trust, transform, *config.evaluate.imports]


def feature_repo(config: Config) -> str | None:
    """Return the folder of the Feast repository, if features are joined."""
    return config.features.repo if config.features.use else None


def _tables(config: Config) -> dict[str, str]:
    """Return the file that ingest writes for each source."""
    return {name: path_of(config, name) for name in config.data.sources}


def _joined(config: Config, *paths: str) -> list[str]:
    """Return the paths if Feast joins features."""
    return list(paths) if config.features.use else []


def _retrained(config: Config, *paths: str) -> list[str]:
    """Return the paths if retrainings have added rows."""
    return list(paths) if config.split.fresh_after else []


def _scaled(config: Config, *paths: str) -> list[str]:
    """Return the paths if `train.target` requests a scale."""
    return list(paths) if config.train.target != "as_is" else []


def _scale_params(config: Config) -> list[str]:
    """Return the keys that affect the scale of the target, if cross-validation chooses it."""
    if config.train.target != "auto":
        return []
    own = ["evaluate.metrics"] if config.promote.metric in config.evaluate.own else []
    return [*own, "promote.confidence", "promote.metric", "tune.folds"]


def _scale_code(config: Config) -> list[str | None]:
    """Return the project's own metric, if it decides on the scale of the target."""
    own = config.evaluate.own.get(config.promote.metric or "")
    return [own.function] if config.train.target == "auto" and own is not None else []


def _sampled(config: Config, *paths: str) -> list[str]:
    """Return the paths if the model is trained on a sample of the training rows."""
    return list(paths) if config.train.rows is not None else []


Key = TypeVar("Key", str, str | None)


def _refits(config: Config, *keys: Key) -> list[Key]:
    """Return the keys that affect cross-validation of the estimator, if a threshold is chosen by cross-validation."""
    return list(keys) if config.evaluate.chosen is not None else []


def _featurize_deps(config: Config, root: Path) -> list[str]:
    if not config.features.use:
        return [layout.TABLE, layout.VALIDATION]
    code = code_of([config.features.transform], config.features.repo, root)
    return [*_tables(config).values(), layout.VALIDATION, *code]


def _featurize_params(config: Config) -> list[str]:
    """Return the keys that affect what is learned; the other keys of `features` define where it is stored."""
    features = (*KINDS, "exclude", "use", "repo")
    checks = ("transform", "unmatched", "delay", "inexact_store")
    seed = ["train.seed"] if config.features.transform is not None else []  # a transform may draw random numbers
    return ["data.labels", "data.sources", "train.weight", *(f"features.{key}" for key in (*features, *checks)), *seed]


def _featurize_outs(config: Config, root: Path) -> list[str]:
    tables = [layout.FEATURE_TABLES] if config.features.transform else []
    return [layout.FEATURES, layout.COLUMNS, *_joined(config, layout.JOINED, layout.FEATURE_LIST, *tables)]


STAGES = (
    Stage(
        "ingest",
        deps=lambda config, root: [source.path for source in config.data.sources.values()],
        params=lambda config: ["data.labels.source", "data.labels.target", "data.sources"],
        outs=lambda config, root: [*_tables(config).values()],
    ),
    Stage(
        "validate",
        deps=lambda config, root: [
            path for name, path in _tables(config).items() if path == layout.TABLE or name in config.validation
        ],
        params=lambda config: ["project", "data.labels.source", "validation"],
        outs=lambda config, root: [layout.VALIDATION],
    ),
    Stage("featurize", deps=_featurize_deps, params=_featurize_params, outs=_featurize_outs),
    Stage(
        "split",
        deps=lambda config, root: [layout.COLUMNS, layout.FEATURES],
        params=lambda config: ["data.labels.target", "split", "train.rows", "train.seed"],
        outs=lambda config, root: [
            *(layout.TRAIN, layout.TEST),
            *_retrained(config, layout.FRESH),
            *_sampled(config, layout.SAMPLED),
        ],
    ),
    Stage(
        "train",
        deps=lambda config, root: [
            *(layout.COLUMNS, layout.TRAIN),
            *([config.train.onnx_file] if config.train.onnx_file is not None else []),
            *code_of([config.train.code, *config.package.trust, *_scale_code(config)], None, root),
        ],
        params=lambda config: [
            *("package.trust", "split.by", "split.fresh_after", "train"),
            *_scale_params(config),
        ],
        outs=lambda config, root: [
            *(layout.MODEL, layout.REFIT),
            *_retrained(config, layout.LEARNED),
            *_scaled(config, layout.SCALE),
        ],
    ),
    Stage(
        "evaluate",
        deps=lambda config, root: [
            *(layout.COLUMNS, layout.MODEL, config.rows, layout.TEST, layout.TRAIN),
            *_retrained(config, layout.FRESH, layout.LEARNED),
            *_scaled(config, layout.SCALE),
            *_sampled(config, layout.SAMPLED),
            *code_of(
                [*config.evaluate.imports, *config.package.trust, *_refits(config, config.train.code)], None, root
            ),
        ],
        params=lambda config: [
            *("project", "data.labels.source", f"data.sources.{config.data.labels.source}.entity", "evaluate"),
            *("features.use", "package.trust", "split.by", "split.fresh_after", "train.estimator"),
            *("train.onnx", "train.rows", "train.seed", "train.target"),
            *_refits(config, *(f"train.{key}" for key in REFITTED), "tune.folds"),
        ],
        outs=lambda config, root: [layout.EVALUATION],
        metrics=layout.METRICS,
        plots=layout.PLOTS,
    ),
    Stage(
        "package",
        deps=lambda config, root: [
            *_joined(config, layout.FEATURE_LIST),
            *(layout.COLUMNS, layout.EVALUATION, layout.MODEL, config.rows, layout.TEST, layout.TRAIN),
            *_retrained(config, layout.LEARNED),
            *code_of([*config.package.trust], None, root),
        ],
        params=lambda config: ["features.use", "package", "split.fresh_after"],
        outs=lambda config, root: [layout.BUNDLE],
    ),
)
NAMES = tuple(stage.name for stage in STAGES)


def named(name: str) -> Stage:
    """Return the stage with a name."""
    return STAGES[NAMES.index(name)]
