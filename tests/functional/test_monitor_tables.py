"""`glue monitor --reference A --current B`: two tables, no model and no project."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.project import Glue


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, shift, share in (("january", 0.0, 0.5), ("february", 0.0, 0.5), ("march", 1.5, 0.9)):
        made = {
            "id": np.arange(2000),
            "at": pd.date_range(f"2025-{name == 'january' or 2:02d}-01", periods=2000, freq="17min"),
            "amount": rng.normal(shift, 1, 2000),
            "kind": rng.choice(["a", "b"], 2000, p=[share, 1 - share]),
            "probability_of_rain": rng.normal(shift, 1, 2000),  # no answer of a model
            "probability_yes": rng.uniform(0, share, 2000),
            "prediction": rng.choice(["yes", "no"], 2000, p=[share, 1 - share]),
        }
        pd.DataFrame(made).to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def test_two_tables(tables: Path, glue: Glue) -> None:
    words = ("monitor", "--reference", "january.csv", "--no-page", "--current")
    same = glue(*words, "february.csv", cwd=tables)
    assert "february.csv against january.csv, 2,000 rows: ok; 0% of columns drifted" in same.stdout
    assert "left out 'at': timestamp of the rows" in same.stderr
    told = json.loads(glue(*words, "march.csv", "--json", cwd=tables, code=1).stdout)
    assert (told["drifted"], told["prediction"]["drifted"], sorted(told["left_out"])) == (
        ["amount", "kind", "probability_of_rain"],
        True,
        ["at", "id"],
    )
    # the limits of a project that does nothing else
    (tables / "glue.yaml").write_text("glue: 1\nproject: p\nmonitor: {min_rows: 5000}\n")
    assert "not enough data" in glue(*words, "march.csv", cwd=tables).stdout
    assert sorted(p.name for p in tables.iterdir()) == ["february.csv", "glue.yaml", "january.csv", "march.csv"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--reference", "january.csv"], "combine it only with --current"),
        (["--reference", "january.csv", "--current", "march.csv", "--last", "7d"], "combine it only with --current"),
        (["--reference", "january.csv", "--current", "march.csv", "--test-alert"], "combine it only with --current"),
        (["--reference", "no.csv", "--current", "march.csv"], "--reference no.csv: no such file"),
    ],
)
def test_wrong_words(tables: Path, glue: Glue, words: list[str], said: str) -> None:
    assert said in glue("monitor", *words, cwd=tables, code=2).stderr
