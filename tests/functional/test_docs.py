"""The documentation is true: the tutorial runs, every command is documented and has an example in its help."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import shlex
import subprocess
from pathlib import Path

import click
import pandas as pd
import pytest
import yaml

from mlops_glue import config as configs
from mlops_glue import layout
from mlops_glue.adapters import webhook
from mlops_glue.cli import glue as group
from mlops_glue.delivery.fetch import must_exist
from mlops_glue.errors import CheckFailed, GlueError, MissingExtra, UsageError

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
LISTED = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
COMMANDS = {name: command for name, command in group.commands.items() if not command.hidden}


def test_the_tutorial_runs(tmp_path: Path, warm: Path) -> None:
    blocks = re.findall(r"```console\n(.*?)```", TUTORIAL, re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    assert len(lines) > 10
    script = "set -e\n" + "\n".join(f"echo '>>>' {shlex.quote(line)}\n{line}" for line in lines)
    who = {f"GIT_{role}_{what}": "me@x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = {**os.environ, **who, "PATH": f"{warm}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(part.partition("\n")[::2] for part in done.stdout.split(">>> ")[1:])
    assert "fraud_detection_model v1 is champion" in said["glue run"]
    assert re.search(r"materialize . executed .*\(customer_features, transaction_features\)\n", done.stderr)
    assert "refused" in said["glue run --set train.params.max_iter=2 || echo refused"]
    assert "v1 stays champion" in done.stdout
    assert "Running stage" not in said["dvc repro"]
    assert re.search(r"roc_auc +0\.\d+ +0\.\d+ +-0\.\d+", said["dvc metrics diff"])
    assert "commit   git add . && git commit -m 'fraud_detection_model v1'" in done.stdout
    assert done.stdout.rpartition(">>> glue status")[2].count(" unchanged\n") == 7  # in the second clone
    assert "Traceback" not in done.stderr
    _windows_see_only_the_past(pd.read_parquet(tmp_path / "fraud/artifacts/featurize/joined.parquet"))


def _windows_see_only_the_past(table: pd.DataFrame) -> None:
    """What a row is given is how its customer stood after the last transaction before it."""
    for customer, rows in list(table.groupby("customer_id"))[:20]:
        for _, row in rows.iterrows():
            last = rows.event_timestamp[rows.event_timestamp < row.event_timestamp].max()
            age = last - rows.event_timestamp
            week, month = ((age >= pd.Timedelta(0)) & (age <= pd.Timedelta(days=days)) for days in (7, 30))
            count = week.sum() if week.any() else math.nan  # of the first one nothing is known
            assert row.transaction_count_7d == pytest.approx(count, nan_ok=True), customer
            mean = rows.amount[month].mean()
            assert row.average_transaction_amount_30d == pytest.approx(mean, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_documented_and_has_an_example(name: str) -> None:
    command = COMMANDS[name]
    row = next(line for line in LISTED.splitlines() if line.startswith(f"| `glue {name}"))
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:  # what every command takes stands with `glue`
            assert any(word in row for word in option.opts), option.opts
    assert f"\n    glue {name}" in (command.help or "") or f"\nglue {name}" in (command.help or "")


def test_what_every_command_takes_is_documented_once() -> None:
    hidden = {name: [o.opts for o in c.params if getattr(o, "hidden", False)] for name, c in COMMANDS.items()}
    assert all(opts == [["--traceback"]] for opts in hidden.values()), hidden
    assert LISTED.count("`--traceback`") == 1


def test_the_help_of_the_group_names_every_command() -> None:
    text = group.get_help(click.Context(group))
    assert all(re.search(rf"^  {name} ", text, re.MULTILINE) for name in COMMANDS)
    assert not re.search(r"^  stage ", text, re.MULTILINE)  # dvc.yaml calls it, people do not


def test_the_targets_of_make_are_there() -> None:
    for target in ("demo", "test", "test-all", "lint", "docs", "pictures", "bench", "lock", "build", "smoke", "lowest"):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    nav = (ROOT / "docs/site/mkdocs.yml").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert {page for page in pages if page not in nav} == set()
    assert {page for page in re.findall(r"docs/([\w-]+\.md)", text) if page not in pages} == set()


PROJECT = """
glue: 1
project: p
data: {sources: {t: {path: t.csv}}, labels: {source: t, target: y, task: binary, positive: "yes"}}
train: {estimator: sklearn.linear_model.LogisticRegression}
"""


@pytest.mark.parametrize("page", ["alerts", "clean-up", "one-tool", "remote", "team", "threshold"])
def test_what_a_page_says_of_glue_yaml_loads(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert blocks
    for name in re.findall(r"\$\{(\w+)\}", text):
        monkeypatch.setenv(name, "https://example.org")
    for block in blocks:
        whole = yaml.safe_load(PROJECT)
        for section, said in yaml.safe_load(block).items():
            whole[section] = {**whole.get(section, {}), **said} if isinstance(said, dict) else said
        (tmp_path / layout.CONFIG).write_text(yaml.safe_dump(whole, sort_keys=False))
        assert configs.load(tmp_path, "", tables=False).project == whole["project"]


def test_every_error_has_its_entry(tmp_path: Path) -> None:
    """The page of errors is read from the code: what is really raised is found there, with hint and exit code."""
    spec = importlib.util.spec_from_file_location("errors_page", ROOT / "docs/site/errors.py")
    assert spec is not None and spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    entries = list(page.raised())
    assert len(entries) > 450 and {entry.code for entry in entries} == {1, 2, 4}
    for raises in (
        lambda: layout.find_root(tmp_path),
        lambda: must_exist("m", 9, [1, 2]),
        lambda: webhook.send("http://127.0.0.1:1", b"", "id", None),
        lambda: _raise(MissingExtra("apprise", "alerts")),
    ):
        with pytest.raises(GlueError) as raised:
            raises()
        said = raised.value
        fits = [e for e in entries if _like(e.message, said.message) and _like(e.hint, said.hint or "")]
        assert any(entry.code == said.exit_code for entry in fits), said.message
    shown = "\n".join(page.page())
    assert all(f"| {code} |" in shown for code in (1, 2, 4))
    codes = {GlueError.exit_code, CheckFailed.exit_code, UsageError.exit_code, 0, 3, 130}
    trouble = (ROOT / "docs/trouble.md").read_text(encoding="utf-8")
    assert codes == {int(code) for code in re.findall(r"^\| (\d+) \|", trouble, re.MULTILINE)}


def _raise(error: GlueError) -> None:
    raise error


def _like(entry: str, said: str) -> bool:
    """Is a text what an entry says, with something for each `…`?"""
    return re.fullmatch(".*".join(map(re.escape, entry.split("…"))), said, re.DOTALL) is not None
