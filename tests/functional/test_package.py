"""`glue package`: a folder that serves without glue, and the image of it, which is really built and run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import distribution
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops_glue import layout
from mlops_glue.monitoring.history import GAUGES
from mlops_glue.serving.metrics import HELP
from tests.support.project import Glue, on_penguins
from tests.support.server import ask, free_port, until

ROW = {"island": "Dream", "year": 2008, "bill_length_mm": 40.0, "bill_depth_mm": 18.0}
WATCHING = ("alerts.yml", "grafana/dashboard.json")
MOST_BYTES = 450 << 20  # of the image, unpacked


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, glue: Glue, empty_store: Path) -> Path:
    """The penguins, with a champion."""
    root = on_penguins(tmp_path_factory.mktemp("package"), "P.1_a", glue, empty_store)
    glue("run", "--set", "train.estimator=sklearn.linear_model.LogisticRegression", cwd=root)
    return root


@pytest.fixture(scope="module")
def packed(project: Path, glue: Glue) -> Path:
    """Its package, away from the project."""
    glue("package", "serving", cwd=project)
    return (project / "serving").rename(project.parent / "serving")


def served(command: list[str], port: int, env: dict[str, str], meanwhile: Callable[[str], None]) -> int:
    """Starts a server, does something with its address, stops it; the exit code."""
    with subprocess.Popen(command, env=env, cwd="/", stderr=subprocess.PIPE, text=True) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(300):
                assert process.poll() is None, process.stderr and process.stderr.read()
                try:
                    if ask(url, "/ready")[0] == 200:
                        break
                except OSError:
                    time.sleep(0.1)
            meanwhile(url)
            process.send_signal(signal.SIGTERM)
            return process.wait(30)
        finally:
            process.kill()


def answers(url: str) -> None:
    assert ask(url, "/predict", ROW)[1]["prediction"] in ("Adelie", "Chinstrap", "Gentoo")
    assert ask(url, "/predict", {"island": 7})[0] == 422
    assert "docs/files/swagger-ui-bundle.js" in ask(url, "/")[1]  # and it is here, so that no network is needed
    assert len(ask(url, "/docs/files/swagger-ui-bundle.js")[1]) > 1_000_000


def alone(packed: Path, site: Path) -> list[str]:
    """Python that can import what `requirements.txt` names, and nothing else that is installed: `site` links to it."""
    names = re.findall(r"^([A-Za-z0-9_.-]+)==", (packed / "requirements.txt").read_text(), re.MULTILINE)
    assert not {"pandas", "scikit-learn", "mlflow", "dvc", "rich", "ruamel.yaml", "jinja2", "filelock"} & set(names)
    site.mkdir()
    for found in map(distribution, names):
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(found.locate_file(top))  # type: ignore[arg-type]
    return ["env", f"PYTHONPATH={site}", sys.executable, "-S"]  # its other processes have the same


def test_the_folder_serves_alone(packed: Path, tmp_path: Path) -> None:
    """Its own code and bundle, and of what is installed only what `requirements.txt` names; its log is shipped."""
    import pyarrow.parquet as pq

    port, python = free_port(), alone(packed, tmp_path / "site")
    run = [*python, str(packed), "--port", str(port), "--state", str(tmp_path / "state")]
    assert served(run, port, dict(os.environ), answers) == 0
    (log,) = (tmp_path / "state/data/predictions").glob("date=*/*.parquet")
    assert pq.read_table(log)["island"].to_pylist() == [ROW["island"]]
    done = subprocess.run([*python, packed, "--check", "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["version"] == 1


def test_what_is_not_installed_is_told(packed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "räum x"
    shutil.copytree(packed, folder)
    python = alone(packed, tmp_path / "site")
    for missing in ("pydantic", "onnxruntime"):  # asked for at once, and by the model
        (tmp_path / "site" / missing).unlink()
        done = subprocess.run([*python, folder, "--check"], capture_output=True, text=True, check=False)
        hint = f"hint: pip install --requirement '{folder}/requirements.txt'\n"
        assert (done.returncode, done.stderr) == (4, f"error: No module named '{missing}'\n{hint}")
        (tmp_path / "site" / missing).symlink_to(distribution(missing).locate_file(missing))  # type: ignore[arg-type]
    shutil.rmtree(tmp_path / "site")
    (folder / "wheels/a.whl").touch()
    done = subprocess.run([*python, folder, "--check"], capture_output=True, text=True, check=False)
    assert f"pip install --no-index --find-links '{folder}/wheels' --requirement" in done.stderr


def test_what_is_not_safe_is_not_served(packed: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, packed, "--host", "0.0.0.0"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "names no key" in done.stderr
    shutil.copytree(packed, tmp_path / "changed")
    with (tmp_path / "changed/bundle/model.onnx").open("ab") as file:
        file.write(b" ")
    done = subprocess.run(
        [sys.executable, tmp_path / "changed", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "is not the bundle that was registered" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_of_the_users_is_not_overwritten(project: Path, packed: Path, glue: Glue) -> None:
    home = project
    (home / "mine").mkdir()
    assert "was not written by glue package" in glue("package", "mine", cwd=home, code=2).stderr
    assert "has no such version" in glue("package", "other", "--version", "9", cwd=home, code=2).stderr
    assert not (home / "other").exists() and not list(home.glob(".glue-package-*"))
    shutil.copytree(packed, home / "serving")
    (home / "serving/bundle/left.json").touch()
    git = ["git", "init", "-q", home / "serving"]
    subprocess.run(git, check=True)
    (home / ".glue-package-serving/package").mkdir(parents=True)  # as a killed one leaves it
    manifest = home / "serving/deploy/kubernetes.yml"
    made = manifest.read_text()
    manifest.write_text(f"# mine\n{made}".replace("replicas: 2", "replicas: 5"))
    schema = home / "serving/bundle/schema.json"
    text = schema.read_text()
    schema.write_text(f"{text} ")
    said = glue("package", "serving", cwd=home, code=2).stderr
    assert f"{schema}: differs from what glue package wrote" in said and schema.read_text() == f"{text} "
    schema.unlink()
    glue("package", "serving", cwd=home)  # one of glue's own is made anew
    assert schema.read_text() == text
    assert (home / "serving/bundle/left.json").exists() and (home / "serving/.git/HEAD").exists()
    shutil.rmtree(home / "serving/.git")  # the project has one, too
    assert not list(home.glob(".glue-package-*"))
    assert manifest.read_text() == f"# mine\n{made}".replace("replicas: 2", "replicas: 5")  # but what was edited
    kept = home / "serving" / layout.GENERATED  # of a version that had another number there
    kept.write_text(kept.read_text().replace("replicas: 2", "replicas: 3"))
    assert "serving/deploy/kubernetes.yml: contains both sides" in glue("package", "serving", cwd=home, code=1).stderr
    assert "<<<<<<< yours\n" in manifest.read_text()
    assert "contains an unresolved conflict" in glue("package", "serving", cwd=home, code=1).stderr


def test_git_keeps_the_edits_and_not_what_is_built(project: Path, tmp_path: Path, glue: Glue) -> None:
    """What is committed makes the package anew, and has neither secrets nor what a linter finds in glue."""
    made = project / "räum x"
    said = glue("package", made.name, cwd=project).stdout
    assert "python 'räum x' --check    docker build --tag p-1-a:v1 'räum x'\n" in said
    manifest, secrets = made / "deploy/kubernetes.yml", made / "deploy/.env"
    manifest.write_text(f"# mine\n{manifest.read_text()}")
    secrets.write_text("POSTGRES_PASSWORD=x\n")
    subprocess.run(["ruff", "check", "."], cwd=project, check=True)
    subprocess.run(["ruff", "check", "--no-respect-gitignore", made / "__main__.py"], cwd=project, check=True)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["add", "-A"], ["commit", "-qm", "all"], ["clone", "-q", ".", str(tmp_path / "clone")]):
        subprocess.run([*git, *words], cwd=project, check=True)
    clone = tmp_path / "clone" / made.name
    there = {path.name for path in clone.iterdir()}
    assert {"Dockerfile", "deploy", ".gitignore", "serve.json"} <= there
    assert not {"bundle", "mlops_glue", "wheels", "online_store.db"} & there
    assert not (clone / "deploy/.env").exists()
    done = subprocess.run([sys.executable, clone, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr == f"error: {clone}/bundle: does not exist\nhint: glue package '{clone}', in the project\n"
    glue("package", made.name, cwd=project)
    assert secrets.read_text() == "POSTGRES_PASSWORD=x\n"  # which git does not have
    shutil.rmtree(made)
    shutil.copytree(clone, made)
    glue("package", made.name, cwd=project)
    assert (made / "bundle").is_dir() and manifest.read_text().startswith("# mine\n")


def test_the_dockerfile_has_no_finding(packed: Path, tmp_path: Path) -> None:
    subprocess.run(["hadolint", packed / "Dockerfile"], check=True)
    text = (packed / "Dockerfile").read_text()
    (tmp_path / "Dockerfile").write_text(
        text.replace("FROM ${BASE}\n", "FROM python\n").replace("WORKDIR /app", "WORKDIR app")
    )
    assert subprocess.run(["hadolint", tmp_path / "Dockerfile"], capture_output=True, check=False).returncode == 1


def test_compose_and_kubernetes_are_valid(project: Path, tmp_path: Path, glue: Glue) -> None:
    text = (project / "glue.yaml").read_text()
    keyed = text.replace("serve:\n", 'serve:\n  api_keys: ["${GLUE_API_KEY}"]\n', 1)
    keyed += "\nci: {image: ghcr.io/acme/penguins}\nenvironments: {prod: {compute: {engine: ray}}}\n"
    for name, config, words in (("open", text, ()), ("keyed", keyed, ("--env", "prod"))):
        (project / "glue.yaml").write_text(config)
        glue("package", str(tmp_path / name), *words, cwd=project)
    (project / "glue.yaml").write_text(text)
    for name in ("open", "keyed"):
        deploy = tmp_path / name / "deploy"
        schema = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", deploy / "compose.yml"]
        subprocess.run(schema, check=True, capture_output=True)
        compose = yaml.safe_load((deploy / "compose.yml").read_text())
        assert re.fullmatch("[a-z0-9][a-z0-9_-]*", compose["name"])
        assert compose["services"]["server"]["deploy"] == {"replicas": 3}
        assert "ports" not in compose["services"]["server"]  # nginx has it, and asks all three
        scraped, _ = yaml.safe_load((deploy / "prometheus.yml").read_text())["scrape_configs"]
        read = scraped.get("authorization", {}).get("credentials_file")
        secrets = compose["services"]["prometheus"].get("secrets", [])
        mounted = {compose["secrets"][one["source"]]["environment"]: one["target"] for one in secrets}
        assert mounted == ({"GLUE_API_KEY": read} if name == "keyed" else {}) and (read is None) == (name == "open")
        subprocess.run(["hadolint", deploy / "jobs.Dockerfile"], check=True)
        assert (deploy / "ray.yml").is_file() == (name == "keyed")
        found = list(yaml.safe_load_all((deploy / "kubernetes.yml").read_text()))
        kinds = {"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "CronJob"}
        assert {one["kind"] for one in found} == kinds
        check_rollout(found[0]["spec"])
        (job,) = (one for one in found if one["kind"] == "CronJob")
        (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        prod = [{"name": "GLUE_ENV", "value": "prod"}]
        assert container.get("env", []) == (prod if name == "keyed" else [])
        for at, one in enumerate(found):  # of a file with many, the tool tells the first error of each only
            (tmp_path / "one.yml").write_text(yaml.safe_dump(one))
            assert not invalid(tmp_path / "one.yml"), (at, one["kind"])
        assert ("--insecure" in (deploy / "kubernetes.yml").read_text()) == (name == "open")
    one["spec"]["scedule"] = "0 0 * * *"
    (tmp_path / "one.yml").write_text(yaml.safe_dump(one))
    assert invalid(tmp_path / "one.yml")


def check_rollout(deployment: dict[str, Any]) -> None:
    """No pod goes before another is ready, and each may answer what it has: 5 s of preStop, 1 of drain_s, 30, 30."""
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    pod = deployment["template"]["spec"]
    (server,) = pod["containers"]
    assert server["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert server["lifecycle"]["preStop"] == {"exec": {"command": ["sleep", "5"]}}
    assert pod["terminationGracePeriodSeconds"] >= 5 + 1 + 30 + 30


def invalid(path: Path) -> bool:
    done = subprocess.run(["kubernetes-validate", "--strict", path], capture_output=True, check=False)
    return done.returncode != 0


def test_what_is_watched_is_what_is_exported(packed: Path) -> None:
    """Every metric of the alerts and of the dashboard is one that /metrics or the monitor has, or can have."""
    asked = set(re.findall(r"glue_\w+", "".join((packed / "deploy" / name).read_text() for name in WATCHING)))
    port, there = free_port(), {*HELP, *(f"{name}_bucket" for name in HELP)}
    there |= {f"glue_monitor_{name}" for name in GAUGES}
    there |= {"glue_log_lag_seconds", "glue_log_waiting_segments"}  # of a server with a log

    def missing(url: str) -> set[str]:
        told = re.findall(r"^# TYPE (glue_\w+)", ask(url, "/metrics")[1], re.MULTILINE)
        there.update(told, [f"{name}_bucket" for name in told])
        return asked - there

    def look(url: str) -> None:
        answers(url)
        until(lambda: not missing(url))

    served([sys.executable, str(packed), "--port", str(port)], port, dict(os.environ), look)
    assert asked and asked <= there, asked - there


def test_the_dashboard_says_what_each_panel_means(packed: Path) -> None:
    dashboard = json.loads((packed / "deploy/grafana/dashboard.json").read_text())
    rows = [panel for panel in dashboard["panels"] if panel["type"] == "row"]
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len(rows) == 3 and len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert all(panel["description"] and panel["fieldConfig"]["defaults"]["unit"] for panel in panels)
    ends = sorted((p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"]) for p in dashboard["panels"])
    assert all(later[0] in (first[0], first[1]) or later[0] >= first[1] for first, later in pairwise(ends))
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    names = {one["name"] for one in dashboard["templating"]["list"]}
    assert {name for expr in asked for name in re.findall(r"\$(\w+)", expr)} == names == {"model", "instance"}
    shown = set(re.findall(r"glue_\w+", " ".join(asked)))
    all_series = {*HELP, *(f"glue_monitor_{name}" for name in GAUGES)}
    assert all_series <= {*shown, "glue_monitor_column_threshold"}, all_series - shown


def buildah(*words: str, cwd: Path | None = None) -> str:
    command, *rest = words
    storage = [
        "--root",
        "/var/tmp/glue-buildah/root",
        "--runroot",
        "/var/tmp/glue-buildah/run",
        "--storage-driver",
        "vfs",
    ]
    done = subprocess.run(["buildah", *storage, command, *rest], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("buildah"), reason="needs root, buildah and mmdebstrap")
def test_the_image_is_built_and_run(
    project: Path, tmp_path: Path, glue: Glue, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a Docker engine: a Debian base, buildah, then chroot and setpriv."""
    packed = tmp_path / "image"
    glue("package", str(packed), "--wheels", cwd=project)
    slim = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]  # as slim images do
    base = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=python3,python3-venv", *slim, "bookworm"]
    subprocess.run([*base, str(tmp_path / "base.tar")], check=True, capture_output=True)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
    how = ["--isolation", "chroot", "--format", "docker"]
    buildah("build", "--quiet", *how, "--tag", "localhost/base", str(tmp_path))
    buildah("build", *how, "--build-arg", "BASE=localhost/base", "--tag", "localhost/serving", str(packed))
    container = buildah("from", "localhost/serving")
    try:
        root = Path(buildah("mount", container))
        made: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", "localhost/serving"))["Docker"][
            "config"
        ]
        assert (made["User"], made["StopSignal"], made["WorkingDir"]) == ("10001:10001", "SIGTERM", "/app")
        assert "Healthcheck" in made
        size = int(subprocess.run(["du", "-sb", root], capture_output=True, text=True, check=True).stdout.split()[0])
        with capsys.disabled():
            sys.stdout.write(f"\nserving image: {size / 2**20:.0f} MB unpacked\n")
        assert size <= MOST_BYTES
        assert not [p for p in (root / "usr/bin").iterdir() if re.fullmatch(r"(gcc|cc|g\+\+|make)(-\d+)?", p.name)]
        port = free_port()
        user = ["setpriv", "--reuid", "10001", "--regid", "10001", "--clear-groups", "--no-new-privs"]
        start = [*made["Entrypoint"], "--insecure", "--port", str(port)]
        env = dict(one.split("=", 1) for one in made["Env"])
        assert served(["chroot", str(root), *user, *start], port, env, answers) == 0
    finally:
        buildah("rm", "--all")
        buildah("rmi", "--all", "--force")
