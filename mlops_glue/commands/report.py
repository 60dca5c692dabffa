"""`glue report`: a page of where a project stands; with `--pr` what a change does, for a pull request."""

from __future__ import annotations

import os
import tempfile
import webbrowser
from dataclasses import asdict
from pathlib import Path

from mlops_glue import config as configs
from mlops_glue import console, files, layout
from mlops_glue.adapters import git
from mlops_glue.delivery.fetch import chosen_version, read_only
from mlops_glue.errors import ConfigError, GlueError, UsageError
from mlops_glue.pipeline import dvc_yaml
from mlops_glue.report import card, project, pull_request
from mlops_glue.report.base import BaseRevision
from mlops_glue.scaffold.outputs import check_outputs
from mlops_glue.scaffold.workflows import prefix

WHERE_BASE_IS = "git log --oneline, for one that it has; git fetch --unshallow brings older ones, git fetch newer ones"


def report(*, output: str | None = None, show: bool = False, as_json: bool = False, env: str | None = None) -> int:
    """Write the page, or print what it is made of."""
    root = layout.find_root()
    config = configs.load(root, env, tables=False)
    if not (root / "dvc.lock").is_file() and not (root / layout.LAST_RUN).is_file():
        raise UsageError(f"nothing has run in {root.name} yet, so there is nothing to report", hint="glue run")
    dvc_yaml.check_readable(root)
    target = Path(output) if output is not None else root / layout.REPORT
    if target.is_dir():
        target /= "index.html"
    check_outputs(root, [target], config)
    found = project.collect(config, root)
    if as_json:
        console.result_json(asdict(found))
        return 0
    if output is None and found.registry.champion is not None:
        _write_card(config, root, found.registry.champion.version)
    files.write_text(target, project.render(found, root, target))
    for problem in found.problems():
        console.progress(problem)
    console.result(os.path.relpath(target))
    if show:
        open_page(target.resolve())
    return 0


def _write_card(config: configs.Config, root: Path, version: int) -> None:
    """The champion's card, for the page to link to; what its registry cannot give is told, and the page has no link."""
    store, _ = chosen_version(read_only(root, config), root, config, version)
    target = root / layout.CARD.format(version)
    try:
        with tempfile.TemporaryDirectory() as folder:
            text = card.of_version(config, root, store, version, Path(folder))
    except GlueError as error:
        target.unlink(missing_ok=True)
        console.progress(f"no model card: {error.message}")
    else:
        files.write_text(target, card.html(text, f"{config.model_name} v{version}"))


def open_page(page: Path) -> None:
    """Open it in a browser, or say where it is."""
    if not webbrowser.open(page.as_uri()):
        console.progress(f"there is no browser here; open it elsewhere: {page}")


def report_change(
    *, base: str, output: str | None = None, pages: str | None = None, as_json: bool = False, env: str | None = None
) -> int:
    """Compare the project as it is with a commit of it. Returns 1 where the change should not be merged."""
    root = layout.find_root()
    top = git.top(root)
    if top is None:
        raise UsageError(f"{root} is in no git repository, so there is nothing to compare with", hint="git init")
    if git.commit_hash(root, base) is None:
        raise UsageError(f"--base {base}: git has no such commit", hint=WHERE_BASE_IS)
    marker = prefix(root, top) or "."
    outputs = [Path(output)] if output else []
    check_outputs(root, outputs)
    try:
        dvc_yaml.check_readable(root)
        config = configs.load(root, env, tables=False)
        check_outputs(root, outputs, config)
    except ConfigError as error:
        for out in outputs:
            files.write_text(out, pull_request.render_problems(error.problems, marker))
        raise
    has_remote = all(os.environ.get(name) for name in configs.references(config.data.remote))
    with tempfile.TemporaryDirectory() as folder:
        revision = BaseRevision(root, base, configs.remote_url(config) if has_remote else None, Path(folder))
        change = pull_request.compare(config, root, revision)
    if as_json:
        console.result_json(asdict(change))
    else:
        text = pull_request.render(change, root, marker, pages)
        for out in outputs:
            files.write_text(out, text)
        if not outputs:
            console.result(text)
    for reason in change.refused:
        console.progress(f"refused: {reason}")
    return 1 if change.refused else 0
