"""The rows that a request may contain, decoded and checked in compiled code.

A request is `{"rows": [{…}, …]}` or a single bare row. msgspec decodes it with types built from the model's schema. If
msgspec refuses the body, `diagnose.py` reads it again and names each row and field at fault. Where the two disagree,
the second reading is right.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import reduce
from operator import itemgetter, or_
from typing import Any

import msgspec

from mlops_glue.adapters.onnx import Inputs
from mlops_glue.config import Serve
from mlops_glue.records import FeatureList
from mlops_glue.schema import TEXTUAL, Schema
from mlops_glue.serving.diagnose import Diagnosis
from mlops_glue.serving.encoder import Encoder
from mlops_glue.serving.fields import UNSET, Field, Row, Rows

MANY = re.compile(rb'\s*\{\s*"rows"\s*:\s*\[')
UNSUPPORTED = re.compile(r'[\\"\x00-\x1f]')  # msgspec allows none of these in a field name


class Contract:
    """The fields of a model's rows.

    Args:
        schema: the model's.
        features: the columns that Feast stores. A row may leave them out and give the keys to look them up instead.
        options: the section `serve`, for the row limit and for whether a category may be new.
    """

    def __init__(self, schema: Schema, features: FeatureList | None, options: Serve) -> None:
        self.features, self._max_rows = features, options.max_rows
        looked_up = list(features.columns) if features else []
        self._keys = features.asked_by if features else []
        self.fields = _fields(schema, features, options)
        self.position = {field.name: at for at, field in enumerate(self.fields)}
        self.order = [column.name for column in schema.columns]  # of a row without names
        positions = [self.position[name] for name in self.order if name in looked_up]
        self._fill_from = [(at, looked_up.index(self.fields[at].name)) for at in positions]
        self._get_features = _getter(positions)
        self._get_keys = _getter([self.position[name] for name in self._keys])
        self._get_others = _getter([at for at, field in enumerate(self.fields) if not field.stays_unset])
        self._encoder = Encoder(self.fields[: len(schema.columns)])
        self._diagnosis = Diagnosis(self.fields, schema, features, options.max_rows)
        self._decode_row, self._decode_rows = _decoders(self.fields)

    def decode(self, body: bytes, order: list[str] | None = None) -> Rows:
        """Decode the rows of a request.

        Args:
            body: the request's.
            order: the order of the values in a row without names, if it is another version's.

        Raises:
            Malformed: the body is not JSON.
            Invalid: the rows have problems; the exception lists them all.
        """
        rows = self._decode_quickly(body)
        if rows is None:
            return self._diagnosis.decode(body, order or self.order)
        self._diagnosis.check(rows.values)
        return rows

    def _decode_quickly(self, body: bytes) -> Rows | None:
        """Decode with msgspec; None if the body needs the second reading."""
        bare = MANY.match(body) is None
        try:
            rows = [self._decode_row(body)] if bare else self._decode_rows(body).rows
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
            return None
        if not 0 < len(rows) <= self._max_rows:
            return None
        values, keys = [msgspec.structs.astuple(row) for row in rows], 0 if bare else 1
        for at, row in enumerate(values):
            absent = row.count(UNSET)
            keys += len(row) - absent
            if absent and UNSET in self._get_others(row):
                values[at] = self._with_nulls(row)
        return None if body.count(b":") != keys and _may_repeat(body, values, keys) else Rows(values, bare)

    def _with_nulls(self, row: Row) -> Row:
        """Replace missing values by null, except for features that are looked up."""
        pairs = zip(row, self.fields, strict=True)
        return tuple([None if value is UNSET and not field.stays_unset else value for value, field in pairs])

    def from_dicts(self, rows: list[dict[str, Any]]) -> Rows:
        """Decode rows that are Python values already.

        Raises:
            Invalid: as `decode`.
        """
        return Rows(self._diagnosis.rows(rows, []), bare=False)

    def incomplete(self, rows: Rows) -> list[int]:
        """Return the positions of the rows that need a feature lookup."""
        features_of = self._get_features
        return [at for at, row in enumerate(rows.values) if UNSET in features_of(row)]

    def keys(self, rows: Rows, positions: list[int]) -> list[Row]:
        """Return the lookup keys of the rows at these positions, in the order of `FeatureList.asked_by`."""
        keys = [self._get_keys(rows.values[at]) for at in positions]
        if len(self._keys) == 1:
            return keys
        # a row may leave out a key if it gives every feature of the views that need the key
        return [key if UNSET not in key else tuple(None if v is UNSET else v for v in key) for key in keys]

    def fill(self, rows: Rows, positions: list[int], found: list[list[Any]]) -> None:
        """Put in what was looked up, in the order of `FeatureList.columns`, where the row itself does not give it."""
        for at, features in zip(positions, found, strict=True):
            row = list(rows.values[at])
            for position, feature in self._fill_from:
                if row[position] is UNSET:
                    row[position] = features[feature]
            rows.values[at] = tuple(row)

    def matrices(self, rows: Rows) -> Inputs:
        """Return the model's inputs, as `schema.matrices`: `number` float32 (rows, n) and `text` object (rows, m).

        Raises:
            Invalid: a number is infinite, which msgspec does not report.
        """
        return self._encoder.matrices(rows.values)

    @property
    def json_schema(self) -> dict[str, Any]:
        """JSON Schema of one row."""
        properties = {field.name: field.json_schema for field in self.fields}
        required = [field.name for field in self.fields if not field.nullable]
        schema = {"type": "object", "properties": properties, "additionalProperties": False}
        return schema | ({"required": required} if required else {})


def _fields(schema: Schema, features: FeatureList | None, options: Serve) -> list[Field]:
    """Return the fields: first columns that become numbers, then categories, then the keys of features."""
    looked_up = features.columns if features else {}
    fields = []
    for column in sorted(schema.columns, key=lambda column: column.kind in TEXTUAL):
        is_looked_up = column.name in looked_up
        fields.append(
            Field(
                column.name,
                column.kind,
                column.dtype,
                nullable=column.nullable or is_looked_up,
                is_looked_up=is_looked_up,
                column=column,
                nulls=tuple(schema.nulls),
                trims=schema.trims,
                takes_unseen=options.unseen == "allow",
            )
        )
    if features is not None:
        types = {**features.request_types, **features.types}
        keys = [name for name in features.asked_by if name not in {field.name for field in fields}]
        fields += [Field(name, "key", types.get(name, "string")) for name in keys]
    return fields


def _decoders(fields: list[Field]) -> tuple[Callable[[bytes], Any], Callable[[bytes], Any]]:
    """Return the decoders of a bare row and of a list of rows."""
    if any(UNSUPPORTED.search(field.name) for field in fields):
        return _refuse, _refuse
    specs: list[tuple[str, Any, Any]] = []
    for at, field in enumerate(fields):
        kinds = field.types if field.kind != "number" else (float,)  # a whole number becomes a float
        kind: Any = reduce(or_, [*kinds, None] if field.nullable else kinds)
        default = UNSET if field.nullable else msgspec.NODEFAULT
        specs.append((f"f{at}", kind | msgspec.UnsetType if field.nullable else kind, default))
    rename = {f"f{at}": field.name for at, field in enumerate(fields)}
    row = msgspec.defstruct("Row", specs, kw_only=True, forbid_unknown_fields=True, rename=rename, gc=False)
    rows = msgspec.defstruct("Rows", [("rows", list[row])], forbid_unknown_fields=True)  # type: ignore[valid-type]
    return msgspec.json.Decoder(row).decode, msgspec.json.Decoder(rows).decode


def without_looked_up(rows: list[dict[str, Any]], features: FeatureList | None) -> list[dict[str, Any]]:
    """Return rows as a client sends them: with the keys, without the features that are looked up."""
    looked_up = features.columns if features else {}
    return [{name: value for name, value in row.items() if name not in looked_up} for row in rows]


def _may_repeat(body: bytes, values: list[Row], keys: int) -> bool:
    """Could an object contain a key twice? msgspec silently takes the last value.

    The colons of the body are those after keys and those inside strings. If there are more, a key and its first value
    are missing from the decoded values.
    """
    inside = sum([value.count(":") for row in values for value in row if type(value) is str])
    return body.count(b":") != keys + inside or b"\\" in body


def _getter(positions: list[int]) -> Callable[[Row], Row]:
    """Return a function that takes the values at these positions out of a row, as a tuple."""
    if len(positions) > 1:
        return itemgetter(*positions)
    start, end = (positions[0], positions[0] + 1) if positions else (0, 0)
    return itemgetter(slice(start, end))


def _refuse(body: bytes) -> Any:
    raise ValueError("msgspec allows no struct with these field names")
