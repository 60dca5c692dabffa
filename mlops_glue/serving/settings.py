"""The settings that every process of a server starts with, and the files through which the processes communicate."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mlops_glue.config import Serve
from mlops_glue.records import Servable

# Files in `Settings.state`
STARTED = "started"  # exists once a worker has been ready
DESIRED = "desired.json"  # the version that each alias names: fetched, checked and tried
PROBLEM = ".problem"  # suffix of the files in which the processes next to the workers report a problem, in one line


@dataclass(frozen=True)
class Settings:
    """Plain data that is passed between processes. It contains no secret: `options` has the names of variables."""

    first: Servable  # served until the registry names another version
    name: str  # of the registered model
    state: Path  # the folder that the processes of one server share
    alias: str | None = "champion"  # the alias to follow; None: always serve `first`
    options: Serve = field(default_factory=Serve)
    access_log: bool = True
    spool: Path | None = None  # the folder where logged predictions wait to be shipped; None: they are not logged
    parent: int | None = None  # the supervising process; the others end when it does
    command: str = "glue serve"  # starts this server
    root: Path = Path()  # the project, or the folder where a package keeps its log
    env: str | None = None  # an entry of `environments`
    examples: Path | None = None  # the folder for example requests that are too long to paste
    registry_error: str | None = None  # why the registry could not be reached at the start
