"""A year later: what a version was made of, and the same version made again."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

from tests.support.project import Glue, on_penguins, row_of
from tests.support.server import ask, serving, until


def git(root: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", *words]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


def commit(root: Path, message: str) -> str:
    git(root, "add", "-A")
    git(root, "commit", "-qm", message)
    return git(root, "rev-parse", "HEAD").strip()


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory, glue: Glue, empty_store: Path) -> dict[str, Any]:
    """v1 is of a commit; v2 of other rows and another parameter, never committed; v3's code is committed later.

    DVC's remote is a folder beside the project.
    """
    root = on_penguins(tmp_path_factory.mktemp("trust"), "p", glue, empty_store)
    git(root, "config", "user.name", "Ada")
    git(root, "config", "user.email", "ada@example.org")
    config = root / "glue.yaml"
    config.write_text(config.read_text().replace("  labels:\n", "  remote: ../store\n  labels:\n", 1))
    first = commit(root, "before v1")
    glue("run", "--push", cwd=root)
    table = root / "data/raw/penguins.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.chmod(0o644)
    table.unlink()  # a link to DVC's cache, maybe
    table.write_text("".join(lines[:-30]))
    glue("run", "--push", "--set", "train.params={max_iter: 7}", cwd=root, code=None)
    (root / "model.py").write_text((root / "model.py").read_text() + "\n# a remark\n")
    glue("run", "--push", cwd=root, code=None)
    late = commit(root, "after v3")
    return {"root": root, "first": first, "late": late}


MONITOR = """
  labels: {path: data/labels, id: request, row: row, target: species}
  on_alert: [retrain]
  retrain: {min_labelled: 100, cooldown: 1s}
"""
JOB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_ACTOR": "octo",
    "GITHUB_RUN_ID": "42",
    "GITHUB_REPOSITORY": "a/p",
    "CI": "true",
}


@pytest.fixture(scope="module")
def later(history: dict[str, Any], glue: Glue) -> dict[str, Any]:
    """v4 is the monitor's, of birds whose bills have grown; v5 is made by a job on GitHub, of a detached commit.

    `clone` has what git has, DVC's remote and the registry.
    """
    root = history["root"]
    config = root / "glue.yaml"
    text = config.read_text().replace("  on_alert: []", MONITOR.strip("\n") + "\n  #")
    config.write_text(text)
    grown = pd.read_csv(root / "data/raw/penguins.csv").assign(bill_length_mm=lambda rows: rows["bill_length_mm"] + 9)
    grown = grown.sample(frac=1, random_state=0)
    with serving(root) as (url, _):
        status, answer = ask(url, body={"rows": json.loads(grown.drop(columns="species").to_json(orient="records"))})
        assert status == 200, answer
    until(lambda: list((root / "data/predictions").rglob("*.parquet")))
    (root / "data/labels").mkdir()
    labels = {"request": answer["request_id"], "row": range(len(grown)), "species": grown["species"]}
    pd.DataFrame(labels).to_csv(root / "data/labels/grown.csv", index=False)
    told = json.loads(glue("monitor", "--json", "--no-page", cwd=root, code=1).stdout)
    assert told["retrain"]["version"] == 4, told["retrain"]
    store = f"\ntracking: {{uri: 'sqlite:///{root}/mlflow.db'}}\n"
    config.write_text(config.read_text().replace("params: {max_iter: 7}", "params: {max_iter: 8}") + store)
    commit(root, "for v5")
    for name in ("job", "clone"):
        git(root.parent, "clone", "-q", str(root), name)
    job = root.parent / "job"
    git(job, "checkout", "-q", "--detach")
    with pytest.MonkeyPatch.context() as variables:
        for name, value in JOB.items():
            variables.setenv(name, value)
        glue("run", "--pull", "--push", cwd=job, code=None)
    return {**history, "clone": root.parent / "clone", "retrained": told["retrain"]}


def lineage(glue: Glue, root: Path, version: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(glue("lineage", str(version), "--json", cwd=root).stdout)
    return found


def test_each_version_knows_its_code_data_and_maker(history: dict[str, Any], glue: Glue) -> None:
    root = history["root"]
    found = {version: lineage(glue, root, version) for version in (1, 2, 3)}
    code = {version: each["provenance"]["code"] for version, each in found.items()}
    assert {each["commit"] for each in code.values()} == {history["first"]}
    assert [each["dirty"] for each in code.values()] == [False, True, True]
    assert "model.py" in code[3]["changed"] and "model.py" not in code[2]["changed"]
    assert [each["committed"] for each in found.values()] == [None, None, history["late"]]
    rows = [each["provenance"]["data"][0]["rows"] for each in found.values()]
    assert rows == [344, 314, 314]
    assert found[1]["provenance"]["actor"]["email"] == "ada@example.org"
    assert found[1]["provenance"]["command"].endswith("run --push")
    assert found[1]["stages"]["ingest"]["deps"]["data/raw/penguins.csv"] == found[1]["provenance"]["data"][0]["md5"]
    (bundle,) = (path for path in (root / "mlartifacts").glob("*/artifacts/bundle") if found[1]["run"] in str(path))
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in bundle.iterdir()}
    assert found[1]["bundle"]["files"] == files
    text = glue("lineage", "1", cwd=root).stdout
    assert found[1]["provenance"]["data"][0]["sha256"] in text and "p v1 (champion)" in text
    holds = {one["name"]: one["holds"] for one in found[1]["conditions"]}
    assert holds["signature"] is holds["bundle"] is True and holds["latency"] is None is holds["champion"]
    beside = {one["name"]: one for one in found[2]["conditions"]}
    assert beside["latency"]["value"] > 0 and "champion v1" in beside["latency"]["detail"]
    assert beside["contract"]["holds"] and beside["champion"]["holds"] is not None
    assert "  conditions met: " in text
    assert glue("lineage", "--mermaid", cwd=root).stdout.startswith("flowchart LR\n")
    glue("assess", "--output", "../strategy.md", cwd=root)
    page = (root.parent / "strategy.md").read_text()
    assert re.search(r"\| lead time from commit to champion \| [\d.]+ \w+ \(median of 1 commit\) \|", page)
    assert "| share of refused candidates | 67% (2 of 3) |" in page or "| 33% (1 of 3) |" in page
    assert "| time to detect drift | n/a: no run of glue monitor is recorded in this project |" in page


def test_versions_are_compared_on_rows_that_none_was_trained_on(history: dict[str, Any], glue: Glue) -> None:
    """The holdout here is v3's, and so v2's; v1 was trained on some of it."""
    root = history["root"]
    (root / "scores.json").write_text('{"log_loss": 0.5}')
    told = glue("compare", "1", "2", history["late"], "scores.json", "--json", "--output", "side.html", cwd=root)
    (root / "scores.json").unlink()
    found = json.loads(told.stdout)
    assert [side["name"] for side in found["sides"]] == ["v1", "v2", "v3", "scores.json"]
    assert found["params"]["train.params.max_iter"][1:] == ["7", "7", None]
    held = found["held"]
    assert held["trained_on"] > 0 and held["rows"] >= 20 and not held["unknown"]
    assert held["rows"] + held["trained_on"] == found["sides"][2]["holdout"]["rows"]
    first, second = found["beside"]
    for one, other in zip(first["metrics"], second["metrics"], strict=True):  # v2 and v3 are the same model
        assert {**one, "metric": ""} == {**other, "metric": ""} and one["rows"] == held["rows"]
    assert first["metrics"][0]["metric"] == "log_loss" and first["metrics"][0]["low"] < first["metrics"][0]["high"]
    of_v2, of_v3 = ("\n".join(one["stat"]) for one in found["code"])
    assert " model.py " in of_v3 and " model.py " not in of_v2
    assert [side["data"].get("penguins", {}).get("rows") for side in found["sides"]] == [344, 314, 314, None]
    assert found["sizes"]["v1"]["latency_ms"] > 0 and found["sizes"]["v1"]["form"] == "onnx"
    page = (root / "side.html").read_text()
    assert (
        '<img src="data:image/svg+xml' in page and "One curve for each of v1, v2, v3" in page and "<script" not in page
    )
    (root / "side.html").unlink()
    said = glue("compare", cwd=root).stdout
    assert said.startswith("v3: log_loss ") and "Parameters that differ\n" in said and "\nmodel.py" not in said
    refused = glue("compare", "1", "7", cwd=root, code=2).stderr
    assert refused == "error: 7: p has no such version\nhint: there are: '1', '2', '3'\n"


def state(root: Path) -> tuple[str, ...]:
    looked = ("status --porcelain", "for-each-ref", "worktree list", "stash list")
    cache = sorted(f"{path} {path.stat().st_mtime_ns}" for path in (root / ".dvc/cache").rglob("*") if path.is_file())
    return (*(git(root, *words.split()) for words in looked), "\n".join(cache))


@pytest.mark.parametrize(
    "version", [2, pytest.param(1, marks=pytest.mark.long), pytest.param(3, marks=pytest.mark.long)]
)
def test_a_version_is_made_again_byte_by_byte(history: dict[str, Any], glue: Glue, version: int) -> None:
    root = history["root"]
    before = state(root)
    done = glue("reproduce", str(version), "--level", "bytes", cwd=root)
    assert done.stdout.splitlines()[-1] == f"p v{version} is reproduced: bytes"
    assert "differs" not in done.stdout
    assert state(root) == before
    statement = json.loads((root / f".glue/statements/v{version}.intoto.json").read_text())
    Statement.copy_from_pb(json_format.ParseDict(statement, statement_pb2.Statement())).validate()
    json_format.ParseDict(statement["predicate"], provenance_pb2.Provenance())
    assert {subject["name"] for subject in statement["subject"]} >= {f"p/v{version}/model.onnx"}


def test_data_that_is_damaged_or_gone_is_named(history: dict[str, Any], glue: Glue) -> None:
    root = history["root"]
    table = lineage(glue, root, 1)["provenance"]["data"][0]
    name = f"files/md5/{table['md5'][:2]}/{table['md5'][2:]}"
    cached, sent = root / ".dvc/cache" / name, root.parent / "store" / name
    whole = cached.read_bytes()
    cached.chmod(0o644)
    try:
        cached.write_bytes(whole[:-3] + b"!" + whole[-2:])
        done = glue("reproduce", "1", cwd=root, code=1)
        assert "data/raw/penguins.csv does not match the record: its SHA-256 is " in done.stderr
        assert table["sha256"] in done.stderr
        cached.unlink()
        sent.unlink()
        done = glue("reproduce", "1", cwd=root, code=4)
        assert f"data/raw/penguins.csv (md5 {table['md5']}): neither in DVC's cache nor in its remote" in done.stderr
        assert "where it was trained: glue reproduce 1 --push; if dvc gc" in done.stderr
    finally:
        cached.write_bytes(whole)
        sent.write_bytes(whole)
    assert "glue-code" not in git(root, "worktree", "list")


def test_a_card_states_facts_alone(history: dict[str, Any], glue: Glue) -> None:
    from huggingface_hub import ModelCard

    root = history["root"]
    text = glue("card", "1", cwd=root).stdout
    card = ModelCard(text)
    assert card.data.pipeline_tag == "tabular-classification"
    assert {result.metric_type for result in card.data.eval_results} >= {"log_loss", "accuracy"}
    assert "| signature | yes |  |  |  |" in text
    assert "\n* **Bundle:** SHA-256" in text and "| limit | detail |" in text
    assert " changed files, tree " in glue("card", "2", cwd=root).stdout  # v2 was made before they were committed
    assert "* **Owner:** *not stated*" in text and "`glue reproduce 1`" in text
    config = root / "glue.yaml"
    before = config.read_text()
    config.write_text(before + "card: {owner: 'The | birds team', license: apache-2.0}\n")
    try:
        text = glue("card", cwd=root).stdout
        glue("card", "1", "--output", "card.html", cwd=root)
    finally:
        config.write_text(before)
    assert "* **Owner:** The | birds team" in text and ModelCard(text).data.license == "apache-2.0"
    page = (root / "card.html").read_text()
    assert page.startswith("<!doctype html>") and "<td>log_loss</td>" in page
    glue("report", cwd=root)
    assert 'href="card.html">Model card</a>' in (root / "reports/index.html").read_text()
    linked = (root / "reports/card.html").read_text()
    for text in (page, linked):
        levels = [int(level) for level in re.findall(r"<h(\d)>", text)]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))  # none is left out
        assert "<th>" not in text and text.count("<th scope=") > 10 and not re.search(r"<th[^>]*></th>", text)
        assert text.count("<table>") == text.count('class="scroll" tabindex="0" role="region" aria-label="') > 2
        assert '<html lang="en">' in text and "<title>p: model card of v1</title>" in text and "<script" not in text


def test_what_is_done_by_hand_in_mlflow_is_found(history: dict[str, Any], glue: Glue) -> None:
    """As on MLflow's page: an alias moved, the record of a decision replaced."""
    import mlflow

    root = history["root"]
    store = f"sqlite:///{root / 'mlflow.db'}"
    client = mlflow.MlflowClient(store, store)
    whole = glue("audit", cwd=root).stdout
    assert "champion none -> v1, promote by ada@example.org (evidence " in whole and "the chain is intact" in whole
    client.set_registered_model_alias("p", "champion", "2")
    said = glue("audit", cwd=root, code=1).stdout
    assert "wrong: alias champion is at v2, but has no entry for it: it was moved outside glue" in said
    client.set_registered_model_alias("p", "champion", "1")
    (key,) = (key for key in client.get_model_version("p", "1").tags if key.startswith("glue.verdict."))
    before = client.get_model_version("p", "1").tags[key]
    client.set_model_version_tag("p", "1", key, before.replace('"alias": "champion"', '"alias": "champion", "x": 1'))
    said = glue("audit", cwd=root, code=1).stdout
    assert "wrong: entry 1: the decision " in said
    client.set_model_version_tag("p", "1", key, "[]")
    assert f"the registry's tag {key} is not a decision" in glue("lineage", "1", cwd=root, code=4).stderr
    client.set_model_version_tag("p", "1", key, before)
    run = client.get_model_version("p", "1").run_id
    place = mlflow.artifacts.download_artifacts(run_id=run, artifact_path="promotion.json", tracking_uri=store)
    kept = json.loads(Path(place).read_text())
    changed = [{**kept[0], "conditions": [{**kept[0]["conditions"][0], "holds": False}]}]
    for text in (json.dumps(changed), "no JSON"):
        client.log_text(run, text, "promotion.json")
        said = glue("audit", cwd=root, code=1).stdout
        assert "wrong: entry 1: the decision " in said and "its part of promotion.json" in said
    client.log_text(run, json.dumps(kept), "promotion.json")
    assert glue("audit", cwd=root).stdout == whole


def test_a_version_without_a_record_says_so(history: dict[str, Any], glue: Glue) -> None:
    done = glue("reproduce", "9", cwd=history["root"], code=2)
    assert "p has no such version" in done.stderr


def test_a_prediction_leads_back_to_the_raw_file(history: dict[str, Any], glue: Glue) -> None:
    """From the answer's request id: the row as it was logged, its version, and the raw table's hash in DVC's cache."""
    root = history["root"]
    row = row_of(root) | {"bill_length_mm": 51.25}
    with serving(root) as (url, _):
        status, answer = ask(url, body={"rows": [row]})
        assert status == 200
    request = answer["request_id"]
    until(lambda: list((root / "data/predictions").rglob("*.parquet")))  # what waits is shipped at the end
    found = json.loads(glue("lineage", "--request", request, "--json", cwd=root).stdout)
    assert found["prediction"]["bill_length_mm"] == 51.25
    assert found["prediction"]["prediction"] == answer["predictions"][0]["prediction"]
    assert found["version"] == 1
    md5 = found["provenance"]["data"][0]["md5"]
    assert (root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).is_file()
    text = glue("lineage", "--request", request, cwd=root).stdout
    assert text.startswith(f"request {request}, row 0, answered ") and "bill_length_mm = 51.25" in text and md5 in text
    done = glue("lineage", "--request", request, "--row", "1", cwd=root, code=2)
    assert f"--row 1: request {request} has one row, counted from 0" in done.stderr
    done = glue("lineage", "2", "--request", request, cwd=root, code=2)
    assert f"version 2: request {request} was answered by v1" in done.stderr
    done = glue("lineage", "--request", "nobody-1", cwd=root, code=4)
    assert "has no request 'nobody-1'" in done.stderr


def test_without_git_a_version_is_made_and_its_code_is_not_known(
    tmp_path: Path, glue: Glue, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{Path(sys.executable).parent}")
    root = on_penguins(tmp_path, "p", glue, empty_store)
    glue("run", cwd=root)
    assert lineage(glue, root, 1)["provenance"]["code"]["tree"] == ""
    assert "1 entry, and the chain is intact" in glue("audit", cwd=root).stdout
    assert "git was not installed at the time" in glue("reproduce", "1", cwd=root, code=4).stderr


# `later` changes the project of `history`: what is above must come before
def test_the_monitor_and_a_job_make_versions_that_a_fresh_clone_makes_again(later: dict[str, Any], glue: Glue) -> None:
    """The clone has neither DVC's cache nor artifacts: what git has, the remote, and the registry elsewhere."""
    clone = later["clone"]
    made = {version: lineage(glue, clone, version)["provenance"] for version in (4, 5)}
    assert made[4]["command"].startswith("glue monitor") and made[4]["code"]["dirty"]
    assert made[4]["data"][0]["rows"] == 2 * 314 == 2 * made[5]["data"][0]["rows"] / 2
    assert made[5]["actor"]["ci"] == "octo" and made[5]["actor"]["run"] == "42" and not made[5]["code"]["dirty"]
    assert not (clone / ".dvc/cache").exists() and not (clone / "data/raw/penguins.csv").exists()
    done = glue("reproduce", "4", "--level", "bytes", cwd=clone)
    assert done.stdout.splitlines()[-1] == "p v4 is reproduced: bytes" and "differs" not in done.stdout
    assert git(clone, "status", "--porcelain") == "" and not (clone / ".dvc/cache/files").exists()


@pytest.mark.long
@pytest.mark.parametrize("place", ["root", "clone"])
@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_every_version_is_made_again_anywhere(later: dict[str, Any], glue: Glue, version: int, place: str) -> None:
    done = glue("reproduce", str(version), "--level", "bytes", cwd=later[place])
    assert "differs" not in done.stdout
