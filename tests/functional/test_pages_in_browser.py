"""Every page in a real Chromium: what axe-core finds, phones, the dark, paper; and nothing is asked of the network."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest

from mlops_glue import layout
from mlops_glue.pages import NAMES
from tests.support.browser import Browser, browser, needs_chromium
from tests.support.project import Glue
from tests.support.server import ask, free_port, until

pytestmark = needs_chromium

LONG, RIGHT_TO_LEFT = "a_name_that_a_join_of_three_tables_has_made_and_nobody_has_shortened_2024", "שם_לקוח"
CLASSES = ["🍎", "<b>bold</b>", "a class whose label explains all that there is to know of it", "مرحبا", "x", "0"]
WIDTHS, PAPER = (360, 768, 1280), 717  # pixels; the last are A4's, within Chromium's margins
ADDRESSES = "[...document.links].map(link => link.href)"
OVER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def rows(number: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """A table whose names are long, run from right to left, or are markup, and whose numbers are tiny or huge."""
    draw = random.Random(seed)
    truth = [draw.randrange(len(CLASSES)) for _ in range(number)]
    made = {
        LONG: [value + draw.gauss(shift, 0.5) for value in truth],
        RIGHT_TO_LEFT: [draw.gauss(0, 1) * 1e-9 for _ in truth],
        "huge": [draw.gauss(0, 1) * 1e15 for _ in truth],
        "<i>town</i>": [draw.choice(["Ulm", "x" * 80, "עברית"]) for _ in truth],
        "nothing": [None for _ in truth],
        "y": [CLASSES[value] for value in truth],
    }
    return pd.DataFrame(made)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, glue: Glue, empty_store: Path) -> Path:
    """A project with a champion, a version that was refused, drift, and every page."""
    folder = tmp_path_factory.mktemp("browser")
    rows(400, 0).to_csv(folder / "rows.csv", index=False)
    rows(300, 1, shift=3).to_csv(folder / "drifted.csv", index=False)
    glue("init", "project", "--data", "rows.csv", "--target", "y", cwd=folder)
    root = folder / "project"
    shutil.copy(empty_store, root)
    (root / "model.py").unlink()
    text = (root / layout.CONFIG).read_text()
    start, end = text.index("train:"), text.index("evaluate:")
    train = "train: {estimator: sklearn.linear_model.LogisticRegression}\n\n"
    (root / layout.CONFIG).write_text(text[:start] + train + text[end:])
    glue("run", cwd=root)
    glue("run", "--set", "evaluate.thresholds.accuracy={min: 0.9999}", cwd=root, code=1)
    (root / "reports").mkdir()
    glue("monitor", "--current", "../drifted.csv", "--no-page", cwd=root, code=1)
    glue("monitor", "--current", "../drifted.csv", cwd=root, code=1)
    glue("report", cwd=root)
    glue("compare", "1", "2", "--output", "reports/compare.html", cwd=root)
    glue("report", cwd=root)  # its pages lead to the comparison now
    return root


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as made:
        yield made


def seen(tab: Browser, url: str, within: str = "document") -> list[str]:
    """What is wrong with a page, or with a part of it: in light and dark on three screens, and on paper.

    It is loaded once in light and once in dark, on the smallest screen, which then grows.
    """
    wrong = []
    for scheme in ("light", "dark"):
        tab.see(WIDTHS[0], scheme)
        tab.open(url)
        for width in WIDTHS:
            tab.see(width, scheme)
            found = [*tab.axe(within), *tab.said]
            found += [f"{over} pixels too wide"] if (over := tab.value(OVER)) > 0 else []
            wrong += [f"{width} {scheme}: {one}" for one in found]
        wrong += [f"{scheme}: asked for {asked}" for asked in tab.asked if not is_here(asked)]
    tab.see(PAPER, media="print")
    return wrong + ([f"paper: {over} pixels too wide"] if (over := tab.value(OVER)) > 0 else [])


def is_here(address: str) -> bool:
    """Is it of this machine?"""
    parts = urlsplit(address)
    return parts.scheme in ("file", "data") or parts.hostname == "127.0.0.1"


def dead(tab: Browser) -> list[str]:
    """The links of the page that lead to nothing."""
    here = urlsplit(tab.value("location.href")).path
    out = []
    for address in tab.value(ADDRESSES):
        parts = urlsplit(address)
        is_there = parts.scheme == "file" and Path(unquote(parts.path)).is_file()
        if parts.fragment and parts.path == here:
            is_there = tab.value(f"document.getElementById('{parts.fragment}') !== null")
        out += [] if is_there else [address]
    return out


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_for_everybody_and_every_screen(name: str, root: Path, tab: Browser) -> None:
    assert seen(tab, (root / f"reports/{name}.html").as_uri()) == []
    assert dead(tab) == [] and len(tab.value(ADDRESSES)) >= len(NAMES)


@pytest.mark.parametrize("path", ["artifacts/evaluate/report/report.html", "artifacts/validation/report.html"])
def test_so_is_what_a_stage_leaves(path: str, root: Path, tab: Browser) -> None:
    assert seen(tab, (root / path).as_uri()) == []
    assert dead(tab) == []


def test_so_is_what_stands_above_evidentlys_widgets(root: Path, tab: Browser) -> None:
    assert seen(tab, (root / layout.PAGE).as_uri(), within="document.querySelector('header')") == []
    assert dead(tab) == []


def test_a_page_that_is_served_says_what_goes_on_and_breaks_no_policy(root: Path, tab: Browser) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = ["glue", "ui", "--port", str(port)]
    with subprocess.Popen(words, cwd=root, stderr=subprocess.DEVNULL, env={**os.environ}) as process:
        try:
            until(lambda: ask(url, "/live.js")[0] == 200)
            assert seen(tab, url) == []
            until(lambda: "no server answers at" in tab.value("document.getElementById('live').textContent"))
            links = [urlsplit(address) for address in tab.value(ADDRESSES)]
            assert {ask(url, link.path)[0] for link in links} == {200}
            tab.open(f"{url}/evidently")
            assert tab.said == [] and all(map(is_here, tab.asked))
        finally:
            process.terminate()


def test_what_is_wrong_is_found(tmp_path: Path, tab: Browser) -> None:
    (tmp_path / "page.html").write_text(
        "<!doctype html><html><body><img src=http://example.invalid/x.png><a href=no.html style='color: #eee'>there</a>"
        "<div style='width: 2000px'>wide</div><script>console.error('told')</script>"
    )
    wrong = "\n".join(seen(tab, (tmp_path / "page.html").as_uri()))
    for text in ("html-has-lang", "image-alt", "color-contrast", "too wide", "example.invalid", "told", "paper"):
        assert text in wrong, text
    assert [Path(address).name for address in dead(tab)] == ["no.html"]
