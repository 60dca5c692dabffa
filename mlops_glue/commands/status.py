"""`glue status` and `glue why`: what would run and the exact cause; what is champion."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

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
        console.result_json({"stages": reasons, "after": _after(reasons), "delivery": delivered, "problem": lost})
        return 0
    for name, why in reasons.items():
        console.result(f"{name:<12} {'changed: ' + ', '.join(why[:3]) if why else _unchanged(name, reasons)}")
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
        told: dict[str, Any] = {
            "stages": {},
            "after": {},
            "delivery": None,
            "model": config.model_name,
            "champion": champion,
        }
        console.result_json(told)
    else:
        console.result(f"champion of {config.model_name}: {f'v{champion}' if champion else 'none'}")
    return 0


def why(stage: str, *, as_json: bool = False) -> int:
    """Print every cause for which a stage would run."""
    reasons = _reasons()
    if stage not in reasons:
        raise UsageError(f"no stage {stage!r}", hint=did_you_mean(stage, list(reasons)))
    if as_json:
        console.result_json({"stage": stage, "reasons": reasons[stage], "after": _after(reasons).get(stage, [])})
        return 0
    for line in reasons[stage] or [_unchanged(stage, reasons, ": it would not run")]:
        console.result(line)
    return 0


def _unchanged(stage: str, reasons: dict[str, list[str]], alone: str = "") -> str:
    before = _after(reasons).get(stage)
    return (
        f"unchanged: it runs if {', '.join(before)} will have changed what it reads" if before else f"unchanged{alone}"
    )


def _after(reasons: dict[str, list[str]]) -> dict[str, list[str]]:
    """For each stage that has no reason of its own: those before it that will run."""
    out, before = {}, list[str]()
    for name, why in reasons.items():
        if why:
            before.append(name)
        elif before:
            out[name] = [*before]
    return out


def _reasons() -> dict[str, list[str]]:
    root = layout.find_root()
    runner.check_merged(root)
    # nothing is written here: DVC reads the stages as the next run will define them
    return dvc.status(root, runner.stale_definition(configs.load(root), root))
