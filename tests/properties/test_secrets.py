"""No text that glue shows holds a secret, wherever in a value or a URL it stands, and other texts stay as they are."""

from __future__ import annotations

import os
import pickle
import string
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mlops_glue import config, secrets
from mlops_glue.errors import ConfigError, GlueError, ToolError, brief, first_line
from mlops_glue.secrets import redacted

LETTERS = string.ascii_letters + string.digits
# a generated token, and a password with what a URL must quote
TOKENS = st.builds(lambda a, b: f"k{a}7{b}", st.text(LETTERS, min_size=3, max_size=30), st.text(LETTERS, min_size=3))
PASSWORDS = st.text(LETTERS + "!$%&*+,-.:=_~ ", min_size=7, max_size=30).map(lambda s: f"x{s}x")
URLS = {  # with {} for the secret
    "password": "postgresql://user:{}@db.example.org:5432/labels",
    "user": "https://{}@mlflow.example.org/api",
    "name": "https://{}:x-oauth-basic@git.example.org/",
    "query": "https://store.example.org/predictions?sv=2024&sig={}",
    "second": "abfs://box@account.dfs.core.windows.net/log?sig={}&se=2030",
    "fragment": "https://store.example.org/predictions#{}",
    "path": "https://hooks.example.org/services/{}/send",
    "last": "https://hooks.example.org/{}",
    "host": "slack://{}/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
    "option": "redis.example.org:6379,ssl=true,password={}",
    "value": "{}",
}
MESSAGES = (
    "cannot reach {}",
    "HTTPSConnectionPool(host='h', port=443): Max retries exceeded with url: {} (Caused by ...)",
    "FATAL: '{}' is wrong\nDETAIL: none",
    'open("{}"): no such file',
    "{}: refused",
    "{}/api/2.0/mlflow/experiments/get?name=a: 404",
    "(b'{}', 3)",
)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_names", set())


def _is_free_of(text: str, secret: str) -> bool:
    return not any(form in text for form in (secret, quote(secret, safe=""), quote(secret)))


@pytest.mark.parametrize("part", sorted(URLS))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(token=TOKENS, password=PASSWORDS, message=st.sampled_from(MESSAGES), quoted=st.booleans())
def test_no_part_of_a_value_is_shown(part: str, token: str, password: str, message: str, quoted: bool) -> None:
    secret = password if part in ("password", "value") else token
    held = quote(secret, safe="") if part == "password" or (quoted and part in ("query", "second")) else secret
    url = URLS[part].format(held)
    os.environ["SOME_PLACE"] = url
    config.resolve("${SOME_PLACE}", "here")  # what is used is noted
    for shown in (url, secret, held, url.partition("example.org")[2] or url, repr(url)):
        if secret not in shown and held not in shown:
            continue
        told = redacted(message.format(shown))
        assert _is_free_of(told, secret), (shown, told)
        for error in (ToolError(told), GlueError(message.format(shown)), ConfigError([message.format(shown)])):
            assert _is_free_of(error.message + str(error) + repr(error.args), secret)
            assert _is_free_of("".join(getattr(error, "problems", [])), secret)
            assert pickle.loads(pickle.dumps(error)).message == error.message
        raised = ValueError(message.format(shown))
        for most in (20, 40, 300):  # what is cut is redacted before
            told = first_line(raised, most) + brief(raised, most)
            assert not any(secret[:n] in told for n in range(max(8, len(secret) // 2), len(secret) + 1))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["https", "s3", "postgresql+psycopg", "redis"]),
    st.sampled_from(["host", "example.org:8000", "[::1]:5000"]),
    TOKENS,
    st.sampled_from(["{}@", "user:{}@", ""]),
    st.sampled_from(["?sig={}", "?a=1&sig={}", "#{}", "?a={},b"]),
    st.sampled_from(["", ".", ": refused", ")", "'"]),
)
def test_no_url_keeps_its_user_and_its_query(
    scheme: str, host: str, token: str, user: str, end: str, after: str
) -> None:
    told = redacted(f"see {scheme}://{user.format(token)}{host}/a/b{end.format(token)}{after}")
    assert token not in told
    assert told == f"see {scheme}://{'***@' if user else ''}{host}/a/b?***{after}"


@settings(max_examples=200, deadline=None)
@example("s3://bucket/place is not there")
@example("http://[::1]:8000/docs; then glue run")
@example("features.online_store: a user@host.org mailed, who? nobody # here")
@given(st.text(LETTERS + " .:/-_'\n=,@?#&", max_size=80))
def test_other_texts_stay(text: str) -> None:
    os.environ["A_FLAG"], os.environ["A_TOKEN"] = "1", "short"
    secrets.note(["A_FLAG", "NOT_SET"])
    if "://" not in text or not any(c in text for c in "@?#"):
        assert redacted(text) == text


def test_what_is_short_is_replaced_as_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORT_ONE", "data")
    monkeypatch.setenv("DB_PASSWORD", "hunter22")  # by its name alone
    monkeypatch.setenv("MY_TOKENIZERS", "parallel1")
    secrets.note(["SHORT_ONE"])
    assert redacted("data database data/raw meta_data") == "${SHORT_ONE} database ${SHORT_ONE}/raw meta_${SHORT_ONE}"
    assert redacted("hunter22 parallel1") == "${DB_PASSWORD} parallel1"
    assert redacted("at /a/b?c", "https://host/a-long-place/b?sig=abcdef") == "at /a/b?c"
    assert redacted("no abcdef in /a-long-place", "https://host/a-long-place/b?sig=abcdef") == "no *** in ***"
