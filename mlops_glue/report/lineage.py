"""The lineage of a version as text and as a Mermaid graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlops_glue import files, layout, pages
from mlops_glue.delivery import audit, describe
from mlops_glue.delivery.lineage import Lineage
from mlops_glue.pipeline.refit import described
from mlops_glue.report.table import Table
from mlops_glue.trusted import described_form

SHOWN = 12  # characters of a hash


def text(found: Lineage, row: dict[str, Any] | None = None) -> Iterator[str]:
    """Yield lines for a terminal, from the raw tables to the bundle. `row`: a logged prediction, shown first."""
    if row is not None:
        yield from _of_prediction(row)
    made = found.provenance or {}
    aliases = f" ({', '.join(found.aliases)})" if found.aliases else ""
    yield f"{found.model} v{found.version}{aliases}, registered {found.created}"
    if not made:
        yield _line("origin", "not recorded: glue did not train it, an older glue did, or MLflow has lost the record")
    for table in made.get("data", []):
        span = f", {table['first']} to {table['last']}" if table["first"] else ""
        yield _line("data", f"{table['path']}: {table['rows']:,} rows, {len(table['columns'])} columns{span}")
        yield _line("", f"md5 {table['md5']}  sha256 {table['sha256']}")
        if query := table.get("query"):
            yield _line("", f"{query['rows']:,} rows read at {query['read']} from {query['url']}: {query['query']}")
    if made.get("data"):
        yield _line("stored in", made["remote"] or "only DVC's cache at training time: data.remote was not set")
    for name, stage in found.stages.items():
        outs = ", ".join(f"{path} {(md5 or '')[:SHOWN]}" for path, md5 in stage["outs"].items())
        yield _line("stage", f"{name}: {outs}")
    if found.features:
        yield _line("features", ", ".join(found.features))
    if made:
        yield from _of_making(made, found)
    yield _line("run", f"{found.run}, fingerprint {(found.fingerprint or '')[:SHOWN]}")
    yield _line("metrics", ", ".join(f"{name} {pages.number(value)}" for name, value in sorted(found.metrics.items())))
    form = described_form(found.bundle["format"], found.bundle["runs_code"])
    yield _line("bundle", f"{form}, sha256 {found.bundle['sha256']}")
    yield from _of_promotion(found)


def table(found: Lineage) -> Table:
    """Return the same facts as a table. A line without a name is added to the row before it."""
    rows: list[list[str]] = []
    for line in list(text(found))[1:]:
        name, value = line[2:13].strip(), line[13:]
        if name or not rows:
            rows.append([name or "data", value])
        else:
            rows[-1][1] += f"; {value}"
    return Table(f"{found.model} v{found.version}, registered {found.created}", ["Item", "Value"], rows, [])


def _of_promotion(found: Lineage) -> Iterator[str]:
    for decision in found.decisions:
        why = "; ".join(decision["refused"]) or "all conditions are met"
        why = f"forced ({decision['forced']}) over: {why}" if "forced" in decision else why
        yield _line("decision", f"{decision['time']} {decision['alias']} by {decision['by']}: {why}")
    if found.conditions:
        yield _line("conditions", describe.conditions(found.conditions))
    for move in found.moves:
        yield _line("moved", audit.described(move))


def _of_prediction(row: dict[str, Any]) -> Iterator[str]:
    yield f"request {row['glue_request_id']}, row {row['glue_row']}, answered {row['glue_time']}"
    yield _line("prediction", str(row["prediction"]))
    for name, value in row.items():
        if name not in layout.OWN_COLUMNS:
            yield _line("", f"{name} = {value}")


def _of_making(made: dict[str, Any], found: Lineage) -> Iterator[str]:
    code, environment = made["code"], made["environment"]
    kept = ", saved with the run" if changed(code) else ""
    yield _line("code", f"commit {code['commit'] or 'none'}{changed(code)}{kept}; tree {code['tree'][:SHOWN]}")
    for path, sha256 in code["left_out"].items():
        yield _line("not saved", f"{path}, too big or outside the repository: sha256 {sha256}")
    yield _line("committed", found.committed or "no branch here has a commit with its dvc.lock")
    lock = f", {environment['lock']['path']}" if environment["lock"] else ""
    yield _line("made with", f"Python {environment['python']}, glue {environment['glue']}{lock}, seed {made['seed']}")
    if made["refit"] is not None:
        yield _line("repeatable", f"no: the {described(made['refit'])}")
    actor = ", ".join(made["actor"].values())
    yield _line("made by", f"{actor}: {made['command']} at {made['time']}")


def changed(code: dict[str, Any]) -> str:
    """Return in words the number of files that differed from the commit."""
    count = len(code["changed"])
    return f" and {count} changed {'file' if count == 1 else 'files'}" if code["dirty"] and count else ""


def _line(name: str, value: str) -> str:
    return f"  {name:<11}{files.one_line(value)}"


def mermaid(found: Lineage, row: dict[str, Any] | None = None) -> Iterator[str]:
    """Yield the lines of a Mermaid flowchart: tables and files are boxes, stages are rounded."""
    yield "flowchart LR"
    names: dict[str, str] = {}

    def node(label: str, shape: str = '["{}"]') -> str:
        if label not in names:
            names[label] = f"n{len(names)}"
            return names[label] + shape.format(files.one_line(label).replace('"', " "))
        return names[label]

    made = found.provenance or {}
    raw = {table["path"]: table for table in made.get("data", [])}
    for name, stage in found.stages.items():
        for path, md5 in stage["deps"].items():
            table = raw.get(path)
            label = f"{path} {md5[:SHOWN]}, {table['rows']:,} rows" if table and md5 else path
            yield f"  {node(label)} --> {node(name, '([{}])')}"
        for path in stage["outs"]:
            yield f"  {node(name, '([{}])')} --> {node(path)}"
    version = node(f"{found.model} v{found.version}", '[["{}"]]')
    yield f"  {node(_bundle(found))} --> {version}"
    if made:
        commit = f"commit {str(made['code']['commit'] or 'none')[:SHOWN]}{changed(made['code'])}"
        yield f"  {node(commit)} -.-> {version.split('[')[0]}"
    for alias in found.aliases:
        yield f"  {version.split('[')[0]} --> {node('alias ' + alias, '{{{{{}}}}}')}"
    if row is not None:
        yield f"  {version.split('[')[0]} --> {node('request ' + row['glue_request_id'])}"


def _bundle(found: Lineage) -> str:
    return next((path for path in found.stages.get("package", {}).get("outs", {})), "bundle")
