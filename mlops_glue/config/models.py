"""The sections of `glue.yaml` as frozen data: every key, its type, its default and what it means."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from mlops_glue.layout import INGESTED, JOINED, TABLE

Task = Literal["binary", "multiclass", "regression"]
Share = Annotated[float, Field(gt=0, lt=1)]
ORIGIN = r"^(\*|null|[a-z][a-z0-9+.-]*://[^/\s]+)$"  # as browsers send it: without a path or a slash
SPAN = r"^[1-9][0-9]{0,4}[smhdw]$"
MOMENT = r"^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?$"
WINDOW = r"^[1-9][0-9]{0,4}[hdw]$"
VARIABLE = r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"
EnvironmentName = Annotated[str, Field(pattern=VARIABLE)]
IMAGE = r"^[a-z0-9][a-z0-9.-]*\.[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+$"
CRON_NUMBERS = (
    r"[0-5]?\d",
    r"1?\d|2[0-3]",
    r"0?[1-9]|[12]\d|3[01]",
    r"0?[1-9]|1[0-2]|[A-Za-z]{3}",
    r"[0-6]|[A-Za-z]{3}",
)
CRON_PARTS = [rf"(\*|({number})(-({number}))?)(/[1-9]\d?)?" for number in CRON_NUMBERS]
CRON = "^" + " ".join(f"{part}(,{part})*" for part in CRON_PARTS) + "$"
FORMS = {  # what each pattern asks for, for people
    IMAGE: "should be host/owner/name in small letters, without a tag: that is the model's version",
    CRON: "should be five fields of cron: minute hour day month weekday",
    SPAN: "should be a length of time like 90s, 15m, 12h, 7d or 4w",
    MOMENT: "should be a moment of UTC like 2026-11-28T12:00:00",
    WINDOW: "should be a length of time like 12h, 7d or 4w",
    VARIABLE: "should name a variable of the environment, like ${NAME}",
}


def _other(alias: str) -> str:
    if alias == "champion":
        raise ValueError("the champion answers already; name another alias")
    return alias


def _delay(value: float | str) -> float | str:
    if value < 0 if isinstance(value, int | float) else re.fullmatch(SPAN, value) is None:
        raise ValueError("should be seconds, not below 0, or a length of time like 90s, 5m or 1h")
    return value


def _table_name(name: str) -> str:
    """A file is named so, and a point parts the keys of `glue.yaml`."""
    if not re.fullmatch(r"[\w -]+", name):
        raise ValueError("a table's name has letters, digits, _, - and spaces alone")
    return name


def _of_web(url: str) -> str:
    """Its scheme, where it is not the environment's to say; the URL may be a secret, and is not told."""
    if not url.startswith(("http://", "https://", "${")):
        raise ValueError("is no http:// or https:// URL")
    return url


TableName = Annotated[str, AfterValidator(_table_name)]
Alias = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$"), AfterValidator(_other)]  # of the registry

ABSENT: Any = None  # of a section that `load` requires unless it is told that its caller does without


class Section(BaseModel):
    """Unknown keys and coerced types are errors; a loaded config never changes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Source(Section):
    """One raw table."""

    path: str = Field(description="csv, csv.gz, parquet or jsonl, relative to the project")
    entity: str | None = Field(default=None, description="column that says whom or what a row is about")
    timestamp: str | Annotated[list[str], Field(min_length=3, max_length=5)] | None = Field(
        default=None, description="column that says when, or those of year, month, day and, if any, hour and minute"
    )

    created: str | None = Field(default=None, description="column that says when the row became known, if later")

    @property
    def timestamps(self) -> list[str]:
        """The columns that say when: none, one, or the parts of a date."""
        return [self.timestamp] if isinstance(self.timestamp, str) else self.timestamp or []


class Labels(Section):
    """What is learned."""

    source: str = Field(description="the table that holds the target")
    target: str = Field(description="the column to predict")
    task: Task | None = Field(default=None, description="taken from the target when not given")
    positive: str | int | bool | None = Field(default=None, description="binary: the class whose probability is ranked")


class Data(Section):
    """Where the tables are and which column is predicted."""

    remote: str | None = Field(default=None, description="DVC remote: s3://…, gs://…, azure://…, ssh://… or a folder")

    sources: dict[TableName, Source] = Field(min_length=1)
    labels: Labels


class Stores(Section):
    """Where Feast keeps features, in its own words; over those of `feature_store.yaml`."""

    online_store: dict[str, Any] | None = Field(default=None, description="type: redis, postgres, …, with its options")
    offline_store: dict[str, Any] | None = Field(
        default=None, description="type: duckdb, postgres, …, with its options"
    )


class Features(Stores):
    """Which columns the model sees: those of the labels' table by kind, and those that `use` joins from Feast.

    A column in no list is left out, unless all four lists and `use` are empty.
    """

    transform: str | None = Field(default=None, description="module:function: raw tables in, feature tables out")
    repo: str = Field(default="feature_repo", description="folder of a plain Feast repository")
    use: list[str] | str = Field(default=[], description="view:feature, each; or the name of a feature service")
    unmatched: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="share of the label rows that may find nothing in a view"
    )
    delay: Annotated[float | str, AfterValidator(_delay)] = Field(
        default=0.0,
        description="how long after its time a row of features is in the online store: seconds, or 90s, 5m, 1h",
    )
    inexact_store: bool = Field(default=False, description="true: take an offline store that loses or mis-values rows")
    number: list[str] = []
    category: list[str] = []
    boolean: list[str] = []
    datetime: list[str] = []
    exclude: list[str] = Field(default=[], description="columns that the model must not see")

    @property
    def delay_s(self) -> float:
        """`delay` in seconds."""
        return span(self.delay).total_seconds() if isinstance(self.delay, str) else self.delay


class Split(Section):
    """How the holdout is taken."""

    by: Literal["random", "time", "entity"] = Field(default="random", description="random is stratified for classes")
    test_size: Share = 0.2
    fresh_after: list[Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=MOMENT)]] = Field(
        default=[],
        description="written by a retraining: its fresh rows are those after so many rows of the table, or a moment",
    )


class Train(Section):
    """The estimator."""

    estimator: str | None = Field(default=None, description="import path of a class, or module:function of your own")
    params: dict[str, Any] = {}
    preprocess: bool = Field(True, description="false: the estimator takes the columns as they are")
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0  # NumPy takes no other


class Threshold(Section):
    """A limit that a metric must meet."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> Threshold:
        if self.min is None and self.max is None:
            raise ValueError("give min or max: a threshold without a limit checks nothing")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is greater than max {self.max:g}: no value meets both")
        return self


class Evaluate(Section):
    """What the holdout is measured by."""

    metrics: list[str] = []
    thresholds: dict[str, Threshold] = {}
    slices: list[str] = Field(default=[], description="columns to report the metrics by")


class Package(Section):
    """What the bundle must be."""

    require: Literal["onnx"] | None = Field(default=None, description="onnx: refuse a model that ONNX cannot express")


class Registry(Section):
    """The name in the MLflow registry."""

    model: Annotated[str, Field(pattern=r"^[^/:']+$")] | None = None  # MLflow takes no other


class Promote(Section):
    """How a candidate is compared with the champion."""

    metric: str | None = None
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    worse_than_trivial: Literal["refuse", "accept"] = Field(
        default="refuse", description="a candidate whose first metric is worse than that of the mean or class shares"
    )


class Tracking(Section):
    """Where MLflow keeps runs and models."""

    uri: str | None = Field(default=None, description="default: mlflow.db in the project")


class PredictionLog(Section):
    """How answered predictions are kept, where `serve.prediction_log` says that they are."""

    full: Literal["refuse", "serve"] = Field(
        default="refuse", description="on a full disk: refuse requests, or answer and count what is not in the log"
    )
    omit: list[str] = Field(default=[], description="fields that are not written")
    hash: list[str] = Field(default=[], description="fields of which a keyed hash is written")
    hash_key: EnvironmentName | None = Field(default=None, description="${NAME} of the variable that holds the key")
    rotate_s: Annotated[float, Field(gt=0)] = Field(default=60.0, description="how old a segment may be")
    rotate_bytes: Annotated[int, Field(ge=1)] = Field(default=32 << 20, description="how large a segment may be")
    keep_days: Annotated[float, Field(gt=0)] | None = Field(default=None, description="older files are removed")
    keep_bytes: Annotated[int, Field(gt=0)] | None = Field(default=None, description="beyond, the oldest are removed")

    @model_validator(mode="after")
    def _has_key(self) -> PredictionLog:
        if self.hash and self.hash_key is None:
            raise ValueError("hash needs hash_key: a hash without a key is undone by trying every value")
        return self


class Canary(Section):
    """Some of the requests are answered by another version."""

    alias: Alias = "challenger"
    share: Share = Field(description="of the entities, or of the requests where a model has none")


class Serve(Section):
    """The champion over HTTP. Limits hold for each worker."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    unseen: Literal["allow", "refuse"] = Field(default="allow", description="a category that training did not have")
    api_keys: list[EnvironmentName] = Field(
        default=[], description="${NAME} of each variable that holds a key; several while keys are exchanged"
    )
    cors: list[Annotated[str, Field(pattern=ORIGIN)]] = Field(
        default=[], description="origins whose pages may ask: https://example.org"
    )
    max_rows: Annotated[int, Field(ge=1)] = Field(default=1000, description="rows in a request")
    max_body_bytes: Annotated[int, Field(ge=1)] = 8 << 20
    max_in_flight: Annotated[int, Field(ge=1)] = Field(default=256, description="requests at a time; more get a 503")
    timeout_s: Annotated[float, Field(gt=0)] = Field(default=10.0, description="for a request to arrive whole")
    lookup_timeout_s: Annotated[float, Field(gt=0)] = Field(default=0.2, description="for the online store to answer")
    lookup_cache_s: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="how old a looked-up feature may be; 0 looks up anew each time"
    )
    not_found_share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="of looked-up rows; where a view has nothing for more of them, /ready says so"
    )
    shutdown_s: Annotated[float, Field(gt=0)] = Field(default=30.0, description="for what is in flight to end")
    drain_s: Annotated[float, Field(ge=0)] = Field(
        default=1.0, description="between /ready's no and the end of answering, when told to stop"
    )
    poll_s: Annotated[float, Field(gt=0)] = Field(default=10.0, description="how often the registry is asked")
    shadow: Alias | None = Field(default=None, description="this version scores every request too, and answers none")
    canary: Canary | None = None
    prediction_log: str | None = Field(default=None, description="folder or fsspec URL of every answered prediction")
    log: PredictionLog = PredictionLog()


class LabelTable(Section):
    """Where the truth about what was served is, once it is known."""

    path: str | None = Field(default=None, description="a table, or a folder of tables, relative to the project")
    url: str | None = Field(default=None, description="postgresql://… or duckdb:///file, as ${NAME}; needs query")
    query: str | None = Field(default=None, description="SQL that gives the table")
    id: str | None = Field(default=None, description="column that says which request a label is of")
    matches: str = Field(default="glue_request_id", description="the log's column that `id` names, or glue_caller_id")
    row: str | None = Field(default=None, description="with id: column of the row's number in a request of many")
    entity: str | None = Field(default=None, description="without id: column that says whom a label is about")
    timestamp: str | None = Field(
        default=None, description="column that says when a label was so; with entity, of predictions at or before"
    )
    target: str | None = Field(default=None, description="column of the truth; default data.labels.target")

    @model_validator(mode="after")
    def _complete(self) -> LabelTable:
        if (self.path is None) == (self.url is None):
            raise ValueError("give path, or url and query")
        if (self.url is None) != (self.query is None):
            raise ValueError("url and query go together")
        if (self.id is None) == (self.entity is None):
            raise ValueError("give either id or entity: what says which prediction a label is of")
        return self


class Performance(Section):
    """When a model no longer does what it did on its holdout."""

    metric: str | None = Field(default=None, description="default: that of promote")
    drop: Annotated[float, Field(ge=0)] = Field(
        default=0.05, description="alert when the metric is worse than the holdout's by more, and not by chance"
    )
    min_labelled: Annotated[int, Field(ge=1)] = Field(default=100, description="with fewer labels it is estimated")


class Webhook(Section):
    """Takes alerts as JSON, signed as standardwebhooks.com says."""

    url: Annotated[str, AfterValidator(_of_web)] = Field(description="https://…, or ${NAME}")
    secret: EnvironmentName | None = Field(default=None, description="${NAME} of the variable that holds the key")


class Alerts(Section):
    """Who is told: once when it begins, when it becomes worse, when it is over."""

    channels: list[str] = Field(default=[], description="Apprise URLs (mailto://…, slack://…), as ${NAME}")
    webhooks: list[Webhook] = []
    cooldown: Annotated[str, Field(pattern=SPAN)] = Field(default="24h", description="between two alerts of one thing")
    timeout_s: Annotated[float, Field(gt=0)] = Field(default=20.0, description="for all channels, with all tries")


class Retrain(Section):
    """What `on_alert: [retrain]` may do."""

    data: Literal["append", "reread"] = Field(
        default="append", description="append: labelled rows of the log go to the labels' table; reread: as it is now"
    )
    cooldown: Annotated[str, Field(pattern=SPAN)] = Field(default="24h", description="between two retrainings")
    min_labelled: Annotated[int, Field(ge=1)] = Field(default=500, description="labelled rows since the last one")
    max_refused: Annotated[int, Field(ge=1)] = Field(
        default=3, description="refused candidates in a row after which a person must look: glue monitor --resume"
    )


Command = Annotated[str, Field(pattern=r"\S")]  # of a shell


class Ci(Section):
    """The workflows of GitHub Actions that `glue ci` writes."""

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
        default="production", description="GitHub's environment; its reviewers, if any, approve a deployment"
    )
    cloud: Literal["aws", "gcp", "azure"] | None = Field(default=None, description="where the jobs log in, by OIDC")
    image: Annotated[str, Field(pattern=IMAGE)] | None = Field(
        default=None, description="name of the serving image: ghcr.io/owner/name; null: a package without Docker"
    )
    staging: Command | None = Field(
        default=None,
        description="command that deploys to staging, before anything is promoted; where it fails, nothing is",
    )
    deploy: Command | None = Field(
        default=None, description="command that deploys to production, after the promotion; null: only the alias moves"
    )
    rollback: Command | None = Field(
        default=None,
        description="command that takes back what `deploy` did, where it failed; the alias is put back anyhow",
    )
    schedule: Annotated[str, Field(pattern=CRON)] | None = Field(
        default="17 5 * * *", description="when the monitor runs: cron, UTC; null: never"
    )
    secrets: list[Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")]] = Field(
        default=[], description="names of secrets that the jobs get beside those that this file refers to"
    )


class Drift(Section):
    """When what is served counts as drifted."""

    share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.3, description="alert when drifted columns have more than this share of the weight"
    )
    weights: Literal["importance", "equal"] = Field(
        default="importance", description="importance: a column counts by what the model makes of it"
    )
    prediction: bool = Field(default=True, description="alert when the predictions drift")
    target: bool = Field(default=False, description="alert when the labels drift, as far as they are known")
    number: Annotated[float, Field(gt=0)] = Field(
        default=0.2, description="distance of a drifted number: Wasserstein, in standard deviations"
    )
    category: Share = Field(default=0.1, description="distance of a drifted category: Jensen-Shannon")
    nulls: Share = Field(default=0.1, description="difference in the share of nulls")


class Monitor(Section):
    """What was served, against what the version that served it was trained on."""

    last: Annotated[str, Field(pattern=WINDOW)] = Field(default="7d", description="the window: 12h, 7d or 4w")
    min_rows: Annotated[int, Field(ge=1)] = Field(default=200, description="with fewer there is no verdict")
    drift: Drift = Drift()
    labels: LabelTable | None = None
    performance: Performance = Performance()
    on_alert: list[Literal["retrain"]] = Field(default=[], description="what is done beside telling")
    alerts: Alerts = Alerts()
    retrain: Retrain = Retrain()


# Where things live may differ by environment: whole sections, or some keys of one. What is learned cannot.
ENVIRONMENT_KEYS: dict[str, tuple[str, ...] | None] = {
    "data": ("remote",),
    "tracking": None,
    "features": tuple(Stores.model_fields),
    "serve": None,
    "monitor": None,
}


class Config(Section):
    """The whole of `glue.yaml`."""

    glue: Literal[1] = Field(description="version of this file's format")
    project: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    data: Data = Field(default=ABSENT, description="the tables; with `train` it makes the pipeline")
    train: Train = Field(default=ABSENT, description="what learns from them; without both, glue only serves")
    validation: dict[str, list[str | dict[str, dict[str, Any]]]] = Field(
        {}, description="by table: Great Expectations, by their own names"
    )
    features: Features = Features()
    split: Split = Split()
    evaluate: Evaluate = Evaluate()
    package: Package = Package()
    registry: Registry = Registry()
    promote: Promote = Promote()
    tracking: Tracking = Tracking()
    serve: Serve = Serve()
    monitor: Monitor = Monitor()
    ci: Ci = Ci()
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


def json_schema() -> str:
    """The JSON Schema of `glue.yaml`, for editors."""
    schema = Config.model_json_schema()
    properties = {
        name: {"$ref": f"#/$defs/{name.capitalize()}"} if keys is None else _part(schema["$defs"], name, keys)
        for name, keys in ENVIRONMENT_KEYS.items()
    }
    schema["properties"]["environments"]["additionalProperties"] = _closed(properties)
    return json.dumps(schema, indent=1) + "\n"


def _part(definitions: dict[str, Any], section: str, keys: tuple[str, ...]) -> dict[str, Any]:
    known = definitions[section.capitalize()]["properties"]
    return _closed({key: known[key] for key in keys})


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def span(text: str) -> timedelta:
    """`24h` and the like, of the form `SPAN`, as a length of time."""
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[text[-1]]
    return timedelta(**{unit: int(text[:-1])})
