"""How alike a version and its rebuild can be."""

from __future__ import annotations

import pytest

from mlops_glue.delivery.reproduce import expected, refuse_other_format
from mlops_glue.errors import ToolError
from mlops_glue.pipeline import stages


@pytest.mark.parametrize(("differs", "best"), [(None, "bytes"), (1e-12, "predictions"), (0.2, "metrics")])
def test_the_best_level_of_an_estimator(differs: float | None, best: str) -> None:
    assert expected(differs) == best


def test_a_version_of_another_format_is_refused_with_the_glue_that_it_takes() -> None:
    lock = {stage.name: {"cmd": stage.command} for stage in stages.STAGES} | {"theirs": {"cmd": "python own.py"}}
    refuse_other_format(lock, 3, "0.1.0")
    lock["train"] = {"cmd": "glue stage train --format 1"}
    with pytest.raises(ToolError, match=r"v3 was made by 'glue stage train --format 1' of glue 0\.1\.0") as refused:
        refuse_other_format(lock, 3, "0.1.0")
    assert refused.value.hint == "glue reproduce 3 --exact-env, which installs that glue"
