"""`glue init`: a project from a table or from a template."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import console, files, layout, metrics, streaming, tables
from mlops_glue.adapters import dvc, git
from mlops_glue.dates import timestamps_utc
from mlops_glue.errors import DataError, StageError, UsageError
from mlops_glue.parsing import canonical_category, is_text
from mlops_glue.pipeline import dvc_yaml
from mlops_glue.pipeline.featurize import as_target, outputs, shown
from mlops_glue.pipeline.profile import Profile, find_timestamp, infer_task, profile, unread
from mlops_glue.pipeline.train import kind_of_class
from mlops_glue.scaffold import defaults, manifest, undo
from mlops_glue.scaffold import feature_repo as store
from mlops_glue.scaffold.commit import due
from mlops_glue.scaffold.feast import FeastView
from mlops_glue.suggest import did_you_mean

SEASON = re.compile(r"(?i)^(year|quarter|month|week|week_?of_?year|day_?of_?year|yday)$")
MOST_TWINS = 3  # groups of classes that are told to be one
KINDS = ("number", "category", "boolean", "datetime")
FRAUD: dict[str, Any] = {  # what the fraud template knows better than its tables show
    "project": "fraud_detection",
    "model": "fraud_detection_model",
    "metrics": ["roc_auc", "average_precision", "f1", "log_loss"],
    "thresholds": [("roc_auc", "min", 0.8, "0.5 is what a constant gets")],
    "slices": ["merchant_category"],
    "transform": "features:build",
    "use": [
        "customer_features:age",
        "customer_features:income",
        "transaction_features:transaction_count_7d",
        "transaction_features:average_transaction_amount_30d",
    ],
}


@dataclass(frozen=True)
class Table:
    """One table that was read, and what was seen in it."""

    name: str
    file: Path
    rows: Any  # pa.Table, whole or a sample
    profiles: list[Profile]
    entities: list[str]
    when: str | list[str] | None
    created: str | None = None

    @property
    def usable(self) -> list[Profile]:
        """The columns that are neither key nor clock; parts of a date stay features."""
        apart = {*self.entities, self.created, self.when if isinstance(self.when, str) else None}
        return [p for p in self.profiles if p.name not in apart]


def init(
    directory: str,
    data: tuple[str, ...],
    target: str | None,
    *,
    template: str | None = None,
    timestamp: str | None = None,
    entity: tuple[str, ...] = (),
    task: str | None = None,
    dry_run: bool = False,
) -> int:
    """Read the tables, infer, and write what is missing; nothing that is there is overwritten."""
    root = Path(directory).resolve()
    if template is not None and data:
        raise UsageError("--template brings its own tables: leave out --data, or --template")
    if not data and (target or timestamp or entity or task):
        raise UsageError("which table?", hint="glue init churn --data customers.csv --target churn")
    if not data and template is None:
        _check_no_tables(directory, root)
    with contextlib.ExitStack() as stack:
        if not data:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            found = _generate(template or "fraud", folder)
            asked, notes = plan(root, found, "is_fraud", "event_timestamp", ("customer_id",), None, FRAUD)
            asked |= {template or "fraud": {}, "feature_repo": {}}
        else:
            if target is None:
                raise UsageError("which column is to be predicted?", hint=f"glue init --data {data[0]} --target COLUMN")
            found = [tables.find_table(f"--data {one}", Path(one)).resolve() for one in data]
            asked, notes = plan(root, found, target, timestamp, entity, task)
        return _carry_out(directory, root, found, asked, notes, dry_run=dry_run)


def _check_no_tables(directory: str, root: Path) -> None:
    """The demo, which `glue init` alone makes, is not what somebody wants who has tables there.

    Raises:
        UsageError: there are tables.
    """
    folders = (root, root / "data", root / layout.RAW)
    found = [p for f in folders if f.is_dir() for p in sorted(f.iterdir()) if p.name.lower().endswith(tables.SUFFIXES)]
    if not found:
        return
    paths = [os.path.relpath(path) for path in found]
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    where = "this folder" if root == Path.cwd() else directory
    columns = tables.column_names(found[0]) or []
    target = f", a column of it: {', '.join(columns[:12])}{', …' * (len(columns) > 12)}" if columns else ""
    raise UsageError(
        f"which table, and which column is to be predicted? {where} has {', '.join(paths[:3])}{more}",
        hint=f"glue init {shlex.quote(directory)} --data {shlex.quote(paths[0])} --target COLUMN{target}; "
        "for the demo: glue init demo --template fraud",
    )


def _generate(template: str, folder: Path) -> list[Path]:
    """Run the template's own script, as its user may do later, and take the tables that it makes."""
    for path, text in manifest.render({template: {}}).items():
        files.write_text(folder / path, text)
    done = subprocess.run(
        [sys.executable, "data/generate.py"], cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise StageError(f"template {template}: data/generate.py: {done.stderr.strip().splitlines()[-1]}")
    return sorted((folder / "data" / "raw").iterdir())


def plan(
    root: Path,
    found: list[Path],
    target: str,
    timestamp: str | None,
    entities: tuple[str, ...],
    task: str | None,
    known: dict[str, Any] | None = None,
    *,
    stays: Path | None = None,
    builds: tuple[str, dict[str, Any]] | None = None,
    drops: Mapping[str, str] = {},
    feast: Sequence[FeastView] = (),
) -> tuple[manifest.Answers, list[str]]:
    """What the templates take, by their folder, and what the user should know.

    Args:
        root: the project folder.
        found: the tables.
        target: the column to predict.
        timestamp: the column that says when.
        entities: the columns that say whom a row is about.
        task: else taken from the target.
        known: goes before what the tables show.
        stays: the folder whose tables are not copied; default the project folder.
        builds: the estimator's import path and arguments, where they are known.
        drops: columns of the labels' table that are left out, with the reason.
        feast: the views of the other tables, where a Feast repository has some.
    """
    notes: list[str] = []
    read = {file: streaming.read_or_sample(file, notes, entities) for file in found}
    labels = next((file for file, table in read.items() if target in table.column_names), found[0])
    clocks = {view.path: view.timestamp for view in feast if view.timestamp is not None}
    candidates = [
        _look(file, read[file], target, clocks.get(file, timestamp), entities, file == labels, notes) for file in found
    ]
    created = {view.path: view.created for view in feast}
    candidates = [replace(one, created=created[one.file]) if created.get(one.file) else one for one in candidates]
    label = next(table for table in candidates if table.file == labels)
    table, usable = label.rows, [p for p in label.usable if p.name != target]
    _check_target(label, target, notes)
    usable = _without_outputs(label, target, task, _without_seasons(label, usable))
    usable = [replace(p, kind=None, reason=drops[p.name]) if p.name in drops else p for p in usable]
    notes += [note for one in candidates for note in _null_words(one)]
    excluded = [(p.name, p.reason) for p in usable if p.kind is None]
    notes += [f"left out {name!r}: {reason}" for name, reason in excluded[:20]]
    notes += [f"left out {len(excluded) - 20} more columns: see {layout.CONFIG}"] if len(excluded) > 20 else []
    odd = [(p.name, p.kind, p.reason) for p in usable if p.kind is not None and p.reason]
    notes += [f"{name!r}{' is taken as categories' * (kind == 'category')}: {why}" for name, kind, why in odd[:20]]
    excluded += [(label.when, "the timestamp")] if isinstance(label.when, str) else []
    excluded += [(column, "the entity") for column in label.entities]
    views = [] if known else store.views(candidates, label, target, notes)
    views = [new for view in views for new in store.as_in_feast(view, feast)]
    fields = {name for view in views if view.of is label for name, _ in view.fields}
    if not views and not any(p.kind for p in usable):
        raise DataError(
            f"{label.file.name}: no column is left to learn {target!r} from",
            hint="; ".join(f"{column!r}: {reason}" for column, reason in excluded[:3]) or "it has no other column",
        )
    if task is None and builds is not None:
        task = _task_of(builds[0], table.column(target))
    task_found = task or infer_task(table.column(target))
    if task is not None:
        _check_task(label, target, task)
    _check_classes(label, target, task_found, notes, asked=task is not None)
    notes.append(f"task: {task_found}")
    positive = defaults.positive(table.column(target), task_found)
    big = label.file.stat().st_size > streaming.WHOLE_BYTES
    small = known is None and builds is None and not big and not (root / "model.py").exists()
    small = small and defaults.is_small(table, usable, target, task_found)
    estimator, params = ("model:build", {}) if small else builds or defaults.estimator(table, target, task_found)
    name = name_of((stays or root).name) or "project"
    values = {
        "project": name,
        "model": name,
        "sources": [_source(root, one, target if one is label else "", stays) for one in candidates],
        "source": label.name,
        "path": _path_in(root, label.file, stays),
        "target": target,
        "positive": None if positive is None else files.yaml_text(positive),
        "task": task_found,
        "kinds": {k: [p.name for p in usable if p.kind == k and p.name not in fields] for k in KINDS},
        "excluded": excluded,
        "transform": None,
        "use": [f"{view.name}:{field}" for view in views for field, _ in view.fields],
        "unmatched": 0.5,
        "delay": "1s" if views else None,  # tables often have rows of the very moments of the labels
        "by": "time" if label.when else "entity" if label.entities else "random",
        "estimator": estimator,
        "params": flow(params),
        "metrics": list(metrics.METRICS[task_found]),
        "thresholds": defaults.thresholds(task_found, table.column(target)),
        "slices": defaults.slices(usable, None),
        **(known or {}),
    }
    asked: manifest.Answers = {"project": values}
    if small:
        asked["regressor" if task_found == "regression" else "classifier"] = {}
    if views:
        asked["feast"] = store.answers(views, values["project"])
    return asked, notes


def _look(
    file: Path,
    table: Any,
    target: str,
    timestamp: str | None,
    entities: tuple[str, ...],
    is_label: bool,
    notes: list[str],
) -> Table:
    """Profile a table, and find its keys and clock; of the labels' table every named column must be there."""
    when = _check_options(table, file, target, timestamp, entities) if is_label else None
    profiles = profile(table)
    there = [column for column in entities if column in table.column_names]
    created = None
    if not is_label:
        if not there:
            raise UsageError(
                f"{file.name}: has none of the entity columns {', '.join(entities) or '(none given)'}",
                hint="--entity COLUMN, which both tables have",
            )
        created = store.created([p.name for p in profiles if p.kind == "datetime"])
        when = timestamp if timestamp in table.column_names else None
    if when is None:
        when = find_timestamp([p for p in profiles if p.name not in (target, *there, created)])
        if when and is_label:
            notes.append(f"the holdout is the latest rows by {when if isinstance(when, str) else ', '.join(when)}")
        if when is None and not is_label:
            notes.append(f"{file.name}: no column says when; its rows count as known since ever")
        if isinstance(when, list) and not is_label:
            raise UsageError(f"{file.name}: its time is in the columns {', '.join(when)}", hint="make them one column")
    stem = re.sub(r"\.(csv|csv\.gz|parquet|jsonl)$", "", file.name, flags=re.IGNORECASE)
    name = name_of(stem).replace(".", "_") or "table"  # a point parts the keys of `glue.yaml`
    return Table(name, file, table, profiles, there, when, created)


def _without_outputs(label: Table, target: str, task: str | None, usable: list[Profile]) -> list[Profile]:
    """What `glue predict` writes is no feature."""
    values = label.rows.column(target)
    try:
        of = task or infer_task(values)
        taken = outputs(as_target(values.drop_null(), of, target), of)
    except DataError:
        return usable  # the task is checked later
    reason = "glue predict calls a column of its own so; rename it, and it can be a feature"
    return [replace(p, kind=None, reason=reason) if p.name in taken else p for p in usable]


def _null_words(table: Table) -> list[str]:
    """Words that were read as null where they might have been meant as words."""
    found = tables.reading_facts(table.rows)["nulls"]
    kinds = {p.name: p.kind for p in table.profiles}
    text = [name for name in found if kinds[name] == "category" or name in table.entities]
    return [
        f"column {name!r}: {', '.join(f'{n:,} x {word!r}' for word, n in found[name].items())} read as null"
        for name in text
    ]


def _without_seasons(label: Table, usable: list[Profile]) -> list[Profile]:
    """Where the holdout is the latest rows, and the table does not span two years, its months were never learnt."""
    if label.when is None:
        return usable
    when = timestamps_utc(label.rows, [label.when] if isinstance(label.when, str) else label.when)
    if (when.max() - when.min()).astype("timedelta64[D]").astype(int) >= 2 * 365:
        return usable
    reason = "the holdout is of later months than the training rows"
    return [replace(p, kind=None, reason=reason) if SEASON.match(p.name) and p.whole else p for p in usable]


def _check_target(label: Table, target: str, notes: list[str]) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    of = {p.name: p for p in label.profiles}[target]
    kind = label.rows.schema.field(target).type
    if (reason := unread(kind)) is not None and of.nulls < label.rows.num_rows:
        raise DataError(f"--target {target}: is {reason}")
    if of.distinct < 2:
        nulls = f" beside {of.nulls:,} nulls (NA, None and the like are such)" if of.nulls and of.distinct else ""
        said = f"has {of.distinct} distinct value in {label.file.name}{nulls}; there is nothing to tell apart"
        raise DataError(
            f"--target {target}: {said}",
            hint=did_you_mean("", [p.name for p in label.profiles if p.kind is not None]),
        )
    values = label.rows.column(target)
    infinite = pc.sum(pc.is_inf(values)).as_py() or 0 if pa.types.is_floating(values.type) else 0
    if of.nulls + infinite:
        notes.append(f"target {target!r}: {console.rows(of.nulls + infinite)} without a value left out")


def _task_of(estimator: str, values: Any) -> str | None:
    """What an estimator is for, where it says so; a classifier of two classes or of more."""
    kind = kind_of_class(estimator)
    if kind != "classifier":
        return None if kind is None else "regression"
    return "binary" if len(values.unique().drop_null()) == 2 else "multiclass"


def _check_task(label: Table, target: str, task: str) -> None:
    """The task that is asked for is one that the target's values allow.

    Raises:
        UsageError: it is not.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    values = label.rows.column(target).drop_null()
    if pa.types.is_floating(values.type):
        values = values.filter(pc.is_finite(values))  # the others have no target
    try:
        held = as_target(values, task, target)
    except DataError:
        said = f"holds {values.type}, not numbers: {shown(values.unique().to_pylist())}"
        raise UsageError(
            f"--task regression: {target!r} of {label.file.name} {said}",
            hint="--task multiclass, or leave --task out: it is taken from the target",
        ) from None
    if task == "binary" and len(classes := sorted(held.unique().to_pylist())) > 2:
        raise UsageError(
            f"--task binary: {target!r} of {label.file.name} has {len(classes):,} values: {shown(classes)}",
            hint="leave --task out: it is taken from the target",
        )


def _check_classes(label: Table, target: str, task: str, notes: list[str], *, asked: bool) -> None:
    """Are there numbers to predict, or classes of some rows each, that differ by more than blanks and case?"""
    of = {p.name: p for p in label.profiles}[target]
    values = label.rows.column(target)
    if task == "regression":
        return
    if of.kind == "datetime" and not asked:
        hint = "write it as a number, such as days since a day, or name another --target; --task multiclass for classes"
        raise DataError(f"--target {target}: holds dates, which are no classes", hint=hint)
    present = len(values) - values.null_count
    if of.distinct > 50 and of.distinct > 0.5 * present:
        why = f": {of.reason}" if of.reason and is_text(values.type) else ""
        hint = "--task regression" if _are_numbers(values) else "write it as numbers (1234.5), or name another --target"
        said = f"{of.distinct:,} classes in {present:,} rows are more than can be learnt"
        raise DataError(f"--target {target}: {said}{why}", hint=hint)
    if is_text(values.type):
        alike: dict[str, list[str]] = {}
        for word in sorted(values.unique().drop_null().to_pylist()):
            alike.setdefault(canonical_category(word.strip().casefold(), "double"), []).append(word)  # 1 and 1.0 too
        for twins in [words for words in alike.values() if len(words) > 1][:MOST_TWINS]:
            said = ", ".join(map(repr, twins[:4]))
            by = "blanks or case" if len({word.strip().casefold() for word in twins}) == 1 else "how they are written"
            notes.append(f"target {target!r}: {said} are different classes, by {by} only: write them as one")


def _are_numbers(values: Any) -> bool:
    import pyarrow as pa

    try:
        values.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _source(root: Path, one: Table, target: str, stays: Path | None) -> dict[str, Any]:
    """A source as the template of `glue.yaml` takes it."""
    return {
        "name": one.name,
        "path": _path_in(root, one.file, stays),
        "entity": one.entities[0] if one.entities else None,
        "timestamp": one.when,
        "created": one.created,
        "expectations": [flow(e)[1:-1] for e in defaults.expectations(one.rows, one.profiles, target)],
    }


def _check_options(
    table: Any, file: Path, target: str, timestamp: str | None, entities: tuple[str, ...]
) -> str | list[str] | None:
    """The timestamp option as `glue.yaml` has it; every named column must be there."""
    when: str | list[str] | None = timestamp
    if timestamp is not None and timestamp not in table.column_names and "," in timestamp:
        when = [part.strip() for part in timestamp.split(",")]
    asked = [("--target", target), *(("--entity", column) for column in entities)]
    asked += [("--timestamp", column) for column in (when if isinstance(when, list) else [when]) if column]
    for option, column in asked:
        if column not in table.column_names:
            raise UsageError(
                f"{option} {column}: no such column in {file.name}", hint=did_you_mean(column, table.column_names)
            )
    for column in entities:
        if (reason := unread(table.schema.field(column).type)) is not None:
            raise UsageError(f"--entity {column}: is {reason}")
    if target in (*entities, when):
        raise UsageError(f"--target {target}: is the {'entity' if target in entities else 'timestamp'} too")
    return when


def flow(value: Any) -> str:
    """A value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{files.yaml_text(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return files.yaml_text(value) if isinstance(value, str) else json.dumps(value)


def _path_in(root: Path, file: Path, stays: Path | None = None) -> str:
    """A table that lies in the project (or in `stays`) stays where it is; any other is copied to `data/raw`."""
    if stays is not None and file.is_relative_to(stays):
        return Path(os.path.relpath(file, root)).as_posix()
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else f"data/raw/{file.name}"


def name_of(text: str) -> str:
    """Text as a name that every tool takes; empty where nothing of it is left."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.-")


def _carry_out(
    directory: str, root: Path, found: list[Path], asked: manifest.Answers, notes: list[str], *, dry_run: bool
) -> int:
    files = manifest.render(asked)
    tables = {file: root / _path_in(root, file) for file in found}
    near = {p.name.casefold(): p.name for p in root.iterdir()} if root.is_dir() else {}
    there = {path: near.get(path.casefold(), path) for path in files}  # ReadMe.md is a README.md too
    missing = {path: text for path, text in files.items() if not (root / there[path]).exists()}
    kept = [path for path in files if path not in missing]
    for note in notes:
        console.progress(note)
    for path in kept:
        lines = (root / there[path]).read_text(encoding="utf-8", errors="replace").splitlines()
        lacking = [x for x in files[path].splitlines() if x not in lines] if path.endswith("ignore") else []
        console.progress(f"kept {there[path]}" + (f"; it should have: {' '.join(lacking)}" if lacking else ""))
    paths = [_path_in(root, file) for file in found]
    pointers = [dvc.pointer(root, path) or f"{path}.dvc" for path in paths if not git.is_tracked(root, path)]
    undo.check(root, missing, [*pointers, "dvc.yaml", "dvc.lock", ".dvc/config", layout.GENERATED])
    dvc_yaml.check_names(root)
    if layout.CONFIG in kept:
        configs.load(root, tables=False)
    if dry_run:
        more = [path for path in paths if not (root / path).exists()]
        also = [layout.GENERATED, "dvc.yaml", ".dvc/config"]
        for path in sorted([*missing, *more, *(p for p in also if not (root / p).exists())]):
            console.result(f"would write {path}")
        return 0
    with undo.undone_on_failure(root, [*missing, *paths, *pointers, layout.GENERATED]):
        _write(root, missing, tables)
        manifest.record(root, "init", asked, files, missing)
        enter = None if root == Path.cwd() else f"cd {shlex.quote(directory)}"
        steps = [enter, due(root, "glue init", [*missing, *pointers, "dvc.yaml"]), "glue run"]
    console.result(f"{directory}: {len(missing)} files written")
    console.result(f"next     {' && '.join(filter(None, steps))}", whole=True)
    return 0


def _write(root: Path, contents: dict[str, str], tables: dict[Path, Path]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    dvc.init(root, git=git.init(root))
    for path, text in contents.items():
        files.write_text(root / path, text)  # over the empty .dvcignore of dvc init too
    for file, table in tables.items():
        if not table.exists():
            with files.atomic(table) as temporary:
                shutil.copyfile(file, temporary)
        relative = table.relative_to(root).as_posix()
        if not git.is_tracked(root, relative):
            dvc.add(root, relative)
    config = configs.load(root)
    dvc_yaml.sync(config, root)
    dvc_yaml.name_remote(config, root)
