"""Do the unit tests notice a changed decision? `python -m tests.mutants [--every N] [module …]`, on Linux.

mutmut makes the mutants of each module that decides (`[tool.mutmut]` of pyproject.toml). Each is tried in a fork of one
process that has imported the tests, so that it costs what its tests cost and no imports. The tests of a module are
those of `tests/unit` that import it. What survives is printed as a diff.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib.machinery
import os
import re
import signal
import sys
import time
import tomllib
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from mutmut.mutation.file_mutation import mutate_file_contents

OPTIONS = ["-x", "-q", "-n", "0", "-m", "not long", "-p", "no:cacheprovider"]
LEAST_S = 30.0  # that the tests of a mutant may take; more where they take long without one


class Mutated(importlib.machinery.SourceFileLoader):
    """Imports one module with all its mutants in it; MUTANT_UNDER_TEST says which of them acts."""

    def __init__(self, module: str, path: Path) -> None:
        super().__init__(module, str(path))
        self.made = mutate_file_contents(str(path), path.read_text())

    def find_spec(self, name: str, *_: Any) -> Any:
        return importlib.machinery.ModuleSpec(name, self, origin=self.path) if name == self.name else None

    def get_code(self, _: str) -> CodeType:
        return compile(self.made.code, self.path, "exec", dont_inherit=True)


def tests_of(module: str) -> list[str]:
    """Files of unit tests that import a module, or stand in the folder of its package."""
    parent, _, name = module.rpartition(".")
    imports = re.compile(rf"from {module} import|import {module}\b|from {parent} import [^\n]*\b{name}\b")
    unit = Path("tests/unit")
    of_package = [*unit.joinpath(*parent.split(".")[1:]).glob("test_*.py")] if "." in parent else []
    importing = [path for path in unit.rglob("test_*.py") if imports.search(path.read_text())]
    return sorted({str(path) for path in (*of_package, *importing)})


def tried(tests: list[str], seconds: float, mutant: str) -> bool:
    """Do the tests pass? In a process of its own, which ends."""
    os.environ["MUTANT_UNDER_TEST"] = mutant
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    return pytest.main([*OPTIONS, *tests]) == 0


def passes(trial: partial[bool], mutant: str) -> bool:
    """A trial in a fork, as a mutant may hang or end its process."""
    child = os.fork()
    if not child:
        os._exit(0 if trial(mutant) else 1)
    return os.waitpid(child, 0)[1] == 0


def shown(code: str, mutant: str) -> str:
    """What a mutant changes."""
    both: dict[str, list[str]] = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            both[node.name] = ast.unparse(node).splitlines()[1:]
    lines = difflib.unified_diff(
        both[re.sub(r"__mutmut_\d+$", "__mutmut_orig", mutant)], both[mutant], n=0, lineterm=""
    )
    return "\n".join(line for line in lines if line[:3] not in ("---", "+++"))


def judge(path: str, every: int) -> None:
    """Try the mutants of a module, and print what survived."""
    module = path.removesuffix(".py").replace("/", ".")
    loader, tests = Mutated(module, Path(path)), tests_of(module)
    sys.meta_path.insert(0, loader)  # type: ignore[arg-type]
    if pytest.main([*OPTIONS, "--collect-only", "-qq", *tests]):
        sys.exit(f"{path}: its tests cannot be imported")
    started = time.monotonic()
    if not passes(partial(tried, tests, 3600.0), ""):
        sys.exit(f"{path}: its tests fail without a mutant")
    trial = partial(tried, tests, max(LEAST_S, 5 * (time.monotonic() - started)))
    names = loader.made.mutant_names[::every]
    with get_context("fork").Pool(os.cpu_count()) as pool:
        alive = pool.imap(partial(passes, trial), [f"{module}.{name}" for name in names])
        survived = [name for name, is_alive in zip(names, alive, strict=True) if is_alive]
    for name in survived:
        sys.stdout.write(f"{module}.{name}\n{shown(loader.made.code, name)}\n")
    sys.stdout.write(f"{path}: {len(names) - len(survived)} of {len(names)} killed\n")


def main() -> int:
    """Each module in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="files; all that pyproject.toml names where none is given")
    parser.add_argument("--every", type=int, default=1, help="try each Nth mutant only")
    given = parser.parse_args()
    known = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["mutmut"]["only_mutate"]
    for path in given.modules or known:
        child = os.fork()
        if not child:
            judge(path, given.every)
            sys.stdout.flush()
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
