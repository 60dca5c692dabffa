"""A `glue.yaml` to change, and what is wrong with it then."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_glue import config
from mlops_glue.errors import ConfigError

GOOD = """\
glue: 1
project: demo
data:
  sources:
    t: {path: t.csv}
  labels: {source: t, target: y, task: binary}
train:
  estimator: sklearn.linear_model.LogisticRegression
  params: {C: 1.0}
"""
TREE = """\
glue: 1
project: demo
data:
  sources:
    t: {path: t.csv, timestamp: at, entity: who}
  labels: {source: t, target: y, task: binary}
train: {}
"""


def load(tmp_path: Path, text: str, **kwargs: object) -> config.Config:
    (tmp_path / "t.csv").write_text("x,y\n1,0\n")
    (tmp_path / "glue.yaml").write_text(text)
    return config.load(tmp_path, **kwargs)  # type: ignore[arg-type]


def problems(tmp_path: Path, text: str, **more: object) -> list[str]:
    """All that is told, each with its line."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, **more)
    return [one.removeprefix("glue.yaml:") for one in caught.value.problems]
