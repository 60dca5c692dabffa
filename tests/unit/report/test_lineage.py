"""The lineage of a version in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlops_glue.commands.card import card
from mlops_glue.commands.compare import compare
from mlops_glue.commands.lineage import lineage
from mlops_glue.commands.reproduce import reproduce
from mlops_glue.delivery.lineage import Lineage
from mlops_glue.errors import UsageError
from mlops_glue.report.lineage import text
from tests.support.configs import GOOD, load


def of(provenance: dict[str, Any] | None) -> str:
    found = Lineage(
        model="m",
        version=3,
        created="2026-01-01T00:00:00+00:00",
        run="r",
        fingerprint="f" * 64,
        aliases=[],
        provenance=provenance,
        committed=None,
        stages={},
        features=[],
        bundle={"sha256": "b", "format": "onnx", "runs_code": None, "files": {}},
        metrics={},
        decisions=[],
        conditions=[],
        moves=[],
    )
    return "\n".join(text(found))


@pytest.mark.parametrize(
    ("changed", "said"),
    [([], "commit abc; tree"), (["model.py"], "commit abc and 1 changed file, saved with the run; tree")],
)
def test_what_is_not_saved_is_not_said_to_be_saved(changed: list[str], said: str) -> None:
    code = {"commit": "abc", "tree": "t", "dirty": True, "changed": changed, "left_out": {"big.py": "0123"}}
    environment = {"lock": None, "python": "3.12", "glue": "1"}
    rest = {"actor": {"name": "Ada"}, "command": "glue run", "time": "now", "seed": 0, "refit": None, "data": []}
    told = of({"code": code, "environment": environment, **rest})
    assert said in told and "not saved  big.py, too big or outside the repository: sha256 0123" in told
    assert "committed  no branch here has a commit with its dvc.lock" in told


def test_a_record_that_is_lost_is_not_called_one_that_never_was() -> None:
    assert "or MLflow has lost the record" in of(None)


def test_a_row_without_its_request_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        lineage(row=2)
    assert caught.value.hint == "glue lineage --request ID --row 2"


@pytest.mark.parametrize("output", ["glue.yaml", "t.csv", "folder", "."])
def test_a_card_a_comparison_and_a_proof_replace_nothing_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    load(tmp_path, GOOD)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    for command in (card, lambda output: compare(output=output), lambda output: reproduce(1, output=output)):
        with pytest.raises(UsageError, match=r"belongs to the project|is a folder"):
            command(output=output)
