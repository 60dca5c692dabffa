"""What `glue init` proposes, by the table alone."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mlops_glue.pipeline import defaults
from mlops_glue.pipeline.profile import profile


def _small(table: pa.Table, task: str) -> bool:
    return defaults.is_small(table, profile(table), "y", task)


def test_rows_without_a_target_do_not_make_a_table_big() -> None:
    rng = np.random.default_rng(0)
    target = pa.array([float(v) for v in rng.normal(size=1000)] + [None] * 9000)
    assert _small(pa.table({"x": rng.normal(size=10_000), "y": target}), "regression")
    rare = pa.array(["a"] * 900 + ["b"] * 100 + ["c"] * 3 + [None] * 9000)
    table = pa.table({"x": rng.normal(size=len(rare)), "y": rare})
    assert not _small(table, "multiclass")
    assert defaults.estimator(table, "y", "multiclass")[0] == "sklearn.ensemble.ExtraTreesClassifier"


def test_a_category_of_many_values_is_one_column() -> None:
    """Twenty of them do not make 2,000 rows too wide to compare models on; twenty of 30 values each do."""
    rng = np.random.default_rng(0)
    for values, small in ((400, True), (30, False)):
        wide = {f"c{at}": [f"v{v}" for v in rng.integers(0, values, 2000)] for at in range(20)}
        assert _small(pa.table(wide | {"y": rng.normal(size=2000)}), "regression") is small
