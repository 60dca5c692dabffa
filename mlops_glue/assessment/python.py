"""The capabilities that a Python file or notebook shows, by the libraries it imports and the names it uses."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mlops_glue import source
from mlops_glue.assessment.capabilities import USES

MAX_CHARACTERS = 8 << 20  # of Python in total; takes about 10 s
IMPORT = re.compile(r"\s*(?:from ([\w.]+) )?import ([\w.]+(?: as \w+)?(?:, *[\w.]+(?: as \w+)?)*)\s*(#.*)?$")


@dataclass
class Module:
    """The imports and uses of one file. Comments and strings do not count."""

    lines: list[str]
    imports: dict[str, int] = field(default_factory=dict)  # dotted name: line
    uses: list[tuple[str, int, frozenset[str]]] = field(default_factory=list)  # dotted name, line, keywords
    tests: int = 0
    registered: list[int] = field(default_factory=list)  # lines that name a version in MLflow's registry


def read(path: str, text: bytes) -> Module | None:
    """Read a file; None if it is not Python. Templates and Python 2 are read as far as possible."""
    found = source.read(path, text)
    if found is None and b"{{" in text:
        without = re.sub(rb"(?m)^.*(\{%.*%\}|^\s*\{\{-?\s*(if|end|else).*).*$", b"", text)
        found = source.read(path, re.sub(rb"\{\{[^{}]*\}\}", b"x", without))
    if found is None:
        return None if path.endswith(".ipynb") else _by_lines(text.decode("utf-8", "replace").splitlines())
    try:
        return _by_tree(found)
    except RecursionError:
        return None


def _by_lines(lines: list[str]) -> Module:
    """Read a file that does not parse: its import statements, and the calls of imported names."""
    module, names = Module(lines), dict[str, str]()
    for number, line in enumerate(lines, 1):
        if found := IMPORT.match(line):
            for item in found[2].split(","):
                name, _, alias = item.strip().partition(" as ")
                dotted = f"{found[1]}.{name}" if found[1] else name
                module.imports |= {dotted: number} | ({found[1]: number} if found[1] else {})
                names[alias or name] = dotted
        elif not line.lstrip().startswith("#"):
            for called in re.findall(r"([A-Za-z_][\w.]*)\(", line):
                first, dot, rest = called.partition(".")
                module.uses.append((names.get(first, first) + dot + rest, number, frozenset()))
    return module


def _by_tree(found: source.Source) -> Module:
    module, names, nodes = Module(found.lines), dict[str, str](), list(ast.walk(found.tree))
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            imported = source.imported(node)
            names |= imported
            whole = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            module.imports |= dict.fromkeys([*imported.values(), *whole], node.lineno)
    for node in nodes:
        if isinstance(node, ast.Call):
            keywords = {k.arg for k in node.keywords if k.arg and not _is_unset(k.value)}
            module.uses.append((source.dotted(node.func, names), node.lineno, frozenset(keywords)))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            used = [*node.decorator_list, *(node.bases if isinstance(node, ast.ClassDef) else ())]
            module.uses += [(source.dotted(name, names), name.lineno, frozenset()) for name in used]
            module.tests += node.name.startswith("test")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("models:/"):
            module.registered.append(node.lineno)
    return module


def _is_unset(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and (value.value is None or value.value is False or value.value == "@once")


def shown(module: Module) -> Iterator[tuple[str, int, str]]:
    """Yield the capability, line and name of each use that matches a rule."""
    imported = {part for name in module.imports for part in _with_parents(name)}
    for name, line, keywords in module.uses:
        for rule in (*USES.get(name.rpartition(".")[2], ()), *USES["*"]):
            if rule.keyword and rule.keyword not in keywords:
                continue
            if rule.of_library and rule.name != "*" and not name.endswith(f".{rule.name}"):
                continue
            if rule.libraries & (_with_parents(name) if rule.of_library else imported):
                yield rule.capability, line, name
    if "mlflow" in imported:
        yield from (("promotion", line, "models:/…") for line in module.registered)


def _with_parents(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
