"""Permutation importances are those of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as m

from mlops_glue.pipeline import evaluate


@pytest.mark.parametrize("most", [4_000_000, 1])  # all columns together, or one at a time
def test_importances_are_those_of_scikit_learn(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers, text and nulls; the model is asked for many permutations at once."""
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.inspection import permutation_importance
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=300).astype(np.float32), "b": rng.normal(size=300)})
    frame["c"] = rng.choice(["x", "y", ""], 300).astype(object)
    frame.loc[::7, "b"] = np.nan
    truth = ((frame.a + (frame.c == "x") + rng.normal(size=300) / 3) > 0).to_numpy().astype(int)
    prepare = make_column_transformer((OneHotEncoder(sparse_output=False), ["c"]), remainder="passthrough")
    model = make_pipeline(prepare, HistGradientBoostingClassifier(max_iter=10)).fit(frame, truth)

    def score(given: pd.DataFrame, copies: int) -> Any:
        probability = model.predict_proba(given)[:, 1].reshape(copies, -1)
        return np.array([m.roc_auc_score(truth, one) for one in probability])

    monkeypatch.setattr(evaluate, "MAX_CELLS", most)
    got = evaluate.shuffled_losses(frame, score, repeats=4, seed=3)
    theirs = permutation_importance(model, frame, truth, scoring="roc_auc", n_repeats=4, random_state=3)
    assert got == pytest.approx(np.column_stack([theirs.importances_mean, theirs.importances_std]), abs=1e-12)
