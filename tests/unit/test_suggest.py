"""What is suggested for a name that does not exist."""

from __future__ import annotations

import unicodedata

import pytest

from mlops_glue.suggest import did_you_mean


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("café", "cafe\u0301"),
        ("한국", unicodedata.normalize("NFD", "한국")),
        ("a b", "a\u00a0b"),
        ("a b", "a  b"),
        ("ab", "ab "),
        ("ab", "a\u200bb"),
        ("ab", "\ufeffab"),
        ("a\tb", "a b"),
        ("Area", "Аrea"),
        ("x", "х"),
        ("K", "\u212a"),
        ("o2", "ο2"),
        ("n1", "n\uff11"),
    ],
)
def test_of_names_that_look_the_same_the_code_points_are_shown(name: str, there: str) -> None:
    said = did_you_mean(name, ["another", there, "zz"])
    assert said == f"did you mean {there!r}, which is {there!a} and not {name!a}?"


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("prise", ["price", "z"], "did you mean 'price'?"),
        ("Price", ["price"], "did you mean 'price'?"),
        ("PRICE", ["Price", "prices"], "did you mean 'Price'?"),
        ("naive", ["naïve"], "did you mean 'naïve'?"),
        ("col1", ["coll"], "did you mean 'coll'?"),
        ("price", ["zz"], "there are: 'zz'"),
        ("", ["zz", " "], "there are: 'zz', ' '"),
        ("price", [], "there are none"),
    ],
)
def test_of_other_names_the_nearest_or_what_there_is(name: str, known: list[str], said: str) -> None:
    assert did_you_mean(name, known) == said
