"""What a raw column is, read from its values: kind, or the reason to leave it out.

`featurize.choose_columns` asks for it only where `features:` of glue.yaml lists no column; what Feast joins has the
kind of its definition. `column_types.infer_type` decides before that what CSV text is in Arrow. The texts that are
null are `words.NULLS` (empty, NA, N/A, n/a, NaN, nan, null, NULL, None, #N/A, <NA>, ? and a dot, after trimming). They
are kept in the model's schema, so CSV, Parquet, JSON Lines and requests agree.
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
GROUPED = r"\d+([.,' ]\d{3})*([.,]\d+)?"  # digits, however thousands and decimals are parted
UNNAMED = re.compile(r"^(unnamed: \d+|__index_level_\d+__)$", re.IGNORECASE)  # pandas' names for what has none
SIGNED = rf"^\(?[-+]?([A-Z]{{0,3}}\p{{Sc}})?\s?[-+]?{GROUPED}\s?([%‰°\p{{Sc}}]|[A-Za-zµ°²³/]{{1,6}})?\)?$"
MOSTLY = 0.9
PROSE = "free text; its words can be learned from: features.text"
WORDS_OF_PROSE, MOSTLY_SHARED = 5, 0.5  # different words of a text, and the share of them that other texts have too
STEADY = ("constant", "one value only", "no values")  # reasons to leave out what tells a model nothing


@dataclass(frozen=True)
class Profile:
    """One column's kind, or None and the reason to leave it out."""

    name: str
    kind: Kind | None
    reason: str  # of a category: why it may have been meant as something else
    distinct: int
    nulls: int
    whole: bool = False  # holds whole numbers
    prose: bool = False  # is left out, and its words may tell a model something

    def left_out(self, reason: str) -> Profile:
        """The column is left out."""
        return replace(self, kind=None, reason=reason)

    def kept(self, kind: Kind, reason: str = "") -> Profile:
        """The column is taken as of this kind."""
        return replace(self, kind=kind, reason=reason)


def profile(table: pa.Table) -> list[Profile]:
    """Every column of the table, in order."""
    decimal = reading_facts(table)["decimal"]
    return [
        Profile(field.name, None, "pandas' index of the table: the place of the row", 0, table.column(at).null_count)
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
        if distinct > 0.5 * present and ID_NAME.search(name):  # some rows may be there twice
            return column.left_out("identifier: most values are different")
    if is_number(kind) or pa.types.is_decimal(kind):
        return _number(column, present, float32_fit(values))
    return _text(column, values, decimal)


def _useless(column: Profile) -> str | None:
    """Why a column is left out, whatever its type; None: it may be of use."""
    if not column.name.strip():
        return "it has no name"
    if column.name in layout.OWN_COLUMNS:
        return "glue uses this name"
    if column.distinct == 0:
        return STEADY[2]
    if column.distinct == 1:
        return STEADY[0] if column.nulls == 0 else STEADY[1]
    return None


def _number(column: Profile, present: int, fit: Float32Fit, equal: tuple[str, str] | None = None) -> Profile:
    """As float32, or as categories, where that would make too many values equal and there are few."""
    if fit.twins is None:
        return column.kept("number", "" if equal is None else f"as numbers {equal[0]} and {equal[1]} are equal")
    reason = f"as numbers {fit.twins[0]} and {fit.twins[1]} would be equal (float32)"
    few = not fit.is_good and (column.distinct <= 50 or column.distinct <= 0.5 * present)
    return column.kept("category", reason) if few else column.kept("number", reason.replace("would be", "are"))


def _text(column: Profile, values: pa.ChunkedArray, decimal: str) -> Profile:
    """Text: booleans, numbers, dates, an identifier, or categories."""
    import pyarrow.compute as pc

    present, distinct = len(values) - column.nulls, column.distinct
    texts = parsing.clean_words(values).drop_null()
    column = replace(column, nulls=len(values) - len(texts))  # what is blank, or says null, counts as null
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
            no_date = f"dates, but row {error.row + 1} of those that are not null: {error}"
    if distinct > 0.3 * present and distinct > 50 and ID_NAME.search(column.name):
        return column.left_out("identifier: many values, few rows of each")
    if (distinct > 0.5 * present and distinct > 50) or (distinct == present and present > 20):
        known = (f"{codes}: most values are different" if codes else "") or no_date or _meant(counted, numeric)
        if not known and _is_prose(words):
            return replace(column.left_out(PROSE), prose=True)
        return column.left_out(known or "identifier or free text: nearly every value is different")
    return column.kept("category", codes or no_date or _meant(counted, numeric))


def _is_prose(texts: pa.StringArray) -> bool:
    """Do the texts have some words each, and mostly such as others have too? Names and addresses hardly do."""
    found = [words_of(text).split() for text in texts[:1000].to_pylist()]
    rows = Counter(word for words in found for word in words)
    alone = len([word for word, count in rows.items() if count == 1])
    return rows.total() >= WORDS_OF_PROSE * len(found) and alone <= (1 - MOSTLY_SHARED) * rows.total()


def _codes(words: pa.StringArray) -> str:
    texts = words.to_pylist()
    return f"codes such as {next((word for word in texts if word.startswith('0')), texts[0])!r}, not numbers"


def _meant(counted: pa.StructArray, numeric: pa.BooleanArray) -> str:
    """What keeps text from being numbers, where most of it is; empty where it is not."""
    import pyarrow.compute as pc

    words, counts = counted.field("values"), counted.field("counts")
    odd = pc.invert(numeric)
    rows, others = pc.sum(counts).as_py(), pc.sum(counts.filter(odd)).as_py()
    if others <= (1 - MOSTLY) * rows:
        shown = ", ".join(f"{word!r:.40}" for word in words.filter(odd)[:3].to_pylist())
        return f"{others:,} of {rows:,} values are no numbers ({shown}{', …' if pc.sum(odd).as_py() > 3 else ''})"
    head = words[:1000]  # of free text there may be millions
    signed = pc.match_substring_regex(head, SIGNED)
    like = head.filter(pc.and_(signed, odd[:1000]))
    if len(head) > 10 and len(like) and pc.sum(signed).as_py() > MOSTLY * len(head):
        advice = "numbers with a sign, a unit or a decimal comma are not read; write them as 1234.5"
        return f"text like {like[0].as_py()!r:.40}: {advice}"
    return ""


def unread(kind: pa.DataType) -> str | None:
    """Why no column of this type is taken; None: it can be."""
    import pyarrow as pa

    of = pa.types
    if of.is_null(kind):
        return STEADY[2]
    if of.is_time(kind):
        return "a time of day; to be taken it is a number, of hours for one"
    if of.is_duration(kind):
        return "a length of time; to be taken it is a number, of seconds for one"
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
    """The one complete date column that is no date of birth, or the columns year, month, day (hour, minute), or None.

    With several date columns nobody but the user knows which one says when a row was known.
    """
    dates = [p.name for p in profiles if p.kind == "datetime" and p.nulls == 0]
    if len(dates) == 1 and not re.search(r"birth|dob", dates[0], re.IGNORECASE):
        return dates[0]
    # a constant year is a part too
    by_name = {p.name.lower(): p.name for p in profiles if p.whole and p.nulls == 0}
    parts = [by_name[part] for part in ("year", "month", "day", "hour", "minute") if part in by_name]
    return parts if {"year", "month", "day"} <= {p.lower() for p in parts} and not dates else None


def infer_task(values: pa.ChunkedArray) -> str:
    """binary, multiclass or regression, from the target's type and how many values it has."""
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
