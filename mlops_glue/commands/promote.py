"""`glue promote` and `glue rollback`: promote a version by the rules, or restore a former champion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import config as configs
from mlops_glue import console, layout
from mlops_glue.delivery import describe
from mlops_glue.delivery.deliver import materialized
from mlops_glue.delivery.fetch import must_exist, read_only
from mlops_glue.delivery.record import note_champion
from mlops_glue.errors import UsageError
from mlops_glue.pipeline.session import project_lock

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store
    from mlops_glue.delivery.history import Verdict


def promote(
    version: int | None = None,
    *,
    alias: str = "champion",
    reason: str | None = None,
    approve: bool = False,
    force: bool = False,
    accept_contract_change: bool = False,
    as_json: bool = False,
    env: str | None = None,
) -> int:
    """Move the champion alias if every condition is met, or another alias to any version with an intact bundle."""
    reason = _stated(reason)
    if force and reason is None:
        of = f" {version}" if version is not None else ""
        raise UsageError(
            "--force needs a reason, which is stored in the audit record",
            hint=f"glue promote{of} --force --reason 'why'",
        )
    of_champion = {"--approve": approve, "--force": force, "--accept-contract-change": accept_contract_change}
    if alias != "champion" and any(of_champion.values()):
        option = next(name for name, given in of_champion.items() if given)
        raise UsageError(f"{option} is for the conditions of champion; {alias} has none", hint=f"remove {option}")
    root, config, store = _opened(env)
    from mlops_glue.delivery import promote as promotion

    promotion.check_alias(alias)
    with project_lock(root):
        chosen = promotion.candidate_version(root, config, store, version, alias)
        if alias != "champion":
            promotion.set_alias(root, config, store, chosen, alias, reason)
            if as_json:
                console.result_json({"model": config.model_name, "version": chosen, "alias": alias})
            else:
                console.result(f"{config.model_name} v{chosen} is {alias}")
            return 0
        by_person = promotion.Reason(reason, approve, force, accept_contract_change)
        verdict = promotion.promote(config, root, store, chosen, by_person=by_person)
        if not verdict.refused:
            note_champion(root, config, verdict.champion)
            materialized(config, root, store, console.stage)
    _print_verdict(config.model_name, verdict, as_json)
    return 1 if verdict.refused else 0


def rollback(to: int | None = None, *, reason: str | None = None, as_json: bool = False, env: str | None = None) -> int:
    """Restore a former champion."""
    root, config, store = _opened(env)
    from mlops_glue.delivery import promote as promotion

    with project_lock(root):
        if to is not None:
            must_exist(config.model_name, to, store.versions(config.model_name))
        champion, before = promotion.rollback(store, config.model_name, to, _stated(reason))
        note_champion(root, config, champion)
        materialized(config, root, store, console.stage)
    if as_json:
        console.result_json({"model": config.model_name, "champion": champion, "previous": before})
    else:
        rolled_back = f"; v{before} was rolled back" if before is not None else ""
        console.result(f"{config.model_name} v{champion} is champion{rolled_back}", good="is champion")
    return 0


def _stated(reason: str | None) -> str | None:
    """Return a reason without surrounding blanks; None if it consists only of blanks."""
    return (reason or "").strip() or None


def _opened(env: str | None) -> tuple[Path, configs.Config, Store]:
    root = layout.find_root()
    config = configs.load(root, env, needs=configs.A_MODEL)
    store = read_only(root, config)
    if store is None:
        raise UsageError(f"{config.model_name} has no version yet", hint="glue run")
    return root, config, store


def _print_verdict(model: str, verdict: Verdict, as_json: bool) -> None:
    if as_json:
        console.result_json({"model": model, **vars(verdict)})
        for reason in verdict.refused:  # a job keeps the JSON in a file
            console.progress(f"refused: {reason}")
    elif not verdict.refused and verdict.previous == verdict.version:
        console.result(f"{model} v{verdict.version} is already champion", good="is champion")
    else:
        for line in describe.verdict(model, verdict):
            console.result(line, good="is champion", bad="refused")
