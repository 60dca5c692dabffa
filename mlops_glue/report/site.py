"""The linked pages of a project: `glue report` writes them, `glue ui` serves them."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from mlops_glue import config as configs
from mlops_glue import layout, pages
from mlops_glue.adapters import dvc
from mlops_glue.config import Config
from mlops_glue.delivery import describe
from mlops_glue.delivery.fetch import chosen_version, read_only
from mlops_glue.delivery.lineage import Lineage, lineage
from mlops_glue.delivery.side_by_side import side_by_side
from mlops_glue.delivery.sides import resolve
from mlops_glue.errors import GlueError
from mlops_glue.monitoring.wording import named, share_of_drift
from mlops_glue.pipeline import dvc_yaml
from mlops_glue.pipeline.evaluation import decision_of, scale_in_words
from mlops_glue.pipeline.validated import MOST
from mlops_glue.report import card
from mlops_glue.report import lineage as lineages
from mlops_glue.report import side_by_side as comparisons
from mlops_glue.report.graph import graph
from mlops_glue.report.profile import profile
from mlops_glue.report.project import Project

WRITTEN = tuple(name for name in pages.NAMES if name != "compare")  # only `glue compare` loads models to compare
OF_PIPELINE, OF_REGISTRY = ("data", "validation", "evaluation"), ("compare", "lineage", "card")
Values = dict[str, Any]
Content = tuple[str, str, Values]  # template, title, and the template's values


class Source(NamedTuple):
    """The data that the pages show."""

    config: Config
    root: Path
    project: Project
    evidently: str | None = None  # the link from a page to Evidently's report


def page(name: str, source: Source, links: list[pages.Link], live: str | None = None) -> str:
    """Render one of `pages.NAMES`. A page without data shows the command that creates it."""
    template, title, values = _unknown(name, *found) if (found := _missing(name, source)) else MAKERS[name](source)
    project = source.project
    frame = pages.Frame(project.project, list(_facts(name, project)), project.made, links, live)
    if name == "compare" and "found" in values:
        return comparisons.page(values["found"], frame)
    filters: dict[str, Callable[..., Any]] = {
        "compared": describe.compared,
        "cells": describe.condition_cells,
        "verdict": named,
    }
    return pages.render(template, frame, title, values, filters)


def written(source: Source, target: Path) -> Iterator[tuple[Path, str]]:
    """Yield each page that `glue report` writes: the project page is `target`, the others are in the same folder."""
    folder = target.resolve().parent
    links = [
        link._replace(address=target.name) if link.text == pages.NAMES["index"] else link
        for link in pages.links(folder, "", WRITTEN)
    ]
    evidently = source.root / layout.PAGE
    if folder.is_relative_to(source.root) and evidently.is_file():  # pages outside the project have no links into it
        source = source._replace(evidently=pages.address(evidently, folder))
    for name in WRITTEN:
        here = [link._replace(here=link.text == pages.NAMES[name]) for link in links]
        yield target if name == "index" else target.with_name(f"{name}.html"), page(name, source, here)


def _facts(name: str, project: Project) -> Iterator[str]:
    """Yield the version and the commit that a page describes."""
    champion, delivery = project.registry.champion, project.delivery
    if name in ("lineage", "card"):
        none = ": the champion is unknown" if project.registry.problem else " has no champion"
        yield f"{project.model} v{champion.version}, champion" if champion else f"{project.model}{none}"
        commit, dirty = (champion.commit, champion.dirty) if champion else (None, False)
    else:
        commit, dirty = project.commit, project.dirty
        if name == "monitoring":
            versions = ", ".join(f"v{version['version']}" for version in project.monitoring.versions)
            yield f"{project.model} {versions}".strip()
        elif project.target is None:
            yield f"{project.model} v{champion.version}, champion" if champion else project.model
        elif delivery is None or "publish" in project.pipeline.behind:
            yield f"{project.model}: no run here has delivered the current result"
        else:
            state = ", champion" if delivery["champion"] == delivery["version"] else ", not champion"
            yield f"{project.model} v{delivery['version']}{'' if project.registry.problem else state}"
    if project.target is not None:
        yield f"predicts {project.target}"
    if project.env:
        yield f"environment {project.env}"
    yield f"git commit {commit[:12]}{' + changes' if dirty else ''}" if commit else "no git commit"


def _index(source: Source) -> Content:
    project = source.project
    only = _only(source)
    stages = {} if only else dvc.locked(source.root) or dvc_yaml.definition(source.config, source.root)
    wrong = {stage.name: stage.name in project.pipeline.behind for stage in project.pipeline.stages}
    values = {**vars(project), "graph": graph(_paths(stages), wrong), "most": MOST}
    values |= {"only": only, "serves": serves(source.config)}
    return "index.html", "project", values


def _paths(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """Return the paths that each stage of a `dvc.yaml`, a `dvc.lock` or a lineage reads and writes."""

    def paths(entries: Any) -> list[str]:
        return [entry["path"] if isinstance(entry, Mapping) and "path" in entry else str(entry) for entry in entries]

    return {name: {part: paths(stage.get(part, ())) for part in ("deps", "outs")} for name, stage in stages.items()}


def _only(source: Source) -> tuple[str, str] | None:
    """Describe a project without a pipeline, with the next command; None: it has a pipeline."""
    only = configs.only_does(source.config)
    return only and (f"This project only {only[0]}: {layout.CONFIG} has no data and no train section.", only[1])


def _missing(name: str, source: Source) -> tuple[str, str] | None:
    """Return why a page cannot be rendered (no pipeline, or no registry), and the next command; None if it can."""
    problem = source.project.registry.problem
    if name in OF_REGISTRY and problem:
        return f"The registry could not be read: {problem}", "glue doctor"
    return _only(source) if name in OF_PIPELINE else None


def _unknown(name: str, problem: str, hint: str) -> Content:
    return "text.html", pages.NAMES[name].lower(), {"problem": problem, "hint": hint}


def serves(config: configs.Config) -> bool:
    """Whether the project can have a model to serve."""
    only = configs.only_does(config)
    return only is None or only[0].startswith("serves")


def _hint(source: Source, error: GlueError) -> str:
    """Return the next command. Without a pipeline this is never `glue run`, which would do nothing."""
    only, hint = _only(source), error.hint or ""
    return only[1] if only and hint.startswith("glue run") else hint


def _data(source: Source) -> Content:
    values = {
        "tables": source.project.data,
        "profile": profile(source.config, source.root),
        "stale": _stale(source.project, "featurize"),
        "most": MOST,
    }
    return "data.html", "data", values


def _validation(source: Source) -> Content:
    behind = "validate" in source.project.pipeline.behind
    return "validation.html", "validation", {"tables": source.project.data, "behind": behind, "most": MOST}


def _evaluation(source: Source) -> Content:
    project, evaluation = source.project, source.project.evaluation
    decision = decision_of(evaluation) if evaluation else None  # type: ignore[arg-type]
    champion, delivery = project.registry.champion, project.delivery
    is_champion = champion and delivery and delivery["version"] == champion.version
    failed = [stage.name for stage in project.pipeline.stages if stage.outcome == "failed"]
    values = {
        "evaluation": evaluation,
        "champion": None if is_champion else champion,
        "drawn": _plots(source),
        "decides": describe.decision(evaluation["decision"]) if evaluation and decision else "",
        "of_scale": scale_in_words(evaluation["scale"]) if evaluation and "scale" in evaluation else "",
        "stale": _stale(project, "evaluate"),
        "failed": failed[0] if failed else None,
    }
    return "evaluation.html", "evaluation", values


def _stale(project: Project, stage: str) -> list[str]:
    return project.pipeline.stale if stage in project.pipeline.behind else []


def _plots(source: Source) -> list[pages.Plot]:
    """Return the evaluation's plots, in the order of `pages.SHOWN`."""
    numbers = ", ".join(f"{metric.name} {pages.number(metric.value)}" for metric in source.project.metrics)
    found = (source.root / layout.PLOTS).glob("*.svg")
    order = list(pages.SHOWN)
    paths = sorted(found, key=lambda path: order.index(path.stem) if path.stem in order else len(order))
    return [
        pages.plot(path.stem, path.read_text(encoding="utf-8"), f"{pages.SHOWN.get(path.stem, path.stem)}. {numbers}")
        for path in paths
    ]


def _monitoring(source: Source) -> Content:
    monitoring = source.project.monitoring
    values = {"monitoring": monitoring, "drawn": [], "evidently": source.evidently, "most": MOST}
    if monitoring.latest:
        values["drifted"] = list(_drifted(monitoring.latest.get("versions", [])))
        values["drawn"] = [pages.plot(name, svg, name) for name, svg in _over_time(monitoring.latest, monitoring.runs)]
    return "monitoring.html", "monitoring", values


def _drifted(versions: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the reason for the verdict on each version: the drift of its inputs and of its predictions."""
    for one in versions:
        if one.get("drift_share") is not None:
            answers = one["prediction"]
            also = (
                ""
                if not answers
                else ", and so did its predictions"
                if answers["drifted"]
                else "; its predictions did not"
            )
            yield f"v{one['version']}: {share_of_drift(one)}{also}."


def _over_time(latest: Mapping[str, Any], runs: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Plot drift, performance and the columns with the most weight over the runs, each with its limit."""
    from mlops_glue.adapters import matplotlib

    if len(runs) < 2:
        return
    runs = runs[::-1]
    times = [datetime.fromisoformat(run["time"]) for run in runs]

    def of(key: str) -> list[float]:
        return [math.nan if run.get(key) is None else run[key] for run in runs]

    version = latest["versions"][0] if latest.get("versions") else {}
    limits = {f"alert above {version['threshold']:.0%}": version["threshold"]} if "threshold" in version else {}
    shares = {"share of the weight": of("drift_share")}
    yield "Drift over time, with its limit", matplotlib.over_time("Drift", "share", times, shares, limits, share=True)
    measured = latest.get("performance") or {}
    if not all(map(math.isnan, of("value"))):
        name = measured.get("metric") or next(run["metric"] for run in runs[::-1] if run["metric"])
        value = (measured.get("holdout") or {}).get("value")
        limits = {f"holdout {value:.4g}": value} if value is not None else {}
        band = of("low"), of("high")
        yield (
            f"{name} over time, with its 95 % interval and the holdout's value",
            matplotlib.over_time(
                f"{name}, with its 95 % interval", name, times, {name: of("value")}, limits, band=band
            ),
        )
    columns = version.get("columns", {})
    top = sorted(columns, key=lambda name: -columns[name]["weight"])[:5]
    ratios = {name: [_ratio(run["columns"].get(name), columns[name]["threshold"]) for run in runs] for name in top}
    if ratios:
        title = "Distance of the columns with the most weight"
        yield (
            f"{title} over time, as a multiple of the drift threshold",
            matplotlib.over_time(title, "distance / its limit", times, ratios, {"drift above 1": 1.0}),
        )


def _ratio(distance: float | None, threshold: float | None) -> float:
    return math.nan if distance is None or not threshold else distance / threshold


@contextlib.contextmanager
def _champion(source: Source) -> Iterator[tuple[Any, Lineage, Path]]:
    """Open the registry, the champion's lineage, and a folder with its bundle."""
    config, root = source.config, source.root
    store, version = chosen_version(read_only(root, config), root, config, None)
    with tempfile.TemporaryDirectory() as name:
        yield store, lineage(root, store, config.model_name, version, Path(name)), Path(name)


def _lineage(source: Source) -> Content:
    try:
        with _champion(source) as (_, found, _):
            drawn = graph(_paths({name: {**stage} for name, stage in found.stages.items()}))
            values = {"facts": lineages.table(found), "graph": drawn, "version": found.version}
            return "lineage.html", f"lineage of v{found.version}", values
    except GlueError as error:
        return _unknown("lineage", error.message, _hint(source, error))


def _card(source: Source) -> Content:
    try:
        with _champion(source) as (store, found, folder):
            text = card.of_lineage(source.config, store, found, folder)
            return "text.html", f"model card of v{found.version}", {"body": card.html(text), "problem": None}
    except GlueError as error:
        return _unknown("card", error.message, _hint(source, error))


def _compare(source: Source) -> Content:
    config, root = source.config, source.root
    try:
        store = read_only(root, config)
        found = side_by_side(config, root, store, resolve(config, root, store, ()), draw=True)
        return "compare.html", "", {"found": found}
    except GlueError as error:
        return _unknown("compare", error.message, _hint(source, error))


MAKERS: dict[str, Callable[[Source], Content]] = {
    "index": _index,
    "data": _data,
    "validation": _validation,
    "evaluation": _evaluation,
    "compare": _compare,
    "monitoring": _monitoring,
    "lineage": _lineage,
    "card": _card,
}
