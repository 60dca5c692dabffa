"""What a column is, by its values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlops_glue import streaming, tables
from mlops_glue.config import Config
from mlops_glue.encoding import encode
from mlops_glue.errors import ConfigError
from mlops_glue.pipeline.featurize import choose_columns, outputs
from mlops_glue.pipeline.profile import profile
from mlops_glue.schema import Column, Schema

DAYS = [f"2024-01-{at:02d}" for at in range(1, 29)]


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        *(
            ([form.format(10.5 + at) for at in range(200)], None, f"text like {form.format(10.5)!r}: numbers with a")
            for form in (
                "${:.2f}",
                "US$ {:.1f}",
                "€ {:.1f}",
                "({:.0f})",
                "{:.1f} kg",
                "{:.1f}%",
                "-{:.1f}€",
                "{:.0f} km/h",
            )
        ),
        ([f"{at},71" for at in range(200)], None, "text like '0,71': numbers with a"),
        ([f"{at % 20}%" for at in range(200)], "category", "text like '0%': numbers with a"),
        ([*map(str, range(594)), *["unknown"] * 6], None, "6 of 600 values are not numbers ('unknown')"),
        ([*(str(at % 40) for at in range(5940)), *("u", "v", "w", "x") * 15], "category", "60 of 6,000 values are no"),
        ([f"U{at:06d}" for at in range(200)], None, "identifier or free text"),
        ([f"192.168.{at}.1" for at in range(200)], None, "identifier or free text"),
        ([f"{at}-{at * 7}" for at in range(200)], None, "identifier or free text"),
        (["S", "M", "38", "40"] * 50, "category", ""),
        ([*map(str, range(200)), *["x y"] * 900], "category", ""),
        (["50ml", "100ml"] * 50, "category", ""),
    ],
)
def test_text_that_may_be_meant_as_numbers_is_told_as_that(values: list[str], kind: Any, said: str) -> None:
    found = profile(pa.table({"c": values}))[0]
    assert (found.kind, found.reason[: len(said)]) == (kind, said), found.reason
    assert said or not found.reason


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["  ", "1.5", ".", "?", "NA", " 7 ", ".5", "-2e3"], "number"),
        (["1,234", "5", " "], "number"),
        (["   ", *DAYS], "datetime"),
        (["   ", "Yes", "No ", "?"], "boolean"),
        ([*map(str, range(6000)), "later a word"] * 2, "category"),
        (["yes", "no"] * 3000 + ["perhaps"], "category"),
        (["  ", "?", "   "], None),
    ],
)
def test_blanks_and_words_for_null(values: list[str], kind: Any) -> None:
    """Every value counts: what the kind cannot take is seen now, not when it is encoded."""
    table = pa.table({"c": values})
    found = profile(table)[0]
    assert found.kind == kind, found
    if kind in ("number", "datetime", "boolean"):
        assert found.nulls == sum(v.strip() in ("", ".", "?", "NA") for v in values)
        encode(table, Schema("binary", "y", [Column("c", kind)]))


def read(folder: Path, text: str, encoding: str = "utf-8") -> Any:
    (folder / "t.csv").write_bytes(text.encode(encoding))
    return tables.read_table(folder / "t.csv")


def test_a_column_of_predictions_is_no_feature_of_the_config() -> None:
    table = pa.table({"y": ["no", "yes"] * 20, "probability_yes": [0.5, 0.25] * 20})
    config = Config.model_validate(
        {
            "glue": 1,
            "project": "p",
            "data": {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}},
            "features": {"number": ["probability_yes"]},
        }
    )
    with pytest.raises(ConfigError) as refused:
        choose_columns(
            config,
            table.column_names,
            lambda name: table.select([name]),
            {},
            outputs(pa.chunked_array([["no", "yes"]]), "binary"),
        )
    assert "features: 'probability_yes' is the name of a column that glue predict writes" in refused.value.problems[0]


@pytest.mark.parametrize("name", ["d.days", "target:y"])
def test_a_column_with_the_name_of_an_encoded_column_is_no_feature(name: str) -> None:
    dates = pa.array(range(40), pa.timestamp("s"))
    table = pa.table({"y": ["no", "yes"] * 20, "d": dates, name: [0.5, 0.25] * 20, "n": [1.5, 2.5] * 20})
    config = Config.model_validate(
        {
            "glue": 1,
            "project": "p",
            "data": {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}},
            "train": {"estimator": "m:build"},
        }
    )

    def chosen(**features: list[str]) -> list[str]:
        made = config.model_copy(update={"features": config.features.model_copy(update=features)})
        return [one.name for one in choose_columns(made, table.column_names, lambda n: table.select([n]), {}, set())]

    assert chosen() == ["d", "n"]
    with pytest.raises(ConfigError) as refused:
        chosen(datetime=["d"], number=[name])
    assert refused.value.problems[0].startswith(f"glue.yaml features: {name!r}: ")


@pytest.mark.parametrize("last", ["31.12.9999", "9999-12-31 23:59:59.999999", "0001-01-01"])
def test_dates_out_to_the_ends_of_the_calendar_are_dates(last: str) -> None:
    first = "30.11.2024" if last[2] == "." else "2024-11-30 12:00:00.5" if " " in last else "2024-11-30"
    (found,) = profile(pa.table({"d": [first, last] * 20}))
    assert found.kind == "datetime"


def test_how_a_file_was_read_is_told_where_it_is_scored_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read(tmp_path, "name,n\ncafé,1\n\nthé,2\n", "cp1252")
    list(streaming.batches(tmp_path / "t.csv"))
    assert "t.csv is read as cp1252: it is not UTF-8" in caplog.text
