"""A stage depends on every key of `glue.yaml` that it reads: the reads are recorded, and held against `dvc.yaml`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlops_glue import config as configs
from mlops_glue import layout
from mlops_glue.config import Config, Section
from mlops_glue.pipeline import dvc_yaml, execute, stages

HEAD = "glue: 1\nproject: shop\n"
EVENTS = """
data:
  sources:
    events: {path: events.csv, entity: customer, timestamp: at}
    customers: {path: customers.jsonl, entity: customer, timestamp: at, created: told}
  labels: {source: events, target: y, task: binary, positive: "yes"}
"""
ONE = "\ndata:\n  sources: {shop: {path: events.csv, entity: customer, timestamp: at}}\n"
GATES = """
  metrics: [roc_auc, f1]
  thresholds: {roc_auc: {min: 0.0}}
  slices: [town]
"""
KINDS = "{number: [x], category: [town], boolean: [known], datetime: [at], exclude: [noise]}"
VIEW = """
from datetime import timedelta
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float64
customer = Entity(name="customer", join_keys=["customer"], value_type=ValueType.INT64)
def view(name, path, **more):
    source = FileSource(name=name, path=f"../artifacts/{path}.parquet", timestamp_field="at", **more)
    schema = [Field(name="balance", dtype=Float64)]
    return FeatureView(name=name, entities=[customer], ttl=timedelta(0), schema=schema, source=source)
customers = view("customers", "ingest/customers", created_timestamp_column="told")
spent = view("spent", "featurize/tables/spent")
"""
CODE = """
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
def build(C=1.0):
    return GridSearchCV(LogisticRegression(), {"C": [C]}, cv=2)
def transform(tables):
    table = tables["customers"]
    return {"spent": table[["customer", "at"]].assign(balance=table["balance"] * 2)}
"""
PROJECTS = {
    "gates": f"""{ONE}  labels: {{source: shop, target: y}}
validation: {{shop: [{{expect_column_values_to_not_be_null: {{column: x}}}}]}}
features: {KINDS}
evaluate: {GATES}
split: {{by: random, test_size: 0.3}}
train: {{estimator: sklearn.tree.DecisionTreeClassifier, params: {{max_depth: 2}}, seed: 1, weight: worth}}
package: {{require: null}}
""",
    "regression": f"""{ONE}  labels: {{source: shop, target: x, task: regression}}
split: {{by: entity}}
train: {{seed: 1}}
""",
    "own": f"""{ONE}  labels: {{source: shop, target: y}}
split: {{by: time, fresh_after: [200]}}
train: {{estimator: "ours:build", params: {{C: 2.0}}, preprocess: true, weight: worth}}
""",
    "features": f"""{EVENTS}
features: {{repo: repo, use: ["customers:balance", "spent:balance"], transform: "ours:transform", delay: 1s}}
train: {{estimator: sklearn.tree.DecisionTreeClassifier}}
split: {{by: time}}
evaluate: {{slices: [customers__balance]}}
""",
}
NO_PARAM = {  # (stage, key): why what it reads is none of its params
    ("featurize", "features.offline_store"): "where the history is kept; what is learned from it is the same",
    ("featurize", "evaluate.decision_threshold"): "refused as soon as the task is known; what is learned is the same",
    ("featurize", "compute.memory"): "a transform that would take more is refused; what it makes is the same",
    ("train", "compute.engine"): "where a forest is fitted; it is the same",
    ("train", "compute.memory"): "a fit that would take more is refused; what is learned is the same",
    ("train", "evaluate.decision_threshold"): "refused before the fit, as by featurize",
    ("train", "evaluate.cost"): "refused before the fit where it does not fit the labels",
}
OF_A_QUERY = [("ingest", "url"), ("ingest", "timeout_s")]
OF_A_QUERY += [("featurize", key) for key in ("url", "query", "timeout_s")]
NOT_READ = {  # (stage, key): why it is among its params, as a part of a section, and not read
    ("ingest", "data.sources.*.path"): "read before the stage: the path is its dependency",
    **{(stage, f"data.sources.*.{key}"): "of a query: read before the stages" for stage, key in OF_A_QUERY},
    ("train", "train.rows"): "split takes the sample",
    ("featurize", "train.seed"): "a transform that draws: around the stage NumPy is seeded with it",
}


def made(folder: Path, text: str) -> Path:
    rng = np.random.default_rng(0)
    at = pd.date_range("2026-01-01", periods=300, freq="h")
    x = rng.normal(size=300).round(4)
    events = pd.DataFrame({"customer": np.arange(300) % 20, "at": at, "x": x, "noise": rng.normal(size=300)})
    events["town"], events["known"] = rng.choice(["Ulm", "Bonn"], 300), rng.random(300) < 0.5
    events["worth"] = rng.integers(0, 3, 300)
    events["y"] = np.where(x + 0.3 * rng.normal(size=300) > 0, "yes", "no")
    events = pd.concat([events.head(30), events])  # copies, of which evaluate tells
    events.to_csv(folder / "events.csv", index=False)
    told = pd.DataFrame({"customer": np.repeat(np.arange(20), 10), "balance": rng.normal(size=200)})
    told["at"] = [f"2026-01-{1 + n % 10:02} 00:00:00" for n in range(200)]
    told.assign(told=told["at"]).to_json(folder / "customers.jsonl", orient="records", lines=True)
    (folder / "ours.py").write_text(CODE)
    (folder / "repo").mkdir()
    (folder / "repo/feature_store.yaml").write_text("project: shop\nprovider: local\n")
    (folder / "repo/definitions.py").write_text(VIEW)
    (folder / "glue.yaml").write_text(HEAD + text)
    return folder


def has_sections(value: Any) -> bool:
    return isinstance(value, Section) or (isinstance(value, dict) and any(map(has_sections, value.values())))


def sections(node: Any, path: str) -> Iterator[tuple[int, str, Any]]:
    """Each section of a config with its place; looked at past any recording."""
    if isinstance(node, Section):
        yield id(node), path, node
        for name, value in object.__getattribute__(node, "__dict__").items():
            yield from sections(value, f"{path}{name}.")
    elif isinstance(node, dict):
        for name, value in node.items():
            yield from sections(value, f"{path}{name}.")


@contextlib.contextmanager
def recorded(config: Config, read: set[str]) -> Iterator[None]:
    """Each leaf that is read of the sections of this config, as a dotted key."""
    places = {at: path for at, path, _ in sections(config, "")}
    fields = {at: set(type(node).model_fields) for at, _, node in sections(config, "")}

    def look(self: Any, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if id(self) in places and name in fields[id(self)] and not has_sections(value):
            read.add(places[id(self)] + name)
        return value

    Section.__getattribute__ = look  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del Section.__getattribute__


def leaves(config: Config) -> Iterator[str]:
    """Every key that has a value of its own."""
    for _, path, node in sections(config, ""):
        yield from (f"{path}{name}" for name, value in node.__dict__.items() if not has_sections(value))


def covered(key: str, declared: list[str]) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in declared)


def of_any(key: str) -> str:
    """The same key, whatever a source or a metric is called."""
    return re.sub(r"^(data\.sources|evaluate\.thresholds)\.[^.]+", r"\1.*", key)


@dataclass(frozen=True)
class Ran:
    """What a stage read of a project's config, and what stands for it in `dvc.yaml`."""

    project: str
    config: Config
    read: set[str]
    keys: list[str]  # all of its keys
    params: list[str]  # those of them that the file has
    known: set[str]  # every leaf of the config


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Ran]]:
    """What came of each stage in each project."""
    out: dict[str, list[Ran]] = {stage: [] for stage in stages.NAMES}
    for name, text in PROJECTS.items():
        root = made(tmp_path_factory.mktemp(name), text)
        config = configs.load(root)
        for stage, kept in out.items():
            read: set[str] = set()
            work = stages.named(stage).load()
            with contextlib.chdir(root), execute.isolated(root, 0), recorded(config, read):
                work(config, root)
            params = dvc_yaml.definition(config, root)[stage].get("params", [{}])[0].get(layout.CONFIG, [])
            kept.append(Ran(name, config, read, stages.named(stage).params(config), params, set(leaves(config))))
    return out


@pytest.mark.parametrize("stage", stages.NAMES)
def test_what_a_stage_reads_is_among_its_params(stage: str, found: dict[str, list[Ran]]) -> None:
    for ran in found[stage]:
        given = {key for key in ran.known if dvc_yaml.is_set(ran.config, key)}
        assert ran.read <= ran.known
        read = {key for key in ran.read if (stage, key) not in NO_PARAM}
        assert {key for key in read if not covered(key, ran.keys)} == set(), f"{ran.project}: {stage} reads it"
        assert {key for key in read & given if not covered(key, ran.params)} == set(), f"{ran.project}: not in dvc.yaml"


@pytest.mark.parametrize("stage", stages.NAMES)
def test_a_stage_has_no_param_that_it_never_reads(stage: str, found: dict[str, list[Ran]]) -> None:
    read, declared = set(), set()
    for ran in found[stage]:
        read |= {of_any(key) for key in ran.read}
        declared |= {of_any(key) for key in ran.known if covered(key, ran.keys)}
    assert {key for key in declared - read if (stage, key) not in NOT_READ} == set()
