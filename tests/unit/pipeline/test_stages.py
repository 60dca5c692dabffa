"""What stages depend on, against what an environment may change; and what the fingerprint of their result is of."""

from __future__ import annotations

from copy import deepcopy

from mlops_glue import config as configs
from mlops_glue.config import Config
from mlops_glue.pipeline.fingerprint import of_lock
from mlops_glue.pipeline.stages import STAGES

FULL = {
    "glue": 1,
    "project": "p",
    "data": {
        "sources": {"t": {"path": "t.csv", "entity": "who", "timestamp": "at"}},
        "labels": {"source": "t", "target": "y", "task": "binary"},
    },
    "train": {"estimator": "a.B"},
    "features": {"use": ["v:f"], "transform": "m:f"},
    "split": {"fresh_after": [3]},
    "evaluate": {"metrics": ["f1"], "decision_threshold": {"by": "f1"}},
}


def test_no_stage_depends_on_a_place() -> None:
    """An environment may change these: what DVC holds against `glue.yaml` must not be among them."""
    params = {key for stage in STAGES for key in stage.params(Config.model_validate(FULL))}
    places = {place for place in configs.PLACES if "*" not in place}
    assert len(params) > 20
    for key in params:
        assert not [place for place in places if f"{key}.".startswith(f"{place}.") or place.startswith(f"{key}.")]


def test_where_a_raw_table_lies_is_no_part_of_the_result() -> None:
    dep, out = {"hash": "md5", "md5": "a" * 32, "size": 3}, {"path": "artifacts/t.parquet", "md5": "b" * 32}
    lock = {"ingest": {"cmd": "glue stage ingest", "deps": [{"path": "t.csv", **dep}], "outs": [out]}}
    moved, changed = deepcopy(lock), deepcopy(lock)
    moved["ingest"]["deps"][0]["path"] = "/mnt/lake/t.csv"  # type: ignore[index]
    changed["ingest"]["deps"][0]["md5"] = "c" * 32  # type: ignore[index]
    assert of_lock(moved) == of_lock(lock) != of_lock(changed)
