"""DVC, MLflow, Feast, Great Expectations, Evidently and FastAPI behind one config file and one pipeline runner.

In Python, as in a notebook:

    import mlops_glue as glue

    model = glue.load("champion")
    model.predict(frame)
    project = glue.project()
    project.run()

Importing the package imports nothing else; each function imports what it needs when it is called.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from mlops_glue.version import __version__

if TYPE_CHECKING:
    from mlops_glue.api.model import Model
    from mlops_glue.api.project import Project

__all__ = ["__version__", "load", "project"]


def load(version: int | str = "champion", project: str | PathLike[str] = ".", *, env: str | None = None) -> Model:
    """Load a version of a project's model, as `glue predict` uses it.

    Args:
        version: its number, or an alias.
        project: the project's folder, or one below it.
        env: an environment of `glue.yaml`; by default `GLUE_ENV`.

    Raises:
        mlops_glue.errors.GlueError: there is no such project or version, or its bundle is not what was registered.
    """
    from mlops_glue.api.project import Project

    return Project(project, env).load(version)


def project(path: str | PathLike[str] = ".", *, env: str | None = None) -> Project:
    """Open the project at or above a folder.

    Args:
        path: the folder.
        env: an environment of `glue.yaml`; by default `GLUE_ENV`.

    Raises:
        mlops_glue.errors.GlueError: there is no project, or its `glue.yaml` is not valid.
    """
    from mlops_glue.api.project import Project

    return Project(path, env)
