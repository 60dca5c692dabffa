"""A version made again from what was recorded, beside the user's project, and the proof of how alike the two are."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlops_glue import config as configs
from mlops_glue import files, layout, tables
from mlops_glue.adapters import dvc
from mlops_glue.adapters.git import code as git_code
from mlops_glue.adapters.mlflow import Store
from mlops_glue.delivery import provenance
from mlops_glue.delivery.provenance import Provenance
from mlops_glue.errors import CheckFailed, DataError, GlueError, ToolError
from mlops_glue.modules import COMPUTES
from mlops_glue.pipeline.session import OnStage
from mlops_glue.scoring import Bundle

log = logging.getLogger(__name__)

LEVELS = ("nothing", "metrics", "predictions", "bytes")  # each holds all before it
TOLERANCE = 1e-6  # of a probability, or of a value's share: float32 has no more
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
        rebuilt: SHA-256 of each file of the rebuilt bundle.
    """

    level: str
    checks: list[Check]
    unlike: list[str] = field(default_factory=list)
    rebuilt: dict[str, str] = field(default_factory=dict)


def reproduce(
    config: configs.Config, root: Path, store: Store, version: int, on_stage: OnStage, *, exact_env: bool = False
) -> tuple[Proof, Provenance]:
    """Make a version again in a temporary folder, and compare.

    The user's checkout, cache, registry and history are only read.

    Args:
        config: of the project, which says where DVC's remote is.
        root: the project.
        store: the registry.
        version: its number.
        on_stage: is called as each stage begins and ends.
        exact_env: build the recorded environment, instead of using this one.

    Raises:
        DataError: what the version was made of is not to be had, or is not what was recorded.
        ToolError: a stage failed.
    """
    name = config.model_name
    with tempfile.TemporaryDirectory(prefix="glue-reproduce-") as scratch:
        folder = Path(scratch)
        record, code = recorded(store, name, version, folder)
        bundle = store.download_bundle(name, version, folder / "registered")
        evaluation = store.download_artifact(name, version, "evaluation", folder / "registered")
        with git_code.restored(root, code) as tree:
            project = tree / code.prefix
            _bring(root, project, record, configs.remote_url(config), folder / "cache")
            environment = _exact(record, folder / "env") if exact_env else None
            unlike = [] if exact_env else differences(record.environment, provenance.environment(config, root))
            before = dvc.locked(project)
            with _variables(record, environment):
                dvc.reproduce(project, {}, on_stage, force=True)
            checks = [*_hashes(before, dvc.locked(project)), *_models(bundle, project), _metrics(evaluation, project)]
            rebuilt = files.sha256s(project / layout.BUNDLE)
    reached = {check.name: check.equal for check in checks}
    level = next((level for level in reversed(LEVELS) if reached.get(level)), LEVELS[0])
    return Proof(level, checks, unlike, rebuilt), record


def recorded(store: Store, name: str, version: int, into: Path) -> tuple[Provenance, git_code.Code]:
    """The record of a version, and its code.

    Raises:
        DataError: it has none.
    """
    try:
        folder = store.download_artifact(name, version, provenance.FOLDER, into)
        record, patch = provenance.read(folder)
    except (GlueError, OSError) as error:
        problem = f"{name} v{version} has no record of what it was made of"
        raise DataError(
            problem, hint="it was made by an older glue, or imported; glue run makes one that has"
        ) from error
    code = {key: value for key, value in record.code.items() if key != "dirty"}
    return record, git_code.Code(patch=patch, **code)


def _bring(root: Path, project: Path, record: Provenance, remote: str | None, cache: Path) -> None:
    """The raw tables and the code that was too big for the record; each file is hashed, as DVC does not."""
    for path, sha256 in record.code["left_out"].items():
        if (project / path).is_file() and files.sha256(project / path) == sha256:
            continue  # the commit has it
        found = files.sha256(root / path) if (root / path).is_file() else "none"
        if found != sha256:
            raise DataError(f"{path} was too big for the record, and is not here as it was (SHA-256 {sha256})")
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_bytes((root / path).read_bytes())
    wanted = {table.path: table.md5 for table in record.data if not (project / table.path).is_file()}
    missing = dvc.restore(root, project, wanted, remote, cache)
    if missing:
        listed = "; ".join(f"{path} (md5 {wanted[path]}): {why}" for path, why in missing.items())
        raise DataError(f"the data is not to be had: {listed}", hint="dvc gc --all-commits keeps what versions need")
    for table in record.data:
        found = files.sha256(project / table.path)
        if found != table.sha256:
            raise CheckFailed(
                f"{table.path} is not what was recorded: its SHA-256 is {found}, and {table.sha256} was trained on",
                hint="the file in DVC's cache is damaged: remove it, and dvc pull",
            )


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """How an environment differs from the recorded one, in what results depend on."""
    out = [f"{key} {then[key]}, here {now[key]}" for key in ("python", "glue", "machine") if then[key] != now[key]]
    for package in COMPUTES:
        versions = then["packages"].get(package), now["packages"].get(package)
        if versions[0] != versions[1]:
            out.append(f"{package} {versions[0] or 'absent'}, here {versions[1] or 'absent'}")
    kernels = [
        {library["internal_api"]: library["architecture"] for library in found["libraries"] if library["architecture"]}
        for found in (then, now)
    ]
    out += [
        f"{api} kernel {kernel}, here {kernels[1][api]}"
        for api, kernel in kernels[0].items()
        if api in kernels[1] and kernels[1][api] != kernel
    ]
    return out


def _exact(record: Provenance, folder: Path) -> Path:
    """The recorded environment, built with uv; the folder of its commands."""
    import mlops_glue

    packages = {name: version for name, version in record.environment["packages"].items() if name != "mlops-glue"}
    pins = folder.with_suffix(".txt")
    pins.write_text("".join(f"{name}=={version}\n" for name, version in packages.items()), encoding="utf-8")
    source = Path(mlops_glue.__file__).parents[1]
    glue = str(source) if (source / "pyproject.toml").is_file() else f"mlops-glue=={record.environment['glue']}"
    log.info("building the recorded environment: Python %s, %d packages", record.environment["python"], len(packages))
    python = str(folder / "bin" / "python")
    for words in (
        ["venv", "--quiet", "--python", record.environment["python"], str(folder)],
        ["pip", "install", "--quiet", "--python", python, "--no-deps", "-r", str(pins)],
        ["pip", "install", "--quiet", "--python", python, "--no-deps", glue],
    ):
        try:
            done = subprocess.run(["uv", *words], capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise ToolError("--exact-env needs uv", hint="pip install uv") from error
        if done.returncode:
            raise ToolError(f"the recorded environment cannot be built: {done.stderr.strip()[-500:]}")
    return folder / "bin"


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


def _models(bundle: Path, project: Path) -> list[Check]:
    """The bundles byte by byte, and by what they predict of the holdout."""
    rebuilt = project / layout.BUNDLE
    then, now = files.sha256s(bundle), files.sha256s(rebuilt)
    unlike = sorted(name for name in {*then, *now} if then.get(name) != now.get(name))
    model = next((name for name in ("model.onnx", "model.skops") if name in then), "model.onnx")
    same = model not in unlike
    detail = f"{model} sha256 {then.get(model, 'absent')[:16]}"
    if unlike:
        detail += f"; {', '.join(unlike)} differ"
    worst = 0.0 if not unlike else _difference(Bundle(bundle), Bundle(rebuilt), project)
    predicted = f"the largest difference on the holdout is {worst:.2g} (at most {TOLERANCE:g})"
    return [Check("bytes", same, detail), Check("predictions", worst <= TOLERANCE, predicted)]


def _difference(then: Bundle, now: Bundle, project: Path) -> float:
    """The largest difference of a prediction on the holdout; infinite where a label differs, or the contract."""
    if then.schema.labels != now.schema.labels or then.schema.task != now.schema.task:
        return float("inf")
    config = configs.load(project)
    rows = tables.read_parquet(project / layout.TEST, [layout.ROW]).column(layout.ROW)
    raw = tables.read_parquet(project / config.rows).take(rows)
    try:
        (value, probability), (other, other_probability) = then.predict(raw), now.predict(raw)
    except DataError:
        return float("inf")
    if probability is not None:
        return float(abs(probability - other_probability).max())
    if value.dtype.kind != "f":
        return 0.0 if (value == other).all() else float("inf")
    return float((abs(value - other) / np.maximum(1.0, abs(value))).max())


def _metrics(evaluation: Path, project: Path) -> Check:
    then, now = (files.read_json(path) for path in (evaluation / "metrics.json", project / layout.METRICS))
    unlike = [name for name in then if name not in now or not _close(then[name], now[name])]
    return Check("metrics", not unlike, f"{', '.join(unlike)} differ" if unlike else f"{len(then)} metrics equal")


def _close(value: Any, other: Any) -> bool:
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(_close(value[key], other[key]) for key in value)
    if isinstance(value, float) and isinstance(other, int | float):
        return bool(np.isclose(value, other, rtol=METRIC_TOLERANCE, atol=METRIC_TOLERANCE, equal_nan=True))
    return bool(value == other)
