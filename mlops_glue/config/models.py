"""The sections of `glue.yaml` as frozen data: every key, its type, its default and what it means."""

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

ABSENT: Any = None  # for the type checker: `load` refuses a config without this section unless `needs` says otherwise


class Stores(Section):
    """Where Feast keeps features, by Feast's own keys, which override those of `feature_store.yaml`."""

    online_store: dict[str, Any] | None = Field(default=None, description="type: redis, postgres, …, with its options")
    offline_store: dict[str, Any] | None = Field(
        default=None, description="type: duckdb, postgres, …, with its options"
    )
    registry: str | dict[str, Any] | None = Field(
        default=None, description="Feast's own registry: a path, or registry_type: sql with its path, as ${NAME}"
    )


KINDS = ("number", "category", "boolean", "datetime", "text")  # the lists of columns in `features`


class Features(Stores):
    """Which columns the model sees: those of the labels' table by kind, and those that `use` joins from Feast.

    A column in no list is left out, unless all five lists and `use` are empty.
    """

    transform: str | None = Field(default=None, description="module:function: raw tables in, feature tables out")
    repo: str = Field(default="feature_repo", description="folder of a plain Feast repository")
    use: list[str] | str = Field(default=[], description="view:feature, each; or the name of a feature service")
    unmatched: Fraction = Field(default=0.5, description="share of the label rows for which a view may have nothing")
    delay: Delay = Field(
        default=0.0,
        description="how long after its time a row of features reaches the online store: seconds, or 90s, 5m, 1h",
    )
    inexact_store: bool = Field(default=False, description="true: accept an offline store that loses or changes rows")
    number: list[str] = Field(default=[], description="columns that are numbers: amounts, counts, ages")
    category: list[str] = Field(default=[], description="columns whose values are names: towns, codes, yes and no")
    boolean: list[str] = Field(default=[], description="columns of true and false")
    datetime: list[str] = Field(default=[], description="columns that say when")
    text: list[str] = Field(
        default=[],
        description="columns of free text, of which the model sees the words: each has a column, if frequent",
    )
    exclude: list[str] = Field(default=[], description="columns that the model must not see")

    @property
    def delay_s(self) -> float:
        """`delay` in seconds."""
        return span(self.delay).total_seconds() if isinstance(self.delay, str) else self.delay


class Split(Section):
    """How the holdout is taken."""

    by: Literal["random", "time", "entity"] = Field(default="random", description="random is stratified for classes")
    test_size: Share = Field(default=0.2, description="share of the rows that are held out")
    fresh_after: list[PositiveInt | Timestamp] = Field(
        default=[],
        description="written by a retraining: its fresh rows are those after this many rows of the table, or this time",
    )


class Package(Section):
    """What the bundle must be."""

    require: Literal["onnx"] | None = Field(default=None, description="onnx: refuse a model that ONNX cannot express")
    trust: list[Annotated[str, Field(pattern=IMPORT_PATH)]] = Field(
        default=[],
        description="classes and functions, each by its whole name, whose code may run where the model is loaded: of "
        "your own modules, which then travel in the bundle, or of installed packages",
    )


class Registry(Section):
    """The name in the MLflow registry."""

    model: Annotated[str, Field(pattern=r"^[^/:']+$")] | None = Field(  # MLflow takes no other
        default=None, description="the registered model; null: the project's name"
    )
    sign: str | None = Field(
        default=None,
        description="a private key in PEM, as a path or ${NAME} of one: new versions are signed with it, older ones by "
        "`glue sign`",
    )


class Promote(Section):
    """How a candidate is compared with the champion."""

    metric: str | None = Field(default=None, description="one of evaluate.metrics; null: the first one of the task")
    rule: Literal["not_worse", "better"] = Field(
        default="not_worse", description="what the holdout must show: that the candidate is not worse, or is better"
    )
    slack: Fraction = Field(
        default=0.01, description="a loss up to this share of what the champion gains over a trivial predictor is none"
    )
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        default=0.9, description="of the interval that decides whether a difference is shown"
    )
    approval: Literal["required"] | None = Field(
        default=None,
        description="required: a run names a challenger, and somebody else approves it; in a job of GitHub Actions a "
        "reviewer of `ci.environment`",
    )
    worse_than_trivial: Literal["refuse", "accept"] = Field(
        default="refuse", description="a candidate whose first metric is worse than that of a constant prediction"
    )
    leak: Literal["accept", "refuse"] = Field(
        default="accept", description="a candidate of which `evaluate` says that a column tells the target, or the like"
    )
    max_latency_ms: PositiveFloat | None = Field(
        default=None, description="the median time of the packaged model for one row, measured where it is promoted"
    )
    max_disagreement: NonNegativeFloat | None = Field(
        default=None,
        description="after a shadow: share of its rows with another label than the champion's; "
        "of numbers their mean absolute difference",
    )


class Tracking(Section):
    """Where MLflow keeps runs and models."""

    uri: str | None = Field(default=None, description="default: mlflow.db in the project")
    timeout_s: PositiveFloat = Field(default=10.0, description="for a server to answer; then the command ends")


class Compute(Section):
    """Where work is done, and what it may take. The results are the same everywhere."""

    engine: Literal["local", "ray"] = Field(
        default="local", description="ray: a Ray cluster works on many files; it needs the extra `ray`"
    )
    address: Annotated[str, Field(pattern=RAY)] = Field(
        default="auto",
        description="of ray: HOST:PORT; auto, the cluster that this machine is a node of; local, one is started here",
    )
    timeout_s: PositiveFloat = Field(default=30.0, description="of ray: within it the cluster has to answer")
    memory: Annotated[str, Field(pattern=MEMORY)] | None = Field(
        default=None,
        description="that a fit may take, such as 6GiB; what would take more is refused before it begins; "
        "null: four fifths of what is free",
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
        description="of the jobs; null: by .python-version, requires-python, else the one that runs glue ci",
    )
    branch: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")] = Field(
        default="main", description="a push to it trains"
    )
    requirements: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$")] = Field(
        default="requirements.lock", description="what the jobs install: names with hashes"
    )
    env: str | None = Field(default=None, description="the entry of `environments` that train, deploy and monitor use")
    environment: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$")] = Field(
        default="production",
        description="the service's environment; its reviewers on GitHub, if any, approve a deployment",
    )
    cloud: Literal["aws", "gcp", "azure"] | None = Field(default=None, description="where GitHub's jobs log in by OIDC")
    image: Annotated[str, Field(pattern=IMAGE)] | None = Field(
        default=None, description="name of the serving image: ghcr.io/owner/name; null: a package without Docker"
    )
    staging: ShellCommand | None = Field(
        default=None,
        description="command that deploys to staging, before anything is promoted; where it fails, nothing is",
    )
    deploy: ShellCommand | None = Field(
        default=None, description="command that deploys to production, after the promotion; null: only the alias moves"
    )
    rollback: ShellCommand | None = Field(
        default=None,
        description="command that takes back what `deploy` did, where it failed; the alias is put back anyhow",
    )
    schedule: Annotated[str, Field(pattern=CRON)] | None = Field(
        default="17 5 * * *", description="when the monitor runs: cron, UTC; null: never"
    )
    secrets: list[Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")]] = Field(
        default=[], description="names of secrets that jobs of GitHub get besides those that this file refers to"
    )


class Lineage(Section):
    """Where the lineage of each new version is sent."""

    openlineage: str | None = Field(default=None, description="a server of OpenLineage, http(s)://…, or a file")
    token: Variable | None = Field(default=None, description="${NAME} of the variable that holds the server's key")


class Audit(Section):
    """The record of alias moves, in the git ref `refs/glue/audit`."""

    remote: str | None = Field(
        default=None, description="git remote, such as origin, where machines and CI jobs share it; null: it stays here"
    )


class Card(Section):
    """What only people know of the model, for `glue card`. What is left out is shown as not stated."""

    owner: str | None = Field(default=None, description="team or person who answers for the model")
    contact: str | None = Field(default=None, description="where to write to")
    license: str | None = Field(default=None, description="by its SPDX name, such as apache-2.0")
    intended_use: str | None = Field(default=None, description="which decision the model serves")
    out_of_scope: str | None = Field(default=None, description="what it must not be used for")
    risks: str | None = Field(default=None, description="who may be harmed, and how")
    oversight: str | None = Field(default=None, description="who decides on a prediction, and may overrule it")


# What an environment may change: where things live. A dotted key stands for all that is below it, * for a name of the
# user's. No stage depends on any of them, but for the path of a table, of which DVC compares the content.
PLACES = (
    *("data.remote", "data.sources.*.path", "data.sources.*.url"),
    *("features.online_store", "features.offline_store", "features.registry"),
    *("tracking", "registry.sign", "serve", "monitor", "compute", "lineage", "audit"),
)


_NAME: Any = {"anyOf": [{"enum": EXPECTATIONS}, {"type": "string"}]}  # an editor completes those of the list
EXPECTATION = Field(json_schema_extra={"propertyNames": _NAME})


class Config(Section):
    """The whole of `glue.yaml`."""

    glue: Literal[1] = Field(description="version of this file's format")
    project: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="its name, and the model's")]
    data: Data = Field(default=ABSENT, description="the tables; with `train` it makes the pipeline")
    train: Train = Field(default=ABSENT, description="the estimator; without both, glue only serves")
    validation: dict[str, list[str | Annotated[dict[str, dict[str, Any]], EXPECTATION]]] = Field(
        {}, description="by table: Great Expectations, by their own names"
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
        default={}, description="where things live in each: keys that lie over the sections' own; none that is learned"
    )
    _environment: str | None = PrivateAttr(default=None)

    @property
    def environment(self) -> str | None:
        """The entry of `environments` that this config is for, if any."""
        return self._environment

    @property
    def model_name(self) -> str:
        """The registered model's name; the project's own where none is given."""
        return self.registry.model or self.project

    @property
    def rows(self) -> str:
        """Where the raw rows of the labels' table are, with the features of Feast where it has any."""
        return JOINED if self.features.use else TABLE

    @property
    def source(self) -> Source:
        """The table that holds the target."""
        return self.data.sources[self.data.labels.source]


def path_of(config: Config, source: str) -> str:
    """Where the Parquet form of a source is."""
    return TABLE if source == config.data.labels.source else f"{INGESTED}/{source}.parquet"


def known_keys(location: Sequence[Any]) -> list[str]:
    """The keys of the section at a location, empty where it has no model."""
    annotation: Any = Config
    for part in location:
        model = _model_in(annotation)
        field = model.model_fields.get(part) if model is not None else None
        annotation = field.annotation if field is not None else annotation  # an item of a list, or a name of the user's
    model = _model_in(annotation)
    return list(model.model_fields) if model is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in an annotation such as `dict[str, Source]` or `Canary | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part)) is not None), None)


def json_schema() -> str:
    """The JSON Schema of `glue.yaml`, for editors."""
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
