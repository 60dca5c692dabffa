"""What is said of an evaluation in words."""

from __future__ import annotations

from mlops_glue.pipeline.evaluation import trained_on


def test_a_sample_is_called_one() -> None:
    assert trained_on({"train_rows": 1200}) == "1,200 rows"
    assert trained_on({"train_rows": 1200, "sampled_of": 1200}) == "1,200 rows"
    assert trained_on({"train_rows": 1200, "sampled_of": 9000}) == "1,200 rows, a sample of 9,000 (train.rows)"
