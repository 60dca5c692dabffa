"""Free text is words: cut alike everywhere, known to the model where they are frequent, exact in ONNX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from mlops_glue.adapters import onnx_files
from mlops_glue.config.training import Train
from mlops_glue.drift import Categories
from mlops_glue.encoding import encode, matrices
from mlops_glue.pipeline import native
from mlops_glue.pipeline.free_text import MOST_WORDS, vocabulary
from mlops_glue.pipeline.preprocess import preprocessing
from mlops_glue.pipeline.profile import PROSE, profile
from mlops_glue.schema import Column, Schema
from mlops_glue.words import WORD, words_of
from tests.support.contracts import contract
from tests.support.models import through

NASTY = [
    ("It's GREAT, über-Straße! 😀😀 ﬁne", "it s great über strasse 😀 fine"),
    ("", ""),
    (" !!! ", ""),
    ("NA", ""),
    ("12,5 % of 0012, 1e5", "12 5 of 0012 1e5"),
    ("\n\tnew\r\nLINE new", "new line"),
    ("中文 テスト", "中 文 テ ス ト"),
    ("हिन्दी สวัสดี שָׁלוֹם", "हिन्दी สวัสดี שָׁלוֹם"),
    ("PYTHON\u3000３", "python 3"),
    ("z" * 50_000, "z" * 50_000),
    (" ".join(map(str, range(1000))), " ".join(map(str, range(300)))),
]
LABELS = ["no", "yes"]
SCHEMA = Schema(
    "binary", "y", [Column("n", "number"), Column("note", "text", "string"), Column("town", "category")], LABELS
)
TOPICS = {"no": "parcel late refund angry straße", "yes": "great thanks naïve friendly 😀 漢字"}


def test_text_is_cut_into_words_and_in_a_request_as_in_a_table() -> None:
    assert [words_of(text) for text, _ in NASTY if text != "NA"] == [words for text, words in NASTY if text != "NA"]
    schema = Schema("binary", "y", SCHEMA.columns[1:2], LABELS)
    texts = [text for text, _ in NASTY]
    of_table = matrices(encode(pa.table({"note": texts}), schema), schema)["text"]
    made = contract(schema.columns, max_rows=99)
    of_request = made.matrices(made.decode(json.dumps({"rows": [{"note": text} for text in texts]}).encode()))["text"]
    assert of_table.tolist() == of_request.tolist() == [[words] for _, words in NASTY]
    assert made.json_schema["properties"]["note"]["description"] == "free text: the model sees its words"


def test_the_quick_way_for_ascii_is_the_other_one() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        text = "".join(map(chr, rng.integers(0, 128, 60)))
        assert words_of(text).split(" ") == (list(dict.fromkeys(WORD.findall(text.casefold()))) or [""])


def rows(count: int = 400, seed: int = 0) -> tuple[pd.DataFrame, Any]:
    """Texts of two topics, with words of no topic among them and some empty ones."""
    rng = np.random.default_rng(seed)
    label = rng.choice(LABELS, count)
    texts = [
        words_of(" ".join([*rng.choice(TOPICS[of].split(), 3), "the", f"id{at}"])) if at % 20 else ""
        for at, of in enumerate(label)
    ]
    columns = {"n": rng.normal(size=count).astype(np.float32), "note": texts, "town": rng.choice(["Ulm", ""], count)}
    return pd.DataFrame(columns).astype({"note": object, "town": object}), label.astype(object)


@pytest.mark.parametrize("estimator", [LogisticRegression(), HistGradientBoostingRegressor(max_iter=20)])
def test_words_are_exact_in_onnx_by_its_own_operators(tmp_path: Path, estimator: Any) -> None:
    frame, label = rows()
    schema, target = SCHEMA, label
    if isinstance(estimator, HistGradientBoostingRegressor):
        schema = Schema("regression", "y", SCHEMA.columns)
        target = (label == "yes") * 10 + frame["n"].to_numpy(np.float64)
    prepare = preprocessing(schema, estimator, frame, Train(), None)
    model, bundle = through(tmp_path, Pipeline([("prepare", prepare), ("estimator", estimator)]), frame, target, schema)
    assert bundle.form == "onnx"
    onnx_files.check_file(tmp_path / "bundle/model.onnx")
    assert {node.domain for node in onnx.load(tmp_path / "bundle/model.onnx").graph.node} <= {"", "ai.onnx.ml"}
    known = model.steps[0][1].named_transformers_["words of note"].vocabulary_
    assert known.keys() >= {"strasse", "naïve", "😀", "漢", "字"} and "id3" not in known
    new, truth = rows(seed=1)
    new.loc[:3, "note"] = ["", "unseen", "strasse naïve 😀 漢 字 the", " ".join(f"w{at}" for at in range(300))]
    inputs = {"number": new[["n"]].to_numpy(np.float32), "text": new[["note", "town"]].to_numpy(object)}
    value, probability = bundle.score(inputs)
    if probability is None:
        np.testing.assert_allclose(value, model.predict(new), rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_allclose(probability, model.predict_proba(new), atol=1e-6)
        assert (value == truth).mean() > 0.9
    one = {name: matrix[:1] for name, matrix in inputs.items()}
    assert len(bundle.score(one)[0]) == 1
    assert len(bundle.score({name: matrix[:0] for name, matrix in inputs.items()})[0]) == 0


@pytest.mark.parametrize("reader", [TfidfVectorizer(), CountVectorizer(ngram_range=(1, 2))])
def test_a_vectorizer_that_cuts_by_itself_is_kept_as_it_is(tmp_path: Path, reader: Any) -> None:
    from sklearn.compose import ColumnTransformer

    frame, label = rows(120)
    model = Pipeline([("words", ColumnTransformer([("note", reader, 1)])), ("last", LogisticRegression())])
    _, bundle = through(tmp_path, model, frame, label, SCHEMA)
    parity = json.loads((tmp_path / "bundle/parity.json").read_text())
    assert bundle.form == "skops" and "features: {text: [COLUMN]}" in parity["reason"]


def test_frequent_words_get_a_column_and_those_that_part_the_rows_come_first() -> None:
    texts = pd.Series(["the a"] * 10 + ["the b c"] * 10 + ["the c d"] * 3 + ["the rare"] * 4 + ["the"] * 173)
    assert vocabulary(texts, None) == ["a", "b", "c"]  # d and rare are in too few rows, the is in all
    assert vocabulary(texts, 1) == ["c"]
    many = pd.Series([" ".join(f"w{at % 900 + k}" for k in range(9)) for at in range(9_000)])
    assert len(vocabulary(many, None)) == MOST_WORDS and len(vocabulary(many, 700)) == 700


def test_words_that_are_others_have_drifted() -> None:
    def texts(*topics: str, count: int = 300, seed: int = 0) -> Any:
        rng = np.random.default_rng(seed)
        return np.array([" ".join(rng.choice(TOPICS[rng.choice(topics)].split(), 3)) for _ in range(count)], object)

    reference = Categories.of_words(texts("no", "yes", count=2000))
    assert reference.method == "words" and reference.known == 2000
    alike, other = reference.compare(texts("no", "yes", seed=1)), reference.compare(texts("no", seed=1))
    noise = reference.noise(300, 0.95)
    assert alike.distance is not None and other.distance is not None and alike.distance < noise < 0.3 < other.distance
    gone = reference.compare(np.array([""] * 100 + ["parcel"], object))
    assert (gone.known, gone.nulls, gone.unseen) == (1, 100, None)


def test_prose_is_told_from_names_and_codes() -> None:
    rng = np.random.default_rng(0)
    vocabulary = [f"word{at}" for at in range(60)]
    prose = [" ".join(rng.choice(vocabulary, 9)) + "." for _ in range(200)]
    names = [f"{a}{at}, {b}{at}" for at, (a, b) in enumerate(rng.choice(["Ann", "Bob", "Eve"], (200, 2)))]
    found = {p.name: p for p in profile(pa.table({"prose": prose, "name": names}))}
    assert found["prose"].prose and found["prose"].kind is None and found["prose"].reason == PROSE
    assert not found["name"].prose and "identifier or free text" in found["name"].reason


def test_words_stand_beside_an_estimators_own_categories() -> None:
    import xgboost

    frame, _ = rows(100)
    model = xgboost.XGBClassifier()
    prepare = preprocessing(SCHEMA, model, frame, Train(), native.form_of(model))
    native.tell(model, prepare)
    words = len(prepare.transformers[-1][1].vocabulary)
    assert [name for name, *_ in prepare.transformers] == ["number", native.PART, "words of note"]
    assert words > 5 and model.feature_types == ["q", "c", *["q"] * words]
