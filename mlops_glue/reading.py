"""How the text in a table is read: decided once, by whole columns, and then the same for every row."""

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
READING_KEY = b"glue.read"  # metadata of a table: how its text was read
ReadColumn = Callable[[str], "pa.ChunkedArray"]


@dataclass(frozen=True)
class Reading:
    """How the text of a table is read.

    Attributes:
        schema: of the table once it is read. Its metadata holds the decimal sign, and by column the words that were
            read as null and two texts that became one number.
        types: what each column of text becomes, by name of `column_types.ARROW_TYPES`.
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
        """Look at each column of text, one at a time.

        Args:
            schema: of the table as it is written.
            read: the column of a name.
            infer: text may be another type, as in a CSV file.
            keys: columns that identify what a row is about: there 1 and 1.0 are two values.
            made: the columns as they are read are added to it.
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
        """Rows of the table as they are read, with the columns that are given."""
        columns = [
            parse_column(values, self.decimal, name=self.types[name]) if name in self.types else values
            for name, values in zip(table.column_names, table.columns, strict=True)
        ]
        return pa.table(
            columns, schema=pa.schema([self.schema.field(n) for n in table.column_names], self.schema.metadata)
        )


class _Texts:
    """The columns of text, each read when it is its turn."""

    def __init__(self, schema: pa.Schema, read: ReadColumn) -> None:
        self._schema, self._read = schema, read

    def __iter__(self) -> Iterator[pa.ChunkedArray]:
        return (self._read(field.name) for field in self._schema if is_text(field.type))


def reading_facts(table: pa.Table) -> dict[str, Any]:
    """How the text of a table was read: `decimal` sign, `nulls` and `alike` by column."""
    found: dict[str, Any] = json.loads((table.schema.metadata or {}).get(READING_KEY, b"{}"))
    return {"decimal": ".", "nulls": {}, "alike": {}, **found}


def reading_notes(table: pa.Table, name: str) -> list[str]:
    """What a user should know about the values of a table that was read."""
    alike = [f"of {column!r} {first} and {second}" for column, (first, second) in reading_facts(table)["alike"].items()]
    more = len(alike) - MOST_COLUMNS
    shown = [*alike[:MOST_COLUMNS], f"and of {more} more column{'s' * (more != 1)}"] if more > 0 else alike
    return [f"{name}: texts that are equal as numbers: {', '.join(shown)}"] if alike else []
