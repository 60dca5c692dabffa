"""`monitor`: limits of drift, the source of labels, alerts, and retraining."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from mlops_glue.config.fields import Fraction, HttpUrl, Section, Share, Span, Variable, Window


class LabelTable(Section):
    """Where the labels of served predictions are, once they are known."""

    path: str | None = Field(default=None, description="a table, or a folder of tables, relative to the project")
    url: str | None = Field(default=None, description="postgresql://… or duckdb:///file, as ${NAME}; needs query")
    query: str | None = Field(default=None, description="SQL that returns the table")
    id: str | None = Field(default=None, description="column with the request id of the labelled prediction")
    matches: str = Field(
        default="glue_request_id",
        description="column of the log that `id` refers to: glue_request_id or glue_caller_id",
    )
    row: str | None = Field(
        default=None, description="with id: column with the row number within a request of several rows"
    )
    entity: str | None = Field(default=None, description="without id: column that identifies the subject of a label")
    timestamp: str | None = Field(
        default=None,
        description="column with the time of a label; with entity, a label belongs to predictions at or before it",
    )
    target: str | None = Field(default=None, description="column with the label; default: data.labels.target")

    @model_validator(mode="after")
    def _complete(self) -> LabelTable:
        if (self.path is None) == (self.url is None):
            raise ValueError("give path, or url and query")
        if (self.url is None) != (self.query is None):
            raise ValueError("url and query go together")
        if (self.id is None) == (self.entity is None):
            raise ValueError("give either id or entity, to match labels with predictions")
        return self


class Performance(Section):
    """When a model counts as performing worse than on its holdout."""

    metric: str | None = Field(default=None, description="metric to monitor; default: promote.metric")
    drop: NonNegativeFloat = Field(
        default=0.05,
        description="alert if the metric is worse than on the holdout by more than this, and not by chance",
    )
    min_labelled: PositiveInt = Field(
        default=100, description="minimum number of labels; with fewer, the metric is estimated"
    )


class Webhook(Section):
    """An address that receives alerts as JSON, signed as standardwebhooks.com specifies."""

    url: HttpUrl = Field(description="https://…, or ${NAME}")
    secret: Variable | None = Field(default=None, description="${NAME} of the variable that contains the key")


class Alerts(Section):
    """Who receives alerts when an incident begins, becomes worse, or ends."""

    channels: list[str] = Field(default=[], description="Apprise URLs (mailto://…, slack://…), as ${NAME}")
    webhooks: list[Webhook] = Field(default=[], description="addresses that receive alerts as signed JSON")
    cooldown: Span = Field(default="24h", description="minimum time between two alerts about one incident")
    timeout_s: PositiveFloat = Field(default=20.0, description="time for all channels, including retries")


class Retrain(Section):
    """Limits of `on_alert: [retrain]`."""

    data: Literal["append", "reread"] = Field(
        default="append",
        description="append: add labelled rows of the log to the labels' table; reread: read that table as it is",
    )
    cooldown: Span = Field(default="24h", description="minimum time between two retrainings")
    min_labelled: PositiveInt = Field(
        default=500, description="minimum number of labelled rows since the last retraining"
    )
    max_refused: PositiveInt = Field(
        default=3,
        description="stop retraining after this many refused candidates in a row, until glue monitor --resume",
    )


class Drift(Section):
    """When served data counts as drifted."""

    share: Fraction = Field(default=0.3, description="alert if drifted columns have more than this share of the weight")
    weights: Literal["importance", "equal"] = Field(
        default="importance", description="importance: weight each column by its importance to the model"
    )
    prediction: bool = Field(default=True, description="alert if the predictions drift")
    target: bool = Field(default=False, description="alert if the known labels drift")
    number: PositiveFloat = Field(
        default=0.2,
        description="distance from which a number counts as drifted: Wasserstein, in standard deviations",
    )
    category: Share = Field(default=0.1, description="distance from which a category counts as drifted: Jensen-Shannon")
    nulls: Share = Field(default=0.1, description="difference in the share of nulls that counts as drift")


class Monitor(Section):
    """How served data is compared with the training data of the version that served it."""

    last: Window = Field(default="7d", description="window to check: 12h, 7d or 4w")
    min_rows: PositiveInt = Field(default=200, description="minimum number of rows; with fewer, there is no verdict")
    drift: Drift = Drift()
    labels: LabelTable | None = Field(default=None, description="where the true labels arrive, to measure performance")
    performance: Performance = Performance()
    on_alert: list[Literal["retrain"]] = Field(
        default=[], description="action on an alert, in addition to the alert itself"
    )
    alerts: Alerts = Alerts()
    retrain: Retrain = Retrain()
