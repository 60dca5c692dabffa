"""The text of a comment."""

from __future__ import annotations

import pytest

from mlops_glue.report.comment import as_text


@pytest.mark.parametrize(
    "text",
    [
        "@everyone",
        "a|b",
        "<img src=x onerror=alert(1)>",
        "[x](https://example.org)",
        "a\nb",
        "`${{ secrets.X }}`",
        "x" * 9999,
    ],
)
def test_text_of_data_is_text(text: str) -> None:
    said = as_text(text)
    assert "\n" not in said and "<" not in said and "@e" not in said and "https://" not in said
    assert not any(said[at] in "|[`" and said[at - 1] != "\\" for at in range(len(said)))
    assert len(said) < 600
