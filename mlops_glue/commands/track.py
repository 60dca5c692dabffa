"""`glue track -- COMMAND`: a command of the user's own as one MLflow run: no pipeline, and nothing to change in it."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import __version__, console, files, layout
from mlops_glue import config as configs
from mlops_glue.adapters import dvc, git
from mlops_glue.commands.adopt import as_diff, asked_for, flat, free_place
from mlops_glue.commands.init import name_of
from mlops_glue.delivery.fetch import opened
from mlops_glue.errors import GlueError, UsageError, brief
from mlops_glue.scaffold import manifest
from mlops_glue.scaffold.undo import undone_on_failure

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store

PARAMS = ("params.yaml", "params.yml")
METRICS = ("metrics.json", "metrics.yaml", "metrics.yml", "dvclive/metrics.json")
FORWARDED = ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCONT")  # those that this system has


def adopt_tracking(path: str, *, dry_run: bool = False, ask: Callable[[str], bool] | None = None) -> int:
    """A `glue.yaml` that only says where runs go; shown, and written where `ask` (None: without asking) says yes."""
    top = Path(path).resolve()
    root = free_place(top, path)
    server = "MLFLOW_TRACKING_URI" in os.environ
    asked: manifest.Answers = {"tracked": {"project": name_of(top.name) or "project", "server": server}}
    contents = manifest.render(asked)
    console.result(as_diff(contents))
    if dry_run or not asked_for(ask, root):
        return 0
    with undone_on_failure(root, list(contents)):
        root.mkdir()
        for name, text in contents.items():
            files.write_text(root / name, text)
        manifest.record(root, "init", asked, contents, contents)
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
    own = dict(os.environ)  # MLflow's settings for glue itself are not the command's
    config = configs.load(root, env, tables=False, needs=())
    store = opened(root, config)
    store.end_dead_runs(config.project)
    commit = git.commit_hash(Path.cwd(), "HEAD")
    tags = {
        "glue.version": __version__,
        "glue.command": shlex.join(command),
        "mlflow.source.name": shlex.join(command),
        "mlflow.source.git.commit": commit or "",
        "glue.git_dirty": str(commit is None or bool(git.changed_files(Path.cwd(), []))).lower(),
    }
    before, status = _stamps(_held(metrics)), "FAILED"
    run, variables = store.start_run(config.project, {key: value for key, value in tags.items() if value})
    try:
        code, status = _run(command, _environment(own, variables))
    finally:
        try:
            _log(store, run, status, _params(), _measured(metrics, before))
        except Exception as error:  # what the command did counts, whatever became of the store meanwhile
            said = error.message if isinstance(error, GlueError) else brief(error)
            console.progress(f"warning: run {run} is not logged in full: {said}")
    console.progress(f"run {run} of experiment {config.project}: {status.lower()}")
    return code


def _environment(own: dict[str, str], variables: dict[str, str]) -> dict[str, str]:
    """The command's variables: what is set already stays, and a run that it is to go on with is found where it lies."""
    if "MLFLOW_RUN_ID" in own:
        return own
    if "MLFLOW_EXPERIMENT_ID" in own:  # MLflow takes no name that is of another experiment
        variables = {key: value for key, value in variables.items() if key != "MLFLOW_EXPERIMENT_NAME"}
    return {**variables, **own}


def _run(command: tuple[str, ...], environment: dict[str, str]) -> tuple[int, str]:
    """Its exit code as a shell tells it, and how the run ended as MLflow tells it."""
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []  # what came before there was a process

    def forward(number: int, _: object = None) -> None:
        process.send_signal(number) if process is not None else early.append(number)

    before: dict[int, Any] = {}
    for one in (getattr(signal, name) for name in FORWARDED if hasattr(signal, name)):
        if signal.getsignal(one) is not signal.SIG_IGN:  # under nohup
            before[one] = signal.signal(one, forward)
    try:
        process = subprocess.Popen(command, env=environment)
        for number in early:
            forward(number)
        while True:
            try:
                code = process.wait()
                break
            except KeyboardInterrupt:  # the command ends in its own way
                if not _of_terminal():
                    forward(signal.SIGINT)
    except OSError as error:
        said = f"{command[0]}: cannot be run: {error.strerror}"
        raise UsageError(said, hint="glue track -- python train.py") from None
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    killed = code < 0 or code == 128 + signal.SIGINT
    return code if code >= 0 else 128 - code, "FINISHED" if code == 0 else "KILLED" if killed else "FAILED"


def _of_terminal() -> bool:
    """Does a terminal send its ^C to this process, and so to the command too?"""
    try:
        with open("/dev/tty", "rb", buffering=0) as terminal:  # noqa: PTH123 - no file
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def _params() -> dict[str, Any]:
    """What DVC takes for parameters, by dotted name."""
    file = next((Path(name) for name in PARAMS if Path(name).is_file()), None)
    return {".".join(key): value for key, value in flat(_read(file)).items()} if file is not None else {}


def _held(named: tuple[str, ...]) -> dict[str, Any]:
    """What each file of metrics that is there holds: those that are named, else DVC's and those of the usual names."""
    found = {name: _read(Path(name)) for name in named or METRICS if Path(name).is_file()}
    if not named and any((folder / ".dvc").is_dir() for folder in (Path.cwd(), *Path.cwd().parents)):
        try:
            found |= dvc.metrics(Path.cwd())
        except GlueError as error:
            console.progress(f"warning: the metrics of dvc.yaml are left out: {error.message}")
    return found


def _stamps(names: Iterable[str]) -> dict[str, int]:
    """When each of the files that are there was written."""
    return {name: Path(name).stat().st_mtime_ns for name in names if Path(name).is_file()}


def _measured(named: tuple[str, ...], before: dict[str, int]) -> dict[str, float]:
    """The numbers in the files of metrics that were written since, by dotted name, and by file where two have one."""
    held = _held(named)
    written = [name for name, stamp in _stamps(held).items() if stamp != before.get(name)]
    for name in (one for one in named if one not in written):
        console.progress(f"--metrics {name}: the command did not write it")
    numbers: dict[str, float] = {}
    for name in written:
        for key, value in flat(held[name]).items():
            if isinstance(value, int | float) and math.isfinite(value):
                dotted = ".".join(key)
                numbers[f"{Path(name).with_suffix('').as_posix()}/{dotted}" if dotted in numbers else dotted] = float(
                    value
                )
    return numbers


def _read(file: Path) -> Any:
    """JSON or YAML; None, told, where it is neither."""
    from ruamel.yaml.error import YAMLError

    try:
        return files.read_yaml(file)
    except (YAMLError, OSError, ValueError) as error:
        console.progress(f"{file}: cannot be read, and is left out: {type(error).__name__}")
        return None


def _log(store: Store, run: str, status: str, params: dict[str, Any], metrics: dict[str, float]) -> None:
    files = [Path(name) for name in (*PARAMS, "dvc.lock") if Path(name).is_file()]
    store.end_run(run, status, {key: str(value) for key, value in params.items()}, metrics, files)
