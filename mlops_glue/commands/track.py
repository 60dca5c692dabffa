"""`glue track -- COMMAND`: a command of the user's own as one MLflow run: no pipeline, and nothing to change in it."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import __version__, console, io, layout
from mlops_glue import config as configs
from mlops_glue.adapters import git
from mlops_glue.commands import generated
from mlops_glue.commands.adopt import as_diff, asked_for, flat, free_place
from mlops_glue.commands.init import name_of
from mlops_glue.commands.undo import undone_on_failure
from mlops_glue.delivery.fetch import opened
from mlops_glue.errors import GlueError, UsageError, brief

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store

PARAMS = ("params.yaml", "params.yml")
METRICS = ("metrics.json", "metrics.yaml", "metrics.yml")


def adopt_tracking(path: str, *, dry_run: bool = False, ask: Callable[[str], bool] | None = None) -> int:
    """A `glue.yaml` that only says where runs go; shown, and written where `ask` (None: without asking) says yes."""
    top = Path(path).resolve()
    root = free_place(top, path)
    server = "MLFLOW_TRACKING_URI" in os.environ
    asked: generated.Answers = {"tracked": {"project": name_of(top.name) or "project", "server": server}}
    files = generated.render(asked)
    console.result(as_diff(files))
    if dry_run or not asked_for(ask, root):
        return 0
    with undone_on_failure(root, list(files)):
        root.mkdir()
        for name, text in files.items():
            io.write_text(root / name, text)
        generated.remember(root, "init", asked, files, files)
    console.result(f"{root}: written. Next: glue track -- python train.py")
    return 0


def track(command: tuple[str, ...], *, metrics: tuple[str, ...] = (), env: str | None = None) -> int:
    """Run it, then log what it was given and what it measured. Returns the command's own exit code.

    Args:
        command: and its arguments.
        metrics: JSON or YAML files that it writes; default those of DVC's names, and those that `dvc.yaml` names.
        env: an entry of `environments`.
    """
    if shutil.which(command[0]) is None:
        said = "cannot be run" if Path(command[0]).is_file() else "no such command"
        raise UsageError(f"{command[0]}: {said}", hint="glue track -- python train.py")
    try:
        root = layout.find_root()
    except UsageError as error:
        raise UsageError(error.message, hint="glue adopt --tracking") from None
    config = configs.load(root, env, tables=False, needs=())
    store = opened(root, config)
    store.end_dead_runs(config.project)
    commit, dirty = git.revision(Path.cwd())
    tags = {
        "glue.version": __version__,
        "glue.command": shlex.join(command),
        "mlflow.source.name": shlex.join(command),
        "mlflow.source.git.commit": commit or "",
        "glue.git_dirty": str(dirty).lower(),
    }
    run, variables = store.begin(config.project, {key: value for key, value in tags.items() if value})
    before, status = _stamps(metrics), "FAILED"
    try:
        code = _run(command, variables)
        status = "FINISHED" if code == 0 else "KILLED" if code == 128 + signal.SIGINT else "FAILED"
    finally:
        try:
            _log(store, run, status, _params(), dict(_measured(metrics, before)))
        except Exception as error:  # what the command did counts, whatever became of the store meanwhile
            said = error.message if isinstance(error, GlueError) else brief(error)
            console.progress(f"warning: run {run} is not logged in full: {said}")
    console.progress(f"run {run} of experiment {config.project}: {status.lower()}")
    return code


def _run(command: tuple[str, ...], variables: dict[str, str]) -> int:
    """Its exit code as a shell tells it."""
    with subprocess.Popen(command, env={**os.environ, **variables}) as process:
        while True:
            try:
                code = process.wait()
                return code if code >= 0 else 128 - code
            except KeyboardInterrupt:  # the terminal sends it to the command too, which ends in its own way
                continue


def _params() -> dict[str, Any]:
    """What DVC takes for parameters, by dotted name."""
    file = next((Path(name) for name in PARAMS if Path(name).is_file()), None)
    return {".".join(key): value for key, value in flat(_read(file)).items()} if file is not None else {}


def _stamps(named: tuple[str, ...]) -> dict[str, int]:
    """When each file of metrics that is there was written."""
    names = named or (*METRICS, *_of_dvc())
    return {name: Path(name).stat().st_mtime_ns for name in names if Path(name).is_file()}


def _measured(named: tuple[str, ...], before: dict[str, int]) -> Iterator[tuple[str, float]]:
    """The numbers in the files of metrics that were written since, by dotted name."""
    written = [name for name, stamp in _stamps(named).items() if stamp != before.get(name)]
    for name in (one for one in named if one not in written):
        console.progress(f"--metrics {name}: the command did not write it")
    for name in written:
        for key, value in flat(_read(Path(name))).items():
            if isinstance(value, int | float) and math.isfinite(value):
                yield ".".join(key), float(value)


def _of_dvc() -> Iterator[str]:
    """The metrics of the stages of `dvc.yaml`."""
    tree = _read(Path("dvc.yaml")) if Path("dvc.yaml").is_file() else None
    stages = tree.get("stages") if isinstance(tree, dict) else None
    for stage in stages.values() if isinstance(stages, dict) else ():
        for one in (stage.get("metrics") or []) if isinstance(stage, dict) else ():
            yield one if isinstance(one, str) else next(iter(one))


def _read(file: Path) -> Any:
    """JSON or YAML; None, told, where it is neither."""
    from ruamel.yaml.error import YAMLError

    try:
        return io.read_yaml(file)
    except (YAMLError, OSError, ValueError) as error:
        console.progress(f"{file}: cannot be read, and is left out: {type(error).__name__}")
        return None


def _log(store: Store, run: str, status: str, params: dict[str, Any], metrics: dict[str, float]) -> None:
    files = [Path(name) for name in (*PARAMS, "dvc.lock") if Path(name).is_file()]
    store.end(run, status, {key: str(value) for key, value in params.items()}, metrics, files)
