"""What is suggested for a name that does not exist."""

from __future__ import annotations

import unicodedata

import pytest

from mlops_glue.suggest import did_you_mean

FORM = "the same letters in another Unicode form"


@pytest.mark.parametrize(
    ("name", "there", "said"),
    [
        ("café", "cafe\u0301", f"U+0065 U+0301 for U+00E9: {FORM}"),
        ("cafe\u0301s", "cafés", f"U+00E9 for U+0065 U+0301: {FORM}"),
        (
            "한국",
            unicodedata.normalize("NFD", "한국"),
            f"U+1112 U+1161 U+11AB U+1100 U+116E U+11A8 for U+D55C U+AD6D: {FORM}",
        ),
        ("a b", "a\u00a0b", "U+00A0 NO-BREAK SPACE for U+0020 SPACE"),
        ("a b", "a  b", "U+0020 SPACE more"),
        ("a b", "ab", "U+0020 SPACE less"),
        ("ab", "ab ", "U+0020 SPACE more"),
        ("ab", "a\u200bb", "U+200B ZERO WIDTH SPACE more"),
        ("ab", "\ufeffab", "U+FEFF ZERO WIDTH NO-BREAK SPACE more"),
        ("a\tb", "a b", "U+0020 SPACE for U+0009"),
        ("Area", "Аrea", "U+0410 CYRILLIC CAPITAL LETTER A for U+0041 LATIN CAPITAL LETTER A"),
        ("x", "х", "U+0445 CYRILLIC SMALL LETTER HA for U+0078 LATIN SMALL LETTER X"),
        ("K", "\u212a", f"U+212A for U+004B: {FORM}"),
        ("o2", "ο2", "U+03BF GREEK SMALL LETTER OMICRON for U+006F LATIN SMALL LETTER O"),
        ("n1", "n\uff11", "U+FF11 FULLWIDTH DIGIT ONE for U+0031 DIGIT ONE"),
    ],
)
def test_what_differs_is_told_of_names_that_look_the_same(name: str, there: str, said: str) -> None:
    told = did_you_mean(name, ["another", there, "zz"])
    assert told.startswith(f"did you mean {there!r}, which has ")
    assert told.endswith(f"{said}?")


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
        ("price", [], "there is none"),
    ],
)
def test_of_other_names_the_nearest_or_what_there_is(name: str, known: list[str], said: str) -> None:
    assert did_you_mean(name, known) == said
