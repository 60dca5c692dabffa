"""`glue ci`: the workflows of GitHub Actions, and a Makefile with the same commands, from `glue.yaml`."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mlops_glue import __version__, console, io, layout
from mlops_glue import config as configs
from mlops_glue.adapters import dvc, git
from mlops_glue.commands import generated, undo
from mlops_glue.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

MARK = "# Made by `glue ci`"  # the first line of a file that is glue's to write again
WHEEL = r"^\./vendor/mlops_glue-([^-]+)-.*?\.whl"  # where no index has this glue
PYTHONS = ("3.13", "3.12", "3.11")
WORKFLOWS = ("test", "train", "deploy", "monitor")
EXTRA_OF = {"s3": "s3", "gs": "gcs", "azure": "azure"}  # by the scheme of the remote
CLOUD_OF = {"aws": "s3", "gcp": "gcs", "azure": "azure"}


def ci(*, check: bool = False, as_json: bool = False) -> int:
    """Write what is missing or stale, or only tell it. Returns 1 where `check` finds something."""
    root = layout.find_root()
    config = configs.load(root, "", tables=False)
    top = git.top(root)
    if top is None:
        raise UsageError(f"{root} is in no git repository, and workflows belong to one", hint="git init")
    made = files(config, root, top)
    part = generated.recorded(root).get("ci")
    bases = part.files if part is not None else {}
    outcomes = {
        path.relative_to(top).as_posix(): _outcome(path, text, bases.get(relative(path, root)))
        for path, text in made.items()
    }
    if not check:
        texts = {relative(path, root): text for path, text in made.items()}
        new = [relative(path, root) for path in made if outcomes[path.relative_to(top).as_posix()] == "missing"]
        undo.check_committed(root, [*new, layout.GENERATED])
        with undo.undone_on_failure(root, [*texts, layout.GENERATED]):
            _write(made, outcomes, top)
            written = [p for p in made if outcomes[p.relative_to(top).as_posix()] in ("written", "unchanged")]
            generated.remember(root, "ci", {}, texts, [relative(path, root) for path in written])
    if (lacking := _unlocked(root, config.ci.requirements)) is not None:
        there = (root / config.ci.requirements).is_file()
        outcomes[(root / config.ci.requirements).relative_to(top).as_posix()] = "stale" if there else "missing"
    stale = [path for path, outcome in outcomes.items() if outcome in ("missing", "stale", "left over", "to merge")]
    if as_json:
        console.result_json({"files": outcomes})
    else:
        _tell(root, config, outcomes, lacking)
    return 1 if check and stale else 0


def prefix(root: Path, top: Path) -> str:
    """What the names of a project's workflows begin with, where it is a folder of its repository: `models--churn-`."""
    if root == top:
        return ""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", root.relative_to(top).as_posix().replace("/", "--")) + "-"


def files(config: configs.Config, root: Path, top: Path) -> dict[Path, str | None]:
    """The text of each file by path; None where the config asks for no such file."""
    chosen = configs.in_environment(config, config.ci.env)
    values = _values(config, chosen, root, top)
    folder = layout.templates() / "ci"

    def text(file: str) -> str:
        return io.render(folder / file, {**values, "name": file.removesuffix(".yml")}, ("<<", ">>"))

    asked = {"test": True, "train": values["tracked"], "deploy": values["tracked"]}
    asked["monitor"] = values["tracked"] and config.ci.schedule is not None
    workflows = top / ".github" / "workflows"
    return {
        **{workflows / f"{values['prefix']}{n}.yml": text(f"{n}.yml") if asked[n] else None for n in WORKFLOWS},
        top / ".github" / "dependabot.yml": text("dependabot.yml"),
        root / "Makefile": text("Makefile"),
        root / "requirements.in": text("requirements.in"),
    }


def _values(config: configs.Config, chosen: configs.Config, root: Path, top: Path) -> dict[str, Any]:
    """What the templates take."""
    remote = config.data.remote is not None or dvc.has_remote(root)
    lacking = [s.path for s in config.data.sources.values() if not remote and not git.tracks(root, s.path)]
    if lacking:
        raise ConfigError(
            [f"{layout.CONFIG} data.remote: is not set, and git does not have {lacking[0]}: no job would find it"],
            hint="data: {remote: ${DVC_REMOTE_URL}}, or: dvc remote add --default NAME URL",
        )
    learnt = config.model_dump(include={"data", "features"})  # of no environment: a pull request sees no server
    store = root / config.features.repo / "feature_store.yaml"
    of_feast = configs.references(store.read_text(encoding="utf-8")) if store.is_file() else []
    for_data = {*configs.references(learnt), *of_feast, *config.ci.secrets}
    # no job serves, so none needs the keys of those who ask
    used = configs.references(chosen.model_dump(exclude={"environments": True, "ci": True, "serve": {"api_keys"}}))
    folder = "" if root == top else f"{root.relative_to(top).as_posix()}/"
    return {
        **config.ci.model_dump(exclude={"secrets"}),
        "python": config.ci.python or _python(root, top),
        "actions": _actions(),
        "registry": configs.registry_of(config.ci.image),
        "data_secrets": sorted(for_data),
        "secrets": sorted({*for_data, *used}),
        "retrains": "retrain" in chosen.monitor.on_alert,
        "tracked": chosen.tracking.uri is not None,
        "remote": remote,
        "folder": folder,
        "prefix": prefix(root, top),
        "project": config.project,
        "extras": _extras(config, chosen),
        "version": __version__,
        "wheel": (root / "vendor" / f"mlops_glue-{__version__}-py3-none-any.whl").is_file(),
    }


def _python(root: Path, top: Path) -> str:
    """The Python of the project's jobs: what it says itself, else what they had so far, else what runs this."""
    folders = [root, *([top] if top != root else [])]
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):
            named = re.match(r"\s*(?:cpython-?)?(3\.\d+)", (folder / ".python-version").read_text(encoding="utf-8"))
            if named and named.group(1) in PYTHONS:
                return named.group(1)
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    workflow = top / ".github" / "workflows" / f"{prefix(root, top)}test.yml"
    written = re.search(r'python-version: "([\d.]+)"', workflow.read_text("utf-8")) if workflow.is_file() else None
    wanted = [written.group(1) if written else here, here, *PYTHONS]
    asked = next((asked for folder in folders if (asked := _requires_python(folder)) is not None), None)
    return next((v for v in wanted if v in PYTHONS and (asked is None or asked.contains(f"{v}.99"))), here)


def _requires_python(folder: Path) -> SpecifierSet | None:
    """What `pyproject.toml` asks for."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        found = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        return SpecifierSet(found["project"]["requires-python"])
    except (OSError, ValueError, KeyError, TypeError, InvalidSpecifier):
        return None


def _actions() -> dict[str, str]:
    """What stands after `uses:` for each action, by its name: the commit, which nobody can move, and the version."""
    lines = (layout.templates() / "ci" / "actions.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    return {name: f"{name}@{commit} # {version}" for name, version, commit in rows}


def _extras(config: configs.Config, chosen: configs.Config) -> list[str]:
    """The extras of glue that the jobs need."""
    found = {"pipeline", "serving", "monitoring"} | ({"validation"} if config.validation else set())
    schemes = {(one.data.remote or "").partition("://")[0] for one in (config, chosen)} & EXTRA_OF.keys()
    found |= {EXTRA_OF[one] for one in schemes} or ({CLOUD_OF[config.ci.cloud]} if config.ci.cloud else set())
    if config.features.use:
        found.add("features")
        kind = str((chosen.features.online_store or {}).get("type", ""))
        found |= {kind} & {"redis", "postgres"}
    if chosen.monitor.alerts.channels:
        found.add("alerts")
    if chosen.monitor.labels is not None and chosen.monitor.labels.url is not None:
        found.add("postgres")
    return sorted(found)


def relative(path: Path, root: Path) -> str:
    """A path as the record has it: from the project folder, above which the workflows may be."""
    return Path(os.path.relpath(path, root)).as_posix()


def _outcome(path: Path, text: str | None, base: str | None) -> str:
    """What a file is, against what it should be and what was written (None: not known)."""
    if path.is_dir():
        raise UsageError(f"{path}: is a folder, and glue ci writes a file there", hint="move it away")
    if not path.is_file():
        return "missing" if text is not None else "not asked for"
    there = path.read_text(encoding="utf-8", errors="replace")
    if there == text:
        return "unchanged"
    if not there.startswith(MARK) and there != base:
        return "yours"
    if base is not None and there != base:
        return "edited" if text == base else "to merge"
    return "stale" if text is not None else "left over"


def _write(made: dict[Path, str | None], outcomes: dict[str, str], top: Path) -> None:
    for path, text in made.items():
        name = path.relative_to(top).as_posix()
        if outcomes[name] == "left over":
            path.unlink()
            outcomes[name] = "removed"
        elif outcomes[name] in ("missing", "stale") and text is not None:
            io.write_text(path, text)
            outcomes[name] = "written"


def _unlocked(root: Path, name: str) -> str | None:
    """A package that `requirements.in` asks for and the lock file has not; "" where there is no lock file."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    if not (root / name).is_file():
        return ""
    text = re.sub(WHEEL, r"mlops-glue==\1", (root / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[.*?\])?(?:==([^ ;\\]+)| @)", text, re.MULTILINE)
    locked = {canonicalize_name(package): version for package, version in found}
    asked = root / "requirements.in"
    for line in asked.read_text(encoding="utf-8").splitlines() if asked.is_file() else ():
        try:
            wanted = [Requirement(re.sub(WHEEL, "mlops-glue", line.partition(" #")[0].strip()))]
        except InvalidRequirement:  # a comment, an option, a path
            continue
        if wanted[0].name == "mlops-glue":
            needs = map(Requirement, importlib.metadata.requires("mlops-glue") or [])
            wanted += [n for n in needs if n.marker and any(n.marker.evaluate({"extra": e}) for e in wanted[0].extras)]
        for one in wanted:
            version = locked.get(canonicalize_name(one.name))
            if version is None or (version and not one.specifier.contains(version, prereleases=True)):
                return str(one).partition(";")[0].strip()
    return None


def _vendored(root: Path) -> str | None:
    """The commands that put glue's wheel into `vendor/`, where it was installed from no index and is not there yet."""
    text = importlib.metadata.distribution("mlops-glue").read_text("direct_url.json")
    if text is None or list((root / "vendor").glob(f"mlops_glue-{__version__}-*.whl")):
        return None
    origin = json.loads(text)
    url = origin["url"].removeprefix("file://")
    if "dir_info" in origin:
        words = ["uv", "build", "--wheel", "--out-dir", "vendor", unquote(url)]
    elif origin["url"].startswith("file://"):
        words = ["cp", unquote(url), "vendor/"]
    else:
        kind = origin.get("vcs_info", {}).get("vcs")
        words = ["pip", "wheel", "--no-deps", "--wheel-dir", "vendor", f"{kind}+{url}" if kind else url]
    return f"mkdir -p vendor && {shlex.join(words)} && glue ci"


def _tell(root: Path, config: configs.Config, outcomes: dict[str, str], lacking: str | None) -> None:
    for path, outcome in outcomes.items():
        if outcome != "not asked for":
            console.result(f"{outcome:<9} {path}")
    if "to merge" in outcomes.values():
        console.progress("what you edited is not written over: glue upgrade merges it")
    if lacking is not None:
        said = f" and has no {lacking}" if lacking else ""
        console.progress(f"{config.ci.requirements} is what the jobs install{said}: make lock, then commit it")
        if (vendored := _vendored(root)) is not None:
            console.progress(f"this glue is from no package index, so make lock needs its wheel in vendor/: {vendored}")
    made = [path for path, outcome in outcomes.items() if outcome != "not asked for"]
    if config.ci.deploy is None and any(name.endswith("deploy.yml") for name in made):
        console.progress("deploy.yml promotes and packages, and deploys nothing: ci: {deploy: COMMAND}")
    if any(name.endswith("train.yml") for name in made) and git.lacks_branch(root, config.ci.branch):
        console.progress(f"train.yml waits for pushes to {config.ci.branch}, which git has not: ci: {{branch: NAME}}")
    log = configs.in_environment(config, config.ci.env).serve.prediction_log or ""
    if "://" not in log and not log.startswith("${") and any(name.endswith("monitor.yml") for name in made):
        console.progress("monitor.yml reads serve.prediction_log; a folder of one machine no job sees: give it a URL")
    if not any(name.endswith("train.yml") for name in made):
        where = f"environments.{config.ci.env}.tracking.uri" if config.ci.env else "tracking.uri"
        console.progress(
            f"no train.yml, deploy.yml, monitor.yml: {where} is not set, and a job's own registry ends with its machine"
        )
