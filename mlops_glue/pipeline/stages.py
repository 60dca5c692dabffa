"""The stages, in order, and the version of what they write."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from mlops_glue.config import Config

FORMAT = 6  # part of every stage's command: raise it when a stage's output changes, and DVC runs it again
STAGES = ("ingest", "validate", "featurize", "split", "train", "evaluate", "package")
# The keys of `glue.yaml` that each stage reads: DVC runs it again when one changes. `{labels}` is the labels' source.
# Of `features` they are those that decide what is learned; the others say where it is kept.
READS: dict[str, tuple[str, ...]] = {
    "ingest": ("data.labels.source", "data.labels.target", "data.sources"),
    "validate": ("data.labels.source", "validation"),
    "featurize": (
        *("data.labels", "data.sources"),
        *(f"features.{key}" for key in ("number", "category", "boolean", "datetime", "exclude", "use", "repo")),
        *(f"features.{key}" for key in ("transform", "unmatched", "delay", "inexact_store")),
        "train.seed",  # a transform of the user's may draw
    ),
    "split": ("data.labels.target", "split", "train.seed"),
    "train": ("split.fresh_after", "train"),
    "evaluate": (
        *("project", "data.labels.source", "data.sources.{labels}.entity", "evaluate", "features.use"),
        *("split.by", "split.fresh_after", "train.estimator", "train.seed"),
    ),
    "package": ("features.use", "package", "split.fresh_after"),
}


def command(name: str) -> str:
    """What `dvc.yaml` calls."""
    return f"glue stage {name} --format {FORMAT}"


def reads(name: str, config: Config) -> list[str]:
    """The stage's keys of `glue.yaml`, in this project."""
    drawn = "train.seed" if name == "featurize" and config.features.transform is None else None
    return [key.replace("{labels}", config.data.labels.source) for key in READS[name] if key != drawn]


def load(name: str) -> Callable[[Config, Path], None]:
    """The stage's function; its module, and so its libraries, are imported now."""
    function: Callable[[Config, Path], None] = getattr(importlib.import_module(f"mlops_glue.pipeline.{name}"), name)
    return function
