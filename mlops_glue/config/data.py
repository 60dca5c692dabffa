"""`data`: the tables, by file or by query, and which column is predicted."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveFloat, model_validator

from mlops_glue.config.fields import Section, TableName, Task


class Source(Section):
    """One raw table."""

    path: str = Field(
        description="csv, csv.gz, parquet or jsonl, or a folder of Parquet files, relative to the project; of a query "
        "the Parquet file that keeps its rows"
    )
    url: str | None = Field(
        default=None,
        description="of a query: postgresql://…, as ${NAME}; duckdb:///file; or duckdb://, which reads files",
    )
    query: str | None = Field(
        default=None, description="a SELECT whose rows `path` keeps; read once, and again by `glue run --refresh`"
    )
    timeout_s: PositiveFloat | None = Field(
        default=None, description="of a query: for PostgreSQL to give the next rows; default 600"
    )
    entity: str | None = Field(default=None, description="column that identifies whom or what a row is about")
    timestamp: str | Annotated[list[str], Field(min_length=3, max_length=5)] | None = Field(
        default=None, description="column with the time, or those of year, month, day and, if any, hour and minute"
    )
    created: str | None = Field(
        default=None, description="column with the time at which the row became known, if later"
    )

    @model_validator(mode="after")
    def _complete(self) -> Source:
        if (self.url is None) != (self.query is None):
            raise ValueError("url and query go together")
        if self.query is None and self.timeout_s is not None:
            raise ValueError("timeout_s is of a query")
        if self.query is not None and not self.path.endswith(".parquet"):
            raise ValueError(f"the rows of a query are kept in a .parquet file, not in {self.path}")
        return self

    @property
    def timestamps(self) -> list[str]:
        """The columns with the time: none, one, or the parts of a date."""
        return [self.timestamp] if isinstance(self.timestamp, str) else self.timestamp or []


class Labels(Section):
    """What the model learns to predict."""

    source: str = Field(description="the table that holds the target")
    target: str = Field(description="the column to predict")
    task: Task | None = Field(default=None, description="default: inferred from the target")
    positive: str | int | bool | None = Field(default=None, description="binary: the class whose probability is ranked")


class Data(Section):
    """Where the tables are and which column is predicted."""

    remote: str | None = Field(default=None, description="DVC remote: s3://…, gs://…, azure://…, ssh://… or a folder")

    sources: dict[TableName, Source] = Field(min_length=1, description="the tables, each by a name of your own")
    labels: Labels = Field(description="which of them has the target, and which column it is")
