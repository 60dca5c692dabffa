"""Defers the type checks of Feast's classes until they are needed.

Feast decorates its classes with `typeguard.typechecked`, which reads and compiles the whole module again for each
method: three of the five seconds of `import feast`. A process calls few of these methods.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

Method = Callable[..., Any]


@contextlib.contextmanager
def prepared_at_first_call() -> Iterator[None]:
    """Defer typeguard's preparation of each decorated method to its first call, inside this context.

    Anything but a plain method is left alone. Without typeguard, this does nothing.
    """
    try:
        import typeguard
    except ImportError:
        yield
        return
    at_once = typeguard.typechecked

    def later(target: Any = None, **options: Any) -> Any:
        if options or not inspect.isclass(target):
            return at_once(target, **options)
        for name, method in list(vars(target).items()):
            if inspect.isfunction(method) and method.__qualname__ == f"{target.__qualname__}.{name}":
                setattr(target, name, _prepared_when_called(method, at_once))
        return target

    typeguard.typechecked = later
    try:
        yield
    finally:
        typeguard.typechecked = at_once


def _prepared_when_called(method: Method, check: Callable[[Method], Method]) -> Method:
    prepared = functools.cache(lambda: check(method))

    @functools.wraps(method)
    def call(*values: Any, **named: Any) -> Any:
        return prepared()(*values, **named)

    return call
