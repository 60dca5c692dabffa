"""Keep the outputs of commands from replacing files that the project needs."""

from __future__ import annotations

from pathlib import Path

from mlops_glue import config as configs
from mlops_glue import layout
from mlops_glue.errors import UsageError

FILES = (layout.CONFIG, "dvc.yaml", "dvc.lock", layout.TRACKING_DB)
FOLDERS = (layout.ARTIFACTS, layout.STATE, layout.TRACKING_ARTIFACTS, layout.MONITORING, ".dvc", ".git")


def check_outputs(root: Path, outputs: list[Path], config: configs.Config | None = None) -> None:
    """Check that no output replaces a file of glue, DVC, git or MLflow, or a table or the prediction log of `config`.

    Raises:
        UsageError: one of the outputs is such a file, or is in such a folder.
    """
    tables: list[str | None] = []
    if config is not None:
        tables = [config.serve.prediction_log, config.monitor.labels.path if config.monitor.labels else None]
        if config.data is not None:  # a project that only serves a model has no tables
            tables += [source.path for source in config.data.sources.values()]
    places = [(root / one).resolve() for one in (*filter(None, tables), *FILES, *FOLDERS) if "://" not in one]
    for out in outputs:
        if any(out.resolve().is_relative_to(place) for place in places):
            raise UsageError(f"{out}: belongs to the project, and is not overwritten", hint="use another name")


def output_file(root: Path, output: str, config: configs.Config) -> Path:
    """Return the path of a file to write, after the checks of `check_outputs`.

    Raises:
        UsageError: it is a folder, or belongs to the project.
    """
    path = Path(output)
    check_outputs(root, [path], config)
    if path.is_dir():
        raise UsageError(f"--output {output}: is a folder", hint="give the name of a file")
    return path
