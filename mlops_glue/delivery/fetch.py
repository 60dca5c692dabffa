"""Fetching a version's bundle from the registry, checked, into a folder that no other process writes to."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import config as configs
from mlops_glue import files, layout
from mlops_glue.delivery import history, record
from mlops_glue.delivery.trial import brought
from mlops_glue.errors import ConfigError, UsageError
from mlops_glue.pipeline import up_to_date
from mlops_glue.records import FeatureList, Servable
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store

NOWHERE = (
    "glue run; in a clone, set tracking.uri in glue.yaml to the registry that has the versions; "
    "after a rename, set registry.model to the former name"
)
KEPT = 3  # bundles of former versions to keep
KEPT_S = 3600.0  # keep newer ones too: a server that uses a bundle updates its time


def usable_uri(config: configs.Config, *, registry: bool = True) -> str | None:
    """`tracking.uri`, as MLflow takes it; None is the project's own database. Nobody may keep or print it.

    Raises:
        ConfigError: a variable in it is not set, or this MLflow cannot keep runs there, or (`registry`) models.
    """
    from mlops_glue.adapters.mlflow.uri import unusable

    uri = configs.tracking_uri(config)
    if uri is not None and (found := unusable(uri, registry=registry)) is not None:
        raise ConfigError([f"{layout.CONFIG} tracking.uri: {found[0]}"], hint=found[1])
    return uri


def opened(root: Path, config: configs.Config, *, create: bool = True, registry: bool = True) -> Store:
    """Open the registry. A local registry is created if it does not exist, unless `create` is False.

    Without `registry` it is opened only for logging runs.
    """
    uri = usable_uri(config, registry=registry)
    from mlops_glue.adapters.mlflow import Store
    from mlops_glue.delivery import audit

    store = Store(root, uri, create=create, timeout_s=config.tracking.timeout_s)
    store.trust = config.package.trust
    store.record_move = audit.recorder(root, config.audit.remote, config.ci.environment)
    store.recorded = audit.last_champion(root, config.audit.remote)
    if config.serve.verify is not None:
        from mlops_glue.delivery import signature

        store.check_bundle = signature.checker(root / config.serve.verify)
    return store


def read_only(root: Path, config: configs.Config) -> Store | None:
    """Open the registry for reading; None if there is none yet."""
    if config.tracking.uri is None and not (root / layout.TRACKING_DB).is_file():
        return None
    return opened(root, config, create=False)


def as_run_left_it(root: Path, config: configs.Config, version: int | None) -> tuple[int, Path] | None:
    """Return the champion if it is the last run's result and nothing has changed since, without importing a tool."""
    if config.serve.verify is not None or up_to_date.load(root, config.environment) is None:
        return None  # the signature is in the registry
    last = record.read(root)
    is_champion = last["model"] == config.model_name and last["champion"] == last["version"]
    return (last["version"], root / layout.BUNDLE) if is_champion and version in (None, last["version"]) else None


def as_left_or_registered(root: Path, config: configs.Config, version: int | None, folder: Path) -> tuple[int, Path]:
    """Return the champion, or the requested version, with its bundle: the last run's, or else fetched into `folder`.

    Raises:
        GlueError: there is no such version, or its bundle has changed since registration.
    """
    left = as_run_left_it(root, config, version)
    return left or of_registry(read_only(root, config), root, config, version, folder)


def of_registry(
    store: Store | None, root: Path, config: configs.Config, version: int | None, folder: Path
) -> tuple[int, Path]:
    """Return the champion, or the requested version, with its bundle fetched into the caller's folder."""
    store, chosen = chosen_version(store, root, config, version)
    return chosen, brought(store, root, config.model_name, chosen, folder)


def chosen_version(
    store: Store | None, root: Path, config: configs.Config, version: int | None, like: str = "--version"
) -> tuple[Store, int]:
    """Return the registry, and the champion or the requested version.

    Args:
        store: the registry; None: there is none.
        root: the project's folder.
        config: the config.
        version: the requested version; None: the champion.
        like: the option or command that takes a version, for the hint.

    Raises:
        UsageError: there is no such version.
    """
    chosen = version if version is not None or store is None else store.champion(config.model_name)
    if store is None or chosen is None:
        last, there = record.last_delivery(root, config), store.versions(config.model_name) if store is not None else []
        refused = last["refused"] if last and last["version"] in there else []
        why = f": v{last['version']} was refused: {refused[0]}" if last and refused else ""
        if version is not None:
            must_exist(config.model_name, version, there)
        hint = f"{like} {there[-1]}, or glue promote {there[-1]}; {_listed(there)}" if there else NOWHERE
        if store is not None and there and (lost := history.lost_champion(store, config.model_name)) is not None:
            left = set(there) & {*history.champions(store, config.model_name)}
            why, hint = f": {lost}", f"glue rollback; {hint}" if left else hint
        raise UsageError(f"{config.model_name} has no champion{why}", hint=hint)
    if version is not None:
        must_exist(config.model_name, version, store.versions(config.model_name))
    return store, chosen


def must_exist(model: str, version: int, there: list[int]) -> None:
    """Check that a version exists.

    Raises:
        UsageError: it does not.
    """
    if version not in there:
        hint = _listed(there) if there else NOWHERE
        raise UsageError(f"version {version}: {model} has no such version", hint=hint)


def _listed(versions: list[int]) -> str:
    return did_you_mean("", list(map(str, versions)))


def fetch(store: Store, root: Path, config: configs.Config, version: int, scratch: Path) -> Servable:
    """Fetch a version for serving, and check that its feature definitions have not changed. `scratch` is empty.

    Raises:
        GlueError: the registry does not have the version, its bundle has changed, or feature definitions have changed.
    """
    from mlops_glue.adapters.mlflow import BUNDLE_DIGEST, FINGERPRINT

    folder = brought(store, root, config.model_name, version, scratch)
    tags = store.tags(config.model_name, version)
    taken = features_in(folder)
    if taken is not None:
        from mlops_glue import feature_stores, features

        with tempfile.TemporaryDirectory() as registry:
            repository = feature_stores.open_repository(config, root, Path(registry))
            features.check_definitions(repository, taken, features.transform_hash(config, root))
    return kept(root, config, version, folder, tags[BUNDLE_DIGEST], tags[FINGERPRINT])


def kept(root: Path, config: configs.Config, version: int, folder: Path, digest: str, fingerprint: str) -> Servable:
    """Copy a bundle to a folder that no other process writes to, with the configuration of its feature lookup."""
    target = kept_folder(root, version, folder, digest)
    from mlops_glue import feature_stores

    lookup = feature_stores.lookup_of(config, root, target)
    return Servable(version, str(target), digest, fingerprint, lookup, config.package.trust)


def kept_folder(root: Path, version: int, folder: Path, digest: str) -> Path:
    """Copy a bundle to a folder that no other process writes to, and remove old copies except the last few."""
    place = root / layout.SERVED
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.chmod(0o700)
    target = place / f"v{version}-{digest[:12]}"
    if not target.is_dir():
        temporary = Path(tempfile.mkdtemp(prefix=".copy-", dir=place))
        shutil.copytree(folder, temporary, dirs_exist_ok=True, symlinks=True)
        temporary.chmod(0o700)
        with contextlib.suppress(OSError):  # another glue serve was faster
            temporary.rename(target)
        shutil.rmtree(temporary, ignore_errors=True)
    os.utime(target)
    mine = re.compile(r"v\d+-[0-9a-f]{12}|\.copy-.*")
    former = sorted((p for p in place.iterdir() if mine.fullmatch(p.name)), key=lambda p: p.stat().st_mtime)
    for old in former[:-KEPT]:
        if time.time() - old.stat().st_mtime > KEPT_S:
            shutil.rmtree(old, ignore_errors=True)
    return target


def feature_list_of(store: Store, model: str, version: int) -> FeatureList | None:
    """Return the features of a version that come from Feast; None if none do."""
    with tempfile.TemporaryDirectory() as folder:
        return features_in(store.download_bundle(model, version, Path(folder)))


def features_in(bundle: Path) -> FeatureList | None:
    """Return the features of a bundle that come from Feast; None if none do."""
    listed = bundle / "features.json"
    return FeatureList.from_dict(files.read_json(listed)) if listed.is_file() else None
