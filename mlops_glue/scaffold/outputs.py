"""No output of a command replaces a file that the project needs."""

from __future__ import annotations

from pathlib import Path

from mlops_glue import config as configs
from mlops_glue import layout
from mlops_glue.errors import UsageError

FILES = (layout.CONFIG, "dvc.yaml", "dvc.lock", layout.TRACKING_DB)
FOLDERS = (layout.ARTIFACTS, layout.STATE, layout.TRACKING_ARTIFACTS, layout.MONITORING, ".dvc", ".git")


def check_outputs(root: Path, outputs: list[Path], config: configs.Config | None = None) -> None:
    """What glue, DVC, git and MLflow keep stays, and, by `config`, the tables it learns from and the prediction log.

    Raises:
        UsageError: one of the outputs is such a file, or lies in such a folder.
    """
    tables: list[str | None] = []
    if config is not None:
        tables = [config.serve.prediction_log, config.monitor.labels.path if config.monitor.labels else None]
        if config.data is not None:  # what only serves a model has none
            tables += [source.path for source in config.data.sources.values()]
    places = [(root / one).resolve() for one in (*filter(None, tables), *FILES, *FOLDERS) if "://" not in one]
    for out in outputs:
        if any(out.resolve().is_relative_to(place) for place in places):
            raise UsageError(f"{out}: is the project's own, which stays as it is", hint="another name")
