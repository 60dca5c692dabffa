"""The page of every error: what the code raises, with its hint and exit code, read from the syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mlops_glue import errors

PACKAGE = Path(__file__).parents[2] / "mlops_glue"
KINDS = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
CODES = {name: kind.exit_code for name, kind in KINDS.items() if issubclass(kind, errors.GlueError)}
ROOMS = {
    "config": "glue.yaml",
    "cli": "The command line",
    "commands": "The command line",
    "pipeline": "The stages",
    "delivery": "Publishing, promotion, lineage",
    "serving": "Serving",
    "monitoring": "Monitoring",
    "adapters": "The tools",
}


class Error(NamedTuple):
    """An error that a line of the code raises."""

    room: str
    message: str
    hint: str
    code: int


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill the place that the page leaves for the table."""
    return markdown.replace("<!-- errors -->", "\n".join(page())) if "<!-- errors -->" in markdown else markdown


def page() -> Iterator[str]:
    """A table for each part of glue."""
    found = sorted(set(raised()))
    for room in dict.fromkeys([*ROOMS.values(), "Tables and everything else"]):
        yield from ("", f"## {room}", "", "| error | hint | exit |", "|---|---|---|")
        yield from (f"| {_cell(e.message)} | {_cell(e.hint)} | {e.code} |" for e in found if e.room == room)


def raised() -> Iterator[Error]:
    """Every error of glue's that is made in the code, where its words stand there."""
    for file in sorted(PACKAGE.rglob("*.py")):
        inner = file.relative_to(PACKAGE).parts
        room = ROOMS.get(inner[0], "Tables and everything else")
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            assigned = {
                target.id: node.value
                for node in ast.walk(function)
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            for node in ast.walk(function):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id in CODES
                    and node.args
                ):
                    message = words(node.args[0], assigned)
                    hint = next((words(word.value, assigned) for word in node.keywords if word.arg == "hint"), "")
                    if node.func.id == "MissingExtra":
                        extra = words(node.args[1], assigned)
                        message, hint = f"{message} is not installed", f'pip install "mlops-glue[{extra}]"'
                    if any(letter.isalpha() for letter in message):
                        yield Error(room, message, hint, CODES[node.func.id])


def words(node: ast.expr, assigned: dict[str, ast.expr]) -> str:
    """A text as it stands in the code; what is only known at work is `…`."""
    if isinstance(node, ast.Constant):
        return str(node.value) if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(words(part, {}) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return words(node.left, assigned) + words(node.right, assigned)
    if isinstance(node, ast.List):
        return "; ".join(words(part, assigned) for part in node.elts)
    if isinstance(node, ast.Name) and node.id in assigned:
        return words(assigned[node.id], {})
    return "…"


def _cell(text: str) -> str:
    text = " ".join(text.replace("……", "…").split())
    return f"`{text}`".replace("|", "\\|") if text not in ("", "…") else ""
