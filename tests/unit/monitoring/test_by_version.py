"""The performance of each version."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pytest

from mlops_glue import files
from mlops_glue.config import Config
from mlops_glue.monitoring import by_version


@pytest.mark.parametrize(("total", "said"), [(10, None), (11, 10)])
def test_a_figure_of_a_sample_says_so(total: int, said: int | None, tmp_path: Path, monkeypatch: Any) -> None:
    """The performance of a table of which some rows alone were scored."""
    files.write_json(tmp_path / "parity.json", {})
    monkeypatch.setattr(by_version, "performance", lambda *_: {"metric": "roc_auc"})
    monkeypatch.setattr(by_version, "target_drift", lambda *_: None)
    config = Config.model_validate({"glue": 1, "project": "p"})
    version = Mock(folder=tmp_path)
    version.schema.target = "y"
    told = by_version.performance_of_table(config, version, pa.table({"prediction": [1] * 10, "y": [1] * 10}), total)
    assert told is not None and told["sampled"] == said
