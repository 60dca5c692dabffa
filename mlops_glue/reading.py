"""Decides once, from complete columns, how the text of a table is read, and reads every row in the same way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mlops_glue import parsing
from mlops_glue.column_types import decimal_sign, equal_numbers, infer_type, parse_column
from mlops_glue.parsing import clean_words, is_text, with_nulls

MOST_COLUMNS = 5  # that a note names
READING_KEY = b"glue.read"  # in a table's metadata: how its text was read
ReadColumn = Callable[[str], "pa.ChunkedArray"]


@dataclass(frozen=True)
class Reading:
    """How the text of a table is read.

    Attributes:
        schema: the schema of the converted table. Its metadata contains the decimal sign and, by column, the words that
            were read as null and two texts that became the same number.
        types: the type of each text column, a key of `column_types.ARROW_TYPES`.
        decimal: the decimal sign.
    """

    schema: pa.Schema
    types: dict[str, str]
    decimal: str

    @classmethod
    def of(
        cls,
        schema: pa.Schema,
        read: ReadColumn,
        *,
        infer: bool,
        keys: Sequence[str] = (),
        made: list[pa.ChunkedArray] | None = None,
    ) -> Reading:
        """Examine the text columns one at a time.

        Args:
            schema: the schema of the unconverted table.
            read: returns a column by name.
            infer: whether text may be another type, as in a CSV file.
            keys: columns that identify entities, in which 1 and 1.0 are different values.
            made: a list to which the converted columns are appended.
        """
        sign = decimal_sign(_Texts(schema, read))
        types: dict[str, str] = {}
        nulls: dict[str, dict[str, int]] = {}
        alike: dict[str, tuple[str, str]] = {}
        fields = []
        for field in schema:
            values, kind = None, field.type
            if is_text(kind):
                raw, name = read(field.name), field.name
                types[name], values = infer_type(clean_words(raw), sign, key=name in keys) if infer else ("text", None)
                values = with_nulls(raw) if values is None else values
                kind = values.type
                if pa.types.is_floating(kind) and (pair := equal_numbers(raw, sign)):
                    alike[name] = pair
                if is_text(kind) and (found := parsing.count_null_words(raw)):
                    nulls[name] = found
            if made is not None:
                made.append(read(field.name) if values is None else values)
            fields.append(field.with_type(kind))
        about = json.dumps({"decimal": sign, "nulls": nulls, "alike": alike}, sort_keys=True)
        return cls(pa.schema(fields, {READING_KEY: about}), types, sign)

    def apply(self, table: pa.Table) -> pa.Table:
        """Convert rows of the table, which may have only some of its columns."""
        columns = [
            parse_column(values, self.decimal, name=self.types[name]) if name in self.types else values
            for name, values in zip(table.column_names, table.columns, strict=True)
        ]
        return pa.table(
            columns, schema=pa.schema([self.schema.field(n) for n in table.column_names], self.schema.metadata)
        )


class _Texts:
    """The text columns, each of which is read during iteration."""

    def __init__(self, schema: pa.Schema, read: ReadColumn) -> None:
        self._schema, self._read = schema, read

    def __iter__(self) -> Iterator[pa.ChunkedArray]:
        return (self._read(field.name) for field in self._schema if is_text(field.type))


def reading_facts(table: pa.Table) -> dict[str, Any]:
    """Return how the text of a table was read: `decimal` sign, and `nulls` and `alike` by column."""
    found: dict[str, Any] = json.loads((table.schema.metadata or {}).get(READING_KEY, b"{}"))
    return {"decimal": ".", "nulls": {}, "alike": {}, **found}


def reading_notes(table: pa.Table, name: str) -> list[str]:
    """Return notes for the user on the values of a converted table."""
    alike = [f"of {column!r} {first} and {second}" for column, (first, second) in reading_facts(table)["alike"].items()]
    more = len(alike) - MOST_COLUMNS
    shown = [*alike[:MOST_COLUMNS], f"and of {more} more column{'s' * (more != 1)}"] if more > 0 else alike
    return [f"{name}: texts that are equal as numbers: {', '.join(shown)}"] if alike else []
