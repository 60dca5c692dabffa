"""The lineage of a version as OpenLineage events (https://openlineage.io/spec/2-0-2/OpenLineage.json)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

from mlops_glue.delivery.lineage import Lineage
from mlops_glue.version import __version__

SPEC = "https://openlineage.io/spec"
PRODUCER = f"https://github.com/mlops-glue/mlops_glue/tree/v{__version__}"


def events(found: Lineage, project: str, repository: str | None) -> list[dict[str, Any]]:
    """Return a START and a COMPLETE event for each stage and for the registration.

    Run ids are derived from the fingerprint and the stage, so repeated events are identical.

    Args:
        found: the version's lineage.
        project: the name of the namespace.
        repository: URL of the git repository; None: the events do not contain the code's location.
    """
    made = found.provenance
    if made is None:
        return []
    out: list[dict[str, Any]] = []
    for name, stage in found.stages.items():
        datasets = (_datasets(found, project, stage["deps"]), _datasets(found, project, stage["outs"]))
        out += _pair(found, project, name, repository, *datasets)
    bundle = _datasets(found, project, found.stages.get("package", {}).get("outs", {}))
    model = _dataset(project, f"models/{found.model}", str(found.version), {})
    return out + list(_pair(found, project, "register", repository, bundle, [model]))


def _pair(
    found: Lineage, project: str, name: str, repository: str | None, inputs: list[Any], outputs: list[Any]
) -> Iterator[dict[str, Any]]:
    made = found.provenance or {}
    time = re.sub(r"\+00:00$", "Z", made["time"])
    engine = {"version": made["environment"]["glue"], "name": "mlops-glue"}
    job_type = {"processingType": "BATCH", "integration": "MLOPS_GLUE", "jobType": "TASK"}
    job = {"jobType": _facet("2-0-4", "JobTypeJobFacet", job_type)}
    if repository is not None and made["code"]["commit"]:
        where = {"type": "git", "url": repository, "repoUrl": repository, "version": made["code"]["commit"]}
        job["sourceCodeLocation"] = _facet("1-1-0", "SourceCodeLocationJobFacet", where)
    run = {
        "runId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{found.fingerprint}/{name}")),
        "facets": {"processing_engine": _facet("1-1-1", "ProcessingEngineRunFacet", engine)},
    }
    for event in ("START", "COMPLETE"):
        yield {
            "eventType": event,
            "eventTime": time,
            "producer": PRODUCER,
            "schemaURL": f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
            "run": run,
            "job": {"namespace": f"glue://{project}", "name": f"{found.model}.{name}", "facets": job},
            "inputs": inputs if event == "COMPLETE" else [],
            "outputs": outputs if event == "COMPLETE" else [],
        }


def _datasets(found: Lineage, project: str, hashes: dict[str, str | None]) -> list[dict[str, Any]]:
    columns = {table["path"]: table["columns"] for table in (found.provenance or {}).get("data", [])}
    return [
        _dataset(project, path, f"md5:{md5}" if md5 else None, columns.get(path, {})) for path, md5 in hashes.items()
    ]


def _dataset(project: str, name: str, version: str | None, columns: dict[str, str]) -> dict[str, Any]:
    facets = {}
    if version:
        facets["version"] = _facet("1-0-1", "DatasetVersionDatasetFacet", {"datasetVersion": version})
    if columns:
        fields = [{"name": column, "type": kind} for column, kind in columns.items()]
        facets["schema"] = _facet("1-2-0", "SchemaDatasetFacet", {"fields": fields})
    return {"namespace": f"glue://{project}", "name": name, "facets": facets}


def _facet(version: str, name: str, content: dict[str, Any]) -> dict[str, Any]:
    url = f"{SPEC}/facets/{version}/{name}.json#/$defs/{name}"
    return {"_producer": PRODUCER, "_schemaURL": url, **content}
