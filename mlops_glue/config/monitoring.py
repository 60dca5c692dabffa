"""`monitor`: when served data has drifted, where labels come from, who is alerted, when a model is trained again."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from mlops_glue.config.fields import Fraction, HttpUrl, Section, Share, Span, Variable, Window


class LabelTable(Section):
    """Where the labels of served predictions are, once they are known."""

    path: str | None = Field(default=None, description="a table, or a folder of tables, relative to the project")
    url: str | None = Field(default=None, description="postgresql://… or duckdb:///file, as ${NAME}; needs query")
    query: str | None = Field(default=None, description="SQL that gives the table")
    id: str | None = Field(default=None, description="column with the id of the request that a label belongs to")
    matches: str = Field(default="glue_request_id", description="the log's column that `id` names, or glue_caller_id")
    row: str | None = Field(
        default=None, description="with id: column with the row's number in a request of several rows"
    )
    entity: str | None = Field(default=None, description="without id: column that identifies whom a label is about")
    timestamp: str | None = Field(
        default=None, description="column with the time of a label; with entity it belongs to predictions at or before"
    )
    target: str | None = Field(default=None, description="column with the label; default data.labels.target")

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
    """When a model performs worse than on its holdout."""

    metric: str | None = Field(default=None, description="default: promote.metric")
    drop: NonNegativeFloat = Field(
        default=0.05, description="alert when the metric is worse than the holdout's by more, and not by chance"
    )
    min_labelled: PositiveInt = Field(default=100, description="with fewer labels the metric is estimated")


class Webhook(Section):
    """An address that gets alerts as JSON, signed as standardwebhooks.com specifies."""

    url: HttpUrl = Field(description="https://…, or ${NAME}")
    secret: Variable | None = Field(default=None, description="${NAME} of the variable that holds the key")


class Alerts(Section):
    """Who gets alerts: when an incident begins, when it becomes worse, when it is over."""

    channels: list[str] = Field(default=[], description="Apprise URLs (mailto://…, slack://…), as ${NAME}")
    webhooks: list[Webhook] = Field(default=[], description="addresses that get them as signed JSON")
    cooldown: Span = Field(default="24h", description="between two alerts about one incident")
    timeout_s: PositiveFloat = Field(default=20.0, description="for all channels, with all attempts")


class Retrain(Section):
    """What `on_alert: [retrain]` may do."""

    data: Literal["append", "reread"] = Field(
        default="append",
        description="append: labelled rows of the log are added to the labels' table; reread: it is read as it is",
    )
    cooldown: Span = Field(default="24h", description="between two retrainings")
    min_labelled: PositiveInt = Field(default=500, description="labelled rows since the last one")
    max_refused: PositiveInt = Field(
        default=3, description="refused candidates in a row that stop retraining until glue monitor --resume"
    )


class Drift(Section):
    """When what is served counts as drifted."""

    share: Fraction = Field(
        default=0.3, description="alert when drifted columns have more than this share of the weight"
    )
    weights: Literal["importance", "equal"] = Field(
        default="importance", description="importance: a column counts by its importance to the model"
    )
    prediction: bool = Field(default=True, description="alert when the predictions drift")
    target: bool = Field(default=False, description="alert when the known labels drift")
    number: PositiveFloat = Field(
        default=0.2, description="distance of a drifted number: Wasserstein, in standard deviations"
    )
    category: Share = Field(default=0.1, description="distance of a drifted category: Jensen-Shannon")
    nulls: Share = Field(default=0.1, description="difference in the share of nulls")


class Monitor(Section):
    """What was served is compared with what the version that served it was trained on."""

    last: Window = Field(default="7d", description="the window: 12h, 7d or 4w")
    min_rows: PositiveInt = Field(default=200, description="with fewer rows there is no verdict")
    drift: Drift = Drift()
    labels: LabelTable | None = Field(default=None, description="where the truth arrives, for the performance")
    performance: Performance = Performance()
    on_alert: list[Literal["retrain"]] = Field(default=[], description="what is done besides alerting")
    alerts: Alerts = Alerts()
    retrain: Retrain = Retrain()
