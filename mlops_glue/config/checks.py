"""Checks that need more than one key of `glue.yaml`: sections against each other and against the files."""

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

PIPELINE = ("data", "train", "validation", "features", "split", "evaluate")  # sections that need data and train
REGISTRY_LOGINS = {
    "ghcr.io": "ghcr",
    ".amazonaws.com": "aws",
    ".pkg.dev": "gcp",
    ".gcr.io": "gcp",
    ".azurecr.io": "azure",
}


def cross_checks(config: Config, root: Path, *, tables: bool) -> Iterator[Problem]:
    """Yield every problem between sections, given valid keys; `tables`: the tables of `data.sources` must exist."""
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
        yield ("features", "transform"), "creates feature tables, but features.use selects nothing from them"
    yield from _columns(config)


def registry_of(image: str | None) -> str | None:
    """Return the kind of login that the image's registry needs; None for a user name and a password."""
    host = (image or "").partition("/")[0]
    return next((login for end, login in REGISTRY_LOGINS.items() if host.endswith(end)), None)


def _ci(config: Config) -> Iterator[Problem]:
    ci = config.ci
    if ci.env is not None and ci.env not in config.environments:
        yield ("ci", "env"), f"no environment {ci.env!r} ({did_you_mean(ci.env, [*config.environments])})"
    for at, name in enumerate(ci.secrets):
        if name.startswith("GITHUB_") or name in ("PATH", "HOME", "GLUE_ENV"):
            yield ("ci", "secrets", at), f"{name!r}: GitHub or the jobs already set it"
    for key in ("staging", "deploy", "rollback"):
        if "${{" in (getattr(ci, key) or ""):
            problem = "is a shell command, and ${{ }} is GitHub syntax: add the secret to ci.secrets and use $NAME"
            yield ("ci", key), problem
    if ci.rollback is not None and ci.deploy is None:
        yield ("ci", "rollback"), "needs ci.deploy, which it reverts"
    login = registry_of(ci.image)
    if ci.service == "gitlab" and ci.cloud is not None:
        yield (
            ("ci", "cloud"),
            "is a login for GitHub's jobs; GitLab's jobs have the keys as CI/CD variables (cloud: null)",
        )
    elif ci.service == "gitlab" and login in ("aws", "gcp", "azure"):
        yield ("ci", "image"), f"its registry needs a login to {login}, which only GitHub's jobs support"
    elif login in ("aws", "gcp", "azure") and ci.cloud != login:
        yield ("ci", "image"), f"its registry needs a login to {login} (ci: {{cloud: {login}}})"


def _queries(config: Config) -> Iterator[Problem]:
    for name, source in config.data.sources.items():
        if source.url is not None and (problem := url_problem(source.url)) is not None:
            yield ("data", "sources", name, "url"), problem


def url_problem(url: str) -> str | None:
    """Describe the problem with the URL of a query, as written in the file; None if there is no problem."""
    if not url.startswith(("postgresql://", "postgres://", "duckdb://", "${")):
        return "is not a postgresql:// or duckdb:// URL"
    return (
        "contains a password; put the URL into an environment variable and write ${NAME}" if has_password(url) else None
    )


def missing_tables(config: Config, root: Path) -> Iterator[Problem]:
    """Yield the tables of `data.sources` that are missing or empty; a query's table exists once the query has run."""
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
        yield location, f"{source.path!r} does not exist ({hint})"
    elif file.stat().st_size == 0:
        yield location, f"{source.path!r} is empty"


def _train(config: Config) -> Iterator[Problem]:
    if config.train.onnx is not None and config.train.estimator is not None:
        yield ("train", "onnx"), "cannot be combined with train.estimator: remove one of them"
    if config.train.onnx is not None and config.train.early_stopping is not None:
        yield ("train", "early_stopping"), "applies to boosting; a function of train.onnx must stop early itself"
    if config.train.onnx is not None and config.train.categories == "native":
        yield ("train", "categories"), "applies to glue's preprocessing, and train.onnx has its own"
    if config.train.target != "as_is":
        task = config.data.labels.task
        if config.train.onnx is not None:
            yield ("train", "target"), "applies to an estimator; a function of train.onnx may take the logarithm itself"
        elif task not in (None, "regression"):
            yield ("train", "target"), f"{config.train.target} needs a numeric target, but data.labels.task is {task}"


def _validation(config: Config) -> Iterator[Problem]:
    sources = list(config.data.sources)
    for name, expectations in config.validation.items():
        if name not in sources:
            yield ("validation", name), f"no source {name!r} ({did_you_mean(name, sources)})"
        elif not expectations:
            yield ("validation", name), "an empty suite checks nothing; remove the table or add expectations"


def _metrics(config: Config) -> Iterator[Problem]:
    """Yield metrics that the task does not have, or that are not computed on the holdout."""
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
                f"there is another metric named {name!r}; rename yours: {{name: my_{name}}}",
            )
    measured = {*evaluate.measured(list(metrics.METRICS[task]) if task else []), *evaluate.thresholds}
    is_known = performance.metric is not None and ("monitor", "performance", "metric") not in unknown
    if is_known and (task or evaluate.metrics) and performance.metric not in measured:
        problem = f"{performance.metric!r} is not in evaluate.metrics, so it has no value on the holdout"
        yield ("monitor", "performance", "metric"), problem
    watched = performance.metric or (config.promote.metric if config.monitor.labels is not None else None)
    if watched is not None and (found := metrics.find("binary", watched)) is not None and found.of_count:
        problem = f"{watched!r} counts a fixed number of rows, and a window's size differs from the holdout's"
        yield ("monitor", "performance", "metric"), f"{problem} (precision_at_5% can be compared)"


def _meant(name: str, known: list[str]) -> str:
    """Return a hint for an unknown metric name: glue's name for it, or a similar name."""
    if ":" in name:
        return f'one of your own: {{function: "{name}", higher_is_better: true}}'
    if name == "cost":
        return "it needs evaluate.cost: {false_positive: 1, false_negative: 10}"
    also = metrics.ALSO_CALLED.get(name.removeprefix("neg_").removesuffix("_score"))
    return f"did you mean {also!r}?" if also in known else did_you_mean(name, known)


def _decision(config: Config) -> Iterator[Problem]:
    """Yield problems of the threshold: the task has none, or the metric cannot choose one."""
    task, evaluate, chosen = config.data.labels.task, config.evaluate, config.evaluate.chosen
    where = ("evaluate", "decision_threshold")
    costs_alone = chosen is not None and chosen.by == "cost" and chosen.words == "cost"
    if evaluate.decision_threshold is not None and task not in (None, "binary"):
        if task == "regression":
            yield where, "applies to classes, but data.labels.task is regression"
            return
        if not costs_alone:
            yield where, "a multiclass task has no threshold; use {by: cost} to pick the class with the lowest cost"
    if chosen is None:
        return
    own, metric = evaluate.own.get(chosen.by), metrics.find("binary", chosen.by)
    if chosen.by == "cost":
        if evaluate.cost is None:
            yield (*where, "by"), f"'cost' ({_meant('cost', [])})"
    elif own is None and metric is None:
        known = [*metrics.names(["binary"]), *evaluate.own]
        yield (*where, "by"), f"no binary metric {chosen.by!r} ({_meant(chosen.by, known)})"
    elif (metric is not None and not metric.of_label) or (own is not None and own.needs == "probability"):
        yield (*where, "by"), f"{chosen.by!r} is computed from the probabilities, so no threshold improves it"


def _monitor(config: Config) -> Iterator[Problem]:
    monitor, log = config.monitor, config.serve.log
    if monitor.labels is not None and monitor.labels.entity in {*log.omit, *log.hash}:
        yield (
            ("monitor", "labels", "entity"),
            f"{monitor.labels.entity!r} is hashed or omitted in the log; give id instead",
        )
    if monitor.on_alert and monitor.labels is None and monitor.retrain.data == "append":
        problem = "needs labelled rows of the log: set monitor.labels, or retrain: {data: reread}"
        yield ("monitor", "on_alert"), problem
    elif monitor.on_alert and monitor.retrain.data == "append" and config.source.query is not None:
        problem = "would add rows to the labels' table, which comes from a query: monitor: {retrain: {data: reread}}"
        yield ("monitor", "on_alert"), problem
    elif monitor.on_alert and monitor.retrain.data == "append" and config.train.weight is not None:
        yield (
            ("train", "weight"),
            "is not in the log, whose rows a retraining would add: monitor: {retrain: {data: reread}}",
        )


def _feast(config: Config, root: Path) -> Iterator[Problem]:
    features, labels = config.features, config.data.labels
    if not (root / features.repo / "feature_store.yaml").is_file():
        yield ("features", "repo"), f"no feature_store.yaml in {features.repo!r} (a Feast repository has one)"
    if config.source.timestamp is None:
        yield ("features", "use"), f"a point-in-time join needs data.sources.{labels.source}.timestamp"
    for at, reference in enumerate(features.use if isinstance(features.use, list) else []):
        if not re.fullmatch(r"[^:]+:[^:]+", reference):
            yield ("features", "use", at), f"{reference!r} is not view:feature"
        elif reference in features.use[:at]:
            yield ("features", "use", at), f"{reference!r} is listed twice"
    others = {name: source for name, source in config.data.sources.items() if name != labels.source}
    for name, source in others.items():
        if name in RESERVED:
            yield ("data", "sources", name), "is a name reserved by glue; rename the source"
        if isinstance(source.timestamp, list):
            yield ("data", "sources", name, "timestamp"), "must be a single column for a feature table"


def _columns(config: Config) -> Iterator[Problem]:
    """Yield columns of `features` that cannot be features or are listed twice, an invalid target or `train.weight`."""
    target = config.data.labels.target
    if target in OWN_COLUMNS:
        yield ("data", "labels", "target"), f"{target!r} is a name reserved by glue; rename the column"
    if config.train.weight == target:
        yield ("train", "weight"), f"{target!r} is the target"
    lists = {kind: getattr(config.features, kind) for kind in KINDS}
    listed_in = dict.fromkeys(config.features.exclude, "exclude")
    for kind, column in ((kind, column) for kind, columns in lists.items() for column in columns):
        if column == target:
            yield ("features", kind), f"{column!r} is the target"
        elif column == config.train.weight:
            yield ("features", kind), f"{column!r} is train.weight, which cannot be a feature: remove it from this list"
        elif column in OWN_COLUMNS:
            yield ("features", kind), f"{column!r} is a name reserved by glue; rename the column"
        elif column in listed_in:
            yield ("features", kind), f"{column!r} is also listed in {listed_in[column]}"
        else:
            listed_in[column] = kind
