"""How far a shadow is from what was answered, by a prediction log as `glue serve` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlops_glue import tables
from mlops_glue.config import Config
from mlops_glue.delivery import shadow
from mlops_glue.errors import ToolError

CONFIG = Config.model_validate({"glue": 1, "project": "p", "serve": {"prediction_log": "log", "shadow": "challenger"}})


def write(root: Path, day: str, version: int, requests: dict[str, Any], *, answered: bool, model: str = "p") -> None:
    table = pa.table(
        {
            "glue_request_id": [*requests],
            "glue_row": pa.array([0] * len(requests), pa.int32()),
            "glue_answered": [answered] * len(requests),
            "prediction": [*requests.values()],
        }
    )
    name = f"log/date={day}/{model}{answered}v{version}-1.parquet"
    tables.write_parquet(root / name, table.replace_schema_metadata({"glue.model": model}))


def asked(root: Path, *, labels: bool = True) -> tuple[float, int]:
    return tuple(shadow.agreement(CONFIG, root, 1, 2, labels=labels))  # type: ignore[return-value]


def test_rows_are_compared_by_their_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "2026-11-01", 1, {"a": "yes", "b": "no", "c": "no", "d": "no"}, answered=True)
    assert asked(tmp_path)[1] == 0
    write(tmp_path, "2026-11-01", 2, {"c": "yes", "a": "yes", "b": "no", "x": "no"}, answered=False)
    write(tmp_path, "2026-11-01", 2, {"d": "yes"}, answered=True)  # a canary's answer is no shadow's
    write(tmp_path, "2026-11-01", 2, {"d": "yes"}, answered=False, model="other")
    assert asked(tmp_path) == (pytest.approx(1 / 3), 3)
    write(tmp_path, "2026-11-02", 1, {"e": "no"}, answered=True)
    write(tmp_path, "2026-11-02", 2, {"e": "no"}, answered=False)
    assert asked(tmp_path) == (0.25, 4)
    monkeypatch.setattr(shadow, "ROWS", 1)
    assert asked(tmp_path) == (0.0, 1)  # the newest


def test_of_numbers_it_is_the_mean_difference(tmp_path: Path) -> None:
    write(tmp_path, "2026-11-01", 1, {"a": 1.0, "b": 2.0}, answered=True)
    write(tmp_path, "2026-11-01", 2, {"a": 1.5, "b": 1.0}, answered=False)
    assert asked(tmp_path, labels=False) == (0.75, 2)


def test_a_log_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    write(tmp_path, "2026-11-01", 1, {"a": 1.0}, answered=True)
    (tmp_path / "log/date=2026-11-01/v2-1.parquet").write_text("torn")
    with pytest.raises(ToolError, match=r"v2-1.parquet: cannot be read"):
        asked(tmp_path)
