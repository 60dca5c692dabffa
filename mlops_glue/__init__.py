"""DVC, MLflow, Feast, Great Expectations, Evidently and FastAPI behind one config file and one pipeline runner.

In Python, for example in a notebook:

    import mlops_glue as glue

    model = glue.load("champion")
    model.predict(frame)
    project = glue.project()
    project.run()

Importing the package imports nothing else; each function imports its dependencies when it is called.
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
    """Load a version of a project's model, as `glue predict` does.

    Args:
        version: a version number or an alias.
        project: the project's folder, or a folder inside it.
        env: an environment of `glue.yaml`; by default `GLUE_ENV`.

    Raises:
        mlops_glue.errors.GlueError: the project or version does not exist, or the bundle differs from the registered
            bundle.
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
