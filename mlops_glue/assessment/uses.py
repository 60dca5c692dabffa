"""Which capabilities a Python file or notebook shows: by the libraries that it imports and the names that it uses."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mlops_glue import source
from mlops_glue.assessment.capabilities import PYTHON

PARSE_BYTES = 8 << 20  # of Python in all; some 10 s


@dataclass
class Module:
    """What one file imports and uses; comments and strings show nothing."""

    imports: dict[str, int] = field(default_factory=dict)  # dotted: line
    uses: list[tuple[str, int, frozenset[str]]] = field(default_factory=list)  # dotted, line, keywords
    tests: int = 0
    models: list[int] = field(default_factory=list)  # lines that name a version in MLflow's registry
    lines: list[str] = field(default_factory=list)


def read(path: str, text: bytes) -> Module | None:
    """Read a file; None where it is no Python. Templates and Python 2 are read as far as that goes."""
    found = source.read(path, text)
    if found is None and b"{{" in text:
        plain = re.sub(
            rb"\{\{[^{}]*\}\}", b"x", re.sub(rb"(?m)^.*(\{%.*%\}|^\s*\{\{-?\s*(if|end|else).*).*$", b"", text)
        )
        found = source.read(path, plain)
    if found is None:
        return None if path.endswith(".ipynb") else _by_lines(text.decode("utf-8", "replace").splitlines())
    module = Module(lines=found.lines)
    try:
        _walk(found.tree, module)
    except RecursionError:
        return None
    return module


def _by_lines(lines: list[str]) -> Module:
    """What can be seen in a file that does not parse: its import statements, and what is called on their names."""
    module, names = Module(lines=lines), dict[str, str]()
    for number, line in enumerate(lines, 1):
        if found := re.match(
            r"\s*(?:from ([\w.]+) )?import ([\w.]+(?: as \w+)?(?:, *[\w.]+(?: as \w+)?)*)\s*(#.*)?$", line
        ):
            for one in found[2].split(","):
                name, _, alias = one.strip().partition(" as ")
                dotted = f"{found[1]}.{name}" if found[1] else name
                module.imports |= {dotted: number} | ({found[1]: number} if found[1] else {})
                names[alias or name] = dotted
        elif not line.lstrip().startswith("#"):
            for called in re.findall(r"([A-Za-z_][\w.]*)\(", line):
                first, _, rest = called.partition(".")
                full = names.get(first, first)
                module.uses.append((f"{full}.{rest}" if rest else full, number, frozenset()))
    return module


def _walk(tree: ast.Module, module: Module) -> None:
    nodes = list(ast.walk(tree))
    names: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            made = source.imported(node)
            names |= made
            whole = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            module.imports |= dict.fromkeys([*made.values(), *whole], node.lineno)
    for node in nodes:
        if isinstance(node, ast.Call):
            given = {k.arg for k in node.keywords if k.arg and not _unset(k.value)}
            module.uses.append((source.dotted(node.func, names), node.lineno, frozenset(given)))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if isinstance(node, ast.ClassDef):
                module.uses += [(source.dotted(base, names), base.lineno, frozenset()) for base in node.bases]
            elif node.name.startswith("test"):
                module.tests += 1
            for one in node.decorator_list:
                module.uses.append((source.dotted(one, names), one.lineno, frozenset()))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("models:/"):
            module.models.append(node.lineno)


def _unset(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and (value.value is None or value.value is False or value.value == "@once")


def shown(module: Module) -> Iterator[tuple[str, int, str]]:
    """Capability, line and name, for each use that one of the rules knows."""
    imported = [_with_parents(name) for name in module.imports]
    there = set().union(*imported) if imported else set()
    for name, line, given in module.uses:
        last = name.rpartition(".")[2]
        for capability, libraries, wanted, keyword in (*RULES.get(last, ()), *RULES["*"]):
            if keyword and keyword not in given:
                continue
            if wanted.startswith("=") or (wanted == "*" and not keyword):
                parents = _with_parents(name)
                right = any(library in parents for library in libraries)
                right = right and (wanted == "*" or name.endswith(f".{wanted[1:]}"))
            else:
                right = any(library in there for library in libraries)
            if right:
                yield capability, line, name
    if "mlflow" in there:
        yield from (("promotion", line, "models:/…") for line in module.models)


def _with_parents(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts) + 1)}


def _rules() -> dict[str, list[tuple[str, tuple[str, ...], str, str]]]:
    """The rules by the last part of the name that they are about."""
    out: dict[str, list[tuple[str, tuple[str, ...], str, str]]] = {"*": []}
    for capability, libraries, names in PYTHON:
        for name in names.split():
            bare, _, keyword = name.rstrip(")").partition("(")
            rule = (capability, tuple(libraries.split()), bare, keyword)
            out.setdefault(bare.rpartition(".")[2].lstrip("="), []).append(rule)
    return out


RULES = _rules()
