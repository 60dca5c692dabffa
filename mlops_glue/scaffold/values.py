"""The values of expressions, as far as they stand in a file: nothing is run."""

from __future__ import annotations

import ast
import os
from typing import Any

from mlops_glue.source import dotted

DEEP = 20


class Unknown(Exception):
    """Only a run could tell this value."""


def key_of(node: ast.AST | None) -> str:
    """A variable, or an attribute of one (`self.target`), by its name; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    return (
        f"{node.value.id}.{node.attr}" if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) else ""
    )


class Values:
    """What the names of one file stand for."""

    def __init__(self, path: str, settings: dict[tuple[str, ...], Any], words: list[str]) -> None:
        self.path, self.settings, self.words = path, settings, words
        self.names: dict[str, str] = {}  # of imports
        self.bound: dict[str, list[ast.expr]] = {}  # what each name is given, in the order of the file
        self.options: dict[str, ast.expr] = {}  # the defaults of arguments

    def _texts(self, node: ast.expr, *, alone: bool = True) -> list[str]:
        """The texts that an expression is: one (where `alone` counts), or a list of some."""
        try:
            value = self.value(node)
        except Unknown:
            return []
        if isinstance(value, str):
            return [value] if alone else []
        return [v for v in value if isinstance(v, str)] if isinstance(value, list | tuple) else []

    def value(self, node: ast.expr, depth: int = 0) -> Any:
        """The value of an expression, as far as it stands in the file."""
        if depth > DEEP:
            raise Unknown
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            pass
        if key_of(node) in self.bound:
            return self.value(self.bound[key_of(node)][-1], depth + 1)
        if isinstance(node, ast.Name) and node.id in self.options:
            return self.value(self.options[node.id], depth + 1)
        if isinstance(node, ast.Name) and node.id == "__file__":
            return self.path
        if isinstance(node, ast.List | ast.Tuple):
            return [self.value(one, depth + 1) for one in node.elts]
        if isinstance(node, ast.JoinedStr):
            return "".join(str(self.value(one, depth + 1)) for one in node.values)
        if isinstance(node, ast.FormattedValue):
            return self.value(node.value, depth + 1)
        if isinstance(node, ast.Attribute) and node.attr == "parent":
            return os.path.dirname(str(self.value(node.value, depth + 1)))  # noqa: PTH120
        if isinstance(node, ast.IfExp):  # `sys.argv[1] if len(sys.argv) > 1 else 100`
            return self.value(node.orelse, depth + 1)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            parts = [self.value(n, depth + 1) for n in (node.left, node.right)]
            if all(isinstance(part, str) for part in parts):
                return os.path.join(*parts)  # noqa: PTH118
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = (self.value(n, depth + 1) for n in (node.left, node.right))
            if type(left) is type(right) and isinstance(left, str | list):
                return left + right
        if isinstance(node, ast.Attribute) and node.attr in self.options:
            return self.value(self.options[node.attr], depth + 1)
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        if isinstance(node, ast.Subscript):
            return self._setting(node)
        raise Unknown

    def _call(self, node: ast.Call, depth: int) -> Any:
        name = dotted(node.func, self.names)
        if name in ("os.getcwd", "pathlib.Path.cwd"):
            return ""
        if name == "os.path.dirname" and node.args:
            return os.path.dirname(str(self.value(node.args[0], depth + 1)))  # noqa: PTH120
        if name in ("os.path.abspath", "os.path.realpath") and node.args:
            return self.value(node.args[0], depth + 1)
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("resolve", "absolute", "as_posix"):
            return self.value(node.func.value, depth + 1)
        if name in ("os.path.join", "pathlib.Path") and node.args:
            return os.path.join(*(str(self.value(a, depth + 1)) for a in node.args))  # noqa: PTH118
        if name in ("int", "float", "str") and len(node.args) == 1:
            try:
                return {"int": int, "float": float, "str": str}[name](self.value(node.args[0], depth + 1))
            except (ValueError, TypeError):
                raise Unknown from None
        if name == "dict" and not node.args:
            return {k.arg: self.value(k.value, depth + 1) for k in node.keywords if k.arg}
        raise Unknown

    def _setting(self, node: ast.Subscript) -> Any:
        """`params["train"]["n"]` of params.yaml, where its keys end so once; `sys.argv[1]` of the pipeline."""
        if dotted(node.value, self.names) == "sys.argv":
            try:
                return [self.path, *self.words][ast.literal_eval(node.slice)]
            except (ValueError, TypeError, IndexError):
                raise Unknown from None
        keys: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Subscript) and isinstance(inner.slice, ast.Constant):
            keys.insert(0, str(inner.slice.value))
            inner = inner.value
            last = (self.bound.get(key_of(inner)) or [inner])[-1]
            if isinstance(inner, ast.Name) and isinstance(last, ast.Subscript) and last is not node:
                inner = last
        found = [value for at, value in self.settings.items() if keys and at[-len(keys) :] == tuple(keys)]
        if len(found) != 1:
            raise Unknown
        return found[0]

    def _defaults(self, arguments: ast.arguments) -> None:
        named = [*arguments.posonlyargs, *arguments.args]
        pairs = list(zip(reversed(named), reversed(arguments.defaults), strict=False))
        pairs += [(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is not None]
        for argument, default in pairs:
            self.options.setdefault(argument.arg, default)

    def _option(self, node: ast.Call) -> None:
        flags = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        default = next((k.value for k in node.keywords if k.arg == "default"), None)
        dest = next(
            (k.value.value for k in node.keywords if k.arg == "dest" and isinstance(k.value, ast.Constant)), None
        )
        long = next((flag for flag in flags if flag.startswith("--")), flags[0] if flags else "")
        if default is not None and long:
            self.options[str(dest or long.lstrip("-").replace("-", "_"))] = default
