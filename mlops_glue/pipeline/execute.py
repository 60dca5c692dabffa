"""Run a stage in this process: make the project importable, set the seeds, and turn every error into one glue can show.

It reports nothing: its caller, `adapters.dvc.reproduce`, does.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import random
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from mlops_glue.config import Config, located
from mlops_glue.errors import ConfigError, GlueError, MissingExtra, StageError, brief, project_lines, system_error
from mlops_glue.modules import importable
from mlops_glue.pipeline.stages import STAGES, Stage

# the packages of the extra `pipeline` that stages import
PIPELINE_PACKAGES = {
    *("sklearn", "pandas", "numpy", "pyarrow", "matplotlib"),
    *("skl2onnx", "onnx", "onnxruntime", "skops"),
}


def in_process(config: Config, root: Path) -> dict[str, Callable[[], None]]:
    """Return for each stage's command the function that runs the stage in this process."""
    return {stage.command: partial(run_stage, stage, config, root) for stage in STAGES}


def variables(config: Config) -> dict[str, str]:
    """Return the environment variables of a stage in a separate process: the name of glue's environment."""
    return {"GLUE_ENV": config.environment} if config.environment else {}


def run_stage(stage: Stage, config: Config, root: Path) -> None:
    """Run one stage in this process.

    Raises:
        GlueError: a check failed, or the stage did.
    """
    here = Path.cwd()
    os.chdir(root)
    try:
        with isolated(root, config.train.seed):
            stage.load()(config, root)
    except ConfigError as error:
        raise located(root, error) from error
    except GlueError:
        raise
    except SystemExit as stop:  # from the user's code: glue's stages do not exit
        raise StageError(f"stage {stage.name}: sys.exit({stop.code!r}) was called{project_lines(stop, root)}") from stop
    except ImportError as error:
        raise _import_failure(stage.name, error, root) from error
    except OSError as error:
        problem = system_error(error)
        raise StageError(f"stage {stage.name}: {problem.message}", hint=problem.hint) from error
    except Exception as error:
        raise StageError(f"stage {stage.name}: {brief(error)}{project_lines(error, root)}") from error
    finally:
        os.chdir(here)


@contextlib.contextmanager
def isolated(root: Path, seed: int) -> Iterator[None]:
    """Make the project importable and set the seeds; afterwards forget the modules that came from the project."""
    with importable(root):
        set_seeds(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # train reports the estimator's warnings
            yield


def set_seeds(seed: int) -> None:
    """Set the seeds of Python and NumPy, with which every stage starts."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed)


def _import_failure(name: str, error: ImportError, root: Path) -> GlueError:
    """Return the error for a missing package of an extra, or for a failed import in the user's code."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package in PIPELINE_PACKAGES and importlib.util.find_spec(package) is None:
        return MissingExtra(package, "pipeline")
    missing = package and importlib.util.find_spec(package) is None
    hint = f"pip install {package}" if missing else None
    return StageError(f"stage {name}: {brief(error)}{project_lines(error, root)}", hint=hint)
