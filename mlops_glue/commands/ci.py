"""`glue ci`: the workflows of GitHub Actions, and a Makefile with the same commands, from `glue.yaml`."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from mlops_glue import __version__, console, files, layout
from mlops_glue import config as configs
from mlops_glue.adapters import git
from mlops_glue.errors import UsageError
from mlops_glue.scaffold import manifest, undo
from mlops_glue.scaffold.workflows import MARK, relative, workflow_files

if TYPE_CHECKING:
    pass

WHEEL = r"^\./vendor/mlops_glue-([^-]+)-.*?\.whl"  # where no index has this glue


def ci(*, check: bool = False, as_json: bool = False) -> int:
    """Write what is missing or stale, or only tell it. Returns 1 where `check` finds something."""
    root = layout.find_root()
    config = configs.load(root, "", tables=False)
    top = git.top(root)
    if top is None:
        raise UsageError(f"{root} is in no git repository, and workflows belong to one", hint="git init")
    made = workflow_files(config, root, top)
    part = manifest.load(root).get("ci")
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
            manifest.record(root, "ci", {}, texts, [relative(path, root) for path in written])
    if (lacking := _unlocked(root, config.ci.requirements)) is not None:
        there = (root / config.ci.requirements).is_file()
        outcomes[(root / config.ci.requirements).relative_to(top).as_posix()] = "stale" if there else "missing"
    stale = [path for path, outcome in outcomes.items() if outcome in ("missing", "stale", "left over", "to merge")]
    if as_json:
        console.result_json({"files": outcomes})
    else:
        _tell(root, config, outcomes, lacking)
    return 1 if check and stale else 0


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
            files.write_text(path, text)
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
