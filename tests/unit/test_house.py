"""The sizes that the package keeps, so that a reader takes a file in at once."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "mlops_glue"
FILE_LINES, FUNCTION_LINES = 400, 60


def sources() -> dict[str, str]:
    return {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in PACKAGE.rglob("*.py")}


def test_no_file_is_long() -> None:
    long = {name for name, text in sources().items() if text.count("\n") > FILE_LINES}
    assert not long


def test_no_function_is_long() -> None:
    long = [
        f"{name}:{node.lineno} {node.name}"
        for name, text in sources().items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= FUNCTION_LINES
    ]
    assert not long


def test_what_tests_share_is_in_support() -> None:
    rooms = ("functional", "integration", "properties", "unit")
    shared = [
        f"{path.name}: {node.module}"
        for path in Path(__file__).parents[1].rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(tuple(f"tests.{room}" for room in rooms))
    ]
    assert not shared


def test_tests_use_public_names() -> None:
    private = []
    for path in Path(__file__).parents[1].rglob("*.py"):
        tree = ast.parse(path.read_text())
        imports = [
            (node.module, name.asname or name.name)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mlops_glue")
            for name in node.names
        ]
        modules = {name for _, name in imports}
        private += [f"{path.name}: {name}" for name in modules if is_private(name)]
        private += [
            f"{path.name}:{node.lineno} {node.value.id}.{node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in modules
            and is_private(node.attr)
        ]
    assert not private


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_no_stage_adds_floats_by_sum() -> None:
    """Since Python 3.12 `sum` of floats is another number than before; `math.fsum` is the same one everywhere."""
    of_results = {
        name: text
        for name, text in sources().items()
        if name.startswith("pipeline/") or name in ("metrics.py", "paired.py")
    }
    found = [
        f"{name}:{node.lineno}"
        for name, text in of_results.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "sum"
    ]
    assert not found
