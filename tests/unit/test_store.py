"""What `glue init` says of a view from its rows."""

from __future__ import annotations

import json
import keyword
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from mlops_glue.errors import DataError
from mlops_glue.scaffold import feature_repo as store
from mlops_glue.scaffold.feature_repo import time_to_live


def _table(clock: list[str]) -> SimpleNamespace:
    rows = pa.table({"k": [1] * len(clock), "at": clock})
    return SimpleNamespace(file=Path("e.csv"), rows=rows, entities=["k"], when="at")


@pytest.mark.parametrize("clock", [["09.03.2024", "11.03.2024", "13.03.2024"], ["2024-03-10", "2024-03-11T00:00Z", ""]])
def test_a_ttl_is_of_dates_as_the_column_writes_them(clock: list[str]) -> None:
    assert time_to_live(_table(clock))[0] in (2, 4)


def test_a_clock_that_is_none_is_told_with_its_table() -> None:
    with pytest.raises(DataError, match=r"e\.csv: timestamp at: .*yesterday") as caught:
        time_to_live(_table(["2024-03-10", "yesterday"]))
    assert caught.value.hint is not None


NAMES = [
    "2024_customers",
    "class",
    "match",
    "a-b",
    "a_b",
    "A-B",
    "Field",
    "timedelta",
    "_x",
    "²",
    "é",
    "a b",
    "None",
    "entity_k",
    "__dummy",
    "_",
]


def test_names_are_pythons_and_different() -> None:
    taken: set[str] = set()
    for text in NAMES:
        name = store.identifier(text, taken)
        assert name.isidentifier() and not keyword.iskeyword(name) and name.casefold() not in taken, text
        assert name not in store.IMPORTED and not name.startswith("_"), text
        taken.add(name.casefold())
    assert store.identifier("customers", set()) == "customers"
    assert store.identifier("a-b", {"a_b"}) == "a_b_2"


def test_definitions_are_python_whatever_the_tables_are_called() -> None:
    rows = pa.table({"k": [1, 1, 2], "at": ["2024-01-01", "2024-01-02", "2024-01-03"], "v": [1.5, 2.5, 3.5]})
    usable = [SimpleNamespace(name="v", kind="number", reason=None)]
    made = {"file": Path("t.csv"), "rows": rows, "when": "at", "created": None, "usable": usable}
    label = SimpleNamespace(name="labels", entities=["k"], **made)
    tables = [SimpleNamespace(name=name, entities=["k"], **made) for name in NAMES]
    found = store.views([*tables, label], label, "y", [])
    page = store.repository_files(store.answers(found, "p"))["feature_repo/definitions.py"]
    compile(page, "definitions.py", "exec")
    assert len({view.name.casefold() for view in found}) == len(NAMES)
    assert all(
        f"\n{view.name} = FeatureView(\n    name={json.dumps(view.name, ensure_ascii=False)}," in page for view in found
    )
    twins = SimpleNamespace(
        name="x",
        entities=["k-1", "k_1"],
        **{**made, "rows": rows.append_column("k-1", rows["k"]).append_column("k_1", rows["k"])},
    )
    made = store.answers(store.views([twins, label], label, "y", []), "p")
    assert [entity["variable"] for entity in made["entities"]] == ["entity_k_1", "entity_k_1_2"]
