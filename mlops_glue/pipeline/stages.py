"""The stages, in order, and the version of what they write."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from mlops_glue.config import Config

FORMAT = 2  # part of every stage's command: raise it when a stage's output changes, and DVC runs it again
STAGES = ("ingest", "validate", "featurize", "split", "train", "evaluate", "package")


def command(name: str) -> str:
    """What `dvc.yaml` calls."""
    return f"glue stage {name} --format {FORMAT}"


def load(name: str) -> Callable[[Config, Path], None]:
    """The stage's function; its module, and so its libraries, are imported now."""
    function: Callable[[Config, Path], None] = getattr(importlib.import_module(f"mlops_glue.pipeline.{name}"), name)
    return function
