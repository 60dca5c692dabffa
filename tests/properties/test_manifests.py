"""What `glue package` writes of where a model runs is valid for a project and a model of any name."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlops_glue import config as configs
from mlops_glue import files, layout
from mlops_glue.scaffold.package import deployment, dns_name

FOLDER = layout.templates() / "serving" / "deploy"
LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")  # RFC 1035, as a Service asks for
NAMES = st.one_of(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,80}", fullmatch=True),
    st.text(string.ascii_letters + string.digits + ' _.-"äöüßéñ你#&*!|>%@`{}[],\n\t', min_size=1, max_size=80),
    st.sampled_from(
        [
            "on",
            "off",
            "yes",
            "no",
            "y",
            "n",
            "null",
            "true",
            "false",
            "2024",
            "1e3",
            "0x10",
            "0o7",
            ".5",
            "1_000",
            "12:30:45",
            "~",
            "2024-01-01",
        ]
    ),
    st.sampled_from(["On", "NULL", "TRUE", "Übung", "—", "...", "-", "x" * 63, "A" * 64, "1" * 70, "a-" * 40]),
)


def of(name: str) -> dict[str, Any]:
    tree = {"glue": 1, "project": "p", "registry": {"model": name}, "serve": {"api_keys": ["${KEY}"]}}
    config = configs.Config.model_validate(tree | {"features": {"use": ["a:b"]}})
    about = {"name": config.model_name, "version": 7, "env": "on"}
    return {**deployment(config, about), "hashed": False, "wheels": False, "online": True}


def strings(node: Any, key: str = "") -> list[tuple[str, Any]]:
    """Every value that is a name, by its key."""
    if isinstance(node, dict):
        return [one for name, inner in node.items() for one in strings(inner, str(name))]
    if isinstance(node, list):
        return [one for inner in node for one in strings(inner, key)]
    return [(key, node)] if key in ("name", "app.kubernetes.io/name", "job_name", "image", "value", "schedule") else []


@settings(max_examples=60, deadline=None)
@example("2024")
@example("on")
@example("Ünï cödé\nname x")
@given(NAMES.filter(lambda name: not set(name) & set("/:'") and bool(name)))
def test_every_name_makes_valid_manifests(name: str) -> None:
    values = of(name)
    dns = values["dns"]
    assert LABEL.fullmatch(dns) and len(dns) + len("-materialize") <= 52
    assert dns == dns_name(name)
    for path in sorted(FOLDER.glob("*.yml")):
        text = files.render(path, values, ("<<", ">>"))
        documents = list(yaml.safe_load_all(text))
        found = [one for document in documents for one in strings(document)]
        assert found and all(isinstance(value, str) for _, value in found), (path.name, found)
        if path.name == "kubernetes.yml":
            named = {one["metadata"]["name"] for one in documents}
            assert named == {dns, f"{dns}-monitor", f"{dns}-materialize"}
            jobs = [one for one in documents if one["kind"] == "CronJob"]
            specs = [one["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0] for one in jobs]
            assert [one["env"] for one in specs] == [[{"name": "GLUE_ENV", "value": "on"}]] * 2
        elif path.name == "ray.yml":  # what the schema of KubeRay's RayJob asks for, and pods that Kubernetes takes
            (job,) = documents
            assert (job["apiVersion"], job["kind"], job["metadata"]["name"]) == ("ray.io/v1", "RayJob", f"{dns}-score")
            cluster = job["spec"]["rayClusterSpec"]
            groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
            assert {"groupName", "minReplicas", "maxReplicas"} <= set(groups[1])
            for group in groups:
                assert group["rayStartParams"] is not None
                pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": group["template"]["spec"]}
                kubernetes_validate.validate(pod, "1.32", strict=True)
        elif path.name == "prometheus.yml":
            assert [one["job_name"] for one in documents[0]["scrape_configs"]] == [dns, "monitor"]
        elif path.name == "alerts.yml":
            rules = documents[0]["groups"][0]
            assert rules["name"] == dns and rules["rules"][0]["expr"] == f'up{{job="{dns}"}} == 0'
        elif path.name == "compose.yml":
            assert documents[0]["name"] == dns and documents[0]["services"]["server"]["image"] == f"{dns}:v7"
    for path in [*FOLDER.glob("*Dockerfile"), FOLDER.parent / "Dockerfile"]:
        lines = files.render(path, values, ("<<", ">>")).splitlines()
        first = next(n for n, line in enumerate(lines) if not line.startswith("#"))
        assert lines[first].startswith("ARG BASE")  # the name stays in the comment


@settings(max_examples=300, deadline=None)
@given(NAMES, NAMES)
def test_names_that_lose_something_stay_apart(one: str, other: str) -> None:
    plain = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
    for name in (one, other):
        if plain.fullmatch(name) and len(name) <= 40:
            assert dns_name(name) == name
    long = one + "x" * 60
    assert dns_name(long + "1") != dns_name(long + "2")


def test_kubernetes_takes_them(tmp_path: Path) -> None:
    for name in ("2024", "on", "null", "1e3", "Übung", "x" * 80, "UPPER.Case_1"):
        for document in yaml.safe_load_all(files.render(FOLDER / "kubernetes.yml", of(name), ("<<", ">>"))):
            kubernetes_validate.validate(document, "1.32", strict=True)
