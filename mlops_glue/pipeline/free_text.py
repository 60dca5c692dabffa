"""Free text as words: choose the words that become columns, and build the preprocessing of these columns.

Rows are split into words when they are encoded (`words.words_of`), in training and in requests alike. The remaining
work is the same in scikit-learn and in ONNX, for any language: split at blanks, and look up each word.
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
MOST_WORDS, LEAST_WORDS = 300, 20  # columns: the most, if there are enough rows, and the number with few rows
ROWS_OF_A_WORD, MOST_CELLS = 10, 50_000_000  # rows needed for each column, and values of all columns
MIN_ROWS = 5  # rows that a word, or a value of a category with many values, needs to become a column


def vocabulary(texts: pd.Series[str], most: int | None) -> list[str]:
    """Return the words that become columns, in order: those with enough rows that split the rows most evenly.

    Args:
        texts: the words of each row.
        most: as for `columns`.
    """
    rows = len(texts)
    counts = Counter(word for text in texts for word in text.split(" ") if word)
    known = {word: count for word, count in counts.items() if MIN_ROWS <= count < rows}
    return sorted(sorted(known, key=lambda word: (-known[word] * (rows - known[word]), word))[: columns(rows, most)])


def columns(rows: int, most: int | None) -> int:
    """Return the largest number of words that become columns: `train.words`, or as many as the rows allow."""
    return most or max(LEAST_WORDS, min(MOST_WORDS, rows // ROWS_OF_A_WORD, MOST_CELLS // max(rows, 1)))


def parts(schema: Schema, features: pd.DataFrame, most: int | None) -> list[tuple[str, Any, int]]:
    """Return a preprocessing part for each column of free text: whether each word occurs."""
    import numpy as np
    from sklearn.feature_extraction.text import CountVectorizer

    made = []
    for name in schema.free_text:
        at = features.columns.tolist().index(name)
        if not (known := vocabulary(features[name], most)):
            log.warning("warning: column %r: no word occurs in %s rows, so the model ignores it", name, MIN_ROWS)
            continue
        reader = CountVectorizer(
            vocabulary=known, token_pattern=BETWEEN_BLANKS, lowercase=False, binary=True, dtype=np.float32
        )
        made.append((f"words of {name}", reader, at))
    return made
