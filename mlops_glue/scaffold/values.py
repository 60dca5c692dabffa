"""Evaluate expressions as far as a file defines them, without running it."""

from __future__ import annotations

import ast
import os
from datetime import timedelta
from typing import Any

from mlops_glue.source import dotted

MOST_STEPS = 1000  # largest number of expressions in one value
CALLS: dict[str, Any] = {  # what is called in place of a function whose arguments are known
    "os.getcwd": lambda: "",
    "pathlib.Path.cwd": lambda: "",
    "os.path.dirname": os.path.dirname,
    "os.path.abspath": str,
    "os.path.realpath": str,
    "os.path.join": os.path.join,
    "pathlib.Path": os.path.join,
    "int": int,
    "float": float,
    "str": str,
    "dict": dict,
    "datetime.timedelta": timedelta,
}


class Unknown(Exception):
    """Only a run could determine this value."""


def key_of(node: ast.AST | None) -> str:
    """Return the name of a variable, or of a variable's attribute (`self.target`); empty for anything else."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id=owner), attr=name):
            return f"{owner}.{name}"
    return ""


class Values:
    """The values of the names in one file."""

    def __init__(self, path: str, settings: dict[tuple[str, ...], Any], words: list[str]) -> None:
        self.path, self.settings, self.words = path, settings, words
        self.names: dict[str, str] = {}  # imported names with their modules
        self.bound: dict[str, list[ast.expr]] = {}  # the values assigned to each name, in the order of the file
        self.options: dict[str, ast.expr] = {}  # the defaults of arguments

    def value(self, node: ast.expr) -> Any:
        """Return the value of an expression.

        Raises:
            Unknown: the file does not define it.
        """
        self._steps = 0
        try:
            return self._value(node)
        except (TypeError, ValueError, IndexError, RecursionError, MemoryError):
            raise Unknown from None

    def texts(self, node: ast.expr) -> list[str]:
        """Return the text of an expression, or the texts of a list; empty for anything else."""
        try:
            value = self.value(node)
        except Unknown:
            return []
        values = value if isinstance(value, list | tuple) else [value]
        return [text for text in values if isinstance(text, str)]

    def _value(self, node: ast.expr) -> Any:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise Unknown
        try:
            return ast.literal_eval(node)
        except ValueError:
            pass
        if key_of(node) in self.bound:
            return self._value(self.bound[key_of(node)][-1])
        match node:
            case ast.Name(id="__file__"):
                return self.path
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in self.options:
                return self._value(self.options[name])
            case ast.Attribute(attr="parent", value=inner):
                return os.path.dirname(self._value(inner))  # noqa: PTH120
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self._value(item) for item in items]
            case ast.JoinedStr(values=parts):
                return "".join(str(self._value(part)) for part in parts)
            case ast.FormattedValue(value=inner) | ast.IfExp(orelse=inner):  # argv[1] if len(argv) > 1 else 100
                return self._value(inner)
            case ast.BinOp(op=ast.Div(), left=left, right=right):
                return os.path.join(self._value(left), self._value(right))  # noqa: PTH118
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                return self._value(left) + self._value(right)
            case ast.Call(func=ast.Attribute(attr="resolve" | "absolute" | "as_posix", value=inner)):
                return self._value(inner)
            case ast.Call() if (name := dotted(node.func, self.names)) in CALLS:
                named = {k.arg: self._value(k.value) for k in node.keywords if k.arg}
                return CALLS[name](*map(self._value, node.args), **named)
            case ast.Subscript(value=inner, slice=at) if dotted(inner, self.names) == "sys.argv":
                return [self.path, *self.words][ast.literal_eval(at)]
            case ast.Subscript():
                return self._setting(self._keys(node))
        raise Unknown

    def _setting(self, keys: list[str]) -> Any:
        """Return the value of `params["train"]["n"]` in params.yaml if exactly one key ends with these parts."""
        found = [value for at, value in self.settings.items() if keys and at[-len(keys) :] == tuple(keys)]
        if len(found) != 1:
            raise Unknown
        return found[0]

    def _keys(self, node: ast.expr) -> list[str]:
        """Return the keys of nested subscripts, also of a variable that was assigned one."""
        match node:
            case ast.Subscript(value=inner, slice=ast.Constant(value=key)):
                return [*self._keys(inner), str(key)]
            case ast.Name(id=name) if name in self.bound:
                return self._keys(self.bound[name][-1])
        return []

    def add_defaults(self, arguments: ast.arguments) -> None:
        """Remember the defaults of a function's parameters."""
        named = [*arguments.posonlyargs, *arguments.args]
        pairs = list(zip(reversed(named), reversed(arguments.defaults), strict=False))
        pairs += [(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is not None]
        for argument, default in pairs:
            self.options.setdefault(argument.arg, default)

    def add_option(self, node: ast.Call) -> None:
        """Remember the default of a command-line option: `add_argument("--trees", default=10)`."""
        flags = [flag for argument in node.args for flag in self.texts(argument)]
        given = {k.arg: k.value for k in node.keywords}
        name = next((flag for flag in flags if flag.startswith("--")), flags[0] if flags else "")
        destinations = self.texts(given["dest"]) if "dest" in given else [name.lstrip("-").replace("-", "_")]
        if "default" in given and destinations:
            self.options[destinations[0]] = given["default"]
