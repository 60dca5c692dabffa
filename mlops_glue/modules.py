"""The user's import paths: the callables, the project's files and the package versions behind them."""

from __future__ import annotations

import ast
import contextlib
import gc
import hashlib
import importlib.util
import io
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mlops_glue.errors import ConfigError
from mlops_glue.suggest import did_you_mean

COMPUTES = (
    *("scikit-learn", "numpy", "scipy", "pandas", "pyarrow", "skops", "skl2onnx", "onnx", "onnxruntime"),
    *("great-expectations", "feast", "duckdb"),
)  # packages whose version can change the output of the stages


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """Around an import: hide what modules print, and do not search for garbage.

    A large import creates thousands of modules and no garbage; the search takes a fifth of its time.
    """
    gc.disable()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        gc.enable()


@contextlib.contextmanager
def importable(root: Path) -> Iterator[None]:
    """Make the project's modules importable; afterwards, unload the modules imported in the block."""
    modules, path = set(sys.modules), list(sys.path)
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(root) and ".venv" not in Path(file).parts:
                del sys.modules[name]


def import_callable(path: str, where: str, form: str) -> Any:
    """Import the callable of an import path, `a.b.C` or `a.b:c`.

    `where` is the key of `glue.yaml` that contains the path, `form` the hint on the form of a path.

    Raises:
        ConfigError: the path cannot be imported, or is not a callable.
    """
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # the module exists, but imports a missing module
        raise ConfigError([f"{where}: {path!r} does not import: {error}"], hint=form) from error
    except ValueError:
        raise ConfigError([f"{where}: {path!r} is not an import path"], hint=form) from None
    found = getattr(loaded, name, None)
    if not callable(found):
        known = [n for n, v in vars(loaded).items() if callable(v) and not n.startswith("_")]
        raise ConfigError([f"{where}: no {name!r} in {module} ({did_you_mean(name, known)})"])
    return found


def project_files(import_path: str | None, root: Path) -> list[str]:
    """Return the project's Python files behind an import path, transitively, relative to the project and sorted."""
    return _files_behind([import_path.replace(":", ".")] if import_path else [], root)


def code_of(paths: list[str | None], repo: str | None, root: Path) -> list[str]:
    """Return the project's files behind import paths and a Feast repository, which are dependencies of a stage.

    Both `dvc.yaml` and the check without DVC use this list; other files are not watched.
    """
    found = {file for path in paths for file in project_files(path, root)}
    for file in (root / repo).rglob("*.py") if repo else ():
        if "__pycache__" not in file.parts:
            found |= {file.relative_to(root).as_posix(), *_files_behind(_imports(file, root), root)}
    return sorted(found | ({(Path(repo) / "feature_store.yaml").as_posix()} if repo else set()))


def copy_package(import_path: str, root: Path, into: Path) -> str:
    """Copy the files behind an import path of a package; returns the import path of the copy.

    Only files of the package itself: where it is installed, `root` is site-packages, which has those of all others too.
    What the functions of its `__init__` import, which are its interface, is not behind a module of it.
    The copy's name has a hash of their text, so one process can import copies that differ, and the package itself.
    """
    package, _, module = import_path.partition(".")
    files = _files_behind([import_path], root, inside=package)
    texts = {path: (root / path).read_text(encoding="utf-8") for path in files}
    name = f"{package}_{hashlib.sha256(repr(texts).encode()).hexdigest()[:12]}"
    for path, text in texts.items():
        target = into / name / Path(path).relative_to(package)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(re.sub(rf"\b{package}\b", name, text), encoding="utf-8")
    return f"{name}.{module}"


def versions(paths: list[str | None], code: list[str], root: Path) -> dict[str, str]:
    """Return the installed versions of the packages that the stages use: glue's tools and the project's imports.

    If a package's name differs from its module's, the value is the time and size of its file. `paths` are the import
    paths that the stages run, `code` the files behind them, as from `code_of`.
    """
    found = {name: installed(name) for name in {*COMPUTES, *imported(paths, code, root) - {"sklearn"}}}
    return {name: version for name, version in sorted(found.items()) if version is not None}


def imported(paths: list[str | None], code: list[str], root: Path) -> set[str]:
    """Return the third-party top-level modules that import paths and the project's files import."""
    named = [path.replace(":", ".") for path in paths if path]
    named += [name for file in code if file.endswith(".py") for name in _imports(root / file, root)]
    own = {Path(file).parts[0].removesuffix(".py") for file in code}
    return {name.partition(".")[0] for name in named} - sys.stdlib_module_names - own - {""}


def installed(name: str) -> str | None:
    """Return the version of a package, or the time and size of its file; None if it is not installed."""
    plain = re.sub(r"[-_.]+", "-", name).lower()
    for place in filter(Path.is_dir, map(Path, sys.path)):
        if version := _in_folder(place, place.stat().st_mtime_ns).get(plain):
            return version
    try:
        found = importlib.util.find_spec(name)
        at = Path(found.origin).stat() if found is not None and found.origin else None
    except (ImportError, ValueError, OSError):
        return None
    return f"{at.st_mtime_ns}-{at.st_size}" if at is not None else None


@cache
def _in_folder(place: Path, _changed_ns: int) -> Mapping[str, str]:
    """Return the packages in a folder of `sys.path` by folder name; `importlib.metadata` would parse files."""
    found = (re.fullmatch(r"(.+)-([^-]+)\.(?:dist|egg)-info", one.name) for one in place.iterdir())
    return {re.sub(r"[-_.]+", "-", one[1]).lower(): one[2] for one in found if one}


@cache
def packages() -> Mapping[str, str]:
    """Return the installed packages: sorted canonical names, with versions; cached, because reading takes long."""
    from importlib import metadata

    from packaging.utils import canonicalize_name

    found = (one.metadata for one in metadata.distributions())  # each access parses the metadata
    plain: dict[str, str] = {canonicalize_name(one["Name"]): one["Version"] for one in found if one["Name"]}
    return dict(sorted(plain.items()))


@cache
def packages_of_modules() -> Mapping[str, list[str]]:
    """Return the installed packages by top-level module; also cached."""
    from importlib import metadata

    return metadata.packages_distributions()


def _files_behind(waiting: list[str], root: Path, inside: str = "") -> list[str]:
    found: set[Path] = set()
    interface = root / inside / "__init__.py" if inside else None
    while waiting:
        for file in _files_of(waiting.pop(), root):
            if file not in found and file.is_relative_to(root / inside):
                found.add(file)
                waiting += _imports(file, root, at_once=file == interface)
    return sorted(f.relative_to(root).as_posix() for f in found)


def _files_of(dotted: str, root: Path) -> Iterator[Path]:
    """Yield the project's files that importing `a.b.c` runs; the last part may be an attribute."""
    parts = dotted.split(".")
    for depth in range(1, len(parts) + 1):
        base = root.joinpath(*parts[:depth])
        if base.with_suffix(".py").is_file():
            yield base.with_suffix(".py")
            return
        if (base / "__init__.py").is_file():
            yield base / "__init__.py"


def _imports(file: Path, root: Path, *, at_once: bool = False) -> list[str]:
    """Return the import paths in a file; `at_once`: only unconditional imports at its top level."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return []  # the import itself reports it
    package = file.relative_to(root).parent.parts
    out = []
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            out += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            up = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*up, *([node.module] if node.module else [])))
            out += [f"{base}.{a.name}" if base else a.name for a in node.names]
    return out
