"""`glue promote` and `glue rollback`: the champion, by the rules; the one before, put back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue import console, files, layout
from mlops_glue.delivery.deliver import materialized
from mlops_glue.delivery.describe import compared, stays
from mlops_glue.delivery.fetch import last_delivery, read_only
from mlops_glue.delivery.trial import brought
from mlops_glue.errors import UsageError
from mlops_glue.pipeline.session import project_lock
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store
    from mlops_glue.delivery.promote import Verdict

CHALLENGER = "challenger"


def promote(
    version: int | None = None, *, alias: str = "champion", as_json: bool = False, env: str | None = None
) -> int:
    """Move the champion alias where every condition holds, or another alias to any sound version."""
    root, config, store = _opened(env)
    from mlops_glue.delivery.promote import promote as move

    with project_lock(root):
        chosen = _chosen(root, config, store, version, alias)
        if alias != "champion":
            return _named(root, config, store, chosen, alias, as_json)
        verdict = move(config, root, store, chosen, asked=True)
        if not verdict.refused:
            _note(root, config, verdict.champion)
            materialized(config, root, store, env, console.stage)
    _tell(config, verdict, as_json)
    return 1 if verdict.refused else 0


def rollback(to: int | None = None, *, as_json: bool = False, env: str | None = None) -> int:
    """Put a former champion back."""
    root, config, store = _opened(env)
    from mlops_glue.delivery.promote import rollback as move

    with project_lock(root):
        champion, before = move(store, config.model_name, to)
        _note(root, config, champion)
        materialized(config, root, store, env, console.stage)
    if as_json:
        console.result_json({"model": config.model_name, "champion": champion, "previous": before})
    else:
        was = f"; v{before} was rolled back" if before is not None else ""
        console.result(f"{config.model_name} v{champion} is champion{was}", good="is champion")
    return 0


def _opened(env: str | None) -> tuple[Path, configs.Config, Store]:
    root = layout.find_root()
    config = configs.load(root, env, needs=configs.A_MODEL)
    store = read_only(root, config)
    if store is None:
        raise UsageError(f"{config.model_name} has no version yet", hint="glue run")
    return root, config, store


def _chosen(root: Path, config: configs.Config, store: Store, version: int | None, alias: str) -> int:
    """The version that is asked for; else the challenger; else what the last run made."""
    there = store.versions(config.model_name)
    if not there:
        raise UsageError(f"{config.model_name} has no version yet", hint="glue run")
    if version is not None:
        if version not in there:
            said = f"{version}: {config.model_name} has no such version"
            raise UsageError(said, hint=did_you_mean("", list(map(str, there))))
        return version
    challenger = store.get_alias(config.model_name, CHALLENGER) if alias == "champion" else None
    told = last_delivery(root, config)
    last = told["version"] if told and told["version"] in there else there[-1]
    return challenger if challenger is not None else last


def _named(root: Path, config: configs.Config, store: Store, version: int, alias: str, as_json: bool) -> int:
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        brought(store, root, config.model_name, version, Path(scratch))  # checks it
    store.set_alias(config.model_name, alias, version)
    if as_json:
        console.result_json({"model": config.model_name, "version": version, "alias": alias})
    else:
        console.result(f"{config.model_name} v{version} is {alias}")
    return 0


def _note(root: Path, config: configs.Config, champion: int | None) -> None:
    """What `glue status` says."""
    told = last_delivery(root, config)
    if told is not None and told["champion"] != champion:
        files.write_json(root / layout.DELIVERY, told | {"champion": champion})


def _tell(config: configs.Config, verdict: Verdict, as_json: bool) -> None:
    name, version = config.model_name, verdict.version
    if as_json:
        told: dict[str, Any] = {"model": name, "version": version, "champion": verdict.champion}
        told |= {"previous": verdict.previous, "refused": verdict.refused, "comparison": verdict.comparison}
        console.result_json(told)
        for reason in verdict.refused:  # a job keeps the JSON in a file
            console.progress(f"refused: {reason}")
        return
    if (against := verdict.comparison) is not None:
        console.result(compared(against))
    for reason in verdict.refused:
        console.result(f"{name} v{version} refused: {reason}", bad="refused")
    if verdict.refused:
        console.result(stays(verdict.champion))
    elif verdict.previous == version:
        console.result(f"{name} v{version} is champion already", good="is champion")
    else:
        was = f", before it v{verdict.previous}" if verdict.previous is not None else ""
        console.result(f"{name} v{version} is champion{was}", good="is champion")
