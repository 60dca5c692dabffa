"""Read LightGBM's own list of parameters: LightGBM accepts unknown names and ignores them."""

from __future__ import annotations


def parameters() -> set[str]:
    """Return every parameter and alias; empty if a version after LightGBM 4.7 no longer has this private list."""
    import lightgbm.basic

    lists = getattr(getattr(lightgbm.basic, "_ConfigAliases", None), "_get_all_param_aliases", None)
    return {alias for name, aliases in lists().items() for alias in (name, *aliases)} if lists is not None else set()
