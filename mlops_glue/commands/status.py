"""`glue status` and `glue why`: what would run and the exact cause; what is champion."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from mlops_glue import config as configs
from mlops_glue import console, layout
from mlops_glue.adapters import dvc
from mlops_glue.delivery.fetch import last_delivery, read_only
from mlops_glue.errors import UsageError, did_you_mean
from mlops_glue.pipeline import runner


def status(*, as_json: bool = False) -> int:
    """Print each stage as unchanged or changed with the cause, and the last delivery."""
    root = layout.find_root()
    config = configs.load(root, tables=False, needs=())
    if config.data is None:
        return _champion_alone(root, config, as_json)
    reasons = _reasons()
    delivered = last_delivery(root)
    lost = _registry_lost(root) if delivered is not None and config.tracking.uri is None else None
    if as_json:
        console.result_json({"stages": reasons, "delivery": delivered, "problem": lost})
        return 0
    for name, why in reasons.items():
        console.result(f"{name:<12} {'unchanged' if not why else 'changed: ' + ', '.join(why[:3])}")
    if delivered is None:
        console.result("nothing delivered yet")
    elif lost is not None:
        had = f"v{delivered['champion']} was champion" if delivered["champion"] else "there was no champion"
        console.result(f"of {delivered['model']} {had} after the last run, and {lost}: see glue doctor")
    else:
        champion = f"v{delivered['champion']}" if delivered["champion"] else "none"
        console.result(f"champion of {delivered['model']}: {champion}; last version: v{delivered['version']}")
    return 0


def _registry_lost(root: Path) -> str | None:
    """What is wrong with the project's own registry, as far as a look at the file tells."""
    path = root / layout.TRACKING_DB
    if not path.is_file():
        return f"{path.name} is not there"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as store:
            store.execute("pragma schema_version").fetchone()
    except sqlite3.Error as error:
        return f"{path.name} cannot be read ({error})"
    return None


def _champion_alone(root: Path, config: configs.Config, as_json: bool) -> int:
    """Of what has no pipeline: which version the registry names."""
    store = read_only(root, config)
    champion = store.champion(config.model_name) if store is not None else None
    if as_json:
        console.result_json({"stages": {}, "delivery": None, "model": config.model_name, "champion": champion})
    else:
        console.result(f"champion of {config.model_name}: {f'v{champion}' if champion else 'none'}")
    return 0


def why(stage: str, *, as_json: bool = False) -> int:
    """Print every cause for which a stage would run."""
    reasons = _reasons()
    if stage not in reasons:
        raise UsageError(f"no stage {stage!r}", hint=did_you_mean(stage, list(reasons)))
    if as_json:
        console.result_json({"stage": stage, "reasons": reasons[stage]})
        return 0
    names = list(reasons)
    before = [name for name in names[: names.index(stage)] if reasons[name]]
    may = f"unchanged: it runs if {', '.join(before)} will have changed what it reads" if before else None
    for line in reasons[stage] or [may or "unchanged: it would not run"]:
        console.result(line)
    return 0


def _reasons() -> dict[str, list[str]]:
    root = layout.find_root()
    runner.check_merged(root)
    # nothing is written here: DVC reads the stages as the next run will define them
    return dvc.status(root, runner.stale_definition(configs.load(root), root))
