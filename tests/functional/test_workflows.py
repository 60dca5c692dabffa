"""The generated workflows really run: every step, in fresh clones of a project, against a git and a DVC remote."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import palmerpenguins
import pytest

from tests.support import team
from tests.support.github import Job, Runner, holds, lock, project
from tests.support.project import Glue
from tests.support.server import until

PULL = {"pull_request": {"number": 5, "base": {"sha": "main"}, "head": {"repo": {"full_name": "acme/project"}}}}


class Repository:
    """A project that is pushed to a bare repository, and what GitHub would make of its workflows."""

    def __init__(self, folder: Path, glue: Glue, warm: Path, secrets: dict[str, str], ci: str = "{env: prod}") -> None:
        self.folder, self.glue, self.warm, self.secrets, self.ci = folder, glue, warm, secrets, ci
        self.work, self.origin, self.runs = folder / "project", folder / "origin.git", 0
        palmerpenguins.load_penguins().to_csv(folder / "penguins.csv", index=False)
        glue("init", "project", "--data", "penguins.csv", "--target", "species", cwd=folder)
        self.edit("glue.yaml", "  labels:\n", "  remote: ${DVC_REMOTE_URL}\n  labels:\n")
        self.edit("glue.yaml", "model:build", "sklearn.ensemble.RandomForestClassifier")
        self.edit("glue.yaml", "params: {}", "params: {n_estimators: 50}")
        environment = 'environments: {prod: {tracking: {uri: "${MLFLOW_TRACKING_URI}"}}}'
        (self.work / "glue.yaml").write_text(f"{(self.work / 'glue.yaml').read_text()}\n{environment}\nci: {ci}\n")
        (self.work / "requirements.in").write_text("click\n")  # the whole would be installed for minutes
        (self.work / "requirements.lock").write_text(lock("click"))
        self.git("init", "-q", "--bare", "-b", "main", str(self.origin))
        glue("ci", cwd=self.work)
        self.git("checkout", "-q", "-b", "main")
        self.git("remote", "add", "origin", str(self.origin))
        os.environ.update(secrets)
        glue("run", "--push", "--no-publish", cwd=self.work)
        self.push("first")

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.work / path).read_text()
        assert old in text
        (self.work / path).write_text(text.replace(old, new, 1))

    def git(self, *words: str) -> str:
        named = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
        return subprocess.run([*named, *words], cwd=self.work, check=True, capture_output=True, text=True).stdout

    def push(self, message: str, branch: str = "main") -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", message, "--allow-empty")
        self.git("push", "-q", "origin", f"HEAD:{branch}")

    def pull_request(self, change: Callable[[], None], branch: str, event: dict[str, Any] = PULL) -> tuple[Job, Runner]:
        """What test.yml says of a branch with a change."""
        self.git("checkout", "-q", "-b", branch)
        change()
        self.push(branch, branch)
        self.git("checkout", "-q", "main")
        jobs, runner = self.run("test", branch, {**event})
        return jobs["pipeline"], runner

    def run(
        self, name: str, ref: str = "main", event: dict[str, Any] | None = None, broken: str = "", **inputs: str
    ) -> tuple[dict[str, Job], Runner]:
        self.runs += 1
        base = self.git("rev-parse", "main").strip()
        if event and "pull_request" in event:
            event["pull_request"] = {**event["pull_request"], "base": {"sha": base}}
        runner = Runner(
            self.folder / f"run{self.runs}", self.origin, ref, event or {}, self.secrets, self.warm / "glue"
        )
        if broken:  # a command that fails
            (runner.folder / "bin" / broken).symlink_to("/bin/false")
        return runner.run(name, **inputs), runner


def bad_data(there: Repository) -> Callable[[], None]:
    def change() -> None:
        path = there.work / "data/raw/penguins.csv"
        path.write_text(path.read_text().replace("Adelie", "Emperor"))
        subprocess.run(["dvc", "add", "-q", "data/raw/penguins.csv"], cwd=there.work, check=True)
        there.glue("run", "--push", "--until", "ingest", cwd=there.work)

    return change


def worse_model(there: Repository) -> Callable[[], None]:
    return lambda: there.edit("glue.yaml", "n_estimators: 50", "n_estimators: 50, max_depth: 1")


def better_model(there: Repository) -> Callable[[], None]:
    def change() -> None:
        there.edit("glue.yaml", "sklearn.ensemble.RandomForestClassifier", "sklearn.linear_model.LogisticRegression")
        there.edit("glue.yaml", "params: {n_estimators: 50}", "params: {max_iter: 2000}")

    return change


def check_refused(there: Repository) -> None:
    """A pull request that breaks data is red, one that lowers the metric is red with the numbers."""
    job, _ = there.pull_request(bad_data(there), "bad-data")
    assert job.result == "failure", job.log
    assert (job.steps["Run"], job.steps["Test"], job.steps["Report"]) == ("failure", "skipped", "failure")
    assert "expectations not met: 1; the first is column values to be in set species" in job.summary

    job, _ = there.pull_request(worse_model(there), "worse")
    assert (job.result, job.steps["Run"], job.steps["Report"]) == ("failure", "success", "failure"), job.log
    worse = r"log\\_loss 0\.\d{4}, \w{7,40} 0\.\d{4} on the same holdout: the candidate is worse"
    assert re.search(worse, job.summary), job.summary
    assert r"train.params.max\_depth absent -&gt; 1" in job.summary


def check_good(there: Repository) -> None:
    """A good one is green, and has its comment."""
    job, runner = there.pull_request(better_model(there), "better")
    assert job.result == "success", job.log
    assert set(job.steps.values()) == {"success"}
    assert runner.needs["comment"].result == "success"
    assert any("--method POST repos/acme/project/issues/5/comments" in line for line in runner.asked)
    posted = (runner.folder / "gh.log.comment").read_text()
    assert posted.startswith("<!-- glue report . -->\n## project: good") and posted in job.summary


def check_training(there: Repository, store: str) -> str:
    """main trains, registers a challenger and asks for deployment; the version."""
    jobs, runner = there.run("train")
    assert jobs["train"].result == "success", jobs["train"].log
    assert jobs["deploy"].result == "success"
    version = jobs["train"].outputs["version"]
    assert runner.asked == [f"workflow run deploy.yml --repo acme/project --ref main --field version={version}"]
    import mlflow

    client = mlflow.MlflowClient(store, store)
    assert int(client.get_model_version_by_alias("project", "challenger").version) == int(version)
    assert "executed" not in jobs["train"].log.split("publish")[0]  # the DVC remote had it all
    work = runner.folder / "work-train"
    assert (work / "artifacts/evaluate/metrics.json").is_file()
    done = subprocess.run(
        ["dvc", "status", "evaluate", "package"], cwd=work, capture_output=True, text=True, check=True
    )
    assert "up to date" in done.stdout
    return version


def check_deployment(there: Repository, version: str, store: str) -> None:
    """What was trained is promoted and packaged; where a later step fails, the champion before is put back."""
    import mlflow

    client = mlflow.MlflowClient(store, store)

    def champion() -> str:
        return str(client.get_model_version_by_alias("project", "champion").version)

    jobs, runner = there.run("deploy", version=version)
    assert jobs["package"].result == jobs["deploy"].result == "success", jobs["package"].log + jobs["deploy"].log
    assert champion() == version
    assert (jobs["deploy"].steps["Roll back"], f"project v{version}" in jobs["package"].log) == ("skipped", True)
    assert "Nothing else is deployed: glue.yaml has no ci.deploy" in jobs["deploy"].summary
    jobs, _ = there.run("deploy", broken="tar", version=version)  # of what is champion already
    assert (jobs["package"].result, jobs["deploy"].result) == ("failure", "skipped")
    assert (runner.artifacts / f"serving-v{version}/serving-v{version}.tar.gz").stat().st_size > 100_000

    there.git("merge", "-q", "better")
    there.push("better")
    newer = there.run("train")[0]["train"].outputs["version"]
    assert newer != version
    commands = (
        f"{{env: prod, deploy: 'false', secrets: [{', '.join(n for n in there.secrets if n.startswith('AWS_'))}]}}"
    )
    there.edit("glue.yaml", there.ci, commands)
    there.glue("ci", cwd=there.work)
    there.push("deploys")
    jobs, _ = there.run("deploy", version=newer)
    assert (jobs["deploy"].steps["Promote"], jobs["deploy"].steps["Roll back"]) == ("success", "success")
    assert champion() == version


def check_monitoring(there: Repository, version: str, store: str) -> None:
    """What the champion was asked last week drifts: the report is kept, an issue opened, train.yml asked for."""
    import mlflow
    import pyarrow as pa

    from mlops_glue import tables
    from mlops_glue.scoring import Bundle

    log = there.folder / "log"
    there.edit("glue.yaml", '{tracking: {uri: "${MLFLOW_TRACKING_URI}"}}', f"{{{PROD}}}")
    there.glue("ci", cwd=there.work)
    there.push("monitored")
    there.secrets["PREDICTION_LOG"] = str(log)
    mlflow.MlflowClient(store, store).set_registered_model_alias("project", "champion", version)
    table = palmerpenguins.load_penguins().drop(columns="species")
    table["bill_length_mm"] += 15
    rows = pa.Table.from_pandas(table, preserve_index=False)
    now = pa.array([datetime.now(UTC)] * len(table), pa.timestamp("us", "UTC"))
    ids = pa.array([f"r{at}" for at in range(len(table))])
    own = pa.table({"glue_request_id": ids, "glue_row": [0] * len(table), "glue_time": now})
    own = own.append_column("glue_answered", pa.array([True] * len(table)))
    for name in rows.column_names:
        own = own.append_column(name, rows.column(name))
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    scored = Bundle(there.work / "artifacts/bundle").scored(rows, own)
    tables.write_parquet(log / f"date={day}/v{version}-1.parquet", scored)
    jobs, runner = there.run("monitor")
    assert (jobs["monitor"].result, jobs["alert"].result) == ("failure", "success"), jobs["monitor"].log
    told = json.loads((runner.artifacts / "monitor/monitor.json").read_text())
    assert told["verdict"] == "drift" and "bill_length_mm" in told["versions"][0]["drifted"]
    assert (runner.artifacts / "monitor/monitoring/report.html").stat().st_size > 100_000
    said = [" ".join(line.split()[:2]) for line in runner.asked]
    assert said == ["issue list", "label create", "issue create", "workflow run"]


PROD = 'tracking: {uri: "${MLFLOW_TRACKING_URI}"}, serve: {prediction_log: "${PREDICTION_LOG}"}'
PROD += ", monitor: {on_alert: [retrain], retrain: {data: reread}}"
MONITOR = """#!/bin/sh
[ "$*" = "monitor --json" ] || exit 2
exit=$(cat "$(dirname "$0")/exit") outcome=$(cat "$(dirname "$0")/outcome")
[ "$exit" = 4 ] || echo '{"verdict": "'"$exit"'", "retrain": {"outcome": "'"$outcome"'"}}'
exit "$exit"
"""


@pytest.mark.parametrize(
    ("code", "on_alert", "outcome"),
    [
        ("0", ["retrain"], "asked"),
        ("1", ["retrain"], "asked"),
        ("1", ["retrain"], "skipped"),
        ("1", [], "asked"),
        ("4", ["retrain"], ""),
    ],
)
def test_what_the_monitor_says_is_heard(
    tmp_path: Path, glue: Glue, code: str, on_alert: list[str], outcome: str
) -> None:
    """Only drift opens an issue; it trains only where `on_alert` asks for it and the limits allow it. A script with the
    exit codes stands for the command, which is run by `check_monitoring`."""
    origin, work = tmp_path / "origin.git", tmp_path / "work"

    def edited(text: str) -> str:
        return text.replace("[retrain]", json.dumps(on_alert), 1)

    committed(glue, work, origin, {"secrets": ["TOKEN"]}, edited)
    runner = with_stand_in(Runner(tmp_path / "run", origin, "main", {}, {"TOKEN": "s"}), MONITOR)
    (tmp_path / "run/bin/exit").write_text(code)
    (tmp_path / "run/bin/outcome").write_text(outcome)
    jobs = runner.run("monitor")
    assert jobs["monitor"].result == ("success" if code == "0" else "failure"), jobs["monitor"].log
    assert code == "4" or f'"{code}"' in jobs["monitor"].summary
    assert jobs["alert"].result == ("success" if code == "1" else "skipped"), jobs["alert"].log
    said = [" ".join(line.split()[:2]) for line in runner.asked]
    trained = ["workflow run"] if on_alert and outcome == "asked" else []
    assert said == (["issue list", "label create", "issue create", *trained] if code == "1" else [])
    assert ("actions: write" in (work / ".github/workflows/monitor.yml").read_text()) == bool(on_alert)
    if code == "1" and trained:
        again = Runner(tmp_path / "again", origin, "main", {}, {"TOKEN": "s"})
        for name in ("bin/glue", "bin/exit", "bin/outcome", "gh.log.issue"):
            (tmp_path / "again" / name).write_bytes((tmp_path / "run" / name).read_bytes())
        (tmp_path / "again/bin/glue").chmod(0o755)
        again.run("monitor")
        assert [line.split()[1] for line in again.asked] == ["list", "comment", "run"]


COMMANDS = {
    "deploy": (
        'echo "production $VERSION $DIGEST $BEFORE" >> "$TOLD"\n'
        'tar -tzf "$PACKAGE" >> "$TOLD" && [ ! -e "$TOLD.broken" ]'
    ),
    "staging": 'echo "staging $VERSION $DIGEST" >> "$TOLD" && [ "$VERSION" != 7 ]',
    "rollback": 'echo "back to $BEFORE from $VERSION" >> "$TOLD"',
}
STANDS_IN = """#!/bin/sh
echo "$*" >> "$(dirname "$0")/../asked"
case "$*" in
  "package serving --version "*) mkdir serving && echo "import sys" > serving/__main__.py;;
  "promote 3 --json") echo '{"version": 3, "previous": 3}';;
  "promote "*" --json") echo '{"version": '"$2"', "previous": 4}';;
esac
"""


def committed(glue: Glue, work: Path, origin: Path, ci: dict[str, Any], edit: Callable[[str], str] = str) -> None:
    """A project with its workflows, pushed; no tool of it is run here."""
    project(work, ci)
    (work / "glue.yaml").write_text(edit((work / "glue.yaml").read_text()))
    (work / "tests").mkdir()
    (work / "tests/test_data.py").write_text("def test_data() -> None: ...\n")
    named = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "init", "-q", "-b", "main", str(work)], check=True)
    subprocess.run([*named, "add", "-A"], cwd=work, check=True)
    glue("ci", cwd=work)
    (work / "requirements.lock").write_text(lock("click"))
    subprocess.run([*named, "add", "-A"], cwd=work, check=True)
    subprocess.run([*named, "commit", "-qm", "all"], cwd=work, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(origin)], check=True)


def with_stand_in(runner: Runner, script: str, name: str = "glue") -> Runner:
    """A script in the place of a command, whose real form other tests run."""
    (runner.folder / "bin" / name).write_text(script)
    (runner.folder / "bin" / name).chmod(0o755)
    return runner


def test_what_is_deployed_where(tmp_path: Path, glue: Glue) -> None:
    """Staging before anything is promoted, then production; what fails there is taken back, the alias with it."""
    committed(glue, tmp_path / "work", tmp_path / "origin.git", {"secrets": ["TOLD"], **COMMANDS})

    def deployed(version: str) -> tuple[dict[str, Job], list[str], list[str]]:
        told = tmp_path / f"told{version}"
        if version == "6":
            (tmp_path / "told6.broken").touch()
        runner = Runner(tmp_path / f"run{version}", tmp_path / "origin.git", "main", {}, {"TOLD": str(told)})
        jobs = with_stand_in(runner, STANDS_IN).run("deploy", version=version)
        asked = (runner.folder / "asked").read_text().splitlines()
        return jobs, told.read_text().splitlines(), [line.split()[0] for line in asked]

    jobs, told, asked = deployed("5")
    assert jobs["deploy"].result == "success", jobs["package"].log + jobs["deploy"].log
    digest = jobs["package"].outputs["digest"]
    assert re.fullmatch("sha256:[0-9a-f]{64}", digest)
    assert told[:2] == [f"staging 5 {digest}", f"production 5 {digest} 4"] and "serving/__main__.py" in told
    assert asked == ["package", "run", "promote"]

    jobs, told, asked = deployed("7")  # staging says no: production and its alias are as they were
    assert (jobs["package"].result, jobs["deploy"].result) == ("failure", "skipped")
    assert len(told) == 1 and asked == ["package"]

    jobs, told, asked = deployed("6")
    assert jobs["deploy"].result == "failure"
    assert told[-1] == "back to 4 from 6" and asked == ["package", "run", "promote", "rollback"]

    jobs, told, asked = deployed("3")  # what is champion already has nothing before it
    assert jobs["deploy"].result == "success" and told[1].endswith(" ") and "rollback" not in asked


RED = "#!/bin/sh\nexit 1\n"


def test_a_push_trains_only_what_passes_its_tests(tmp_path: Path, glue: Glue) -> None:
    committed(glue, tmp_path / "work", tmp_path / "origin.git", {"secrets": ["TOKEN"]})
    runner = Runner(tmp_path / "run", tmp_path / "origin.git", "main", {}, {"TOKEN": "s"})
    jobs = with_stand_in(with_stand_in(runner, STANDS_IN), RED, "pytest").run("train")
    assert {name: job.result for name, job in jobs.items()} == {
        "test": "failure",
        "train": "skipped",
        "deploy": "skipped",
    }
    asked = (runner.folder / "asked").read_text()
    assert asked == "run --pull --push --until evaluate\n" and runner.asked == []  # nothing is registered


def test_the_pull_request_of_an_adopted_repository_is_green(tmp_path: Path, glue: Glue, warm: Path) -> None:
    """Its own code is not held to a style that it did not choose, nor is a folder without tests a failure."""
    work = tmp_path / "work"
    (work / "tests").mkdir(parents=True)
    (work / "tests/conftest.py").touch()
    palmerpenguins.load_penguins().to_csv(work / "penguins.csv", index=False)
    (work / "train.py").write_text(
        "import os, sys\nimport pandas as pd\nfrom sklearn.linear_model import LogisticRegression\n"
        "df = pd.read_csv('penguins.csv').dropna(); l = df.pop('species')\n"
        "LogisticRegression(max_iter=500).fit(df[['body_mass_g', 'flipper_length_mm']], l)\n"
    )
    git = ["git", "-C", str(work), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "init", "-q", "-b", "main", str(work)], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "theirs"], check=True)
    glue("adopt", "--yes", cwd=work)
    project = work / "glue"
    (project / "requirements.lock").write_text(lock("click"))
    glue("ci", cwd=project)
    (project / "requirements.in").write_text("click\n")  # the whole would be installed for minutes
    glue("run", "--until", "package", cwd=project)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "glue"], check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(tmp_path / "origin.git")], check=True)
    sha = subprocess.run([*git, "rev-parse", "main"], check=True, capture_output=True, text=True).stdout.strip()
    event = {"pull_request": {**PULL["pull_request"], "base": {"sha": sha}}}
    runner = Runner(tmp_path / "run", tmp_path / "origin.git", "main", event, {}, warm / "glue")
    job = runner.run("glue-test")["pipeline"]
    assert job.result == "success", job.log
    assert {job.steps[name] for name in ("Lint", "Run", "Test", "Report")} == {"success"}


def test_pull_requests_and_training(tmp_path: Path, glue: Glue, warm: Path, empty_store: Path) -> None:
    """The short form: the DVC remote is a folder, the registry a database file."""
    store = f"sqlite:///{shutil.copy(empty_store, tmp_path)}"
    there = Repository(tmp_path, glue, warm, {"DVC_REMOTE_URL": str(tmp_path / "remote"), "MLFLOW_TRACKING_URI": store})
    check_refused(there)
    check_monitoring(there, check_training(there, store), store)


def test_conditions_mean_what_github_means() -> None:
    context = {"github": {"event": {"head": "a"}, "repository": "a"}, "steps": {"p": {"outcome": "success"}}}
    assert holds(None, context, "success") and not holds(None, context, "failure")
    assert not holds("steps.p.outcome == 'success'", context, "failure")  # success() && is meant
    assert holds("failure() && steps.p.outcome == 'success'", context, "failure")
    assert holds("${{ !cancelled() && github.event.head == github.repository }}", context, "failure")
    assert not holds("steps.q.outcome == 'success'", context, "success")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An S3 server (moto) with a bucket, and an MLflow server on PostgreSQL in a database of its own."""
    with (
        team.database() as store,
        team.s3(tmp_path) as s3,
        team.mlflow(tmp_path, store, str(tmp_path / "mlartifacts"), serves=True) as mlflow,
    ):
        team.make_buckets(s3, "dvc")
        until(lambda: team.is_up(mlflow))
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}"}
        yield {"DVC_REMOTE_URL": "s3://dvc/project", "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow}", **keys}


@pytest.mark.long
def test_with_an_s3_server_and_an_mlflow_server(
    tmp_path: Path, glue: Glue, warm: Path, servers: dict[str, str]
) -> None:
    """The long form: what a team has."""
    names = [name for name in servers if name.startswith("AWS_")]
    there = Repository(tmp_path, glue, warm, servers, f"{{env: prod, secrets: [{', '.join(names)}]}}")
    check_refused(there)
    check_good(there)
    version = check_training(there, servers["MLFLOW_TRACKING_URI"])
    check_deployment(there, version, servers["MLFLOW_TRACKING_URI"])


@pytest.mark.long
def test_a_change_in_a_folder_of_a_bigger_repository(tmp_path: Path, glue: Glue) -> None:
    """Base results are found there too, in a new clone that has only the remote."""
    top, root = tmp_path / "top", tmp_path / "top/models/churn"
    root.parent.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "-b", "main", "."], cwd=top, check=True)
    palmerpenguins.load_penguins().to_csv(tmp_path / "p.csv", index=False)
    glue("init", str(root), "--data", "p.csv", "--target", "species", cwd=tmp_path)
    text = (root / "glue.yaml").read_text().replace("model:build", "sklearn.linear_model.LogisticRegression")
    (root / "glue.yaml").write_text(text.replace("  labels:\n", f"  remote: {tmp_path / 'remote'}\n  labels:\n", 1))
    glue("run", "--push", "--no-publish", cwd=root)
    named = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*named, "add", "-A"], cwd=top, check=True)
    subprocess.run([*named, "commit", "-qm", "all"], cwd=top, check=True)
    subprocess.run(["git", "clone", "-q", str(top), str(tmp_path / "clone")], check=True)
    clone = tmp_path / "clone/models/churn"
    told = json.loads(glue("run", "--pull", "--until", "evaluate", "--json", cwd=clone).stdout)
    assert {one["outcome"] for one in told["stages"]} == {"unchanged"}
    told = json.loads(glue("report", "--pr", "--json", cwd=clone).stdout)
    assert told["same_holdout"] and told["metrics"][0]["difference"] == 0
    (clone / "glue.yaml").write_text((clone / "glue.yaml").read_text().replace("test_size: 0.2", "test_size: 0.3"))
    assert "stage split did not run" in glue("report", "--pr", cwd=clone, code=1).stdout
    assert "no such commit" in glue("report", "--pr", "--base", "nope", cwd=clone, code=2).stderr
