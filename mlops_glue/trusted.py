"""Custom code of a model: the names in `package.trust`, and the project's modules behind them.

A model in skops form names classes and functions. Those of scikit-learn and of the boosters may always be loaded
(`adapters.skops.TRUSTED`). All others are code that runs wherever the model is loaded, so each name must be trusted:
by `package.trust` when the model is trained, and by the same key when it is loaded. The bundle itself is not an
authority, because others can write to its registry.

The project's modules are part of the bundle, in `trust.json`, which its digest and signature cover. They run from the
text that was checked, and are never looked up on a path.
"""

from __future__ import annotations

import ast
import importlib
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Any

from mlops_glue.errors import DataError

FILE = "trust.json"
RUNS_CODE = "glue.runs_code"  # tag of a version: the custom code of its model, if any
LISTED = "package: {{trust: [{}]}} in glue.yaml allows its code to run"


@dataclass(frozen=True)
class Trusted:
    """The code of a model that belongs neither to scikit-learn nor to a booster."""

    names: list[str] = field(default_factory=list)  # exact import paths of classes and functions
    modules: dict[str, str] = field(default_factory=dict)  # the text of the project's own modules, by name

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Trusted:
        """Create from the contents of `trust.json`."""
        return cls(**value)

    def check(self, allowed: Sequence[str]) -> None:
        """Check that every name is allowed, by its import path or by another path of the same object.

        Raises:
            DataError: a name is not allowed, or a module has the name of an installed module.
        """
        tops = {name.partition(".")[0] for name in self.modules}
        others = [path for path in allowed if path not in self.names and path.partition(".")[0] not in tops]
        resolved = {found for path in others if (found := resolve(path)) is not None}
        unknown = [name for name in self.names if name not in allowed and name not in resolved]
        if unknown:
            hint = LISTED.format(", ".join([*allowed, *unknown]))
            raise DataError(f"the model runs code of {', '.join(unknown)}, which is not trusted here", hint=hint)
        if taken := sorted(filter(is_installed, tops)):
            raise DataError(f"the model contains a module {taken[0]}, but a module of that name is installed")

    @contextmanager
    def importable(self) -> Iterator[None]:
        """Make the modules importable, only from memory. Afterwards, restore the previous modules of the same names.

        Two versions with different code then each run their own, invisible to the rest of the process.
        """
        tops = {name.partition(".")[0] for name in self.modules}

        def mine() -> list[str]:
            return [name for name in sys.modules if name.partition(".")[0] in tops]

        before = {name: sys.modules.pop(name) for name in mine()}
        finder = _InMemory(self.modules)
        sys.meta_path.insert(0, finder)
        try:
            yield
        finally:
            sys.meta_path.remove(finder)
            for name in mine():
                del sys.modules[name]
            sys.modules.update(before)

    def imports(self) -> set[str]:
        """The top-level names of what the modules import from elsewhere."""
        found: set[str] = set()
        for text in self.modules.values():
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    found.add(node.module.partition(".")[0])
        own = {name.partition(".")[0] for name in (*self.modules, *sys.stdlib_module_names)}
        return (found | {name.partition(".")[0] for name in self.names}) - own


def described_form(form: str, runs_code: str | None) -> str:
    """Describe the form of a model and its custom code: `skops, runs code: my.Class`."""
    return f"{form}, runs code: {runs_code}" if runs_code else form


NOTHING = Trusted()


class _InMemory(MetaPathFinder, Loader):
    """Finds modules, and the packages above them, in memory."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find a module by name; None if it is not among the texts."""
        is_package = any(name.startswith(f"{fullname}.") for name in self._texts)
        if fullname not in self._texts and not is_package:
            return None
        return spec_from_loader(fullname, self, is_package=is_package)

    def exec_module(self, module: ModuleType) -> None:
        """Run the checked text of a module."""
        name = module.__name__
        with redirect_stdout(sys.stderr):  # what it prints is not part of any result
            exec(compile(self._texts.get(name, ""), f"<{name}>", "exec"), module.__dict__)  # noqa: S102 - trusted by name


def resolve(path: str) -> str | None:
    """Return an object's own path, `catboost.core.CatBoost` for `catboost.CatBoost`; None if it is not installed."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
        return f"{found.__module__}.{found.__qualname__}"
    except (ImportError, AttributeError, ValueError):
        return None


def is_installed(top: str) -> bool:
    """Return whether a module of this name belongs to Python, glue or an installed package."""
    if top in sys.stdlib_module_names or top == "mlops_glue":
        return True
    places = sorted({sysconfig.get_path(name) for name in ("purelib", "platlib")})
    return PathFinder.find_spec(top, places) is not None
