"""The pages of a project, made of facts by hand: every section of them can be rendered."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from mlops_glue import files, layout
from mlops_glue.pipeline.fingerprint import fingerprint
from mlops_glue.report.facts import Expectation, Metric, Registry, Slices, Version
from mlops_glue.report.pipeline import Pipeline, Stage
from mlops_glue.report.project import DataTable, Log, Monitoring, Project, delivery_of
from mlops_glue.report.site import Source, page
from mlops_glue.report.success import Measure
from tests.support.configs import GOOD, load

NOW = "2024-05-06T07:08:09+00:00"
MARKUP = "<script>alert(1)</script>"
EVALUATION: dict[str, Any] = {
    "target": "y",
    "task": "binary",
    "model": "LogisticRegression",
    "estimator": "sklearn.linear_model.LogisticRegression",
    "rows": 100,
    "train_rows": 400,
    "split": "time",
    "intervals": {"rows": 50, "samples": 100},
    "importances": [{"column": MARKUP, "metric": "roc_auc", "mean": 0.2, "std": 0.01, "rows": 50}],
    "metrics": {"roc_auc": {"value": 0.91, "low": 0.88, "high": 0.94, "trivial": 0.5}},
    "thresholds": [{"metric": "roc_auc", "value": 0.91, "min": 0.8, "max": None, "met": True}],
    "slices": [
        {"column": "city", "value": None, "rows": 10, "metrics": {"roc_auc": 0.8, "f1": None}, "values": 60},
    ],
    "warnings": [f"column {MARKUP}"],
}
COLUMN = {
    "drifted": True,
    "why": "distance",
    "distance": 0.5,
    "threshold": 0.2,
    "weight": 0.6,
    "null_share": 0.0,
    "reference_null_share": None,
}
LATEST: dict[str, Any] = {
    "verdict": "drift",
    "rows": 300,
    "since": NOW,
    "until": NOW,
    "time": NOW,
    "problems": ["v1 has no summaries"],
    "performance": {"metric": "roc_auc", "value": 0.7, "low": 0.6, "high": 0.8, "estimated": False, "labelled": 25},
}
RUN = {
    "time": NOW,
    "verdict": "drift",
    "rows": 300,
    "drift_share": 1.0,
    "metric": "roc_auc",
    "value": 0.7,
    "low": 0.6,
    "high": 0.8,
    "estimated": True,
}
VERSION = Version(2, NOW, ["champion"], {"roc_auc": 0.9}, None, "a" * 40, True, "onnx")
PROJECT = Project(
    project="p",
    model="m",
    target="y",
    made=NOW,
    glue="0.1.0",
    env=None,
    commit="a" * 40,
    dirty=True,
    pipeline=Pipeline(NOW, None, None, [Stage("train", "changed", 75.0, ["params"])], ["train"], ["evaluate", "train"]),
    data=[
        DataTable(
            "t",
            "data/raw/t.csv",
            500,
            3,
            "d41d8cd98f00b204",
            [
                Expectation(False, "FAILED", "critical", "a", "values to not be null", "mostly 1", "3 of 500"),
                Expectation(True, "met", "critical", "b", "to exist", "", ""),
            ],
        )
    ],
    evaluation=EVALUATION,
    metrics=[Metric("roc_auc", 0.91, 0.88, 0.94, 0.5, "min 0.8", True, 0.9, None, None, higher_is_better=True)],
    slices=[Slices("city", [{"value": None, "rows": 10, "metrics": {"roc_auc": 0.8, "f1": None}}], 60)],
    delivery={"version": 3, "champion": 2, "refused": ["roc_auc 0.7 misses threshold min 0.8"], "comparison": None},
    registry=Registry(None, [VERSION], 1, [{"version": 2, "how": "promote", "when": NOW}], VERSION, None),
    main="roc_auc",
    monitoring=Monitoring(
        True, None, LATEST, [RUN], [{"version": 2, "rows": 300, "columns": [{**COLUMN, "name": "a", "before": 0.1}]}]
    ),
    log=Log("s3://bucket/log", NOW, 3),
    measures=[Measure("lead_time", "lead time", None, "s", "n/a: no commit")],
)
OF_FACTS = ("index", "data", "validation", "evaluation", "monitoring")


def htmls(project: Project, folder: Path) -> list[str]:
    source = Source(load(folder, GOOD), folder, project)
    return [page(name, source, []) for name in OF_FACTS]


def text_of(project: Project, folder: Path) -> str:
    """What the pages say, with one space between words."""
    words: list[str] = []
    parser = HTMLParser()
    parser.handle_data = words.append  # type: ignore[method-assign]
    parser.feed("".join(htmls(project, folder)))
    return " ".join(" ".join(words).split())


def test_every_section_of_a_project_that_was_monitored(tmp_path: Path) -> None:
    text = text_of(PROJECT, tmp_path)
    for part in (
        "m v3 was refused. v2 remains the champion.",
        "train out of date 1 min params",
        "1 of 2 expectations met, 1 table",
        "FAILED a values to not be null mostly 1 3 of 500",
        "roc_auc 0.9100 0.8800 to 0.9400 0.5000 0.9000 min 0.8 met",
        "By city, the 1 values with the most rows of 60 city Rows roc_auc f1 null 10 0.8000 n/a",
        f"warning column {MARKUP}",
        "m v3, not champion",
        "lead time n/a: no commit",
        "Predictions are logged to s3://bucket/log ; its newest file is from 2024-05-06 07:08 UTC . 3 files on this",
        f"{MARKUP} 0.2000 0.0100",
        "v2 champion 0.9000 2024-05-06 07:08 aaaaaaaa + changes onnx",
        "2024-05-06 07:08 drift 300 1.0000 roc_auc (estimated) 0.7000 0.6000 to 0.8000",
        "a yes: distance 0.5000 0.2000 0.1000 60.0% 0.0% –",
        "roc_auc 0.7000 (0.6000 to 0.8000), from 25 labels",
    ):
        assert part in text, part
    assert all(MARKUP not in html for html in htmls(PROJECT, tmp_path))


def test_a_project_of_which_little_is_known(tmp_path: Path) -> None:
    empty = replace(
        PROJECT,
        commit=None,
        pipeline=Pipeline(None, None, "not known: no DVC", [], [], []),
        data=[DataTable("t", "data/raw/t.csv", None, None, "", None)],
        evaluation=None,
        metrics=[],
        slices=[],
        delivery=None,
        registry=Registry("MLflow does not answer", server="${MLFLOW_TRACKING_URI}"),
        main=None,
        monitoring=Monitoring(False, "monitoring cannot be read: no JSON"),
    )
    text = text_of(empty, tmp_path)
    for part in (
        "No version is registered yet.",
        "t has not been validated yet.",
        "The columns have not been read yet.",
        "No model has been evaluated yet.",
        "The registry could not be read: MLflow does not answer",
        "at ${MLFLOW_TRACKING_URI} : model",
        "monitoring cannot be read: no JSON",
        "Not in a git repository, or no commit yet",
    ):
        assert part in text, part
    assert empty.problems() == [
        "registry: MLflow does not answer",
        "monitoring: monitoring cannot be read: no JSON",
    ]


def test_a_delivery_of_another_result_is_not_that_of_the_pages(tmp_path: Path) -> None:
    """After `git checkout` and `dvc checkout`, the metrics on the pages are those of another version."""
    config = load(tmp_path, GOOD)
    files.write_text(tmp_path / "dvc.lock", "stages: {split: {outs: [{path: a, md5: one}]}}\n")
    made = {"fingerprint": fingerprint(tmp_path), "model": config.model_name, "env": None, "version": 3, "champion": 2}
    files.write_json(tmp_path / layout.DELIVERY, made)
    assert (found := delivery_of(config, tmp_path, PROJECT.registry)) is not None and found["version"] == 3
    files.write_text(tmp_path / "dvc.lock", "stages: {split: {outs: [{path: a, md5: two}]}}\n")
    assert delivery_of(config, tmp_path, PROJECT.registry) is None
    told = text_of(replace(PROJECT, delivery=None), tmp_path)
    assert "m v2 is the champion. No run in this folder has delivered the current result." in told
    told = text_of(replace(PROJECT, delivery=None, registry=replace(PROJECT.registry, champion=None)), tmp_path)
    assert "There is no champion, and no run in this folder has delivered the current result." in told


def test_facts_are_built_ins_for_json() -> None:
    found = asdict(PROJECT)
    assert found["pipeline"]["stages"][0]["outcome"] == "changed"
    assert found["registry"]["champion"]["version"] == 2
    assert found["data"][0]["expectations"][0]["met"] is False


def test_what_the_monitor_found_is_drawn_over_time(tmp_path: Path) -> None:
    version = {"threshold": 0.3, "columns": {"a": COLUMN}, "version": 2}
    runs = [RUN | {"time": f"2024-05-{day:02d}T07:08:09+00:00", "columns": {"a": day / 10}} for day in (6, 5)]
    runs.append(runs[0] | {"time": NOW, "columns": {}, "drift_share": None, "value": None, "low": None, "high": None})
    monitoring = replace(PROJECT.monitoring, latest=LATEST | {"versions": [version]}, runs=runs)
    source = Source(load(tmp_path, GOOD), tmp_path, replace(PROJECT, monitoring=monitoring), "evidently")
    html = page("monitoring", source, [])
    drawn = [b64decode(part.partition('"')[0]).decode() for part in html.split("data:image/svg+xml;base64,")[1:]]
    assert len(drawn) == 3
    for plot, words in zip(
        drawn,
        (["alert above 30%", "100%", "time (UTC)"], ["roc_auc, with its 95 % interval"], ["drift above 1"]),
        strict=True,
    ):
        assert all(word in plot for word in words), words
    assert '<a href="evidently">Evidently' in html
    one_run = replace(PROJECT, monitoring=replace(monitoring, runs=runs[:1]))
    assert "data:image" not in page("monitoring", Source(source.config, tmp_path, one_run), [])
