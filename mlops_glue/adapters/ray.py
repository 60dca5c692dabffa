"""Ray: a function for each item on the machines of a cluster, done again elsewhere where a machine dies meanwhile."""

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
# A function as a `map` of it: the items are all submitted at once, the results come in the order of the items.
Bind = Callable[[Callable[[T], R]], Callable[[Iterable[T]], Iterator[R]]]
RETRIES = 3  # of an item whose machine, or process, has died
# where nobody answers, Ray writes to the terminal from C++ and ends the process after a minute: so another one asks
ASKS = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')"
SAME = "each node needs the environment of this one: pip install -r requirements.lock"
log = logging.getLogger("mlops_glue")


@contextlib.contextmanager
def cluster(address: str, timeout_s: float, variables: Mapping[str, str]) -> Iterator[Bind[Any, Any]]:
    """Join a cluster, or start one here, until the block ends.

    A function and its items are pickled. On a node it runs in a process of its own with one CPU, in a folder of the
    path that the working folder has here; what it logs is logged here.

    Args:
        address: `HOST:PORT`, `auto` for the cluster that this machine is a node of, or `local` for a new one.
        timeout_s: within it the cluster has to answer.
        variables: of the environment, which the nodes get too.

    Raises:
        MissingExtra: Ray is not installed.
        ToolError: the cluster does not answer, is of another version, or an item's machine died more than three times.
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
            with contextlib.redirect_stdout(StringIO()):  # it prints what it has held back of a dead node's log
                ray.shutdown()


@contextlib.contextmanager
def scikit_learn() -> Iterator[None]:
    """In the block, which is one of `cluster`, joblib has what scikit-learn does in parallel done on the nodes."""
    from joblib import parallel_backend
    from ray.util.joblib import register_ray

    register_ray()
    # one that asks for a processor would wait for ever where a node has just died whose processors still count
    each = {"num_cpus": 0, "scheduling_strategy": "SPREAD", "max_restarts": RETRIES, "max_task_retries": RETRIES}
    with parallel_backend("ray", ray_remote_args=each):
        yield


def _mapped(task: Any, work: ray.ObjectRef[Any]) -> Callable[[Iterable[Any]], Iterator[Any]]:
    return lambda items: _in_order([task.remote(work, item) for item in items])


def _in_order(waiting: list[ray.ObjectRef[Any]]) -> Iterator[Any]:
    """The results in order. What is left where the caller stops runs to its end, or to that of `cluster`.

    No `ray.cancel`: of a task that ends meanwhile it ends this process (ray-project/ray#54798).
    """
    while waiting:
        yield _result(waiting[0])
        del waiting[0]  # Ray then drops what it has kept of it


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
        raise ToolError(f"Ray: {brief(error)}", hint="the state of the cluster: ray status") from error
    for level, line in lines:
        log.log(level, "%s", line)
    return result


def _call(bound: tuple[Any, Callable[[Any], Any]], item: Any) -> tuple[Any, list[tuple[int, str]]]:
    """One item, on a node: the result, and what was logged."""
    (folder, variables, versions), work = bound
    telemetry.off()
    os.environ.update(variables)
    secrets.note(variables)
    if different := [f"{name} {found}" for name, found in _versions().items() if found != versions[name]]:
        raise ToolError(f"Ray: node {_node()} has {', '.join(different)}, unlike this machine", hint=SAME)
    try:
        os.chdir(folder)
    except OSError as error:
        hint = "a folder that all nodes share, at the same path on each"
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
        asked = subprocess.run(asks, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"Ray at {address}: no answer within {timeout_s:g} s", hint=hint) from error
    if asked.returncode:
        why = (asked.stderr.strip() or "it cannot be joined").splitlines()[-1]
        raise ToolError(f"Ray at {address}: {why}", hint=hint)


@contextlib.contextmanager
def _settings(address: str) -> Iterator[None]:
    """A new cluster gets a token by the environment: else Ray writes one into the user's home, for all later clusters.

    Afterwards the settings of Ray are what they were: it leaves some that decide how it joins another cluster.
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
    """A stream without what a thread of Ray prints to it when a node dies: the results of a command are there."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write it, unless it is Ray's."""
        return len(text) if threading.current_thread().name.startswith("ray_") else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
