"""`glue report`: one page of where a project stands, that needs no server, no network and no script."""

from __future__ import annotations

import base64
import json
import os
import re
import webbrowser
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlops_glue import __version__, console, files, layout, tables
from mlops_glue import config as configs
from mlops_glue.adapters import dvc
from mlops_glue.delivery.commit import revision
from mlops_glue.delivery.fetch import last_delivery, opened
from mlops_glue.errors import GlueError, UsageError, first_line
from mlops_glue.pipeline import dvc_yaml, session
from mlops_glue.report import charts
from mlops_glue.scaffold.outputs import check_outputs

MOST_VERSIONS = 20
MOST_ROWS = 100  # of a table on the page
MOST_RUNS = 100  # of the monitor, in a chart
STALE = ("changed", "failed", "not run")  # outcomes of stages of which nothing here is of now
FINE = ("executed", "restored", "unchanged")  # of a stage that takes what a stale one makes, this is not known
PLOT_BYTES = 500_000  # a plot that is larger is not on the page
DELIVERY = ("publish", "promote", "materialize")
PLOTS = {  # what each shows, for who does not see it
    "roc": "ROC curve: true against false positive rate, at every threshold",
    "precision_recall": "Precision against recall, at every threshold",
    "calibration": "Calibration: the observed share against the predicted probability; on the diagonal they agree",
    "confusion": "Confusion matrix: how many rows of each true class were predicted as which",
    "prediction": "Predicted against true values; on the diagonal they agree",
    "residuals": "Residuals: true minus predicted, against predicted; around zero they are good",
}


def page(*, output: str | None = None, show: bool = False, as_json: bool = False, env: str | None = None) -> int:
    """Write the page, or print what it is made of.

    Args:
        output: the file; default `reports/index.html`.
        show: open it in a browser.
        as_json: print instead, without the plots.
        env: an entry of `environments`, for the registry.
    """
    root = layout.find_root()
    config = configs.load(root, env, tables=False)
    if not (root / "dvc.lock").is_file() and not (root / layout.LAST_RUN).is_file():
        raise UsageError(f"nothing has run in {root.name} yet, so there is nothing to report", hint="glue run")
    dvc_yaml.check_merged(root)
    target = Path(output) if output is not None else root / layout.REPORT
    if target.is_dir():
        target /= "index.html"
    check_outputs(root, [target], config)
    told = _told(config, root, env)
    if as_json:
        console.result_json(told)
        return 0
    values = {
        **told,
        "plots": _plots(root, told["evaluation"]),
        "links": _links(root, target),
        "charts": charts,
        "most": MOST_ROWS,
    }
    filters: dict[str, Callable[..., str]] = {"n": charts.number, "when": _when, "percent": _percent}
    text = files.render(layout.templates() / "report" / "index.html", values, filters=filters)
    files.write_text(target, "\n".join(line for line in text.splitlines() if line.strip()) + "\n")
    for part in ("models", "monitoring"):
        if told[part]["problem"]:
            console.progress(f"{part}: {told[part]['problem']}")
    console.result(os.path.relpath(target))
    if show:
        _open(target.resolve())
    return 0


def _open(page: Path) -> None:
    if not webbrowser.open(page.as_uri()):
        console.progress(f"there is no browser here; open it elsewhere: {page}")


def _told(config: configs.Config, root: Path, env: str | None) -> dict[str, Any]:
    """Everything that the page says, as built-ins."""
    commit, dirty = revision(config, root)
    evaluation = _read(root / layout.EVALUATION / "evaluation.json")
    models = _models(config, root)
    metrics = _metrics(evaluation, models, config.promote.metric)
    main = metrics[0]["name"] if metrics else config.promote.metric
    return {
        "project": config.project,
        "model": config.model_name,
        "target": config.data.labels.target,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "glue": __version__,
        "env": env or os.environ.get("GLUE_ENV"),
        "commit": commit,
        "dirty": dirty,
        "pipeline": _pipeline(config, root),
        "data": _data(config, root),
        "evaluation": evaluation,
        "metrics": metrics,
        "slices": _slices(evaluation, main or ""),
        "delivery": _delivery(config, root, models),
        "models": models | _by_version(models["versions"], main),
        "monitoring": _monitoring(config, root),
    }


def _read(path: Path) -> Any:
    """What a JSON file holds; None where there is none, or it is none."""
    try:
        return files.read_json(path)
    except (OSError, ValueError):
        return None


def _pipeline(config: configs.Config, root: Path) -> dict[str, Any]:
    """Each stage with what became of it, and how they depend on each other."""
    last = _read(root / layout.LAST_RUN) or {"time": None, "problem": None, "stages": []}
    lines = {one["stage"]: one for one in last["stages"]}
    pending: dict[str, list[str]] | None = None
    problem = None
    try:
        pending = dvc.status(root, dvc_yaml.stale(config, root))
    except GlueError as error:
        problem = f"what has changed since is not known: {error.message}"
    written = (files.read_yaml(root / "dvc.yaml") or {}).get("stages") if (root / "dvc.yaml").is_file() else None
    defined = {**(written or {}), **dvc_yaml.definition(config, root)}  # as the next run will have it
    delivered = DELIVERY if config.features.use else DELIVERY[:2]
    rows = [_stage(name, lines.get(name), _causes(name, pending)) for name in defined]
    known = not last["time"] and (root / layout.DELIVERY).is_file()  # delivered, by a glue that kept no lines
    rows += [_stage(name, lines.get(name), [] if name in lines or known else ["not reached"]) for name in delivered]
    edges = [*_edges(defined), *((one, "publish") for one in ("evaluate", "package") if one in defined)]
    edges += pairwise(delivered)
    stale = [one["name"] for one in rows if one["outcome"] in STALE and one["name"] in defined]
    behind = _behind(stale, edges)
    for one in rows:
        if one["name"] in behind and one["outcome"] in FINE:
            one |= {"outcome": "may be out of date", "reasons": [f"after {', '.join(stale)}"]}
    return {
        "time": last["time"],
        "failed": last["problem"],
        "problem": problem,
        "stages": rows,
        "edges": edges,
        "stale": stale,
        "behind": behind,
    }


def _behind(stale: list[str], edges: list[tuple[str, str]]) -> list[str]:
    """The stages that are out of date, and those that take what these make."""
    reached = set(stale)
    for _ in edges:
        reached |= {taker for maker, taker in edges if maker in reached}
    return sorted(reached)


def _causes(name: str, pending: dict[str, list[str]] | None) -> list[str] | None:
    """Why a stage, or one of those that `foreach` makes of it, would run again."""
    if pending is None:
        return None
    return [cause for one, causes in pending.items() if one.partition("@")[0] == name for cause in causes]


def _stage(name: str, line: dict[str, Any] | None, why: list[str] | None) -> dict[str, Any]:
    """What became of a stage: of one that would run again now (`why`; None: not known), that it is out of date."""
    outcome = line["outcome"] if line else "not known" if why is None else "unchanged"
    if line is None and why:
        outcome = "not run"
    elif why and outcome not in ("failed", "refused"):
        outcome = "changed"
    took = (line["seconds"] if line["outcome"] not in session.DID_NOT_RUN else line.get("executed_s")) if line else None
    reasons = why or (line["reasons"] if line else [])
    return {"name": name, "outcome": outcome, "seconds": took, "note": _seconds(took), "reasons": reasons[:6]}


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f} s" if value < 60 else f"{value / 60:.0f} min"


def _edges(defined: dict[str, Any]) -> list[tuple[str, str]]:
    """Which stage takes what which other makes."""

    def paths(stage: Any, *keys: str) -> list[str]:
        entries = [one for key in keys for one in (stage.get(key) or [] if isinstance(stage, dict) else [])]
        return [str(next(iter(one)) if isinstance(one, dict) else one) for one in entries]

    made = [(out, name) for name, stage in defined.items() for out in paths(stage, "outs", "metrics", "plots")]
    return [
        (maker, name)
        for name, stage in defined.items()
        for dep in paths(stage, "deps")
        for out, maker in made
        if maker != name and (dep == out or dep.startswith(f"{out}/") or out.startswith(f"{dep}/"))
    ]


def _data(config: configs.Config, root: Path) -> dict[str, Any]:
    """Each table with its size, and what its expectations found."""
    md5 = {d["path"]: str(d.get("md5", "")) for stage in dvc.locked(root).values() for d in stage.get("deps", [])}
    found_tables: list[dict[str, Any]] = []
    for name, source in config.data.sources.items():
        path = root / configs.path_of(config, name)
        try:
            shape = tables.parquet_shape(path)
        except (OSError, ValueError):  # Arrow's errors are ValueErrors; not there, or cut short
            shape = None
        folder = "" if name == config.data.labels.source else name
        result = _read(root / layout.VALIDATION / folder / "result.json")
        found = [_expectation(one) for one in result["results"]] if result else []
        found_tables.append(
            {
                "name": name,
                "path": source.path,
                "rows": shape[0] if shape else None,
                "columns": len(shape[1]) if shape else None,
                "md5": md5.get(source.path, ""),
                "expectations": sorted(found, key=lambda one: one["met"]) if result else None,
                "report": f"{layout.VALIDATION}/{f'{folder}/' if folder else ''}report.html",
            }
        )
    every = [one for table in found_tables for one in table["expectations"] or []]
    return {"tables": found_tables, "all": len(every), "met": sum(one["met"] for one in every)}


def _expectation(one: dict[str, Any]) -> dict[str, Any]:
    config, found = one["expectation_config"], one.get("result") or {}
    raised = (one.get("exception_info") or {}).get("exception_message")
    observed = found.get("observed_value", "")
    if raised:
        observed = first_line(Exception(raised))
    elif "unexpected_count" in found:
        observed = f"{found['unexpected_count']:,} of {found['element_count']:,} rows unexpected"
    kwargs = {key: value for key, value in config["kwargs"].items() if key != "column"}
    return {
        "met": bool(one["success"]) and not raised,
        "outcome": "met" if one["success"] and not raised else "DID NOT RUN" if raised else "FAILED",
        "severity": config.get("severity", "critical"),
        "column": config["kwargs"].get("column", ""),
        "expectation": config["type"].removeprefix("expect_").replace("_", " "),
        "arguments": ", ".join(f"{key} {_cut(value)}" for key, value in kwargs.items()),
        "observed": _cut(observed),
    }


def _cut(value: Any, most: int = 120) -> str:
    text = str(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def _metrics(evaluation: Any, models: dict[str, Any], main: str | None) -> list[dict[str, Any]]:
    """Each metric beside trivial predictor, champion and threshold; the one that is promoted by first."""
    if evaluation is None:
        return []
    from mlops_glue.metrics import METRICS

    known = METRICS[evaluation["task"]]
    limits = {limit["metric"]: limit for limit in evaluation["thresholds"]}
    champion = models["champion"] or {"metrics": {}}
    rows = []
    for name, score in evaluation["metrics"].items():
        limit = limits.get(name)
        sides = [(side, limit[side]) for side in ("min", "max") if limit[side] is not None] if limit else []
        rows.append(
            {
                "name": name,
                **score,
                "champion": champion["metrics"].get(name),
                "limits": [value for _, value in sides],
                "threshold": ", ".join(f"{side} {value}" for side, value in sides),
                "met": limit["met"] if limit else None,
                "higher_is_better": known[name].higher_is_better,
            }
        )
    return sorted(rows, key=lambda row: row["name"] != main)


def _slices(evaluation: Any, main: str) -> list[dict[str, Any]]:
    """Slices by their column."""
    by: dict[str, list[dict[str, Any]]] = {}
    for one in evaluation["slices"] if evaluation else ():
        by.setdefault(one["column"], []).append(one)
    return [
        {
            "column": column,
            "rows": rows,
            "values": rows[0].get("values", len(rows)),
            "among": [one["metrics"].get(main) for one in rows],
            "others": [[name] for name in rows[0]["metrics"] if name != main],
        }
        for column, rows in by.items()
    ]


def _models(config: configs.Config, root: Path) -> dict[str, Any]:
    """The versions in the registry, newest first, and how the champion changed."""
    uri = config.tracking.uri
    told: dict[str, Any] = {"problem": None, "versions": [], "all": 0, "moves": [], "champion": None, "server": None}
    if uri is not None:
        shown = re.fullmatch(r"https?://[^@\s$]+", uri)  # one with a secret or a variable in it is not told
        told["server"] = uri if shown else ", ".join(f"${{{name}}}" for name in configs.references(uri)) or "elsewhere"
    elif not (root / layout.TRACKING_DB).is_file():
        return told
    try:
        store = opened(root, config, create=False)
        told["all"], found = store.overview(config.model_name, MOST_VERSIONS)
        told["moves"] = [
            {"version": version, "how": how, "when": when}
            for version, how, when in reversed(store.champion_history(config.model_name) if found else [])
        ]
    except GlueError as error:
        told["problem"] = error.message
        return told
    champions = {one["version"] for one in told["moves"]}
    told["versions"] = [_version(one, was_champion=one["version"] in champions) for one in found]
    told["champion"] = next((one for one in told["versions"] if "champion" in one["aliases"]), None)
    return told


def _delivery(config: configs.Config, root: Path, models: dict[str, Any]) -> dict[str, Any] | None:
    """What the last run delivered; who is champion, the registry knows better, where it answers."""
    told = last_delivery(root, config)
    if told is None or not models["versions"]:
        return told
    return told | {"champion": models["champion"]["version"] if models["champion"] else None}


def _version(one: dict[str, Any], *, was_champion: bool) -> dict[str, Any]:
    """Of a version: where it stands, and what it leads back to."""
    tags = one.pop("tags")
    state = [*one["aliases"]]
    if "glue.rolled_back" in tags:
        state.append("rolled back")
    if "glue.refused" in tags and not was_champion and "champion" not in one["aliases"]:
        state.append("refused")
    return {
        **one,
        "state": state,
        "refused": tags.get("glue.refused") if "refused" in state else None,
        "commit": tags.get("mlflow.source.git.commit"),
        "dirty": tags.get("glue.git_dirty") == "true",
        "format": tags.get("glue.format"),
        "holdout": tags.get("glue.holdout_md5"),
        "data": tags.get("glue.data_md5"),
    }


def _by_version(versions: list[dict[str, Any]], main: str | None) -> dict[str, Any]:
    """The main metric of each version, as a chart takes it."""
    name = main or next((name for one in versions for name in one["metrics"]), None)
    points = [
        {
            "at": one["version"],
            "value": one["metrics"][name],
            "kind": "champion" if "champion" in one["aliases"] else "bad" if one["refused"] else "value",
            "title": f"v{one['version']}: {name} {charts.number(one['metrics'][name])} {', '.join(one['state'])}",
        }
        for one in reversed(versions)
        if name in one["metrics"]
    ]
    return {"metric": name, "points": points}


def _monitoring(config: configs.Config, root: Path) -> dict[str, Any]:
    """What the last run of the monitor found, and every run's drift and performance."""
    told: dict[str, Any] = {"problem": None, "latest": None, "log": config.serve.prediction_log is not None}
    told |= {"runs": [], "drift": [], "metric": None, "performance": [], "versions": []}
    if not (root / layout.LATEST).is_file():
        return told
    try:
        latest = files.read_json(root / layout.LATEST)
        runs = _runs(root, latest["model"], latest["env"])
        told["versions"] = [{**one, "columns": _columns(one, runs)} for one in latest["versions"]]
    except (OSError, ValueError, KeyError, TypeError) as error:  # Arrow's errors are ValueErrors
        return told | {"problem": f"{layout.MONITORING} cannot be read: {first_line(error)}"}
    drift = [_point(run, run["drift_share"], "drift", open_=run["drift_share"] is None) for run in runs]
    metric = next((run["metric"] for run in reversed(runs) if run["value"] is not None), None)
    performance = [
        _point(run, run["value"], "performance", open_=bool(run["estimated"]))
        | {"low": run["low"], "high": run["high"]}
        for run in runs
        if run["metric"] == metric and run["value"] is not None
    ]
    return told | {"latest": latest, "runs": runs, "drift": drift, "metric": metric, "performance": performance}


def _runs(root: Path, model: str, env: str | None) -> list[dict[str, Any]]:
    """The latest runs of the monitor on a model in an environment, the oldest first."""
    from mlops_glue.monitoring.history import past

    table = past(root)
    every: list[dict[str, Any]] = [] if table is None else table.to_pylist()
    rows = sorted((r for r in every if (r["model"], r["env"]) == (model, env)), key=lambda row: row["time"])[
        -MOST_RUNS:
    ]
    for row in rows:
        row["columns"] = json.loads(row["columns"] or "{}")
        row["at"] = row["time"].timestamp()
        row["time"] = row["time"].isoformat(timespec="seconds")
    return rows


def _point(run: dict[str, Any], value: float | None, bad: str, *, open_: bool) -> dict[str, Any]:
    """A run of the monitor, as a chart takes it."""
    kind = "bad" if run["verdict"] == bad else "open" if open_ else "value"
    said = f"{_when(run['time'])}: {run['verdict']}, {charts.number(value)}"
    title = f"{said} (estimated)" if run["estimated"] else said
    return {"at": run["at"], "time": run["time"], "value": value, "kind": kind, "title": title}


def _columns(of: dict[str, Any], runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a version was asked, by column: the prediction, then what drifted, then by weight; with former distances."""
    version = str(of["version"])
    mine = [run for run in runs if run["versions"].split(",")[0] == version]
    rows = [
        {**one, "name": name, "said": "", "past": [run["columns"].get(name) for run in mine]}
        for name, one in of["columns"].items()
    ]
    rows.sort(key=lambda row: (not row["drifted"], -row["weight"]))
    if of["prediction"]:
        told = {"name": "prediction", "said": "what it answered", "weight": None}
        rows.insert(0, {**of["prediction"], **told, "past": [run["prediction_drift"] for run in mine]})
    return rows


def _plots(root: Path, evaluation: Any) -> list[dict[str, Any]]:
    """Those of the evaluation, as images in the page: no script in them runs, no id of one is another's."""
    found = []
    scores = (evaluation or {"metrics": {}})["metrics"]
    numbers = ", ".join(f"{name} {charts.number(score['value'])}" for name, score in scores.items())
    for name, alt in PLOTS.items():
        path = root / layout.PLOTS / f"{name}.svg"
        if path.is_file():
            data = path.read_bytes()
            source = f"data:image/svg+xml;base64,{base64.b64encode(data).decode()}" if len(data) <= PLOT_BYTES else None
            found.append({"name": name, "alt": f"{alt}. {numbers}", "source": source})
    return found


def _links(root: Path, target: Path) -> dict[str, str]:
    """From the page to what is there, by path in the project; nothing from a page that lies outside."""
    here = target.resolve().parent
    if not here.is_relative_to(root):
        return {}
    wanted = [f"{layout.EVALUATION}/report.html", layout.PAGE]
    wanted += [p.relative_to(root).as_posix() for p in (root / layout.VALIDATION).rglob("report.html")]
    there = [path for path in wanted if (root / path).is_file()]
    return {path: quote(Path(os.path.relpath(root / path, here)).as_posix()) for path in there}


def _when(text: str | None) -> str:
    """A time as people read it, in UTC."""
    return "" if not text else datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
