"""Rebuilding a version from its records, outside the user's project, and comparing it with the original."""

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

LEVELS = ("nothing", "metrics", "predictions", "bytes")  # each includes all before it
METRIC_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Check:
    """A comparison, and whether it was equal."""

    name: str
    equal: bool
    detail: str


@dataclass(frozen=True)
class Proof:
    """The result of comparing a version with its rebuild.

    Attributes:
        level: the highest level reached: bytes, predictions, metrics or nothing.
        checks: the comparisons.
        unlike: the differences of this environment from the recorded one.
        expected: the best level to expect: less than bytes if the estimator is not deterministic.
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
    """Rebuild a version in a temporary folder, and compare it with the original.

    The user's checkout, cache, registry and history are only read.

    Args:
        config: the config, for DVC's remote.
        root: the project.
        store: the registry.
        version: the version's number.
        on_stage: called as each stage begins and ends.
        exactly: build the recorded environment, instead of using this one.
        push: send the raw tables to DVC's remote once they match the record; nothing else is written outside.

    Raises:
        DataError: inputs of the version are not available, or do not match the record.
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
    """Check that this glue has the same stage formats. With other formats, no result could be equal.

    Raises:
        ToolError: the formats differ.
    """
    theirs = [entry["cmd"] for name, entry in lock.items() if name in stages.NAMES]
    if other := [command for command in theirs if command not in {stage.command for stage in stages.STAGES}]:
        problem = f"v{version} was made by {other[0]!r} of glue {glue}, but this glue has format {stages.FORMAT}"
        raise ToolError(problem, hint=f"glue reproduce {version} --exact-env, which installs that glue")


def expected(differs: float | None) -> str:
    """Return the best level to expect if predictions of two fits on the same rows differ by `differs`."""
    return "bytes" if differs is None else "predictions" if differs <= TOLERANCE else "metrics"


def recorded(store: Store, name: str, version: int, into: Path) -> tuple[Provenance, git_code.Code]:
    """Read a version's record and its code.

    Raises:
        DataError: the version has no record.
    """
    try:
        folder = store.download_artifact(name, version, provenance.FOLDER, into)
        record, patch = provenance.read(folder)
    except (DataError, OSError) as error:
        problem = f"{name} v{version} has no provenance record"
        raise DataError(
            problem, hint="it was made by an older glue, or imported; glue run registers versions with a record"
        ) from error
    code = {key: value for key, value in record.code.items() if key != "dirty"}
    return record, git_code.Code(patch=patch, **code)


def _bring(
    config: configs.Config, root: Path, project: Path, record: Provenance, cache: Path, version: int, *, push: bool
) -> None:
    """Fetch the raw tables, and code files that are too big for the record. All files are hashed again."""
    for path, sha256 in record.code["left_out"].items():
        if (project / path).is_file() and files.sha256(project / path) == sha256:
            continue  # the commit has it
        found = files.sha256(root / path) if (root / path).is_file() else "none"
        if found != sha256:
            problem = f"{path} is not part of the record, and has changed here (recorded SHA-256 {sha256})"
            raise DataError(problem, hint=f"restore the recorded content of {path}: big files are not in the record")
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_bytes((root / path).read_bytes())
    remote, unset = None, None
    try:
        remote = configs.remote_url(config)
    except ConfigError as error:  # DVC's cache may do
        unset = error.message
    needed = {table.path: table.md5 for table in record.data if not (project / table.path).is_file()}
    missing = dvc.restore(root, project, needed, remote, cache)
    if missing:
        listed = "; ".join(f"{path} (md5 {needed[path]}): {why}" for path, why in missing.items())
        raise DataError(f"the data is not available: {listed}", hint=unset or _where_else(record, version))
    for table in record.data:
        found = files.sha256(project / table.path)
        if found != table.sha256:
            kept = f"files/md5/{table.md5[:2]}/{table.md5[2:]}"
            raise CheckFailed(
                f"{table.path} does not match the record: its SHA-256 is {found}, but the model was trained on "
                f"{table.sha256}",
                hint=f"{kept} is damaged in DVC's cache or in its remote: "
                f"remove the damaged copy, then glue reproduce {version}",
            )
    if push:
        log.info("%s: sent to %s", ", ".join(needed) or "nothing", redacted(dvc.send(root, needed, remote)))


def _as_made(project: Path, record: Provenance) -> configs.Config:
    """Return the recorded config, in the environment whose table paths match the record, not the shell's."""
    config, paths = configs.load(project, "", tables=False), {table.name: table.path for table in record.data}
    every = [config, *(configs.in_environment(config, env) for env in config.environments)]
    return next((one for one in every if {n: s.path for n, s in one.data.sources.items()} == paths), config)


def _where_else(record: Provenance, version: int) -> str:
    """Return a hint for a table that is in neither the local cache nor the remote."""
    made = f"on {record.actor.get('host', 'the machine')}, where it was trained: glue reproduce {version} --push"
    return f"{made}; if dvc gc has removed it there too, dvc add a copy of the file"


@contextlib.contextmanager
def _variables(record: Provenance, environment: Path | None) -> Iterator[None]:
    """Set the recorded thread variables, and put the environment's commands first on PATH, for stage processes."""
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
    """Compare each stage's outputs with the recorded `dvc.lock`."""
    out = []
    for stage, entry in then.items():
        expect = {made["path"]: made["md5"] for made in entry.get("outs", [])}
        found = {made["path"]: made["md5"] for made in now.get(stage, {}).get("outs", [])}
        unlike = [path for path, md5 in expect.items() if found.get(path) != md5]
        out.append(Check(stage, not unlike, f"{', '.join(unlike)} differ" if unlike else f"{len(expect)} hashes equal"))
    return out


def _models(bundle: Path, project: Path, config: configs.Config) -> list[Check]:
    """Compare the bundles byte by byte, and by their predictions on the holdout."""
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
    """Return the largest difference of a prediction on the holdout; infinite if a label or the contract differs."""
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
    """Compare the metrics; if the estimator is not deterministic, with the recorded intervals."""
    if expected(differs) == "metrics":
        made, again = (evaluations.read(folder)["metrics"] for folder in (evaluation, project / layout.EVALUATION))
        outside = [name for name, score in made.items() if not _within(again[name]["value"], score)]
        summary = f"{', '.join(outside)} outside" if outside else f"{len(made)} metrics within"
        return Check("metrics", not outside, f"{summary} their 95 % intervals: the estimator is not deterministic")
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
