"""What was made from what, as an in-toto statement with SLSA's provenance predicate.

The forms are https://github.com/in-toto/attestation/blob/main/spec/v1 and https://slsa.dev/spec/v1.0/provenance.
"""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from mlops_glue import __version__
from mlops_glue.delivery.provenance import Provenance
from mlops_glue.delivery.reproduce import Proof

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
HOME = "https://github.com/mlops-glue/mlops_glue"


def of_rebuild(model: str, version: int, record: Provenance, proof: Proof) -> dict[str, Any]:
    """The statement that a version was made again, with the level that was reached.

    The subjects are the files of the rebuilt bundle, by SHA-256.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    content = {"level": proof.level, "checks": [asdict(check) for check in proof.checks], "unlike": proof.unlike}
    details = {
        "builder": {"id": f"{HOME}/reproduce", "version": {"glue": __version__}},
        "metadata": {"invocationId": str(uuid.uuid4()), "finishedOn": now},
        "byproducts": [
            {
                "name": "proof",
                "mediaType": "application/json",
                "content": base64.b64encode(json.dumps(content, sort_keys=True).encode()).decode(),
            }
        ],
    }
    subject = [{"name": f"{model}/v{version}/{name}", "digest": {"sha256": sha}} for name, sha in proof.rebuilt.items()]
    definition = {
        "buildType": f"{HOME}/reproduce/v1",
        "externalParameters": {"model": model, "version": version},
        "internalParameters": {"environment": record.environment, "seed": record.seed},
        "resolvedDependencies": _dependencies(record),
    }
    predicate = {"buildDefinition": definition, "runDetails": details}
    return {"_type": STATEMENT, "subject": subject, "predicateType": PREDICATE, "predicate": predicate}


def _dependencies(record: Provenance) -> list[dict[str, Any]]:
    code = {"gitTree": record.code["tree"]} | ({"gitCommit": record.code["commit"]} if record.code["commit"] else {})
    tables = [{"name": table.path, "digest": {"md5": table.md5, "sha256": table.sha256}} for table in record.data]
    return [{"name": "code", "digest": code}, *tables]
