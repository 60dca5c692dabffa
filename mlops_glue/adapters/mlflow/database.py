"""MLflow's SQLite file: create it atomically, update its paths after a move, and suggest a remedy if it is broken.

MLflow's own creation is neither concurrent- nor crash-safe, so glue creates the file under a temporary name and a lock.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import sqlite3
from pathlib import Path
from urllib.parse import quote, unquote

from mlops_glue import layout
from mlops_glue.adapters.mlflow.errors import IS_IT_UP, translate_errors
from mlops_glue.errors import ToolError, Unreachable, causes, first_line

LOCK_S = 300
PLACE_TAG = "glue.artifacts"  # tag of an experiment whose artifacts are in the project: their folder, as a URI
OF_RUN = "run_id in (select run_uuid from runs where experiment_id = ?)"
PLACES = (  # table, column with absolute file locations, and the condition for the rows of one experiment
    ("runs", "artifact_uri", "experiment_id = ?"),
    ("logged_models", "artifact_location", "experiment_id = ?"),
    ("model_versions", "storage_location", OF_RUN),
    ("model_versions", "source", OF_RUN),
    ("experiments", "artifact_location", "experiment_id = ?"),
    ("experiment_tags", "value", f"key = '{PLACE_TAG}' and experiment_id = ?"),
)
OUTDATED = (
    "select e.experiment_id, t.value from experiments e join experiment_tags t using (experiment_id) "
    "where t.key = ? and t.value = e.artifact_location and t.value <> ?"
)
DRIVERS = {"MySQLdb": "mysqlclient", "psycopg2": "psycopg2-binary", "psycopg": '"mlops-glue[postgres]"'}  # packages


def file_of(uri: str) -> Path | None:
    """Return the file of an SQLite URI; None for any other database and for an in-memory database."""
    found = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", uri)
    return None if found is None or found[1] == ":memory:" else Path(unquote(found[1]))


def uri_of(file: Path) -> str:
    """Return the SQLite URI of a file."""
    return f"sqlite:///{quote(file.absolute().as_posix())}"


def without_driver(uri: str) -> tuple[str, str] | None:
    """Return what SQLAlchemy lacks for a database, and a hint; None if it lacks nothing, or is not installed."""
    try:
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    except ImportError:  # then MLflow is missing too, which is reported elsewhere
        return None
    kind = uri.partition(":")[0]
    try:
        make_url(uri).get_dialect().import_dbapi()
    except NoSuchModuleError:
        return f"SQLAlchemy has no driver {kind}", f"{kind.partition('+')[0]}://…"
    except (ArgumentError, ValueError):  # its text is the URI, which may contain a password
        return "is not a database URL", "postgresql://USER@HOST:PORT/NAME"
    except ImportError as error:
        lacking = error.name or "its driver"
        return f"{lacking} is not installed", f"pip install {DRIVERS.get(lacking, lacking)}"
    return None


def alias_in(file: Path, model: str, alias: str) -> int | None:
    """Return the version under an alias, or None. Reads MLflow's table: importing MLflow would take two seconds.

    Raises:
        ToolError: the file is not a database with that table.
    """
    query = "select version from registered_model_aliases where name = ? and alias = ?"
    try:
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute(query, (model, alias)).fetchone()
    except sqlite3.Error as error:
        raise ToolError(f"{file.name}: {first_line(error)}") from error
    return None if found is None else int(found[0])


def check_answers(uri: str, timeout_s: float) -> None:
    """Connect once to a PostgreSQL or MySQL database; MLflow itself tries ten times, without a time limit.

    Raises:
        Unreachable: the database does not answer in time.
    """
    kind = uri.partition("://")[0].partition("+")[0]
    if kind not in ("postgresql", "postgres", "mysql"):
        return
    from sqlalchemy import create_engine
    from sqlalchemy.exc import OperationalError

    try:
        engine = create_engine(uri, connect_args={"connect_timeout": math.ceil(timeout_s)})
        engine.connect().close()
        engine.dispose()
    except OperationalError as error:  # also raised for a wrong password; its text contains the address
        raise Unreachable(
            f"MLflow: the database ({kind}) cannot be reached: {first_line(error)}", hint=IS_IT_UP
        ) from error
    except Exception:  # noqa: S110 - a missing driver or a wrong URI: MLflow reports it
        pass


def create(path: Path, lock: Path) -> None:
    """Create the database atomically; if another program creates it meanwhile, keep that one.

    The lock excludes other glue processes.
    """
    from filelock import FileLock

    if has_database(path):
        return
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock, timeout=LOCK_S):
        if has_database(path):
            return
        for old in path.parent.glob(f".{path.name}.*.tmp*"):
            old.unlink()
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        _create_tables(temporary)
        if path.is_file() and not has_database(path):  # an empty file
            temporary.replace(path)
        else:
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(temporary)
            temporary.unlink()


def has_database(path: Path) -> bool:
    """Check whether the file contains a database; an empty file does not."""
    return path.is_file() and path.stat().st_size > 0


def _create_tables(path: Path) -> None:
    with translate_errors():
        from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        SqlAlchemyStore(uri_of(path), DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH).engine.dispose()
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def follow_move(root: Path) -> None:
    """Point the project's database to the artifacts in this folder if the project was moved or copied.

    MLflow stores absolute locations and has no call that changes them, so this function writes to six columns of its
    tables (`PLACES`). It changes only experiments that glue created in this project and whose location nobody has
    changed. If the tables are different, it writes nothing, and MLflow looks in the old location.
    """
    here = (root / layout.TRACKING_ARTIFACTS).absolute()
    if not here.is_dir():
        return
    with (
        contextlib.suppress(sqlite3.Error),  # no database, other tables, read-only: MLflow reports it when it opens it
        contextlib.closing(sqlite3.connect(root / layout.TRACKING_DB)) as database,
        database,
    ):
        for experiment, old in database.execute(OUTDATED, (PLACE_TAG, here.as_uri())).fetchall():
            for table, column, condition in PLACES:
                where = f"substr({column} || '/', 1, ?) = ? and {condition}"
                database.execute(
                    f"update {table} set {column} = ? || substr({column}, ?) where {where}",  # noqa: S608
                    (here.as_uri(), len(old) + 1, len(old) + 1, f"{old}/", experiment),
                )


def remedy(error: BaseException, name: str) -> str:
    """Return the hint to show if MLflow cannot open the database called `name`."""
    busy = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    if any(getattr(cause, "sqlite_errorcode", None) in busy for cause in causes(error)):
        return "another program is using it: try again when that program has finished"
    return f"restore {name} from a backup, or start without its history: mv {name} {name}.broken; glue run"
