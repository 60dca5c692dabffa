"""`glue ci`: write jobs for GitHub Actions or GitLab CI, and a Makefile with the same commands, from `glue.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlops_glue import config as configs
from mlops_glue import console, layout
from mlops_glue.adapters import git
from mlops_glue.scaffold import upgrade
from mlops_glue.scaffold.merge import File
from mlops_glue.scaffold.workflows import unlocked


def ci(*, service: str | None = None, check: bool = False, as_json: bool = False) -> int:
    """Write missing and stale files, and merge edited files. Return 1 on a conflict.

    With `check`, write nothing, and return 1 if a file would change. `service` is stored as `ci.service`.
    """
    root = layout.find_root()
    config = configs.load(root, "", tables=False)
    chosen = None
    if service not in (None, config.ci.service):
        chosen = configs.overridden(root, {"ci.service": service})
        config = configs.load(root, "", tables=False, text=chosen)
    plan = upgrade.plan_workflows(root, config)
    if chosen is not None:
        plan = plan._replace(files=[File(layout.CONFIG, "updated", chosen), *plan.files])
    if not check:
        upgrade.write(plan)
    outcomes = {file.path: file.outcome for file in plan.files if file.text is not None or file in plan.changed}
    lacking = unlocked(root, config.ci.requirements)
    if lacking is not None:
        outcomes[config.ci.requirements] = "stale" if lacking else "missing"
    if as_json:
        console.result_json({"files": outcomes})
    else:
        for path, outcome in outcomes.items():
            console.result(f"{outcome:<9} {path}")
        for line in _advice(root, config, lacking):
            console.progress(line)
    return 1 if plan.conflicts or (check and (plan.changed or lacking is not None)) else 0


def _advice(root: Path, config: configs.Config, lacking: str | None) -> Iterator[str]:
    """Yield what the jobs still need to work."""
    on_github, there = config.ci.service == "github", configs.in_environment(config, config.ci.env)
    train, deploy, monitor = (f"{n}.yml" if on_github else f"the job {n}" for n in ("train", "deploy", "monitor"))
    if lacking is not None:
        gap = f", which lacks {lacking}" if lacking else ""
        yield f"the jobs install {config.ci.requirements}{gap}: run make lock, then commit the file"
    if there.tracking.uri is None:
        where = f"environments.{config.ci.env}.tracking.uri" if config.ci.env else "tracking.uri"
        yield f"only tests, no {train}: {where} is not set, and a job's own registry is lost with its machine"
        return
    if config.ci.deploy is None:
        yield f"{deploy} promotes and packages, but deploys nothing: set ci: {{deploy: COMMAND}}"
    if config.audit.remote is None:
        yield f"the audit record of {deploy} is lost with its machine: set audit: {{remote: origin}} to share it"
    elif config.audit.remote != "origin" and "/" not in config.audit.remote:
        yield f"a job's clone has no remote {config.audit.remote} for the audit record: set audit: {{remote: origin}}"
    if git.lacks_branch(root, config.ci.branch):
        yield f"{train} waits for pushes to {config.ci.branch}, but git has no such branch: set ci: {{branch: NAME}}"
    if config.ci.schedule is None:
        return
    if not on_github:
        yield f"add the schedule of {monitor} in GitLab: Build > Pipeline schedules > {config.ci.schedule}"
    log = there.serve.prediction_log or ""
    if "://" not in log and not log.startswith("${"):
        yield f"{monitor} reads serve.prediction_log, but jobs cannot see a local folder: set it to a URL"
