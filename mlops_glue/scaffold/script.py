"""Find what a training script builds, and from which table and columns, by its syntax tree, without running it.

The arguments of `fit` are traced back through assignments, local functions and splits, regardless of their order. The
result is a guess, and is reported as a guess.
"""

from __future__ import annotations

import ast
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mlops_glue import source as sources
from mlops_glue.scaffold.values import Unknown, Values, key_of
from mlops_glue.source import dotted, imported, line_of

READERS = ("read_csv", "read_parquet", "read_json", "scan_csv", "scan_parquet", "read_table")
PATHS = ("filepath_or_buffer", "path", "source", "path_or_buf")  # their names for the file argument
ESTIMATOR = re.compile(
    r"sklearn\.(ensemble|linear_model|svm|tree|neighbors|naive_bayes|neural_network|gaussian_process"
    r"|discriminant_analysis)\.[A-Z]\w+|xgboost\.XGB\w+|lightgbm\.LGBM\w+|catboost\.CatBoost\w+"
)
LABEL = re.compile(r"(?i)(y|target|targets|label|labels)(_.*|\d)?|.*_(y|target|labels?)")
TARGET = re.compile(r"(?i)(self\.)?(target|label|y)(_?(col|column|name|var|variable|feature))?")  # `target = "churn"`
FIRST = re.compile(r"(^|[_\W])train")
SHOWS = re.compile(r"(^|[_\W])(demo|example|sample|tests?/)")
LAST = re.compile(r"(^|[_\W])(test|submission|predict|infer|eval|val|holdout|score)")
NO_COLUMNS = re.compile(r"values|T|i?loc|i?at|columns|index|shape|str|dt|cat|array")  # attributes of a table

Column = str | int  # its name, or its position


@dataclass
class Script:
    """What one script builds, and from which tables and columns."""

    path: str
    fits: bool = False
    estimator: str | None = None
    line: int = 0
    others: list[tuple[str, int]] = field(default_factory=list)  # other estimators with their lines
    params: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)  # parameters whose values only a run could determine
    tables: list[str] = field(default_factory=list)  # the tables that it reads; those that it fits on come first
    tiers: list[list[Column]] = field(default_factory=list)  # columns that it may predict, likeliest first
    drops: set[str] = field(default_factory=set)  # columns that it removes before it fits
    uses: set[str] | None = None  # names by which it selects columns, if it selects some
    refs: set[str] = field(default_factory=set)  # texts such as `view:feature`
    skipped: list[str] = field(default_factory=list)  # cells that are not Python


def place(path: str) -> int:
    """Return 0 for a file named for training, 2 for a file of tests, examples or scoring, else 1."""
    name = path.lower().rpartition("/")[2]
    return 2 if SHOWS.search(path.lower()) else 0 if FIRST.search(name) else 2 if LAST.search(name) else 1


def read(
    path: str, source: str | bytes, settings: dict[tuple[str, ...], Any], words: Iterable[str] = ()
) -> Script | None:
    """Return what one script builds, or None if it is not Python.

    Args:
        path: the path to show; an `.ipynb` is a notebook.
        source: its text.
        settings: the values of a `params.yaml` by their keys.
        words: the arguments with which the repository's own pipeline runs it.
    """
    text = source.encode("utf-8", "replace") if isinstance(source, str) else source
    found = sources.read(path, text)
    if found is None:
        return None
    try:
        made = Reader(path, found.tree, settings, list(words)).script()
    except (ValueError, RecursionError, MemoryError):
        return None
    made.skipped = found.skipped
    if path.endswith(".ipynb") and made.line:
        lines = text.decode("utf-8", "replace").splitlines()
        made.line = line_of(lines, found.lines[made.line - 1])
        made.others = [(name, line_of(lines, found.lines[line - 1])) for name, line in made.others]
    return made


class Reader(Values):
    """One walk over a file, with the values of its names."""

    def __init__(self, path: str, tree: ast.Module, settings: dict[tuple[str, ...], Any], words: list[str]) -> None:
        super().__init__(path, settings, words)
        self.tree = tree
        self.functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
        self.calls: list[tuple[ast.Call, str]] = []
        self.each: set[str] = set()  # loop variables
        nodes = list(ast.walk(tree))
        for node in nodes:
            if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.level == 0):
                self.names |= imported(node)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self.functions[node.name] = node
                self.add_defaults(node.args)
        for node in nodes:
            match node:
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        self._bind(target, value)
                case (
                    ast.AnnAssign(target=target, value=ast.expr() as value) | ast.AugAssign(target=target, value=value)
                ):
                    self._bind(target, value)
                case ast.For(target=target, iter=value):
                    self._bind(target, value)
                    self.each.add(key_of(target))
                case ast.Call():
                    self.calls.append((node, dotted(node.func, self.names)))
                    self._bind_arguments(node)
        self.calls.sort(key=lambda found: found[0].lineno)

    def _bind(self, target: ast.expr, value: ast.expr) -> None:
        """Record the value assigned to a name; with several names, the part of each if that is clear."""
        if isinstance(target, ast.Tuple | ast.List):
            for at, name in enumerate(target.elts):
                for part in self._parts(value, at, len(target.elts)):
                    self._bind(name, part)
            return
        inner = target.value if isinstance(target, ast.Subscript) else target  # `df["x"] = …` changes `df` too
        if key_of(inner):
            self.bound.setdefault(key_of(inner), []).append(value)

    def _parts(self, value: ast.expr, at: int, count: int) -> list[ast.expr]:
        """Return the part of a value that goes to the name at one position, when several names are assigned."""
        if isinstance(value, ast.Call) and dotted(value.func, self.names).endswith("train_test_split") and value.args:
            return [value.args[min(at // 2, len(value.args) - 1)]]
        given = [value] if isinstance(value, ast.Tuple) else self._returned(value)
        tuples = [one for one in given if isinstance(one, ast.Tuple) and len(one.elts) == count]
        return [one.elts[at] for one in tuples] if given and len(tuples) == len(given) else [value]

    def _returned(self, node: ast.expr) -> list[ast.expr]:
        """Return the return values of a call, if its function is in this file."""
        name = key_of(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
        found = ast.walk(self.functions[name]) if name in self.functions else ()
        return [one.value for one in found if isinstance(one, ast.Return) and one.value is not None]

    def _bind_arguments(self, node: ast.Call) -> None:
        """Record a call's arguments as the values of the parameters, if its function is in this file."""
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("add_argument", "option"):
            self.add_option(node)
        function = self.functions.get(key_of(node.func).rpartition(".")[2])
        if function is None:
            return
        names = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
        names = names[1:] if names[:1] in (["self"], ["cls"]) else names
        for name, value in [*zip(names, node.args, strict=False), *((k.arg, k.value) for k in node.keywords if k.arg)]:
            if key_of(value) != name:
                self.bound.setdefault(str(name), []).append(value)

    def _reached(
        self, start: Iterable[ast.expr], ends: Callable[[ast.expr], object] = lambda _: False
    ) -> Iterator[ast.expr]:
        """Yield the expressions that `start` is built from, nearest first; stop behind one for which `ends` is true."""
        waiting, seen = deque(start), set()
        while waiting:
            node = waiting.popleft()
            if id(node) in seen:
                continue
            seen.add(id(node))
            yield node
            if not ends(node):
                for inner in ast.walk(node):
                    waiting.extend(self.bound.get(key_of(inner), []))
                    waiting.extend(self._returned(inner) if isinstance(inner, ast.Call) else [])

    def script(self) -> Script:
        """Return what the file builds."""
        out = Script(self.path)
        out.fits = any(name.rpartition(".")[2] == "fit" for _, name in self.calls)
        made = [node for node, name in self.calls if ESTIMATOR.fullmatch(name)]
        chosen = self._fitted(made) if made else None
        if chosen is not None:
            out.estimator, out.line = dotted(chosen.func, self.names), chosen.lineno
            out.others = [(dotted(n.func, self.names), n.lineno) for n in made if n is not chosen]
            out.unknown += ["an argument without a name"] if chosen.args else []
            for keyword in chosen.keywords:
                self._add_parameter(out, keyword)
        texts = (n.value for n in ast.walk(self.tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))
        out.refs = {text for text in texts if re.fullmatch(r"\w+:\w+", text)}
        features, labels = self._learnt_from(chosen)
        self._add_tables(out, [*features, *labels])
        targets = [column for node in self._reached(labels, self._taken) for column in self._taken(node)]
        out.tiers = [list(dict.fromkeys(tier)) for tier in (targets, self._labelled())]
        self._add_columns(out, features)
        return out

    def _add_parameter(self, out: Script, keyword: ast.keyword) -> None:
        name = keyword.arg or "**"
        try:
            value = self.value(keyword.value)
        except Unknown:
            out.unknown.append(name)
            return
        if name == "**" and isinstance(value, dict):
            out.params |= {str(key): one for key, one in value.items()}
        elif not isinstance(value, str | int | float | bool | list | tuple | dict | None):
            out.unknown.append(name)
        elif name != "random_state":  # glue sets its own seed
            out.params[name] = list(value) if isinstance(value, tuple) else value

    def _fitted(self, made: list[ast.Call]) -> ast.Call:
        """Return the last estimator whose `fit` is called, else the last one that is built."""
        owners = [
            node.func.value
            for node, _ in self.calls
            if isinstance(node.func, ast.Attribute) and node.func.attr == "fit"
        ]
        direct = [n for n in made if any(n is one or n in self.bound.get(key_of(one), []) for one in owners)]
        return (direct or made)[-1]

    def _learnt_from(self, chosen: ast.Call | None) -> tuple[list[ast.expr], list[ast.expr]]:
        """Return the features and labels passed to `fit` of the chosen estimator, else of any estimator."""
        found: list[tuple[bool, ast.expr, ast.expr]] = []
        for node, name in self.calls:
            at = 1 if name.rpartition(".")[2].startswith("cross_val") else 0
            if at == 0 and not name.endswith(".fit"):
                continue
            given = {k.arg: k.value for k in node.keywords}
            features = node.args[at] if len(node.args) > at else given.get("X")
            labels = node.args[at + 1] if len(node.args) > at + 1 else given.get("y")
            if features is not None and labels is not None:
                model = node.args[0] if at else node.func
                own = chosen is not None and any(chosen is n for e in self._reached([model]) for n in ast.walk(e))
                found.append((own, features, labels))
        best = [one for one in found if one[0]] or found
        return [features for _, features, _ in best], [labels for _, _, labels in best]

    def _add_tables(self, out: Script, learnt: list[ast.expr]) -> None:
        """Add the tables that `fit` learns from, those named for training first, then all others the file reads."""
        reads = [node for node, name in self.calls if name.rpartition(".")[2] in READERS]
        reached = {id(n) for e in self._reached(learnt) for n in ast.walk(e)}
        for group in ([node for node in reads if id(node) in reached], reads):
            paths = [path for node in group for path in self._paths(node)]
            out.tables += [path for path in sorted(dict.fromkeys(paths), key=place) if path not in out.tables]

    def _paths(self, node: ast.Call) -> Iterator[str]:
        given = [*node.args[:1], *(k.value for k in node.keywords if k.arg in PATHS)]
        for one in given[:1]:
            for value in self.bound.get(key_of(one), []) or [one]:
                try:
                    yield str(self.value(value))
                except Unknown:
                    continue

    def _labelled(self) -> Iterator[Column]:
        """Yield the columns assigned to a name like `y`, or named by `target = "…"`."""
        for name, values in self.bound.items():
            if LABEL.fullmatch(name):
                for value in values:
                    yield from self._taken(value)
        for name, values in [*self.bound.items(), *((name, [value]) for name, value in self.options.items())]:
            if TARGET.fullmatch(name):
                yield from (text for value in values for text in self.texts(value))
        yield from (str(v) for at, v in self.settings.items() if TARGET.fullmatch(at[-1]) and isinstance(v, str))

    def _taken(self, node: ast.expr) -> list[Column]:
        """Return the columns that an expression takes from a table: `t["a"]`, `t.a`, `t.loc[:, "a"]`, `t.pop("a")`."""
        out: list[Column] = []
        called = {id(n.func) for n in ast.walk(node) if isinstance(n, ast.Call)}
        for inner in ast.walk(node):
            match inner:
                case ast.Subscript(slice=ast.Tuple(elts=[_, column])):
                    out += [*self.texts(column), *_place_of(column)]
                case ast.Subscript(slice=column) | ast.Call(func=ast.Attribute(attr="pop"), args=[column, *_]):
                    out += self.texts(column)
                case ast.Attribute(value=ast.Name(id=owner), attr=name) if id(inner) not in called:
                    out += [name] if not NO_COLUMNS.fullmatch(name) and owner not in {*self.names, "self"} else []
        return out

    def _dropped(self, node: ast.Call) -> list[str]:
        """Return the columns, not the rows, that a call of `drop` removes."""
        if not (isinstance(node.func, ast.Attribute) and node.func.attr == "drop"):
            return []
        given = {k.arg: k.value for k in node.keywords}
        if "columns" in given:
            return self.texts(given["columns"])
        axis = given.get("axis") or (node.args[1] if len(node.args) > 1 else None)
        of_index = any(isinstance(n, ast.Attribute) and n.attr == "columns" for n in ast.walk(node.func))
        names = node.args[0] if node.args else given.get("labels")
        of_columns = of_index or (isinstance(axis, ast.Constant) and axis.value in (1, "columns"))
        return self.texts(names) if of_columns and names is not None else []

    def _add_columns(self, out: Script, features: list[ast.expr]) -> None:
        """Add the columns that are dropped before `fit`, and, if it selects some, the names it uses to select them."""
        reached = [n for e in self._reached(features) for n in ast.walk(e)]
        for node in ast.walk(self.tree):  # changes to a table in place
            if isinstance(node, ast.Delete):
                places = [one.slice for one in node.targets if isinstance(one, ast.Subscript)]
                out.drops |= {text for place in places for text in self.texts(place)}
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                popped = self._taken(node.value) if dotted(node.value.func, {}).endswith(".pop") else []
                out.drops |= {*self._dropped(node.value), *(name for name in popped if isinstance(name, str))}
        out.drops |= {name for node in reached if isinstance(node, ast.Call) for name in self._dropped(node)}
        chosen = [n.slice for n in reached if isinstance(n, ast.Subscript) and key_of(n.slice) not in self.each]
        by_place = any(isinstance(n, ast.Attribute) and n.attr == "iloc" for n in reached)  # names unknown
        if not by_place and any(self._is_list(one) for one in chosen):
            out.uses = {n.value for n in reached if isinstance(n, ast.Constant) and isinstance(n.value, str)}
            out.uses |= {n.attr for n in reached if isinstance(n, ast.Attribute)}

    def _is_list(self, node: ast.expr) -> bool:
        try:
            return isinstance(self.value(node), list) and bool(self.texts(node))
        except Unknown:
            return False


def _place_of(column: ast.expr) -> list[int]:
    """Return the position of the single column that `[:, 8]`, `[:, -1:]` or `[:, 8:9]` takes."""
    first, after = (column.lower, column.upper) if isinstance(column, ast.Slice) else (column, column)
    try:
        start, end = (None if bound is None else ast.literal_eval(bound) for bound in (first, after))
    except ValueError:
        return []
    is_one = not isinstance(column, ast.Slice) or (isinstance(start, int) and end == (start + 1 or None))
    return [start] if isinstance(start, int) and is_one else []
