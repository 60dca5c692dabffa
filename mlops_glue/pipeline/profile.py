"""Infer from its values what a raw column is: its kind, or the reason to leave it out.

`featurize.choose_columns` uses this only if `features:` in glue.yaml lists no column; features joined by Feast have the
kind of their definition. Before that, `column_types.infer_type` decides the Arrow type of CSV text. The texts that mean
null are `words.NULLS` (empty, NA, N/A, n/a, NaN, nan, null, NULL, None, #N/A, <NA>, ? and a dot, after trimming). They
are stored in the model's schema, so CSV, Parquet, JSON Lines and requests agree.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlops_glue import column_types, dates, layout, parsing
from mlops_glue.column_types import INDEX_KEY
from mlops_glue.precision import Float32Fit, float32_fit
from mlops_glue.reading import reading_facts
from mlops_glue.schema import Kind
from mlops_glue.tables import is_number
from mlops_glue.words import FALSE, TRUE, words_of

if TYPE_CHECKING:
    import pyarrow as pa

ID_NAME = re.compile(r"(^|[_\W])(id|uuid|guid|key|index|rownames?)$|^unnamed|[a-z]I[dD]$|^$", re.IGNORECASE)
DATE_LIKE = re.compile(
    r"^\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|^\s*\d{1,2}[ -][A-Za-z]{3}|^\s*[A-Za-z]{3,9} \d{1,2},? \d{4}"
)
GROUPED = r"\d+([.,' ]\d{3})*([.,]\d+)?"  # digits with any separators of thousands and decimals
UNNAMED = re.compile(r"^(unnamed: \d+|__index_level_\d+__)$", re.IGNORECASE)  # pandas' names of unnamed columns
SIGNED = rf"^\(?[-+]?([A-Z]{{0,3}}\p{{Sc}})?\s?[-+]?{GROUPED}\s?([%‰°\p{{Sc}}]|[A-Za-zµ°²³/]{{1,6}})?\)?$"
MOSTLY = 0.9
PROSE = "free text; list it in features.text to learn from its words"
WORDS_OF_PROSE, MOSTLY_SHARED = 5, 0.5  # different words of a text, and the share of them that occur in other texts
STEADY = ("constant", "only one value", "no values")  # reasons to leave out columns without information


@dataclass(frozen=True)
class Profile:
    """One column's kind, or None and the reason to leave it out."""

    name: str
    kind: Kind | None
    reason: str  # for a category: why it may be meant as something else
    distinct: int
    nulls: int
    whole: bool = False  # whether its values are whole numbers
    prose: bool = False  # whether it is left out although its words may be useful

    def left_out(self, reason: str) -> Profile:
        """Return the profile of a column that is left out."""
        return replace(self, kind=None, reason=reason)

    def kept(self, kind: Kind, reason: str = "") -> Profile:
        """Return the profile of a column with a kind."""
        return replace(self, kind=kind, reason=reason)


def profile(table: pa.Table) -> list[Profile]:
    """Return the profile of every column of the table, in order."""
    decimal = reading_facts(table)["decimal"]
    return [
        Profile(field.name, None, "pandas' index of the table: the row number", 0, table.column(at).null_count)
        if UNNAMED.match(field.name) or (field.metadata or {}).get(INDEX_KEY) == b"place"
        else _profile_of(field.name, table.column(at), decimal)
        for at, field in enumerate(table.schema)
    ]


def _profile_of(name: str, values: pa.ChunkedArray, decimal: str) -> Profile:
    import pyarrow as pa
    import pyarrow.compute as pc

    nulls, kind = values.null_count, values.type
    if (reason := unread(kind)) is not None:
        return Profile(name, None, reason, 0, nulls)
    distinct = int(pc.count_distinct(values, mode="only_valid").as_py())
    column = Profile(name, None, "", distinct, nulls, pa.types.is_integer(kind))
    if (reason := _useless(column)) is not None:
        return column.left_out(reason)
    if pa.types.is_boolean(kind):
        return column.kept("boolean")
    if pa.types.is_temporal(kind):
        return column.kept("datetime")
    present = len(values) - nulls
    if column.whole and len(values) > 20:
        spread = pc.min_max(values).as_py()
        if distinct == present and spread["max"] - spread["min"] == distinct - 1:
            return column.left_out("identifier: every value is different")
        if distinct > 0.5 * present and ID_NAME.search(name):  # some rows may be duplicates
            return column.left_out("identifier: most values are different")
    if is_number(kind) or pa.types.is_decimal(kind):
        return _number(column, present, float32_fit(values))
    return _text(column, values, decimal)


def _useless(column: Profile) -> str | None:
    """Return why a column is left out whatever its type; None if it may be useful."""
    if not column.name.strip():
        return "it has no name"
    if column.name in layout.OWN_COLUMNS:
        return "glue uses this name itself"
    if column.distinct == 0:
        return STEADY[2]
    if column.distinct == 1:
        return STEADY[0] if column.nulls == 0 else STEADY[1]
    return None


def _number(column: Profile, present: int, fit: Float32Fit, equal: tuple[str, str] | None = None) -> Profile:
    """Return a number, or a category if float32 would make too many of its few values equal."""
    if fit.twins is None:
        return column.kept("number", "" if equal is None else f"as numbers {equal[0]} and {equal[1]} are equal")
    reason = f"as numbers {fit.twins[0]} and {fit.twins[1]} would be equal (float32)"
    few = not fit.is_good and (column.distinct <= 50 or column.distinct <= 0.5 * present)
    return column.kept("category", reason) if few else column.kept("number", reason.replace("would be", "are"))


def _text(column: Profile, values: pa.ChunkedArray, decimal: str) -> Profile:
    """Return the profile of text: booleans, numbers, dates, an identifier, or categories."""
    import pyarrow.compute as pc

    present, distinct = len(values) - column.nulls, column.distinct
    texts = parsing.clean_words(values).drop_null()
    column = replace(column, nulls=len(values) - len(texts))  # blanks and words for null count as null
    counted = texts.value_counts()
    words = counted.field("values")
    if len(words) == 0:
        return column.left_out(STEADY[2])
    if len(words) <= 10 and all(w.lower() in TRUE | FALSE for w in words.to_pylist()):
        return column.kept("boolean")
    numeric = parsing.are_number_words(words, decimal)
    codes = _codes(words) if column_types.are_codes(words) else ""
    if pc.all(numeric).as_py() and not codes:
        fit = float32_fit(texts, parsing.parse_numbers(texts, decimal))
        return _number(column, present, fit, column_types.equal_numbers(texts, decimal))
    no_date = ""
    if all(DATE_LIKE.match(w) for w in words[:200].to_pylist()):
        try:
            dates.parse_dates(texts, dates.infer_day_first(texts))
            return column.kept("datetime")
        except parsing.InvalidValue as error:
            no_date = f"dates, but row {error.row + 1} of the rows that are not null: {error}"
    if distinct > 0.3 * present and distinct > 50 and ID_NAME.search(column.name):
        return column.left_out("identifier: many values, few rows of each")
    if (distinct > 0.5 * present and distinct > 50) or (distinct == present and present > 20):
        known = (f"{codes}: most values are different" if codes else "") or no_date or _meant(counted, numeric)
        if not known and _is_prose(words):
            return replace(column.left_out(PROSE), prose=True)
        return column.left_out(known or "identifier or free text: nearly every value is different")
    return column.kept("category", codes or no_date or _meant(counted, numeric))


def _is_prose(texts: pa.StringArray) -> bool:
    """Return whether the texts have several words each, mostly shared with other texts; names and addresses do not."""
    found = [words_of(text).split() for text in texts[:1000].to_pylist()]
    rows = Counter(word for words in found for word in words)
    alone = len([word for word, count in rows.items() if count == 1])
    return rows.total() >= WORDS_OF_PROSE * len(found) and alone <= (1 - MOSTLY_SHARED) * rows.total()


def _codes(words: pa.StringArray) -> str:
    texts = words.to_pylist()
    return f"codes such as {next((word for word in texts if word.startswith('0')), texts[0])!r}, not numbers"


def _meant(counted: pa.StructArray, numeric: pa.BooleanArray) -> str:
    """Return why text that is mostly numbers is not read as numbers; empty if it is not mostly numbers."""
    import pyarrow.compute as pc

    words, counts = counted.field("values"), counted.field("counts")
    odd = pc.invert(numeric)
    rows, others = pc.sum(counts).as_py(), pc.sum(counts.filter(odd)).as_py()
    if others <= (1 - MOSTLY) * rows:
        shown = ", ".join(f"{word!r:.40}" for word in words.filter(odd)[:3].to_pylist())
        return f"{others:,} of {rows:,} values are not numbers ({shown}{', …' if pc.sum(odd).as_py() > 3 else ''})"
    head = words[:1000]  # free text may have millions of values
    signed = pc.match_substring_regex(head, SIGNED)
    like = head.filter(pc.and_(signed, odd[:1000]))
    if len(head) > 10 and len(like) and pc.sum(signed).as_py() > MOSTLY * len(head):
        advice = "numbers with a sign, a unit or a decimal comma are not read; write them as 1234.5"
        return f"text like {like[0].as_py()!r:.40}: {advice}"
    return ""


def unread(kind: pa.DataType) -> str | None:
    """Return why columns of a type cannot be used; None if they can."""
    import pyarrow as pa

    of = pa.types
    if of.is_null(kind):
        return STEADY[2]
    if of.is_time(kind):
        return "a time of day; write it as a number, such as hours, to use it"
    if of.is_duration(kind):
        return "a duration; write it as a number, such as seconds, to use it"
    if (
        parsing.is_text(kind)
        or of.is_boolean(kind)
        or is_number(kind)
        or of.is_decimal(kind)
        or of.is_timestamp(kind)
        or of.is_date(kind)
    ):
        return None
    return f"nested ({kind})" if of.is_nested(kind) else f"bytes, not text ({kind})"


def find_timestamp(profiles: list[Profile]) -> str | list[str] | None:
    """Return the only complete date column, unless it is a date of birth, or the columns year, month, day, or None.

    The parts may include hour and minute. With several date columns, only the user knows which is the row's time.
    """
    dates = [p.name for p in profiles if p.kind == "datetime" and p.nulls == 0]
    if len(dates) == 1 and not re.search(r"birth|dob", dates[0], re.IGNORECASE):
        return dates[0]
    # a constant year is also a part
    by_name = {p.name.lower(): p.name for p in profiles if p.whole and p.nulls == 0}
    parts = [by_name[part] for part in ("year", "month", "day", "hour", "minute") if part in by_name]
    return parts if {"year", "month", "day"} <= {p.lower() for p in parts} and not dates else None


def infer_task(values: pa.ChunkedArray) -> str:
    """Return binary, multiclass or regression, from the target's type and its number of values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    distinct = int(pc.count_distinct(values, mode="only_valid").as_py())
    if distinct == 2:
        return "binary"
    kind = values.type
    if not (is_number(kind) or pa.types.is_decimal(kind)):
        return "multiclass"
    whole = pa.types.is_integer(kind) or bool(pc.all(pc.equal(values, pc.round(values))).as_py())
    return "multiclass" if whole and distinct <= min(20, max(2, len(values) ** 0.5)) else "regression"
