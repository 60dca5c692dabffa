"""What nobody may read: the values of the variables that `glue.yaml` refers to, and what a URL holds beside a place.

Every text that leaves glue passes `redacted`: each `GlueError` does when it is made, a traceback when it is printed.
Only names of variables are kept here; their values are read at that moment and held nowhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote

ANY = "surrogateescape"  # bytes that are no text in this locale
REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
SECRET = re.compile(r"(passw(or)?d|passphrase|^pass|_pass|pwd|secret|token|credentials?|key|sig|signature)$", re.I)
FOLDERS = ("PWD", "OLDPWD")  # the shell's working folders, which are called like a password
URL = re.compile(r"([a-z][a-z0-9+.-]*)://(?:([^/?#]*)@)?([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.I | re.S)
USER_IN_URL = re.compile(r"([a-z][a-z0-9+.-]*://)[^/\s?#'\"]*@", re.I)
QUERY_IN_URL = re.compile(r"([a-z][a-z0-9+.-]*://[^\s?#'\"<>]*)[?#][^\s'\"<>]*[^\s'\"<>.,:;)\]}]", re.I)
PLACES = {  # schemes whose hosts and paths are buckets, databases and folders; in others they may be tokens
    *("s3", "gs", "gcs", "abfs", "abfss", "az", "azure", "adl", "hdfs", "file", "ssh", "sftp", "memory", "local"),
    *("postgresql", "postgres", "mysql", "sqlite", "duckdb", "redis", "rediss"),
}
LEAST = 4  # characters: what is shorter is no secret, and stands in every text
WORD = 8  # what is shorter is replaced where it is a word of its own

_names: set[str] = set()


def note(names: Iterable[str]) -> None:
    """These variables of the environment hold what must not be shown."""
    _names.update(names)


def redacted(text: str, *urls: str) -> str:
    """A text in which each secret is replaced by the reference that stands for it in `glue.yaml`.

    Any URL loses its user, query and fragment, wherever it comes from.

    Args:
        text: what is to be shown.
        urls: what else may stand in it, as a whole or in parts, and holds secrets.
    """
    known = {form: f"${{{name}}}" for name, value in _held() for form in _forms(value)}
    for url in urls:
        known |= dict.fromkeys((part for part in _parts(url) if len(part) >= LEAST), "***")
    for form in sorted(known, key=len, reverse=True):
        if form in text:
            text = text.replace(form, known[form]) if len(form) >= WORD else _as_word(form).sub(known[form], text)
    if "://" in text:
        text = QUERY_IN_URL.sub(r"\1?***", USER_IN_URL.sub(r"\1***@", text))
    return text


def _held() -> Iterator[tuple[str, str]]:
    """The variables that were noted, and those that are called like a secret, with their values."""
    for name, value in os.environ.items():
        if name in _names or (len(value) >= WORD and SECRET.search(name) and name not in FOLDERS):
            yield name, value


def _as_word(form: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(form)}(?![A-Za-z0-9])")


def _forms(value: str) -> Iterator[str]:
    """A value as a whole and its secret parts, each as it is, quoted for a URL and not, and as Python writes it."""
    for part in (value, value.strip(), *_parts(value)):
        for form in (part, quote(part, safe="", errors=ANY), quote(part, errors=ANY), unquote(part), repr(part)[1:-1]):
            if len(form) >= LEAST:
                yield form


def _parts(value: str) -> Iterator[str]:
    """What may be secret in a URL, or in options like `host:6379,password=…`."""
    found = URL.fullmatch(value)
    if found is None:
        for option in re.split(r"[,;&\s]+", value):
            name, _, held = option.partition("=")
            if SECRET.search(name):
                yield held
        return
    scheme, user, host, path, query, fragment = (part or "" for part in found.groups())
    name, _, password = user.partition(":")
    yield from (user, password or name, query, fragment)
    if _is_token(name):
        yield name
    for option in re.split(r"[&;]", query):
        key, _, held = option.partition("=")
        if SECRET.search(key) or _is_token(held):
            yield held
    place = scheme.partition("+")[0].lower() in PLACES
    segments = path.split("/")
    yield from (one for one in segments if _is_token(one) or (not place and len(one) >= WORD))
    if not place:
        yield from ("/".join(segments[:end]) for end in range(2, len(segments) + 1) if len(segments) > 2)
        if not scheme.lower().startswith("http") and _is_token(host):
            yield host


def _is_token(text: str) -> bool:
    """Does it look like something that was generated, and not like a name?"""
    return len(text) >= 16 or (len(text) >= 6 and any(c.isdigit() for c in text) and any(c.isalpha() for c in text))
