"""`glue init`: what it writes, what it leaves alone, what it refuses."""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlops_glue import config
from tests.support.project import CHEAP, Glue

ROWS = 120


def nasty() -> pd.DataFrame:
    """Names and values that YAML, HTML, regular expressions and DVC would like to read as something else."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=ROWS)
    return pd.DataFrame(
        {
            "yes": x,
            "1e5": rng.normal(size=ROWS),
            'say "hi": [a, {b}] # no': rng.normal(size=ROWS),
            "ünïcode ☃": rng.choice(["true", "null", "1", "<b>", "a, b", "x: y"], ROWS),
            "a.b": rng.normal(size=ROWS),
            "index": rng.normal(size=ROWS),
            " padded ": rng.normal(size=ROWS),
            "$mo^th$": rng.normal(size=ROWS),
            "target: no": np.where(x + 0.3 * rng.normal(size=ROWS) > 0, "yes", "no"),
        }
    )


def test_a_small_table_gets_a_choice_of_models_and_a_big_one_boosting(tmp_path: Path, glue: Glue) -> None:
    table = nasty()
    table.to_csv(tmp_path / "t.csv", index=False)
    glue("init", "p", "--data", "t.csv", "--target", "target: no", cwd=tmp_path)
    assert config.load(tmp_path / "p").train.estimator == "model:build"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.py").write_text("mine")
    glue("init", "mine", "--data", "t.csv", "--target", "target: no", cwd=tmp_path)
    assert (tmp_path / "mine" / "model.py").read_text() == "mine"
    pd.concat([table] * 40).to_csv(tmp_path / "big.csv", index=False)
    glue("init", "big", "--data", "big.csv", "--target", "target: no", cwd=tmp_path)
    for name in ("mine", "big"):
        boosting = config.load(tmp_path / name).train.estimator or ""
        assert boosting == "sklearn.ensemble.HistGradientBoostingClassifier"


def everything(folder: Path) -> dict[str, int]:
    return {p.relative_to(folder).as_posix(): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_names_and_values_that_look_like_something_else(tmp_path: Path, glue: Glue) -> None:
    nasty().to_csv(tmp_path / "no: table.csv", index=False)
    glue("init", "true", "--data", "no: table.csv", "--target", "target: no", cwd=tmp_path)
    made = config.load(tmp_path / "true")
    assert made.data.labels.target == "target: no"
    assert made.data.labels.positive == "yes"
    assert made.features.number == ["yes", "1e5", 'say "hi": [a, {b}] # no', "a.b", "index", "padded", "$mo^th$"]
    assert made.features.category == ["ünïcode ☃"]
    told = json.loads(glue("run", "--json", *CHEAP, cwd=tmp_path / "true").stdout)
    assert told["champion"] == 1
    glue("predict", "data/raw/no: table.csv", "out.csv", cwd=tmp_path / "true")
    assert set(pd.read_csv(tmp_path / "true" / "out.csv")["prediction"]) == {"yes", "no"}


@pytest.mark.parametrize("suffix", ["csv.gz", "parquet", "jsonl"])
def test_every_format(suffix: str, tmp_path: Path, glue: Glue) -> None:
    table = nasty()
    file = tmp_path / f"t.{suffix}"
    if suffix == "parquet":
        table.to_parquet(file)
    elif suffix == "jsonl":
        table.to_json(file, orient="records", lines=True, force_ascii=False)
    else:
        table.to_csv(file, index=False)
    glue("init", "p", "--data", f"t.{suffix}", "--target", "target: no", cwd=tmp_path)
    made = config.load(tmp_path / "p")
    assert (made.source.path, made.data.labels.task) == (f"data/raw/t.{suffix}", "binary")


def test_a_folder_that_the_repository_around_it_ignores(tmp_path: Path, glue: Glue) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("/.demo/\n")
    nasty().to_csv(tmp_path / "t.csv", index=False)
    done = glue("init", ".demo/my p", "--data", "t.csv", "--target", "target: no", cwd=tmp_path)
    assert (tmp_path / ".demo" / "my p" / ".git").is_dir()
    assert "next     cd '.demo/my p' && git add . && git commit -m 'glue init' && glue run\n" in done.stdout


def test_a_dry_run_writes_nothing_and_names_what_it_would(tmp_path: Path, glue: Glue) -> None:
    nasty().to_csv(tmp_path / "t.csv", index=False)
    before = everything(tmp_path)
    done = glue("init", "p", "--data", "t.csv", "--target", "target: no", "--dry-run", cwd=tmp_path)
    assert everything(tmp_path) == before
    would = {line.removeprefix("would write ") for line in done.stdout.splitlines()}
    glue("init", "p", "--data", "t.csv", "--target", "target: no", cwd=tmp_path)
    assert would <= set(everything(tmp_path / "p"))


def test_an_existing_repository_keeps_what_it_has(tmp_path: Path, glue: Glue) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "data").mkdir()
    nasty().to_csv(tmp_path / "data" / "t.csv", index=False)
    (tmp_path / "README.md").write_text("mine\n")
    (tmp_path / ".gitignore").write_text("*.bak\n")
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    before = everything(tmp_path)
    done = glue("init", "--data", "data/t.csv", "--target", "target: no", cwd=tmp_path)
    assert "kept README.md" in done.stderr
    assert "kept .gitignore; add to it: /artifacts/" in done.stderr
    after = everything(tmp_path)
    assert {k: after[k] for k in before if not k.startswith(".git/")} == {
        k: v for k, v in before.items() if not k.startswith(".git/")
    }
    assert config.load(tmp_path).source.path == "data/t.csv"
    assert "data/t.csv.dvc" not in after  # git has it
    assert "data/raw/t.csv" not in after
    assert json.loads(glue("run", "--json", *CHEAP, cwd=tmp_path).stdout)["champion"] == 1
    again = everything(tmp_path)
    glue("init", "--data", "data/t.csv", "--target", "target: no", cwd=tmp_path)
    assert {k: v for k, v in everything(tmp_path).items() if ".dvc/tmp" not in k} == {
        k: v for k, v in again.items() if ".dvc/tmp" not in k
    }


@pytest.mark.usefixtures("quick_path")
def test_a_table_that_dvc_tracks_in_a_folder_stays_so(tmp_path: Path, glue: Glue) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "data").mkdir()
    nasty().to_csv(tmp_path / "data" / "t.csv", index=False)
    subprocess.run(["dvc", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["dvc", "add", "-q", "data"], cwd=tmp_path, check=True)
    glue("init", "--data", "data/t.csv", "--target", "target: no", cwd=tmp_path)
    assert not (tmp_path / "data" / "t.csv.dvc").exists()


def test_the_fraud_template(tmp_path: Path, glue: Glue) -> None:
    glue("init", "fraud", cwd=tmp_path)
    made = config.load(tmp_path / "fraud")
    assert (made.model_name, made.split.by, made.data.labels.target) == ("fraud_detection_model", "time", "is_fraud")
    table = tmp_path / "fraud" / "data" / "raw" / "transactions.parquet"
    before = table.read_bytes()
    made = [
        "python",
        "data/generate.py",
        str(pd.read_parquet(table)["event_timestamp"].max().date() + timedelta(days=1)),
    ]
    subprocess.run(made, cwd=tmp_path / "fraud", check=True, capture_output=True)
    assert table.read_bytes() == before


def test_the_parts_of_a_date_split_by_time(tmp_path: Path, glue: Glue) -> None:
    when = pd.date_range("2023-03-01", periods=ROWS, freq="73h")
    table = nasty().assign(Year=when.year, Month=when.month, Day=when.day, Hour=when.hour)
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "t.csv", index=False)
    glue("init", "p", "--data", "t.csv", "--target", "target: no", cwd=tmp_path)
    assert config.load(tmp_path / "p").source.timestamp == ["Year", "Month", "Day", "Hour"]
    glue("run", "--until", "split", cwd=tmp_path / "p")
    train, test = (pd.read_parquet(tmp_path / "p" / "artifacts" / "split" / f"{x}.parquet") for x in ("train", "test"))
    assert train.glue_timestamp.max() < test.glue_timestamp.min()
    assert set(train.glue_timestamp) | set(test.glue_timestamp) == set(when)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--data", "t.csv", "--target", "chrun"], 2, "did you mean 'churn'?"),
        (["--data", "tt.csv", "--target", "churn"], 2, "did you mean 't.csv'?"),
        (["--data", "t.csv"], 2, "which column should be predicted?"),
        (["--target", "churn"], 2, "which table?"),
        (["--data", "t.csv", "--target", "churn", "--entity", "whom"], 2, "--entity whom: no such column"),
        (["--data", "t.csv", "--target", "churn", "--timestamp", "year,month"], 2, "--timestamp year: no such"),
        (["--data", "t.csv", "--target", "churn", "--template", "fraud"], 2, "has its own tables"),
        (["--data", "t.csv", "--target", "one"], 4, "at least two are needed"),
        (["--data", "t.csv", "--target", "a", "--task", "binary"], 2, "'a' of t.csv has 30 values: 0, 1, 2, 3, 4, …"),
        (
            ["--data", "t.csv", "--target", "b", "--task", "regression"],
            2,
            "has string values, not numbers: 'x', 'y', 'z'",
        ),
        (["--data", "empty.csv", "--target", "churn"], 4, "is empty"),
        (["--data", "header.csv", "--target", "churn"], 4, "has a header but no rows"),
        (["--data", "t.xlsx", "--target", "churn"], 4, "not a table that glue reads"),
        (["--data", ".", "--target", "churn"], 2, "--data .: is a folder"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_made(
    tmp_path: Path, glue: Glue, words: list[str], code: int, said: str
) -> None:
    (tmp_path / "t.csv").write_text("a,b,one,churn\n" + "".join(f"{i},{'xyz'[i % 3]},1,{i % 2}\n" for i in range(30)))
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("a,churn\n")
    (tmp_path / "t.xlsx").write_text("x")
    before = everything(tmp_path)
    done = glue("init", "deep/p", *words, cwd=tmp_path, code=code)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) <= 3
    assert everything(tmp_path) == before
    assert not (tmp_path / "deep").exists()


def test_a_failure_on_the_way_leaves_nothing(tmp_path: Path, glue: Glue) -> None:
    (tmp_path / "t.csv").write_text("a,churn\n" + "".join(f"{i * i},{i % 2}\n" for i in range(30)))
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "tests").write_text("a file where a folder must be")
    before = everything(tmp_path)
    done = glue("init", "p", "--data", "t.csv", "--target", "churn", cwd=tmp_path, code=2)
    assert "tests: is a file, so tests/" in done.stderr
    assert everything(tmp_path) == before
    assert [p.name for p in (tmp_path / "p").iterdir()] == ["tests"]
