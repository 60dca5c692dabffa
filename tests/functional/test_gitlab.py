"""`glue ci --for gitlab`: the jobs are those of GitHub, GitLab takes them, and each line of them really runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import palmerpenguins
import pytest
import yaml

from mlops_glue.delivery import audit
from tests.support.github import lock, project
from tests.support.gitlab import Job, Runner, jobs_of
from tests.support.project import Glue

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
COMMANDS = {
    "staging": 'echo "staging $VERSION $DIGEST" >> "$TOLD" && [ "$VERSION" != 7 ]',
    "deploy": 'echo "production $VERSION $DIGEST $BEFORE" >> "$TOLD"\n[ "$VERSION" != 6 ]',
    "rollback": 'echo "back to $BEFORE from $VERSION" >> "$TOLD"',
}
VARIANTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "plain": ("plain", {}, {}),
    "all": ("all", {**COMMANDS, "image": "registry.gitlab.com/acme/churn", "branch": "trunk"}, {"features": True}),
    "tests only": ("only", {"env": None}, {"tracked": False, "remote": False}),
    "in a folder": ("top/ml projects/wärme", {"image": "example.org:5000/a/b", "schedule": None, **COMMANDS}, {}),
}


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory, glue: Glue) -> dict[str, Path]:
    """The file of each variant."""
    made, top = {}, tmp_path_factory.mktemp("variants")
    for name, (folder, ci, options) in VARIANTS.items():
        root = project(top / folder, {"service": "gitlab", **ci}, **options)
        if name == "all":
            (root / "glue.yaml").write_text(f"{(root / 'glue.yaml').read_text()}promote: {{approval: required}}\n")
        of_git = top / folder.partition("/")[0]
        subprocess.run("git init -q . && git add -A", shell=True, cwd=of_git, check=True)
        glue("ci", cwd=root)
        made[name] = of_git / (".gitlab/ml_projects--w_rme-ci.yml" if name == "in a folder" else ".gitlab-ci.yml")
        assert not (of_git / ".github").exists()
    return made


@pytest.mark.parametrize("name", VARIANTS)
def test_gitlab_takes_the_file(variants: dict[str, Path], name: str, tmp_path: Path) -> None:
    """By GitLab's own schema; and shellcheck finds nothing in what the jobs run."""
    schema = ["check-jsonschema", "--builtin-schema", "vendor.gitlab-ci"]
    done = subprocess.run([*schema, variants[name]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    for job in jobs_of(variants[name]).values():
        for part in ("script", "after_script"):
            lines = [*job["before_script"], *job["script"]] if part == "script" else job.get(part, [])
            (tmp_path / "job.sh").write_text("\n".join(["#!/bin/bash", "set -eo pipefail", *lines, ""]))
            words = ["shellcheck", "--exclude=SC2016", tmp_path / "job.sh"]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout
    broken = variants[name].read_text().replace("    - python -m pip", "    - {python: 1}\n    - python -m pip", 1)
    (tmp_path / "broken.yml").write_text(broken.replace("interruptible: true", "interruptible: perhaps"))
    assert subprocess.run([*schema, tmp_path / "broken.yml"], capture_output=True, check=False).returncode == 1


def test_the_steps_are_those_of_github(variants: dict[str, Path], tmp_path: Path, glue: Glue) -> None:
    root = project(tmp_path / "p", {})
    subprocess.run("git init -q . && git add -A", shell=True, cwd=root, check=True)
    glue("ci", cwd=root)
    steps = [
        step["run"]
        for file in (root / ".github/workflows").glob("*.yml")
        for job in yaml.safe_load(file.read_text())["jobs"].values()
        for step in job["steps"]
        if "run" in step
    ]
    asked = {line.strip() for step in steps for line in step.splitlines() if line.strip().startswith("glue ")}
    here = variants["plain"].read_text()
    wanted = {found.group() for line in asked if (found := re.match(r"glue \w+( --[a-z-]+)*", line))}
    assert len(wanted) > 6 and {command for command in wanted if command not in here} == set()


def test_a_project_goes_to_gitlab_and_back(tmp_path: Path, glue: Glue) -> None:
    root = project(tmp_path / "p", {})
    subprocess.run("git init -q -b main . && git add -A", shell=True, cwd=root, check=True)
    glue("ci", cwd=root)
    (root / "requirements.lock").write_text("")
    text = (root / "glue.yaml").read_text()
    assert "updated   glue.yaml" in glue("ci", "--for", "gitlab", "--check", cwd=root, code=1).stdout
    assert (root / "glue.yaml").read_text() == text
    done = glue("ci", "--for", "gitlab", cwd=root)
    assert "new       .gitlab-ci.yml" in done.stdout and "removed   .github/workflows/train.yml" in done.stdout
    assert (
        "in GitLab: Build > Pipeline schedules > " in done.stderr
        and "the job deploy promotes and packages" in done.stderr
    )
    assert json.loads(glue("ci", "--check", "--json", cwd=root, code=1).stdout)["files"] == {
        ".gitlab-ci.yml": "unchanged",
        "Makefile": "unchanged",
        "requirements.in": "unchanged",
        "requirements.lock": "stale",
    }
    glue("ci", "--for", "github", cwd=root)
    assert (root / ".github/workflows/train.yml").exists() and not (root / ".gitlab-ci.yml").exists()
    (root / "glue.yaml").write_text(text.replace('"env": "prod"', '"env": "prod", "service": "gitlab", "cloud": "aws"'))
    assert "ci.cloud: is a login for GitHub's jobs" in glue("ci", cwd=root, code=2).stderr


STANDS_IN = """#!/bin/sh
echo "$*" >> "$(dirname "$0")/../asked"
version=$(cat "$(dirname "$0")/version")
case "$*" in
  "run"*"--no-promote --json") echo '{"version": '"$version"', "champion": 4}';;
  "package serving --version "*) mkdir serving && echo "import sys" > serving/__main__.py;;
  "promote 3"*) echo '{"version": 3, "previous": 3}';;
  "promote "*) echo '{"version": '"$2"', "previous": 4}';;
  "monitor --json") echo '{"retrain": {"outcome": "'"$(cat "$(dirname "$0")/outcome")"'"}}'; exit "$version";;
esac
"""


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory, glue: Glue) -> Path:
    """A project with every command, pushed; no tool of it is run."""
    folder = tmp_path_factory.mktemp("origin")
    work = project(folder / "work", {"service": "gitlab", "secrets": ["TOLD"], **COMMANDS})
    subprocess.run([*GIT, "init", "-q", "-b", "main", "."], cwd=work, check=True)
    subprocess.run([*GIT, "add", "-A"], cwd=work, check=True)
    glue("ci", cwd=work)
    (work / "requirements.lock").write_text(lock("click"))
    subprocess.run([*GIT, "add", "-A"], cwd=work, check=True)
    subprocess.run([*GIT, "commit", "-qm", "all"], cwd=work, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(folder / "origin.git")], check=True)
    return folder / "origin.git"


def stood_in(folder: Path, origin: Path, version: str, outcome: str = "") -> Runner:
    """A script that answers as `glue` does, whose real form the last test runs."""
    runner = Runner(folder, origin, {"TOLD": str(folder / "told")})
    runner.stand_in("glue", STANDS_IN)
    (folder / "bin/version").write_text(version)
    (folder / "bin/outcome").write_text(outcome)
    return runner


def test_what_is_deployed_where(origin: Path, tmp_path: Path) -> None:
    """Staging before anything is promoted, then production; what fails there is taken back, the alias with it."""

    def deployed(version: str, *start: str) -> tuple[dict[str, Job], list[str], list[str]]:
        runner = stood_in(tmp_path / f"run{version}{len(start)}", origin, version)
        jobs = runner.run("push", start=start)
        told = (runner.folder / "told").read_text().splitlines()
        asked = (runner.folder / "asked").read_text().splitlines()
        return jobs, told, [line.split()[0] for line in asked if line != "report"]

    jobs, told, asked = deployed("5")
    assert {name: job.result for name, job in jobs.items()} == {
        **dict.fromkeys(("train-test", "train", "package", "staging"), "success"),
        "deploy": "manual",
    }, jobs["train-test"].log
    digest = jobs["package"].variables["DIGEST"]
    assert re.fullmatch("sha256:[0-9a-f]{64}", digest)
    assert told == [f"staging 5 {digest}"] and asked == ["run", "run", "package"]

    jobs, told, asked = deployed("5", "deploy")
    assert jobs["deploy"].result == "success", jobs["deploy"].log
    assert told[-1] == f"production 5 {jobs['package'].variables['DIGEST']} 4"
    assert asked == ["run", "run", "package", "run", "promote"]

    jobs, told, asked = deployed("7", "deploy")  # staging says no: production and its alias are as they were
    assert (jobs["staging"].result, jobs["deploy"].result) == ("failed", "skipped") and "promote" not in asked

    jobs, told, asked = deployed("6", "deploy")
    assert jobs["deploy"].result == "failed"
    assert told[-1] == "back to 4 from 6" and asked[-2:] == ["promote", "rollback"]

    jobs, told, asked = deployed("3", "deploy")  # what is champion already has nothing before it
    assert jobs["deploy"].result == "success" and told[-1].endswith(" ") and "rollback" not in asked


@pytest.mark.parametrize(("code", "outcome"), [("0", "asked"), ("1", "asked"), ("1", "skipped"), ("4", "")])
def test_what_the_monitor_says_is_heard(code: str, outcome: str, origin: Path, tmp_path: Path) -> None:
    """Drift trains where `on_alert` asks for it and the limits allow it; a monitor that failed does not."""
    runner = stood_in(tmp_path / "run", origin, code, outcome)
    jobs = runner.run("schedule")
    assert list(jobs) == ["monitor"] and jobs["monitor"].result == ("success" if code == "0" else "failed")
    assert jobs["monitor"].artifacts is not None
    trains = "projects/3/trigger/pipeline"
    assert [line.endswith(trains) and "--form ref=main" in line for line in runner.asked] == (
        [True] if (code, outcome) == ("1", "asked") else []
    )
    again = stood_in(tmp_path / "again", origin, "5")
    assert again.run("pipeline")["train"].result == "success"  # which is what that starts


def test_who_started_the_job_is_in_the_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"GITLAB_CI": "true", "GITLAB_USER_LOGIN": "ann", "CI_JOB_URL": "https://gitlab/5"}.items():
        monkeypatch.setenv(name, value)
    who = audit.actor(tmp_path)
    assert audit.identity(who) == "ann" and who["url"] == "https://gitlab/5"
    assert audit.approvers(tmp_path, "production") == ["ann"]
    assert audit.identity({"email": "12-ann@users.noreply.gitlab.com"}) == "ann"


def test_the_jobs_really_run(tmp_path: Path, glue: Glue, warm: Path, empty_store: Path) -> None:
    """A merge request, then what a push to the branch does, up to the champion in production's registry."""
    palmerpenguins.load_penguins().to_csv(tmp_path / "penguins.csv", index=False)
    glue("init", "project", "--data", "penguins.csv", "--target", "species", cwd=tmp_path)
    work, store = tmp_path / "project", f"sqlite:///{shutil.copy(empty_store, tmp_path)}"
    text = (work / "glue.yaml").read_text().replace("model:build", "sklearn.linear_model.LogisticRegression")
    text = text.replace("  labels:\n", "  remote: ${DVC_REMOTE_URL}\n  labels:\n", 1)
    places = 'environments: {prod: {tracking: {uri: "${MLFLOW_TRACKING_URI}"}}}\nci: {env: prod, service: gitlab}\n'
    (work / "glue.yaml").write_text(f"{text}\n{places}")
    (work / "requirements.in").write_text("click\n")  # the whole would be installed for minutes
    (work / "requirements.lock").write_text(lock("click"))
    git = [*GIT, "-C", str(work)]
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    glue("ci", cwd=work)
    variables = {"DVC_REMOTE_URL": str(tmp_path / "remote"), "MLFLOW_TRACKING_URI": store}
    os.environ.update(variables)
    glue("run", "--push", "--no-publish", cwd=work)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(tmp_path / "origin.git")], check=True)

    def pipeline(source: str, **more: Any) -> dict[str, Job]:
        return Runner(tmp_path / source, tmp_path / "origin.git", variables, warm / "glue").run(source, **more)

    (test,) = (request := pipeline("merge_request_event")).values()
    assert list(request) == ["test"] and test.result == "success", test.log
    assert test.artifacts is not None and "glue report" in (test.artifacts / "report.md").read_text()
    jobs = pipeline("push", start=("deploy",))
    assert {job.result for job in jobs.values()} == {"success"}, [job.log for job in jobs.values()]
    import mlflow

    champion = mlflow.MlflowClient(store, store).get_model_version_by_alias("project", "champion")
    assert str(champion.version) == jobs["train"].variables["VERSION"] == "1"
