"""The pipeline as DVC sees it (`dvc.yaml`), and one run of it."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import os
import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import files, layout
from mlops_glue.adapters import dvc, great_expectations, matplotlib
from mlops_glue.config import Config, dumped, located, path_of, references, refuse_conflict_markers, remote_url
from mlops_glue.errors import (
    ConfigError,
    GlueError,
    MissingExtra,
    StageError,
    brief,
    first_line,
    project_lines,
    system_error,
)
from mlops_glue.modules import code_of, gc_paused, versions
from mlops_glue.pipeline import stages
from mlops_glue.processes import end_with_parent
from mlops_glue.suggest import closest
from mlops_glue.terminal import SPINNER_THREAD

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

# imported while Great Expectations is at work, after skops: that looks through all modules that are there
LATER = ("sklearn.ensemble", "skl2onnx", "onnxruntime")
SMALL = 1 << 26  # bytes of the tables; the process that read greater ones is not kept
NEEDED = {
    "sklearn",
    "pandas",
    "numpy",
    "pyarrow",
    "matplotlib",
    "skl2onnx",
    "onnx",
    "onnxruntime",
    "skops",
}  # [pipeline]
# the keys of `dvc.yaml` beside `stages`
OF_DVC = ("vars", "params", "metrics", "plots", "artifacts", "datasets")
MENDED = f"git checkout dvc.yaml, or: {dvc.REGENERATE_STAGES}"


def definition(config: Config, root: Path) -> dict[str, Any]:
    """The stages of `dvc.yaml` for this config."""
    code = code_of([config.train.estimator], None, root)
    tables = {name: path_of(config, name) for name in config.data.sources}
    validated = [path for name, path in tables.items() if path == layout.TABLE or name in config.validation]
    joins = bool(config.features.use)
    of_fresh = [layout.FRESH] if config.split.fresh_after else []
    learned = [layout.LEARNED] if config.split.fresh_after else []

    def stage(name: str, deps: list[str], outs: list[Any], **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = {"cmd": stages.command(name), "deps": deps}
        # DVC refuses a parameter that is not in the file; of one that no longer is, see `dvc.dropped`
        given = [key for key in stages.reads(name, config) if _given(config, key)]
        if given:
            made["params"] = [{layout.CONFIG: given}]
        return {**made, "outs": outs, **more}

    return {
        "ingest": stage("ingest", [s.path for s in config.data.sources.values()], list(tables.values())),
        "validate": stage("validate", validated, [layout.VALIDATION]),
        "featurize": stage(
            "featurize",
            [*(tables.values() if joins else [layout.TABLE]), layout.VALIDATION, *feature_code(config, root)],
            [layout.FEATURES, layout.COLUMNS, *_joined(config)],
        ),
        "split": stage("split", [layout.COLUMNS, layout.FEATURES], [layout.TRAIN, layout.TEST, *of_fresh]),
        "train": stage("train", [layout.COLUMNS, layout.TRAIN, *code], [layout.MODEL, *learned]),
        "evaluate": stage(
            "evaluate",
            [layout.COLUMNS, layout.MODEL, config.rows, layout.TEST, layout.TRAIN, *of_fresh, *learned],
            [layout.EVALUATION],
            metrics=[layout.METRICS],
            plots=[layout.PLOTS],
        ),
        "package": stage(
            "package",
            [
                *([layout.FEATURE_LIST] if joins else []),
                *(layout.COLUMNS, layout.EVALUATION, layout.MODEL, config.rows, layout.TEST, layout.TRAIN, *learned),
            ],
            [layout.BUNDLE],
        ),
    }


def _joined(config: Config) -> list[str]:
    """What featurize makes of Feast's features."""
    if not config.features.use:
        return []
    made = [layout.FEATURE_TABLES] if config.features.transform else []
    return [layout.JOINED, layout.FEATURE_LIST, *made]


def feature_code(config: Config, root: Path) -> list[str]:
    """The files that say what the features are: the transform's modules, and the Feast repository's definitions."""
    return code_of([config.features.transform], config.features.repo, root) if config.features.use else []


def packages(config: Config, root: Path) -> dict[str, str]:
    """The installed versions of what the stages compute with."""
    joins = bool(config.features.use)
    paths = [config.train.estimator, config.features.transform if joins else None]
    return versions(paths, code_of(paths, config.features.repo if joins else None, root), root)


def _given(config: Config, key: str) -> bool:
    """Does `glue.yaml` have this dotted key?"""
    node: Any = config
    for part in key.split("."):
        if isinstance(node, dict):
            node = node.get(part)
        elif part in node.model_fields_set:
            node = getattr(node, part)
        else:
            return False
    return node is not None


def check_merged(root: Path) -> None:
    """No file that tells what to do holds both sides of a git merge.

    Raises:
        ConfigError: one does.
    """
    for name in (layout.CONFIG, "dvc.yaml", "dvc.lock"):
        if (root / name).is_file():
            refuse_conflict_markers(name, (root / name).read_text(encoding="utf-8", errors="replace"))


def write_definition(config: Config, root: Path) -> None:
    """Bring glue's own stages in `dvc.yaml` up to date; the user's stages and comments stay."""
    after = stale_definition(config, root)
    if after is not None:
        files.write_text(root / "dvc.yaml", after)


def name_remote(config: Config, root: Path) -> None:
    """Let DVC's own config name the remote that `glue.yaml` does, outside its environments.

    A URL out of variables may be secret, and another in each clone: it is kept where git does not see it.
    """
    names = references(config.data.remote)
    if config.data.remote and all(os.environ.get(name) for name in names):
        dvc.name_remote(root, remote_url(config) or "", here_alone=bool(names))


def is_defined(config: Config, root: Path, before: str | None = None) -> bool:
    """Is `dvc.yaml` what `write_definition` would make of it, or of a text that it had before?"""
    text = _text(root)
    return _forms(config, root, text)[0] == _forms(config, root, before or text)[1]


def stale_definition(config: Config, root: Path) -> str | None:
    """The text that `dvc.yaml` should have; None where it has it."""
    before, after = _forms(config, root, _text(root))
    return None if before == after else after


def _text(root: Path) -> bytes | None:
    path = root / "dvc.yaml"
    return path.read_bytes() if path.is_file() else None


def _forms(config: Config, root: Path, text: bytes | str | None) -> tuple[str | None, str]:
    """A text of `dvc.yaml` as it is (None: not there), and as it should be, in equal form."""
    yaml, tree = _tree(text)
    before = None if text is None else dumped(yaml, tree)
    if tree.get("stages") is None:
        tree["stages"] = {}
    tree["stages"].update(definition(config, root))
    return before, dumped(yaml, tree)


def check_names(root: Path) -> None:
    """No stage of the user's in `dvc.yaml` has the name of one of glue's.

    Raises:
        ConfigError: one has, or the file cannot be read.
    """
    _tree(_text(root))


def _tree(text: bytes | str | None) -> tuple[Any, Any]:
    """What reads and writes `dvc.yaml`, and what a text of it holds; its stages of glue's names are glue's."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML(typ="rt")
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        text = text.decode() if isinstance(text, bytes) else text
        tree = (yaml.load(text) if text is not None else None) or {"stages": {}}
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"dvc.yaml: is not YAML: {first_line(error)}"], hint=MENDED) from error
    if not isinstance(tree, dict):
        raise ConfigError(["dvc.yaml: is not a mapping"], hint=MENDED)
    misspelt = None if "stages" in tree else closest("stages", [key for key in map(str, tree) if key not in OF_DVC])
    if misspelt is not None:
        line = tree.lc.key(misspelt)[0] + 1  # type: ignore[attr-defined]
        raise ConfigError([f"dvc.yaml:{line} {misspelt}: unknown key (did you mean 'stages'?)"])
    here = tree.get("stages") or {}
    wrong = ["stages"] if not isinstance(here, dict) else [f"stages.{n}" for n, one in here.items() if type(one) is str]
    if wrong:
        raise ConfigError([f"dvc.yaml {wrong[0]}: should be a section, with keys of its own"], hint=MENDED)
    for name in (name for name in stages.STAGES if here.get(name) is not None):
        if not str(here[name].get("cmd", "")).startswith("glue stage"):
            hint = "rename your stage, or keep glue's in a folder of its own: glue adopt"
            raise ConfigError([f"dvc.yaml stages.{name}: the name is glue's own"], hint=hint)
    return yaml, tree


@contextlib.contextmanager
def isolated(root: Path, seed: int) -> Iterator[None]:
    """Around a stage in process: the project importable, its modules forgotten after, seeds set."""
    import numpy as np

    known, path = set(sys.modules), list(sys.path)
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    random.seed(seed)
    np.random.seed(seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # train tells those of the estimator
            yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(root) and ".venv" not in Path(file).parts:
                del sys.modules[name]


@contextlib.contextmanager
def in_process(config: Config, root: Path) -> Iterator[dict[str, Callable[[], None]]]:
    """By command: what runs a stage in this process, but `validate` in one beside it, which starts to import at once.

    Great Expectations takes as long to import as everything else together, and needs nothing of it. Only where forking
    is safe and a second core is there to gain by.
    """
    beside = _Beside()
    if config.validation and not (root / "dvc.lock").exists():  # nothing was run yet: it will be
        beside.start()

    def run(name: str) -> None:
        if config.validation and name in ("ingest", "validate"):  # of new tables, what is expected is looked at again
            beside.start()
        if name == "validate" and beside.pool is not None:
            beside.run(name, config, root)
        else:
            run_stage(name, config, root)

    try:
        yield {stages.command(name): partial(run, name) for name in stages.STAGES}
    finally:
        matplotlib.beside = None
        beside.stop()


class _Beside:
    """A forked process that imports Great Expectations, runs a stage, and then draws while this one computes."""

    pool: ProcessPoolExecutor | None = None

    def start(self) -> None:
        """Fork, where that is safe: this process has no threads of its own yet."""
        others = {thread.name for thread in threading.enumerate()} - {
            "MainThread",
            "tqdm_monitor",
            SPINNER_THREAD,
        }  # DVC's bars
        if self.pool is not None or sys.platform != "linux" or others or len(os.sched_getaffinity(0)) < 2:
            return
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        # both need them; SciPy first, as skops looks for its functions in all modules in the order of their import
        for shared in ("scipy.special", "pandas", "pyarrow.parquet"):
            _import(shared)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Arrow has threads, and takes care of a fork itself
            self.pool = ProcessPoolExecutor(1, get_context("fork"), end_with_parent, (os.getpid(),))
            self.pool.submit(great_expectations.imported)

    def run(self, name: str, config: Config, root: Path) -> None:
        """The stage there, while this process imports what comes after it."""
        from concurrent.futures.process import BrokenProcessPool

        assert self.pool is not None
        try:
            done = self.pool.submit(run_stage, name, config, root)
            with gc_paused():
                _import("skops.io")
                for later in LATER:
                    if done.done():
                        break
                    _import(later)
            done.result()
            tables = [root / path_of(config, table) for table in config.data.sources]
            if sum(table.stat().st_size for table in tables if table.is_file()) < SMALL:
                self.pool.submit(matplotlib.ready)
                matplotlib.beside = self.begin
        except BrokenProcessPool:
            raise StageError(f"stage {name}: its process was killed", hint="was there enough memory?") from None
        finally:
            if matplotlib.beside is None:
                self.stop()

    def begin(self, do: Callable[..., Any], given: Any) -> Callable[[], Any]:
        """Begin to do it there; what is returned gives the result."""
        from concurrent.futures.process import BrokenProcessPool

        assert self.pool is not None
        try:
            begun = self.pool.submit(do, given)
        except BrokenProcessPool:  # it was killed
            return partial(do, given)

        def result() -> Any:
            try:
                return begun.result()
            except BrokenProcessPool:
                return do(given)

        return result

    def stop(self) -> None:
        """End the process, whatever it does."""
        from multiprocessing import active_children

        if self.pool is not None:
            for child in active_children():
                child.kill()
            self.pool.shutdown()
            self.pool = None


def _import(name: str) -> None:
    """Where it is missing, the stage that needs it tells."""
    with contextlib.suppress(ImportError), contextlib.redirect_stdout(StringIO()):  # some print at import
        importlib.import_module(name)


def run_stage(name: str, config: Config, root: Path) -> None:
    """One stage in this process.

    Raises:
        GlueError: the check said no, or the stage could not do its work.
    """
    here = Path.cwd()
    os.chdir(root)
    try:
        with isolated(root, config.train.seed):
            stages.load(name)(config, root)
    except ConfigError as error:
        raise located(root, error) from error
    except GlueError:
        raise
    except SystemExit as stop:  # of code of the user's: no stage of glue's exits
        raise StageError(f"stage {name}: sys.exit({stop.code!r}) was called{project_lines(stop, root)}") from stop
    except ImportError as error:
        raise _not_imported(name, error, root) from error
    except OSError as error:
        told = system_error(error)
        raise StageError(f"stage {name}: {told.message}", hint=told.hint) from error
    except Exception as error:
        raise StageError(f"stage {name}: {brief(error)}{project_lines(error, root)}") from error
    finally:
        os.chdir(here)


def _not_imported(name: str, error: ImportError, root: Path) -> GlueError:
    """A package of glue's own that is not installed, or what is wrong with an import of the user's code."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if not package or importlib.util.find_spec(package) is not None:
        return StageError(f"stage {name}: {brief(error)}{project_lines(error, root)}")
    if package in NEEDED:
        return MissingExtra(package, "pipeline")
    return StageError(f"stage {name}: {brief(error)}{project_lines(error, root)}", hint=f"pip install {package}")


def fingerprint(root: Path) -> str:
    """SHA-256 over the `dvc.lock` entries of glue's stages: what was computed, from what, with which parameters."""
    import json

    lock = dvc.locked(root)
    entries = {name: lock[name] for name in stages.STAGES}
    return hashlib.sha256(json.dumps(entries, sort_keys=True, default=str).encode()).hexdigest()
