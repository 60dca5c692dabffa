"""The model card of a version, built from recorded facts: Markdown in Hugging Face's format, and the same as HTML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from mlops_glue import files, layout, pages
from mlops_glue.config.models import Card, Config
from mlops_glue.delivery import audit, describe
from mlops_glue.delivery.lineage import Lineage, lineage
from mlops_glue.errors import DataError
from mlops_glue.modules import COMPUTES
from mlops_glue.pipeline import evaluation
from mlops_glue.pipeline.evaluation import Evaluation
from mlops_glue.pipeline.refit import described
from mlops_glue.report.lineage import changed
from mlops_glue.schema import Schema

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store

UNKNOWN = "*not stated*"
PIPELINES = {
    "regression": "tabular-regression",
    "binary": "tabular-classification",
    "multiclass": "tabular-classification",
}


def of_version(config: Config, root: Path, store: Store, version: int, folder: Path) -> str:
    """Return the card of a registered version. `folder` is an empty folder that the caller supplies.

    Raises:
        GlueError: the registry does not have the version, or does not answer.
    """
    return of_lineage(config, store, lineage(root, store, config.model_name, version, folder), folder)


def of_lineage(config: Config, store: Store, found: Lineage, folder: Path) -> str:
    """Return the card of a version whose lineage and bundle have been fetched into `folder`.

    Raises:
        DataError: glue did not train the version, so its evaluation is unknown.
    """
    if found.provenance is None:
        problem = f"{found.model} v{found.version} has no card: glue did not train it, so its evaluation is unknown"
        raise DataError(problem, hint=f"glue lineage {found.version}")
    bundle = folder / "bundle"
    return markdown(
        found,
        evaluation.read(store.download_artifact(found.model, found.version, "evaluation", folder)),
        Schema.from_dict(files.read_json(bundle / "schema.json")),
        files.read_json(bundle / "parity.json"),
        config.card,
    )


def markdown(found: Lineage, report: Evaluation, schema: Schema, parity: Mapping[str, Any], card: Card) -> str:
    """Render the card as Markdown. Fields that nobody has filled in are marked as not stated.

    Args:
        found: the version's lineage.
        report: its evaluation.
        schema: its columns.
        parity: the parity check of its ONNX model.
        card: the fields that people fill in, from `glue.yaml`.
    """
    title = f"{found.model} v{found.version}"
    limits = {threshold["metric"]: threshold for threshold in report["thresholds"]}
    importances = {entry["column"]: entry["mean"] for entry in report["importances"] or []}
    names = list(report["metrics"])
    made = found.provenance
    where = made["environment"] if made else {"packages": {}, "computes": []}
    packages = {name: where["packages"].get(name) for name in where.get("computes", COMPUTES)}
    values = {
        "front": _front(found, report, card, title),
        "title": title,
        "headline": describe.headline(report),
        "found": found,
        "report": report,
        "made": made,
        "changed": changed(made["code"]) if made else "",
        "card": card,
        "parity": parity,
        "decides": schema.decides,
        "scale": evaluation.scale_in_words(report["scale"]) if "scale" in report else "",
        "unknown": UNKNOWN,
        "columns": [
            {"name": column.name, "kind": column.kind, "importance": pages.number(importances.get(column.name))}
            for column in schema.columns
        ],
        "metrics": [describe.score_cells(name, score, limits.get(name)) for name, score in report["metrics"].items()],
        "names": names,
        "slices": [
            [_cell(part["column"]), _cell(part["value"]), f"{part['rows']:,}", *_scores(part["metrics"], names)]
            for part in report["slices"]
        ],
        "decisions": [describe.decided(decision) for decision in found.decisions],
        "conditions": [[_cell(value) for value in row] for row in describe.condition_cells(found.conditions)],
        "moves": [audit.described(move) for move in found.moves],
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items() if version),
        "cell": _cell,
        "described": described,
    }
    return files.render(layout.templates() / "card" / "card.md", values)


def html(text: str) -> str:
    """Return the card's body as HTML, without its title. Tables are scrollable and have column headers."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text.split("---\n", 2)[2])
    under = ""

    def in_region(match: re.Match[str]) -> str:
        nonlocal under
        if match[1] is not None:
            under = re.sub("<[^>]*>", "", match[1])
            return match[0]
        if match[0] == "</table>":
            return "</table></div>"
        label = under.replace('"', "&quot;")
        return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table>'

    # `<` is escaped in the text, so every tag here is from the renderer
    body = re.sub(r"<h\d>(.*?)</h\d>|</?table>", in_region, body).replace("<th>", '<th scope="col">')
    return body.partition("</h1>")[2]  # the page has its own title


def _front(found: Lineage, report: Evaluation, card: Card, title: str) -> str:
    """The front matter, as YAML."""
    scores = [
        {"type": name, "value": score["value"], "name": name}
        for name, score in report["metrics"].items()
        if score["value"] is not None
    ]
    task, data = {"type": PIPELINES[report["task"]]}, {"type": "tabular", "name": report["project"]}
    front: dict[str, Any] = {"license": card.license} if card.license else {}
    front |= {
        "library_name": "mlops-glue",
        "pipeline_tag": PIPELINES[report["task"]],
        "tags": ["tabular", report["task"]],
    }
    front |= {"model-index": [{"name": title, "results": [{"task": task, "dataset": data, "metrics": scores}]}]}
    out = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output = False, False  # type: ignore[assignment]
    yaml.dump(front, out)
    return out.getvalue()


def _scores(metrics: Mapping[str, float | None], names: list[str]) -> list[str]:
    return [pages.number(metrics.get(name)) for name in names]


def _cell(text: Any) -> str:
    return str(text).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
