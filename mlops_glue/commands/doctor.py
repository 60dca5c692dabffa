"""`glue doctor`: is this installation and this project sound? Each finding comes with what to type."""

from __future__ import annotations

import importlib.metadata
import re
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import console, files, layout
from mlops_glue.adapters import dvc, git
from mlops_glue.config import Config
from mlops_glue.delivery.fetch import last_delivery
from mlops_glue.delivery.trial import brought
from mlops_glue.errors import DataError, GlueError, UsageError
from mlops_glue.pipeline import dvc_yaml
from mlops_glue.pipeline.session import at_work, last_failure
from mlops_glue.pipeline.train import unfit_kind

MATERIALIZE = "glue materialize --force"
PYTHONS = ((3, 11), (3, 13))
# in a URL, and not as ${NAME}: in front of the host, or signed in the query
PASSWORD = re.compile(
    r"://[^/@\s:]*:[^/@\s${}]+@|://\S*[?&](\w*(sig|signature|token|key|password|secret))=[^&\s${}]+", re.I
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `fix` is what to type; a problem makes the exit code 1, a note does not."""

    level: str  # ok, note, problem
    what: str
    fix: str | None = None


def doctor(*, as_json: bool = False, env: str | None = None) -> int:
    """Look at the tools, then at the project around the working folder, if any."""
    try:
        root: Path | None = layout.find_root()
    except UsageError:
        root = None
    taken = root is not None and (root / layout.FEATURE_LIST).is_file()
    found = list(_tools(("pipeline", "validation", *(["features"] if taken else []))))
    if root is None:
        found.append(Finding("note", "no project here: only the installation was looked at", "glue init"))
    if root is not None:
        found += _project(root, env)
    wrong = any(f.level == "problem" for f in found)
    if as_json:
        console.result_json({"sound": not wrong, "findings": [asdict(f) for f in found]})
    else:
        for f in found:
            console.result(f"{f.level:<8} {f.what}")
            if f.fix:
                console.result(f"         {f.fix}")
        console.result(
            "Problems found" if wrong else "No problems found", good="No problems found", bad="Problems found"
        )
    return 1 if wrong else 0


def _tools(extras: tuple[str, ...]) -> Iterator[Finding]:
    here = sys.version_info[:2]
    said = f"Python {here[0]}.{here[1]}"
    if not PYTHONS[0] <= here <= PYTHONS[1]:
        yield Finding("problem", f"{said}: tested are 3.11 to 3.13", "python3.12 -m venv .venv")
    else:
        yield Finding("ok", said)
    if not git.is_installed():
        yield Finding("note", "no git: versions will not lead back to a commit", "apt install git")
    from packaging.requirements import Requirement

    for text in importlib.metadata.requires("mlops-glue") or []:
        need = Requirement(text)
        extra = next((e for e in extras if need.marker and f'"{e}"' in str(need.marker)), None)
        if need.marker is not None and extra is None:
            continue
        install = f'pip install "mlops-glue[{extra}]"' if extra else "pip install mlops-glue"
        try:
            version = importlib.metadata.version(need.name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding("problem", f"{need.name} is not installed", install)
            continue
        if need.specifier.contains(version, prereleases=True):
            yield Finding("ok", f"{need.name} {version}")
        else:
            yield Finding("problem", f"{need.name} {version}: tested is {need.specifier}", f"{install} --upgrade")


def _project(root: Path, env: str | None) -> list[Finding]:
    try:
        dvc_yaml.check_merged(root)
        config = configs.load(root, env, needs=())
    except GlueError as error:  # what comes after needs a config that loads
        return _as_findings(error)
    found: list[Finding] = []
    for look in (_repository, _pipeline, _leftovers, _registry, _features):
        try:
            found += look(root, config)
        except GlueError as error:
            found += _as_findings(error)
    return found


def _as_findings(error: GlueError) -> list[Finding]:
    return [Finding("problem", line, error.hint) for line in error.message.splitlines()]


def _repository(root: Path, config: Config) -> Iterator[Finding]:
    yield Finding("ok", f"{layout.CONFIG} of {config.project}")
    for key in _passwords(files.read_yaml(root / layout.CONFIG)):
        said = f"{layout.CONFIG} {key}: a password stands in it, for everybody who reads the repository"
        yield Finding("problem", said, f"{key}: ${{NAME}}, and a new password, kept in the environment as NAME")
    task = config.data.labels.task if config.data is not None else None
    kind = unfit_kind(config.train.estimator or "", task) if config.train is not None else None
    if kind is not None:
        said = f"{layout.CONFIG} train.estimator: {config.train.estimator} is a {kind}, and data.labels.task is {task}"
        yield Finding("problem", said, f"task: {'regression' if kind == 'regressor' else 'binary, or multiclass'}")
    if not git.is_work_tree(root):
        yield Finding("note", "not in a git repository: versions will not lead back to a commit", "git init")


def _passwords(node: Any, key: str = "") -> Iterator[str]:
    """The keys whose URL has one."""
    if isinstance(node, dict | list):
        for name, inner in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _passwords(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(node, str) and PASSWORD.search(node):
        yield key


def _pipeline(root: Path, config: Config) -> Iterator[Finding]:
    if config.data is None:
        yield Finding("ok", "no data and no train: what is here has no pipeline")
        return
    if not dvc_yaml.is_current(config, root):
        yield Finding("note", f"dvc.yaml is older than {layout.CONFIG}", "glue run")
    changed = dvc.changed_data(root)
    for path, what in changed.items():
        yield Finding("note", f"{path}: {what} since DVC tracked it", f"dvc add {path.removesuffix('.dvc')}")
    stages = dvc.status(root)
    reasons = {name: why for name, why in stages.items() if why}
    for name, why in list(reasons.items())[:1]:
        more = f", and {len(reasons) - 1} more stages" if len(reasons) > 1 else ""
        yield Finding("note", f"{name} would run: {why[0]}{more}", "glue run")
    if not reasons and not changed:
        yield Finding("ok", f"{len(stages)} stages agree with dvc.lock and the files")


def _leftovers(root: Path, config: Config) -> Iterator[Finding]:
    if at_work(root):
        yield Finding("note", "another glue is at work in this project")
        return
    if (root / layout.RUNNING).is_file():
        yield Finding("problem", "the last glue run was killed: what it left is half done", "glue run")
    elif (failed := last_failure(root)) is not None:
        said = f"the last glue run failed{failed['where']}: {failed['problem']}"
        yield Finding("problem", said, failed.get("hint") or "glue run")
    for path in files.leftovers(root):
        yield Finding("problem", f"left over from a crash: {path.relative_to(root)}", f"rm {path}")


def _registry(root: Path, config: Config) -> Iterator[Finding]:
    local = root / layout.TRACKING_DB
    if config.tracking.uri is None:
        if not local.is_file():
            only = configs.only_does(config)
            yield Finding("note", "nothing is published yet", only[1] if only is not None else "glue run")
            return
        said = _integrity(local)
        if said != "ok":
            yield Finding("problem", f"{layout.TRACKING_DB}: {said}", f"restore {local} from a backup")
            return
    from mlops_glue.adapters.mlflow import Store

    yield from _champion(root, config, Store(root, configs.tracking_uri(config), create=False))


def _integrity(path: Path) -> str:
    try:
        with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True) as store:
            return str(store.execute("pragma integrity_check").fetchone()[0])
    except sqlite3.Error as error:
        return str(error)


def _champion(root: Path, config: Config, store: Any) -> Iterator[Finding]:
    import tempfile

    name, champion = config.model_name, store.champion(config.model_name)
    for run in store.dead_runs(config.project):
        yield Finding("problem", f"MLflow run {run} is RUNNING, and its process is dead", "glue run --force")
    told = last_delivery(root, config)
    if told is not None and told["version"] not in store.versions(name):
        yield Finding("problem", f"{name} v{told['version']} was published and is gone from the registry", "glue run")
    if champion is None and config.data is None:
        return
    if champion is None:
        again = f"glue run --env {config.environment}" if config.environment else "glue run"
        where = f" in environment {config.environment}" if config.environment else ""
        refused = told is not None and told["refused"]
        said, fix = (f": {'; '.join(refused)}", f"edit {layout.CONFIG}, then {again}") if refused else ("", again)
        there = "has no champion" if store.versions(name) else "is not published yet"
        yield Finding("note", f"{name} {there}{where}{said}", fix)
        return
    try:
        with tempfile.TemporaryDirectory() as folder:
            brought(store, root, name, champion, Path(folder))
    except DataError as error:
        is_last = told is not None and told["version"] == champion  # its bundle is here still
        yield Finding("problem", error.message, "glue run --force" if is_last else "glue rollback")
    else:
        yield Finding("ok", f"{name} v{champion} is champion, its bundle is the one that was registered")


def _features(root: Path, config: Config) -> Iterator[Finding]:
    if not config.features.use:
        return
    import tempfile

    from mlops_glue import features
    from mlops_glue.adapters.mlflow import Store
    from mlops_glue.delivery.fetch import feature_list_of

    with tempfile.TemporaryDirectory() as folder:
        repository = features.open_repository(config, root, Path(folder))
        yield Finding("ok", f"{len(repository.views(config.features.use)[0])} feature views of {config.features.repo}")
        if config.tracking.uri is None and not (root / layout.TRACKING_DB).is_file():
            return
        store = Store(root, configs.tracking_uri(config), create=False)
        champion = store.champion(config.model_name)
        taken = feature_list_of(store, config.model_name, champion) if champion is not None else None
        if taken is None:
            return
        try:
            features.check_definitions(repository, taken, features.transform_hash(config, root))
        except DataError as error:
            yield Finding("note", f"{error.message}: its online store is left as it is", "glue run")
    live = features.open_live(config, root)
    file = live.online_file
    if taken is not None and file is not None and not file.exists():
        yield Finding("problem", f"the online store {file} is not there", "glue materialize")
        return
    if file is not None and file.exists() and (said := _integrity(file)) != "ok":
        yield Finding("problem", f"{file}: {said}", f"rm {file}*; glue materialize")
        return
    live.check()
    if taken is not None and features.is_empty(config, root, taken):
        yield Finding("problem", "the online store is empty: whom it is asked about has no features", MATERIALIZE)
        return
    yield Finding("ok", "the feature registry and the online store can be read")
