"""`glue lineage`: show where a version, or a prediction, comes from."""

from __future__ import annotations

from dataclasses import asdict

from mlops_glue import config as configs
from mlops_glue import console, layout
from mlops_glue.delivery.fetch import chosen_version, read_only
from mlops_glue.delivery.lineage import lineage as collect
from mlops_glue.errors import UsageError
from mlops_glue.monitoring import requests
from mlops_glue.report import lineage as report


def lineage(
    version: int | None = None,
    *,
    request: str | None = None,
    row: int = 0,
    as_json: bool = False,
    as_mermaid: bool = False,
    env: str | None = None,
) -> int:
    """Print the lineage of a version, by default the champion, or of the version that answered a request."""
    if row and request is None:
        raise UsageError(f"--row {row} is a row of a request", hint=f"glue lineage --request ID --row {row}")
    root = layout.find_root()
    config = configs.load(root, env, tables=False, needs=configs.A_MODEL)
    answered = None
    if request is not None:
        answered = requests.answered(config, root, request, version, row)
        version = answered["glue_version"]
    store, chosen = chosen_version(read_only(root, config), root, config, version, "glue lineage")
    found = collect(root, store, config.model_name, chosen)
    if as_json:
        console.result_json({**asdict(found), "prediction": answered})
        return 0
    for line in report.mermaid(found, answered) if as_mermaid else report.text(found, answered):
        console.result(line)
    return 0
