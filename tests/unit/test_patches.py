"""Third parties are used by their public names; the exceptions are few, and each has its reason here.

What a syntax tree does not show: `adapters/mlflow/database.py` writes to six columns of MLflow's tables where a project
was moved, because MLflow has no call for it (tests/integration/test_mlflow.py holds both against a real database).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "mlops_glue"
ALLOWED = {
    ("adapters/dvc/reproduce.py", "dvc.stage.run.cmd_run ="): (
        "A stage runs in this process: a cold run takes a fifth of the time of `dvc repro`. Without the name, stages "
        "run as subprocesses (tests/integration/test_dvc.py, tests/functional/test_run.py)."
    ),
    ("adapters/dvc/reproduce.py", "dvc.repo.reproduce._reproduce"): "It is asked whether it still takes `repro_fn`.",
    ("adapters/feast/definitions.py", "sys.modules.update"): (
        "The modules of the project come back, after a feature repository with modules of the same names was read."
    ),
    ("adapters/feast/type_checks.py", "typeguard.typechecked ="): (
        "Feast is imported in two seconds instead of five, and its classes check the types of their arguments all the "
        "same. Where Feast no longer uses it, nothing is changed (tests/unit/test_type_checks.py)."
    ),
    ("trusted.py", "sys.modules.update"): (
        "What had the names of a model's modules comes back, once they are loaded from the bundle."
    ),
    ("adapters/lightgbm.py", "_ConfigAliases"): (
        "LightGBM lists the parameters that it knows nowhere else, and ignores others. Without the name, nothing is "
        "said of them (tests/unit/pipeline/test_unused_params.py)."
    ),
    ("adapters/lightgbm.py", "_get_all_param_aliases"): "The list in it.",
    ("pipeline/class_kind.py", "_estimator_type"): "CatBoost's estimators say their kind by nothing else.",
    ("terminal.py", "_StreamWrapper__wrapped"): "colorama wraps the streams and removes every colour.",
}


def private(name: str) -> bool:
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


def foreign(module: str | None) -> bool:
    top = (module or "").split(".")[0]
    return top not in sys.stdlib_module_names and top not in ("mlops_glue", "")


def third_parties(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Each name that a file binds to something of a third party, and what that is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if foreign(alias.name):
                    yield (
                        alias.asname or alias.name.split(".")[0],
                        alias.name if alias.asname else alias.name.split(".")[0],
                    )
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and foreign(node.module):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def dotted(node: ast.AST) -> str | None:
    """`a.b.c` of an expression that is no more than that."""
    if isinstance(node, ast.Name):
        return node.id
    inner = dotted(node.value) if isinstance(node, ast.Attribute) else None
    return f"{inner}.{node.attr}" if inner and isinstance(node, ast.Attribute) else None


def uses(tree: ast.AST) -> Iterator[str]:
    """Private names of third parties, assignments to their attributes, and modules put in the place of others."""
    bound = dict(third_parties(tree))
    yield from (name for name in bound.values() if private(name))
    for node in ast.walk(tree):
        name = dotted(node) if isinstance(node, ast.Attribute) else None
        root, _, rest = (name or "").partition(".")
        if root in bound and private(rest):
            yield f"{bound[root]}.{rest}"
        targets = node.targets if isinstance(node, ast.Assign) else []
        for target in targets:
            name = dotted(target) or ""
            if name.partition(".")[0] in bound and "." in name:
                yield f"{bound[name.partition('.')[0]]}.{name.partition('.')[2]} ="
            if isinstance(target, ast.Subscript) and dotted(target.value) == "sys.modules":
                yield "sys.modules[...] ="
        if isinstance(node, ast.Call) and dotted(node.func) == "sys.modules.update":
            yield "sys.modules.update"
        if isinstance(node, ast.Call) and (text := private_text(node)):
            yield text


def private_text(call: ast.Call) -> str | None:
    """The private name that `getattr` and its like are given as text."""
    by_text = isinstance(call.func, ast.Name) and call.func.id in ("getattr", "hasattr", "setattr")
    name = call.args[1] if by_text and len(call.args) > 1 else None
    return name.value if isinstance(name, ast.Constant) and private(str(name.value)) else None


def test_third_parties_are_used_by_their_public_names_but_for_a_few() -> None:
    assert len(ALLOWED) <= 10 and all(ALLOWED.values())
    found = {
        (file.relative_to(PACKAGE).as_posix(), use)
        for file in PACKAGE.rglob("*.py")
        for use in uses(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert found <= set(ALLOWED), sorted(found - set(ALLOWED))
