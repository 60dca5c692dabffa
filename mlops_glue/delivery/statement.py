"""The provenance of a bundle, as an in-toto statement with SLSA's provenance predicate.

The formats are https://github.com/in-toto/attestation/blob/main/spec/v1 and https://slsa.dev/spec/v1.0/provenance.
"""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from mlops_glue.delivery.provenance import Provenance
from mlops_glue.delivery.reproduce import Proof
from mlops_glue.version import __version__

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
HOME = "https://github.com/mlops-glue/mlops_glue"


def of_rebuild(model: str, version: int, record: Provenance, proof: Proof) -> dict[str, Any]:
    """Return the statement that a version was reproduced, with the level reached.

    The subjects are the files of the rebuilt bundle, by SHA-256.
    """
    content = {"level": proof.level, "checks": [asdict(check) for check in proof.checks], "unlike": proof.unlike}
    content |= {"expected": proof.expected}
    proof_of = {
        "name": "proof",
        "mediaType": "application/json",
        "content": base64.b64encode(json.dumps(content, sort_keys=True).encode()).decode(),
    }
    names = {f"{model}/v{version}/{name}": digest for name, digest in proof.rebuilt.items()}
    return _statement("reproduce", {"model": model, "version": version}, record, names, [proof_of])


def of_build(model: str, record: Provenance | None, digests: dict[str, str]) -> dict[str, Any]:
    """Return the statement that a run made a bundle. The subjects are its files, by SHA-256.

    Without a record (an imported model), it only states the content of the bundle, not its origin.
    """
    parameters = {"model": model} | ({"command": record.command} if record else {})
    return _statement("run" if record else "import", parameters, record, digests, [])


def _statement(
    how: str,
    parameters: dict[str, Any],
    record: Provenance | None,
    digests: dict[str, str],
    byproducts: list[dict[str, str]],
) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    definition = {
        "buildType": f"{HOME}/{how}/v1",
        "externalParameters": parameters,
        "internalParameters": {"environment": record.environment, "seed": record.seed} if record else {},
        "resolvedDependencies": _dependencies(record) if record else [],
    }
    details = {
        "builder": {"id": f"{HOME}/{how}", "version": {"glue": __version__}},
        "metadata": {"invocationId": str(uuid.uuid4()), "finishedOn": now},
        "byproducts": byproducts,
    }
    subject = [{"name": name, "digest": {"sha256": digest}} for name, digest in digests.items()]
    predicate = {"buildDefinition": definition, "runDetails": details}
    return {"_type": STATEMENT, "subject": subject, "predicateType": PREDICATE, "predicate": predicate}


def _dependencies(record: Provenance) -> list[dict[str, Any]]:
    code = {"gitTree": record.code["tree"]} | ({"gitCommit": record.code["commit"]} if record.code["commit"] else {})
    tables = [{"name": table.path, "digest": {"md5": table.md5, "sha256": table.sha256}} for table in record.data]
    return [{"name": "code", "digest": code}, *tables]
