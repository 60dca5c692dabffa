"""`glue report --pr`: the effect of a change on data, metrics and contract, as Markdown for a pull request."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

from mlops_glue import config as configs
from mlops_glue import files, layout, measures, tables
from mlops_glue.adapters import dvc, git
from mlops_glue.delivery import condition, contract, describe
from mlops_glue.delivery.compare import Measured, measured
from mlops_glue.delivery.condition import Condition
from mlops_glue.delivery.record import last_delivery
from mlops_glue.errors import GlueError
from mlops_glue.monitoring.tables import compared
from mlops_glue.pages import number
from mlops_glue.pipeline import dvc_yaml, stages
from mlops_glue.pipeline.evaluation import Evaluation, slice_values
from mlops_glue.pipeline.fingerprint import fingerprint
from mlops_glue.records import FeatureList
from mlops_glue.report import facts
from mlops_glue.report.base import BaseRevision, Lock, changes, outputs
from mlops_glue.report.comment import as_text, shortened
from mlops_glue.report.same_rows import same_rows
from mlops_glue.schema import Schema

MOST_FAILED = 20  # expectations listed
MOST_IMAGES = 6
UNTIL = stages.NAMES[: stages.NAMES.index("evaluate") + 1]


@dataclass(frozen=True)
class Change:
    """The content of the report; None: unknown."""

    project: str
    against: str  # the base commit
    refused: list[str]  # reasons not to merge the change
    notes: list[str]
    evaluation: facts.Evaluation | None
    same_holdout: bool
    champion: str | None
    metrics: list[facts.Metric]
    tables: list[dict[str, str]]
    validation: dict[str, Any] | None
    drift: dict[str, Any] | None
    contract: list[str] | None
    measured: Measured | None  # on the same holdout rows
    conditions: list[Condition]
    slices: list[dict[str, Any]]
    slice_metric: str
    sliced: list[tuple[str, int, int]]
    stages: list[dict[str, str]]


def compare(config: configs.Config, root: Path, base: BaseRevision) -> Change:
    """Compare the current project with another commit."""
    all_pending = dvc.status(root, dvc_yaml.stale(config, root))
    pending = {name: why for name, why in all_pending.items() if name in UNTIL and why}
    lock = dvc.locked(root)
    evaluation = files.read_json(root / facts.EVALUATION) if not pending else None
    before = base.json(facts.EVALUATION)
    new = files.read_json(root / layout.COLUMNS) if not pending else None
    old = base.json(layout.COLUMNS)
    same = not pending and _same_holdout(root, base, lock)
    registry = facts.registry(config, root)
    champion = registry.champion
    main = config.promote.metric or (next(iter(evaluation["metrics"])) if evaluation else "")
    metrics = facts.metrics(evaluation, champion.metrics if champion else None, before)
    validation = _validation(root, pending)
    paired, notes = _compare_rows(config, root, base, evaluation) if same and evaluation else (None, [])
    conditions = [
        *_own_conditions(config, root, evaluation),
        *_base_conditions(config, root, base, evaluation, metrics, paired),
    ]
    own = condition.refusals(conditions)
    refused = [
        *_failures(pending, validation),
        *([base.problem] if base.problem else []),
        *own,
        *(refusals(config, root, own) if not pending else ()),
    ]
    return Change(
        project=config.project,
        against=base.name,
        refused=refused,
        notes=[*_notes(root, base, registry), *notes],
        evaluation=evaluation,
        same_holdout=same,
        champion=f"champion v{champion.version}" if champion else None,
        metrics=metrics,
        tables=_tables(config, root, base, {} if "ingest" in pending else lock),
        validation=validation,
        drift=table_drift(root, base, lock, config.monitor) if "ingest" not in pending else None,
        contract=_changed(old, new) if new and old else None,
        measured=paired.measured if paired else None,
        conditions=conditions,
        slices=_slices(evaluation, before, main),
        slice_metric=main,
        sliced=sliced(evaluation),
        stages=_stages(base.lock, lock, pending),
    )


def _notes(root: Path, base: BaseRevision, registry: facts.Registry) -> list[str]:
    """Return notes on the limits of the comparison."""
    notes = [f"not compared with the champion: {registry.problem}"] if registry.problem else []
    if not base.lock:
        notes.append(f"{base.name} has no dvc.lock, so there is no result to compare with")
    if "dvc.lock" in git.changed_files(root):
        notes.append("the dvc.lock of this result is not committed: commit it, so that the next run need not repeat it")
    if stale := base.stale():
        shown = ", ".join(stale[:5]) + (", …" if len(stale) > 5 else "")
        notes.append(
            f"the dvc.lock of {base.name} is older than its own files ({shown}), as after a change without glue run: "
            "some of the differences are not caused by this change"
        )
    return notes


def _same_holdout(root: Path, base: BaseRevision, lock: Lock) -> bool:
    """Whether both holdouts have the same rows. Their columns may differ."""
    made = outputs(lock)
    if base.hash(layout.TEST) == made.get(layout.TEST, ""):
        return layout.TEST in made
    if base.hash(layout.TABLE) != made.get(layout.TABLE, ""):
        return False
    try:
        before = base.table(layout.TEST)
    except GlueError:  # neither in the cache nor in the remote
        return False
    rows = tables.read_parquet(root / layout.TEST, [layout.ROW]).column(layout.ROW).to_pylist()
    return before is not None and {*before.column(layout.ROW).to_pylist()} == {*rows}


def _failures(pending: dict[str, list[str]], validation: dict[str, Any] | None) -> Iterator[str]:
    """Yield the failed validation, or the first stage that did not run on this change."""
    if validation and validation["failed"] and "validate" in pending:
        yield f"expectations not met: {len(validation['failed'])}; the first is {validation['failed'][0]}"
    elif pending:
        name, why = next(iter(pending.items()))
        yield f"stage {name} did not run ({', '.join(why[:2])}), so the results of later stages are unknown"


def refusals(config: configs.Config, root: Path, own: Sequence[str]) -> list[str]:
    """Return the last run's reasons to refuse the model, except `own`, if it ran on the current files."""
    delivered = last_delivery(root, config)
    if delivered is None or delivered["champion"] == delivered["version"]:
        return []
    if delivered["fingerprint"] != fingerprint(root):
        return []
    return [f"v{delivered['version']}: {reason}" for reason in delivered["refused"] if reason not in own]


class RowComparison(NamedTuple):
    """The model of this change compared with the base commit's model on the same rows."""

    measured: Measured
    slices: Condition


def _compare_rows(
    config: configs.Config, root: Path, base: BaseRevision, evaluation: facts.Evaluation
) -> tuple[RowComparison | None, list[str]]:
    """Compare both models on the same rows; if they cannot be scored, return the reason."""
    try:
        both = same_rows(root, base)
    except GlueError as error:
        return None, [f"not compared row by row: {error.message}"]
    task = both.schema.task
    found = measured(config, root, both.schema, cast(Evaluation, evaluation), (both.mine, both.theirs))
    names = [*dict.fromkeys(config.evaluate.slices)]
    raw = tables.read_parquet(root / config.rows, names).take(both.rows) if names else None
    values = slice_values(config, raw) if raw is not None else {}
    metric = measures.find(config, both.schema, root, found["metric"])
    slices = condition.of_slices(config, task, metric, found, values, both.mine, both.theirs)
    return RowComparison(found, slices), []


def _own_conditions(config: configs.Config, root: Path, evaluation: facts.Evaluation | None) -> list[Condition]:
    """Check the promotion conditions on the model alone that do not need a package or a registered version."""
    if evaluation is None:
        return []
    return [
        condition.of_validation(root / layout.VALIDATION),
        *condition.of_thresholds(evaluation["thresholds"]),
        condition.of_trivial(evaluation["task"], evaluation["metrics"], config.promote.worse_than_trivial),
        condition.of_leaks(cast(Evaluation, evaluation), config.promote.leak),
    ]


def _base_conditions(
    config: configs.Config,
    root: Path,
    base: BaseRevision,
    evaluation: facts.Evaluation | None,
    metrics: Sequence[facts.Metric],
    paired: RowComparison | None,
) -> list[Condition]:
    """Check the promotion conditions that compare with the champion, with the base commit's model instead."""
    if evaluation is None:
        return []
    main = config.promote.metric or next(iter(evaluation["metrics"]))
    old = base.json(layout.COLUMNS)
    if paired is None:
        return [worse(metrics, main, base.name), *([_broken(config, root, base)] if old else [])]
    # the same model again must pass, or no change to documentation could be merged
    unchanged = paired.measured["low"] == paired.measured["high"] == 0
    rule = "not_worse" if unchanged else config.promote.rule
    return [
        condition.of_comparison("base", paired.measured, rule, base.name),
        paired.slices,
        _broken(config, root, base),
    ]


def _broken(config: configs.Config, root: Path, base: BaseRevision) -> Condition:
    """Check whether callers would break. It is decided by the person who merges, then by the person who promotes."""
    columns = base.json(layout.COLUMNS), files.read_json(root / layout.COLUMNS)
    lists = (
        base.json(layout.FEATURE_LIST),
        facts.read_json(root / layout.FEATURE_LIST) if config.features.use else None,
    )
    before, after = (Schema.from_dict(found["schema"]) for found in columns)
    features, features_after = (FeatureList.from_dict(found) if found else None for found in lists)
    broken = contract.broken(before, after, features, features_after)
    if not broken:
        return condition.condition("contract", True)
    detail = (
        f"breaks callers: {condition.few(broken)}; to accept this after the merge, "
        "glue promote VERSION --accept-contract-change"
    )
    return condition.condition("contract", None, detail, value=len(broken), limit=0)


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return all contract differences between two models, from their column files."""
    return contract.differences(*(contract.contract(Schema.from_dict(found["schema"])) for found in (before, after)))


def worse(rows: Sequence[facts.Metric], main: str, base: str) -> Condition:
    """Compare the promotion metric with the base commit's, if the models cannot be compared row by row.

    It is worse only if its complete interval is worse.
    """
    row = next((row for row in rows if row.name == main), None)
    if row is None or row.base is None:
        return condition.condition("base", None, f"{base} has no {main}")
    from mlops_glue.metrics import is_at_least

    best = row.high if row.higher_is_better else row.low
    detail = ""
    if row.value is None or best is None or not is_at_least(best, row.base, higher_is_better=row.higher_is_better):
        low, high, value, other = map(number, (row.low, row.high, row.value, row.base))
        detail = f"{main} {value} ({low} to {high}) is worse than {other} in {base}"
    return condition.condition("base", not detail, detail, value=row.value, limit=row.base)


def _validation(root: Path, pending: dict[str, list[str]]) -> dict[str, Any] | None:
    """Return the number of expectations met, and the others; None if the result is from an earlier run."""
    found = facts.expectations(root / layout.VALIDATION) if "ingest" not in pending else None
    if found is None:
        return None
    failed = [f"{e.expectation} {e.column} ({e.severity}): {e.observed}" for e in found if not e.met]
    if "validate" in pending and not failed:
        return None
    return {"all": len(found), "passed": len(found) - len(failed), "failed": failed[:MOST_FAILED]}


def _tables(config: configs.Config, root: Path, base: BaseRevision, lock: Lock) -> list[dict[str, str]]:
    """Return each table's rows and columns, now and at the base commit."""
    rows = []
    for name in config.data.sources:
        path = configs.path_of(config, name)
        md5 = outputs(lock).get(path)
        head = tables.parquet_shape(root / path) if md5 and (root / path).is_file() else None
        unchanged = bool(md5) and base.hash(path) == md5
        before = head if unchanged else None
        if not unchanged and (table := base.table(path)) is not None:
            before = table.num_rows, {field.name: str(field.type) for field in table.schema}
        rows.append(
            {
                "name": name,
                "rows": f"{head[0]:,}" if head else "?",
                "before": f"{before[0]:,}" if before else "?",
                "columns": ", ".join(contract.differences(before[1], head[1])) or "unchanged"
                if before and head
                else "",
            }
        )
    return rows


def table_drift(root: Path, base: BaseRevision, lock: Lock, settings: configs.Monitor) -> dict[str, Any] | None:
    """Return the drift of each column of the labels table, largest first; None if the table is unchanged.

    The result is the same as that of `glue monitor --reference --current` for the two tables.
    """
    path = layout.TABLE
    if base.hash(path) == outputs(lock).get(path) or not (root / path).is_file():
        return None
    old, new = base.table(path), tables.read_parquet(root / path)
    if old is None or not old.num_rows or not new.num_rows:
        return None
    verdict, _ = compared(old, lambda _: [new], settings, Path(path))
    columns = verdict["columns"] | ({"prediction": verdict["prediction"]} if verdict["prediction"] else {})
    rows = [{"column": name, **found} for name, found in columns.items()]
    rows.sort(key=lambda row: (not row["drifted"], -(row["distance"] or 0.0)))
    return {key: verdict[key] for key in ("verdict", "drift_share", "threshold")} | {"columns": rows}


def _slices(evaluation: facts.Evaluation | None, before: facts.Evaluation | None, main: str) -> list[dict[str, Any]]:
    """Return the metric by slice, largest change first."""
    if evaluation is None:
        return []
    bases = {(s["column"], s["value"]): s["metrics"].get(main) for s in before["slices"]} if before else {}
    rows = []
    for row in evaluation["slices"]:
        value, base = row["metrics"].get(main), bases.get((row["column"], row["value"]))
        difference = None if value is None or base is None else value - base
        name = f"{row['column']} = {row['value']}"
        rows.append({"name": name, "rows": row["rows"], "value": value, "base": base, "difference": difference})
    return sorted(rows, key=lambda row: -abs(row["difference"] or 0.0))


def sliced(evaluation: facts.Evaluation | None) -> list[tuple[str, int, int]]:
    """For each column with more values than are reported, return the numbers of reported and of all values."""
    found = facts.slices(evaluation)
    return [(by.column, len(by.rows), by.values) for by in found if len(by.rows) < by.values]


def _stages(base: Lock, head: Lock, pending: dict[str, list[str]]) -> list[dict[str, str]]:
    """For each stage, return whether it changed, and the files or parameters that changed."""
    rows = []
    for name in UNTIL:
        if name in pending:
            rows.append({"stage": name, "outcome": "did not run", "reasons": ", ".join(pending[name][:3])})
            continue
        reasons = changes(base[name], head.get(name, {})) if name in base else ["not in the base"]
        outcome = "changed" if reasons else "unchanged"
        rows.append({"stage": name, "outcome": outcome, "reasons": ", ".join(reasons[:4])})
    return rows


def render(change: Change, root: Path, marker: str, pages: str | None = None) -> str:
    """Render the report as Markdown, cut to the length that GitHub accepts.

    `marker` identifies the project's comment; plots are shown from the URL `pages`, where `artifacts/` is served.
    """
    values = {**vars(change), "marker": marker, "pages": pages, "url": _run_url()}
    values["images"] = sorted(p.name for p in (root / layout.PLOTS).glob("*.svg"))[:MOST_IMAGES] if pages else []
    values["finding"] = describe.shown(change.measured, change.against) if change.measured else ""
    values["cells"] = describe.condition_cells(change.conditions)
    filters = {"md": as_text, "n": number}
    return shortened(files.render(layout.templates() / "report" / "pull_request.md", values, filters=filters))


def render_problems(problems: Sequence[str], marker: str) -> str:
    """Render the report for a config that cannot be read. It replaces the report on an earlier commit."""
    lines = "".join(f"- :x: {as_text(line)}\n" for line in problems)
    return f"<!-- glue report {marker} -->\n## refused\n\n{lines}"


def _run_url() -> str | None:
    """Return the URL of this run on GitHub."""
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    server, repository, run = (os.environ.get(name) for name in names)
    return f"{server}/{repository}/actions/runs/{run}" if server and repository and run else None
