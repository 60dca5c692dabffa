"""`glue init`: a project from a table."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import console, io, layout
from mlops_glue.adapters import dvc, git
from mlops_glue.errors import DataError, UsageError, did_you_mean
from mlops_glue.pipeline import runner
from mlops_glue.pipeline.profile import Profile, infer_task, profile
from mlops_glue.pipeline.train import DEFAULT

KINDS = ("number", "category", "boolean", "datetime")


def init(
    directory: str,
    data: str | None,
    target: str | None,
    *,
    timestamp: str | None = None,
    entity: str | None = None,
    task: str | None = None,
    dry_run: bool = False,
) -> int:
    """Read the table, infer, and write what is missing; nothing that is there is overwritten."""
    if data is None or target is None:
        raise UsageError("which table, and which column?", hint="glue init churn --data customers.csv --target churn")
    root, table_file = Path(directory).resolve(), Path(data).resolve()
    if not table_file.is_file():
        siblings = [p.name for p in table_file.parent.iterdir()] if table_file.parent.is_dir() else []
        raise UsageError(f"--data {data}: no such file", hint=did_you_mean(table_file.name, siblings))
    table = io.read_table(table_file)
    for option, column in {"--target": target, "--timestamp": timestamp, "--entity": entity}.items():
        if column is not None and column not in table.column_names:
            raise UsageError(
                f"{option} {column}: no such column in {data}", hint=did_you_mean(column, table.column_names)
            )
    files, notes = plan(root, table, table_file, target, timestamp=timestamp, entity=entity, task=task)
    missing = {p: text for p, text in files.items() if not (root / p).exists()}
    copy_to = root / _raw_path(table_file)
    for path in [str(copy_to.relative_to(root)), *missing] if dry_run else []:
        console.result(f"would write {path}")
    for note in notes:
        console.progress(note)
    if dry_run:
        return 0
    _write(root, missing, table_file, copy_to)
    where = "" if Path(directory).resolve() == Path.cwd() else f"cd {directory} && "
    console.result(f"{directory}: {len(missing)} files written. Next: {where}glue run")
    return 0


def plan(
    root: Path, table: Any, file: Path, target: str, *, timestamp: str | None, entity: str | None, task: str | None
) -> tuple[dict[str, str], list[str]]:
    """The text of every file by path, and what the user should know."""
    profiles = profile(table)
    by_name = {p.name: p for p in profiles}
    notes = []
    if by_name[target].distinct < 2:
        raise DataError(f"target {target!r} has {by_name[target].distinct} distinct values", hint="choose another")
    if by_name[target].nulls:
        notes.append(f"target {target!r} has {by_name[target].nulls} nulls: those rows are left out")
    if timestamp is None:
        dates = [p.name for p in profiles if p.kind == "datetime" and p.nulls == 0 and p.name != target]
        timestamp = dates[0] if len(dates) == 1 and not re.search("birth|dob", dates[0], re.IGNORECASE) else None
        if timestamp:
            notes.append(f"{timestamp!r} is a timestamp: the holdout is the latest rows")
    apart = {target, timestamp, entity}
    usable = [p for p in profiles if p.name not in apart]
    excluded = [(p.name, p.reason) for p in usable if p.kind is None]
    excluded += [(c, what) for c, what in ((timestamp, "the timestamp"), (entity, "the entity")) if c]
    notes += [f"left out {name!r}: {reason}" for name, reason in excluded if name not in apart]
    found = task or infer_task(table.column(target))
    name = _name(root.name)
    source = _name(re.sub(r"\.(csv|csv\.gz|parquet|jsonl)$", "", file.name)) or "table"
    values = {
        "project": name,
        "source": source,
        "path": _raw_path(file),
        "target": target,
        "entity": entity,
        "timestamp": timestamp,
        "task": found,
        "expectations": [json.dumps(e, ensure_ascii=False) for e in expectations(table, profiles, target)],
        "kinds": {k: [p.name for p in usable if p.kind == k] for k in KINDS},
        "excluded": excluded,
        "by": "time" if timestamp else "entity" if entity else "random",
        "estimator": DEFAULT[found],
        "metrics": configs.METRICS[found],  # type: ignore[index]
        "thresholds": thresholds(table.column(target), found),
    }
    return {**render("project", values), layout.SCHEMA: configs.json_schema()}, notes


def render(template: str, values: dict[str, Any]) -> dict[str, str]:
    """A template folder's files with values put in; `gitignore` and the like get their dot."""
    import jinja2

    folder = layout.templates() / template
    environment = jinja2.Environment(keep_trailing_newline=True, undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701
    environment.filters["q"] = lambda value: json.dumps(value, ensure_ascii=False)  # a JSON string is a YAML string
    out = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        name = file.relative_to(folder).as_posix()
        name = f".{name}" if name in ("gitignore", "dvcignore") else name
        text = file.read_text(encoding="utf-8")
        out[name] = text if name.endswith(".py") else environment.from_string(text).render(values)
    return out


def expectations(table: Any, profiles: list[Profile], target: str) -> list[dict[str, dict[str, Any]]]:
    """Limits with slack: what the table has, twice as many nulls and 1 % of the rows outside."""
    import pyarrow.compute as pc

    rows = table.num_rows
    out: list[dict[str, dict[str, Any]]] = [{"expect_table_row_count_to_be_between": {"min_value": max(rows // 10, 1)}}]
    for p in profiles:
        if p.kind is None and p.name != target:
            continue
        out.append({"expect_column_to_exist": {"column": p.name}})
        share = p.nulls / rows
        if share < 0.4:
            slack = 0.95 if p.nulls == 0 else round(1 - min(2 * share + 0.05, 0.9), 3)
            out.append({"expect_column_values_to_not_be_null": {"column": p.name, "mostly": slack}})
        column = table.column(p.name)
        if p.kind == "number" and not str(column.type).startswith(("string", "large_string", "dictionary")):
            low, high = (float(pc.min_max(column)[k].as_py()) for k in ("min", "max"))
            room = 0.5 * (high - low)
            if room > 0 and abs(room) != float("inf"):
                limits = {
                    "min_value": 0.0 if low >= 0 and low - room < 0 else _round(low - room),
                    "max_value": _round(high + room),
                }
                out.append({"expect_column_values_to_be_between": {"column": p.name, **limits, "mostly": 0.99}})
        elif p.kind == "category" and p.distinct <= 30:
            values = sorted(str(v) for v in pc.unique(column.drop_null()).to_pylist())
            out.append({"expect_column_values_to_be_in_set": {"column": p.name, "value_set": values, "mostly": 0.95}})
    return out


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def thresholds(values: Any, task: str) -> list[tuple[str, str, float, str]]:
    """Limits that the trivial predictor (most frequent class, mean) misses."""
    import pyarrow.compute as pc

    if task == "regression":
        return [("r2", "min", 0.05, "0 is what predicting the mean gets")]
    if task == "binary":
        return [("roc_auc", "min", 0.55, "0.5 is what a constant gets")]
    counts = pc.value_counts(values.drop_null()).field("counts")
    share = max(counts.to_pylist()) / sum(counts.to_pylist())
    limit = round(share + 0.1 * (1 - share), 4)
    return [("accuracy", "min", limit, f"{share:.4f} is what the most frequent class gets")]


def _raw_path(file: Path) -> str:
    return f"data/raw/{file.name}"


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.-") or "project"


def _write(root: Path, files: dict[str, str], table: Path, copy_to: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        has_git = git.init(root)
        dvc.init(root, git=has_git)
        for path in (".gitignore", ".dvcignore"):  # dvc init wrote an empty one
            if path in files or not (root / path).read_text(encoding="utf-8").strip():
                files.setdefault(path, "")
        if not copy_to.exists():
            with io.atomic(copy_to) as temporary:
                shutil.copyfile(table, temporary)
        for path, text in files.items():
            if text:
                io.write_text(root / path, text)
        dvc.add(root, copy_to.relative_to(root).as_posix())
        runner.write_definition(configs.load(root), root)
    except OSError as error:
        raise UsageError(f"cannot write {error.filename}: {error.strerror}") from error
