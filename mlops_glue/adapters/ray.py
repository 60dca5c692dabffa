"""Run a function for each item on a Ray cluster; if a machine dies, its items run again on another."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import StringIO
from typing import TYPE_CHECKING, Any, TypeVar

from mlops_glue import modules, secrets, telemetry
from mlops_glue.errors import GlueError, MissingExtra, ToolError, brief, first_line

if TYPE_CHECKING:
    import ray

T = TypeVar("T")
R = TypeVar("R")
# Turns a function into a `map` of it: all items are submitted together, the results come in the order of the items.
Bind = Callable[[Callable[[T], R]], Callable[[Iterable[T]], Iterator[R]]]
RETRIES = 3  # per item, after its machine or process has died
# If nothing answers, Ray writes to the terminal from C++ and ends the process after a minute, so a subprocess tries.
ASKS = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')"
SAME = "each node needs the same environment as this machine: pip install -r requirements.lock"
log = logging.getLogger("mlops_glue")


@contextlib.contextmanager
def cluster(address: str, timeout_s: float, variables: Mapping[str, str]) -> Iterator[Bind[Any, Any]]:
    """Join a cluster, or start one on this machine, until the block ends.

    A function and its items are pickled. On a node the function runs in a separate process with one CPU, in the folder
    with the same path as the working folder here; its log lines appear in the log here.

    Args:
        address: `HOST:PORT`, `auto` for the cluster that this machine is a node of, or `local` for a new cluster.
        timeout_s: how long the cluster may take to answer.
        variables: environment variables for the nodes.

    Raises:
        MissingExtra: Ray is not installed.
        ToolError: the cluster does not answer, a node has other package versions, or the machines of an item died more
            than three times.
    """
    telemetry.off()
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("ray", "ray") from error
    if address != "local":
        _check_answers(address, timeout_s)
    context = (os.getcwd(), dict(variables), _versions())  # noqa: PTH109 - as the user sees it
    with _settings(address):
        try:
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        except Exception as error:
            raise ToolError(f"Ray at {address}: {first_line(error)}") from error
        try:
            task = ray.remote(_call).options(num_cpus=1, max_retries=RETRIES)
            yield lambda work: _mapped(task, ray.put((context, work)))
        finally:
            with contextlib.redirect_stdout(StringIO()):  # it prints the buffered log of a dead node
                ray.shutdown()


@contextlib.contextmanager
def scikit_learn() -> Iterator[None]:
    """Let joblib run scikit-learn's parallel work on the nodes during the block, which must be inside `cluster`."""
    from joblib import parallel_backend
    from ray.util.joblib import register_ray

    register_ray()
    # a task that requires a CPU would wait forever after a node died while Ray still counts the CPUs of that node
    each = {"num_cpus": 0, "scheduling_strategy": "SPREAD", "max_restarts": RETRIES, "max_task_retries": RETRIES}
    with parallel_backend("ray", ray_remote_args=each):
        yield


def _mapped(task: Any, work: ray.ObjectRef[Any]) -> Callable[[Iterable[Any]], Iterator[Any]]:
    return lambda items: _in_order([task.remote(work, item) for item in items])


def _in_order(waiting: list[ray.ObjectRef[Any]]) -> Iterator[Any]:
    """Yield the results in order. If the caller stops early, the remaining tasks run until they or `cluster` end.

    They are not cancelled: `ray.cancel` of a task that just ends would end this process (ray-project/ray#54798).
    """
    while waiting:
        yield _result(waiting[0])
        del waiting[0]  # so that Ray frees the result


def _result(of: ray.ObjectRef[Any]) -> Any:
    import ray

    try:
        result, lines = ray.get(of)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, GlueError):
            raise error.cause from None
        hint = SAME if isinstance(error.cause, ImportError) else None
        raise ToolError(f"Ray: {brief(error.cause)}", hint=hint) from error
    except ray.exceptions.RayError as error:
        raise ToolError(f"Ray: {brief(error)}", hint="check the cluster: ray status") from error
    for level, line in lines:
        log.log(level, "%s", line)
    return result


def _call(bound: tuple[Any, Callable[[Any], Any]], item: Any) -> tuple[Any, list[tuple[int, str]]]:
    """Process one item on a node; return the result and the log lines."""
    (folder, variables, versions), work = bound
    telemetry.off()
    os.environ.update(variables)
    secrets.note(variables)
    if different := [f"{name} {found}" for name, found in _versions().items() if found != versions[name]]:
        problem = f"Ray: node {_node()} has different versions from this machine: {', '.join(different)}"
        raise ToolError(problem, hint=SAME)
    try:
        os.chdir(folder)
    except OSError as error:
        hint = "use a folder that all nodes share, at the same path on each node"
        raise ToolError(f"Ray: node {_node()} has no folder {folder}", hint=hint) from error
    lines: list[tuple[int, str]] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append((record.levelno, record.getMessage()))  # type: ignore[method-assign]
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        return work(item), lines
    finally:
        log.removeHandler(handler)


def _node() -> str:
    import ray

    return str(ray.util.get_node_ip_address())


def _versions() -> dict[str, str | None]:
    return {name: modules.installed(name) for name in ("mlops-glue", *modules.COMPUTES)}


def _check_answers(address: str, timeout_s: float) -> None:
    hint = f"ray status --address {address}"
    if address == "auto":
        hint = "ray start joins this machine to a cluster; compute: {address: local} starts one here"
    asks = [sys.executable, "-c", ASKS, address]
    try:
        done = subprocess.run(asks, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"Ray at {address}: no answer within {timeout_s:g} s", hint=hint) from error
    if done.returncode:
        why = (done.stderr.strip() or "cannot join the cluster").splitlines()[-1]
        raise ToolError(f"Ray at {address}: {why}", hint=hint)


@contextlib.contextmanager
def _settings(address: str) -> Iterator[None]:
    """Give a new cluster a token through the environment, and restore Ray's environment variables afterwards.

    Without the variable, Ray would write a token for all later clusters into the user's home folder. Ray also leaves
    variables behind that would change how it joins another cluster.
    """
    before = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    if address == "local":
        os.environ.setdefault("RAY_AUTH_TOKEN", uuid.uuid4().hex)
    try:
        with contextlib.redirect_stdout(_WithoutRay(sys.stdout)):
            yield
    finally:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            del os.environ[name]
        os.environ.update(before)


class _WithoutRay:
    """A stream that drops the output of Ray's threads, which print when a node dies: stdout has a command's results."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, unless it comes from one of Ray's threads."""
        return len(text) if threading.current_thread().name.startswith("ray_") else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
