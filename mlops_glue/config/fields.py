"""Types shared by the sections of `glue.yaml`: their patterns, and an error message for each pattern."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SPAN = r"^[1-9][0-9]{0,4}[smhdw]$"
WINDOW = r"^[1-9][0-9]{0,4}[hdw]$"
TIMESTAMP = r"^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?$"
FUNCTION = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
OWN_ONNX = r"^([A-Za-z_][\w.]*:[A-Za-z_]\w*|[^/:.][^:]*(\.onnx|\.keras|\.h5|/))$"
VARIABLE = r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"
ORIGIN = r"^(\*|null|[a-z][a-z0-9+.-]*://[^/\s]+)$"  # as browsers send it, without a path or a trailing slash
IMAGE = r"^[a-z0-9][a-z0-9.-]*\.[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+$"
IMPORT_PATH = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$"
MEMORY = r"^[1-9][0-9]{0,5}(\.[0-9])?(MiB|GiB)$"
# no `ray://`: a broken connection would lose the work
RAY = r"^(auto|local|[A-Za-z0-9._-]+:[0-9]{1,5}|\[[0-9A-Fa-f:]+\]:[0-9]{1,5}|\$\{[A-Za-z_]\w*\})$"
CRON_NUMBERS = (
    r"[0-5]?\d",
    r"1?\d|2[0-3]",
    r"0?[1-9]|[12]\d|3[01]",
    r"0?[1-9]|1[0-2]|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)",
    r"[0-6]|(?i:sun|mon|tue|wed|thu|fri|sat)",
)
CRON_PARTS = [rf"(\*|({number})(-({number}))?)(/[1-9]\d?)?" for number in CRON_NUMBERS]
CRON = "^" + " ".join(f"{part}(,{part})*" for part in CRON_PARTS) + "$"
PATTERN_HELP = {
    FUNCTION: "should be module:function",
    IMAGE: "should be host/owner/name in lower case, without a tag: the tag is the model's version",
    CRON: "should be five fields of cron: minute (0-59) hour (0-23) day (1-31) month (1-12, JAN) weekday (0-6, MON)",
    IMPORT_PATH: "should be the full name of a class or function, like my_module.MyTransformer",
    OWN_ONNX: "should be module:function, a file in the project (.onnx, .keras), or a folder/",
    MEMORY: "should be an amount of memory like 800MiB or 6GiB",
    RAY: "should be auto, local, HOST:PORT or ${NAME}",
    SPAN: "should be a duration like 90s, 15m, 12h, 7d or 4w",
    TIMESTAMP: "should be a UTC time like 2026-11-28T12:00:00",
    WINDOW: "should be a duration like 12h, 7d or 4w",
    VARIABLE: "should name an environment variable, like ${NAME}",
}


class Section(BaseModel):
    """Base of all sections: unknown keys and types that need coercion are errors; instances are frozen."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def span(text: str) -> timedelta:
    """Convert a `Span` such as `24h` to a timedelta."""
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[text[-1]]
    return timedelta(**{unit: int(text[:-1])})


def bytes_of(text: str) -> int:
    """Convert an amount of memory such as `6GiB` to bytes."""
    return int(float(text[:-3]) * {"MiB": 1 << 20, "GiB": 1 << 30}[text[-3:]])


def _not_champion(alias: str) -> str:
    if alias == "champion":
        raise ValueError("the champion already answers; choose another alias")
    return alias


def _seconds_or_span(value: float | str) -> float | str:
    if value < 0 if isinstance(value, int | float) else re.fullmatch(SPAN, value) is None:
        raise ValueError("should be a number of seconds (0 or more) or a duration like 90s, 5m or 1h")
    return value


def _table_name(name: str) -> str:
    """Check a table's name: it names a file, and a dot would separate keys of `glue.yaml`."""
    if not re.fullmatch(r"[\w -]+", name):
        raise ValueError("a table name may contain only letters, digits, _, - and spaces")
    return name


def _http_url(url: str) -> str:
    """Check a URL, which may be a variable. The message does not repeat the URL, because it may be a secret."""
    if not url.startswith(("http://", "https://", "${")):
        raise ValueError("is not an http:// or https:// URL")
    return url


Task = Literal["binary", "multiclass", "regression"]
Share = Annotated[float, Field(gt=0, lt=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Span = Annotated[str, Field(pattern=SPAN)]
Window = Annotated[str, Field(pattern=WINDOW)]
Timestamp = Annotated[str, Field(pattern=TIMESTAMP)]
Delay = Annotated[float | str, AfterValidator(_seconds_or_span)]
Variable = Annotated[str, Field(pattern=VARIABLE)]  # an environment variable
ShellCommand = Annotated[str, Field(pattern=r"\S")]
TableName = Annotated[str, AfterValidator(_table_name)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Alias = Annotated[
    str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$"), AfterValidator(_not_champion)
]  # an alias in the registry
