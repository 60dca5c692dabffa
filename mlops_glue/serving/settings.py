"""What every process of one server is started with, and the files through which they talk to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mlops_glue.config import Serve
from mlops_glue.records import Servable

# Files in `Settings.state`
STARTED = "started"  # a worker has been ready
DESIRED = "desired.json"  # the version under each alias: fetched, checked and tried
PROBLEM = ".problem"  # suffix of what a process beside the workers complains of: one line each


@dataclass(frozen=True)
class Settings:
    """Plain data, so that it goes from process to process. It holds no secret: `options` has names of variables."""

    first: Servable  # is served until the registry names another version
    name: str  # of the registered model
    state: Path  # the folder that the processes of one server share
    alias: str | None = "champion"  # is followed; None: `first` stays
    options: Serve = field(default_factory=Serve)
    access_log: bool = True
    spool: Path | None = None  # the folder where logged predictions wait to be shipped; None: they are not logged
    parent: int | None = None  # the process without which the others end
    command: str = "glue serve"  # starts this server
    root: Path = Path()  # the project, or the folder where a package keeps its log
    env: str | None = None  # an entry of `environments`
    examples: Path | None = None  # the folder of requests that are too long to paste
    registry_error: str | None = None  # why the registry could not be asked at the start
