"""`glue report`: the page, of projects in any state, for who sees it and who hears it; and what is never on it."""

from __future__ import annotations

import csv
import json
import random
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.conftest import Glue

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """The elements of a page with their attributes, the text, and that every one is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.html = path, path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(self.html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}>"
        self.text += " " if tag in ("td", "th", "text", "p", "li") else ""

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        """The attributes of each element of these kinds."""
        return [attributes for tag, attributes in self.elements if tag in tags]

    def said(self) -> str:
        """The text with one space between words."""
        return " ".join(self.text.split())


def table(path: Path, rows: int, seed: int, shift: float = 0.0) -> None:
    """A table whose names and values are markup."""
    draw = random.Random(seed)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow([SCRIPT, IMAGE, "plain", "y"])
        for _ in range(rows):
            value = draw.gauss(shift, 1)
            out.writerow(
                [value, draw.choice([SCRIPT, IMAGE, "b"]), draw.gauss(0, 1), int(value + draw.gauss(0, 1) > 0)]
            )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, glue: Glue, empty_store: Path) -> Path:
    """A project that was run and monitored."""
    folder = tmp_path_factory.mktemp("page")
    table(folder / "rows.csv", 400, 0)
    table(folder / "drifted.csv", 300, 1, shift=3)
    glue("init", "project", "--data", "rows.csv", "--target", "y", cwd=folder)
    root = folder / "project"
    shutil.copy(empty_store, root)
    (root / "model.py").unlink(missing_ok=True)
    config = (root / "glue.yaml").read_text()
    start, end = config.index("train:"), config.index("evaluate:")
    train = "train: {estimator: sklearn.linear_model.LogisticRegression}\n\n"
    (root / "glue.yaml").write_text(config[:start] + train + config[end:])
    glue("run", cwd=root)
    glue("monitor", "--current", "../drifted.csv", "--no-page", cwd=root, code=1)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "project", symlinks=True))


def report(glue: Glue, root: Path, *words: str) -> Page:
    glue("report", *words, cwd=root)
    return Page(root / "reports/index.html")


def test_the_page(made: Path, glue: Glue) -> None:
    page = report(glue, made)
    assert len(page.html) < 3_000_000
    said = page.said()
    for text in (
        "project v1 is champion",
        "roc_auc",
        "95 % interval",
        "Drift in 300 rows",
        "became champion",
        "mlflow ui",
    ):
        assert text in said
    assert said.count("executed") >= 9 and "first run" in said
    # semantic, and told to who does not see it
    assert page.of("html")[0]["lang"] == "en" and len(page.of("h1")) == len(page.of("main")) == 1
    levels = [int(tag[1]) for tag, _ in page.elements if tag in ("h1", "h2", "h3", "h4")]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(page.of("table")) == len(page.of("caption")) > 6
    assert all(th["scope"] in ("row", "col") for th in page.of("th"))
    assert len(page.of("img")) == 4 and all(len(img["alt"] or "") > 30 for img in page.of("img"))
    for svg in page.of("svg"):
        assert svg.get("aria-hidden") == "true" or (svg["role"] == "img" and len(svg["aria-label"] or "") > 20)
    assert all(one["tabindex"] == "0" and one["aria-label"] for one in page.of("div") if one.get("role") == "region")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for one in page.of("section"):
        assert one["aria-labelledby"] in ids
    for link in page.of("a"):
        target = link["href"] or ""
        assert target[1:] in ids if target.startswith("#") else (page.path.parent / unquote(target)).is_file()


def test_nothing_is_run_or_asked_for(made: Path, glue: Glue) -> None:
    page = report(glue, made)
    assert SCRIPT in page.text and IMAGE in page.text
    assert not page.of("script", "link", "iframe", "object", "base", "form")
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
    assert all((img["src"] or "").startswith("data:image/svg+xml;base64,") for img in page.of("img"))
    assert "url(" not in page.html and "@import" not in page.html and "http" not in page.html.replace("http-equiv", "")
    policy = next(m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none'")
    assert str(made) not in page.html


def test_a_refused_model(root: Path, glue: Glue) -> None:
    glue("run", "--set", "evaluate.thresholds.roc_auc={min: 0.999}", cwd=root, code=1)
    said = report(glue, root).said()
    assert "project v2 was refused. v1 stays champion." in said and "misses threshold min 0.999" in said
    assert "MISSED" in said and "promote refused" in said and "ingest unchanged" in said


def test_a_run_that_failed_and_one_that_is_stale(root: Path, glue: Glue) -> None:
    text = (root / "glue.yaml").read_text()
    (root / "glue.yaml").write_text(text.replace("{estimator: sk", "{params: {C: 0.5}, estimator: sk"))
    said = report(glue, root).said()
    assert "train out of date" in said and "train.params" in said and "Since then" in said
    expected = "validation:\n  rows:\n    - expect_column_values_to_be_between: {column: plain, min_value: 100}\n"
    start, end = text.index("validation:"), text.index("features:")
    (root / "glue.yaml").write_text(text[:start] + expected + text[end:])
    glue("run", cwd=root, code=1)
    said = report(glue, root).said()
    assert "The last run failed at validate" in said and "400 of 400 rows unexpected" in said
    assert "0 of 1 expectations met" in said


def test_without_a_registry_git_or_a_whole_history(root: Path, glue: Glue) -> None:
    shutil.rmtree(root / ".git", ignore_errors=True)
    (root / "mlflow.db").unlink()
    (root / "monitoring/latest.json").write_text("{")
    done = glue("report", cwd=root)
    said = Page(root / "reports/index.html").said()
    assert "No version of project is registered" in said and "outside git" in said
    assert "monitoring cannot be read" in said and "monitoring cannot be read" in done.stderr
    shutil.rmtree(root / "monitoring")
    secret = "tracking: {uri: 'http://user:S3CRET@127.0.0.1:9'}\n"
    (root / "glue.yaml").write_text((root / "glue.yaml").read_text() + secret)
    page = report(glue, root, "--output", "reports")  # a folder
    assert "The registry could not be read" in page.said() and "not monitored yet" in page.said()
    assert "S3CRET" not in page.html and "S3CRET" not in done.stderr


def test_nothing_has_run_yet(penguins: Path, glue: Glue) -> None:
    done = glue("report", cwd=penguins, code=2)
    assert done.stderr.splitlines() == [
        "error: nothing has run in project yet, so there is nothing to report",
        "hint: glue run",
    ]
    assert not (penguins / "reports").exists()


def test_elsewhere_and_as_json(made: Path, tmp_path: Path, glue: Glue) -> None:
    glue("report", "--output", str(tmp_path / "page.html"), cwd=made)
    page = Page(tmp_path / "page.html")
    assert all((link["href"] or "").startswith("#") for link in page.of("a"))  # no path of this machine
    told = json.loads(glue("report", "--json", cwd=made).stdout)
    assert told["monitoring"]["latest"]["verdict"] == "drift" and told["pipeline"]["stages"][0]["name"] == "ingest"
