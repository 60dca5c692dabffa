"""Runs the `run:` steps of a workflow as GitHub's runner does: same shell, same files, same order, same conditions.

Of the actions only what the steps see of them is made: a fresh clone, an environment, artifacts that one job keeps and
another gets. `gh`, which talks to GitHub alone, is a script that keeps what it is asked.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
SHELL = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]
GH = """#!/bin/sh
printf '%s\\n' "$*" >> "$GH_LOG"
case "$*" in
  *"--method POST"*) cp report.md "$GH_LOG.comment";;
  *"issue create"*) touch "$GH_LOG.issue";;
  *"issue list"*) [ -f "$GH_LOG.issue" ] && echo 7;;
  *"--paginate"*) [ -f "$GH_LOG.comment" ] && echo 41;;
esac
exit 0
"""


@dataclass
class Job:
    """What became of a job."""

    result: str = "success"  # failure, skipped
    outputs: dict[str, str] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)  # by name: success, failure, skipped
    log: str = ""
    summary: str = ""


@dataclass
class Runner:
    """A machine of GitHub's, for one run of one workflow."""

    folder: Path  # an empty one
    origin: Path  # a bare repository
    ref: str
    event: dict[str, Any]
    secrets: dict[str, str]
    glue: Path | None = None  # another `glue` than the installed one

    def __post_init__(self) -> None:
        (self.folder / "bin").mkdir(parents=True)
        (self.folder / "bin/gh").write_text(GH)
        (self.folder / "bin/gh").chmod(0o755)
        if self.glue:
            (self.folder / "bin/glue").symlink_to(self.glue)
        self.artifacts = self.folder / "artifacts"
        self.needs: dict[str, Job] = {}

    @property
    def asked(self) -> list[str]:
        """What `gh` was asked to do."""
        log = self.folder / "gh.log"
        return log.read_text().splitlines() if log.exists() else []

    def run(self, name: str, **inputs: str) -> dict[str, Job]:
        """Every job of a workflow of the commit, in order."""
        self.inputs = inputs
        clone = self._clone("definition")
        tree = yaml.safe_load((clone / ".github/workflows" / f"{name}.yml").read_text())
        assert tree["defaults"]["run"]["shell"] == "bash"  # which means the words of `SHELL`
        for job, made in tree["jobs"].items():
            self.needs[job] = self._job(job, made)
        return self.needs

    def _clone(self, name: str) -> Path:
        into = self.folder / name
        subprocess.run(["git", "clone", "-q", str(self.origin), str(into)], check=True)
        subprocess.run(["git", "checkout", "-q", self.ref], cwd=into, check=True)
        return into

    def _job(self, name: str, made: dict[str, Any]) -> Job:
        needed = [self.needs[n] for n in ([made["needs"]] if isinstance(made.get("needs"), str) else [])]
        state = "failure" if any(n.result != "success" for n in needed) else "success"
        context: dict[str, Any] = {
            "github": self._github(),
            "secrets": self.secrets,
            "vars": {},
            "inputs": self.inputs,
            "env": {},
            "steps": {},
            "needs": {n: {"outputs": j.outputs, "result": j.result} for n, j in self.needs.items()},
        }
        job = Job()
        if not holds(made.get("if"), context, state):
            job.result = "skipped"
            return job
        work = self.folder / f"work-{name}"
        work.mkdir()
        files = {key: self.folder / f"{name}-{key}" for key in ("ENV", "OUTPUT", "PATH", "STEP_SUMMARY")}
        context["env"] = {key: filled(value, context) for key, value in made.get("env", {}).items()}
        state = "success"
        for at, step in enumerate(made["steps"]):
            label = step.get("name", str(at))
            if not holds(step.get("if"), context, state):
                job.steps[label] = "skipped"
                continue
            if "uses" in step:
                ok = self._uses(step, context, work)
            else:
                for path in files.values():
                    path.write_text("")
                ok, said = self._run(step, made, context, work, files)
                job.log += f"--- {label}\n{said}"
                job.summary += files["STEP_SUMMARY"].read_text()
            outcome = job.steps[label] = "success" if ok else "failure"
            if "id" in step:
                lines = files["OUTPUT"].read_text().splitlines()
                outputs = dict(line.split("=", 1) for line in lines if "=" in line)
                context["steps"][step["id"]] = {"outputs": outputs, "outcome": outcome}
            if not ok:
                state = job.result = "failure"
        job.outputs = {key: filled(value, context) for key, value in made.get("outputs", {}).items()}
        return job

    def _github(self) -> dict[str, Any]:
        return {"event": self.event, "repository": "acme/project", "token": "t", "ref": "refs/heads/main"}

    def _uses(self, step: dict[str, Any], context: dict[str, Any], work: Path) -> bool:
        action, options = step["uses"].partition("@")[0], step.get("with", {})
        kept = self.artifacts / filled(str(options.get("name", "")), context)
        if action == "actions/checkout":
            work.rmdir()
            self._clone(work.name)
        elif action == "actions/upload-artifact":
            found = [work / path for path in filled(options["path"], context).split() if (work / path).exists()]
            for path in found:
                target = kept / path.relative_to(work)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target)
            return bool(found) or options.get("if-no-files-found") != "error"
        elif action == "actions/download-artifact":
            if not kept.is_dir():
                return False
            shutil.copytree(kept, work, dirs_exist_ok=True)
        return True

    def _run(
        self, step: dict[str, Any], job: dict[str, Any], context: dict[str, Any], work: Path, files: dict[str, Path]
    ) -> tuple[bool, str]:
        script = self.folder / "step.sh"
        script.write_text(step["run"])
        own = {key: filled(value, context) for key, value in step.get("env", {}).items()}
        kept = {key: os.environ[key] for key in ("HOME", "PATH", "DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR")}
        extra = {key: value for key, value in os.environ.items() if key.startswith(("AWS_", "GIT_CONFIG"))}
        env = {
            **kept,
            **extra,
            "PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "VIRTUAL_ENV": sys.prefix,
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": "acme/project",
            "GITHUB_REF_NAME": "main",
            "GITHUB_WORKSPACE": str(work),
            "GH_LOG": str(self.folder / "gh.log"),
            **{f"GITHUB_{key}": str(path) for key, path in files.items()},
            **context["env"],
            **own,
        }
        where = work / job.get("defaults", {}).get("run", {}).get("working-directory", ".")
        done = subprocess.run(
            [*SHELL, str(script)], cwd=where, env=env, capture_output=True, text=True, timeout=900, check=False
        )
        return done.returncode == 0, done.stdout + done.stderr


def filled(text: Any, context: dict[str, Any]) -> str:
    """A value with its expressions put in."""
    return re.sub(r"\$\{\{(.*?)\}\}", lambda m: str(_value(m.group(1), context, "success") or ""), str(text))


def holds(condition: str | None, context: dict[str, Any], state: str) -> bool:
    """An `if:`, which means `success() && ...` where it asks for no state itself."""
    if condition is None:
        return state == "success"
    inner = re.sub(r"^\$\{\{(.*)\}\}$", r"\1", str(condition).strip())
    stated = re.search(r"\b(success|failure|cancelled|always)\(\)", inner)
    return (bool(stated) or state == "success") and bool(_value(inner, context, state))


def _value(expression: str, context: dict[str, Any], state: str) -> Any:
    def one(match: re.Match[str]) -> str:
        node: Any = context
        for part in match.group(0).split("."):
            node = node.get(part, "") if isinstance(node, dict) else ""
        return repr(node)

    states = {"success()": state == "success", "failure()": state == "failure", "cancelled()": False, "always()": True}
    parts = re.split(r"('[^']*')", expression)  # literals stay as they are
    for at in range(0, len(parts), 2):
        for name, value in states.items():
            parts[at] = parts[at].replace(name, str(value))
        parts[at] = re.sub(r"\b[a-z_]+(\.[A-Za-z_][\w-]*)+", one, parts[at])
        parts[at] = parts[at].replace("&&", " and ").replace("||", " or ")
        parts[at] = re.sub(r"!(?!=)", " not ", parts[at])
    return eval("".join(parts).strip())  # of our own templates


def lock(package: str) -> str:
    """What this repository's own lock file says of a package."""
    found = re.search(rf"^{package}==.*?(?=^\S)", (ROOT / "requirements.lock").read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return "\n".join(line for line in found.group(0).splitlines() if "# " not in line).rstrip(" \\\n") + "\n"


YAML = """\
glue: 1
project: churn
data:
  sources:
    t: {{path: t.csv, entity: who, timestamp: at}}
  {remote}
  labels: {{source: t, target: y, task: binary}}
train: {{}}
serve:
  api_keys: ["${{API_KEY}}"]
  prediction_log: "s3://${{LOG_BUCKET}}/log"
{features}
monitor: {{on_alert: [retrain], retrain: {{data: reread}}}}
environments:
  prod:
    tracking: {{uri: {tracking}}}
    features: {{online_store: {{type: redis, connection_string: "${{REDIS_URL}}"}}}}
ci: {ci}
"""


def project(
    root: Path, ci: dict[str, Any], *, remote: bool = True, features: bool = False, tracked: bool = True
) -> Path:
    """What `glue ci` needs: a config, a table that git tracks."""
    root.mkdir(parents=True)
    (root / "t.csv").write_text("who,at,x,y\n1,2024-01-01,1,0\n")
    text = YAML.format(
        remote="remote: ${DVC_REMOTE_URL}" if remote else "",
        features='features: {use: ["v:f"]}' if features else "",
        tracking='"${MLFLOW_TRACKING_URI}"' if tracked else "null",
        ci=json.dumps({"env": "prod", **ci}),
    )
    (root / "glue.yaml").write_text(text)
    if features:
        (root / "feature_repo").mkdir()
        (root / "feature_repo/feature_store.yaml").write_text("project: p\nregistry: ${FEAST_REGISTRY}\n")
    return root
