"""Run work on many items locally, or on the Ray cluster that `compute` in `glue.yaml` names."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from mlops_glue.config import Config, references, resolve

# Converts a function to a `map`, which yields the results in the order of the items.
Bind = Callable[[Callable[[Any], Any]], Callable[..., Iterator[Any]]]


@contextlib.contextmanager
def opened(config: Config) -> Iterator[Bind | None]:
    """Yield a converter from a function to a `map` on the cluster; None if `compute` runs work locally.

    Function and items are pickled, and all items are submitted immediately. If a machine dies, its items run again, so
    the function may run more than once for an item. Afterwards, the cluster is disconnected.

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
    """Run scikit-learn's parallel work in the block on the cluster, if `compute` names one.

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
