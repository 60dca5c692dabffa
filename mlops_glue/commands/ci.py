"""`glue ci`: the workflows of GitHub Actions, and a Makefile with the same commands, from `glue.yaml`."""

from __future__ import annotations

from pathlib import Path

from mlops_glue import config as configs
from mlops_glue import console, files, layout
from mlops_glue.adapters import git
from mlops_glue.errors import UsageError
from mlops_glue.scaffold import manifest, undo
from mlops_glue.scaffold.requirements import unlocked, vendoring
from mlops_glue.scaffold.workflows import MARK, relative, workflow_files


def ci(*, check: bool = False, as_json: bool = False) -> int:
    """Write what is missing or stale; with `check` only say so, and return 1 where something is."""
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
    if (lacking := unlocked(root, config.ci.requirements)) is not None:
        lock = root / config.ci.requirements
        outcomes[lock.relative_to(top).as_posix()] = "stale" if lock.is_file() else "missing"
    stale = [path for path, outcome in outcomes.items() if outcome in ("missing", "stale", "left over", "to merge")]
    if as_json:
        console.result_json({"files": outcomes})
    else:
        _print(root, config, outcomes, lacking)
    return 1 if check and stale else 0


def _outcome(path: Path, text: str | None, base: str | None) -> str:
    """What a file is, against what it should be and what was written (None: not known)."""
    if path.is_dir():
        raise UsageError(f"{path}: is a folder, and glue ci writes a file there", hint="move it away")
    if not path.is_file():
        return "missing" if text is not None else "not asked for"
    current = path.read_text(encoding="utf-8", errors="replace")
    if current == text:
        return "unchanged"
    if not current.startswith(MARK) and current != base:
        return "yours"
    if base is not None and current != base:
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


def _print(root: Path, config: configs.Config, outcomes: dict[str, str], lacking: str | None) -> None:
    for path, outcome in outcomes.items():
        if outcome != "not asked for":
            console.result(f"{outcome:<9} {path}")
    if "to merge" in outcomes.values():
        console.progress("what you edited is not written over: glue upgrade merges it")
    if lacking is not None:
        gap = f" and has no {lacking}" if lacking else ""
        console.progress(f"{config.ci.requirements} is what the jobs install{gap}: make lock, then commit it")
        if (vendored := vendoring(root)) is not None:
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
