"""Frozen records that are passed between packages."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class FeatureView:
    """Facts about a feature view of Feast."""

    name: str  # or its alias, as in references
    keys: dict[str, str]  # join key in the view: column of the label rows
    features: dict[str, str]  # the features in use: kind of column (number, category, boolean, datetime)
    ttl_s: float  # 0: no limit
    definition: str  # SHA-256 of Feast's definitions of the view, its entities and its source
    path: str | None = None  # of its source, relative to the project; None if the source is not a file
    on_demand: bool = False  # computed from the request and other views
    mapping: dict[str, str] = field(default_factory=dict)  # names in the source: names in the view
    of: str = ""  # the view's own name
    types: dict[str, str] = field(default_factory=dict)  # join key: Feast's name of its type

    @property
    def plain(self) -> FeatureView:
        """The same view without alias and key map."""
        return replace(self, name=self.of, keys={key: key for key in self.keys})


@dataclass(frozen=True)
class UsedTable:
    """A table on which a version was trained or evaluated, as MLflow shows it."""

    name: str
    path: str  # relative to the project
    use: str  # training or evaluation
    md5: str
    rows: int
    columns: dict[str, str]  # name: Arrow's name of its type


@dataclass(frozen=True)
class FeatureList:
    """The features that a model uses and where they come from; it is part of the bundle."""

    use: list[str] | str  # references `view:feature`, or the name of a feature service
    views: list[FeatureView]
    columns: dict[str, str]  # column of the model: reference
    request: list[str] = field(default_factory=list)  # columns of the label rows that on-demand views need
    transform: str | None = None  # SHA-256 of the code of the project's own transform
    types: dict[str, str] = field(default_factory=dict)  # key column: Arrow's name of its type in training
    day_first: bool = False  # the order in the label rows' time, if it is text
    request_types: dict[str, str] = field(default_factory=dict)  # the same for the `request` columns
    delay_s: float = 0.0  # how long after its time a row of features is available, in training and online

    def to_dict(self) -> dict[str, Any]:
        """Built-ins only, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> FeatureList:
        """Create a list from the output of `to_dict`."""
        return cls(**{**value, "views": [FeatureView(**v) for v in value["views"]]})

    @property
    def digest(self) -> str:
        """SHA-256 of the definitions of its views, the code of the transform and the delay."""
        parts = [f"{view.name} {view.definition}\n" for view in self.views]
        parts += [f"delay {self.delay_s:g}\n"] if self.delay_s else []
        return hashlib.sha256("".join([*parts, self.transform or ""]).encode()).hexdigest()

    @property
    def keys(self) -> list[str]:
        """The columns that identify entities, sorted."""
        return sorted({column for view in self.views for column in view.keys.values()})

    @property
    def asked_by(self) -> list[str]:
        """The columns by which features are looked up: those that identify entities, and those of the request."""
        return list(dict.fromkeys([*self.keys, *self.request]))


@dataclass(frozen=True)
class Servable:
    """A model version on this disk, and facts that were recorded when it was registered."""

    version: int
    folder: str
    digest: str
    fingerprint: str = ""
    lookup: dict[str, Any] | None = None  # how its Feast features are looked up, if it has any
    trust: list[str] = field(default_factory=list)  # names of code that may run, from the server's `package.trust`

    def to_dict(self) -> dict[str, Any]:
        """Built-ins only, for JSON."""
        return asdict(self)
