"""What one key of `glue.yaml` alone cannot show: each section against the others and the files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mlops_glue import metrics
from mlops_glue.config.data import Source
from mlops_glue.config.models import KINDS, Config
from mlops_glue.config.parse import Location, Problem
from mlops_glue.layout import OWN_COLUMNS, RESERVED
from mlops_glue.secrets import has_password
from mlops_glue.suggest import did_you_mean, suggestion

PIPELINE = ("data", "train", "validation", "features", "split", "evaluate")  # sections of no use without data and train
REGISTRY_LOGINS = {
    "ghcr.io": "ghcr",
    ".amazonaws.com": "aws",
    ".pkg.dev": "gcp",
    ".gcr.io": "gcp",
    ".azurecr.io": "azure",
}


def cross_checks(config: Config, root: Path, *, tables: bool) -> Iterator[Problem]:
    """Every problem between sections, where each key is sound; `tables`: must those of `data.sources` exist?"""
    yield from _ci(config)
    lacking = [key for key in ("data", "train") if key not in config.model_fields_set]
    if lacking:
        yield from (((key,), f"needs {lacking[0]}") for key in PIPELINE if key in config.model_fields_set)
        for key in ("labels", "on_alert"):
            if getattr(config.monitor, key):
                yield ("monitor", key), f"needs {lacking[0]}"
        return
    sources, labels = list(config.data.sources), config.data.labels
    if labels.source not in sources:
        yield ("data", "labels", "source"), f"no source {labels.source!r} ({did_you_mean(labels.source, sources)})"
        return
    yield from _queries(config)
    if tables:
        yield from missing_tables(config, root)
    yield from _train(config)
    yield from _validation(config)
    yield from _metrics(config)
    yield from _decision(config)
    for by, key in (("time", "timestamp"), ("entity", "entity")):
        if config.split.by == by and getattr(config.source, key) is None:
            yield ("split", "by"), f"{by!r} needs data.sources.{labels.source}.{key}"
    yield from _monitor(config)
    if config.features.use:
        yield from _feast(config, root)
    elif config.features.transform is not None:
        yield ("features", "transform"), "makes feature tables, and features.use takes nothing from them"
    yield from _columns(config)


def registry_of(image: str | None) -> str | None:
    """Whose login the image's registry takes; None: a name and a password."""
    host = (image or "").partition("/")[0]
    return next((login for end, login in REGISTRY_LOGINS.items() if host.endswith(end)), None)


def _ci(config: Config) -> Iterator[Problem]:
    ci = config.ci
    if ci.env is not None and ci.env not in config.environments:
        yield ("ci", "env"), f"no environment {ci.env!r} ({did_you_mean(ci.env, [*config.environments])})"
    for at, name in enumerate(ci.secrets):
        if name.startswith("GITHUB_") or name in ("PATH", "HOME", "GLUE_ENV"):
            yield ("ci", "secrets", at), f"{name!r}: GitHub or the jobs set it themselves"
    for key in ("staging", "deploy", "rollback"):
        if "${{" in (getattr(ci, key) or ""):
            problem = "is a command of a shell, and ${{ }} is GitHub's: name the secret in ci.secrets, then $NAME"
            yield ("ci", key), problem
    if ci.rollback is not None and ci.deploy is None:
        yield ("ci", "rollback"), "needs ci.deploy, of which it takes back what that did"
    login = registry_of(ci.image)
    if ci.service == "gitlab" and ci.cloud is not None:
        yield ("ci", "cloud"), "is a login of GitHub's jobs; GitLab's have the keys as CI/CD variables (cloud: null)"
    elif ci.service == "gitlab" and login in ("aws", "gcp", "azure"):
        yield ("ci", "image"), f"its registry takes a login of {login}'s, which only jobs of GitHub make"
    elif login in ("aws", "gcp", "azure") and ci.cloud != login:
        yield ("ci", "image"), f"its registry takes a login of {login}'s (ci: {{cloud: {login}}})"


def _queries(config: Config) -> Iterator[Problem]:
    for name, source in config.data.sources.items():
        if source.url is not None and (problem := url_problem(source.url)) is not None:
            yield ("data", "sources", name, "url"), problem


def url_problem(url: str) -> str | None:
    """What is wrong with the URL of a query, as it is written; None where nothing is."""
    if not url.startswith(("postgresql://", "postgres://", "duckdb://", "${")):
        return "is no postgresql:// or duckdb:// URL"
    return "has a password in it; put the URL into a variable, and name it: ${NAME}" if has_password(url) else None


def missing_tables(config: Config, root: Path) -> Iterator[Problem]:
    """The tables of `data.sources` that are not there, or empty; what a query gives is there once it is read."""
    for name, source in config.data.sources.items() if config.data is not None else ():
        if source.query is None:
            yield from _table(name, source, root)


def _table(name: str, source: Source, root: Path) -> Iterator[Problem]:
    location, file = ("data", "sources", name, "path"), root / source.path
    if file.is_dir():
        if not any(file.rglob("*.parquet")):
            yield location, f"{source.path!r} is a folder without Parquet files"
    elif not file.is_file():
        siblings = sorted(path.name for path in file.parent.iterdir()) if file.parent.is_dir() else []
        is_tracked = Path(f"{file}.dvc").is_file()
        hint = "run: dvc pull" if is_tracked else suggestion(file.name, siblings) or "no such file"
        yield location, f"{source.path!r} is not there ({hint})"
    elif file.stat().st_size == 0:
        yield location, f"{source.path!r} is empty"


def _train(config: Config) -> Iterator[Problem]:
    if config.train.onnx is not None and config.train.estimator is not None:
        yield ("train", "onnx"), "there is train.estimator too: leave one of them out"
    if config.train.onnx is not None and config.train.early_stopping is not None:
        yield ("train", "early_stopping"), "is of boosting; a function of train.onnx stops as it likes"
    if config.train.onnx is not None and config.train.categories == "native":
        yield ("train", "categories"), "is of glue's preprocessing, and train.onnx has its own"
    if config.train.target != "as_is":
        task = config.data.labels.task
        if config.train.onnx is not None:
            yield ("train", "target"), "is of an estimator; a function of train.onnx may take the logarithm itself"
        elif task not in (None, "regression"):
            yield ("train", "target"), f"{config.train.target} is of numbers, and data.labels.task is {task}"


def _validation(config: Config) -> Iterator[Problem]:
    sources = list(config.data.sources)
    for name, expectations in config.validation.items():
        if name not in sources:
            yield ("validation", name), f"no source {name!r} ({did_you_mean(name, sources)})"
        elif not expectations:
            yield ("validation", name), "an empty suite checks nothing; leave the table out or name expectations"


def _metrics(config: Config) -> Iterator[Problem]:
    """Metrics that the task does not have, or that the holdout is not measured by."""
    task, evaluate, performance = config.data.labels.task, config.evaluate, config.monitor.performance
    tasks, own = [task] if task else list(metrics.TASKS), evaluate.own
    named: dict[Location, str | None] = {
        **{("evaluate", "metrics", at): one for at, one in enumerate(evaluate.metrics) if isinstance(one, str)},
        **{("evaluate", "thresholds", metric): metric for metric in evaluate.thresholds},
        ("promote", "metric"): config.promote.metric,
        ("monitor", "performance", "metric"): performance.metric,
    }
    unknown = {
        location: metric
        for location, metric in named.items()
        if metric is not None and metric not in own and not any(metrics.find(one, metric) for one in tasks)
    }
    for location, metric in unknown.items():
        if metric != "cost" or evaluate.cost is None:
            for_task = f" for a {task} task" if task else ""
            yield location, f"no metric {metric!r}{for_task} ({_meant(metric, [*metrics.names(tasks), *own])})"
    called = [one.called for one in evaluate.metrics if not isinstance(one, str)]
    for name in own:
        if name == "cost" or any(metrics.find(one, name) for one in metrics.TASKS) or called.count(name) > 1:
            yield (
                ("evaluate", "metrics"),
                f"there is another metric {name!r}; give yours a {{name: my_{name}}}",
            )
    measured = {*evaluate.measured(list(metrics.METRICS[task]) if task else []), *evaluate.thresholds}
    is_known = performance.metric is not None and ("monitor", "performance", "metric") not in unknown
    if is_known and (task or evaluate.metrics) and performance.metric not in measured:
        problem = f"{performance.metric!r} is not in evaluate.metrics, so it has no value on the holdout"
        yield ("monitor", "performance", "metric"), problem
    watched = performance.metric or (config.promote.metric if config.monitor.labels is not None else None)
    if watched is not None and (found := metrics.find("binary", watched)) is not None and found.of_count:
        problem = f"{watched!r} is of so many rows, and a window has more or fewer than the holdout"
        yield ("monitor", "performance", "metric"), f"{problem} (precision_at_5% can be compared)"


def _meant(name: str, known: list[str]) -> str:
    """How a metric is written that others call by this name."""
    if ":" in name:
        return f'one of your own: {{function: "{name}", higher_is_better: true}}'
    if name == "cost":
        return "it needs evaluate.cost: {false_positive: 1, false_negative: 10}"
    also = metrics.ALSO_CALLED.get(name.removeprefix("neg_").removesuffix("_score"))
    return f"did you mean {also!r}?" if also in known else did_you_mean(name, known)


def _decision(config: Config) -> Iterator[Problem]:
    """A threshold that the task does not have, or that nothing chooses."""
    task, evaluate, chosen = config.data.labels.task, config.evaluate, config.evaluate.chosen
    where = ("evaluate", "decision_threshold")
    costs_alone = chosen is not None and chosen.by == "cost" and chosen.words == "cost"
    if evaluate.decision_threshold is not None and task not in (None, "binary"):
        if task == "regression":
            yield where, "is of classes, and data.labels.task is regression"
            return
        if not costs_alone:
            yield where, "of several classes there is no threshold, but {by: cost}: the class of the least cost"
    if chosen is None:
        return
    own, metric = evaluate.own.get(chosen.by), metrics.find("binary", chosen.by)
    if chosen.by == "cost":
        if evaluate.cost is None:
            yield (*where, "by"), f"'cost' ({_meant('cost', [])})"
    elif own is None and metric is None:
        known = [*metrics.names(["binary"]), *evaluate.own]
        yield (*where, "by"), f"no metric {chosen.by!r} of two classes ({_meant(chosen.by, known)})"
    elif (metric is not None and not metric.of_label) or (own is not None and own.needs == "probability"):
        yield (*where, "by"), f"{chosen.by!r} takes the probabilities, so that no threshold makes it better"


def _monitor(config: Config) -> Iterator[Problem]:
    monitor, log = config.monitor, config.serve.log
    if monitor.labels is not None and monitor.labels.entity in {*log.omit, *log.hash}:
        yield ("monitor", "labels", "entity"), f"{monitor.labels.entity!r} is not in the log as it is; give id instead"
    if monitor.on_alert and monitor.labels is None and monitor.retrain.data == "append":
        problem = "takes labelled rows of the log: monitor.labels says where the truth is; or retrain: {data: reread}"
        yield ("monitor", "on_alert"), problem
    elif monitor.on_alert and monitor.retrain.data == "append" and config.source.query is not None:
        problem = "adds rows of the log to the labels' table, which a query gives: monitor: {retrain: {data: reread}}"
        yield ("monitor", "on_alert"), problem
    elif monitor.on_alert and monitor.retrain.data == "append" and config.train.weight is not None:
        yield ("train", "weight"), "is not in the log, whose rows a retraining adds: monitor: {retrain: {data: reread}}"


def _feast(config: Config, root: Path) -> Iterator[Problem]:
    features, labels = config.features, config.data.labels
    if not (root / features.repo / "feature_store.yaml").is_file():
        yield ("features", "repo"), f"no feature_store.yaml in {features.repo!r} (a Feast repository has one)"
    if config.source.timestamp is None:
        yield ("features", "use"), f"a join as of a time needs data.sources.{labels.source}.timestamp"
    for at, reference in enumerate(features.use if isinstance(features.use, list) else []):
        if not re.fullmatch(r"[^:]+:[^:]+", reference):
            yield ("features", "use", at), f"{reference!r} is not view:feature"
        elif reference in features.use[:at]:
            yield ("features", "use", at), f"{reference!r} stands there twice"
    others = {name: source for name, source in config.data.sources.items() if name != labels.source}
    for name, source in others.items():
        if name in RESERVED:
            yield ("data", "sources", name), "is a name that glue uses; rename the source"
        if isinstance(source.timestamp, list):
            yield ("data", "sources", name, "timestamp"), "one column says when a feature was so"


def _columns(config: Config) -> Iterator[Problem]:
    """Columns of `features` that cannot be features, or are listed twice; a weight that can be none."""
    if config.train.weight == config.data.labels.target:
        yield ("train", "weight"), f"{config.train.weight!r} is the target"
    lists = {kind: getattr(config.features, kind) for kind in KINDS}
    listed_in = dict.fromkeys(config.features.exclude, "exclude")
    for kind, column in ((kind, column) for kind, columns in lists.items() for column in columns):
        if column == config.data.labels.target:
            yield ("features", kind), f"{column!r} is the target"
        elif column == config.train.weight:
            yield ("features", kind), f"{column!r} is train.weight, and so no feature: remove it from this list"
        elif column in OWN_COLUMNS:
            yield ("features", kind), f"{column!r} is a name that glue uses; rename the column"
        elif column in listed_in:
            yield ("features", kind), f"{column!r} stands in {listed_in[column]} too"
        else:
            listed_in[column] = kind
