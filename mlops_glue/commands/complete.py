"""What a shell may complete: names of the project. Silent about what cannot be read; no tool is imported."""

from __future__ import annotations

from typing import Any

from mlops_glue import files, layout


def stages() -> list[str]:
    """Of `dvc.yaml`, with those that the user has added; before the first run glue's own."""
    own = _keys("dvc.yaml", "stages")
    if own:
        return own
    from mlops_glue.pipeline.stages import NAMES

    return list(NAMES)


def environments() -> list[str]:
    """Of `glue.yaml`."""
    return _keys(layout.CONFIG, "environments")


def _keys(file: str, section: str) -> list[str]:
    try:
        found: Any = files.read_yaml(layout.find_root() / file)[section]
        return [str(name) for name in found]
    except Exception:  # a shell shows whatever is printed amid the user's line
        return []
