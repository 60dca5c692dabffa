"""`serve`: how the champion answers over HTTP, and what is kept of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from mlops_glue.config.fields import ORIGIN, Alias, Fraction, Section, Share, Variable


class PredictionLog(Section):
    """How answered predictions are logged, where `serve.prediction_log` names a place."""

    full: Literal["refuse", "serve"] = Field(
        default="refuse", description="on a full disk: refuse requests, or answer them and count what the log lacks"
    )
    omit: list[str] = Field(default=[], description="fields that are not written")
    hash: list[str] = Field(default=[], description="fields that are written as a keyed hash")
    hash_key: Variable | None = Field(default=None, description="${NAME} of the variable that holds the key")
    rotate_s: PositiveFloat = Field(default=60.0, description="how old a segment may be")
    rotate_bytes: PositiveInt = Field(default=32 << 20, description="how large a segment may be")
    keep_days: PositiveFloat | None = Field(default=None, description="older files are deleted")
    keep_bytes: PositiveInt | None = Field(default=None, description="above this size the oldest files are deleted")

    @model_validator(mode="after")
    def _has_key(self) -> PredictionLog:
        if self.hash and self.hash_key is None:
            raise ValueError("hash needs hash_key: a hash without a key is undone by trying every value")
        return self


class Canary(Section):
    """A share of the requests is answered by another version."""

    alias: Alias = Field(default="challenger", description="of the version that gets a share of the requests")
    share: Share = Field(description="of the entities, or of the requests where a model has none")


class Serve(Section):
    """The champion over HTTP. Limits are per worker."""

    host: str = Field(default="127.0.0.1", description="address to listen on; 0.0.0.0: all of the machine's")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(default=8000, description="0: any that is free")
    workers: Annotated[int, Field(ge=1, le=256)] = Field(default=1, description="processes; one for each core")
    unseen: Literal["allow", "refuse"] = Field(
        default="allow", description="whether a category that training did not have is answered"
    )
    api_keys: list[Variable] = Field(
        default=[], description="${NAME} of each variable that holds a key; several while keys are rotated"
    )
    cors: list[Annotated[str, Field(pattern=ORIGIN)]] = Field(
        default=[], description="origins whose pages may send requests: https://example.org"
    )
    explain: bool = Field(
        default=False, description="answer /predict?explain=true, of at most 100 rows, with what each column adds"
    )
    max_rows: PositiveInt = Field(default=1000, description="rows in a request")
    max_body_bytes: PositiveInt = Field(default=8 << 20, description="a longer request is refused with 413")
    max_in_flight: PositiveInt = Field(default=256, description="concurrent requests; more get a 503")
    timeout_s: PositiveFloat = Field(default=10.0, description="for the whole request to arrive")
    lookup_timeout_s: PositiveFloat = Field(default=0.2, description="for the online store to answer")
    lookup_cache_s: NonNegativeFloat = Field(
        default=0.0, description="how old a cached feature may be; 0 looks up every time"
    )
    not_found_share: Fraction = Field(
        default=0.5, description="share of looked-up rows; where a view lacks more of them, /ready reports it"
    )
    shutdown_s: PositiveFloat = Field(default=30.0, description="for requests in flight to end")
    drain_s: NonNegativeFloat = Field(default=1.0, description="between /ready's no and the last answer, on SIGTERM")
    poll_s: PositiveFloat = Field(default=10.0, description="how often the registry is asked")
    verify: str | None = Field(
        default=None, description="a public key in PEM: what it has not signed is neither served nor used in any way"
    )
    shadow: Alias | None = Field(
        default=None, description="this version scores every request as well, and answers none"
    )
    canary: Canary | None = Field(default=None, description="another version gets a share of the requests")
    prediction_log: str | None = Field(
        default=None, description="folder, fsspec URL or postgresql:// URL of every answered prediction"
    )
    log: PredictionLog = PredictionLog()
