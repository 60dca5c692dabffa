"""The sections of `glue.yaml` as frozen data: every key, its type, its default and its meaning."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, NonNegativeFloat, PositiveFloat, PositiveInt, PrivateAttr

from mlops_glue.config.data import Data, Source
from mlops_glue.config.evaluating import Evaluate
from mlops_glue.config.fields import (
    CRON,
    IMAGE,
    IMPORT_PATH,
    MEMORY,
    RAY,
    Delay,
    Fraction,
    Section,
    Share,
    ShellCommand,
    Timestamp,
    Variable,
    bytes_of,
    span,
)
from mlops_glue.config.monitoring import Monitor
from mlops_glue.config.names import EXPECTATIONS
from mlops_glue.config.serving import Serve
from mlops_glue.config.training import Train
from mlops_glue.config.tuning import Tune
from mlops_glue.layout import INGESTED, JOINED, TABLE

ABSENT: Any = None  # satisfies the type checker: `load` refuses a config without this section, unless `needs` allows it


class Stores(Section):
    """Where Feast stores features: Feast's own keys, which override those of `feature_store.yaml`."""

    online_store: dict[str, Any] | None = Field(default=None, description="type: redis, postgres, …, with its options")
    offline_store: dict[str, Any] | None = Field(
        default=None, description="type: duckdb, postgres, …, with its options"
    )
    registry: str | dict[str, Any] | None = Field(
        default=None, description="Feast's own registry: a path, or registry_type: sql with its path, as ${NAME}"
    )


KINDS = ("number", "category", "boolean", "datetime", "text")  # the lists of columns in `features`


class Features(Stores):
    """Which columns the model sees: the labels' table's columns by kind, and features that `use` joins from Feast.

    A column that is in none of the lists is left out, unless all five lists and `use` are empty.
    """

    transform: str | None = Field(default=None, description="module:function that turns raw tables into feature tables")
    repo: str = Field(default="feature_repo", description="folder of a plain Feast repository")
    use: list[str] | str = Field(default=[], description="list of view:feature, or the name of a feature service")
    unmatched: Fraction = Field(default=0.5, description="maximum share of label rows for which a view has no features")
    delay: Delay = Field(
        default=0.0,
        description="time from a feature row's timestamp until it reaches the online store: seconds, or 90s, 5m, 1h",
    )
    inexact_store: bool = Field(default=False, description="true: accept an offline store that loses or changes rows")
    number: list[str] = Field(default=[], description="numeric columns: amounts, counts, ages")
    category: list[str] = Field(default=[], description="categorical columns: towns, codes, yes and no")
    boolean: list[str] = Field(default=[], description="columns with true and false")
    datetime: list[str] = Field(default=[], description="columns with dates or times")
    text: list[str] = Field(
        default=[],
        description="columns of free text; each frequent word becomes a column",
    )
    exclude: list[str] = Field(default=[], description="columns that the model must not see")

    @property
    def delay_s(self) -> float:
        """`delay` in seconds."""
        return span(self.delay).total_seconds() if isinstance(self.delay, str) else self.delay


class Split(Section):
    """How the holdout is selected."""

    by: Literal["random", "time", "entity"] = Field(
        default="random", description="how rows are assigned to the holdout; random is stratified by class"
    )
    test_size: Share = Field(default=0.2, description="share of the rows in the holdout")
    fresh_after: list[PositiveInt | Timestamp] = Field(
        default=[],
        description="written by retraining: its fresh rows are those after this row of the table, or after this time",
    )


class Package(Section):
    """Requirements on the bundle."""

    require: Literal["onnx"] | None = Field(default=None, description="onnx: refuse a model that ONNX cannot express")
    trust: list[Annotated[str, Field(pattern=IMPORT_PATH)]] = Field(
        default=[],
        description="full names of classes and functions whose code may run when the model is loaded: from your own "
        "modules, which are then stored in the bundle, or from installed packages",
    )


class Registry(Section):
    """The name in the MLflow registry."""

    model: Annotated[str, Field(pattern=r"^[^/:']+$")] | None = Field(  # the names that MLflow accepts
        default=None, description="name of the registered model; null: the project's name"
    )
    sign: str | None = Field(
        default=None,
        description="private key in PEM, as a path or ${NAME} of one, to sign new versions with; `glue sign` signs "
        "older ones",
    )


class Promote(Section):
    """How a candidate is compared with the champion."""

    metric: str | None = Field(
        default=None, description="metric to compare: one of evaluate.metrics; null: the first metric of the task"
    )
    rule: Literal["not_worse", "better"] = Field(
        default="not_worse", description="what the holdout must show: the candidate is not worse, or it is better"
    )
    slack: Fraction = Field(
        default=0.01, description="tolerated loss, as a share of the champion's gain over a trivial predictor"
    )
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        default=0.9, description="confidence level of the interval that decides whether there is a difference"
    )
    approval: Literal["required"] | None = Field(
        default=None,
        description="required: a run only sets the challenger, and another user approves it; in GitHub Actions, a "
        "reviewer of `ci.environment`",
    )
    worse_than_trivial: Literal["refuse", "accept"] = Field(
        default="refuse",
        description="decision on a candidate whose first metric is worse than that of a constant prediction",
    )
    leak: Literal["accept", "refuse"] = Field(
        default="accept",
        description="decision on a candidate for which `evaluate` reports a possible leak, such as a column that "
        "reveals the target",
    )
    max_latency_ms: PositiveFloat | None = Field(
        default=None,
        description="maximum median time of the packaged model for one row, measured on the promoting machine",
    )
    max_disagreement: NonNegativeFloat | None = Field(
        default=None,
        description="after a shadow: maximum share of its rows with a label that differs from the champion's; "
        "for numbers, the maximum mean absolute difference",
    )


class Tracking(Section):
    """Where MLflow stores runs and models."""

    uri: str | None = Field(default=None, description="MLflow's tracking URI; default: mlflow.db in the project")
    timeout_s: PositiveFloat = Field(
        default=10.0, description="time for a server to answer; after that, the command fails"
    )


class Compute(Section):
    """Where work runs, and how much memory it may use. The results are the same everywhere."""

    engine: Literal["local", "ray"] = Field(
        default="local", description="ray: a Ray cluster processes many files; requires the extra `ray`"
    )
    address: Annotated[str, Field(pattern=RAY)] = Field(
        default="auto",
        description="with ray: HOST:PORT; auto: the cluster that this machine belongs to; local: start one here",
    )
    timeout_s: PositiveFloat = Field(default=30.0, description="with ray: time for the cluster to answer")
    memory: Annotated[str, Field(pattern=MEMORY)] | None = Field(
        default=None,
        description="maximum memory of a fit, such as 6GiB; a fit that needs more is refused before it begins; "
        "null: four fifths of the free memory",
    )

    @property
    def memory_bytes(self) -> int | None:
        """`memory` in bytes."""
        return None if self.memory is None else bytes_of(self.memory)


class Ci(Section):
    """The jobs of GitHub Actions or GitLab CI that `glue ci` writes."""

    service: Literal["github", "gitlab"] = Field(default="github", description="where the jobs run")
    python: Literal["3.11", "3.12", "3.13"] | None = Field(
        default=None,
        description="Python of the jobs; null: from .python-version, requires-python, else the one that runs glue ci",
    )
    branch: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")] = Field(
        default="main", description="branch whose pushes start training"
    )
    requirements: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$")] = Field(
        default="requirements.lock", description="requirements file that the jobs install: names with hashes"
    )
    env: str | None = Field(
        default=None, description="entry of `environments` that the train, deploy and monitor jobs use"
    )
    environment: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$")] = Field(
        default="production",
        description="the service's environment; its reviewers on GitHub, if any, approve a deployment",
    )
    cloud: Literal["aws", "gcp", "azure"] | None = Field(
        default=None, description="cloud that GitHub's jobs log in to with OIDC"
    )
    image: Annotated[str, Field(pattern=IMAGE)] | None = Field(
        default=None, description="name of the serving image: ghcr.io/owner/name; null: a package without Docker"
    )
    staging: ShellCommand | None = Field(
        default=None,
        description="command that deploys to staging, before anything is promoted; if it fails, nothing is promoted",
    )
    deploy: ShellCommand | None = Field(
        default=None, description="command that deploys to production, after the promotion; null: only the alias moves"
    )
    rollback: ShellCommand | None = Field(
        default=None,
        description="command that reverts `deploy` if it fails; the alias is restored in any case",
    )
    schedule: Annotated[str, Field(pattern=CRON)] | None = Field(
        default="17 5 * * *", description="when the monitor runs: cron, UTC; null: never"
    )
    secrets: list[Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")]] = Field(
        default=[],
        description="names of further secrets for GitHub's jobs, in addition to those that this file refers to",
    )


class Lineage(Section):
    """Where the lineage of each new version is sent."""

    openlineage: str | None = Field(default=None, description="OpenLineage server, http(s)://…, or a file")
    token: Variable | None = Field(default=None, description="${NAME} of the variable that contains the server's key")


class Audit(Section):
    """The record of alias moves, in the git ref `refs/glue/audit`."""

    remote: str | None = Field(
        default=None,
        description="git remote, such as origin, through which machines and CI jobs share the record; null: local only",
    )


class Card(Section):
    """What only people know about the model, for `glue card`. Missing entries are shown as not stated."""

    owner: str | None = Field(default=None, description="team or person responsible for the model")
    contact: str | None = Field(default=None, description="contact address")
    license: str | None = Field(default=None, description="SPDX name, such as apache-2.0")
    intended_use: str | None = Field(default=None, description="decision that the model supports")
    out_of_scope: str | None = Field(default=None, description="what the model must not be used for")
    risks: str | None = Field(default=None, description="who may be harmed, and how")
    oversight: str | None = Field(default=None, description="who acts on a prediction and may overrule it")


# Keys that an environment may change: where things live. A dotted key includes all keys below it; * matches any name
# that the user chose. No stage depends on these keys, except a table's path, and there DVC compares the content.
PLACES = (
    *("data.remote", "data.sources.*.path", "data.sources.*.url"),
    *("features.online_store", "features.offline_store", "features.registry"),
    *("tracking", "registry.sign", "serve", "monitor", "compute", "lineage", "audit"),
)


_NAME: Any = {"anyOf": [{"enum": EXPECTATIONS}, {"type": "string"}]}  # editors complete the names in the list
EXPECTATION = Field(json_schema_extra={"propertyNames": _NAME})


class Config(Section):
    """The contents of `glue.yaml`."""

    glue: Literal[1] = Field(description="version of this file's format")
    project: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="name of the project, and by default of the model"),
    ]
    data: Data = Field(default=ABSENT, description="the tables; together with `train`, they define the pipeline")
    train: Train = Field(default=ABSENT, description="the estimator; without `data` and `train`, glue only serves")
    validation: dict[str, list[str | Annotated[dict[str, dict[str, Any]], EXPECTATION]]] = Field(
        {}, description="by table: expectations of Great Expectations, under their own names"
    )
    features: Features = Features()
    split: Split = Split()
    tune: Tune = Tune()
    evaluate: Evaluate = Evaluate()
    package: Package = Package()
    registry: Registry = Registry()
    promote: Promote = Promote()
    tracking: Tracking = Tracking()
    compute: Compute = Compute()
    serve: Serve = Serve()
    monitor: Monitor = Monitor()
    ci: Ci = Ci()
    lineage: Lineage = Lineage()
    audit: Audit = Audit()
    card: Card = Card()
    environments: dict[str, dict[str, Any]] = Field(
        default={}, description="by environment: keys that override those of the sections; only for where things live"
    )
    _environment: str | None = PrivateAttr(default=None)

    @property
    def environment(self) -> str | None:
        """Return the entry of `environments` that this config is for, if any."""
        return self._environment

    @property
    def model_name(self) -> str:
        """Return the registered model's name; by default the project's name."""
        return self.registry.model or self.project

    @property
    def rows(self) -> str:
        """Return the path of the labels' table's raw rows, with Feast's features if any are used."""
        return JOINED if self.features.use else TABLE

    @property
    def source(self) -> Source:
        """Return the source that contains the target."""
        return self.data.sources[self.data.labels.source]


def path_of(config: Config, source: str) -> str:
    """Return the path of a source's Parquet form."""
    return TABLE if source == config.data.labels.source else f"{INGESTED}/{source}.parquet"


def known_keys(location: Sequence[Any]) -> list[str]:
    """Return the keys of the section at a location; empty if the location has no model."""
    annotation: Any = Config
    for part in location:
        model = _model_in(annotation)
        field = model.model_fields.get(part) if model is not None else None
        annotation = (
            field.annotation if field is not None else annotation
        )  # an item of a list, or a name that the user chose
    model = _model_in(annotation)
    return list(model.model_fields) if model is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in an annotation such as `dict[str, Source]` or `Canary | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part)) is not None), None)


def json_schema() -> str:
    """Return the JSON Schema of `glue.yaml`, for editors."""
    schema = Config.model_json_schema()
    environment = _closed({})
    for place in PLACES:
        *sections, last = place.split(".")
        known, into = schema["properties"], environment
        for section in sections:
            if section == "*":
                into["additionalProperties"] = into = into["additionalProperties"] or _closed({})
                known = known["additionalProperties"]
            else:
                into = into["properties"].setdefault(section, _closed({}))
                known = known[section]
            known = schema["$defs"][known["$ref"].rpartition("/")[2]]["properties"] if "$ref" in known else known
        if last in known:
            into["properties"][last] = known[last]
    schema["properties"]["environments"]["additionalProperties"] = environment
    return json.dumps(schema, indent=1) + "\n"


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}
