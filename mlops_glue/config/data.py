"""`data`: the tables, from files or queries, and the column to predict."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveFloat, model_validator

from mlops_glue.config.fields import Section, TableName, Task


class Source(Section):
    """One raw table."""

    path: str = Field(
        description="csv, csv.gz, parquet or jsonl, or a folder of Parquet files, relative to the project; with "
        "`query`, the Parquet file that stores its rows"
    )
    url: str | None = Field(
        default=None,
        description="database of `query`: postgresql://…, as ${NAME}; duckdb:///file; or duckdb://, which reads files",
    )
    query: str | None = Field(
        default=None,
        description="SELECT whose rows are stored in `path`; read once, and again with `glue run --refresh`",
    )
    timeout_s: PositiveFloat | None = Field(
        default=None, description="with `query`: seconds the database may take to return the next rows; default 600"
    )
    entity: str | None = Field(
        default=None, description="column that identifies the subject of a row, such as a customer"
    )
    timestamp: str | Annotated[list[str], Field(min_length=3, max_length=5)] | None = Field(
        default=None,
        description="column with the time, or the columns with year, month, day and, optionally, hour and minute",
    )
    created: str | None = Field(
        default=None, description="column with the time at which the row became known, if later"
    )

    @model_validator(mode="after")
    def _complete(self) -> Source:
        if (self.url is None) != (self.query is None):
            raise ValueError("url and query go together")
        if self.query is None and self.timeout_s is not None:
            raise ValueError("timeout_s needs query")
        if self.query is not None and not self.path.endswith(".parquet"):
            raise ValueError(f"the rows of a query are kept in a .parquet file, not in {self.path}")
        return self

    @property
    def timestamps(self) -> list[str]:
        """Return the time columns: none, one, or the parts of a date."""
        return [self.timestamp] if isinstance(self.timestamp, str) else self.timestamp or []


class Labels(Section):
    """What the model learns to predict."""

    source: str = Field(description="table that contains the target")
    target: str = Field(description="column to predict")
    task: Task | None = Field(default=None, description="type of the prediction; default: inferred from the target")
    positive: str | int | bool | None = Field(
        default=None, description="binary tasks: the positive class, whose probability is ranked"
    )


class Data(Section):
    """Where the tables are and which column is predicted."""

    remote: str | None = Field(default=None, description="DVC remote: s3://…, gs://…, azure://…, ssh://… or a folder")

    sources: dict[TableName, Source] = Field(min_length=1, description="the tables, each under a name of your choice")
    labels: Labels = Field(description="the table with the target, and the target column")
