"""The stages of the pipeline, in order: what each depends on, reads of `glue.yaml`, and makes.

To add a stage, write a function `(config, root) -> None` in a module of the same name, and an entry here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlops_glue import layout
from mlops_glue.config import Config, path_of
from mlops_glue.modules import code_of

FORMAT = 6  # part of every stage's command: raise it when a stage's output changes, and DVC runs it again


@dataclass(frozen=True)
class Project:
    """A project as its stages see it. All paths are relative to its folder."""

    config: Config
    root: Path

    @property
    def tables(self) -> list[str]:
        """What ingest makes of each source."""
        return [path_of(self.config, name) for name in self.config.data.sources]

    @property
    def validated_tables(self) -> list[str]:
        """The labels' table, and those of the other sources that have expectations."""
        tables = zip(self.config.data.sources, self.tables, strict=True)
        return [path for name, path in tables if path == layout.TABLE or name in self.config.validation]

    @property
    def joined(self) -> list[str]:
        """What featurize writes of the features that Feast joins."""
        if not self.config.features.use:
            return []
        own = [layout.FEATURE_TABLES] if self.config.features.transform else []
        return [layout.JOINED, layout.FEATURE_LIST, *own]

    @property
    def feature_list(self) -> list[str]:
        """The list of the features that come from Feast, where some do."""
        return [layout.FEATURE_LIST] if self.config.features.use else []

    @property
    def fresh(self) -> list[str]:
        """What split writes of the rows that retrainings have added."""
        return [layout.FRESH] if self.config.split.fresh_after else []

    @property
    def learned(self) -> list[str]:
        """What train writes of the older rows that a retraining leaves out."""
        return [layout.LEARNED] if self.config.split.fresh_after else []

    @property
    def estimator_code(self) -> list[str]:
        """The project's own files behind the estimator."""
        return code_of([self.config.train.estimator], None, self.root)

    @property
    def feature_code(self) -> list[str]:
        """The project's own files that define the features: the transform's modules, and the Feast repository's."""
        if not self.config.features.use:
            return []
        return code_of([self.config.features.transform], self.config.features.repo, self.root)


Paths = Callable[[Project], list[str]]


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline, as DVC knows it.

    Attributes:
        name: also of its function, and of the module that holds the function.
        deps: the files that it reads.
        params: the dotted keys of `glue.yaml` that it reads; DVC runs it again when one of them changes.
        outs: the files and folders that it makes.
        metrics: a file of metrics that it makes, for `dvc metrics`.
        plots: a folder of plots that it makes, for `dvc plots`.
    """

    name: str
    deps: Paths
    params: Callable[[Config], list[str]]
    outs: Paths
    metrics: str | None = None
    plots: str | None = None

    @property
    def command(self) -> str:
        """What `dvc.yaml` calls."""
        return f"glue stage {self.name} --format {FORMAT}"

    def load(self) -> Callable[[Config, Path], None]:
        """The stage's function. Its module, and the libraries that the module needs, are imported now."""
        module = importlib.import_module(f"mlops_glue.pipeline.{self.name}")
        function: Callable[[Config, Path], None] = getattr(module, self.name)
        return function


def _featurize_params(config: Config) -> list[str]:
    """Of `features` these are the keys that decide what is learned; the others say where it is stored."""
    features = ("number", "category", "boolean", "datetime", "exclude", "use", "repo")
    checks = ("transform", "unmatched", "delay", "inexact_store")
    seed = ["train.seed"] if config.features.transform is not None else []  # a transform may draw random numbers
    return ["data.labels", "data.sources", *(f"features.{key}" for key in (*features, *checks)), *seed]


STAGES = (
    Stage(
        "ingest",
        deps=lambda project: [source.path for source in project.config.data.sources.values()],
        params=lambda config: ["data.labels.source", "data.labels.target", "data.sources"],
        outs=lambda project: project.tables,
    ),
    Stage(
        "validate",
        deps=lambda project: project.validated_tables,
        params=lambda config: ["data.labels.source", "validation"],
        outs=lambda project: [layout.VALIDATION],
    ),
    Stage(
        "featurize",
        deps=lambda project: [
            *(project.tables if project.config.features.use else [layout.TABLE]),
            layout.VALIDATION,
            *project.feature_code,
        ],
        params=_featurize_params,
        outs=lambda project: [layout.FEATURES, layout.COLUMNS, *project.joined],
    ),
    Stage(
        "split",
        deps=lambda project: [layout.COLUMNS, layout.FEATURES],
        params=lambda config: ["data.labels.target", "split", "train.seed"],
        outs=lambda project: [layout.TRAIN, layout.TEST, *project.fresh],
    ),
    Stage(
        "train",
        deps=lambda project: [layout.COLUMNS, layout.TRAIN, *project.estimator_code],
        params=lambda config: ["split.fresh_after", "train"],
        outs=lambda project: [layout.MODEL, *project.learned],
    ),
    Stage(
        "evaluate",
        deps=lambda project: [
            *(layout.COLUMNS, layout.MODEL, project.config.rows, layout.TEST, layout.TRAIN),
            *project.fresh,
            *project.learned,
        ],
        params=lambda config: [
            *("project", "data.labels.source", f"data.sources.{config.data.labels.source}.entity", "evaluate"),
            *("features.use", "split.by", "split.fresh_after", "train.estimator", "train.seed"),
        ],
        outs=lambda project: [layout.EVALUATION],
        metrics=layout.METRICS,
        plots=layout.PLOTS,
    ),
    Stage(
        "package",
        deps=lambda project: [
            *project.feature_list,
            *(layout.COLUMNS, layout.EVALUATION, layout.MODEL, project.config.rows, layout.TEST, layout.TRAIN),
            *project.learned,
        ],
        params=lambda config: ["features.use", "package", "split.fresh_after"],
        outs=lambda project: [layout.BUNDLE],
    ),
)
NAMES = tuple(stage.name for stage in STAGES)


def named(name: str) -> Stage:
    """The stage of this name."""
    return STAGES[NAMES.index(name)]


def import_paths(config: Config) -> list[str | None]:
    """The code that the stages run by import path: the estimator, and the transform where features are joined."""
    return [config.train.estimator, config.features.transform if config.features.use else None]


def feature_repo(config: Config) -> str | None:
    """The folder of the Feast repository, where features are joined."""
    return config.features.repo if config.features.use else None
