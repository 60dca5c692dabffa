"""`serve`: how the champion answers over HTTP, and the prediction log."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from mlops_glue.config.fields import ORIGIN, Alias, Fraction, Section, Share, Variable


class PredictionLog(Section):
    """How answered predictions are logged, if `serve.prediction_log` is set."""

    full: Literal["refuse", "serve"] = Field(
        default="refuse",
        description="on a full disk: refuse requests, or answer them and count the missing log entries",
    )
    omit: list[str] = Field(default=[], description="fields to leave out of the log")
    hash: list[str] = Field(default=[], description="fields to log as a keyed hash")
    hash_key: Variable | None = Field(default=None, description="${NAME} of the variable that contains the key")
    rotate_s: PositiveFloat = Field(default=60.0, description="maximum age of a segment")
    rotate_bytes: PositiveInt = Field(default=32 << 20, description="maximum size of a segment")
    keep_days: PositiveFloat | None = Field(default=None, description="delete older files")
    keep_bytes: PositiveInt | None = Field(default=None, description="delete the oldest files above this total size")

    @model_validator(mode="after")
    def _has_key(self) -> PredictionLog:
        if self.hash and self.hash_key is None:
            raise ValueError("hash needs hash_key: a hash without a key can be reversed by trying every value")
        return self


class Canary(Section):
    """Another version that answers a share of the requests."""

    alias: Alias = Field(default="challenger", description="alias of the version that answers the share")
    share: Share = Field(description="share of the entities, or of the requests if the model has no entity")


class Serve(Section):
    """How to serve the champion over HTTP. Limits are per worker."""

    host: str = Field(default="127.0.0.1", description="address to listen on; 0.0.0.0: all addresses of the machine")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(default=8000, description="port to listen on; 0: any free port")
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        default=1, description="number of processes; at most one per core is useful"
    )
    unseen: Literal["allow", "refuse"] = Field(
        default="allow", description="answer or refuse rows with a category that training did not have"
    )
    api_keys: list[Variable] = Field(
        default=[], description="${NAME} of each variable that contains a key; several during a key rotation"
    )
    cors: list[Annotated[str, Field(pattern=ORIGIN)]] = Field(
        default=[], description="origins whose pages may send requests: https://example.org"
    )
    explain: bool = Field(
        default=False, description="answer /predict?explain=true with each column's contribution, for at most 100 rows"
    )
    max_rows: PositiveInt = Field(default=1000, description="maximum number of rows in a request")
    max_body_bytes: PositiveInt = Field(
        default=8 << 20, description="maximum size of a request; larger requests get a 413"
    )
    max_in_flight: PositiveInt = Field(
        default=256, description="maximum number of concurrent requests; further requests get a 503"
    )
    timeout_s: PositiveFloat = Field(default=10.0, description="time for the complete request to arrive")
    lookup_timeout_s: PositiveFloat = Field(default=0.2, description="time for the online store to answer")
    lookup_cache_s: NonNegativeFloat = Field(
        default=0.0, description="maximum age of a cached feature; 0: look up every time"
    )
    not_found_share: Fraction = Field(
        default=0.5, description="share of looked-up rows; if a view lacks more than this, /ready reports it"
    )
    shutdown_s: PositiveFloat = Field(default=30.0, description="time for requests in flight to finish")
    drain_s: NonNegativeFloat = Field(
        default=1.0, description="on SIGTERM: time during which /ready reports not ready before the server stops"
    )
    poll_s: PositiveFloat = Field(default=10.0, description="time between two checks of the registry")
    verify: str | None = Field(
        default=None,
        description="public key in PEM; a version that it did not sign is neither served nor used otherwise",
    )
    shadow: Alias | None = Field(
        default=None, description="alias of a version that also scores every request, but answers none"
    )
    canary: Canary | None = Field(default=None, description="another version that answers a share of the requests")
    prediction_log: str | None = Field(
        default=None, description="folder, fsspec URL or postgresql:// URL of the log of answered predictions"
    )
    log: PredictionLog = PredictionLog()
