"""What a Python file or notebook does, by its syntax tree alone: comments and strings say nothing."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field

from mlops_glue import source as sources
from mlops_glue.source import dotted, imported, line_of

PARSE_BYTES = 4 << 20  # in all; some 6 s
SERVER = r"(https?|databricks|postgresql|mysql|mssql|azureml)"
STARTERS = ("run", "call", "check_call", "check_output", "Popen", "system")


@dataclass(frozen=True)
class Call:
    """A call (or a decorator, or a class that is derived from), by the name under which it was imported."""

    name: str
    line: int
    keywords: frozenset[str]


@dataclass
class Module:
    """What is in one file."""

    path: str
    imports: set[str] = field(default_factory=set)  # dotted; relative ones with their dots
    calls: list[Call] = field(default_factory=list)
    tests: list[tuple[str, int]] = field(default_factory=list)  # functions that can fail
    models: list[int] = field(default_factory=list)  # lines that name a model of MLflow's registry
    health: list[int] = field(default_factory=list)  # lines that name a path such as /health
    seeds: list[int] = field(default_factory=list)
    asserts: list[tuple[int, str]] = field(default_factory=list)  # of a comparison: the names in it
    commands: list[tuple[str, int]] = field(default_factory=list)  # what it starts as a process


def parse(path: str, source: bytes) -> Module | None:
    """The module, or None where it is no Python that this version reads."""
    found = sources.read(path, source)
    if found is None:
        return None
    module = Module(path)
    try:
        _read(found.tree, module)
    except RecursionError:
        return None
    return module


def notebook(path: str, source: bytes) -> Module | None:
    """The code cells of a notebook as one module; a line number is that of the .ipynb file, 0 where it is not clear."""
    found, module = sources.read(path, source), parse(path, source)
    if found is None or module is None:
        return None
    lines = found.lines
    text = source.decode("utf-8", "replace").splitlines()
    where = {n: line_of(text, lines[n - 1]) for n in {c.line for c in module.calls} | {*module.models, *module.seeds}}
    module.calls = [Call(call.name, where[call.line], call.keywords) for call in module.calls]
    module.models, module.seeds = [where[n] for n in module.models], [where[n] for n in module.seeds]
    module.asserts, module.health = [], []
    return module


def _read(tree: ast.Module, module: Module) -> None:
    names = _names(tree, module)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            _call(node, names, module)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bases = node.bases if isinstance(node, ast.ClassDef) else []
            for one in [*node.decorator_list, *bases]:
                if not isinstance(one, ast.Call):
                    module.calls.append(Call(dotted(one, names), one.lineno, frozenset()))
            if node.name.startswith("test") and not isinstance(node, ast.ClassDef) and _can_fail(node):
                module.tests.append((node.name, node.lineno))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.match(r"models:/[^/\s]", node.value):
                module.models.append(node.lineno)
            if re.fullmatch(r"/(api/|v\d/)?(health|healthz|ready|readyz|live|livez|ping)/?", node.value):
                module.health.append(node.lineno)
        elif isinstance(node, ast.Assert | ast.If) and isinstance(node.test, ast.Compare) and _stops(node):
            module.asserts.append((node.lineno, " ".join(_words(node.test))))


def _names(tree: ast.Module, module: Module) -> dict[str, str]:
    """Each name of the file with what it was imported as, or made by."""
    names: dict[str, str] = {}
    made: list[tuple[ast.expr | None, ast.expr]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            module.imports |= {a.name for a in node.names}
            names |= imported(node)
        elif isinstance(node, ast.ImportFrom):
            module.imports |= {"." * node.level + (node.module or ""), *imported(node).values()}
            names |= imported(node)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            made += [(target, node.value) for target in node.targets]
        elif isinstance(node, ast.withitem):
            made.append((node.optional_vars, node.context_expr))
    for target, value in made:
        if isinstance(target, ast.Name) and target.id not in names:
            names[target.id] = dotted(value, names)
    return names


def _call(node: ast.Call, names: dict[str, str], module: Module) -> None:
    name = dotted(node.func, names)
    first = node.args[0] if node.args else None
    local = isinstance(first, ast.Constant) and not re.match(SERVER, str(first.value))
    if name.endswith("set_tracking_uri") and local:
        return  # a file of this machine's
    given = {k.arg: k.value for k in node.keywords if k.arg}
    used = frozenset(k for k, v in given.items() if not (isinstance(v, ast.Constant) and v.value in (None, False)))
    module.calls.append(Call(name, node.lineno, used))
    seed = next((given[k] for k in ("random_state", "seed", "random_seed") if k in given), None)
    if isinstance(seed, ast.Name | ast.Attribute) or (isinstance(seed, ast.Constant) and seed.value is not None):
        module.seeds.append(node.lineno)
    if name in ("numpy.random.seed", "random.seed", "torch.manual_seed", "tensorflow.random.set_seed") and node.args:
        module.seeds.append(node.lineno)
    root, last = name.partition(".")[0], name.rpartition(".")[2]
    if root in ("subprocess", "os") and last in STARTERS and node.args:
        words = node.args[0].elts if isinstance(node.args[0], ast.List | ast.Tuple) else [node.args[0]]
        said = [w.value if isinstance(w, ast.Constant) and isinstance(w.value, str) else "…" for w in words]
        module.commands.append((" ".join(said), node.lineno))


def _stops(node: ast.Assert | ast.If) -> bool:
    """Does the program end where the comparison says so?"""
    if isinstance(node, ast.Assert):
        return True
    ends = (dotted(n.func, {}) for one in node.body for n in ast.walk(one) if isinstance(n, ast.Call))
    raises = any(isinstance(n, ast.Raise) for one in node.body for n in ast.walk(one))
    return raises or any(name in ("exit", "sys.exit", "os._exit", "pytest.fail") for name in ends)


def _words(node: ast.AST) -> list[str]:
    """The names and texts in an expression."""
    out = [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
    out += [n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)]
    return out + [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def _can_fail(function: ast.AST) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            last = dotted(node.func, {}).rpartition(".")[2]
            if last.startswith(("assert", "raises", "fail", "check")):
                return True
    return False
