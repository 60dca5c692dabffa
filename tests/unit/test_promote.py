"""What the order of fresh rows says of a candidate, and which rows a comparison leaves out."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_glue import metrics
from mlops_glue.delivery.promote import former, on_fresh
from mlops_glue.delivery.rows import Rows, identities


def order(value: float | None, low: float | None, high: float | None) -> dict[str, Any]:
    return {"rows": 128, "value": value, "low": low, "high": high}


GOOD = order(0.8, 0.7, 0.9)


@pytest.mark.parametrize(
    "candidate, champion, asked, said",
    [
        (GOOD, GOOD, False, []),
        (GOOD, None, False, []),
        (GOOD, order(0.45, 0.4, 0.5), False, []),  # the boundary is no reverse
        (GOOD, order(0.45, 0.4, 0.4999), False, ["turn round"]),
        (GOOD, order(0.45, 0.4, 0.4999), True, []),  # a person has looked
        (GOOD, order(None, None, None), False, []),
        (order(0.55, 0.5, 0.6), GOOD, False, ["0.5500, not surely better than chance"]),
        (order(0.55, 0.5001, 0.6), GOOD, False, []),
        (order(0.55, 0.5, 0.6), GOOD, True, ["not surely better"]),
        (order(None, None, None), GOOD, False, ["is not defined"]),
        (order(0.4, 0.3, 0.45), order(0.1, 0.05, 0.2), False, ["not surely better", "turn round"]),
    ],
)
def test_what_fresh_rows_say(candidate: Any, champion: Any, asked: bool, said: list[str]) -> None:
    found = on_fresh(candidate, champion, 7, asked=asked)
    assert len(found) == len(said) and all(word in line for word, line in zip(said, found, strict=True))
    assert all("glue promote 7" in line for line in found if "turn round" in line)


def test_which_former_champions_a_run_does_not_promote() -> None:
    assert former(1, {}, [1, 2], 2, "champion") == [
        "v1 was champion before v2 took its place: glue promote 1 takes it anew"
    ]
    assert former(1, {}, [1, 2], 2, "challenger") == [] == former(3, {}, [1, 2], 2, "champion")
    assert former(1, {}, [1], None, "champion") == []  # nobody is champion now
    for alias in ("champion", "challenger"):
        assert "was rolled back at noon" in former(1, {"glue.rolled_back": "noon"}, [], 2, alias)[0]


def test_the_order_of_numbers_is_spearmans() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    truth, said = rng.integers(0, 20, 200).astype(float), rng.normal(size=200)
    told = metrics.ordered("regression", 0, (truth, said, None), 0)
    assert told["value"] == pytest.approx((1 + spearmanr(truth, said).statistic) / 2) and told["rows"] == 200
    assert told["low"] < told["value"] < told["high"]
    assert metrics.ordered("regression", 0, (truth, truth * 3 + 100, None), 0)["value"] == 1  # another level
    assert metrics.ordered("regression", 0, (truth, -truth, None), 0)["value"] == pytest.approx(0)
    assert np.isnan(metrics.ordered("regression", 0, (truth, np.ones(200), None), 0)["value"])


def table(**columns: Any) -> pa.Table:
    made = {"n": [1, 2, 2, 2], "word": ["a", "b", "b", "b"], "yes": [True, None, None, None]}
    return pa.table({**made, "at": [datetime(2026, 1, 1)] * 4, **columns})


def test_a_row_is_the_same_after_others_were_added() -> None:
    """Also where a null in a new row makes numbers of another type; equal rows are different rows."""
    old = table()
    more = {"n": [1, 2, 2, 2, None], "word": ["a", "b", "b", "b", None], "yes": [True, None, None, None, False]}
    longer = pa.table({**more, "at": pa.array([datetime(2026, 1, 1)] * 5, pa.timestamp("us"))})
    longer = longer.set_column(0, "n", longer["n"].cast(pa.float64()))
    assert identities(longer)[:4].tolist() == identities(old).tolist()
    assert len(set(identities(longer).tolist())) == 5


def test_which_rows_were_seen(tmp_path: Path) -> None:
    old = table()
    Rows(old.column_names, identities(old), np.array([True, False, True, False])).write(tmp_path / "r.parquet")
    rows = Rows.read(tmp_path / "r.parquet")
    assert rows.columns == old.column_names and rows.trained.tolist() == [True, False, True, False]
    assert rows.seen(old).tolist() == [True, False, True, False]  # type: ignore[union-attr]
    assert rows.seen(old.append_column("new", pa.array([1, 2, 3, 4]))).tolist() == [True, False, True, False]  # type: ignore[union-attr]
    assert rows.seen(table(word=["z", "b", "b", "b"])).tolist() == [False, False, True, False]  # type: ignore[union-attr]
    assert rows.seen(old.drop(["word"])) is None  # it is not known
    assert rows.begin(old) and rows.begin(pa.concat_tables([old, old]))
    assert not rows.begin(old.slice(0, 3)) and not rows.begin(old.slice(1)) and not rows.begin(old.drop(["n"]))
