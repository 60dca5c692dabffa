"""`glue report --pr`: what a change does to data, metrics and contract, as Markdown for a pull request."""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import console, files, layout, tables
from mlops_glue.adapters import dvc, git, great_expectations
from mlops_glue.delivery import describe
from mlops_glue.delivery.fetch import last_delivery
from mlops_glue.errors import ConfigError, DataError, GlueError, UsageError, first_line
from mlops_glue.monitoring.tables import compared
from mlops_glue.pipeline import dvc_yaml, stages
from mlops_glue.pipeline.fingerprint import fingerprint
from mlops_glue.scaffold.commit import due
from mlops_glue.scaffold.outputs import check_outputs
from mlops_glue.scaffold.workflows import prefix

MOST = 65_000  # characters that GitHub takes in a comment
LONGEST = 80  # characters of a value or a name
UNTIL = stages.NAMES[: stages.NAMES.index("evaluate") + 1]
EVALUATION = f"{layout.EVALUATION}/evaluation.json"
RESULT = f"{layout.VALIDATION}/result.json"


def report(
    *, base: str, out: str | None = None, pages: str | None = None, as_json: bool = False, env: str | None = None
) -> int:
    """Compare the project as it is with a commit of it. Returns 1 where the change should not be merged.

    Args:
        base: the commit, branch or tag to compare with.
        out: a file for the Markdown; default is the standard output.
        pages: where `artifacts/` can be read by a browser; plots are shown from there.
        as_json: give what the Markdown is made of.
        env: an entry of `environments`, for the registry.
    """
    root = layout.find_root()
    top = git.top(root)
    if top is None:
        raise UsageError(f"{root} is in no git repository, so there is nothing to compare with", hint="git init")
    if git.commit_hash(root, base) is None:
        raise UsageError(f"--base {base}: git has no such commit", hint=_where_base_is(root))
    marker = prefix(root, top) or "."
    check_outputs(root, [Path(out)] if out else [])
    try:
        dvc_yaml.check_merged(root)
        config = configs.load(root, env, tables=False)
        check_outputs(root, [Path(out)] if out else [], config)
    except ConfigError as error:
        if out is not None:  # or what was said of a former commit would stand
            said = "".join(f"- :x: {_md(line)}\n" for line in error.problems)
            files.write_text(Path(out), f"<!-- glue report {marker} -->\n## refused\n\n{said}")
        raise
    with tempfile.TemporaryDirectory() as folder:
        there = Before(root, base, configs.remote_url(config) if _resolves(config) else None, Path(folder))
        told = _compared(config, root, there)
    told |= {"marker": marker, "pages": pages, "url": _run_url(), "images": _images(root) if pages else []}
    if as_json:
        console.result_json(told)
    else:
        text = files.render(layout.templates() / "report" / "pull_request.md", told, filters={"md": _md, "n": _number})
        text = _shortened(text)
        if out is None:
            console.result(text)
        else:
            files.write_text(Path(out), text)
    for reason in told["refused"]:
        console.progress(f"refused: {reason}")
    return 1 if told["refused"] else 0


class Before:
    """The files of the commit that is compared with.

    Args:
        root: the project.
        rev: the commit.
        remote: of DVC, where results are that the cache lacks.
        folder: an empty one.
    """

    def __init__(self, root: Path, rev: str, remote: str | None, folder: Path) -> None:
        self.rev, self.folder, self._root, self._remote = rev, folder, root, remote
        self.name = rev[:7] if re.fullmatch(r"[0-9a-f]{40}", rev) else rev[:40]
        self.lock: dict[str, Any] = (self._yaml("dvc.lock") or {}).get("stages", {})
        self.problem = ""
        try:
            self._get([EVALUATION, RESULT, layout.COLUMNS] if self.lock else [])
        except GlueError as error:
            self.problem = f"the result of {self.name} cannot be read: {error.message}"

    def _get(self, paths: list[str]) -> None:
        if paths:
            dvc.get(self._root, self.rev, paths, self.folder, self._remote)

    def _yaml(self, path: str) -> Any:
        from ruamel.yaml.error import YAMLError

        text = git.show(self._root, self.rev, path)
        try:
            return files.parse_yaml(text) if text else None
        except YAMLError as error:
            raise DataError(f"{path} of {self.name} cannot be read: {first_line(error)}") from error

    def stale(self) -> list[str]:
        """What its `dvc.lock` was made with, and its own files say otherwise."""
        config, found = self._yaml(layout.CONFIG), []
        for stage in self.lock.values():
            for key, value in stage.get("params", {}).get(layout.CONFIG, {}).items():
                now = config
                for part in key.split("."):
                    now = now.get(part) if isinstance(now, dict) else None
                found += [name for name, _, _ in dvc.differences(key, value, now)]
        for dep in self.lock.get("ingest", {}).get("deps", []):
            tracked = self._yaml(f"{dep['path']}.dvc")
            if tracked and tracked["outs"][0].get("md5") != dep.get("md5"):
                found.append(dep["path"])
        return list(dict.fromkeys(found))

    def json(self, path: str) -> Any:
        """What a file holds; None where there is none."""
        return files.read_json(self.folder / path) if (self.folder / path).is_file() else None

    def table(self, path: str) -> Any:
        """A Parquet file, which is fetched only now; None where there is none."""
        if not self.hash(path):
            return None
        self._get([path])
        return tables.read_parquet(self.folder / path)

    def hash(self, path: str) -> str:
        """MD5 of an output; "" where there is none."""
        return _outs(self.lock).get(path, "")


def _where_base_is(root: Path) -> str:
    """What to type where git does not know the commit to compare with."""
    if git.commit_hash(root, "HEAD") is None:
        return due(root, "glue init") or "git commit"
    if git.is_shallow(root):
        return "git fetch --unshallow"
    return "git fetch, then --base origin/main" if git.has_remote(root) else "git log --oneline, for one that it has"


def _outs(lock: dict[str, Any]) -> dict[str, str]:
    return {out["path"]: str(out.get("md5", "")) for stage in lock.values() for out in stage.get("outs", [])}


def _resolves(config: configs.Config) -> bool:
    return all(os.environ.get(name) for name in configs.references(config.data.remote))


def _compared(config: configs.Config, root: Path, there: Before) -> dict[str, Any]:
    """Everything that the page says."""
    as_defined = dvc.status(root, dvc_yaml.stale(config, root))
    pending = {name: why for name, why in as_defined.items() if name in UNTIL and why}
    lock = dvc.locked(root)
    evaluation = files.read_json(root / EVALUATION) if not pending else None
    before = there.json(EVALUATION)
    same = not pending and _same_holdout(root, there, lock)
    champion, notes = _champion(config, root)
    if not there.lock:
        notes.append(f"{there.name} has no dvc.lock, so there is no result to compare with")
    if git.is_modified(root, "dvc.lock"):
        notes.append("the dvc.lock of this result is not committed: commit it, and the next run has nothing to do")
    if stale := there.stale():
        shown = ", ".join(stale[:5]) + (", …" if len(stale) > 5 else "")
        said = f"the dvc.lock of {there.name} is older than its own files ({shown}), as after a change without glue run"
        notes.append(f"{said}: some of the differences are not of this change")
    metrics = _metrics(evaluation, before, champion)
    validation = _validation(root) if "ingest" not in pending else None
    if validation and "validate" in pending and not validation["failed"]:
        validation = None  # of a former run
    main = config.promote.metric or (next(iter(evaluation["metrics"])) if evaluation else "")
    missed = describe.missed(evaluation["thresholds"]) if evaluation else []
    refused = [
        *_failures(pending, validation),
        *([there.problem] if there.problem else []),
        *missed,
        *(_refusal(config, root, missed) if not pending else ()),
        *_worse(metrics, main, same, there.name),
    ]
    return {
        "project": config.project,
        "against": there.name,
        "refused": refused,
        "notes": notes,
        "evaluation": evaluation,
        "same_holdout": same,
        "champion": champion[0] if champion else None,
        "metrics": metrics,
        "tables": _tables(config, root, there, {} if "ingest" in pending else lock),
        "validation": validation,
        "drift": _drift(root, there, lock, config.monitor) if "ingest" not in pending else None,
        "contract": _contract(root, there) if not pending and there.json(layout.COLUMNS) else None,
        "slices": _slices(evaluation, before, main),
        "slice_metric": main,
        "sliced": _sliced(evaluation),
        "stages": _stages(there.lock, lock, pending),
    }


def _same_holdout(root: Path, there: Before, lock: dict[str, Any]) -> bool:
    """The same rows, whatever columns are taken of them?"""
    hashes = [(outs.get(layout.TEST), outs.get(layout.TABLE)) for outs in (_outs(there.lock), _outs(lock))]
    if hashes[0][0] == hashes[1][0]:
        return hashes[0][0] is not None
    if hashes[0][1] != hashes[1][1]:
        return False
    try:
        before, here = there.table(layout.TEST), tables.read_parquet(root / layout.TEST, [layout.ROW])
    except GlueError:  # neither in the cache nor in the remote
        return False
    return {*before.column(layout.ROW).to_pylist()} == {*here.column(layout.ROW).to_pylist()}


def _failures(pending: dict[str, list[str]], validation: dict[str, Any] | None) -> Iterator[str]:
    """A stage that should have run and did not: what it says is not of this change."""
    if validation and validation["failed"] and "validate" in pending:
        yield f"{len(validation['failed'])} expectations do not hold: {validation['failed'][0]}"
    elif pending:
        name, why = next(iter(pending.items()))
        yield f"stage {name} did not run ({', '.join(why[:2])}), so nothing after it is known"


def _refusal(config: configs.Config, root: Path, missed: list[str]) -> list[str]:
    """Why the last run, of what is here now, refused the model, but for the thresholds that it missed."""
    told = last_delivery(root, config)
    if told is None or told["champion"] == told["version"] or told["fingerprint"] != fingerprint(root):
        return []
    return [f"v{told['version']}: {reason}" for reason in told["refused"] if reason not in missed]


def _worse(rows: list[dict[str, Any]], main: str, same: bool, rev: str) -> Iterator[str]:
    """The metric that is promoted by, against the other commit's: by its value on the same holdout; on another one
    only where the whole interval is worse."""
    row = next((row for row in rows if row["name"] == main), None)
    if row is None or row["base"] is None:
        return
    from mlops_glue.metrics import is_at_least

    value, base, higher = row["value"], row["base"], row["higher_is_better"]
    best = value if same else row["high"] if higher else row["low"]
    if value is None or best is None or not is_at_least(best, base, higher_is_better=higher):
        where = (
            "on the same holdout" if same else f"({_number(row['low'])} to {_number(row['high'])}) on another holdout"
        )
        yield f"{main} {_number(value)} is worse than {_number(base)} of {rev} {where}"


def _metrics(evaluation: Any, before: Any, champion: tuple[str, dict[str, float]] | None) -> list[dict[str, Any]]:
    if evaluation is None:
        return []
    from mlops_glue.metrics import METRICS

    known = METRICS[evaluation["task"]]
    limits = {limit["metric"]: limit for limit in evaluation["thresholds"]}
    theirs = before["metrics"] if before and before["task"] == evaluation["task"] else {}
    rows = []
    for name, score in evaluation["metrics"].items():
        base = theirs.get(name, {}).get("value")
        mark = f"{describe.bounds(limits[name])} {'met' if limits[name]['met'] else 'MISSED'}" if name in limits else ""
        rows.append(
            {
                "name": name,
                **score,
                "base": base,
                "difference": None if base is None or score["value"] is None else score["value"] - base,
                "champion": champion[1].get(name) if champion else None,
                "threshold": mark,
                "higher_is_better": known[name].higher_is_better,
            }
        )
    return rows


def _champion(config: configs.Config, root: Path) -> tuple[tuple[str, dict[str, float]] | None, list[str]]:
    """The champion's name and its metrics, as they were when it was registered; and why there is none."""
    if config.tracking.uri is None and not (root / layout.TRACKING_DB).is_file():
        return None, []
    try:
        from mlops_glue.adapters.mlflow import Store

        store = Store(root, configs.tracking_uri(config), create=False)
        version = store.champion(config.model_name)
        if version is None:
            return None, []
        return (f"champion v{version}", store.metrics(config.model_name, version)), []
    except GlueError as error:
        return None, [f"not compared with the champion: {error.message}"]


def _validation(root: Path) -> dict[str, Any] | None:
    if not (root / RESULT).is_file():
        return None
    results = files.read_json(root / RESULT)["results"]
    failed = []
    for one in results:
        if not one["success"]:
            config, said = one["expectation_config"], one["result"]
            column = config["kwargs"].get("column", "")
            found = said.get("unexpected_count", said.get("observed_value"))
            some = great_expectations.some_unexpected(said)
            found = f"{found}: {some}" if some else found
            failed.append(f"{config['type']} {column} ({config['severity']}): {found}")
    return {"all": len(results), "passed": len(results) - len(failed), "failed": failed[:20]}


def _tables(config: configs.Config, root: Path, there: Before, lock: dict[str, Any]) -> list[dict[str, Any]]:
    """Each table's rows and columns, here and there."""
    rows = []
    for name in config.data.sources:
        path = configs.path_of(config, name)
        made = _outs(lock).get(path)
        here = tables.parquet_shape(root / path) if made and (root / path).is_file() else None
        unchanged = bool(made) and there.hash(path) == made
        before = here if unchanged else _shape(there, path)
        rows.append(
            {
                "name": name,
                "rows": f"{here[0]:,}" if here else "?",
                "before": f"{before[0]:,}" if before else "?",
                "columns": "unchanged" if unchanged else _columns(before[1], here[1]) if before and here else "",
            }
        )
    return rows


def _shape(there: Before, path: str) -> tuple[int, dict[str, str]] | None:
    table = there.table(path)
    return None if table is None else (table.num_rows, {f.name: str(f.type) for f in table.schema})


def _columns(before: dict[str, str], here: dict[str, str]) -> str:
    """Which columns came, went, or changed their type."""
    came = [f"+{name}" for name in here if name not in before]
    went = [f"-{name}" for name in before if name not in here]
    other = [f"{n}: {before[n]} -> {here[n]}" for n in here if n in before and before[n] != here[n]]
    shown = [*came, *went, *other]
    return ", ".join(shown[:10]) + (f" and {len(shown) - 10} more" if len(shown) > 10 else "") or "the same"


def _drift(root: Path, there: Before, lock: dict[str, Any], settings: configs.Monitor) -> dict[str, Any] | None:
    """How far each column of the labels' table is from what it was, the farthest first; None where it is the same.

    It is what `glue monitor --reference --current` says of the two tables.
    """
    path = layout.TABLE
    if there.hash(path) == _outs(lock).get(path) or not (root / path).is_file():
        return None
    old, new = there.table(path), tables.read_parquet(root / path)
    if old is None or not old.num_rows or not new.num_rows:
        return None
    told, _ = compared(old, lambda _: [new], settings, Path(path))
    columns = told["columns"] | ({"prediction": told["prediction"]} if told["prediction"] else {})
    rows = [{"column": name, **one} for name, one in columns.items()]
    rows.sort(key=lambda row: (not row["drifted"], -(row["distance"] or 0.0)))
    return {key: told[key] for key in ("verdict", "drift_share", "threshold")} | {"columns": rows}


def _contract(root: Path, there: Before) -> list[str]:
    """What callers of the model would notice."""
    here, before = (files.read_json(root / layout.COLUMNS)["schema"], there.json(layout.COLUMNS)["schema"])
    said = [
        f"{key}: {before[key]} -> {here[key]}"
        for key in ("task", "target", "labels")
        if before.get(key) != here.get(key)
    ]
    old, new = ({c["name"]: c for c in schema["columns"]} for schema in (before, here))
    said += [f"takes {name} ({new[name]['kind']}), which it did not" for name in new if name not in old]
    said += [f"takes {name} no more" for name in old if name not in new]
    for name in (n for n in new if n in old):
        a, b = old[name], new[name]
        if a["kind"] != b["kind"]:
            said.append(f"{name} is {b['kind']}, was {a['kind']}")
        if a["nullable"] and not b["nullable"]:
            said.append(f"{name} may not be null any more")
        came = [c for c in b["categories"] or [] if c not in (a["categories"] or [])]
        went = [c for c in a["categories"] or [] if c not in (b["categories"] or [])]
        if a["kind"] == b["kind"] == "category" and (came or went):
            said.append(f"{name}: {len(came)} new categories, {len(went)} gone ({', '.join([*came, *went][:5])})")
    return said


def _slices(evaluation: Any, before: Any, main: str) -> list[dict[str, Any]]:
    """The metric by slice, the greatest change first."""
    if evaluation is None:
        return []
    theirs = {(s["column"], s["value"]): s["metrics"].get(main) for s in before["slices"]} if before else {}
    rows = []
    for one in evaluation["slices"]:
        value, base = one["metrics"].get(main), theirs.get((one["column"], one["value"]))
        known = value is not None and base is not None
        rows.append(
            {
                "name": f"{one['column']} = {one['value']}",
                "rows": one["rows"],
                "value": value,
                "base": base,
                "difference": value - base if known else None,
            }
        )
    return sorted(rows, key=lambda row: -abs(row["difference"] or 0.0))


def _sliced(evaluation: Any) -> list[tuple[str, int, int]]:
    """Of each column that has more values than are reported: how many are, and of how many."""
    here = evaluation["slices"] if evaluation is not None else []
    shown = Counter(one["column"] for one in here)
    every = {one["column"]: one.get("values", 0) for one in here}
    return [(column, number, every[column]) for column, number in shown.items() if number < every[column]]


def _stages(before: dict[str, Any], here: dict[str, Any], pending: dict[str, list[str]]) -> list[dict[str, Any]]:
    """For each stage: is it as it was, and if not, which file or parameter is another."""
    rows = []
    for name in UNTIL:
        if name in pending:
            rows.append({"stage": name, "outcome": "did not run", "reasons": ", ".join(pending[name][:3])})
            continue
        old, new = before.get(name), here.get(name, {})
        reasons = ["there is none there"] if old is None else _reasons(old, new)
        outcome = "changed" if reasons else "unchanged"
        rows.append({"stage": name, "outcome": outcome, "reasons": ", ".join(reasons[:4])})
    return rows


def _reasons(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    files = [{d["path"]: d.get("md5") for d in stage.get("deps", [])} for stage in (old, new)]
    said = [path for path in {**files[0], **files[1]} if files[0].get(path) != files[1].get(path)]
    params = [stage.get("params", {}).get(layout.CONFIG, {}) for stage in (old, new)]
    for key in {**params[0], **params[1]}:
        said += [f"{k} {a} -> {b}" for k, a, b in dvc.differences(key, params[0].get(key), params[1].get(key))]
    return said + (["command"] if old.get("cmd") != new.get("cmd") else [])


def _run_url() -> str | None:
    """The page of this run on GitHub."""
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    server, repository, run = (os.environ.get(name) for name in names)
    return f"{server}/{repository}/actions/runs/{run}" if server and repository and run else None


def _images(root: Path) -> list[str]:
    return sorted(p.name for p in (root / layout.PLOTS).glob("*.svg"))[:6]


def _shortened(text: str) -> str:
    """As much of it as GitHub takes, in whole lines."""
    if len(text) <= MOST:
        return text
    kept = text[: MOST - 60].rpartition("\n")[0]
    open_ = "\n</details>" if kept.count("<details>") > kept.count("</details>") else ""
    return f"{kept}\n{open_}\n\n… the rest is too long.\n"


def _md(value: Any) -> str:
    """Text of data and config as plain text in Markdown: no markup, no mention, no line break."""
    text = " ".join(str(value).split())
    text = text if len(text) <= 3 * LONGEST else text[: 3 * LONGEST] + "…"
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#!|~])", r"\\\1", text).replace("@", "@\u200b").replace("://", ":\u200b//")


def _number(value: float | None, sign: str = "") -> str:
    return "n/a" if value is None else format(value, f"{sign}z.4f")
