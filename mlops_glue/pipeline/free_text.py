"""Free text as words: which of them get a column in front of an estimator, and the part that makes the columns.

The words are cut where rows are encoded (`words.words_of`), in training as in a request. So what is left to do is the
same in scikit-learn and in ONNX, for any language: to part at blanks, and to look each word up.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from mlops_glue.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
BETWEEN_BLANKS = r"[^ ]+"
MOST_WORDS, LEAST_WORDS = 300, 20  # columns, where the rows allow; those of few rows get as many all the same
ROWS_OF_A_WORD, MOST_CELLS = 10, 50_000_000  # rows that there are for each column, and values of all columns
MIN_ROWS = 5  # that a word, or a value of a category with many, needs for a column


def vocabulary(texts: pd.Series[str], most: int | None) -> list[str]:
    """The words that get a column, in order: of those with enough rows the ones that tell most rows apart.

    Args:
        texts: the words of each row.
        most: as `columns` takes it.
    """
    rows = len(texts)
    counts = Counter(word for text in texts for word in text.split(" ") if word)
    known = {word: count for word, count in counts.items() if MIN_ROWS <= count < rows}
    return sorted(sorted(known, key=lambda word: (-known[word] * (rows - known[word]), word))[: columns(rows, most)])


def columns(rows: int, most: int | None) -> int:
    """How many words of a text get a column at most: as many as `train.words` says, or as the rows bear."""
    return most or max(LEAST_WORDS, min(MOST_WORDS, rows // ROWS_OF_A_WORD, MOST_CELLS // max(rows, 1)))


def parts(schema: Schema, features: pd.DataFrame, most: int | None) -> list[tuple[str, Any, int]]:
    """A part for each column of free text: is the word there?"""
    import numpy as np
    from sklearn.feature_extraction.text import CountVectorizer

    made = []
    for name in schema.free_text:
        at = features.columns.tolist().index(name)
        if not (known := vocabulary(features[name], most)):
            log.warning("warning: column %r: no word is in %s rows, so it tells the model nothing", name, MIN_ROWS)
            continue
        reader = CountVectorizer(
            vocabulary=known, token_pattern=BETWEEN_BLANKS, lowercase=False, binary=True, dtype=np.float32
        )
        made.append((f"words of {name}", reader, at))
    return made
