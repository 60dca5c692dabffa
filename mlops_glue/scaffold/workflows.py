"""Build a project's GitHub or GitLab jobs, and the packages that they install, from its `glue.yaml`."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from mlops_glue import config as configs
from mlops_glue import files, layout, modules
from mlops_glue.adapters import dvc, git
from mlops_glue.errors import ConfigError
from mlops_glue.pipeline import stages
from mlops_glue.version import __version__

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

MARK = "# Made by `glue ci`"  # the start of a file that glue may overwrite
PYTHONS = ("3.13", "3.12", "3.11")
PYTHON_VERSION = re.compile(r"\s*(?:cpython-?)?(3\.\d+)")
WORKFLOWS = ("test", "train", "deploy", "monitor")
EXTRA_OF = {"s3": "s3", "gs": "gcs", "azure": "azure"}  # by the scheme of the remote
WHEEL = r"^\./vendor/mlops_glue-([^-]+)-.*?\.whl"  # used if no index has this version of glue
BOOSTERS = {"xgboost", "lightgbm", "catboost"}  # modules of the extra `boosters`
CLOUD_OF = {"aws": "s3", "gcp": "gcs", "azure": "azure"}


def prefix(root: Path, top: Path) -> str:
    """Return the prefix of the workflow names of a project in a subfolder (`models--churn-`); "" at the top."""
    if root == top:
        return ""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", root.relative_to(top).as_posix().replace("/", "--")) + "-"


def workflow_files(config: configs.Config, root: Path, top: Path) -> dict[str, str | None]:
    """Return the text of each file by its path from the project folder; None if the config needs no such file."""
    chosen = configs.in_environment(config, config.ci.env)
    values = _values(config, chosen, root, top)
    folder = layout.templates() / "ci"

    def text(file: str) -> str:
        return files.render(folder / file, {**values, "name": file.removesuffix(".yml")}, ("<<", ">>"))

    needed = {"test": True, "train": values["tracked"], "deploy": values["tracked"]}
    needed["monitor"] = values["tracked"] and config.ci.schedule is not None
    on_github = config.ci.service == "github"
    github = Path(os.path.relpath(top / ".github", root)).as_posix()
    workflows = {f"{github}/workflows/{values['prefix']}{n}.yml": f"{n}.yml" for n in WORKFLOWS}
    gitlab = top / f".gitlab/{values['prefix']}ci.yml" if values["prefix"] else top / ".gitlab-ci.yml"
    return {
        **{path: text(file) if on_github and needed[file[:-4]] else None for path, file in workflows.items()},
        f"{github}/dependabot.yml": text("dependabot.yml") if on_github else None,
        Path(os.path.relpath(gitlab, root)).as_posix(): None if on_github else text("gitlab.yml"),
        "Makefile": text("Makefile"),
        "requirements.in": text("requirements.in"),
    }


def _values(config: configs.Config, chosen: configs.Config, root: Path, top: Path) -> dict[str, Any]:
    """Return the values of the templates."""
    remote = config.data.remote is not None or dvc.has_remote(root)
    lacking = [s.path for s in config.data.sources.values() if not remote and not git.is_tracked(root, s.path)]
    if lacking:
        raise ConfigError(
            [f"{layout.CONFIG} data.remote: is not set, and {lacking[0]} is not in git: no job would find it"],
            hint="data: {remote: ${DVC_REMOTE_URL}}, or: dvc remote add --default NAME URL",
        )
    learnt = config.model_dump(include={"data", "features"})  # without an environment: a pull request uses no server
    store = root / config.features.repo / "feature_store.yaml"
    of_feast = configs.references(store.read_text(encoding="utf-8")) if store.is_file() else []
    for_data = {*configs.references(learnt), *of_feast, *config.ci.secrets}
    # no job serves, so no job needs the API keys
    used = configs.references(chosen.model_dump(exclude={"environments": True, "ci": True, "serve": {"api_keys"}}))
    code = stages.import_paths(config)
    imported = modules.imported(code, modules.code_of(code, None, root), root)
    extras = sorted({*_extras(config, chosen), *({"boosters"} if imported & BOOSTERS else set())})
    folder = "" if root == top else f"{root.relative_to(top).as_posix()}/"
    return {
        **config.ci.model_dump(exclude={"secrets"}),
        "python": config.ci.python or _python(root, top),
        "actions": _actions(),
        "registry": configs.registry_of(config.ci.image),
        "data_secrets": sorted(for_data),
        "secrets": sorted({*for_data, *used}),
        "retrains": "retrain" in chosen.monitor.on_alert,
        "approval": config.promote.approval == "required",
        "audit": config.audit.remote is not None,
        "tracked": chosen.tracking.uri is not None,
        "remote": remote,
        "folder": folder,
        "cd": f"cd {shlex.quote(folder[:-1])}",
        "prefix": prefix(root, top),
        "project": config.project,
        "extras": extras,
        "packages": _packages(imported - BOOSTERS, extras),
        "version": __version__,
        "wheel": (root / "vendor" / f"mlops_glue-{__version__}-py3-none-any.whl").is_file(),
    }


def _python(root: Path, top: Path) -> str:
    """Return the Python version of the jobs: from `.python-version`, else their current one, else the one running."""
    folders = [root, *([top] if top != root else [])]
    named = [found[1] for folder in folders if (found := PYTHON_VERSION.match(_text(folder / ".python-version")))]
    workflow = _text(top / ".github" / "workflows" / f"{prefix(root, top)}test.yml")
    written = re.findall(r'python-version: "([\d.]+)"', workflow)[:1]
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    allowed = next((allowed for folder in folders if (allowed := _requires_python(folder)) is not None), None)
    preferred = [*named, *written, here, *PYTHONS]
    return next((v for v in preferred if v in PYTHONS and (allowed is None or allowed.contains(f"{v}.99"))), here)


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _requires_python(folder: Path) -> SpecifierSet | None:
    """Return the Python versions that `pyproject.toml` allows."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        found = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        return SpecifierSet(found["project"]["requires-python"])
    except (OSError, ValueError, KeyError, TypeError, InvalidSpecifier):
        return None


def _actions() -> dict[str, str]:
    """Return the text after `uses:` of each action, by its name: the commit, which cannot be moved, and the version."""
    lines = (layout.templates() / "ci" / "actions.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    return {name: f"{name}@{commit} # {version}" for name, version, commit in rows}


def _extras(config: configs.Config, chosen: configs.Config) -> list[str]:
    """Return the extras of glue that the jobs need."""
    found = {"pipeline", "serving", "monitoring"} | ({"validation"} if config.validation else set())
    schemes = {(one.data.remote or "").partition("://")[0] for one in (config, chosen)} & EXTRA_OF.keys()
    found |= {EXTRA_OF[one] for one in schemes} or ({CLOUD_OF[config.ci.cloud]} if config.ci.cloud else set())
    if config.features.use:
        found.add("features")
        kind = str((chosen.features.online_store or {}).get("type", ""))
        found |= {kind} & {"redis", "postgres"}
    if chosen.monitor.alerts.channels:
        found.add("alerts")
    labels = chosen.monitor.labels
    if any(place is not None and place.url is not None for place in (labels, *chosen.data.sources.values())):
        found.add("postgres")
    return sorted(found)


def _packages(imported: set[str], extras: list[str]) -> list[str]:
    """Return the packages that the project's own code imports, except those that glue and the extras install."""
    needs = [Requirement(text) for text in importlib.metadata.requires("mlops-glue") or []]
    brought = [n for n in needs if n.marker is None or any(n.marker.evaluate({"extra": e}) for e in extras)]
    of_glue = {canonicalize_name(need.name) for need in brought}
    brings = modules.packages_of_modules()
    found = {canonicalize_name(name) for module in imported for name in brings.get(module, [])}
    return sorted(found - of_glue - {"mlops-glue", "scipy"})


def unlocked(root: Path, name: str) -> str | None:
    """Return a package that `requirements.in` requires and the lock file `name` lacks; "" if there is no lock file."""
    if not (root / name).is_file():
        return ""
    text = re.sub(WHEEL, r"mlops-glue==\1", _text(root / name), flags=re.MULTILINE)
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[.*?\])?(?:==([^ ;\\]+)| @)", text, re.MULTILINE)
    locked = {canonicalize_name(package): version for package, version in found}
    for need in _needs(root / "requirements.in"):
        version = locked.get(canonicalize_name(need.name))
        if version is None or (version and not need.specifier.contains(version, prereleases=True)):
            return str(need).partition(";")[0].strip()
    return None


def _needs(file: Path) -> Iterator[Requirement]:
    """Yield the requirements of a file, including those of glue's extras in it."""
    for line in _text(file).splitlines():
        try:
            need = Requirement(re.sub(WHEEL, "mlops-glue", line.partition(" #")[0].strip()))
        except InvalidRequirement:  # a comment, an option, a path
            continue
        yield need
        if need.name == "mlops-glue":
            of_glue = [Requirement(text) for text in importlib.metadata.requires("mlops-glue") or []]
            yield from (n for n in of_glue if n.marker and any(n.marker.evaluate({"extra": e}) for e in need.extras))
