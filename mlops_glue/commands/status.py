"""`glue status` and `glue why`: what would run and the exact cause; what is champion."""

from __future__ import annotations

from pathlib import Path

from mlops_glue import config as configs
from mlops_glue import console, layout
from mlops_glue.adapters import dvc
from mlops_glue.delivery.fetch import last_delivery, opened
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
    if as_json:
        console.result_json({"stages": reasons, "delivery": delivered})
        return 0
    for name, why in reasons.items():
        console.result(f"{name:<12} {'unchanged' if not why else 'changed: ' + ', '.join(why[:3])}")
    if delivered is None:
        console.result("nothing delivered yet")
    else:
        champion = f"v{delivered['champion']}" if delivered["champion"] else "none"
        console.result(f"champion of {delivered['model']}: {champion}; last version: v{delivered['version']}")
    return 0


def _champion_alone(root: Path, config: configs.Config, as_json: bool) -> int:
    """Of what has no pipeline: which version the registry names."""
    champion = opened(root, config).champion(config.model_name)
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
    for line in reasons[stage] or ["unchanged: it would not run"]:
        console.result(line)
    return 0


def _reasons() -> dict[str, list[str]]:
    root = layout.find_root()
    runner.write_definition(configs.load(root), root)
    return dvc.status(root)
