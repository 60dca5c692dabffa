"""The provenance of a version: its data, code, environment and user, recorded with its run when it is created."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from packaging.utils import canonicalize_name

from mlops_glue import files, layout, tables
from mlops_glue.adapters import git
from mlops_glue.adapters.git import code as git_code
from mlops_glue.config import Config, Source, path_of
from mlops_glue.dates import timestamps_utc
from mlops_glue.delivery.audit import actor
from mlops_glue.delivery.commit import inputs
from mlops_glue.errors import GlueError
from mlops_glue.modules import packages, packages_of_modules
from mlops_glue.pipeline import fingerprint, queries
from mlops_glue.pipeline.fingerprint import hashes
from mlops_glue.processes import command_line
from mlops_glue.streaming import size
from mlops_glue.version import __version__

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store

FOLDER = "provenance"  # in the run's artifacts
FILE, PATCH = "provenance.json", "code.patch"
TREE, MAKER = "glue.tree", "glue.made_by"  # tags of the version
FORMAT = 1
# files to record in addition to the inputs of the stages. Not DVC's own settings: a rebuild uses the current remote,
# and they may contain a key
SETTINGS = ("dvc.lock", ".dvcignore", "requirements.in", "pyproject.toml")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_CORETYPE", "PYTHONHASHSEED")


@dataclass(frozen=True)
class Data:
    """A raw table.

    Attributes:
        name: the name of the source in `glue.yaml`.
        path: relative to the project.
        md5: the hash in DVC.
        sha256: the SHA-256 of the same file.
        bytes: the size.
        rows: the number of rows.
        columns: the Arrow type of each column.
        first: the earliest time in it, in ISO 8601, UTC; None without a time column.
        last: the latest time.
        query: its query: `query`, `url` without secrets, `read` (time, UTC), `rows` and `md5`; None if it has none.
    """

    name: str
    path: str
    md5: str
    sha256: str
    bytes: int
    rows: int
    columns: dict[str, str]
    first: str | None
    last: str | None
    query: dict[str, Any] | None = None


@dataclass(frozen=True)
class Provenance:
    """The provenance of a version.

    Attributes:
        format: the format of this record.
        time: when it was recorded, in ISO 8601, UTC.
        command: the command as typed, or the program that called the Python API.
        actor: the user and the machine.
        code: the commit, the tree of the code that ran, the files that differ from the commit, and files too big to
            store.
        environment: Python, platform, packages and those used for computing, the lock file's hash, threads and kernels
            of the libraries.
        seed: the seed of the pipeline.
        data: the raw tables.
        remote: DVC's remote, without credentials.
        refit: the largest difference of a prediction between two fits on the same rows; None if there is none.
    """

    format: int
    time: str
    command: str
    actor: dict[str, str]
    code: dict[str, Any]
    environment: dict[str, Any]
    seed: int
    data: list[Data]
    remote: str | None
    refit: float | None = None


def collect(config: Config, root: Path, *, dirty: bool, remote: str | None) -> tuple[Provenance, bytes]:
    """Record a new result, and return the record with the patch from its commit to the code that ran.

    Args:
        config: the config.
        root: the project folder, whose stages have run.
        dirty: whether there are uncommitted changes, except for files that glue writes.
        remote: DVC's remote.

    Raises:
        ToolError: git fails. If it is not installed, the code is not recorded.
    """
    code = git_code.snapshot(root, code_paths(config, root)) if git.is_installed() else git_code.UNKNOWN
    known = {
        "commit": code.commit,
        "tree": code.tree,
        "dirty": dirty,
        "changed": code.changed,
        "left_out": code.left_out,
        "prefix": code.prefix,
    }
    md5 = hashes(root)
    return Provenance(
        format=FORMAT,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command_line(),
        actor=actor(root),
        code=known,
        environment=environment(config, root),
        seed=config.train.seed,
        data=[
            _data(name, source, root, path_of(config, name), md5.get(os.path.normpath(source.path), ""))
            for name, source in config.data.sources.items()
        ],
        remote=remote,
        refit=files.read_json(root / layout.REFIT)["difference"],
    ), code.patch


def write(record: Provenance, patch: bytes, folder: Path) -> list[Path]:
    """Write the record's files to a folder, and return their paths."""
    files.write_json(folder / FILE, asdict(record))
    (folder / PATCH).write_bytes(patch)
    return [folder / FILE, folder / PATCH]


def read(folder: Path) -> tuple[Provenance, bytes]:
    """Read the files that `write` wrote.

    Raises:
        DamagedError: the record is not JSON.
    """
    found = files.read_json(folder / FILE)
    data = [Data(**table) for table in found.pop("data")]
    return Provenance(**found, data=data), (folder / PATCH).read_bytes()


def of_version(store: Store, model: str, version: int, into: Path) -> tuple[Provenance, bytes] | None:
    """Fetch and read a version's record, using a folder of the caller; None if it has no record."""
    try:
        return read(store.download_artifact(model, version, FOLDER, into))
    except (GlueError, OSError):
        return None


def code_paths(config: Config, root: Path) -> list[str]:
    """Return the files that determine a result, without data in DVC, relative to the project."""
    decide = {path for path in inputs(root) if not (root / f"{path}.dvc").is_file()}
    return sorted({*SETTINGS, config.ci.requirements, *decide})


def environment(config: Config, root: Path) -> dict[str, Any]:
    """Return the environment that the result was computed in."""
    from threadpoolctl import threadpool_info

    lock = root / config.ci.requirements
    keys = ("user_api", "internal_api", "version", "architecture", "num_threads")
    return {
        "glue": __version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "packages": dict(packages()),
        "computes": sorted(
            {
                canonicalize_name(package)
                for name in fingerprint.packages(config, root)  # the name of a module or of its package
                for package in packages_of_modules().get(name, [name])
            }
        ),
        "lock": {"path": config.ci.requirements, "sha256": files.sha256(lock)} if lock.is_file() else None,
        "libraries": sorted(({key: found.get(key) for key in keys} for found in threadpool_info()), key=str),
        "variables": {name: os.environ[name] for name in THREADS if name in os.environ},
    }


def _data(name: str, source: Source, root: Path, ingested: str, md5: str) -> Data:
    raw, table = root / source.path, root / ingested
    rows, columns = tables.parquet_shape(table)
    first, last = _span(table, source) if source.timestamps else (None, None)
    return Data(
        name,
        source.path,
        md5,
        files.digest(raw) if raw.is_dir() else files.sha256(raw),
        size(raw),
        rows,
        columns,
        first,
        last,
        queries.recorded(root, source.path, md5),
    )


def _span(table: Path, source: Source) -> tuple[str | None, str | None]:
    when = timestamps_utc(tables.read_parquet(table, source.timestamps).drop_null(), source.timestamps)
    if not len(when):
        return None, None
    first, last = (f"{np.datetime_as_string(end, unit='s')}Z" for end in (when.min(), when.max()))
    return first, last
