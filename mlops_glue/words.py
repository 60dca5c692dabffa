"""Parse single values of text: null words, numbers, booleans, codes and dates. `parsing` and `dates` parse columns.

The training table decides once how to read text (`decimal_sign`, `infer_day_first`). The model's schema stores the
decision, which applies to all later text: CSV, JSON Lines, Parquet, requests, labels. Serving workers import this
module, so it must not need Arrow.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

NULLS = [
    "",
    "NA",
    "N/A",
    "n/a",
    "NaN",
    "nan",
    "null",
    "NULL",
    "None",
    "#N/A",
    "<NA>",
    "?",
    ".",
]  # ? is used by UCI, . by SAS
TRUE, FALSE = {"true", "yes", "y", "t", "1", "1.0"}, {"false", "no", "n", "f", "0", "0.0"}
GROUPED_NUMBER = r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?"  # commas separate thousands; never begins with a zero
NUMBER = r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?"
CODE = r"^[-+]?0\d+$"  # 0012 is not 12
MAX_EXACT_INTEGER = 1 << 53  # up to here float64 keeps integers distinct
INT64_LIMIT = 1 << 63  # smaller whole floats are written as integers
INEXACT_INTEGER = "is a floating-point number, which from 2^53 on does not determine an integer"
CLOCK = (
    r"(?:[T ]\s*(?P<clock>\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?)"
    r"(?:\s*(?P<half>[AaPp][Mm]))?\s*(?P<zone>Z|UTC|GMT|[-+]\d{2}(?::?\d{2})?)?)?"
)
NOTATIONS = [
    re.compile(rf"(?P<year>\d{{4}})[-/.](?P<month>\d{{1,2}})[-/.](?P<day>\d{{1,2}}){CLOCK}"),
    re.compile(rf"(?P<first>\d{{1,2}})[-/.](?P<second>\d{{1,2}})[-/.](?P<year>\d{{4}}|\d{{2}}){CLOCK}"),
    re.compile(rf"(?P<day>\d{{1,2}})[- ](?P<name>[A-Za-z]{{3,9}})\.?,?[- ](?P<year>\d{{4}}|\d{{2}}){CLOCK}"),
    re.compile(rf"(?:[A-Za-z]{{3,9}},? )?(?P<name>[A-Za-z]{{3,9}})\.? (?P<day>\d{{1,2}}),? (?P<year>\d{{4}}){CLOCK}"),
]
MONTHS = ["january", "february", "march", "april", "may", "june"]
MONTHS += ["july", "august", "september", "october", "november", "december"]
# A word of free text is a run of letters, digits and underscores. Each Chinese or Japanese character and each pictogram
# is a separate word. The vowel marks of Hebrew, Arabic, Indian and Thai scripts belong to their words.
ALONE = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u2600-\u27bf\U0001f000-\U0001faff"
MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0dff\u0e31-\u0e4e"
WORD = re.compile(rf"[{ALONE}]|(?:[^\W{ALONE}]|[{MARKS}])+")
MOST_WORDS = 300  # maximum number of distinct words of a text that are passed to the model
EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)


def clean_word(value: str, nulls: Sequence[str] = NULLS) -> str | None:
    """Strip surrounding blanks; return None for empty text and null words."""
    trimmed = value.strip()
    return None if trimmed in nulls else trimmed


def canonical_category(value: str, dtype: str) -> str:
    """Convert a word to a category of training: if training had numbers, 7.0 is 7; if booleans, True is true."""
    if dtype == "bool":
        return value.lower() if value.lower() in ("true", "false") else value
    if dtype in ("double", "float", "halffloat") or dtype.startswith(("int", "uint")):
        plain = value.removeprefix("+")
        if re.fullmatch(r"-?(0|[1-9]\d*)", plain):
            return plain if dtype not in ("double", "float") else format_number(float(plain))
        return format_number(float(value)) if re.fullmatch(NUMBER, value) and not re.match(CODE, value) else value
    return value


def words_of(text: str) -> str:
    """Return the distinct words of free text in order, separated by blanks: in lower case, at most 300.

    Letters are normalized by Unicode's rules (NFKC, case folding). Text without words yields an empty text.
    """
    if text.isascii():  # faster, with the same result
        found = re.findall(r"\w+", text.lower(), re.ASCII)
    else:
        found = WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return " ".join(list(dict.fromkeys(found))[:MOST_WORDS])


def format_number(value: float) -> str:
    """Format a float like `as_text`: as Arrow does, except that 64-bit integers have no exponent."""
    import numpy as np

    if abs(value) < INT64_LIMIT and value == int(value):
        return str(int(value))
    if 1e-6 <= abs(value) < 1e10:
        return np.format_float_positional(value, trim="-")
    return np.format_float_scientific(value, trim="-", exp_digits=1)


def parse_boolean(word: str) -> bool | None:
    """Parse a boolean; None if the word is neither true nor false."""
    return True if word.lower() in TRUE else False if word.lower() in FALSE else None


def to_micros(value: str, day_first: bool | None = False) -> int | None:
    """Convert a date as text to microseconds since 1970-01-01 UTC, for the years 1 to 9999; None if it is not a date.

    The text is ISO 8601, or has day, month and year as numbers or with the month's name; without an offset, it is UTC.
    If `day_first` is None, training had no date such as 01/02/2024; its order is unknown, and it is refused.
    """
    value = value.strip()
    found = next((match for notation in NOTATIONS if (match := notation.fullmatch(value))), None)
    try:
        moment = datetime.fromisoformat(value if found is None else _in_iso(found.groupdict(""), day_first))
    except ValueError:
        return None
    offset = moment.utcoffset() or timedelta(0)
    return ((moment.replace(tzinfo=None) - EPOCH) - offset) // MICROSECOND


def _in_iso(part: dict[str, str], day_first: bool | None) -> str:
    """Format the parts of a date as ISO 8601; empty if day and month are ambiguous, or a 12-hour clock is invalid."""
    year, month, day = part["year"], part.get("month", ""), part.get("day", "")
    if len(year) == 2:
        year = f"{'19' if year >= '69' else '20'}{year}"  # as in POSIX, whatever the current year
    if "first" in part:
        if day_first is None:
            return ""
        day, month = (part["first"], part["second"]) if day_first else (part["second"], part["first"])
    elif name := part.get("name", "").lower():
        full = (at for at, full in enumerate(MONTHS, 1) if full.startswith(name) or name == full[:3] + "t")
        month = str(next(full, 0))
    hour, _, rest = (part["clock"] or "0:00").partition(":")
    if part["half"]:
        if not 1 <= int(hour) <= 12:
            return ""
        hour = str(int(hour) % 12 + (12 if part["half"].lower() == "pm" else 0))
    zone = "Z" if part["zone"] in ("UTC", "GMT") else part["zone"]
    return f"{year}-{month:0>2}-{day:0>2}T{hour:0>2}:{rest.replace(',', '.')}{zone}"


def equal_but_for_case(names: Sequence[str]) -> list[str]:
    """Return the names that differ from another one only in case, which SQL does not tell apart."""
    folded = Counter(name.casefold() for name in names)
    return [name for name in names if folded[name.casefold()] > 1]
