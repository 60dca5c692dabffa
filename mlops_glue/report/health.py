"""Checks of the installation and the project for `glue doctor`. Each problem comes with a fix to type."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue import files, layout
from mlops_glue.adapters import dvc, git
from mlops_glue.config import Config
from mlops_glue.delivery.fetch import feature_list_of, read_only
from mlops_glue.delivery.record import last_delivery
from mlops_glue.delivery.trial import brought
from mlops_glue.errors import DataError, GlueError
from mlops_glue.pipeline import dvc_yaml
from mlops_glue.pipeline.class_kind import unfit_kind
from mlops_glue.pipeline.fingerprint import fingerprint
from mlops_glue.pipeline.session import at_work, last_failure
from mlops_glue.pipeline.stages import NAMES
from mlops_glue.report import facts
from mlops_glue.report.finding import Finding, in_environment
from mlops_glue.report.places import of_places
from mlops_glue.waiting import within

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store

PART_S = 120.0  # time limit of a local check, which imports tools and reads the complete project
MATERIALIZE = "glue materialize --force"
# a password in a URL, not as ${NAME}: before the host, or a signature in the query
PASSWORD = re.compile(
    r"://[^/@\s:]*:[^/@\s${}]+@|://\S*[?&](\w*(sig|signature|token|key|password|secret))=[^&\s${}]+", re.I
)


def of_installation(extras: tuple[str, ...]) -> Iterator[Finding]:
    """Check Python, git and the packages that the extras need."""
    yield Finding("ok", f"Python {platform.python_version()}")
    if not git.is_installed():
        yield Finding("note", "git is not installed: versions will not record a commit", "apt install git")
    yield from _packages(extras)


def _packages(extras: tuple[str, ...]) -> Iterator[Finding]:
    from packaging.requirements import Requirement

    for text in importlib.metadata.requires("mlops-glue") or []:
        need = Requirement(text)
        extra = next((e for e in extras if need.marker and f'"{e}"' in str(need.marker)), None)
        if need.marker is not None and extra is None:
            continue
        install = f'pip install "mlops-glue[{extra}]"' if extra else "pip install mlops-glue"
        try:
            installed = importlib.metadata.version(need.name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding("problem", f"{need.name} is not installed", install)
            continue
        if need.specifier.contains(installed, prereleases=True):
            yield Finding("ok", f"{need.name} {installed}")
        else:
            yield Finding("problem", f"{need.name} {installed}: tested with {need.specifier}", f"{install} --upgrade")


def of_project(root: Path, env: str | None) -> list[Finding]:
    """Check the config, the repository, the pipeline, the registry and the features."""
    try:
        dvc_yaml.check_readable(root)
        config = configs.load(root, env, needs=())
    except GlueError as error:  # the other checks need a config that loads
        return _as_findings(error)
    found: list[Finding] = []
    away: set[str] = set()  # sections whose servers do not answer: their other checks would only time out too
    for part, needs in PARTS.items():
        try:
            if part is of_places:
                places, away = of_places(root, config)
                found += places
            elif not away & needs:
                found += within(PART_S, part.__name__.strip("_"), partial(_list, part, root, config))
        except GlueError as error:
            found += _as_findings(error)
    return found


def _list(part: Part, root: Path, config: Config) -> list[Finding]:
    return list(part(root, config))


def _as_findings(error: GlueError) -> list[Finding]:
    return [Finding("problem", line, error.hint) for line in error.message.splitlines()]


def _repository(root: Path, config: Config) -> Iterator[Finding]:
    yield Finding("ok", f"{layout.CONFIG} of {config.project}")
    for key in _passwords(files.read_yaml(root / layout.CONFIG)):
        problem = f"{layout.CONFIG} {key}: contains a password, visible to everyone who can read the repository"
        yield Finding("problem", problem, f"change the password, export it as NAME, and set {key}: ${{NAME}}")
    task = config.data.labels.task if config.data is not None else None
    kind = unfit_kind(config.train.estimator or "", task) if config.train is not None else None
    if kind is not None:
        problem = (
            f"{layout.CONFIG} train.estimator: {config.train.estimator} is a {kind}, but data.labels.task is {task}"
        )
        yield Finding("problem", problem, f"task: {'regression' if kind == 'regressor' else 'binary, or multiclass'}")
    if config.train is not None and config.train.onnx is not None:
        yield Finding("ok", f"{config.train.onnx} supplies the ONNX model")
    if not git.is_work_tree(root):
        yield Finding("note", "not in a git repository: versions will not record a commit", "git init")


def _passwords(node: Any, key: str = "") -> Iterator[str]:
    """Yield the keys whose URL contains a password."""
    if isinstance(node, dict | list):
        for name, inner in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _passwords(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(node, str) and PASSWORD.search(node):
        yield key


def _pipeline(root: Path, config: Config) -> Iterator[Finding]:
    if config.data is None:
        yield Finding("ok", "no pipeline: glue.yaml has no data and no train section")
        return
    again = in_environment("glue run", config)
    if not dvc_yaml.is_current(config, root):
        yield Finding("note", f"dvc.yaml is older than {layout.CONFIG}", again)
    changed = dvc.changed_data(root)
    for path, what in changed.items():
        yield Finding("note", f"{path}: {what} since DVC tracked it", f"dvc add {path.removesuffix('.dvc')}")
    stages = dvc.status(root)
    reasons = {name: why for name, why in stages.items() if why}
    for name, why in list(reasons.items())[:1]:
        more = f", and {len(reasons) - 1} more stages" if len(reasons) > 1 else ""
        yield Finding("note", f"{name} would run: {why[0]}{more}", again)
    if not reasons and not changed:
        yield Finding("ok", f"all {len(stages)} stages are up to date")


def of_last_run(root: Path, config: Config) -> Iterator[Finding]:
    """Check whether the last run failed or was killed, and find the files it left behind."""
    if at_work(root):
        yield Finding("note", "another glue command is running in this project")
        return
    if (root / layout.RUNNING).is_file():
        yield Finding("problem", "the last glue run was killed: its results are incomplete", "glue run")
    elif (failed := last_failure(root)) is not None:
        problem = f"the last glue run failed{failed['where']}: {failed['problem']}"
        yield Finding("problem", problem, failed.get("hint") or "glue run")
    for path in files.leftovers(root):
        yield Finding("problem", f"left over from a crash: {path.relative_to(root)}", f"rm {path}")


def _registry(root: Path, config: Config) -> Iterator[Finding]:
    local = root / layout.TRACKING_DB
    if config.tracking.uri is None and local.is_file() and (problem := facts.database_problem(local, thorough=True)):
        yield Finding("problem", f"{layout.TRACKING_DB} {problem}", f"restore {local} from a backup")
        return
    store = read_only(root, config)
    if store is None:
        only = configs.only_does(config)
        yield Finding("note", "nothing is published yet", only[1] if only is not None else "glue run")
        return
    yield from of_champion(root, config, store)


def of_champion(root: Path, config: Config, store: Store) -> Iterator[Finding]:
    """Check whether there is a champion, and whether its bundle is unchanged since registration."""
    name, champion = config.model_name, store.champion(config.model_name)
    for run in store.dead_runs(config.project):
        yield Finding("problem", f"MLflow run {run} is RUNNING, but its process no longer exists", "glue run --force")
    delivered = last_delivery(root, config)
    if delivered is not None and delivered["version"] not in store.versions(name):
        gone = f"{name} v{delivered['version']} was published but is no longer in the registry"
        yield Finding("problem", gone, in_environment("glue run", config))
    has_result = config.data is not None and set(NAMES) <= dvc.locked(root).keys()
    if has_result and champion is not None and store.find_version(name, fingerprint(root)) is None:
        where = f" in environment {config.environment}" if config.environment else ""
        yield Finding("note", f"the current result is not published{where}", in_environment("glue run", config))
    if champion is None:
        if config.data is not None:
            has_versions = bool(store.versions(name))
            yield _no_champion(config, has_versions, delivered["refused"] if delivered is not None else [])
        return
    try:
        with tempfile.TemporaryDirectory() as folder:
            brought(store, root, name, champion, Path(folder))
    except DataError as error:
        is_last = delivered is not None and delivered["version"] == champion  # its bundle is still in artifacts/
        yield Finding("problem", error.message, "glue run --force" if is_last else "glue rollback")
    else:
        yield Finding("ok", f"{name} v{champion} is champion, and its bundle is intact")


def _no_champion(config: Config, has_versions: bool, refused: list[str]) -> Finding:
    again = in_environment("glue run", config)
    where = f" in environment {config.environment}" if config.environment else ""
    what = f"{config.model_name} {'has no champion' if has_versions else 'is not published yet'}{where}"
    if refused:
        return Finding("note", f"{what}: {'; '.join(refused)}", f"edit {layout.CONFIG}, then {again}")
    return Finding("note", what, again)


def of_features(root: Path, config: Config) -> Iterator[Finding]:
    """Check whether the feature registry and the online store are readable and have the champion's features."""
    if not config.features.use:
        return
    from mlops_glue import feature_stores, features

    with tempfile.TemporaryDirectory() as folder:
        repository = feature_stores.open_repository(config, root, Path(folder))
        yield Finding("ok", f"{len(repository.views(config.features.use)[0])} feature views in {config.features.repo}")
        store = read_only(root, config)
        champion = store.champion(config.model_name) if store is not None else None
        taken = (
            feature_list_of(store, config.model_name, champion) if store is not None and champion is not None else None
        )
        if taken is None:
            return
        try:
            features.check_definitions(repository, taken, features.transform_hash(config, root))
        except DataError as error:
            yield Finding("note", f"{error.message}: its online store is not updated", "glue run")
    live = feature_stores.open_live(config, root)
    file = live.online_file
    if taken is not None and file is not None and not file.exists():
        yield Finding("problem", f"the online store {file} does not exist", in_environment("glue materialize", config))
        return
    if file is not None and file.exists() and (problem := facts.database_problem(file, thorough=True)) is not None:
        yield Finding("problem", f"{file} {problem}", f"rm {file}*; glue materialize")
        return
    live.check()
    if taken is not None and feature_stores.is_empty(config, root, taken):
        yield Finding(
            "problem", "the online store is empty: no entity has features", in_environment(MATERIALIZE, config)
        )
        return
    yield Finding("ok", "the feature registry and the online store are readable")
    if taken is not None:
        from mlops_glue.delivery.materialize import empty_views

        for view in empty_views(root, live, taken):
            what = f"{view}: some entities have no values in the online store, or only values older than the TTL"
            yield Finding("note", what, in_environment(MATERIALIZE, config))


Part = Callable[[Path, Config], Any]  # returns findings
PARTS: dict[Part, set[str]] = {  # each with the sections whose servers it contacts
    _repository: set(),
    _pipeline: set(),
    of_last_run: set(),
    of_places: set(),
    _registry: {"tracking"},
    of_features: {"tracking", "features"},
}
