"""Runs the jobs of a `.gitlab-ci.yml` as GitLab's runner does: same shell, fresh clones, rules, needs, artifacts.

Of GitLab only what the jobs see of it is made. `curl`, which asks it for another pipeline, keeps what it is asked.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

SHELL = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
NO_JOBS = {"default", "include", "stages", "variables", "workflow"}


@dataclass
class Job:
    """What became of a job."""

    result: str  # success, failed, skipped, manual (nobody has started it)
    log: str = ""
    variables: dict[str, str] = field(default_factory=dict)  # of its dotenv report
    artifacts: Path | None = None


@dataclass
class Runner:
    """A runner, for one pipeline."""

    folder: Path  # an empty one
    origin: Path  # a bare repository
    variables: dict[str, str]
    glue: Path | None = None  # another `glue` than the installed one
    file: str = ".gitlab-ci.yml"
    jobs: dict[str, Job] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "bin").mkdir(parents=True)
        self.stand_in("curl", f'#!/bin/sh\nprintf "%s\\n" "$*" >> {self.folder}/curl.log\n')
        # what pip is asked for uv installs, in a hundredth of the time
        pip = f'case "$1 $2" in "-m pip") shift 2; exec uv pip "$@" --python {sys.executable};; esac'
        self.stand_in("python", f'#!/bin/sh\n{pip}\nexec {sys.executable} "$@"\n')
        if self.glue:
            (self.folder / "bin/glue").symlink_to(self.glue)

    def stand_in(self, name: str, script: str) -> None:
        """A script in the place of a command."""
        (self.folder / "bin" / name).write_text(script)
        (self.folder / "bin" / name).chmod(0o755)

    @property
    def asked(self) -> list[str]:
        """What GitLab was asked to do."""
        log = self.folder / "curl.log"
        return log.read_text().splitlines() if log.exists() else []

    def run(self, source: str, ref: str = "main", start: tuple[str, ...] = ()) -> dict[str, Job]:
        """The pipeline of a branch; `start` names the manual jobs that somebody starts."""
        clone = self._clone("definition", ref)
        known = {**self.variables, "CI_PIPELINE_SOURCE": source, **self._predefined()}
        base = subprocess.run(
            ["git", "rev-parse", "origin/main"], cwd=clone, capture_output=True, text=True, check=True
        )
        if source == "merge_request_event":
            known["CI_MERGE_REQUEST_DIFF_BASE_SHA"] = base.stdout.strip()
        else:
            known["CI_COMMIT_BRANCH"] = ref
        for name, job in jobs_of(clone / self.file).items():
            rule = next((rule for rule in job["rules"] if holds(rule["if"], known)), None)
            if rule is None:
                continue
            needed = [self.jobs[one] for one in job.get("needs", [])]
            if any(one.result != "success" for one in needed):
                self.jobs[name] = Job("skipped")
            elif rule.get("when") == "manual" and name not in start:
                self.jobs[name] = Job("manual")
            else:
                self.jobs[name] = self._job(name, job, known, ref, needed)
        return self.jobs

    def _predefined(self) -> dict[str, str]:
        return {
            "CI": "true",
            "GITLAB_CI": "true",
            "GITLAB_USER_LOGIN": "ann",
            "CI_API_V4_URL": "https://gitlab.example.org/api/v4",
            "CI_JOB_TOKEN": "t0ken",
            "CI_JOB_URL": "https://gitlab.example.org/acme/churn/-/jobs/5",
            "CI_PIPELINE_ID": "4",
            "CI_PROJECT_ID": "3",
            "CI_PROJECT_PATH": "acme/churn",
            "CI_REGISTRY": "registry.gitlab.com",
            "CI_REGISTRY_USER": "gitlab-ci-token",
            "CI_REGISTRY_PASSWORD": "t0ken",
        }

    def _clone(self, name: str, ref: str) -> Path:
        path = self.folder / name
        subprocess.run(["git", "clone", "-q", "-b", ref, str(self.origin), str(path)], check=True)
        return path

    def _job(self, name: str, job: dict[str, Any], known: dict[str, str], ref: str, needed: list[Job]) -> Job:
        work = self._clone(f"work-{name}", ref)
        for one in needed:
            if one.artifacts is not None:
                shutil.copytree(one.artifacts, work, dirs_exist_ok=True)
        kept = {key: value for key, value in os.environ.items() if key.startswith(("DVC_", "GIT_CONFIG", "HOME"))}
        env = {**kept, **job["variables"], **known, "CI_PROJECT_DIR": str(work), "CI_JOB_NAME": name}
        env |= {key: value for one in needed for key, value in one.variables.items()}
        env["PATH"] = f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"

        def ran(lines: list[str], **more: str) -> subprocess.CompletedProcess[str]:
            script = "\n".join(lines)
            return subprocess.run(
                [*SHELL, script],
                cwd=work,
                env={**env, **more},
                capture_output=True,
                text=True,
                timeout=900,
                check=False,
            )

        done = ran([*job["before_script"], *job["script"]])
        made = Job("failed" if done.returncode else "success", done.stdout + done.stderr)
        if "after_script" in job:
            after = ran(job["after_script"], CI_JOB_STATUS=made.result)
            made.log += after.stdout + after.stderr
        artifacts = job.get("artifacts", {})
        if made.result == "success" or artifacts.get("when") == "always":
            made.artifacts = self.folder / f"artifacts-{name}"
            for path in (found for pattern in artifacts.get("paths", ()) for found in work.glob(pattern)):
                target = made.artifacts / path.relative_to(work)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target)
            made.artifacts = made.artifacts if made.artifacts.exists() else None
            if made.result == "success" and "reports" in artifacts:
                lines = (work / artifacts["reports"]["dotenv"]).read_text().splitlines()
                made.variables = dict(line.split("=", 1) for line in lines)
        return made


def jobs_of(file: Path) -> dict[str, dict[str, Any]]:
    """The jobs of a file in its order, each with what it extends."""
    tree = yaml.safe_load(file.read_text())

    def whole(job: dict[str, Any]) -> dict[str, Any]:
        return merged(whole(tree[job["extends"]]), job) if "extends" in job else job

    return {name: whole(job) for name, job in tree.items() if not name.startswith(".") and name not in NO_JOBS}


def merged(base: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """As `extends` does: maps key by key, anything else as a whole."""
    both = {key: merged(base[key], job[key]) for key in base if isinstance(job.get(key), dict) and key in base}
    return {**base, **job, **{key: value for key, value in both.items() if isinstance(base[key], dict)}}


def holds(condition: str, variables: dict[str, str]) -> bool:
    """An `if` of a rule: comparisons with a text or a pattern, all of which must hold."""
    for part in condition.split(" && "):
        found = re.fullmatch(r'\$(\w+) (?:== "(.*)"|=~ /(.*)/)', part)
        assert found, part
        name, text, pattern = found.groups()
        value = variables.get(name, "")
        if not (value == text if pattern is None else re.search(pattern, value)):
            return False
    return True
