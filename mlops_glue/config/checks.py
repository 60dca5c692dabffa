"""What one key of `glue.yaml` alone cannot tell: each section against the others and the files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlops_glue.config.models import ALL_METRICS, METRICS, Config
from mlops_glue.errors import did_you_mean, suggestion
from mlops_glue.layout import OWN_COLUMNS, RESERVED

CRON_FIELDS = (
    ("minute", 0, 59, ""),
    ("hour", 0, 23, ""),
    ("day", 1, 31, ""),
    ("month", 1, 12, "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"),
    ("weekday", 0, 6, "SUN MON TUE WED THU FRI SAT"),
)


def is_cron(field: str, low: int, high: int, names: list[str]) -> bool:
    """Is it what a field of cron may be, at GitHub and in Kubernetes?"""

    def number(text: str) -> int:
        return low + names.index(text) if text in names else int(text) if text.isdecimal() else -1

    for part in field.upper().split(","):
        found = re.fullmatch(r"(?:\*|(\w+)(?:-(\w+))?)(?:/(\d+))?", part)
        if found is None:
            return False
        ends = [number(end) for end in found.group(1, 2) if end]
        if ends != sorted(ends) or not all(low <= end <= high for end in ends):
            return False
        if found.group(3) and not 1 <= int(found.group(3)) <= high:
            return False
    return True


def registry_of(image: str | None) -> str | None:
    """Whose login the image's registry takes; None: a name and a password."""
    host = (image or "").partition("/")[0]
    ends = {"ghcr.io": "ghcr", ".amazonaws.com": "aws", ".pkg.dev": "gcp", ".gcr.io": "gcp", ".azurecr.io": "azure"}
    return next((kind for end, kind in ends.items() if host.endswith(end)), None)


def cross_checks(config: Config, root: Path, *, tables: bool) -> Iterator[tuple[tuple[Any, ...], str]]:
    """What one field alone cannot tell."""
    if config.ci.env is not None and config.ci.env not in config.environments:
        yield ("ci", "env"), f"no environment {config.ci.env!r} ({did_you_mean(config.ci.env, [*config.environments])})"
    for at, name in enumerate(config.ci.secrets):
        if name.startswith("GITHUB_"):
            yield ("ci", "secrets", at), f"{name!r}: GitHub keeps names that begin with GITHUB_ to itself"
        elif name in ("PATH", "HOME", "GLUE_ENV"):
            yield ("ci", "secrets", at), f"{name!r}: the jobs set it themselves"
    for field, (what, low, high, names) in zip((config.ci.schedule or "").split(), CRON_FIELDS, strict=False):
        if not is_cron(field, low, high, names.split()):
            yield ("ci", "schedule"), f"{field!r} is no {what} from {low} to {high}"
    for key in ("staging", "deploy", "rollback"):
        if "${{" in (getattr(config.ci, key) or ""):
            yield (
                ("ci", key),
                "is a command of a shell, and ${{ }} is GitHub's: name the secret in ci.secrets, then $NAME",
            )
    if config.ci.rollback is not None and config.ci.deploy is None:
        yield ("ci", "rollback"), "needs ci.deploy, of which it takes back what that did"
    login = registry_of(config.ci.image)
    if login in ("aws", "gcp", "azure") and config.ci.cloud != login:
        yield ("ci", "image"), f"its registry takes a login of {login}'s (ci: {{cloud: {login}}})"
    lacking = [key for key in ("data", "train") if key not in config.model_fields_set]
    if lacking:
        asks = ("data", "train", "validation", "features", "split", "evaluate")
        yield from (((key,), f"needs {lacking[0]}") for key in asks if key in config.model_fields_set)
        yield from (
            (("monitor", key), f"needs {lacking[0]}") for key in ("labels", "on_alert") if getattr(config.monitor, key)
        )
        return
    sources = list(config.data.sources)
    labels = config.data.labels
    if labels.source not in sources:
        yield ("data", "labels", "source"), f"no source {labels.source!r} ({did_you_mean(labels.source, sources)})"
        return
    for name, source in config.data.sources.items() if tables else ():
        loc = ("data", "sources", name, "path")
        file = root / source.path
        if not file.is_file():
            pulled = Path(f"{file}.dvc").is_file()
            siblings = sorted(p.name for p in file.parent.iterdir()) if file.parent.is_dir() else []
            hint = "run: dvc pull" if pulled else suggestion(file.name, siblings) or "no such file"
            yield loc, f"{source.path!r} is not there ({hint})"
        elif file.stat().st_size == 0:
            yield loc, f"{source.path!r} is empty"
    for name in config.validation:
        if name not in sources:
            yield ("validation", name), f"no source {name!r} ({did_you_mean(name, sources)})"
        elif not config.validation[name]:
            yield ("validation", name), "an empty suite checks nothing; leave the table out or name expectations"
    known = list(METRICS[labels.task]) if labels.task else ALL_METRICS
    of_task = f" for a {labels.task} task" if labels.task else ""
    for at, metric in enumerate(config.evaluate.metrics):
        if metric not in known:
            yield ("evaluate", "metrics", at), f"no metric {metric!r}{of_task} ({did_you_mean(metric, known)})"
    for metric in config.evaluate.thresholds:
        if metric not in known:
            yield ("evaluate", "thresholds", metric), f"no metric {metric!r}{of_task} ({did_you_mean(metric, known)})"
    if config.promote.metric is not None and config.promote.metric not in known:
        said = f"no metric {config.promote.metric!r}{of_task} ({did_you_mean(config.promote.metric, known)})"
        yield ("promote", "metric"), said
    needs = {"time": config.source.timestamp, "entity": config.source.entity}
    if config.split.by in needs and needs[config.split.by] is None:
        key = "timestamp" if config.split.by == "time" else "entity"
        yield ("split", "by"), f"{config.split.by!r} needs data.sources.{labels.source}.{key}"
    yield from _monitor_checks(config, known, of_task)
    yield from _feature_checks(config, root)
    listed = [
        (kind, c) for kind in ("number", "category", "boolean", "datetime") for c in getattr(config.features, kind)
    ]
    seen: dict[str, str] = {}
    for kind, column in listed:
        if column == labels.target:
            yield ("features", kind), f"{column!r} is the target"
        elif column in OWN_COLUMNS:
            yield ("features", kind), f"{column!r} is a name that glue uses; rename the column"
        elif column in seen or column in config.features.exclude:
            yield ("features", kind), f"{column!r} stands in {seen.get(column, 'exclude')} too"
        seen[column] = kind


def _monitor_checks(config: Config, known: list[str], of_task: str) -> Iterator[tuple[tuple[Any, ...], str]]:
    """What `monitor` says, against the rest."""
    monitor, log = config.monitor, config.serve.log
    name, evaluated = monitor.performance.metric, [*config.evaluate.metrics, *config.evaluate.thresholds]
    if name is not None and name not in known:
        yield ("monitor", "performance", "metric"), f"no metric {name!r}{of_task} ({did_you_mean(name, known)})"
    elif name is not None and config.evaluate.metrics and name not in evaluated:
        yield ("monitor", "performance", "metric"), f"{name!r} is not in evaluate.metrics, so no holdout tells of it"
    if monitor.labels is not None and monitor.labels.entity in {*log.omit, *log.hash}:
        yield ("monitor", "labels", "entity"), f"{monitor.labels.entity!r} is not in the log as it is; give id instead"
    if monitor.on_alert and monitor.labels is None and monitor.retrain.data == "append":
        said = "takes labelled rows of the log: monitor.labels says where the truth is; or retrain: {data: reread}"
        yield ("monitor", "on_alert"), said


def _feature_checks(config: Config, root: Path) -> Iterator[tuple[tuple[Any, ...], str]]:
    """What `features` says of Feast, against the rest and the files."""
    features, labels = config.features, config.data.labels
    if not features.use:
        if features.transform is not None:
            yield ("features", "transform"), "makes feature tables, and features.use takes nothing from them"
        return
    if not (root / features.repo / "feature_store.yaml").is_file():
        yield ("features", "repo"), f"no feature_store.yaml in {features.repo!r} (a Feast repository has one)"
    if config.source.timestamp is None:
        yield ("features", "use"), f"a join as of a time needs data.sources.{labels.source}.timestamp"
    for at, ref in enumerate(features.use if isinstance(features.use, list) else []):
        if not re.fullmatch(r"[^:]+:[^:]+", ref):
            yield ("features", "use", at), f"{ref!r} is not view:feature"
        elif ref in features.use[:at]:
            yield ("features", "use", at), f"{ref!r} stands there twice"
    for name, source in config.data.sources.items():
        if name != labels.source and name in RESERVED:
            yield ("data", "sources", name), "is a name that glue uses; rename the source"
        if name != labels.source and isinstance(source.timestamp, list):
            yield ("data", "sources", name, "timestamp"), "one column says when a feature was so"
