"""DVC's reproduce, with stages that run in this process.

This relies on two undocumented names of DVC: the argument `repro_fn` of `Repo.reproduce`, and the function
`dvc.stage.run.cmd_run`, which is replaced during a run. `in_process_supported` checks for both. Without them, every
stage runs as a subprocess, as in `dvc repro`.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue.adapters.dvc.lock import locked
from mlops_glue.adapters.dvc.repository import answered, open_repo
from mlops_glue.adapters.dvc.status import dropped, reasons
from mlops_glue.errors import GlueError

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage

# "" before the work, "outside" before a command that runs as a subprocess; executed, restored, unchanged, failed
Outcome = str
Event = Callable[[str, Outcome, float, list[str]], None]  # stage, outcome, seconds, reasons


def in_process_supported() -> bool:
    """Can stages run in this process with the installed version of DVC?"""
    try:
        from dvc.repo import reproduce as module
        from dvc.stage import run

        return "repro_fn" in inspect.signature(module._reproduce).parameters and hasattr(run, "cmd_run")
    except (ImportError, AttributeError):
        return False


def reproduce(
    root: Path,
    in_process: Mapping[str, Callable[[], None]],
    event: Event,
    *,
    until: str | None = None,
    force: bool = False,
    pull: bool = False,
    remote: str | None = None,
    variables: Mapping[str, str] | None = None,
) -> None:
    """Run the stages that have changed, as `dvc repro` does.

    Args:
        root: the project folder.
        in_process: by command, the function that runs the stage in this process. Other commands run as subprocesses.
        event: called before and after each stage.
        until: stop after this stage.
        force: run unchanged stages too.
        pull: fetch results that the run-cache knows from the remote, instead of computing them again.
        remote: replaces the default remote of DVC's own config.
        variables: additional environment variables for stages that run as subprocesses.

    Raises:
        GlueError: raised by a stage that ran in this process.
        ToolError: DVC failed.
    """
    with open_repo(root, remote) as repo:
        executed: set[str] = set()
        lock = locked(root)
        _repair_after_kill(repo)
        if pull:
            repo.cloud.pull = answered(repo.cloud.pull)

        def repro(stage: Stage, **options: Any) -> Stage | None:
            if stage.cmd is None:  # a file that DVC tracks
                return _reproduce(stage, **options)
            name = stage.addressing
            if dropped(stage, lock):
                stage.cmd_changed = True  # so that DVC runs it, or restores it from its run-cache
            why = reasons(stage, lock) if not force else []
            event(name, "", 0.0, why)
            started = time.perf_counter()
            try:
                with _outputs_kept_on_failure(stage):
                    done = _reproduce(stage, **options)
            except BaseException:
                event(name, "failed", time.perf_counter() - started, why)
                raise
            outcome = "unchanged" if done is None else "executed" if name in executed else "restored"
            event(name, outcome, time.perf_counter() - started, why)
            return done

        with _commands(in_process, executed, event, dict(variables or {})):
            repo.reproduce(targets=[until] if until else None, force=force, pull=pull, repro_fn=repro)


def _reproduce(stage: Stage, **options: Any) -> Stage | None:
    """Run a stage and write `dvc.lock`, as DVC does without `repro_fn`."""
    done = stage.reproduce(**options)
    if done is not None:
        stage.dump(update_pipeline=False)
    return done


@contextlib.contextmanager
def _outputs_kept_on_failure(stage: Stage) -> Iterator[None]:
    """Restore the old outputs, which DVC deletes first, if a stage fails before it has written anything."""
    present = [out for out in stage.outs if out.exists]
    uncached = {out: Path(out.fs_path).read_bytes() for out in present if not out.use_cache and out.isfile()}
    try:
        yield
    except BaseException:
        for out in [] if any(out.exists for out in stage.outs) else present:
            with contextlib.suppress(Exception):  # the cache may be missing; keep the first error
                if out in uncached:
                    Path(out.fs_path).write_bytes(uncached[out])
                else:
                    out.checkout(force=True)
        raise


def _repair_after_kill(repo: Repo) -> None:
    """Remove what a killed DVC leaves behind and would fail on in every later run.

    These are an empty list of its readers and writers, and folders of the run-cache without an entry.
    """
    readers = Path(repo.tmp_dir) / "rwlock"
    try:
        if readers.is_file():
            json.loads(readers.read_bytes())
    except ValueError:
        readers.unlink()
    with repo.lock:  # another DVC process may be writing to the run-cache
        for unfinished in Path(repo.stage_cache.cache_dir).glob("*/*/*.tmp"):
            unfinished.unlink()
        for folder in Path(repo.stage_cache.cache_dir).glob("*/*"):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


@contextlib.contextmanager
def _commands(
    in_process: Mapping[str, Callable[[], None]], executed: set[str], event: Event, variables: dict[str, str]
) -> Iterator[None]:
    """Replace the function that runs a stage's command, and record which stages ran."""
    from dvc.stage import run as dvc_run
    from dvc.stage.exceptions import StageCmdFailedError

    original = dvc_run.cmd_run

    def cmd_run(stage: Stage, dry: bool = False, run_env: dict[str, str] | None = None) -> None:
        executed.add(stage.addressing)
        # looked up by the whole command: DVC runs a command that does more
        run = in_process.get(stage.cmd) if isinstance(stage.cmd, str) and not dry else None
        if run is None:
            event(stage.addressing, "outside", 0.0, [])
            original(stage, dry=dry, run_env={**(run_env or {}), **variables})
            return
        environment = dict(os.environ)
        try:
            run()
        except GlueError as error:
            raise StageCmdFailedError(stage.cmd, error.exit_code) from error
        finally:
            os.chdir(stage.repo.root_dir)
            os.environ.clear()
            os.environ.update(environment)

    dvc_run.cmd_run = cmd_run
    try:
        yield
    finally:
        dvc_run.cmd_run = original
