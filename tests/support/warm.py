"""A process that has imported everything and runs `glue`, `dvc` and `feast` in forked copies of itself.

A cold `glue run` spends most of its time importing; the suite makes some hundreds. From `main` on the copy does what
a new process does. What only a new process shows (what is imported when, that each module imports what it needs) is
held by the tests that start one: the main job, accidents, imports.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import logging
import multiprocessing
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import traceback
import warnings
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

TOOLS = """
dvc.repo dvc.stage mlflow.sklearn great_expectations sklearn.ensemble sklearn.pipeline sklearn.linear_model skops.io
skl2onnx onnxruntime pandas pyarrow.dataset feast matplotlib.pyplot
dvc.cachemgr dvc.data_cloud dvc.dirs dvc.lock dvc.repo.artifacts dvc.repo.index dvc.repo.metrics dvc.repo.params
dvc.repo.plots dvc.repo.stage dvc.rwlock dvc.scm dvc.utils.strictyaml dulwich.ignore filelock git networkx pyarrow.csv
mlflow.store.tracking.sqlalchemy_workspace_store mlflow.store.model_registry.sqlalchemy_workspace_store
dvc.repo.datasets dvc.repo.graph dvc.repo.trie dvc_data.hashfile.db.local dvc_data.hashfile.status dulwich.index
configobj
dvc.cli dvc.cli.parser dvc.commands.repro dvc.commands.data_sync feast.cli.cli ipykernel.kernelapp
matplotlib.backends.backend_svg narwhals._pandas_like.dataframe pandas.core.methods.to_dict
mlflow.models.display_utils mlflow.tracing.processor.otel IPython.core.interactiveshell IPython.display
mlflow.pyfunc.scoring_server mlflow.tracing.processor.base_mlflow alembic.command pydantic.dataclasses
"""

# what it can be a copy of: where its entry point is
PROGRAMS = {"glue": ("mlops_glue.cli", "main"), "dvc": ("dvc.cli", "main"), "feast": ("feast.cli.cli", "cli")}
PROGRAMS |= {"kernel": ("ipykernel.kernelapp", "launch_new_instance")}  # of a notebook


def ready() -> None:
    """Do what each process does once: import glue and the tools, map MLflow's tables, list what is installed.

    What the installed versions do not have is left to later.
    """
    import mlops_glue
    from mlops_glue.adapters.feast.type_checks import prepared_at_first_call

    with prepared_at_first_call():  # as glue imports Feast
        for name in TOOLS.split():
            with contextlib.suppress(ImportError):
                importlib.import_module(name)

    for module in pkgutil.walk_packages(mlops_glue.__path__, "mlops_glue."):
        importlib.import_module(module.name)
    with contextlib.suppress(ImportError):
        from mlflow.utils.requirements_utils import _init_packages_to_modules_map
        from sqlalchemy.orm import configure_mappers

        configure_mappers()
        _init_packages_to_modules_map()
        mlops_glue.modules.packages(), mlops_glue.modules.packages_of_modules()
    _make_stores_by_copy()
    with contextlib.suppress(ImportError, AttributeError):
        keep_what_dvc_dumps()


def keep_what_dvc_dumps() -> None:
    """DVC parses its lock before it writes it after each stage: here it keeps what it wrote, which is a third of a run.

    Only a file that somebody else has written is parsed.
    """
    from dvc.utils.serialize import _yaml

    parse, dump = _yaml.parse_yaml_for_update, _yaml._dump
    kept: dict[str, Any] = {}

    def dump_and_keep(data: Any, stream: Any) -> None:
        parts: list[str] = []

        def write(text: str) -> None:
            parts.append(text)
            stream.write(text)

        dump(data, SimpleNamespace(write=write, encoding="utf-8"))
        kept.clear()
        if "#" not in (text := "".join(parts)):  # a remark would be lost
            kept[text] = _unshared(data)

    def parse_what_is_new(text: str, path: str) -> Any:
        return kept.pop(text) if text in kept and str(path).endswith(".lock") else parse(text, path)

    _yaml._dump, _yaml.parse_yaml_for_update = dump_and_keep, parse_what_is_new


def _unshared(value: Any) -> Any:
    """As it would be read: what is one object in two places would be written as an anchor."""
    if isinstance(value, dict):
        return OrderedDict((key, _unshared(one)) for key, one in value.items())
    return [_unshared(one) for one in value] if isinstance(value, list | tuple) else value


def _make_stores_by_copy() -> None:
    """MLflow's database is made once, in memory: a new one in SQLite is a copy, and not fifty migrations."""
    from mlflow.store.db import utils
    from sqlalchemy import Engine, StaticPool, create_engine, inspect

    make, memory = utils._initialize_tables, create_engine("sqlite://", poolclass=StaticPool)
    logging.disable()
    make(memory)
    logging.disable(logging.NOTSET)
    made = memory.raw_connection().driver_connection

    def copy(engine: Engine) -> None:
        if engine.dialect.name != "sqlite" or inspect(engine).get_table_names():
            return make(engine)
        with contextlib.closing(engine.raw_connection()) as to:
            made.backup(to.driver_connection)

    utils._initialize_tables = copy


def forked_painter() -> Any:
    """For `subprocess` in the adapter of Evidently, whose process is then a copy of this one."""
    from mlops_glue.adapters import evidently

    def paint() -> None:
        os.closerange(3, 1 << 10)  # one is of `Popen`, which waits for its end
        with (
            open(0, closefd=False) as sys.stdin,
            open(1, "w", closefd=False) as sys.stdout,
            open(2, "w", buffering=1, closefd=False) as sys.stderr,
        ):
            try:
                evidently.wait()
            except Exception:
                traceback.print_exc()
                os._exit(1)
        os._exit(0)

    def painter(_: list[str], **streams: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["false"], preexec_fn=paint, **streams)

    return SimpleNamespace(**{**vars(subprocess), "Popen": painter})


def fork_apart() -> None:
    """What a command does in a process of its own is done in a copy of this one, and not in one that imports again."""
    from mlops_glue.adapters import evidently

    evidently.subprocess = forked_painter()
    context = multiprocessing.get_context
    multiprocessing.get_context = lambda method=None: context("fork")  # type: ignore[assignment]


def make_store(folder: Path) -> None:
    """MLflow's database without a run in it."""
    from mlops_glue.adapters.mlflow import Store

    if (pid := os.fork()) == 0:
        os.chdir(folder)  # it keeps where it was made
        Store(Path(), None)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def serve(asked: socket.socket) -> str:
    """Answers requests, several at once; returns in the copy the program that it then is. It ends with its stdin.

    A copy is killed when who asked is: a test that kills the `glue` of `asking.command` kills the command.
    """
    running: dict[int, tuple[int, socket.socket]] = {}
    waiting: dict[socket.socket, int] = {}
    while True:
        for ready in select.select([0, asked, *running, *waiting], [], [])[0]:
            if ready == 0:
                os._exit(0)
            if ready in waiting:
                signal.pidfd_send_signal(waiting.pop(ready), signal.SIGKILL)
            if ready is not asked and ready not in running:
                continue
            if ready is not asked:
                pid, asking = running.pop(ready)
                waiting.pop(asking, None)
                os.close(ready)
                with contextlib.suppress(OSError), asking:  # who asked may have ended
                    asking.sendall(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
                continue
            asking = asked.accept()[0]
            data, files, _, _ = socket.recv_fds(asking, 1 << 20, 3)
            if not data:  # who asked has ended
                asking.close()
                continue
            request = json.loads(data)
            if request["words"][:1] == ["monitor"] and "--no-page" not in request["words"]:
                with contextlib.suppress(ImportError):  # it takes seconds, and few need it
                    importlib.import_module("evidently.presets")
            if (pid := os.fork()) == 0:
                for each in (asked, asking, *(other for _, other in running.values())):
                    each.close()
                for at, stream in enumerate(files):
                    os.dup2(stream, at)
                os.closerange(3, 1 << 10)
                os.chdir(request["cwd"])
                os.environ.clear()
                os.environ.update(request["env"])
                sys.argv = [request["program"], *request["words"]]
                return str(request["program"])
            with contextlib.suppress(OSError):  # as above
                asking.sendall(str(pid).encode())
            file = os.pidfd_open(pid)
            running[file], waiting[asking] = (pid, asking), file
            for stream in files:
                os.close(stream)


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of the tests
    with warnings.catch_warnings():  # each program sets filters, which the others never see
        ready()
    fork_apart()
    make_store(Path(sys.argv[2]))
    gc.freeze()
    program = serve(socket.socket(fileno=int(sys.argv[1])))
    sys.stdout.reconfigure(line_buffering=os.isatty(1))
    module, function = PROGRAMS[program]
    code: object = 0
    try:
        code = getattr(importlib.import_module(module), function)()
    except SystemExit as end:
        code = end.code
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    code = code or 0  # some return nothing
    os._exit(code if isinstance(code, int) else 1)  # the end of the interpreter would wait for the threads of the first
