"""`glue report --pr` on a laptop: what it compares, and what it does not know."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.project import Glue


def commit(root: Path) -> None:
    words = "git add -A && git -c user.name=a -c user.email=a@example.org commit -qm change"
    subprocess.run(words, shell=True, cwd=root, check=True)


def test_what_a_change_does(penguins: Path, glue: Glue) -> None:
    config, plain = penguins / "glue.yaml", (penguins / "glue.yaml").read_text()
    glue("run", "--until", "evaluate", cwd=penguins)
    commit(penguins)

    # a column less: the holdout has the same rows, on which both models are compared
    config.write_text(plain.replace("    - bill_length_mm\n", ""))
    assert config.read_text() != plain
    glue("run", "--until", "evaluate", cwd=penguins)
    told = json.loads(glue("report", "--pr", "--base", "HEAD", "--json", cwd=penguins, code=None).stdout)
    assert told["same_holdout"] and told["contract"] == ["bill_length_mm: number -> none"]
    assert any("on the same holdout" in reason for reason in told["refused"])
    measured, conditions = told["measured"], {one["name"]: one for one in told["conditions"]}
    assert measured["finding"] == "worse" and measured["high"] < 0 and measured["rows"] == told["evaluation"]["rows"]
    assert conditions["base"]["holds"] is False and conditions["contract"]["holds"] is None
    assert "bill_length_mm is no longer accepted" in conditions["contract"]["detail"]
    page = glue("report", "--pr", "--base", "HEAD", cwd=penguins, code=1).stdout
    assert "Conditions for promotion" in page and "confidence" in page
    changed = {one["stage"]: one["reasons"] for one in told["stages"] if one["outcome"] == "changed"}
    assert "seed" not in str(changed) and "bill_length_mm" in changed["featurize"]

    # committed without dvc.lock: the next change is held against older results, which is told
    subprocess.run(["git", "checkout", "-q", "dvc.lock"], cwd=penguins, check=True)
    commit(penguins)
    glue("run", "--until", "evaluate", cwd=penguins)
    told = json.loads(glue("report", "--pr", "--base", "HEAD", "--json", cwd=penguins, code=None).stdout)
    assert "is older than its own files (features." in " ".join(told["notes"])

    # the table is another, and nothing has run on it
    table = penguins / "data/raw/penguins.csv"
    table.write_text(table.read_text() + "".join(table.read_text().splitlines(keepends=True)[-30:]))
    told = json.loads(glue("report", "--pr", "--base", "HEAD", "--json", cwd=penguins, code=1).stdout)
    assert (told["contract"], told["validation"], told["tables"][0]["rows"]) == (None, None, "?")
    assert "Unknown: a stage did not run" in glue("report", "--pr", "--base", "HEAD", cwd=penguins, code=1).stdout

    # a page of a former commit would stand
    config.write_text(plain.replace("glue: 1", "glue: one"))
    done = glue("report", "--pr", "--base", "HEAD", "--output", "report.md", cwd=penguins, code=2)
    said = (penguins / "report.md").read_text()
    assert said.startswith("<!-- glue report . -->\n## refused\n") and "glue: should be" in done.stderr + said

    shutil.rmtree(penguins / ".git")
    assert "is not in a git repository" in glue("report", "--pr", cwd=penguins, code=2).stderr


def test_a_table_that_was_changed_here_is_not_pulled_over(
    penguins: Path, glue: Glue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, table = penguins / "glue.yaml", penguins / "data/raw/penguins.csv"
    config.write_text(config.read_text().replace("  labels:\n", "  remote: ${DVC_REMOTE_URL}\n  labels:\n", 1))
    words = ("run", "--pull", "--until", "ingest")
    for remote, code, said in (
        ("", 2, "data.remote: environment variable DVC_REMOTE_URL is empty"),
        ("gs://nobody", 4, 'hint: pip install "mlops-glue[s3]", [gcs]'),
    ):
        monkeypatch.setenv("DVC_REMOTE_URL", remote)
        assert said in glue(*words, cwd=penguins, code=code).stderr
    monkeypatch.setenv("DVC_REMOTE_URL", str(tmp_path / "remote"))
    text = table.read_text()
    table.write_text(text + text.splitlines()[-1] + "\n")
    changed = table.read_bytes()
    done = glue(*words, "--push", cwd=penguins)
    assert "data/raw/penguins.csv was changed here, so it was not fetched" in done.stderr
    assert table.read_bytes() == changed
    for here in (table, penguins / ".dvc/cache"):
        shutil.rmtree(here) if here.is_dir() else here.unlink()
    glue(*words, cwd=penguins)
    assert table.read_bytes() == changed
    for here in (table, penguins / ".dvc/cache", tmp_path / "remote"):
        shutil.rmtree(here) if here.is_dir() else here.unlink()
    done = glue(*words, cwd=penguins, code=4)
    assert "data/raw/penguins.csv: neither in DVC's cache nor in its remote\nhint: glue run --push" in done.stderr
