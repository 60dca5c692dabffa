"""`glue report`: the pages, of projects in any state, for who sees it and who hears it; and what is never on it."""

from __future__ import annotations

import csv
import json
import random
import re
import shutil
import subprocess
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest

from mlops_glue import files, layout
from mlops_glue.assessment.scan import collect
from mlops_glue.monitoring import history
from mlops_glue.pages import NAMES
from tests.support.project import Glue

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'
VOID = {"meta", "link", "br", "img", "hr", "input"}
ADDRESSES = {f"{name}.html" for name in NAMES}


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


@pytest.fixture(scope="module")
def pages(made: Path, glue: Glue) -> dict[str, Page]:
    """Its pages by name; the comparison was made apart."""
    (made / "reports").mkdir()
    glue("compare", "1", layout.METRICS, "--output", "reports/compare.html", cwd=made)
    report(glue, made)
    glue("compare", "1", layout.METRICS, "--output", "reports/compare.html", cwd=made)  # with links to the others
    return {path.stem: Page(path) for path in (made / "reports").iterdir()}


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "project", symlinks=True))


def report(glue: Glue, root: Path, *words: str) -> Page:
    """Write the pages; the text of the first is that of all."""
    glue("report", *words, cwd=root)
    page = Page(root / "reports/index.html")
    for name in ("data", "validation", "evaluation", "monitoring"):
        page.text += Page(root / f"reports/{name}.html").text
    return page


def test_the_pages_say_what_is_known_and_of_what(pages: dict[str, Page]) -> None:
    said = {name: page.said() for name, page in pages.items()}
    for name, text in (
        ("index", "project v1 is the champion."),
        ("index", "became champion"),
        ("index", "mlflow ui"),
        ("data", "y is a binary target with 2 classes. 400 rows have a target."),
        ("data", "plain number 0.0%"),
        ("validation", "Expectations on rows"),
        ("evaluation", "95 % interval"),
        ("compare", "v1, artifacts/evaluate/metrics.json; v1 is the base"),
        ("monitoring", "Drift in 300 rows"),
        ("monitoring", "project v1"),
        ("lineage", "project v1, champion"),
        ("lineage", "data/raw/rows.csv: 400 rows"),
        ("card", "Intended use"),
    ):
        assert text in said[name], (name, text)
    for name, text in said.items():
        assert "written 20" in text and text.startswith("project: "), name
        assert "git commit" in text or name == "compare", name
    assert set(pages) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_whole_and_told_to_who_does_not_see_it(name: str, pages: dict[str, Page]) -> None:
    page = pages[name]
    assert len(page.html) < 3_000_000
    assert page.of("html")[0]["lang"] == "en" and len(page.of("h1")) == len(page.of("main")) == 1
    levels = [int(tag[1]) for tag, _ in page.elements if tag in ("h1", "h2", "h3", "h4")]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(th["scope"] in ("row", "col") for th in page.of("th"))
    assert all(len(img["alt"] or "") > 30 for img in page.of("img"))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.of("svg"))
    assert all(one["tabindex"] == "0" and one["aria-label"] for one in page.of("div") if one.get("role") == "region")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for one in page.of("section"):
        assert one.get("aria-labelledby", ids[0]) in ids
    (here,) = [link for link in page.of("a") if link.get("aria-current") == "page"]
    assert here["href"] == f"{name}.html" and len([a for a in page.of("a") if a["href"] in ADDRESSES]) >= len(NAMES)
    for link in page.of("a"):
        target = link["href"] or ""
        assert target[1:] in ids if target.startswith("#") else (page.path.parent / unquote(target)).is_file()


def test_charts_are_where_they_belong(pages: dict[str, Page]) -> None:
    assert len(pages["evaluation"].of("img")) == 7
    assert len(pages["data"].of("svg")) == 2 and "Graph" not in pages["data"].html
    assert "validate reads ingest" in (pages["index"].of("svg")[0]["aria-label"] or "")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_run_or_asked_for(name: str, made: Path, pages: dict[str, Page]) -> None:
    page = pages[name]
    if name in ("data", "evaluation", "monitoring", "card"):
        assert SCRIPT in page.text
    assert not page.of("script", "link", "iframe", "object", "base", "form")
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
    assert all((img["src"] or "").startswith("data:image/svg+xml;base64,") for img in page.of("img"))
    assert "url(" not in page.html and "@import" not in page.html and "http" not in page.html.replace("http-equiv", "")
    policy = next(m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none'")
    assert str(made) not in page.html


def test_a_file_of_others_is_not_replaced(root: Path, glue: Glue) -> None:
    other = root / "mine"
    other.mkdir()
    (other / "data.html").write_text("<p>mine</p>")
    done = glue("report", "--output", "mine", cwd=root, code=2)
    assert done.stderr.splitlines() == [
        "error: mine/data.html was not written by glue, so it is not overwritten",
        "hint: glue report --output a_new_folder",
    ]
    assert [path.name for path in other.iterdir()] == ["data.html"]


def test_a_refused_model_and_a_page_elsewhere(root: Path, tmp_path: Path, glue: Glue) -> None:
    glue("run", "--set", "evaluate.thresholds.roc_auc={min: 0.999}", cwd=root, code=1)
    glue("report", "--output", str(tmp_path / "page.html"), cwd=root)
    page = Page(tmp_path / "page.html")
    said = page.said()
    assert "project v2 was refused. v1 remains the champion." in said and "misses threshold min 0.999" in said
    assert "MISSED" in said and "promote refused" in said and "ingest unchanged" in said
    assert all("/" not in (link["href"] or "") for link in page.of("a"))  # no path of this machine


def test_what_is_out_of_date_and_performance_over_time(root: Path, glue: Glue) -> None:
    text = (root / "glue.yaml").read_text()
    (root / "glue.yaml").write_text(text.replace("{estimator: sk", "{params: {C: 0.5}, estimator: sk"))
    told = files.read_json(root / layout.LATEST)
    told["performance"] = {
        "metric": "roc_auc",
        "value": 0.7,
        "low": 0.6,
        "high": 0.8,
        "estimated": False,
        "labelled": 25,
    }
    for day in (1, 2):
        told["time"] = told["since"] = told["until"] = datetime(2030, 1, day, tzinfo=UTC)
        history.keep(root, told)
        told["performance"] |= {"estimated": True, "value": 0.65, "holdout": {"value": 0.75}}
    page = report(glue, root)
    said = page.said()
    assert "train out of date" in said and "train.params" in said and "Now out of date: train;" in said
    assert "These metrics are from an earlier run: train is out of date" in said
    runs = said[said.index("Monitoring runs, newest first") :]
    estimated = "2030-01-02 00:00 drift 300 1.0000 roc_auc (estimated) 0.6500 0.6000 to 0.8000"
    measured = "2030-01-01 00:00 drift 300 1.0000 roc_auc 0.7000 0.6000 to 0.8000"
    assert runs.index(estimated) < runs.index(measured)
    assert "estimated from the model's own probabilities" in said and "on the holdout: 0.7500" in said


def test_a_run_that_failed(root: Path, glue: Glue) -> None:
    text = (root / "glue.yaml").read_text()
    expected = "validation:\n  rows:\n    - expect_column_values_to_be_between: {column: plain, min_value: 100}\n"
    start, end = text.index("validation:"), text.index("features:")
    (root / "glue.yaml").write_text(text[:start] + expected + text[end:])
    glue("run", cwd=root, code=1)
    said = report(glue, root).said()
    assert "The last run failed at validate" in said and "400 of 400 rows unexpected" in said
    assert "0 of 1 expectations met" in said and "These metrics are from an earlier run" in said
    told = json.loads(glue("report", "--json", cwd=root).stdout)
    assert told["pipeline"]["stale"][0] == "validate" and "evaluate" in told["pipeline"]["behind"]
    outcomes = {one["name"]: one["outcome"] for one in told["pipeline"]["stages"]}
    assert outcomes["split"] == outcomes["train"] == "may be out of date" and outcomes["ingest"] == "unchanged"
    status = glue("status", cwd=root).stdout
    assert "train        unchanged; would run if the output of validate or featurize changes" in status
    assert "the last run failed at validate: rows: " in status


def test_without_a_registry_git_or_a_whole_history(root: Path, glue: Glue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    shutil.rmtree(root / ".git", ignore_errors=True)
    (root / "monitoring/latest.json").write_text("{")
    with (root / "glue.yaml").open("a") as file:
        file.write("tracking: {uri: 'http://user:S3CRET@127.0.0.1:9'}\n")
    (root / "reports").mkdir(exist_ok=True)
    done = glue("report", "--output", "reports", cwd=root)  # a folder
    page = Page(root / "reports/index.html")
    assert "The registry could not be read" in page.said() and "Not in a git repository" in page.said()
    assert "monitoring cannot be read" in page.said() and "monitoring cannot be read" in done.stderr
    assert "S3CRET" not in page.html and "S3CRET" not in done.stderr


def test_a_registry_that_is_lost_and_a_clone(root: Path, glue: Glue) -> None:
    (root / layout.TRACKING_DB).rename(root / "away.db")
    said = report(glue, root).said()
    assert "project v1 was the champion after the last run." in said and "Champion not known" in said
    for name in ("lineage", "card"):
        said = Page(root / f"reports/{name}.html").said()
        assert "project: the champion is unknown" in said and "mlflow.db does not exist glue doctor" in said
    (root / "away.db").rename(root / layout.TRACKING_DB)
    (root / layout.DELIVERY).unlink()
    assert (
        "project v1 is the champion. No run in this folder has delivered the current result."
        in report(glue, root).said()
    )


def test_nothing_has_run_yet(penguins: Path, glue: Glue) -> None:
    done = glue("report", cwd=penguins, code=2)
    assert done.stderr.splitlines() == [
        "error: nothing has run in project yet, so there is nothing to report",
        "hint: glue run",
    ]
    assert not (penguins / "reports").exists()


def test_the_colours_can_be_read() -> None:
    css = (layout.templates() / "report/style.css").read_text()
    light, dark = (dict(re.findall(r"--(\w+): (#\w+)", part)) for part in css.split("@media")[:2])
    for colours in (light, dark):
        for text in ("ink", "soft", "accent", "good", "bad", "warn"):
            for ground in ("paper", "card"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)  # WCAG 2.2, 1.4.3


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two colours, #rgb or #rrggbb."""
    bright = sorted(map(luminance, (one, other)))
    return (bright[1] + 0.05) / (bright[0] + 0.05)


def luminance(colour: str) -> float:
    """WCAG's relative luminance."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


CACHES = (".glue/serve", ".dvc/tmp", ".git/objects", "__pycache__", ".glue/lock")  # of what git ignores
READS = [
    ("status",),
    ("why", "train"),
    ("doctor",),
    ("report", "--json"),
    ("report", "--pr", "--base", "HEAD"),
    ("serve", "--check"),
    ("monitor", "--reference", "../rows.csv", "--current", "../drifted.csv", "--no-page"),
    ("predict", "../drifted.csv", "../out.csv"),
    ("promote", "1"),  # it is champion
    ("promote",),
    ("rollback",),  # there is none before
    ("ci", "--check"),
    ("upgrade", "--check"),
    ("upgrade", "--dry-run"),
    ("init", ".", "--data", "../rows.csv", "--target", "y", "--dry-run"),
    ("adopt", "--dry-run"),
    ("assess",),
    ("run", "--help"),
]


ALONE = [words for words in READS if words[0] in ("status", "doctor", "serve", "predict", "promote")]


def everything(root: Path) -> dict[str, object]:
    """Each file and folder below: mode, time, and bytes or what a link points to; and git's index."""
    out: dict[str, object] = {"index": git(root, "ls-files", "--stage")} if (root / ".git").is_dir() else {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if not any(f"/{cache}" in f"/{name}/" for cache in CACHES):
            about = path.lstat()
            held = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
            out[name] = (about.st_mode, about.st_mtime_ns if path.is_file() else 0, held)
    return out


def git(root: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True, text=True).stdout


def test_assess_finds_what_was_done_and_no_more(made: Path) -> None:
    told = collect(made).answers()
    done = ("training", "pipeline", "data_versioning", "data_validation", "evaluation", "gate", "tracking", "registry")
    assert {told[name].answer for name in (*done, "promotion", "drift")} == {"found"}
    assert told["endpoint"].answer == "hint"  # of glue.yaml: it never served
    assert {told[name].answer for name in ("ci", "alerts", "retraining")} == {"not_found"}


@pytest.mark.parametrize("kind", ["whole", "of another glue", "without a registry", "without a pipeline"])
def test_commands_that_read_write_nothing(kind: str, root: Path, made: Path, glue: Glue) -> None:
    shutil.copy(made.parent / "rows.csv", root.parent)
    shutil.copy(made.parent / "drifted.csv", root.parent)
    if not (root / ".git").is_dir():
        git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "all")
    if kind == "of another glue":  # or of another glue.yaml: the next run defines the stages anew
        stages = files.read_yaml(root / "dvc.yaml")
        stages["stages"]["evaluate"].pop("params")
        (root / "dvc.yaml").write_text(json.dumps(stages))
    if kind == "without a registry":
        (root / "mlflow.db").unlink()
    if kind == "without a pipeline":
        for name in ("dvc.yaml", "dvc.lock", "mlflow.db"):
            (root / name).unlink()
        (root / "glue.yaml").write_text("glue: 1\nproject: project\n")
    glue("serve", "--check", cwd=root, code=None)  # in a project that was moved MLflow's places follow
    before, changed = everything(root), {}
    for words in ALONE if kind.startswith("without") else READS:
        done = glue(*words, cwd=root, code=None)
        assert done.returncode in (0, 1, 2, 4) and "a bug in glue" not in done.stderr, (words, done.stderr)
        after = everything(root)
        if after != before:
            changed[words] = sorted(p for p in {*before, *after} if before.get(p) != after.get(p))
            before = after
    assert not changed
