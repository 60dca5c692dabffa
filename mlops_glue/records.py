"""Frozen records that cross the walls between rooms."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class FeatureView:
    """What glue needs to know of a feature view of Feast's."""

    name: str  # with its alias, as references have it
    keys: dict[str, str]  # join key in the view: column of the label rows
    features: dict[str, str]  # those in use: kind of column (number, category, boolean, datetime)
    ttl_s: float  # 0: for ever
    definition: str  # SHA-256 of what Feast keeps of it and of its entities and source
    path: str | None = None  # of its source, relative to the project; None where it is no file
    on_demand: bool = False  # computed from the request and other views
    mapping: dict[str, str] = field(default_factory=dict)  # names in the source: names in the view
    of: str = ""  # the name that the view itself has
    types: dict[str, str] = field(default_factory=dict)  # join key: Feast's name of its type

    @property
    def plain(self) -> FeatureView:
        """The same without alias and key map."""
        return replace(self, name=self.of, keys={key: key for key in self.keys})


@dataclass(frozen=True)
class UsedTable:
    """A table that a version was made of or measured on, as MLflow's page shows it."""

    name: str
    path: str  # relative to the project
    use: str  # training or evaluation
    md5: str
    rows: int
    columns: dict[str, str]  # name: Arrow's name of its type


@dataclass(frozen=True)
class FeatureList:
    """Which features a model takes, from where: what travels with its bundle."""

    use: list[str] | str  # references `view:feature`, or the name of a feature service
    views: list[FeatureView]
    columns: dict[str, str]  # of the model: reference
    request: list[str] = field(default_factory=list)  # columns of the label rows that on-demand views take
    transform: str | None = None  # SHA-256 of the code of the project's own transform
    types: dict[str, str] = field(default_factory=dict)  # of the key columns: Arrow's name of what they were
    day_first: bool = False  # how the label rows' time is written, where it is text
    request_types: dict[str, str] = field(default_factory=dict)  # of the `request` columns, likewise
    delay_s: float = 0.0  # a row of features counts from so long after its time, in training as in the online store

    def to_dict(self) -> dict[str, Any]:
        """Built-ins only, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> FeatureList:
        """The inverse of `to_dict`."""
        return cls(**{**value, "views": [FeatureView(**v) for v in value["views"]]})

    @property
    def digest(self) -> str:
        """SHA-256 over the definitions of its views, the code of the transform and the delay."""
        parts = [f"{view.name} {view.definition}\n" for view in self.views]
        parts += [f"delay {self.delay_s:g}\n"] if self.delay_s else []
        return hashlib.sha256("".join([*parts, self.transform or ""]).encode()).hexdigest()

    @property
    def keys(self) -> list[str]:
        """The columns that say whom a row is about, sorted."""
        return sorted({column for view in self.views for column in view.keys.values()})

    @property
    def asked_by(self) -> list[str]:
        """The columns by which features are looked up: whom a row is about, and what is only known when it is asked."""
        return list(dict.fromkeys([*self.keys, *self.request]))


@dataclass(frozen=True)
class Servable:
    """A version of a model that is on this disk, and what was recorded when it was registered."""

    version: int
    folder: str
    digest: str
    fingerprint: str = ""
    lookup: dict[str, Any] | None = None  # how its features are found, where it has some in Feast
    trust: list[str] = field(default_factory=list)  # whose code may run, by whoever serves it: `package.trust`

    def to_dict(self) -> dict[str, Any]:
        """Built-ins only, for JSON."""
        return asdict(self)
