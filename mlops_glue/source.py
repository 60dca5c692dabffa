"""Python source as syntax trees, of scripts and of notebooks cell by cell, without running or importing it."""

from __future__ import annotations

import ast
import json
import re
import warnings
from dataclasses import dataclass, field

NOTEBOOK_BYTES = 16 << 20  # including outputs, which are ignored
PYTHON_MAGICS = ("time", "timeit", "capture", "prun", "python", "python3")  # `%%time`: the rest of the cell is Python
IPYTHON = re.compile(r"(\s*)(?:([\w.]+)\s*=\s*)?(?:[%!?].*|[\w.]+\?\??\s*$)")  # `!pip …`, `x = %who`, `df?`


@dataclass
class Source:
    """The statements that could be parsed, and the pieces that could not."""

    tree: ast.Module
    lines: list[str]
    skipped: list[str] = field(default_factory=list)  # `cell 3`, or `line 12` of a script


def read(path: str, text: bytes) -> Source | None:
    """Parse a script or an `.ipynb`; None if no part of it is Python that this version can parse."""
    if not path.endswith(".ipynb"):
        lines = text.decode("utf-8", "replace").splitlines()
        tree = syntax_tree(text) or syntax_tree(plain(lines))
        return Source(tree, lines) if tree is not None else None
    cells = code_cells(text)
    if cells is None:
        return None
    source = Source(ast.Module([], []), [])
    for number, lines in cells:
        tree = syntax_tree("\n".join(lines)) or syntax_tree(plain(lines))
        if tree is None:
            source.skipped.append(f"cell {number}")
        else:
            source.tree.body += ast.increment_lineno(tree, len(source.lines)).body
        source.lines += lines
    return source


def code_cells(text: bytes) -> list[tuple[int, list[str]]] | None:
    """Return the number, from 1, and the lines of each code cell; None if it is not a Python notebook."""
    try:
        notebook = json.loads(text)
        language = notebook.get("metadata", {}).get("kernelspec", {}).get("language", "python")
        cells = list(notebook["cells"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if str(language).lower() not in ("python", ""):
        return None
    found = []
    for number, cell in enumerate(cells, 1):
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            code = cell.get("source", "")
            found.append((number, "".join(map(str, code) if isinstance(code, list) else str(code)).splitlines()))
    return found


def plain(lines: list[str]) -> str:
    """Replace IPython's own syntax by statements without effect, keeping the line numbers."""
    first = next((line.strip() for line in lines if line.strip()), "")
    if first.startswith("%%") and (first[2:].split() or [""])[0] not in PYTHON_MAGICS:
        return "\n" * (len(lines) - 1)  # another language's cell
    out: list[str] = []
    continued = False
    for line in lines:
        found = IPYTHON.fullmatch(line)
        if continued:
            out.append("")
        elif found is not None:
            out.append(f"{found[1]}{found[2]} = None" if found[2] else f"{found[1]}pass")
        else:
            out.append(line)
        continued = (continued or found is not None) and line.rstrip().endswith("\\")
    return "\n".join(out)


def syntax_tree(source: bytes | str) -> ast.Module | None:
    """Parse a text; None if it is not Python that this version can parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escape sequences
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def imported(node: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """Return each name that an import binds, with its full name; relative imports keep their dots."""
    if isinstance(node, ast.Import):
        return {a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0] for a in node.names}
    base = "." * node.level + (f"{node.module}." if node.module else "")
    return {a.asname or a.name: f"{base}{a.name}" for a in node.names}


def dotted(node: ast.AST, names: dict[str, str]) -> str:
    """Resolve `m.log_metric` to `mlflow.log_metric`; a method of a call's result continues the call's name."""
    parts: list[str] = []
    while True:
        if isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        elif isinstance(node, ast.Subscript | ast.Await):
            node = node.value
        else:
            break
    parts.append(names.get(node.id, node.id) if isinstance(node, ast.Name) else "")
    return ".".join(reversed(parts))


def line_of(text: list[str], line: str) -> int:
    """Return the line number of a cell's line in its notebook file; 0 if it is not found."""
    escaped = json.dumps(line, ensure_ascii=False)[1:-1]
    return next((n for n, other in enumerate(text, 1) if line.strip() and escaped in other), 0)
