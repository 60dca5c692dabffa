"""`glue.yaml` as frozen data, checked in full before any tool is imported.

Every problem is found in one pass and told as `glue.yaml:LINE section.key: what is wrong (hint)`. Secrets come only
from `${NAME}` references; they are resolved on demand by `resolve`, never while loading, so a loaded config holds none.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta
from pathlib import Path
from textwrap import indent
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    create_model,
    model_validator,
)

from mlops_glue import secrets
from mlops_glue.errors import ConfigError, UsageError, did_you_mean, first_line, suggestion
from mlops_glue.layout import CONFIG, INGESTED, JOINED, OWN, RESERVED, TABLE

Task = Literal["binary", "multiclass", "regression"]
Share = Annotated[float, Field(gt=0, lt=1)]
ORIGIN = r"^(\*|null|[a-z][a-z0-9+.-]*://[^/\s]+)$"  # as browsers send it: without a path or a slash
SPAN = r"^[1-9][0-9]{0,4}[smhdw]$"
MOMENT = r"^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?$"
WINDOW = r"^[1-9][0-9]{0,4}[hdw]$"
VARIABLE = r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"
EnvironmentName = Annotated[str, Field(pattern=VARIABLE)]
IMAGE = r"^[a-z0-9][a-z0-9.-]*\.[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+$"
CRON = r"^[0-9*,/A-Za-z-]+( [0-9*,/A-Za-z-]+){4}$"
CRON_FIELDS = (
    ("minute", 0, 59, ""),
    ("hour", 0, 23, ""),
    ("day", 1, 31, ""),
    ("month", 1, 12, "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"),
    ("weekday", 0, 6, "SUN MON TUE WED THU FRI SAT"),
)
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

METRICS: dict[str, tuple[str, ...]] = {  # by task; the first is the default to promote by
    "binary": ("roc_auc", "average_precision", "f1", "precision", "recall", "accuracy", "log_loss", "brier"),
    "multiclass": ("log_loss", "accuracy", "balanced_accuracy", "f1_macro", "roc_auc_ovr"),
    "regression": ("r2", "rmse", "mae", "median_absolute_error"),
}
ALL_METRICS = sorted({m for names in METRICS.values() for m in names})


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


class Remote(Section):
    """Where DVC sends tables and results."""

    remote: str | None = Field(default=None, description="DVC remote: s3://…, gs://…, azure://…, ssh://… or a folder")


class Data(Remote):
    """Where the tables are and which column is predicted."""

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


def _partly(section: type[Section]) -> Any:
    """The same section where every key may be left out, at any depth; `in_environment` checks it as a whole."""

    def inner(annotation: Any) -> Any:
        if isinstance(annotation, type) and issubclass(annotation, Section):
            return _partly(annotation)
        if isinstance(annotation, UnionType) or get_origin(annotation) is Union:
            return Union[tuple(map(inner, get_args(annotation)))]  # noqa: UP007 - of a tuple
        return annotation

    fields: dict[str, Any] = {}
    for name, known in section.model_fields.items():
        field = copy(known)
        field.default, field.default_factory = None, None
        fields[name] = (inner(known.annotation), field)
    name = f"{section.__name__}There"
    made = create_model(name, __base__=Section, __module__=__name__, __doc__=section.__doc__, **fields)
    globals()[name] = made  # a config is sent to the process that validates, and pickle finds a class by its name
    return made


if TYPE_CHECKING:
    Environment = Section
else:
    Environment = create_model(
        "Environment",
        __base__=Section,
        __module__=__name__,
        __doc__="Where things live in one environment: keys that differ there. What is learned cannot differ.",
        data=(_partly(Remote) | None, None),
        tracking=(_partly(Tracking) | None, None),
        features=(_partly(Stores) | None, None),
        serve=(_partly(Serve) | None, None),
        monitor=(_partly(Monitor) | None, None),
    )


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
    environments: dict[str, Environment] = {}
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


A_MODEL = ("model",)  # for `needs` of `load`


def load(
    root: Path,
    env: str | None = None,
    overrides: Mapping[str, str] | None = None,
    *,
    tables: bool = True,
    needs: Sequence[str] = ("data", "train"),
    text: str | None = None,
) -> Config:
    """Read and check `glue.yaml`.

    Args:
        root: the project folder.
        env: name of an entry of `environments`; default `GLUE_ENV`; "" for none, whatever is set.
        overrides: dotted keys to YAML text, e.g. `{"train.params.max_iter": "300"}`; not written back.
        tables: must the tables be there? In a new clone they are not yet.
        needs: sections that must be there, or `A_MODEL`: a pipeline or a registered model.
        text: what the file will hold; default what it holds.

    Raises:
        ConfigError: with every problem found, in file order.
    """
    tree = _parse(_read(root / CONFIG) if text is None else text.removeprefix("\ufeff"))
    for key, value in (overrides or {}).items():
        _set(tree, key, value)
    secrets.note(references(_plain(tree)))
    rest, gone, found = _checked(_plain(tree), root, tables=tables)
    if rest is not None and all(loc[0] == "environments" for loc in gone):
        found += [one for one in _environment_problems(rest, tree, root, found) if not _moot(*one, gone)]
    only = only_does(rest) if rest is not None and needs and not found else None
    if only is not None and not (needs == A_MODEL and only[0].startswith("serves")):
        raise UsageError(f"this project only {only[0]}: {CONFIG} has no data and no train", hint=only[1])
    found += [((key,), "is required") for key in needs if key not in tree and needs != A_MODEL]
    if found or rest is None:
        problems = sorted({(_line(tree, loc), _say(loc, what)) for loc, what in found})
        raise ConfigError([f"{CONFIG}:{line} {said}" for line, said in problems])
    return in_environment(rest, os.environ.get("GLUE_ENV") if env is None else env)


def only_does(config: Config) -> tuple[str, str] | None:
    """What a project without a pipeline is for, and its command; None of one that has a pipeline, or nothing at all."""
    given = config.model_fields_set
    if {"data", "train"} & given:
        return None
    if {"registry", "serve", "package"} & given:
        return f"serves {config.model_name}", "glue serve; a newer version of it: glue adopt .. --model NAME/VERSION"
    if "tracking" in given:
        return "tracks", "glue track -- python train.py"
    return ("monitors", "glue monitor --reference TABLE --current TABLE") if "monitor" in given else None


Problem = tuple[tuple[Any, ...], str]  # where, and what is wrong there


def _checked(sections: Any, root: Path, *, tables: bool) -> tuple[Config | None, list[tuple[Any, ...]], list[Problem]]:
    """A config without what is wrong in it, if that leaves one; the places of what is wrong; every problem."""
    gone: list[tuple[Any, ...]] = []
    found: list[Problem] = []
    config: Config | None
    try:
        config = Config.model_validate(sections)
    except ValidationError as error:
        # one problem a place: a value that fits no branch of a union fails each of them
        found += dict(_pydantic_problem(sections, one) for one in reversed(error.errors())).items()
        config, gone = _without(sections, error)
    if config is not None:
        found += [one for one in _cross_checks(config, root, tables=tables) if not _moot(*one, gone)]
    return config, gone, found


def _without(tree: Any, error: ValidationError) -> tuple[Config | None, list[tuple[Any, ...]]]:
    """What is left of a config once each value that is wrong is taken away, and what these were.

    None where that is no config, or its pipeline's sections are not there to hold the others against.
    """
    gone: list[tuple[Any, ...]] = []
    for _ in range(5):  # without a value another one may be wrong
        for one in error.errors():
            lacking = one["type"] == "missing"
            if not lacking and any(one["loc"][: len(loc)] == loc for loc in gone):
                continue
            node, path = tree, []
            for part in one["loc"]:
                if not isinstance(node, dict) or part not in node:  # a list goes as a whole
                    break
                path.append((node, part))
                node = node[part]
            if lacking and len(path) == len(one["loc"]) - 1:
                node[one["loc"][-1]] = 1 if one["loc"] == ("glue",) else "no-such-name"
                gone.append(one["loc"])
            elif path:
                path[-1][0].pop(path[-1][1])
                gone.append(tuple(part for _, part in path))
        try:
            config = Config.model_validate(tree)
        except ValidationError as again:
            error = again
        else:
            return (config if {"data", "train"} <= config.model_fields_set else None), gone
    return None, gone


def _moot(loc: tuple[Any, ...], said: str, gone: list[tuple[Any, ...]]) -> bool:
    """Is a finding about what was taken away, or held against it?"""
    about = any(loc[: len(one)] == one or one[: len(loc)] == loc or ".".join(map(str, one)) in said for one in gone)
    named = any(one[0] == "environments" or (one[:2] == ("data", "sources") and len(one) < 4) for one in gone)
    return about or (named and said.startswith(("no source", "no environment")))


def located(root: Path, error: ConfigError) -> ConfigError:
    """The same error, with the line of each key that it names as `glue.yaml a.b.c: …`."""
    tree = _parse(_read(root / CONFIG))
    said = []
    for problem in error.problems:
        found = re.match(rf"{re.escape(CONFIG)} ([^ :]+)", problem)
        if found is not None:
            loc = tuple(int(part) if part.isdigit() else part for part in found.group(1).split("."))
            problem = f"{CONFIG}:{_line(tree, loc)}{problem[len(CONFIG) :]}"
        said.append(problem)
    return ConfigError(said, hint=error.hint)


def references(value: Any) -> list[str]:
    """The names of the variables that a section, as built-ins, refers to; sorted."""
    return sorted(set(secrets.REFERENCE.findall(json.dumps(value, default=str))))


def path_of(config: Config, source: str) -> str:
    """Where the Parquet form of a source is."""
    return TABLE if source == config.data.labels.source else f"{INGESTED}/{source}.parquet"


def remote_url(config: Config) -> str | None:
    """Where DVC's remote is, with its variables put in; None leaves it to `.dvc/config`."""
    return config.data.remote and resolve(config.data.remote, "data.remote")


def tracking_uri(config: Config) -> str | None:
    """Where MLflow keeps runs, with its variables put in; None is the project's own database."""
    return config.tracking.uri and resolve(config.tracking.uri, "tracking.uri")


def resolved(value: Any, where: str) -> Any:
    """A section with its variables put in; for the moment of use, never to be kept or told."""
    if isinstance(value, dict):
        return {key: resolved(one, f"{where}.{key}") for key, one in value.items()}
    if isinstance(value, list):
        return [resolved(one, where) for one in value]
    return resolve(value, where) if isinstance(value, str) else value


def with_scheme(url: str, where: str) -> str:
    """A URL, or a folder, of which a variable may hold the very beginning; what else is in variables stays there.

    Raises:
        ConfigError: that variable is not set, so nobody knows which of the two it is.
    """
    return resolve(url, where) if url.startswith("${") else url


def json_schema() -> str:
    """The JSON Schema of `glue.yaml`, for editors."""
    return json.dumps(Config.model_json_schema(), indent=1) + "\n"


def span(text: str) -> timedelta:
    """`24h` and the like, of the form `SPAN`, as a length of time."""
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[text[-1]]
    return timedelta(**{unit: int(text[:-1])})


def resolve(value: str, where: str) -> str:
    """Replace each `${NAME}` by the environment's value.

    Raises:
        ConfigError: a variable is not set, or empty; its name is told, never a value.
    """

    def one(match: re.Match[str]) -> str:
        name = match.group(1)
        secrets.note([name])
        value = os.environ.get(name)
        if not value:
            # a secret of GitHub's that is not there, or that a fork does not get, is an empty text in its jobs
            said = f"environment variable {name} is {'not set' if value is None else 'empty'}"
            raise ConfigError([f"{CONFIG} {where}: {said}"], hint=f"export {name}=…")
        return value

    return secrets.REFERENCE.sub(one, value)


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"no {CONFIG} in {path.parent}", hint="glue init") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{CONFIG}:1 cannot be read: {error}"]) from error
    refuse_both_sides(CONFIG, text)
    return text


def refuse_both_sides(name: str, text: str) -> None:
    """The text of a file that tells what to do is not that of an unfinished git merge.

    Raises:
        ConfigError: it is.
    """
    lines = text.splitlines()
    at = next((n for n, line in enumerate(lines, 1) if line.startswith(("<<<<<<< ", ">>>>>>> "))), None)
    if at is not None:
        raise ConfigError(
            [f"{name}:{at} holds both sides of a git merge"],
            hint=f"git checkout --ours {name}, or --theirs; then glue run",
        )


def _parse(text: str) -> Any:
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

    yaml, depth = _round_trip(), 0
    try:
        for event in yaml.parse(text):
            _refuse(event)
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > MOST_NESTED:
                raise ConfigError([f"{CONFIG}:{event.start_mark.line + 1} is nested too deeply"])
        tree = yaml.load(text)
    except DuplicateKeyError as error:
        key = re.search(r'found duplicate key "(.*?)"', str(error))
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError([f"{CONFIG}:{line} {key.group(1) if key else '?'}: this key stands twice"]) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        if re.match(r" *\t", text.split("\n")[line - 1]):
            raise ConfigError([f"{CONFIG}:{line} a tab indents this line"], hint="indent with spaces") from None
        what = (error.problem or str(error)).splitlines()[0]
        raise ConfigError([f"{CONFIG}:{line} is not YAML: {what}"], hint="check the indent and quotes there") from None
    except YAMLError as error:
        raise ConfigError([f"{CONFIG}:1 is not YAML: {first_line(error)}"]) from None
    if not isinstance(tree, dict):
        raise ConfigError([f"{CONFIG}:1 is empty or not a mapping"], hint="glue init shows what one looks like")
    return tree


def _round_trip() -> Any:
    """A YAML reader and writer that keeps comments, quotes and nulls, and says where a value stands that is none."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import ConstructorError, RoundTripConstructor
    from ruamel.yaml.error import MarkedYAMLError

    class Constructor(RoundTripConstructor):  # type: ignore[misc]
        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep=deep)
            except MarkedYAMLError:
                raise
            except (ValueError, LookupError, TypeError, ArithmeticError) as error:  # 2024-02-30, !!int x
                said = f"{str(node.value)[:40]!r}: {first_line(error)}"
                raise ConstructorError(None, None, said, node.start_mark) from None

        def construct_mapping(self, node: Any, *args: Any, **named: Any) -> Any:
            for key, _ in node.value:
                if str(key.tag).rpartition(":")[2] not in ("str", "int", "float", "bool"):
                    raise ConstructorError(None, None, "a key is a text or a number", key.start_mark)
            return super().construct_mapping(node, *args, **named)

    yaml = YAML(typ="rt")
    yaml.Constructor = Constructor
    yaml.width = 1 << 16  # no line of the user's is broken
    return yaml


MOST_NESTED = 50  # a section, a parameter, and what a search or an expectation takes
TAGS = {"str", "int", "float", "bool", "null", "map", "seq"}  # of YAML's own: what JSON has too


def _refuse(event: Any) -> None:
    """What a plain tree of values has no place for: aliases, tags, text that is no Unicode."""
    from ruamel.yaml.events import AliasEvent, DocumentStartEvent

    mark = getattr(event, "start_mark", None)
    where = f"{CONFIG}:{mark.line + 1 if mark is not None else 1}"
    if isinstance(event, AliasEvent):
        raise ConfigError([f"{where} aliases (*{event.anchor}) are not taken"])
    if isinstance(event, DocumentStartEvent) and event.version is not None:
        raise ConfigError([f"{where} %YAML is not taken: it would change what yes and 010 mean"])
    tag = str(getattr(event, "tag", None) or getattr(event, "ctag", None) or "!")
    if tag != "!" and tag.removeprefix("tag:yaml.org,2002:") not in TAGS:
        raise ConfigError([f"{where} tag {tag} is not taken"])
    if re.search("[\ud800-\udfff]", str(getattr(event, "value", ""))):
        raise ConfigError([f"{where} holds half of a surrogate pair, which is no character"])


def _plain(node: Any) -> Any:
    """ruamel's round-trip types as built-ins."""
    from ruamel.yaml.comments import TaggedScalar
    from ruamel.yaml.scalarbool import ScalarBoolean
    from ruamel.yaml.timestamp import TimeStamp

    if isinstance(node, dict):
        return {_plain(k): _plain(v) for k, v in node.items()}
    if isinstance(node, list):
        return [_plain(v) for v in node]
    if isinstance(node, ScalarBoolean):  # of `&x false`; it is an int to Python
        return bool(node)
    if isinstance(node, TaggedScalar):  # a lone `=`
        return str(node.value)
    if isinstance(node, TimeStamp):
        return datetime.fromisoformat(node.isoformat())
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _set(tree: Any, key: str, value: str) -> None:
    *path, last = key.split(".")
    node = tree
    for part in path:
        if isinstance(node, dict) and node.get(part) is None:
            node[part] = {}
        node = node[part] if isinstance(node, dict) else None
        if not isinstance(node, dict):
            raise UsageError(f"--set {key}: {part!r} is not a section of {CONFIG}")
    node[last] = _value(key, value)


def _value(key: str, text: str) -> Any:
    """What `--set key=text` gives."""
    try:
        return _plain(_parse("it:\n" + indent(text, " "))["it"])
    except (ConfigError, KeyError):
        raise UsageError(
            f"--set {key}={text}: the value is not YAML", hint="quote it: --set 'a.key=\"text\"'"
        ) from None


def _line(tree: Any, loc: tuple[Any, ...]) -> int:
    node: Any = tree
    line = 1
    for part in loc:
        try:
            marks: Any = getattr(node, "lc")  # noqa: B009 - ruamel's own attribute, unknown to dict
            here = marks.key(part) if isinstance(node, dict) else marks.item(part)
            node = node[part]
            line = here[0] + 1
        except (KeyError, AttributeError, TypeError, IndexError):
            break
    return line


def _say(loc: tuple[Any, ...], what: str) -> str:
    return f"{'.'.join(map(str, loc))}: {what}"


def _pydantic_problem(tree: Any, error: Any) -> Problem:
    """What pydantic finds wrong, for people."""
    # pydantic adds the branch of a union to the location; only what is in the file helps the reader
    loc: tuple[Any, ...] = ()
    node: Any = tree
    for part in error["loc"]:
        inside = (isinstance(node, dict) and part in node) or (
            isinstance(node, list) and isinstance(part, int) and part < len(node)
        )
        if not inside and not (part == error["loc"][-1] and error["type"] == "missing"):
            continue
        loc = (*loc, part)
        node = node[part] if inside else None
    if error["type"] == "extra_forbidden":
        known = _known_keys(loc[:-1])
        if loc[0] == "environments" and loc[-1] in _known_keys(loc[2:-1]):
            return loc, "is the same in every environment; only where things live may differ"
        return loc, f"unknown key ({did_you_mean(str(loc[-1]), known)})"
    if error["type"] == "missing":
        return loc, "is required"
    said = error["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    if error["type"] == "model_type":
        said = "should be a section, with keys of its own"
    elif error["type"] == "string_pattern_mismatch":
        said = FORMS.get(error["ctx"]["pattern"], said)
    # a URL may hold a secret, and what should name a variable may be one
    secret = "://" in str(node) or error.get("ctx", {}).get("pattern") == VARIABLE
    value = "" if isinstance(node, dict | list) or node is None or secret else f", not {node!r}"
    return loc, said + value


def _is_cron(field: str, low: int, high: int, names: list[str]) -> bool:
    """Is it what a field of cron may be, at GitHub and in Kubernetes?"""

    def number(text: str) -> int:
        return low + names.index(text) if text in names else int(text) if text.isdecimal() else -1

    for part in field.upper().split(","):
        found = re.fullmatch(r"(?:\*|(\w+)(?:-(\w+))?)(?:/(\d+))?", part)
        if found is None:
            return False
        ends = [number(end) for end in found.group(1, 2) if end]
        if ends != sorted(ends) or not all(low <= end <= high for end in ends):
            return False
        if found.group(3) and not 1 <= int(found.group(3)) <= high:
            return False
    return True


def registry_of(image: str | None) -> str | None:
    """Whose login the image's registry takes; None: a name and a password."""
    host = (image or "").partition("/")[0]
    ends = {"ghcr.io": "ghcr", ".amazonaws.com": "aws", ".pkg.dev": "gcp", ".gcr.io": "gcp", ".azurecr.io": "azure"}
    return next((kind for end, kind in ends.items() if host.endswith(end)), None)


def _known_keys(loc: tuple[Any, ...]) -> list[str]:
    model: Any = Config
    for part in loc:
        field = model.model_fields.get(part) if isinstance(model, type) and issubclass(model, BaseModel) else None
        annotation = field.annotation if field is not None else model
        model = _section_in(annotation)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _section_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((s for a in getattr(annotation, "__args__", ()) if (s := _section_in(a)) is not None), None)


def _cross_checks(config: Config, root: Path, *, tables: bool) -> Iterator[tuple[tuple[Any, ...], str]]:
    """What one field alone cannot tell."""
    if config.ci.env is not None and config.ci.env not in config.environments:
        yield ("ci", "env"), f"no environment {config.ci.env!r} ({did_you_mean(config.ci.env, [*config.environments])})"
    for at, name in enumerate(config.ci.secrets):
        if name.startswith("GITHUB_"):
            yield ("ci", "secrets", at), f"{name!r}: GitHub keeps names that begin with GITHUB_ to itself"
        elif name in ("PATH", "HOME", "GLUE_ENV"):
            yield ("ci", "secrets", at), f"{name!r}: the jobs set it themselves"
    for field, (what, low, high, names) in zip((config.ci.schedule or "").split(), CRON_FIELDS, strict=False):
        if not _is_cron(field, low, high, names.split()):
            yield ("ci", "schedule"), f"{field!r} is no {what} from {low} to {high}"
    for key in ("staging", "deploy", "rollback"):
        if "${{" in (getattr(config.ci, key) or ""):
            yield (
                ("ci", key),
                "is a command of a shell, and ${{ }} is GitHub's: name the secret in ci.secrets, then $NAME",
            )
    if config.ci.rollback is not None and config.ci.deploy is None:
        yield ("ci", "rollback"), "needs ci.deploy, of which it takes back what that did"
    login = registry_of(config.ci.image)
    if login in ("aws", "gcp", "azure") and config.ci.cloud != login:
        yield ("ci", "image"), f"its registry takes a login of {login}'s (ci: {{cloud: {login}}})"
    lacking = [key for key in ("data", "train") if key not in config.model_fields_set]
    if lacking:
        asks = ("data", "train", "validation", "features", "split", "evaluate")
        yield from (((key,), f"needs {lacking[0]}") for key in asks if key in config.model_fields_set)
        yield from (
            (("monitor", key), f"needs {lacking[0]}") for key in ("labels", "on_alert") if getattr(config.monitor, key)
        )
        return
    sources = list(config.data.sources)
    labels = config.data.labels
    if labels.source not in sources:
        yield ("data", "labels", "source"), f"no source {labels.source!r} ({did_you_mean(labels.source, sources)})"
        return
    for name, source in config.data.sources.items() if tables else ():
        loc = ("data", "sources", name, "path")
        file = root / source.path
        if not file.is_file():
            pulled = Path(f"{file}.dvc").is_file()
            siblings = sorted(p.name for p in file.parent.iterdir()) if file.parent.is_dir() else []
            hint = "run: dvc pull" if pulled else suggestion(file.name, siblings) or "no such file"
            yield loc, f"{source.path!r} is not there ({hint})"
        elif file.stat().st_size == 0:
            yield loc, f"{source.path!r} is empty"
    for name in config.validation:
        if name not in sources:
            yield ("validation", name), f"no source {name!r} ({did_you_mean(name, sources)})"
        elif not config.validation[name]:
            yield ("validation", name), "an empty suite checks nothing; leave the table out or name expectations"
    known = list(METRICS[labels.task]) if labels.task else ALL_METRICS
    of_task = f" for a {labels.task} task" if labels.task else ""
    for at, metric in enumerate(config.evaluate.metrics):
        if metric not in known:
            yield ("evaluate", "metrics", at), f"no metric {metric!r}{of_task} ({did_you_mean(metric, known)})"
    for metric in config.evaluate.thresholds:
        if metric not in known:
            yield ("evaluate", "thresholds", metric), f"no metric {metric!r}{of_task} ({did_you_mean(metric, known)})"
    if config.promote.metric is not None and config.promote.metric not in known:
        said = f"no metric {config.promote.metric!r}{of_task} ({did_you_mean(config.promote.metric, known)})"
        yield ("promote", "metric"), said
    needs = {"time": config.source.timestamp, "entity": config.source.entity}
    if config.split.by in needs and needs[config.split.by] is None:
        key = "timestamp" if config.split.by == "time" else "entity"
        yield ("split", "by"), f"{config.split.by!r} needs data.sources.{labels.source}.{key}"
    yield from _monitor_checks(config, known, of_task)
    yield from _feature_checks(config, root)
    listed = [
        (kind, c) for kind in ("number", "category", "boolean", "datetime") for c in getattr(config.features, kind)
    ]
    seen: dict[str, str] = {}
    for kind, column in listed:
        if column == labels.target:
            yield ("features", kind), f"{column!r} is the target"
        elif column in OWN:
            yield ("features", kind), f"{column!r} is a name that glue uses; rename the column"
        elif column in seen or column in config.features.exclude:
            yield ("features", kind), f"{column!r} stands in {seen.get(column, 'exclude')} too"
        seen[column] = kind


def _monitor_checks(config: Config, known: list[str], of_task: str) -> Iterator[tuple[tuple[Any, ...], str]]:
    """What `monitor` says, against the rest."""
    monitor, log = config.monitor, config.serve.log
    name, evaluated = monitor.performance.metric, [*config.evaluate.metrics, *config.evaluate.thresholds]
    if name is not None and name not in known:
        yield ("monitor", "performance", "metric"), f"no metric {name!r}{of_task} ({did_you_mean(name, known)})"
    elif name is not None and config.evaluate.metrics and name not in evaluated:
        yield ("monitor", "performance", "metric"), f"{name!r} is not in evaluate.metrics, so no holdout tells of it"
    if monitor.labels is not None and monitor.labels.entity in {*log.omit, *log.hash}:
        yield ("monitor", "labels", "entity"), f"{monitor.labels.entity!r} is not in the log as it is; give id instead"
    if monitor.on_alert and monitor.labels is None and monitor.retrain.data == "append":
        said = "takes labelled rows of the log: monitor.labels says where the truth is; or retrain: {data: reread}"
        yield ("monitor", "on_alert"), said


def _feature_checks(config: Config, root: Path) -> Iterator[tuple[tuple[Any, ...], str]]:
    """What `features` says of Feast, against the rest and the files."""
    features, labels = config.features, config.data.labels
    if not features.use:
        if features.transform is not None:
            yield ("features", "transform"), "makes feature tables, and features.use takes nothing from them"
        return
    if not (root / features.repo / "feature_store.yaml").is_file():
        yield ("features", "repo"), f"no feature_store.yaml in {features.repo!r} (a Feast repository has one)"
    if config.source.timestamp is None:
        yield ("features", "use"), f"a join as of a time needs data.sources.{labels.source}.timestamp"
    for at, ref in enumerate(features.use if isinstance(features.use, list) else []):
        if not re.fullmatch(r"[^:]+:[^:]+", ref):
            yield ("features", "use", at), f"{ref!r} is not view:feature"
        elif ref in features.use[:at]:
            yield ("features", "use", at), f"{ref!r} stands there twice"
    for name, source in config.data.sources.items():
        if name != labels.source and name in RESERVED:
            yield ("data", "sources", name), "is a name that glue uses; rename the source"
        if name != labels.source and isinstance(source.timestamp, list):
            yield ("data", "sources", name, "timestamp"), "one column says when a feature was so"


def in_environment(config: Config, env: str | None) -> Config:
    """The config, loaded without an environment, as it is in one.

    Raises:
        ConfigError: there is no such environment.
    """
    if not env:
        return config
    if env not in config.environments:
        raise ConfigError([f"{CONFIG} environments: no {env!r} ({did_you_mean(env, list(config.environments))})"])
    made = Config.model_validate(_in_environment(config, env))
    made._environment = env
    return made


def _in_environment(config: Config, env: str) -> dict[str, Any]:
    """The sections as built-ins: those of the environment over the others, key by key at every depth."""
    sections = config.model_dump(exclude_unset=True)
    merged: dict[str, Any] = _over(sections, config.environments[env].model_dump(exclude_unset=True))
    return merged


def _over(below: Any, above: Any) -> Any:
    """A mapping over another one. A store of another type takes nothing from the one below: its options differ."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    if above.get("type", below.get("type")) != below.get("type"):
        return above
    return {**below, **{key: _over(below.get(key), value) for key, value in above.items()}}


def _environment_problems(config: Config, tree: Any, root: Path, known: list[Problem]) -> Iterator[Problem]:
    """What is wrong with the config as it is in each environment, and not already without one."""
    for env in config.environments:
        for loc, what in _checked(_in_environment(config, env), root, tables=False)[2]:
            there = ("environments", env, *loc)
            if (loc, what) in known or (there, what) in known:
                continue
            comes_from_there = _depth(tree, there) - 2 >= _depth(tree, loc)
            yield (there, what) if comes_from_there else (loc, f"{what} (in environments.{env})")


def _depth(tree: Any, loc: tuple[Any, ...]) -> int:
    """How much of a location is in the file."""
    for at, part in enumerate(loc):
        inside = part in tree if isinstance(tree, dict) else isinstance(tree, list) and part in range(len(tree))
        if not inside:
            return at
        tree = tree[part]
    return len(loc)


def overridden(root: Path, overrides: Mapping[str, str]) -> str:
    """The text of `glue.yaml` with dotted keys set; every other character stays."""
    text = _read(root / CONFIG)
    tree = _parse(text)
    for key, value in overrides.items():
        _set(tree, key, value)
        text = _spliced(text, key.split("."), _value(key, value))
    if _plain(_parse(text)) == _plain(tree):
        return text
    yaml = _round_trip()  # what stands there is of no form that is edited in place
    yaml.indent(mapping=2, sequence=4, offset=2)
    return dumped(yaml, tree)


def _spliced(text: str, path: list[str], value: Any) -> str:
    """The text with a value put in the place of the old one, or behind what its section has."""
    from ruamel.yaml.nodes import MappingNode

    key: Any = None
    node, there = _round_trip().compose(text), 0  # how much of the path is there
    for part in path:
        found = [pair for pair in node.value if pair[0].value == part] if isinstance(node, MappingNode) else []
        if not found:
            break
        (key, node), there = found[0], there + 1
    for part in reversed(path[there:]):
        value = {part: value}
    inside = there < len(path) and isinstance(node, MappingNode) and bool(node.value)
    shown = _flow(value)
    if inside and node.flow_style:
        end = node.end_mark.index - 1
        comma = "" if text[:end].rstrip().endswith(",") else ", "
        return text[:end].rstrip() + comma + shown[1:-1] + text[end:]
    end = _end(node, text)
    if inside:
        line = text.find("\n", end) if "\n" in text[end:] else len(text)
        return f"{text[:line]}\n{' ' * node.start_mark.column}{shown[1:-1]}{text[line:]}"
    start = node.start_mark.index
    if key is None or (end > start and getattr(node, "flow_style", True)):
        return f"{text[:start]}{shown}{text[end:]}"
    colon = text.index(":", key.end_mark.index) + 1  # of nothing, or of a block, which stands below its key
    return f"{text[:colon]} {shown}{text[colon:start].rstrip() if end > start else text[colon:start]}{text[end:]}"


def _end(node: Any, text: str) -> int:
    """Where the last character of a node is, without the blank lines and comments behind it."""
    if getattr(node, "flow_style", True) or not node.value:
        start: int = node.start_mark.index
        return start + len(text[start : node.end_mark.index].rstrip())
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last, text)


def _flow(value: Any) -> str:
    """A value on one line, quoted where it must be."""
    from ruamel.yaml import YAML

    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.width, yaml.allow_unicode = True, 1 << 16, True
    yaml.sort_base_mapping_type_on_output = False
    return dumped(yaml, {"_": value}).strip().removeprefix("{_: ").removesuffix("}")


def dumped(yaml: Any, tree: Any) -> str:
    """A ruamel tree as text."""
    from io import StringIO

    out = StringIO()
    yaml.dump(tree, out)
    return out.getvalue()
