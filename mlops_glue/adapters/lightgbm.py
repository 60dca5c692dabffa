"""LightGBM's own list of its parameters; it takes any other name too, and ignores it."""

from __future__ import annotations


def parameters() -> set[str]:
    """Every parameter and alias; empty where LightGBM (4.7) no longer has that list under this name."""
    import lightgbm.basic

    lists = getattr(getattr(lightgbm.basic, "_ConfigAliases", None), "_get_all_param_aliases", None)
    return {alias for name, aliases in lists().items() for alias in (name, *aliases)} if lists is not None else set()
