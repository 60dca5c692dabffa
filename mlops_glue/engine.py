"""Where work on many items is done: here, or on the Ray cluster that `compute` in `glue.yaml` names."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from mlops_glue.config import Config, references, resolve

# A function as a `map` of it, which yields the results in the order of the items.
Bind = Callable[[Callable[[Any], Any]], Callable[..., Iterator[Any]]]


@contextlib.contextmanager
def opened(config: Config) -> Iterator[Bind | None]:
    """What turns a function into a `map` of it on the cluster; None where `compute` says that work is done here.

    Function and items are pickled, all items are submitted at once, and one of a machine that dies is done again: the
    function may run more than once for an item. Afterwards the cluster is left.

    Raises:
        MissingExtra: Ray is not installed.
        ToolError: the cluster does not answer.
    """
    if config.compute.engine == "local":
        yield None
        return
    from mlops_glue.adapters import ray

    of_config = references(config.model_dump(exclude={"environments"}))
    variables = {name: os.environ[name] for name in of_config if name in os.environ}
    address = resolve(config.compute.address, "compute.address")
    with ray.cluster(address, config.compute.timeout_s, variables) as bind:
        yield bind


@contextlib.contextmanager
def scikit_learn(config: Config) -> Iterator[None]:
    """In the block, what scikit-learn does in parallel is done on the cluster, where `compute` says so.

    Raises:
        MissingExtra: Ray is not installed.
        ToolError: the cluster does not answer.
    """
    with opened(config) as bind:
        if bind is None:
            yield
            return
        from mlops_glue.adapters import ray

        with ray.scikit_learn():
            yield
