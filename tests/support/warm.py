"""A process that has imported everything and runs `glue` in forked copies of itself.

A cold `glue run` spends most of its time importing; the suite makes some hundreds. From `main` on the copy does what
a new process does. What only a new process shows (what is imported when, that each module imports what it needs) is
held by the tests that start one: the main job, README, accidents, imports.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import logging
import os
import pkgutil
import socket
import sys

TOOLS = """
dvc.repo dvc.stage mlflow.sklearn great_expectations sklearn.ensemble sklearn.pipeline sklearn.linear_model skops.io
skl2onnx onnxruntime pandas pyarrow.dataset feast matplotlib.pyplot
dvc.cachemgr dvc.data_cloud dvc.dirs dvc.lock dvc.repo.artifacts dvc.repo.index dvc.repo.metrics dvc.repo.params
dvc.repo.plots dvc.repo.stage dvc.rwlock dvc.scm dvc.utils.strictyaml dulwich.ignore filelock git networkx pyarrow.csv
mlflow.store.tracking.sqlalchemy_workspace_store mlflow.store.model_registry.sqlalchemy_workspace_store
mlflow.pyfunc.scoring_server mlflow.tracing.processor.base_mlflow alembic.command pydantic.dataclasses
"""


def ready() -> None:
    """Do what each process does once: import glue and the tools, map MLflow's tables, list what is installed.

    What the installed versions do not have is left to later.
    """
    for name in TOOLS.split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    import mlops_glue

    for module in pkgutil.walk_packages(mlops_glue.__path__, "mlops_glue."):
        importlib.import_module(module.name)
    with contextlib.suppress(ImportError):
        from mlflow.utils.requirements_utils import _init_packages_to_modules_map
        from sqlalchemy.orm import configure_mappers

        configure_mappers()
        _init_packages_to_modules_map()
        mlops_glue.modules.packages(), mlops_glue.modules.packages_of_modules()
    _make_stores_by_copy()


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


def serve(asked: socket.socket) -> None:
    """Answers one request after another; returns in the copy, which then runs the command."""
    while True:
        data, files, _, _ = socket.recv_fds(asked, 1 << 20, 2)
        if not data:
            os._exit(0)
        request = json.loads(data)
        pid = os.fork()
        if pid == 0:
            asked.close()
            os.dup2(files[0], 1)
            os.dup2(files[1], 2)
            os.chdir(request["cwd"])
            os.environ.clear()
            os.environ.update(request["env"])
            sys.argv = ["glue", *request["words"]]
            return
        for file in files:
            os.close(file)
        _, status = os.waitpid(pid, 0)
        asked.sendall(str(os.waitstatus_to_exitcode(status)).encode())


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of the tests
    ready()
    from mlops_glue.cli import main

    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[1])))
    sys.stdout.reconfigure(line_buffering=os.isatty(1))
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)  # the end of the interpreter would wait for the threads of the first
