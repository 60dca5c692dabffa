"""`glue init` alone, where tables lie already."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_glue.commands import init
from mlops_glue.errors import UsageError


@pytest.mark.parametrize("where", ["", "data", "data/raw"])
def test_where_tables_lie_it_asks_which_and_makes_nothing(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / where).mkdir(parents=True, exist_ok=True)
    (tmp_path / where / "my bookings.csv").write_text("id;city;canceled\n1;Bonn;0\n")
    (tmp_path / where / "other.parquet").write_bytes(b"torn")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError) as refused:
        init.init(".", (), None)
    table = Path(where, "my bookings.csv")
    said = f"which table, and which column should be predicted? . contains {table}, {Path(where, 'other.parquet')}"
    assert refused.value.message == said
    hint = f"glue init . --data '{table}' --target COLUMN; "
    assert refused.value.hint == hint + "for the demo: glue init demo --template fraud"
    assert sorted(tmp_path.rglob("*")) == before


def test_of_a_folder_elsewhere_the_way_to_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop").mkdir()
    for at in range(5):
        (tmp_path / "shop" / f"{at}.jsonl").write_text("{}")
    with pytest.raises(UsageError, match=r"shop contains shop/0.*, shop/2\.jsonl$") as refused:
        init.init("shop", (), None)
    assert str(refused.value.hint).startswith("glue init shop --data shop/0.jsonl --target COLUMN; for the demo")


def test_an_empty_folder_gets_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.setattr(init, "generate_tables", lambda template, _: pytest.exit(template))
    with pytest.raises(pytest.exit.Exception, match="fraud"):
        init.init(".", (), None)
