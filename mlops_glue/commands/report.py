"""`glue report`: pages on the state of a project; with `--pr`, the effect of a change, for a pull request."""

from __future__ import annotations

import os
import tempfile
import webbrowser
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from mlops_glue import config as configs
from mlops_glue import console, files, layout, pages
from mlops_glue.adapters import git
from mlops_glue.errors import ConfigError, UsageError
from mlops_glue.pipeline import dvc_yaml
from mlops_glue.report import project, pull_request, site
from mlops_glue.report.base import BaseRevision
from mlops_glue.scaffold.outputs import check_outputs
from mlops_glue.scaffold.workflows import prefix

WHERE_BASE_IS = "git log --oneline lists commits; git fetch --unshallow gets older ones, git fetch newer ones"


def report(*, output: str | None = None, show: bool = False, as_json: bool = False, env: str | None = None) -> int:
    """Write the pages, or print the data of the first page as JSON."""
    root = layout.find_root()
    config = configs.load(root, env, tables=False, needs=configs.ANYTHING)
    if config.data is not None and not (root / "dvc.lock").is_file() and not (root / layout.LAST_RUN).is_file():
        raise UsageError(f"nothing has run in {root.name} yet, so there is nothing to report", hint="glue run")
    dvc_yaml.check_readable(root)
    target = Path(output) if output is not None else root / layout.REPORT
    check_outputs(root, [target], config)
    if target.is_dir() or target.suffix not in (".html", ".htm"):
        target /= "index.html"
    found = project.collect(config, root)
    if as_json:
        console.result_json(asdict(found))
        return 0
    for path, text in _checked(site.written(site.Source(config, root, found), target), root, config):
        files.write_text(path, text)
    for problem in found.problems():
        console.progress(problem)
    console.result(os.path.relpath(target))
    if show:
        open_page(target.resolve())
    return 0


def _checked(made: Iterable[tuple[Path, str]], root: Path, config: configs.Config) -> list[tuple[Path, str]]:
    """Return the pages, after checking that none would overwrite a file that glue did not write.

    Raises:
        UsageError: a page would.
    """
    found = list(made)
    check_outputs(root, [path for path, _ in found], config)
    for path, _ in found:
        if path.exists() and not (path.is_file() and pages.is_ours(path)):
            raise UsageError(
                f"{path} was not written by glue, so it is not overwritten", hint="glue report --output a_new_folder"
            )
    return found


def open_page(page: Path) -> None:
    """Open a page in a browser, or print its path."""
    if not webbrowser.open(page.as_uri()):
        console.progress(f"no browser found; open the page yourself: {page}")


def report_change(
    *, base: str, output: str | None = None, pages: str | None = None, as_json: bool = False, env: str | None = None
) -> int:
    """Compare the project with one of its commits. Return 1 if the change should not be merged."""
    root = layout.find_root()
    top = git.top(root)
    if top is None:
        raise UsageError(f"{root} is not in a git repository, so there is nothing to compare with", hint="git init")
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
