"""Running a user's own command as an MLflow run, with parameters and metrics from files, as in DVC."""

from __future__ import annotations

import logging
import math
import shlex
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from mlops_glue import config as configs
from mlops_glue.adapters import dvc, git
from mlops_glue.delivery.fetch import opened
from mlops_glue.errors import GlueError, UsageError, brief
from mlops_glue.files import read_yaml
from mlops_glue.processes import run_in_foreground
from mlops_glue.version import __version__

PARAMS = ("params.yaml", "params.yml")
METRICS = ("metrics.json", "metrics.yaml", "metrics.yml", "dvclive/metrics.json")

log = logging.getLogger(__name__)


class Run(NamedTuple):
    """A finished MLflow run."""

    id: str
    status: str  # FINISHED, FAILED or KILLED
    exit_code: int  # of the command


def tracked(
    root: Path, config: configs.Config, command: tuple[str, ...], environment: dict[str, str], metrics: tuple[str, ...]
) -> Run:
    """Run a command of the user's in the working folder, and log it to the project's registry.

    Metrics are JSON or YAML files that it writes; without any they are those of DVC's names and those of `dvc.yaml`.

    Raises:
        UsageError: it cannot be run.
    """
    store = opened(root, config, registry=False)
    store.end_dead_runs(config.project)
    before = _written_at(_metrics(metrics))
    run, variables = store.start_run(config.project, _tags(command))
    exit_code, status = 0, "FAILED"
    try:
        exit_code, status = run_command(command, variables_of(environment, variables))
    finally:
        try:
            params = {name: str(value) for name, value in _params().items()}
            files = [Path(name) for name in (*PARAMS, "dvc.lock") if Path(name).is_file()]
            store.end_run(run, status, params, measured(metrics, before), files)
        except Exception as error:  # what the command did counts, whatever became of the store meanwhile
            why = error.message if isinstance(error, GlueError) else brief(error)
            log.warning("warning: run %s was not logged completely: %s", run, why)
    return Run(run, status, exit_code)


def run_command(command: tuple[str, ...], environment: dict[str, str]) -> tuple[int, str]:
    """Run a command, and return its exit code as in a shell, and the MLflow status of the run.

    Raises:
        UsageError: the command cannot be run.
    """
    try:
        code = run_in_foreground(command, environment)
    except OSError as error:
        why = f"{command[0]}: cannot be run: {error.strerror}"
        raise UsageError(why, hint="glue track -- python train.py") from None
    killed = code < 0 or code == 128 + signal.SIGINT
    return code if code >= 0 else 128 - code, "FINISHED" if code == 0 else "KILLED" if killed else "FAILED"


def _tags(command: tuple[str, ...]) -> dict[str, str]:
    commit = git.commit_hash(Path.cwd(), "HEAD")
    tags = {
        "glue.version": __version__,
        "glue.command": shlex.join(command),
        "mlflow.source.name": shlex.join(command),
        "mlflow.source.git.commit": commit or "",
        "glue.git_dirty": str(commit is None or bool(git.changed_files(Path.cwd()))).lower(),
    }
    return {name: value for name, value in tags.items() if value}


def variables_of(environment: dict[str, str], variables: dict[str, str]) -> dict[str, str]:
    """Return the command's environment variables, with the variables for logging to the new run."""
    if "MLFLOW_RUN_ID" in environment:
        return environment
    if "MLFLOW_EXPERIMENT_ID" in environment:  # MLflow refuses an experiment name together with another id
        variables = {name: value for name, value in variables.items() if name != "MLFLOW_EXPERIMENT_NAME"}
    return {**variables, **environment}


def _params() -> dict[str, Any]:
    """Read the parameters from DVC's default file, by dotted name."""
    file = next((Path(name) for name in PARAMS if Path(name).is_file()), None)
    return {".".join(key): value for key, value in flatten(_read(file)).items()} if file is not None else {}


def _metrics(named: tuple[str, ...]) -> dict[str, Any]:
    """Read the existing metrics files: the named files, or else DVC's metrics and files with the usual names."""
    found = {name: _read(Path(name)) for name in named or METRICS if Path(name).is_file()}
    if not named and any((folder / ".dvc").is_dir() for folder in (Path.cwd(), *Path.cwd().parents)):
        try:
            found |= dvc.metrics(Path.cwd())
        except GlueError as error:
            log.warning("warning: the metrics in dvc.yaml were ignored: %s", error.message)
    return found


def _written_at(names: Iterable[str]) -> dict[str, int]:
    """Return the modification time of each existing file."""
    return {name: Path(name).stat().st_mtime_ns for name in names if Path(name).is_file()}


def measured(named: tuple[str, ...], before: dict[str, int]) -> dict[str, float]:
    """Read the numbers in metrics files written since `before`, by dotted name, with the file for duplicate names."""
    found = _metrics(named)
    written = [name for name, stamp in _written_at(found).items() if stamp != before.get(name)]
    for name in named:
        if name not in written:
            log.warning("--metrics %s: the command did not write it", name)
    numbers: dict[str, float] = {}
    for file in written:
        for key, value in flatten(found[file]).items():
            if isinstance(value, int | float) and math.isfinite(value):
                name = ".".join(key)
                numbers[f"{Path(file).with_suffix('').as_posix()}/{name}" if name in numbers else name] = float(value)
    return numbers


def _read(file: Path) -> Any:
    """Read JSON or YAML; None, with a warning, if the file is not valid."""
    from ruamel.yaml.error import YAMLError

    try:
        return read_yaml(file)
    except (YAMLError, OSError, ValueError) as error:
        log.warning("%s: cannot be read, ignored: %s", file, type(error).__name__)
        return None


def flatten(value: Any, at: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return the leaves of nested mappings, by their path."""
    if not isinstance(value, dict):
        return {at: value} if at else {}
    leaves: dict[tuple[str, ...], Any] = {}
    for key, inner in value.items():
        leaves |= flatten(inner, (*at, str(key)))
    return leaves
