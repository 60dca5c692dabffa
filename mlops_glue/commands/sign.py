"""`glue sign`: sign a version, or add another signature."""

from __future__ import annotations

from mlops_glue import config as configs
from mlops_glue import console, layout
from mlops_glue.delivery.fetch import chosen_version, read_only
from mlops_glue.errors import UsageError


def sign(version: int | None = None, *, env: str | None = None) -> int:
    """Sign the bundle of a version, by default the champion's, with the key of `registry.sign`."""
    root = layout.find_root()
    config = configs.load(root, env, tables=False, needs=configs.A_MODEL)
    if config.registry.sign is None:
        raise UsageError(
            "registry.sign is not set, so there is no key to sign with", hint="registry: {sign: ../glue.key}"
        )
    store, chosen = chosen_version(read_only(root, config), root, config, version, "glue sign")
    from mlops_glue.delivery import signature

    key = root / configs.resolve(config.registry.sign, "registry.sign")
    trusted = root / config.serve.verify if config.serve.verify is not None else None
    signed = signature.add(store, config.model_name, chosen, key, trusted)
    already = "" if signed else " with this key already"
    console.result(f"{config.model_name} v{chosen} is signed{already}", good="is signed")
    return 0
