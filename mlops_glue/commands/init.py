"""`glue init`: a project from a table or from a template."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import console, io, layout
from mlops_glue.adapters import dvc, git
from mlops_glue.errors import DataError, StageError, UsageError, did_you_mean
from mlops_glue.pipeline import defaults, runner
from mlops_glue.pipeline.profile import find_timestamp, infer_task, profile
from mlops_glue.pipeline.train import DEFAULT

KINDS = ("number", "category", "boolean", "datetime")
WHOLE_BYTES = 256 << 20  # a table up to this size is read whole, of a greater one a sample
SAMPLE_ROWS = 200_000
FRAUD: dict[str, Any] = {  # what the fraud template knows better than its table shows
    "project": "fraud_detection",
    "model": "fraud_detection_model",
    "metrics": ["roc_auc", "average_precision", "f1", "log_loss"],
    "thresholds": [("roc_auc", "min", 0.8, "0.5 is what a constant gets")],
    "slices": ["merchant_category"],
}


def init(
    directory: str,
    data: str | None,
    target: str | None,
    *,
    template: str | None = None,
    timestamp: str | None = None,
    entity: str | None = None,
    task: str | None = None,
    dry_run: bool = False,
) -> int:
    """Read the table, infer, and write what is missing; nothing that is there is overwritten."""
    root = Path(directory).resolve()
    if template is not None and data is not None:
        raise UsageError("--template brings its own table: leave out --data, or --template")
    if data is None and (target or timestamp or entity or task):
        raise UsageError("which table?", hint="glue init churn --data customers.csv --target churn")
    with contextlib.ExitStack() as stack:
        if data is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            file, extra = _generate(template or "fraud", folder)
            files, notes = plan(root, file, "is_fraud", "event_timestamp", "customer_id", None, FRAUD)
            files |= extra
        else:
            if target is None:
                raise UsageError("which column is to be predicted?", hint=f"glue init --data {data} --target COLUMN")
            file = _existing(Path(data))
            files, notes = plan(root, file, target, timestamp, entity, task)
        return _carry_out(directory, root, file, files, notes, dry_run=dry_run)


def _existing(file: Path) -> Path:
    if not file.is_file():
        siblings = [p.name for p in file.parent.iterdir() if p.is_file()] if file.parent.is_dir() else []
        raise UsageError(f"--data {file}: no such file", hint=did_you_mean(file.name, siblings))
    return file.resolve()


def _generate(template: str, folder: Path) -> tuple[Path, dict[str, str]]:
    """Run the template's own script, as its user may do later, and take the table that it makes."""
    files = render(template, {})
    for path, text in files.items():
        io.write_text(folder / path, text)
    done = subprocess.run(
        [sys.executable, "data/generate.py"], cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise StageError(f"template {template}: data/generate.py: {done.stderr.strip().splitlines()[-1]}")
    return next((folder / "data" / "raw").iterdir()), files


def plan(
    root: Path,
    file: Path,
    target: str,
    timestamp: str | None,
    entity: str | None,
    task: str | None,
    known: dict[str, Any] | None = None,
) -> tuple[dict[str, str], list[str]]:
    """The text of every file by path, and what the user should know. `known` goes before what the table shows."""
    big = file.stat().st_size > WHOLE_BYTES
    table = io.sample(file, SAMPLE_ROWS) if big else io.read_table(file)
    notes = [f"{file.name} is big: read from a sample of {table.num_rows:,} rows"] if big else []
    when = _check_options(table, file, target, timestamp, entity)
    profiles = profile(table)
    by_name = {p.name: p for p in profiles}
    if by_name[target].distinct < 2:
        raise DataError(
            f"--target {target}: has {by_name[target].distinct} distinct value in {file.name}; there is nothing to tell"
            " apart",
            hint=did_you_mean("", [p.name for p in profiles if p.kind is not None]),
        )
    if by_name[target].nulls:
        notes.append(f"target {target!r}: {by_name[target].nulls:,} rows without a value are left out")
    if when is None:
        when = find_timestamp([p for p in profiles if p.name not in (target, entity)])
        if when:
            notes.append(f"the holdout is the latest rows by {when if isinstance(when, str) else ', '.join(when)}")
    alone = when if isinstance(when, str) else None  # parts of a date stay features
    usable = [p for p in profiles if p.name not in (target, alone, entity)]
    excluded = [(p.name, p.reason) for p in usable if p.kind is None]
    notes += [f"left out {name!r}: {reason}" for name, reason in excluded[:20]]
    notes += [f"left out {len(excluded) - 20} more columns: see {layout.CONFIG}"] if len(excluded) > 20 else []
    excluded += [(c, what) for c, what in ((alone, "the timestamp"), (entity, "the entity")) if c]
    if not any(p.kind for p in usable):
        raise DataError(
            f"{file.name}: no column is left to learn {target!r} from",
            hint="; ".join(f"{column!r}: {reason}" for column, reason in excluded[:3]) or "it has no other column",
        )
    found = task or infer_task(table.column(target))
    notes.append(f"task: {found}")
    positive = defaults.positive(table.column(target), found)
    small = known is None and not big and not (root / "model.py").exists() and defaults.is_small(table, target, found)
    name = _name(root.name) or "project"
    values = {
        "project": name,
        "model": name,
        "source": _name(re.sub(r"\.(csv|csv\.gz|parquet|jsonl)$", "", file.name, flags=re.IGNORECASE)) or "table",
        "path": _path_in(root, file),
        "target": target,
        "positive": None if positive is None else io.yaml_text(positive),
        "entity": entity,
        "timestamp": when,
        "task": found,
        "expectations": [flow(e)[1:-1] for e in defaults.expectations(table, profiles, target)],
        "kinds": {k: [p.name for p in usable if p.kind == k] for k in KINDS},
        "excluded": excluded,
        "by": "time" if when else "entity" if entity else "random",
        "estimator": "model:build" if small else DEFAULT[found],
        "metrics": configs.METRICS[found],  # type: ignore[index]
        "thresholds": defaults.thresholds(table.column(target), found),
        "slices": defaults.slices(usable, entity),
        **(known or {}),
    }
    files = render("project", values)
    if small:
        files |= render("regressor" if found == "regression" else "classifier", {})
    return {**files, layout.SCHEMA: configs.json_schema()}, notes


def _check_options(
    table: Any, file: Path, target: str, timestamp: str | None, entity: str | None
) -> str | list[str] | None:
    """The timestamp option as `glue.yaml` has it; every named column must be there."""
    when: str | list[str] | None = timestamp
    if timestamp is not None and timestamp not in table.column_names and "," in timestamp:
        when = [part.strip() for part in timestamp.split(",")]
    asked = [("--target", target), ("--entity", entity)]
    asked += [("--timestamp", column) for column in (when if isinstance(when, list) else [when])]
    for option, column in asked:
        if column is not None and column not in table.column_names:
            raise UsageError(
                f"{option} {column}: no such column in {file.name}", hint=did_you_mean(column, table.column_names)
            )
    if target in (entity, when):
        raise UsageError(f"--target {target}: is the {'entity' if target == entity else 'timestamp'} too")
    return when


def render(template: str, values: dict[str, Any]) -> dict[str, str]:
    """A template folder's files with values put in; `gitignore` and the like get their dot."""
    folder = layout.templates() / template
    out = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        name = file.relative_to(folder).as_posix()
        name = f".{name}" if name in ("gitignore", "dvcignore") else name
        out[name] = io.render(file, values)
    return out


def flow(value: Any) -> str:
    """A value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{io.yaml_text(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return io.yaml_text(value) if isinstance(value, str) else json.dumps(value)


def _path_in(root: Path, file: Path) -> str:
    """A table that lies in the project stays where it is; any other is copied to `data/raw`."""
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else f"data/raw/{file.name}"


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.-")


def _carry_out(
    directory: str, root: Path, file: Path, files: dict[str, str], notes: list[str], *, dry_run: bool
) -> int:
    table = root / _path_in(root, file)
    missing = {path: text for path, text in files.items() if not (root / path).exists()}
    kept = [path for path in files if path not in missing]
    for note in notes:
        console.progress(note)
    for path in kept:
        lines = (root / path).read_text(encoding="utf-8", errors="replace").splitlines()
        lacking = [x for x in files[path].splitlines() if x not in lines] if path.endswith("ignore") else []
        console.progress(f"kept {path}" + (f"; it should have: {' '.join(lacking)}" if lacking else ""))
    if dry_run:
        more = [_path_in(root, file)] if not table.exists() else []
        for path in sorted([*missing, *more, *(p for p in ("dvc.yaml", ".dvc/config") if not (root / p).exists())]):
            console.result(f"would write {path}")
        return 0
    try:
        with _undone_on_failure(root, [*missing, _path_in(root, file), f"{_path_in(root, file)}.dvc"]):
            _write(root, missing, file, table)
    except OSError as error:
        raise UsageError(f"cannot write {error.filename}: {error.strerror}") from error
    where = "" if root == Path.cwd() else f"cd {directory} && "
    console.result(f"{directory}: {len(missing)} files written. Next: {where}glue run")
    return 0


def _write(root: Path, files: dict[str, str], file: Path, table: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    dvc.init(root, git=git.init(root))
    for path, text in files.items():
        io.write_text(root / path, text)  # over the empty .dvcignore of dvc init too
    if not table.exists():
        with io.atomic(table) as temporary:
            shutil.copyfile(file, temporary)
    relative = table.relative_to(root).as_posix()
    if not git.tracks(root, relative):
        dvc.add(root, relative)
    runner.write_definition(configs.load(root), root)


@contextlib.contextmanager
def _undone_on_failure(root: Path, paths: list[str]) -> Iterator[None]:
    """Take away what was made when the block does not end well."""
    if not root.exists():
        made = [next(p for p in (*reversed(root.parents), root) if not p.exists())]
    else:
        inside = [root / p for p in (".git", ".dvc", ".dvcignore", "dvc.yaml", *paths)]
        # the outermost of the folders that are not there yet goes, and all that is in it
        made = [next((q for q in (*reversed(p.parents), p) if not q.exists()), None) for p in inside]  # type: ignore[misc]
    try:
        yield
    except BaseException:
        for one in {p for p in made if p is not None}:
            if one.is_dir():
                shutil.rmtree(one, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    one.unlink()
        raise
