"""`glue reproduce`: rebuild a version, and compare it with the original."""

from __future__ import annotations

from dataclasses import asdict

from mlops_glue import config as configs
from mlops_glue import console, files, layout
from mlops_glue.delivery import statement
from mlops_glue.delivery.fetch import chosen_version, read_only
from mlops_glue.delivery.reproduce import LEVELS
from mlops_glue.delivery.reproduce import reproduce as rebuild
from mlops_glue.pipeline.refit import described
from mlops_glue.scaffold.outputs import output_file


def reproduce(
    version: int,
    *,
    level: str = "predictions",
    exact_env: bool = False,
    push: bool = False,
    output: str | None = None,
    as_json: bool = False,
    env: str | None = None,
) -> int:
    """Rebuild a version, print the proof, and write the statement; return 1 if `level` was not reached.

    With `push`, also push the version's raw tables to DVC's remote, once they match the record.
    """
    root = layout.find_root()
    config = configs.load(root, env, tables=False, needs=configs.A_MODEL)
    target = None if output is None else output_file(root, output, config)
    store, chosen = chosen_version(read_only(root, config), root, config, version)
    proof, record = rebuild(config, root, store, chosen, console.stage, exactly=exact_env, push=push)
    made = statement.of_rebuild(config.model_name, chosen, record, proof)
    target = target or root / layout.STATEMENTS / f"v{chosen}.intoto.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(target, made)
    reached = LEVELS.index(proof.level) >= LEVELS.index(level)
    if as_json:
        console.result_json({"model": config.model_name, "version": chosen, **asdict(proof), "statement": str(target)})
        return 0 if reached else 1
    for check in proof.checks:
        console.result(f"{check.name:<12} {'equal' if check.equal else 'differs':<8} {check.detail}", bad="differs")
    for line in proof.unlike:
        console.result(f"environment  {line}")
    if record.refit is not None:
        console.result(f"v{chosen}'s {described(record.refit)}")
    console.result(f"{config.model_name} v{chosen} is reproduced: {proof.level}", good="bytes")
    console.progress(f"statement    {target}")
    return 0 if reached else 1
