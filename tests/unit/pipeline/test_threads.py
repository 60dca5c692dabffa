"""LightGBM has one thread where there is little to do, wherever it stands in the model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import VotingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlops_glue.pipeline.threads import FEW_CELLS, limit_lightgbm


@pytest.mark.parametrize(("rows", "given", "has"), [(9, None, 1), (9, 2, 2), (FEW_CELLS // 2, None, None)])
def test_lightgbm_has_one_thread_for_few_cells(rows: int, given: int | None, has: int | None) -> None:
    import lightgbm

    inner, other = lightgbm.LGBMRegressor(n_jobs=given), LinearRegression()
    model = make_pipeline(StandardScaler(), VotingRegressor([("boosting", inner), ("linear", other)]))
    for each in (model, inner):
        limit_lightgbm(each, pd.DataFrame(np.zeros((rows, 2))))
        assert (inner.n_jobs, other.n_jobs) == (has, None)
