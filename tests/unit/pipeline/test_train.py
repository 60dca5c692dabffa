"""What is said of a fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mlops_glue import files, layout, tables
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError
from mlops_glue.pipeline import train
from mlops_glue.schema import Column, Schema

ROWS = 400
BOOSTED = "sklearn.ensemble.HistGradientBoostingClassifier"


@pytest.mark.parametrize(("rare", "said"), [(1, 1), (2, 0)])
def test_a_class_of_one_row_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rare: int, said: int
) -> None:
    """Of what the model is fitted on at last, not of every part of it that is tried before."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=ROWS).astype(np.float32)
    y = np.where((x > 0) == (np.arange(ROWS) < 200), "yes", "no").astype(object)  # older rows mislead
    y[-rare:] = "seldom"  # of the fresh rows, of which each fold leaves some out
    schema = Schema("multiclass", "y", [Column("x", "number")], sorted(set(y)))
    files.write_json(tmp_path / layout.COLUMNS, {"schema": schema.to_dict()})
    tables.write_parquet(tmp_path / layout.TRAIN, pa.table({"x": x, "target:y": y, layout.ROW: np.arange(ROWS)}))
    config = Config.model_validate(
        {
            "glue": 1,
            "project": "p",
            "data": {
                "sources": {"t": {"path": "t.csv"}},
                "labels": {"source": "t", "target": "y", "task": "multiclass"},
            },
            "split": {"by": "random", "fresh_after": [200, 300]},
            "train": {"estimator": BOOSTED, "params": {"max_iter": 3}},
        }
    )
    train.train(config, tmp_path)
    told = [one.getMessage() for one in caplog.records if "no early stopping" in one.getMessage()]
    assert len(told) == said, told
    assert all("class 'seldom' has only one training row" in one for one in told)


def test_costs_that_do_not_fit_the_labels_are_refused_before_the_fit(tmp_path: Path) -> None:
    schema = Schema("binary", "y", [Column("x", "number")], ["no", "yes"], "yes")
    files.write_json(tmp_path / layout.COLUMNS, {"schema": schema.to_dict()})  # there are no rows to be fitted on
    config = Config.model_validate(
        {
            "glue": 1,
            "project": "p",
            "data": {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}},
            "evaluate": {"cost": {"no": {"yes": 1}, "yes": {"noo": 10}}},
        }
    )
    with pytest.raises(ConfigError, match=r"evaluate.cost: 'y' has no 'noo' \(did you mean 'no'\?\)"):
        train.train(config, tmp_path)
