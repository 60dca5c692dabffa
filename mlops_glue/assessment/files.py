"""Reads what is no Python: git's own files, workflows, DVC, Docker, Kubernetes, requirements, glue.yaml."""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from mlops_glue.assessment import shell, signals
from mlops_glue.assessment.evidence import Evidence, Run
from mlops_glue.assessment.tree import printable

YAML_BYTES = 96 << 10  # of one file that is read as YAML
YAML_ALL = 512 << 10  # of all of them
SCALARS = 20_000
Reader = Callable[[Evidence, str, str], None]
Scalar = tuple[tuple[str | int, ...], str, int]  # keys and places in lists; the value; its line

CHANGE = {"push", "pull_request", "merge_group", "pull_request_target"}
SCHEDULE = {"schedule", "repository_dispatch"}
DEPLOYED = {"Deployment", "StatefulSet", "InferenceService", "SeldonDeployment", "Rollout", "RayService"}


def reader(path: str, name: str) -> Reader | None:
    """Who reads this file; None: nobody, or it is Python."""
    if not (ANY_OF_THEM.fullmatch(path) or ANY_OF_THEM.fullmatch(name)):  # of most files: one look, not forty
        return None
    return next(read for pattern, read in READERS if re.fullmatch(pattern, path) or re.fullmatch(pattern, name))


def git(evidence: Evidence, root: Path) -> None:
    """The repository at or above the folder: has it a commit, and a remote?"""
    top = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), None)
    if top is None:
        return
    try:
        folder = top / ".git"
        if folder.is_file():  # a worktree or submodule names its folder
            folder = (top / folder.read_text(encoding="utf-8").removeprefix("gitdir:").strip()).resolve()
        head = (folder / "HEAD").read_text(encoding="utf-8").strip()
        shared = folder / (folder / "commondir").read_text().strip() if (folder / "commondir").is_file() else folder
        named = head.removeprefix("ref:").strip()
        packed = shared / "packed-refs"
        there = not head.startswith("ref:") or (shared / named).is_file()
        if there or (packed.is_file() and f" {named}\n" in packed.read_text(encoding="utf-8")):
            evidence.see("commit", ".git/HEAD", 1, "git")
        for number, line in enumerate((shared / "config").read_text(encoding="utf-8").splitlines(), 1):
            if re.match(r'\s*\[remote "', line):
                evidence.see("remote", ".git/config", number, "a remote")
    except (OSError, UnicodeDecodeError):
        evidence.tree.unreadable.append(".git")


def scalars(evidence: Evidence, path: str, text: str) -> list[Scalar]:
    """A YAML file as its scalars in order, each once however often aliases name it; empty where it is no YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if len(text) > YAML_BYTES or evidence.yaml_bytes > YAML_ALL:
        evidence.tree.left_out += 1
        return []
    evidence.yaml_bytes += len(text)
    out: list[Scalar] = []
    try:
        for document in YAML(typ="safe", pure=True).compose_all(text):
            out += _flat(document)
            if len(out) > SCALARS:
                break
    except (YAMLError, ValueError, RecursionError, AttributeError, TypeError):
        evidence.note(f"{printable(path)} is no YAML that can be read: left out")
        return []
    return out


def _flat(document: object) -> Iterator[Scalar]:
    waiting: list[tuple[tuple[str | int, ...], object]] = [((), document)]
    seen: set[int] = set()
    while waiting:
        at, node = waiting.pop()
        kind, value = getattr(node, "id", None), getattr(node, "value", None)
        if kind == "scalar":
            yield at, str(value), node.start_mark.line + 1  # type: ignore[attr-defined]
        if kind == "scalar" or node is None or id(node) in seen or len(at) > 40:
            continue
        seen.add(id(node))
        if kind == "mapping":
            inner = [((*at, str(getattr(key, "value", ""))), one) for key, one in value]  # type: ignore[union-attr]
        else:
            inner = [((*at, number), one) for number, one in enumerate(value or ())]  # type: ignore[var-annotated,arg-type]
        waiting += reversed(inner)


def _runs(evidence: Evidence, path: str, text: str, line: int, where: set[str], *, swallowed: bool = False) -> None:
    """The commands of a block that begins at this line."""
    for one in shell.commands(text):
        at = line + one.line if "\n" in text.strip() else line
        command = shell.Command(one.words, one.line, one.swallowed or swallowed)
        evidence.runs.append(Run(command, path, at, frozenset(where)))


def _workflow(evidence: Evidence, path: str, text: str) -> None:
    """A workflow of GitHub's: each step with the events that start it."""
    found = scalars(evidence, path, text)
    events = {str(p[1]) if isinstance(p[1], str) else v for p, v, _ in found if len(p) > 1 and p[0] == "on"}
    events |= {v for p, v, _ in found if p == ("on",)}
    where = {"ci"} | ({"change"} if events & CHANGE else set()) | ({"schedule"} if events & SCHEDULE else set())
    if "pull_request" in events:
        evidence.see("change_request_ci", path, 0, "runs on pull requests")
    if events == {"workflow_call"}:
        where |= {"change"}  # another workflow calls it; which, is not looked up
    off = {p[:-1] for p, v, _ in found if p and p[-1] == "if" and v.strip(" ${}").lower() == "false"}
    soft = {p[:-1] for p, v, _ in found if p and p[-1] == "continue-on-error" and v.lower() == "true"}
    for at, value, line in found:
        if any(at[: len(one)] == one for one in off):
            continue
        swallowed = any(at[: len(one)] == one for one in soft)
        if at[:1] == ("jobs",) and at[-1] == "run":
            _runs(evidence, path, value, line, where, swallowed=swallowed)
        elif at[:1] == ("jobs",) and at[-1] == "uses":
            _action(evidence, path, value, line, where, {p[-1]: v for p, v, _ in found if p[:-2] == at[:-1]})
        elif at and at[-1] == "environment" and at[0] == "jobs":
            evidence.see("approval", path, line, "an environment")
    _addresses(evidence, path, found)
    if where != {"ci"}:
        evidence.see("ci", path, 0, "a workflow")


def _action(evidence: Evidence, path: str, name: str, line: int, where: set[str], given: dict[str | int, str]) -> None:
    bare = name.partition("@")[0].lower()
    for signal, names in signals.ACTIONS.items():
        if bare in names:
            for one in sorted(where):
                evidence.see(f"{one}:{signal}", path, line, bare)
            evidence.see(signal, path, line, bare)
    if bare == "docker/build-push-action" and given.get("push", "false").lower() != "false":
        evidence.see("deploy", path, line, bare)
        for one in sorted(where):
            evidence.see(f"{one}:deploy", path, line, bare)


def _other_ci(evidence: Evidence, path: str, text: str) -> None:
    """GitLab, CircleCI, Azure, Bitbucket, Travis: every script of theirs runs on a change."""
    found = scalars(evidence, path, text)
    keys = {"script", "before_script", "after_script", "run", "command", "bash", "install", "powershell"}
    for at, value, line in found:
        named = [part for part in at if isinstance(part, str)]
        if named and named[-1] in keys:
            scheduled = any(
                v in ("schedules", '$CI_PIPELINE_SOURCE == "schedule"') for p, v, _ in found if p[:1] == at[:1]
            )
            where = {"ci", "schedule"} if scheduled or named[0] == "schedules" else {"ci", "change"}
            _runs(evidence, path, value, line, where)
    if found:
        evidence.see("ci", path, 0, "a CI file")
        if "merge_request" in text or path.startswith(".gitlab") or path.startswith("bitbucket"):
            evidence.see("change_request_ci", path, 0, "runs on merge requests")
    _addresses(evidence, path, found)


def _jenkins(evidence: Evidence, path: str, text: str) -> None:
    code = re.sub(r"(?m)^\s*//.*$", "", text)
    evidence.see("ci", path, 0, "a CI file")
    for found in re.finditer(r"\b(?:sh|bat)\s*\(?\s*(\"{3}|'{3}|\"|')(.*?)\1", code, re.DOTALL):
        _runs(evidence, path, found.group(2), code.count("\n", 0, found.start()) + 1, {"ci", "change"})
    if re.search(r"\bcron\s*\(", code):
        evidence.see("ci_schedule", path, 0, "a schedule")


def _makefile(evidence: Evidence, path: str, text: str) -> None:
    evidence.makefiles[path] = shell.recipes(text)
    for _, recipe in evidence.makefiles[path].values():
        for line, number in recipe:
            _runs(evidence, path, line.lstrip("@-"), number, {"make"})


def _script(evidence: Evidence, path: str, text: str) -> None:
    evidence.scripts[path] = text
    _runs(evidence, path, text, 0, {"script"})


def _dockerfile(evidence: Evidence, path: str, text: str) -> None:
    evidence.see("container", path, 1, "Dockerfile")
    for number, line in enumerate(text.replace("\\\n", "  ").splitlines(), 1):
        word, _, rest = line.strip().partition(" ")
        if word.upper() == "FROM" and re.match(r"(\S*/)?python:3\.\d+", rest.strip()):
            evidence.see("python_version", path, number, "FROM python")
        if word.upper() in ("CMD", "ENTRYPOINT"):
            plain = " ".join(re.findall(r'"([^"]*)"', rest)) if rest.strip().startswith("[") else rest
            _runs(evidence, path, plain, number, {"image"})
        if word.upper() == "HEALTHCHECK" and rest.strip().upper() != "NONE":
            evidence.see("health", path, number, "HEALTHCHECK")


def _dvc_yaml(evidence: Evidence, path: str, text: str) -> None:
    for at, value, line in scalars(evidence, path, text):
        if at[:1] == ("stages",) and len(at) >= 3 and "cmd" in at[2:4]:
            evidence.see("pipeline", path, line, f"stage {at[1]}")
            _runs(evidence, path, value, line, {"stage"})
        if at[:1] == ("artifacts",) and at[-1] == "type" and value == "model":
            evidence.see("registered", path, line, "an artifact of type model")
        if (at[:1] == ("stages",) and "metrics" in at) or at[:1] == ("metrics",):
            evidence.see("metrics_kept", path, line, "metrics")
        if at[:1] == ("stages",) and "params" in at:
            evidence.see("parameters_logged", path, line, "params")


def _dvc_lock(evidence: Evidence, path: str, text: str) -> None:
    at = next((n for n, line in enumerate(text.splitlines(), 1) if re.match(r"\s+-?\s*(md5|hash|etag): ", line)), 0)
    if at:
        for signal in ("locked", "data_versioned", "data_logged"):
            evidence.see(signal, path, at, "hashes of what each stage read and made")


def _dvc_file(evidence: Evidence, path: str, text: str) -> None:
    at = next((n for n, line in enumerate(text.splitlines(), 1) if re.match(r"-? *(md5|etag): ", line)), 0)
    if at:
        evidence.see("data_versioned", path, at, "the hash of a file")


def _dvc_config(evidence: Evidence, path: str, text: str) -> None:
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"""\s*\['?remote ["']""", line):
            evidence.see("data_remote", path, number, "a DVC remote")


def _attributes(evidence: Evidence, path: str, text: str) -> None:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.lstrip().startswith("#") and "filter=lfs" in line.split():
            evidence.see("data_versioned", path, number, "Git LFS")
            evidence.see("data_remote", path, number, "Git LFS")


def _mlproject(evidence: Evidence, path: str, text: str) -> None:
    for at, value, line in scalars(evidence, path, text):
        if at[:1] == ("entry_points",) and at[-1] == "command":
            evidence.see("tracked", path, line, "mlflow run")
            _runs(evidence, path, value, line, {"project"})
        if at in (("conda_env",), ("python_env",), ("docker_env", "image")):
            evidence.see("python_version", path, line, str(at[0]))


def _feature_store(evidence: Evidence, path: str, text: str) -> None:
    found = scalars(evidence, path, text)
    if any(at == ("project",) for at, _, _ in found):
        evidence.see("feature_store", path, 1, "a Feast repository")
    for at, _, line in found:
        if at[:1] == ("online_store",):
            evidence.see("features_served", path, line, "an online store")


def _requirements(evidence: Evidence, path: str, text: str) -> None:
    needs = [(n, line.strip()) for n, line in enumerate(text.replace("\\\n", "  ").splitlines(), 1)]
    needs = [(n, line) for n, line in needs if line and not line.startswith(("#", "-"))]
    if needs:
        evidence.see("declared", path, needs[0][0], "dependencies")
        if all(re.search(r"(===?|@)\s*[\w.]", line) for _, line in needs):
            evidence.see("pinned", path, needs[0][0], "every version pinned")


def _declared(evidence: Evidence, path: str, text: str) -> None:
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\s*(dependencies|install_requires|\[packages\]|\[tool\.poetry\.dependencies\]|- python=)", line):
            evidence.see("declared", path, number, "dependencies")
        if re.match(
            r"""\s*(requires-python|python_requires|python)\s*=|\s*- python=|\s*"?python_version"?\s*=""", line
        ):
            evidence.see("python_version", path, number, "a Python version")
        if re.match(r"\[tool\.kedro\]", line):
            evidence.see("pipeline", path, number, "Kedro")


def _suite(evidence: Evidence, path: str, text: str) -> None:
    at = next((n for n, line in enumerate(text.splitlines(), 1) if re.search(r'"(expectation_)?type"\s*:', line)), 0)
    if at:
        evidence.see("expectations", path, at, "a suite of Great Expectations")


def _glue(evidence: Evidence, path: str, text: str) -> None:
    """Each section of glue.yaml turns something on; glue does it in the run, and the gates are its own."""
    for at, _, line in scalars(evidence, path, text):
        for length in (1, 2):
            key = ".".join(map(str, at[:length]))
            for signal in signals.GLUE.get(key, ()) if len(at) >= length else ():
                if not any(s.path == path and s.what == f"glue.yaml {key}" for s in evidence.found.get(signal, ())):
                    evidence.see(signal, path, line, f"glue.yaml {key}")


def _any_yaml(evidence: Evidence, path: str, text: str) -> None:
    """Kubernetes, Prometheus, compose, soda: by what is in it."""
    if re.search(r"(?m)^checks for \S+:", text):
        evidence.see("expectations", path, 1, "SodaCL checks")
        return
    if not re.search(r"(?m)^\s*(apiVersion|groups|services|canaryTrafficPercent|- alert)\b", text):
        return
    found = scalars(evidence, path, text)
    kinds = {value for at, value, _ in found if at == ("kind",)}
    commands: dict[tuple[str | int, ...], list[tuple[str, int]]] = {}
    for at, value, line in found:
        last = next((part for part in reversed(at) if isinstance(part, str)), "")
        if at == ("kind",) and value in DEPLOYED:
            evidence.see("manifest", path, line, value)
            if value in ("InferenceService", "SeldonDeployment", "RayService"):
                evidence.see("endpoint", path, line, value)
        if last == "alert" and ("groups" in at or "rules" in at):
            evidence.see("alert", path, line, "an alerting rule")
        if "readinessProbe" in at or "livenessProbe" in at:
            evidence.see("health", path, line, "a probe")
        if last in ("canaryTrafficPercent", "setWeight") or ("VirtualService" in kinds and last == "weight"):
            evidence.see("canary", path, line, last)
        if "CronJob" in kinds and ("command" in at or "args" in at):
            place = at[: max(n for n, part in enumerate(at) if part in ("command", "args"))]
            commands.setdefault(place, []).append((value, line))
    for words in commands.values():
        _runs(evidence, path, " ".join(word for word, _ in words), words[0][1], {"schedule"})
    _addresses(evidence, path, found)


def _addresses(evidence: Evidence, path: str, found: list[Scalar]) -> None:
    """Is a server for runs named to what runs?"""
    for at, value, line in found:
        named = at and at[-1] == "MLFLOW_TRACKING_URI" and not re.match(r"(sqlite|file):|\.?/", value)
        if named or value.startswith("MLFLOW_TRACKING_URI=http"):
            evidence.see("tracking_server", path, line, "MLFLOW_TRACKING_URI")


def _ini(evidence: Evidence, path: str, text: str) -> None:
    """setup.cfg and tox.ini: only what is declared."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return
    if parser.has_option("options", "install_requires"):
        evidence.see("declared", path, 0, "dependencies")


READERS: tuple[tuple[str, Reader], ...] = (  # the first that fits; by the path from the top, or the bare name
    (r"\.github/workflows/[^/]+\.ya?ml", _workflow),
    (r"\.gitlab-ci\.ya?ml|\.circleci/config\.ya?ml|azure-pipelines[^/]*\.ya?ml|bitbucket-pipelines\.ya?ml", _other_ci),
    (r"\.travis\.ya?ml|cloudbuild\.ya?ml|\.drone\.ya?ml", _other_ci),
    (r"Jenkinsfile", _jenkins),
    (r"(GNUm|M|m)akefile|[^/]+\.mk", _makefile),
    (r"[^/]+\.(sh|bash)|\.ci/run", _script),
    (r"Dockerfile([.-][^/]*)?|[^/]+\.[Dd]ockerfile|Containerfile", _dockerfile),
    (r"dvc\.yaml", _dvc_yaml),
    (r"dvc\.lock", _dvc_lock),
    (r"\.dvc/config", _dvc_config),
    (r".*[^/]\.dvc", _dvc_file),
    (r"\.gitattributes", _attributes),
    (r"MLproject", _mlproject),
    (r"feature_store\.ya?ml", _feature_store),
    (r"requirements[^/]*\.(txt|in)|requirements/[^/]+\.txt", _requirements),
    (r"pyproject\.toml|setup\.py|Pipfile|(environment|conda|python_env)[^/]*\.ya?ml", _declared),
    (r"setup\.cfg", _ini),
    (r"(.*/)?(gx|great_expectations)/expectations/.*\.json", _suite),
    (r"glue\.yaml", _glue),
    (r".*\.ya?ml", _any_yaml),
)
ANY_OF_THEM = re.compile("|".join(f"(?:{pattern})" for pattern, _ in READERS))
