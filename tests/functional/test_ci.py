"""`glue ci`: every variant of the workflows is safe by the judgement of four linters, and stale files are told."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops_glue.version import __version__
from tests.support.github import project
from tests.support.project import Glue

ROOT = Path(__file__).parents[2]
IMAGES = {
    None: None,
    "ghcr": "ghcr.io/acme/churn",
    "aws": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/churn",
    "gcp": "europe-docker.pkg.dev/acme/images/churn",
    "azure": "acme.azurecr.io/churn",
    "other": "registry.example.org:5000/acme/churn",
}


def commit(root: Path) -> None:
    subprocess.run("git init -q . && git add -A", shell=True, cwd=root, check=True)


def audited(root: Path, *, approval: bool) -> None:
    """The audit record is shared, and approvals are asked for."""
    more = "audit: {remote: origin}\n" + ("promote: {approval: required}\n" if approval else "")
    (root / "glue.yaml").write_text((root / "glue.yaml").read_text() + more)


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory, glue: Glue) -> Path:
    """Each cloud, each registry, with and without features, schedule, remote, MLflow server; in a sub-folder too."""
    top = tmp_path_factory.mktemp("variants")
    clouds = (None, "aws", "gcp", "azure")
    for at, (cloud, image) in enumerate(itertools.product(clouds, IMAGES)):
        if image in clouds and image not in (None, cloud):
            continue  # nobody would log in
        ci = {
            "cloud": cloud,
            "image": IMAGES[image],
            "schedule": "0 6 * * 1-5" if at % 3 else None,
            "secrets": ["TOKEN"],
        }
        if at % 3 != 1:
            ci |= {
                "staging": "./deploy.sh staging",
                "deploy": 'helm upgrade churn . --set "digest=$DIGEST"\necho done: ok',
            }
        if at % 3 == 2:
            ci |= {"rollback": "helm rollback churn"}
        root = project(top / f"v{at}", ci, features=at % 2 == 1, remote=at % 5 != 0, tracked=at % 7 != 0)
        if at % 2:
            audited(root, approval=at % 4 == 1)
        commit(root)
        glue("ci", cwd=root)
    for folder in ("models/churn", "ml projects/wärme"):
        inside = project(top / "sub" / folder, {"cloud": "aws", "image": IMAGES["ghcr"]})
        commit(top / "sub")
        glue("ci", cwd=inside)
    return top


def clean(*words: str, cwd: Path) -> None:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def each(top: Path, folder: str = "workflows/") -> list[str]:
    return sorted(str(p) for p in top.glob(f"**/.github/{folder}*.yml"))


LINTERS: dict[str, Callable[[Path], list[str]]] = {
    "schema": lambda top: ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", *each(top)],
    "timeouts": lambda top: [
        "check-jsonschema",
        "--builtin-schema",
        "custom.github-workflows-require-timeout",
        *each(top),
    ],
    "dependabot": lambda top: ["check-jsonschema", "--builtin-schema", "vendor.dependabot", *each(top, "")],
    "actionlint": lambda top: ["actionlint", *each(top)],  # and by it shellcheck
    "zizmor": lambda top: ["zizmor", "--offline", "--persona=auditor", "--no-progress", *each(top), *each(top, "")],
}


@pytest.mark.parametrize("name", LINTERS)
def test_this_repository_holds_to_the_same(name: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    assert len(each(tmp_path)) >= 3
    clean(*LINTERS[name](tmp_path), cwd=tmp_path)


@pytest.mark.parametrize("name", LINTERS)
def test_no_linter_finds_anything(variants: Path, name: str) -> None:
    assert len(each(variants)) > 50
    clean(*LINTERS[name](variants), cwd=variants)


UNSAFE = {
    "  pull_request:\n": "  pull_request_target:\n",
    "run: test ! -d tests || pytest": "run: echo ${{ github.event.pull_request.title }}",
    "permissions: {}": "permissions: write-all",
    "          persist-credentials: false\n": "",
}


@pytest.mark.parametrize("good", UNSAFE)
def test_the_linters_see_what_is_unsafe(variants: Path, tmp_path: Path, good: str) -> None:
    text = (variants / "v1/.github/workflows/test.yml").read_text()
    assert good in text
    folder = tmp_path / ".github/workflows"
    folder.mkdir(parents=True)
    (folder / "test.yml").write_text(text.replace(good, UNSAFE[good]))
    with pytest.raises(AssertionError):
        clean(*LINTERS["zizmor"](tmp_path), cwd=tmp_path)


def test_shellcheck_is_heard(variants: Path, tmp_path: Path) -> None:
    folder = tmp_path / ".github/workflows"
    folder.mkdir(parents=True)
    text = (variants / "v1/.github/workflows/test.yml").read_text()
    (folder / "test.yml").write_text(text.replace('--base "$BASE"', "--base $BASE"))
    with pytest.raises(AssertionError, match="SC2086"):
        clean(*LINTERS["actionlint"](tmp_path), cwd=tmp_path)


def test_what_the_workflows_may(variants: Path) -> None:
    """Our own rules, beside the linters'."""
    for path in map(Path, each(variants)):
        text, tree = path.read_text(), yaml.safe_load(path.read_text())
        assert tree["permissions"] == {} and "concurrency" in tree
        for used in re.findall(r"uses: (.*)", text):
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v[\d.]+", used)
        shares = (
            "audit: {remote: origin}" in (path.parents[2] / "glue.yaml").read_text()
            if "sub" not in str(path)
            else False
        )
        for name, job in tree["jobs"].items():
            assert set(job["permissions"]) and "write-all" not in str(job["permissions"])
            writes = shares and (path.stem, name) in (("train", "train"), ("deploy", "deploy"))
            assert (job["permissions"].get("contents") == "write") == writes
            for step in job["steps"]:
                assert "${{" not in step.get("run", "")
                # who may push has no code of the project beside it but that which moves an alias
                assert "GIT_CONFIG_VALUE_0" not in step.get("env", {}) or re.search("promote|rollback", step["run"])
        events = set(tree[True])
        assert "pull_request_target" not in events and "workflow_run" not in events
        if "pull_request" in events:
            assert "MLFLOW_TRACKING_URI" not in text and "REDIS_URL" not in text


def test_the_docs_pin_actions_as_the_workflows_do() -> None:
    pins = (ROOT / "templates/ci/actions.txt").read_text()
    used = re.findall(r"- uses: ([\w./-]+)@(\w+) # (\S+)", (ROOT / "docs/lineage.md").read_text())
    assert used
    assert all(f"{name} {version} {commit}" in pins for name, commit, version in used)


def test_an_approval_is_a_review_of_the_environment(variants: Path) -> None:
    found = {}
    for path in variants.glob("v*/.github/workflows/deploy.yml"):
        job = yaml.safe_load(path.read_text())["jobs"]["deploy"]
        (step,) = (step for step in job["steps"] if step["name"] == "Promote")
        config = (path.parents[2] / "glue.yaml").read_text()
        asked = ("approval: required" in config, "remote: origin" in config)
        found[asked] = (
            "--approve" in step["run"],
            job["permissions"].get("actions"),
            "GITHUB_TOKEN" in step.get("env", {}),
        )
        assert job["environment"] == "production"
    assert found == {
        (False, False): (False, None, False),
        (False, True): (False, "read", True),
        (True, True): (True, "read", True),
    }


def test_only_the_server_of_the_job_gets_its_token(variants: Path) -> None:
    """What the step hands to git, as git understands it."""
    job = yaml.safe_load((variants / "v1/.github/workflows/deploy.yml").read_text())["jobs"]["deploy"]
    (step,) = (step for step in job["steps"] if step["name"] == "Promote")
    config = {key: value for key, value in step["env"].items() if key.startswith("GIT_CONFIG")}
    config = {key: value.replace("${{ github.server_url }}", "https://github.com") for key, value in config.items()}
    env = {**os.environ, **config, "GITHUB_TOKEN": "t0ken", "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true"}

    def filled(host: str) -> str:
        said = f"protocol=https\nhost={host}\npath=acme/project\n\n"
        words = ["git", "credential", "fill"]
        return subprocess.run(words, input=said, env=env, capture_output=True, text=True, check=False).stdout

    assert "username=x-access-token\npassword=t0ken\n" in filled("github.com")
    assert "t0ken" not in filled("example.org")


def test_each_secret_that_glue_yaml_names_is_handed_over(variants: Path) -> None:
    train = (variants / "v1/.github/workflows/train.yml").read_text()
    handed = {"DVC_REMOTE_URL", "FEAST_REGISTRY", "LOG_BUCKET", "MLFLOW_TRACKING_URI", "REDIS_URL", "TOKEN"}
    assert set(re.findall(r"secrets\.(\w+)", train)) == handed
    test = (variants / "v1/.github/workflows/test.yml").read_text()
    assert set(re.findall(r"secrets\.(\w+)", test)) == {"DVC_REMOTE_URL", "FEAST_REGISTRY", "TOKEN"}


def test_in_a_folder_of_a_bigger_repository(variants: Path) -> None:
    workflows = variants / "sub/.github/workflows"
    prefixes = ("ml_projects--w_rme", "models--churn")
    assert sorted(p.name for p in workflows.iterdir()) == [
        f"{prefix}-{n}.yml" for prefix in prefixes for n in ("deploy", "monitor", "test", "train")
    ]
    for name in ("train", "monitor"):
        text = (workflows / f"ml_projects--w_rme-{name}.yml").read_text()
        assert re.search(r"gh workflow run ml_projects--w_rme-\w+\.yml ", text)
    job = yaml.safe_load((workflows / "models--churn-train.yml").read_text())["jobs"]["train"]
    assert job["defaults"]["run"]["working-directory"] == "models/churn"
    assert (variants / "sub/models/churn/Makefile").is_file()


def test_stale_files_are_told_and_written_again(tmp_path: Path, glue: Glue) -> None:
    root = project(tmp_path / "p", {})
    commit(root)
    assert "new       .github/workflows/test.yml" in glue("ci", "--check", cwd=root, code=1).stdout
    glue("ci", cwd=root)
    glue("ci", "--check", cwd=root, code=1)  # the lock file is not there
    (root / "requirements.lock").write_text("")
    assert "lacks mlops-glue[" in glue("ci", "--check", cwd=root, code=1).stderr
    lock(root)
    glue("ci", "--check", cwd=root)
    (root / "glue.yaml").write_text((root / "glue.yaml").read_text().replace('"prod"', '"prod", "schedule": null'))
    told = json.loads(glue("ci", "--check", "--json", cwd=root, code=1).stdout)["files"]
    assert [p for p, outcome in told.items() if outcome not in ("unchanged",)] == [
        ".github/workflows/monitor.yml",
        "Makefile",
    ]
    assert (told[".github/workflows/monitor.yml"], told["Makefile"]) == ("removed", "updated")
    glue("ci", cwd=root)
    assert not (root / ".github/workflows/monitor.yml").exists()
    glue("ci", "--check", cwd=root)


def test_a_file_of_the_users_is_left_alone(tmp_path: Path, glue: Glue) -> None:
    root = project(tmp_path / "p", {})
    (root / "Makefile").write_text("all:\n\techo mine\n")
    (root / "requirements.in").write_text("mlops-glue\nmine>2\n-r more.in\n")
    commit(root)
    assert "yours     Makefile" in glue("ci", cwd=root).stdout
    assert "echo mine" in (root / "Makefile").read_text()
    lock(root, "mine==1.0")
    assert "lacks mine>2" in glue("ci", "--check", cwd=root, code=1).stderr
    lock(root, "mine==3.0")
    glue("ci", "--check", cwd=root)


def test_the_requirements_follow_the_config(tmp_path: Path, glue: Glue) -> None:
    root = project(tmp_path / "p", {})
    commit(root)
    glue("ci", cwd=root)
    lock(root)
    (root / "glue.yaml").write_text((root / "glue.yaml").read_text().replace('"prod"', '"prod", "cloud": "aws"'))
    assert "updated   requirements.in" in glue("ci", "--check", cwd=root, code=1).stdout
    glue("ci", cwd=root)
    assert ",s3," in (root / "requirements.in").read_text()
    (root / "vendor").mkdir()
    (root / "vendor" / f"mlops_glue-{__version__}-py3-none-any.whl").write_text("")
    glue("ci", cwd=root)
    assert "\n./vendor/mlops_glue-" in (root / "requirements.in").read_text()
    glue("ci", "--check", cwd=root)
    text = (root / "requirements.lock").read_text()
    (root / "requirements.lock").write_text(text.replace("dvc-s3==", "dvc-s4=="))
    assert "lacks dvc-s3" in glue("ci", "--check", cwd=root, code=1).stderr


def lock(root: Path, *more: str) -> None:
    """As `make lock` would, of what is installed here."""
    names = {dist.name: dist.version for dist in importlib.metadata.distributions()}
    lines = [f"{name}=={version} \\\n    --hash=sha256:{'0' * 64}" for name, version in sorted(names.items())]
    (root / "requirements.lock").write_text("\n".join([*lines, *more]) + "\n")


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, f"{sys.version_info.major}.{sys.version_info.minor}"),
        ({".python-version": "3.12.4\n"}, "3.12"),
        (
            {".python-version": "3.9\n"},
            f"{sys.version_info.major}.{sys.version_info.minor}",
        ),  # which glue does not take
        ({"pyproject.toml": '[project]\nname = "a"\nrequires-python = "~=3.12.0"\n'}, "3.12"),
        ({"pyproject.toml": '[project]\nname = "a"\nrequires-python = ">=3.13.2"\n'}, "3.13"),
        ({".github/workflows/test.yml": '# Made by `glue ci`\npython-version: "3.12"\n'}, "3.12"),  # as it was
        ({"pyproject.toml": "torn ["}, f"{sys.version_info.major}.{sys.version_info.minor}"),
    ],
)
def test_the_jobs_have_the_projects_python(files: dict[str, str], wanted: str, tmp_path: Path, glue: Glue) -> None:
    root = project(tmp_path / "p", {})
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    commit(root)
    glue("ci", cwd=root)
    assert f'python-version: "{wanted}"' in (root / ".github/workflows/test.yml").read_text()
    assert f"--python-version {wanted} " in (root / "Makefile").read_text()
    lock(root)
    glue("ci", "--check", cwd=root)


def test_a_glue_that_no_index_has(tmp_path: Path, glue: Glue) -> None:
    """`make lock` says what is missing."""
    root = project(tmp_path / "p", {})
    commit(root)
    glue("ci", cwd=root)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/uv").symlink_to("/bin/false")
    env = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(["make", "lock"], cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode and f"if no index has mlops-glue {__version__}, put its wheel into vendor/" in done.stderr
    (root / "vendor").mkdir()
    (root / "vendor" / f"mlops_glue-{__version__}-py3-none-any.whl").write_text("")
    glue("ci", cwd=root)
    done = subprocess.run(["make", "lock"], cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode and "no index" not in done.stderr


def test_what_is_deployed_is_told(tmp_path: Path, glue: Glue) -> None:
    root = project(tmp_path / "p", {})
    commit(root)
    assert (
        "deploy.yml promotes and packages, but deploys nothing: set ci: {deploy: COMMAND}"
        in glue("ci", cwd=root).stderr
    )
    (root / "glue.yaml").write_text((root / "glue.yaml").read_text().replace('"prod"', '"prod", "deploy": "./x"'))
    assert "deploys nothing" not in glue("ci", cwd=root).stderr


def test_a_folder_in_the_place_of_a_file(tmp_path: Path, glue: Glue) -> None:
    root = project(tmp_path / "p", {})
    commit(root)
    (root / ".github/workflows/test.yml").mkdir(parents=True)
    assert "test.yml: is a folder" in glue("ci", cwd=root, code=2).stderr


def test_a_branch_that_git_has_not(tmp_path: Path, glue: Glue) -> None:
    root = project(tmp_path / "p", {})
    commit(root)
    subprocess.run(
        "git -c user.name=a -c user.email=a@b commit -qm x; git branch -M trunk", shell=True, cwd=root, check=True
    )
    assert "train.yml waits for pushes to main" in glue("ci", cwd=root).stderr


def test_without_a_server_only_the_tests_are_written(tmp_path: Path, glue: Glue) -> None:
    root = project(tmp_path / "p", {}, tracked=False)
    commit(root)
    done = glue("ci", cwd=root)
    assert [p.name for p in (root / ".github/workflows").iterdir()] == ["test.yml"]
    assert "environments.prod.tracking.uri is not set" in done.stderr


def test_make_shows_the_commands(variants: Path) -> None:
    done = subprocess.run(["make"], cwd=variants / "v1", capture_output=True, text=True, check=True)
    assert re.search(r"^train +.*register the result as challenger$", done.stdout, re.MULTILINE)
    done = subprocess.run(
        ["make", "-n", "--no-print-directory", "test", "train"],
        cwd=variants / "v1",
        capture_output=True,
        text=True,
        check=True,
    )
    workflows = [(variants / f"v1/.github/workflows/{n}.yml").read_text() for n in ("test", "train")]
    for line in done.stdout.splitlines():
        assert line.split(" --base")[0] in "".join(workflows)


CRON = "ci.schedule: should be five fields of cron: minute (0-59) hour (0-23)"


@pytest.mark.parametrize(
    ("ci", "said"),
    [
        ({"python": "3.9"}, "ci.python: should be '3.11', '3.12' or '3.13', not '3.9'"),
        ({"deploy": "./deploy ${{ secrets.TOKEN }}"}, "ci.deploy: is a shell command, and ${{ }} is GitHub syntax"),
        ({"deploy": " "}, "ci.deploy:"),
        ({"rollback": "./undo"}, "ci.rollback: needs ci.deploy"),
        ({"schedule": "daily"}, "ci.schedule: should be five fields of cron"),
        ({"schedule": "61 5 * * *"}, CRON),
        ({"schedule": "0 */0 * * MON-FRI"}, CRON),
        ({"schedule": "0 5 * jan,FEB-13 *"}, CRON),
        ({"schedule": "0 5 * foo *"}, CRON),
        ({"image": "acme.azurecr.io/churn", "cloud": "aws"}, "ci.image: its registry needs a login to azure"),
        ({"image": "ghcr.io/acme/churn:1"}, "ci.image: should be host/owner/name in lower case, without a tag"),
        ({"secrets": ["GLUE_ENV"]}, "'GLUE_ENV': GitHub or the jobs already set it"),
        ({"schedule": "0 6 * * *\n  run: x"}, "ci.schedule:"),
        ({"branch": "main; rm -rf /"}, "ci.branch:"),
        ({"image": "Acme/$(id)"}, "ci.image:"),
        ({"requirements": "../../etc/passwd`id`"}, "ci.requirements:"),
        ({"env": "prd"}, "ci.env: no environment 'prd' (did you mean 'prod'?)"),
        ({"secrets": ["GITHUB_TOKEN"]}, "'GITHUB_TOKEN': GitHub or the jobs already set it"),
        ({"secrets": ["a-b"]}, "ci.secrets.0:"),
        ({"clod": "aws"}, "ci.clod: unknown key (did you mean 'cloud'?)"),
    ],
)
def test_a_wrong_section(tmp_path: Path, glue: Glue, ci: dict[str, Any], said: str) -> None:
    root = project(tmp_path / "p", ci)
    commit(root)
    assert said in glue("ci", cwd=root, code=2).stderr
    assert not (root / ".github").exists()


def test_data_that_no_job_would_find(tmp_path: Path, glue: Glue) -> None:
    root = project(tmp_path / "p", {}, remote=False)
    subprocess.run(["git", "init", "-q", "."], cwd=root, check=True)
    assert "t.csv is not in git" in glue("ci", cwd=root, code=2).stderr


def test_outside_git(tmp_path: Path, glue: Glue) -> None:
    done = glue("ci", cwd=project(tmp_path / "p", {}), code=2)
    assert "git init" in done.stderr
