"""Secrets in texts: the values of variables that `glue.yaml` refers to, and the secret parts of URLs.

`config.load` notes the names of all references, and `config.resolve` does so again when it returns a value. Every text
that leaves glue passes `redacted`: a `GlueError` when it is created, its hint, log lines and tracebacks when they are
printed (`console`). This module stores only names of variables, and reads their values each time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

NOT_TEXT = "surrogateescape"  # how Python represents bytes that are not text in this locale
REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
SECRET = re.compile(r"(passw(or)?d|passphrase|^pass|_pass|pwd|secret|token|credentials?|key|sig|signature)$", re.I)
FOLDERS = ("PWD", "OLDPWD")  # the shell's working folders, whose names look like a password's
URL = re.compile(r"([a-z][a-z0-9+.-]*)://(?:([^/?#]*)@)?([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.I | re.S)
USER_IN_URL = re.compile(r"([a-z][a-z0-9+.-]*://)[^/\s?#'\"]*@", re.I)
QUERY_IN_URL = re.compile(r"([a-z][a-z0-9+.-]*://[^\s?#'\"<>]*)[?#][^\s'\"<>]*[^\s'\"<>.,:;)\]}]", re.I)
PLACES = {  # schemes whose hosts and paths are buckets, databases and folders; in others they may be tokens
    *("s3", "gs", "gcs", "abfs", "abfss", "az", "azure", "adl", "hdfs", "file", "ssh", "sftp", "memory", "local"),
    *("postgresql", "postgres", "mysql", "sqlite", "duckdb", "redis", "rediss"),
}
FILES = ("file", "sqlite", "duckdb")  # among PLACES: schemes with local paths, which are not secret
MIN_LENGTH = 4  # in characters; shorter values occur in any text
MIN_LENGTH_ANYWHERE = 8  # shorter values are replaced as whole words only

_names: set[str] = set()


def note(names: Iterable[str]) -> None:
    """Note environment variables whose values must not be shown."""
    _names.update(names)


def redacted(text: str, *urls: str) -> str:
    """Replace each secret in a text by its reference in `glue.yaml`.

    Every URL loses its user, query and fragment, whatever its origin. The text may contain secrets of `urls`, complete
    or in parts.
    """
    masks = {form: f"${{{name}}}" for name, value in _secret_variables() for form in _forms(value)}
    for url in urls:
        masks |= dict.fromkeys((part for part in _secret_parts(url) if len(part) >= MIN_LENGTH), "***")
    for form in sorted(masks, key=len, reverse=True):
        if form in text:
            anywhere = len(form) >= MIN_LENGTH_ANYWHERE
            text = text.replace(form, masks[form]) if anywhere else _as_word(form).sub(masks[form], text)
    if "://" in text:
        text = QUERY_IN_URL.sub(r"\1?***", USER_IN_URL.sub(r"\1***@", text))
    return text


def has_password(url: str) -> bool:
    """Return whether a URL contains a password that is not a reference."""
    match = URL.fullmatch(REFERENCE.sub("", url))
    _, _, password = (match[2] or "").partition(":") if match else ("", "", "")
    options = re.split(r"[&;]", (match[5] or "") if match else "")
    return bool(password) or any(
        SECRET.search(name) and value for name, _, value in (o.partition("=") for o in options)
    )


def masked(value: Any, key: str = "") -> Any:
    """Mask values of a config for display: a possible password becomes `***`; `${NAME}` stays.

    A text is a password if its key indicates so, or if a URL or an option does. `key` is the key of the value.
    """
    if isinstance(value, dict):
        return {name: masked(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner, key) for inner in value]
    if not isinstance(value, str) or REFERENCE.fullmatch(value):
        return value
    if SECRET.search(key):
        return "***"
    is_place = value.partition("://")[0].partition("+")[0].lower() in PLACES  # its path is a name
    return redacted(value) if is_place else redacted(value, value)


def _secret_variables() -> Iterator[tuple[str, str]]:
    """Yield the noted variables, and variables with the name of a secret, with their values."""
    for name, value in os.environ.items():
        if name in _names or (len(value) >= MIN_LENGTH_ANYWHERE and SECRET.search(name) and name not in FOLDERS):
            yield name, value


def _as_word(form: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(form)}(?![A-Za-z0-9])")


def _forms(value: str) -> Iterator[str]:
    """Yield a value and its secret parts, each unchanged, URL-quoted, URL-unquoted, and as Python's repr."""
    from urllib.parse import quote, unquote

    for part in (value, value.strip(), *_secret_parts(value)):
        for form in (
            part,
            quote(part, safe="", errors=NOT_TEXT),
            quote(part, errors=NOT_TEXT),
            unquote(part),
            repr(part)[1:-1],
        ):
            if len(form) >= MIN_LENGTH:
                yield form


def _secret_parts(value: str) -> Iterator[str]:
    """Yield the parts of a URL, or of options like `host:6379,password=…`, that may be secret."""
    match = URL.fullmatch(value)
    if match is None:
        for option in re.split(r"[,;&\s]+", value):
            name, _, text = option.partition("=")
            if SECRET.search(name):
                yield text
        return
    scheme, user, host, path, query, fragment = (part or "" for part in match.groups())
    name, _, password = user.partition(":")
    yield from (user, password or name, query, fragment)
    if _is_token(name):
        yield name
    for option in re.split(r"[&;]", query):
        key, _, text = option.partition("=")
        if SECRET.search(key) or _is_token(text):
            yield text
    if scheme.partition("+")[0].lower() in FILES:
        return
    is_place = scheme.partition("+")[0].lower() in PLACES
    segments = path.split("/")
    yield from (
        segment for segment in segments if _is_token(segment) or (not is_place and len(segment) >= MIN_LENGTH_ANYWHERE)
    )
    if not is_place:
        yield from ("/".join(segments[:end]) for end in range(2, len(segments) + 1) if len(segments) > 2)
        if not scheme.lower().startswith("http") and _is_token(host):
            yield host


def _is_token(text: str) -> bool:
    """Return whether a text looks generated rather than like a name."""
    return len(text) >= 16 or (len(text) >= 6 and any(c.isdigit() for c in text) and any(c.isalpha() for c in text))
