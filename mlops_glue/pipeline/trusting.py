"""Check the code in an estimator that is trusted by name, before a long fit: a model must be loadable to be trained."""

from __future__ import annotations

import ast
import copy
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import layout
from mlops_glue.adapters import skops
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError, GlueError, brief
from mlops_glue.modules import import_callable, project_files
from mlops_glue.pipeline import log_target
from mlops_glue.pipeline.older_rows import Array, Estimator, Fit
from mlops_glue.trusted import Trusted, is_installed, resolve

if TYPE_CHECKING:
    import pandas as pd

WHERE = f"{layout.CONFIG} package.trust"
SAMPLE_ROWS = 200


def trusted(config: Config, root: Path) -> Trusted:
    """Return the names in `package.trust`, with the current text of the project's modules behind them."""
    names, modules = [], {}
    for path in config.package.trust:
        own = project_files(path, root)
        names.append(path if own else resolve(path) or path)
        modules.update({_module(file): (root / file).read_text(encoding="utf-8") for file in own})
    return Trusted(names, modules)


def load_model(config: Config, root: Path) -> Any:
    """Return the estimator that stage train saved."""
    trust = trusted(config, root)
    with trust.importable():
        return skops.load(root / layout.MODEL, trust.names)


def within(trust: Trusted, model: Path) -> Trusted | None:
    """Return the trusted names that a saved model contains; None if it contains none, and so runs no such code."""
    names = skops.foreign(model.read_bytes())
    own = {name.partition(".")[0] for name in names} & {module.partition(".")[0] for module in trust.modules}
    return Trusted(names, trust.modules if own else {}) if names else None


def checked(config: Config, root: Path, model: Estimator, rows: tuple[pd.DataFrame, Array], fit: Fit) -> Trusted:
    """Return what is trusted, after all checks that are possible before the fit.

    The unfitted estimator must not contain any other code. If it contains trusted code, it is fitted on a few rows,
    saved, and loaded as a server would load it; the loaded model must predict the same.

    Args:
        config: with `package.trust`.
        root: the project.
        model: the unfitted estimator; it is not changed.
        rows: features and target of the training rows.
        fit: `(model, features, target) -> fitted model`.

    Raises:
        ConfigError: a listed name does not exist, a name is missing, or the model could not be loaded elsewhere.
        ToolError: the estimator cannot be saved at all.
    """
    trust = trusted(config, root)
    _check_names(config, trust, root)
    if not _refuse_others(config, trust, _to_keep(model)):
        return trust
    few = _few(rows[1])
    features, target = rows[0][few], rows[1][few]
    try:
        small = fit(copy.deepcopy(model), features, target)
        expected = np.ravel(small.predict(features))
    except Exception:  # the rows may be too few for it; the fit itself reports other errors
        return trust
    _refuse_others(config, trust, small)
    problem = f"{layout.CONFIG} train.estimator: could not be loaded for serving"
    with tempfile.TemporaryDirectory() as folder:
        skops.save(small, Path(folder) / "model.skops", trust.names)
        try:
            with trust.importable():
                loaded = skops.load(Path(folder) / "model.skops", trust.names)
            predicted = np.ravel(loaded.predict(features))
        except Exception as error:
            cause = error.__cause__ if isinstance(error, GlueError) and error.__cause__ is not None else error
            hint = "it may only use its arguments, its attributes and the modules that it imports"
            raise ConfigError([f"{problem}: {brief(cause)}"], hint=hint) from error
    if not np.array_equal(predicted, expected, equal_nan=expected.dtype.kind == "f"):
        problem = f"{layout.CONFIG} train.estimator: predicts differently after it is saved and loaded"
        raise ConfigError([problem], hint="store what fit learns in attributes of the object")
    return trust


def _few(target: Array) -> Array:
    """Return some rows of each class, or the first rows, as a mask of shape (rows,)."""
    _, codes = np.unique(target, return_inverse=True)
    most = max(5, SAMPLE_ROWS // (codes.max() + 1))
    if codes.max() >= SAMPLE_ROWS // 2:
        return np.arange(len(target)) < SAMPLE_ROWS
    taken = np.zeros(len(target), bool)
    for code in range(codes.max() + 1):
        taken[np.flatnonzero(codes == code)[:most]] = True
    return taken


def _module(file: str) -> str:
    """Return the name by which a file of the project is imported."""
    return ".".join(Path(file).with_suffix("").parts).removesuffix(".__init__")


def _check_names(config: Config, trust: Trusted, root: Path) -> None:
    """Check that each name is a class or function, and that the project's modules import each other at the top."""
    for path in config.package.trust:
        found = import_callable(path, WHERE, "package.module.Class")
        known = f"{found.__module__}.{getattr(found, '__qualname__', '')}"
        if project_files(path, root) and path != known:
            raise ConfigError([f"{WHERE}: {path} is {known}"], hint=f"package: {{trust: [{known}]}}")
    for name, text in trust.modules.items():
        if is_installed(top := name.partition(".")[0]):
            raise ConfigError([f"{WHERE}: {top} is also the name of an installed module"], hint=f"rename {top}.py")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                _check_inner(name, node, {module.partition(".")[0] for module in trust.modules})


def _check_inner(module: str, function: ast.AST, own: set[str]) -> None:
    """Check that a function imports none of the project's modules: they are importable only while the model loads."""
    for node in ast.walk(function):
        named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        named += [node.module or module] if isinstance(node, ast.ImportFrom) else []
        if taken := [name for name in named if name.partition(".")[0] in own]:
            line = getattr(node, "lineno", 0)
            hint = "import it at the top of the module"
            raise ConfigError([f"{WHERE}: {module}, line {line}, imports {taken[0]} inside a function"], hint=hint)


def _to_keep(model: Estimator) -> Any:
    """Return the parts of an unfitted model that may be saved: of a search the candidates, not how it chooses."""
    model = log_target.bare(model)
    if hasattr(model, "steps"):
        return [*(step for _, step in model.steps[:-1]), _to_keep(model.steps[-1][1])]
    grids = getattr(model, "param_grid", None) or getattr(model, "param_distributions", None)
    if grids is None:
        return model
    values = [value for grid in ([grids] if isinstance(grids, dict) else grids) for value in grid.values()]
    return [_to_keep(model.estimator), [list(value) for value in values if not hasattr(value, "rvs")]]


def _refuse_others(config: Config, trust: Trusted, model: Estimator) -> list[str]:
    """Return the names in a model that must be trusted by name.

    Raises:
        ConfigError: the model contains names that are not trusted.
    """
    found = skops.foreign(skops.dumped(model))
    unknown = [name for name in found if name not in trust.names]
    if nameless := [name for name in unknown if "<" in name]:
        raise ConfigError(
            [f"{layout.CONFIG} train.estimator: contains {nameless[0]}, which cannot be loaded by name"],
            hint="define a function at the top of a module, and package: {trust: [module.function]}",
        )
    if unknown:
        problem = f"contains {', '.join(unknown)}, whose code would run wherever the model is loaded"
        listed = ", ".join([*config.package.trust, *unknown])
        raise ConfigError(
            [f"{layout.CONFIG} train.estimator: {problem}"], hint=f"package: {{trust: [{listed}]}} if you trust it"
        )
    return found
