"""What a training script builds, from which table: by its syntax tree, never by running it."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mlops_glue import source as sources
from mlops_glue.source import dotted, imported, line_of

READERS = ("read_csv", "read_parquet", "read_json", "scan_csv", "scan_parquet", "read_table")
ESTIMATOR = re.compile(
    r"sklearn\.(ensemble|linear_model|svm|tree|neighbors|naive_bayes|neural_network|gaussian_process"
    r"|discriminant_analysis)\.[A-Z]\w+|xgboost\.XGB\w+|lightgbm\.LGBM\w+|catboost\.CatBoost\w+"
)
DEEP = 20


class Unknown(Exception):
    """Only a run could tell this value."""


@dataclass
class Script:
    """What was found in one file; `unknown` are parameters whose values only a run could tell."""

    path: str
    fits: bool = False
    estimator: str | None = None
    line: int = 0
    others: list[str] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)  # likeliest first
    server: bool = False  # it names a tracking server
    skipped: list[str] = field(default_factory=list)  # cells that are no Python


def read(path: str, source: str, settings: dict[tuple[str, ...], Any]) -> Script | None:
    """Look at one script.

    Args:
        path: as it is told; an `.ipynb` is a notebook.
        source: its text.
        settings: the values of a `params.yaml` by their keys.

    Returns:
        What it builds, or None where it is no Python.
    """
    found = sources.read(path, source.encode("utf-8", "replace"))
    if found is None:
        return None
    try:
        made = _Reader(path, found.tree, settings).script()
    except (ValueError, RecursionError, MemoryError):
        return None
    made.skipped = found.skipped
    if path.endswith(".ipynb") and made.line:
        made.line = line_of(source.splitlines(), found.lines[made.line - 1])
    return made


class _Reader:
    """One walk over a file, with what its names stand for."""

    def __init__(self, path: str, tree: ast.Module, settings: dict[tuple[str, ...], Any]) -> None:
        self.path, self.tree, self.settings = path, tree, settings
        self.names: dict[str, str] = {}
        self.values: dict[str, ast.expr] = {}
        self.options: dict[str, ast.expr] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.level == 0):
                self.names |= imported(node)
            elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self.values[node.targets[0].id] = node.value
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self._defaults(node.args)
            elif isinstance(node, ast.Call) and dotted(node.func, {}).endswith((".add_argument", ".option")):
                self._option(node)

    def script(self) -> Script:
        """What the file builds."""
        out = Script(self.path)
        made: list[ast.Call] = []
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.Call):
                continue
            name = dotted(node.func, self.names)
            last = name.rpartition(".")[2]
            out.fits = out.fits or last == "fit"
            out.server = out.server or name == "mlflow.set_tracking_uri"
            if last in READERS and node.args:
                out.tables += self._path(node.args[0])
            if ESTIMATOR.fullmatch(name):
                made.append(node)
        made.sort(key=lambda node: node.lineno)
        if made:
            chosen = self._fitted(made)
            out.estimator, out.line = dotted(chosen.func, self.names), chosen.lineno
            out.others = [f"{dotted(n.func, self.names)} (line {n.lineno})" for n in made if n is not chosen]
            out.unknown += ["an argument without a name"] if chosen.args else []
            for keyword in chosen.keywords:
                self._parameter(out, keyword)
        out.targets = list(dict.fromkeys(self._targets()))
        return out

    def _parameter(self, out: Script, keyword: ast.keyword) -> None:
        name = keyword.arg or "**"
        try:
            value = self.value(keyword.value)
        except Unknown:
            out.unknown.append(name)
            return
        if isinstance(value, dict) and name == "**":
            out.params |= {str(key): one for key, one in value.items()}
        elif name == "random_state":
            return  # glue gives its own seed
        elif isinstance(value, str | int | float | bool | list | tuple | dict | None):
            out.params[name] = list(value) if isinstance(value, tuple) else value
        else:
            out.unknown.append(name)

    def _fitted(self, made: list[ast.Call]) -> ast.Call:
        """The estimator whose `fit` is called; the last where several are, or it is inside something else."""
        fitted = {
            node.func.value.id
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "fit"
            and isinstance(node.func.value, ast.Name)
        }  # fmt: skip
        direct = [n for n in made if any(self.values.get(name) is n for name in fitted)]
        return (direct or made)[-1]

    def _targets(self) -> Iterator[str]:
        """Columns that are taken apart: `y = table["churn"]`, `pop("churn")`, `drop(columns=["churn"])`."""
        dropped: list[str] = []
        named: list[str] = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign):
                named += self._label(node)
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("pop", "drop")
            ):
                given = [k.value for k in node.keywords if k.arg in ("columns", "labels")]
                dropped += [c for one in [*node.args[:1], *given] for c in self._texts(one)]
        yield from named
        yield from dropped

    def _label(self, node: ast.Assign) -> list[str]:
        left = [n.id.lower() for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)]
        pairs = list(zip(left, node.value.elts, strict=False)) if isinstance(node.value, ast.Tuple) else []
        for name, value in pairs or [(name, node.value) for name in left[:1]]:
            if not re.fullmatch(r"(y|target|targets|label|labels)(_.*|\d)?|.*_(y|target|labels?)", name):
                continue
            while isinstance(value, ast.Call | ast.Attribute) and not (
                isinstance(value, ast.Call) and dotted(value.func, {}).endswith(".pop")
            ):
                inner = value.func if isinstance(value, ast.Call) else value.value
                if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name):
                    return [value.attr]
                value = inner
            if isinstance(value, ast.Subscript):
                return self._texts(value.slice)
            if isinstance(value, ast.Call) and value.args:
                return self._texts(value.args[0])
            return []
        return []

    def _texts(self, node: ast.expr) -> list[str]:
        try:
            value = self.value(node)
        except Unknown:
            return []
        if isinstance(value, str):
            return [value]
        return [v for v in value if isinstance(v, str)] if isinstance(value, list | tuple) and len(value) < 10 else []

    def _path(self, node: ast.expr) -> list[str]:
        try:
            return [str(self.value(node))]
        except Unknown:
            return []

    def value(self, node: ast.expr, depth: int = 0) -> Any:
        """The value of an expression, as far as it stands in the file."""
        if depth > DEEP:
            raise Unknown
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            pass
        if isinstance(node, ast.Name) and node.id in self.values:
            return self.value(self.values[node.id], depth + 1)
        if isinstance(node, ast.Name) and node.id in self.options:
            return self.value(self.options[node.id], depth + 1)
        if isinstance(node, ast.IfExp):  # `sys.argv[1] if len(sys.argv) > 1 else 100`
            return self.value(node.orelse, depth + 1)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            parts = [self.value(n, depth + 1) for n in (node.left, node.right)]
            if all(isinstance(part, str) for part in parts):
                return os.path.join(*parts)  # noqa: PTH118
        if isinstance(node, ast.Attribute) and node.attr in self.options:
            return self.value(self.options[node.attr], depth + 1)
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        if isinstance(node, ast.Subscript):
            return self._setting(node)
        raise Unknown

    def _call(self, node: ast.Call, depth: int) -> Any:
        name = dotted(node.func, self.names)
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
        """`params["train"]["n"]` from params.yaml, where its keys end so once."""
        keys: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Subscript) and isinstance(inner.slice, ast.Constant):
            keys.insert(0, str(inner.slice.value))
            inner = inner.value
            if isinstance(inner, ast.Name) and isinstance(self.values.get(inner.id), ast.Subscript):
                inner = self.values[inner.id]
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
