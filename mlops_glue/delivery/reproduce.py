"""A version made again from what was recorded, beside the user's project, and the proof of how alike the two are."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlops_glue import config as configs
from mlops_glue import files, layout, row_groups, tables
from mlops_glue.adapters import dvc
from mlops_glue.adapters.git import code as git_code
from mlops_glue.adapters.mlflow import Store
from mlops_glue.delivery import exact_env, provenance
from mlops_glue.delivery.provenance import Provenance
from mlops_glue.errors import CheckFailed, ConfigError, DataError, ToolError
from mlops_glue.pipeline import evaluation as evaluations
from mlops_glue.pipeline import execute, stages
from mlops_glue.pipeline.refit import TOLERANCE
from mlops_glue.pipeline.session import OnStage
from mlops_glue.scoring import Bundle
from mlops_glue.secrets import redacted

log = logging.getLogger(__name__)

LEVELS = ("nothing", "metrics", "predictions", "bytes")  # each holds all before it
METRIC_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Check:
    """What was compared, and whether it is equal."""

    name: str
    equal: bool
    detail: str


@dataclass(frozen=True)
class Proof:
    """How alike a version and its rebuild are.

    Attributes:
        level: the highest that was reached: bytes, predictions, metrics or nothing.
        checks: what was compared.
        unlike: how this environment differs from the recorded one.
        expected: the best level that can be expected: less than bytes where the estimator is not deterministic.
        rebuilt: SHA-256 of each file of the rebuilt bundle.
    """

    level: str
    checks: list[Check]
    unlike: list[str] = field(default_factory=list)
    expected: str = LEVELS[-1]
    rebuilt: dict[str, str] = field(default_factory=dict)


def reproduce(
    config: configs.Config,
    root: Path,
    store: Store,
    version: int,
    on_stage: OnStage,
    *,
    exactly: bool = False,
    push: bool = False,
) -> tuple[Proof, Provenance]:
    """Make a version again in a temporary folder, and compare.

    The user's checkout, cache, registry and history are only read.

    Args:
        config: of the project, which says where DVC's remote is.
        root: the project.
        store: the registry.
        version: its number.
        on_stage: is called as each stage begins and ends.
        exactly: build the recorded environment, instead of using this one.
        push: send the raw tables, which are what was recorded, to DVC's remote; nothing else is written outside.

    Raises:
        DataError: what the version was made of is not to be had, or is not what was recorded.
        ToolError: a stage failed.
    """
    name = config.model_name
    with tempfile.TemporaryDirectory(prefix="glue-reproduce-") as scratch:
        folder = Path(scratch)
        bundle = store.download_bundle(name, version, folder / "registered")
        record, code = recorded(store, name, version, folder)
        evaluation = store.download_artifact(name, version, "evaluation", folder / "registered")
        with git_code.restored(root, code) as tree:
            project = tree / code.prefix
            _bring(config, root, project, record, folder / "cache", version, push=push)
            made = _as_made(project, record)
            environment = exact_env.build(record.environment, folder / "env") if exactly else None
            here = provenance.environment(config, root)
            unlike = [] if exactly else exact_env.differences(record.environment, here)
            before = dvc.locked(project)
            if environment is None:
                refuse_other_format(before, version, record.environment["glue"])
            if environment is None and here["variables"] == record.environment["variables"]:
                here_run = execute.in_process(made, project) if dvc.in_process_supported() else {}
                dvc.reproduce(project, here_run, on_stage, force=True, variables=execute.variables(made))
            else:
                with _variables(record, environment):
                    dvc.reproduce(project, {}, on_stage, force=True, variables=execute.variables(made))
            checks = [
                *_hashes(before, dvc.locked(project)),
                *_models(bundle, project, made),
                _metrics(evaluation, project, record.refit),
            ]
            rebuilt = files.sha256s(project / layout.BUNDLE)
    reached = {check.name: check.equal for check in checks}
    level = next((level for level in reversed(LEVELS) if reached.get(level)), LEVELS[0])
    return Proof(level, checks, unlike, expected(record.refit), rebuilt), record


def refuse_other_format(lock: dict[str, Any], version: int, glue: str) -> None:
    """What the stages make is of another form in another glue, so nothing could be equal.

    Raises:
        ToolError: they are not those of this glue.
    """
    theirs = [entry["cmd"] for name, entry in lock.items() if name in stages.NAMES]
    if other := [command for command in theirs if command not in {stage.command for stage in stages.STAGES}]:
        problem = f"v{version} was made by {other[0]!r} of glue {glue}, and this glue has {stages.FORMAT}"
        raise ToolError(problem, hint=f"glue reproduce {version} --exact-env, which brings that glue")


def expected(differs: float | None) -> str:
    """The best level that can be expected where two fits of the same rows differ by so much in a prediction."""
    return "bytes" if differs is None else "predictions" if differs <= TOLERANCE else "metrics"


def recorded(store: Store, name: str, version: int, into: Path) -> tuple[Provenance, git_code.Code]:
    """The record of a version, and its code.

    Raises:
        DataError: it has none.
    """
    try:
        folder = store.download_artifact(name, version, provenance.FOLDER, into)
        record, patch = provenance.read(folder)
    except (DataError, OSError) as error:
        problem = f"{name} v{version} has no record of what it was made of"
        raise DataError(
            problem, hint="it was made by an older glue, or imported; glue run makes one that has"
        ) from error
    code = {key: value for key, value in record.code.items() if key != "dirty"}
    return record, git_code.Code(patch=patch, **code)


def _bring(
    config: configs.Config, root: Path, project: Path, record: Provenance, cache: Path, version: int, *, push: bool
) -> None:
    """The raw tables and the code that was left out of the record; each file is hashed, as DVC does not."""
    for path, sha256 in record.code["left_out"].items():
        if (project / path).is_file() and files.sha256(project / path) == sha256:
            continue  # the commit has it
        found = files.sha256(root / path) if (root / path).is_file() else "none"
        if found != sha256:
            problem = f"{path} was left out of the record, and is not here as it was (SHA-256 {sha256})"
            raise DataError(problem, hint=f"bring back {path} as it was then: only big files, and others' are left out")
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_bytes((root / path).read_bytes())
    remote, unset = None, None
    try:
        remote = configs.remote_url(config)
    except ConfigError as error:  # DVC's cache may do
        unset = error.message
    wanted = {table.path: table.md5 for table in record.data if not (project / table.path).is_file()}
    missing = dvc.restore(root, project, wanted, remote, cache)
    if missing:
        listed = "; ".join(f"{path} (md5 {wanted[path]}): {why}" for path, why in missing.items())
        raise DataError(f"the data is not to be had: {listed}", hint=unset or _where_else(record, version))
    for table in record.data:
        found = files.sha256(project / table.path)
        if found != table.sha256:
            kept = f"files/md5/{table.md5[:2]}/{table.md5[2:]}"
            raise CheckFailed(
                f"{table.path} is not what was recorded: its SHA-256 is {found}, and {table.sha256} was trained on",
                hint=f"{kept} in DVC's cache, or else that in its remote, is damaged: "
                f"remove it, and glue reproduce {version} takes the other one",
            )
    if push:
        log.info("%s: sent to %s", ", ".join(wanted) or "nothing", redacted(dvc.send(root, wanted, remote)))


def _as_made(project: Path, record: Provenance) -> configs.Config:
    """The recorded config in the environment that has the tables where they were, and not in one of this shell."""
    config, paths = configs.load(project, "", tables=False), {table.name: table.path for table in record.data}
    every = [config, *(configs.in_environment(config, env) for env in config.environments)]
    return next((one for one in every if {n: s.path for n, s in one.data.sources.items()} == paths), config)


def _where_else(record: Provenance, version: int) -> str:
    """Where a table may still be that is in neither the cache here nor the remote."""
    made = f"in the clone of {record.actor.get('host', 'the machine')} that made it: glue reproduce {version} --push"
    return f"{made}; where dvc gc has removed it there too, dvc add a copy of the file"


@contextlib.contextmanager
def _variables(record: Provenance, environment: Path | None) -> Iterator[None]:
    """The recorded threads, and the commands of the environment first; the stages run as processes of their own."""
    before = dict(os.environ)
    commands = environment or Path(sys.executable).parent
    for name in provenance.THREADS:
        os.environ.pop(name, None)
    os.environ |= record.environment["variables"] | {"PATH": f"{commands}{os.pathsep}{before.get('PATH', '')}"}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _hashes(then: dict[str, Any], now: dict[str, Any]) -> list[Check]:
    """By stage: are the outputs those that `dvc.lock` recorded?"""
    out = []
    for stage, entry in then.items():
        wanted = {made["path"]: made["md5"] for made in entry.get("outs", [])}
        found = {made["path"]: made["md5"] for made in now.get(stage, {}).get("outs", [])}
        unlike = [path for path, md5 in wanted.items() if found.get(path) != md5]
        out.append(Check(stage, not unlike, f"{', '.join(unlike)} differ" if unlike else f"{len(wanted)} hashes equal"))
    return out


def _models(bundle: Path, project: Path, config: configs.Config) -> list[Check]:
    """The bundles byte by byte, and by what they predict of the holdout."""
    rebuilt = project / layout.BUNDLE
    then, now = files.sha256s(bundle), files.sha256s(rebuilt)
    unlike = sorted(name for name in {*then, *now} if then.get(name) != now.get(name))
    model = next((name for name in ("model.onnx", "model.skops") if name in then), "model.onnx")
    same = model not in unlike
    detail = f"{model} sha256 {then.get(model, 'absent')[:16]}"
    if unlike:
        detail += f"; {', '.join(unlike)} differ"
    both = [Bundle(folder, trust=config.package.trust) for folder in (bundle, rebuilt)] if unlike else []
    worst = _difference(both[0], both[1], project, config) if both else 0.0
    predicted = f"the largest difference on the holdout is {worst:.2g} (at most {TOLERANCE:g})"
    return [Check("bytes", same, detail), Check("predictions", worst <= TOLERANCE, predicted)]


def _difference(then: Bundle, now: Bundle, project: Path, config: configs.Config) -> float:
    """The largest difference of a prediction on the holdout; infinite where a label differs, or the contract."""
    if then.schema.labels != now.schema.labels or then.schema.task != now.schema.task:
        return float("inf")
    rows = tables.read_parquet(project / layout.TEST, [layout.ROW]).column(layout.ROW)
    raw = row_groups.take(project / config.rows, rows.to_numpy())
    try:
        (value, probability), (other, other_probability) = then.predict(raw), now.predict(raw)
    except DataError:
        return float("inf")
    if probability is not None:
        return float(abs(probability - other_probability).max())
    if value.dtype.kind != "f":
        return 0.0 if (value == other).all() else float("inf")
    return float((abs(value - other) / np.maximum(1.0, abs(value))).max())


def _metrics(evaluation: Path, project: Path, differs: float | None) -> Check:
    """The metrics are equal; of an estimator that is not deterministic, they lie within the recorded intervals."""
    if expected(differs) == "metrics":
        made, again = (evaluations.read(folder)["metrics"] for folder in (evaluation, project / layout.EVALUATION))
        outside = [name for name, score in made.items() if not _within(again[name]["value"], score)]
        said = f"{', '.join(outside)} outside" if outside else f"{len(made)} metrics within"
        return Check("metrics", not outside, f"{said} their 95 % intervals: the estimator is not deterministic")
    then, now = (files.read_json(path) for path in (evaluation / "metrics.json", project / layout.METRICS))
    unlike = [name for name in then if name not in now or not _close(then[name], now[name])]
    return Check("metrics", not unlike, f"{', '.join(unlike)} differ" if unlike else f"{len(then)} metrics equal")


def _within(value: float | None, score: evaluations.Score) -> bool:
    known = (value, score["low"], score["high"])
    return value == score["value"] if None in known else bool(score["low"] <= value <= score["high"])  # type: ignore[operator]


def _close(value: Any, other: Any) -> bool:
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(_close(value[key], other[key]) for key in value)
    if isinstance(value, float) and isinstance(other, int | float):
        return bool(np.isclose(value, other, rtol=METRIC_TOLERANCE, atol=METRIC_TOLERANCE, equal_nan=True))
    return bool(value == other)
