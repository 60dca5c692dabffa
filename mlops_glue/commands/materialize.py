"""`glue materialize`: refresh the online store without training, for example on a schedule."""

from __future__ import annotations

import os
from pathlib import Path

from mlops_glue import config as configs
from mlops_glue import console, layout
from mlops_glue.delivery import record
from mlops_glue.delivery.deliver import refreshed
from mlops_glue.errors import UsageError
from mlops_glue.pipeline import up_to_date
from mlops_glue.pipeline.session import project_lock


def materialize(*, force: bool = False, as_json: bool = False, env: str | None = None) -> int:
    """Run the pipeline up to the feature tables, then fill the online store for the champion."""
    root = layout.find_root()
    env = env or os.environ.get("GLUE_ENV")
    views = None if force else _as_before(root, env)
    if views is None:
        views = _materialize(root, env, force=force)
    if as_json:
        console.result_json({"views": views})
    else:
        for view, outcome in views.items():
            console.result(f"{view}  {outcome}")
    return 0


def _materialize(root: Path, env: str | None, *, force: bool) -> dict[str, str]:
    from mlops_glue.adapters import dvc
    from mlops_glue.pipeline import dvc_yaml, execute

    dvc_yaml.check_readable(root)
    config = configs.load(root, env)
    if not config.features.use:
        raise UsageError(f"{layout.CONFIG} features.use is empty: there are no Feast features to materialize")
    with project_lock(root):
        dvc_yaml.sync(config, root)
        stages, variables = execute.in_process(config, root), execute.variables(config)
        dvc.reproduce(root, stages, console.stage, until="featurize", variables=variables)
        return refreshed(config, root, console.stage, force=force)


def _as_before(root: Path, env: str | None) -> dict[str, str] | None:
    """Return every view as unchanged if nothing has changed since the last run and the store is a file, else None.

    A store on a server may have lost its data, so it is always queried.
    """
    before = up_to_date.load(root, env)
    if before is None or len(before.required) < 2:
        return None
    return dict.fromkeys(record.read(root)["online"], "unchanged")
