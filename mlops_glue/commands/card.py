"""`glue card`: the model card of a version."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mlops_glue import config as configs
from mlops_glue import console, files, layout, pages
from mlops_glue.delivery.fetch import chosen_version, read_only
from mlops_glue.report import card as report
from mlops_glue.scaffold.outputs import output_file


def card(version: int | None = None, *, output: str | None = None, env: str | None = None) -> int:
    """Print the card, or write it to `output`: as HTML if the name ends with .html, else as Markdown."""
    root = layout.find_root()
    config = configs.load(root, env, tables=False, needs=configs.A_MODEL)
    target = None if output is None else output_file(root, output, config)
    store, chosen = chosen_version(read_only(root, config), root, config, version, "glue card")
    with tempfile.TemporaryDirectory() as folder:
        text = report.of_version(config, root, store, chosen, Path(folder))
    if target is None:
        console.result(text)
        return 0
    if target.name.endswith((".html", ".htm")):
        frame = pages.Frame(config.project, [f"{config.model_name} v{chosen}"])
        title = f"model card of v{chosen}"
        text = pages.render("text.html", frame, title, {"body": report.html(text), "problem": None})
    files.write_text(target, text)
    console.progress(f"wrote {output}")
    return 0
