"""Write glue's own stages into `dvc.yaml`, from `glue.yaml`; the user's stages and comments stay."""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path
from typing import Any

from mlops_glue import files, layout
from mlops_glue.adapters import dvc
from mlops_glue.config import Config, dumped, parse, references, refuse_conflict_markers, remote_url
from mlops_glue.errors import ConfigError, first_line
from mlops_glue.pipeline.stages import NAMES, STAGES
from mlops_glue.suggest import did_you_mean

# the keys that DVC knows at the top of the file
DVC_KEYS = ("stages", "vars", "params", "metrics", "plots", "artifacts", "datasets")
REPAIR = f"git checkout dvc.yaml, or: {dvc.REGENERATE_STAGES}"


def definition(config: Config, root: Path) -> dict[str, dict[str, Any]]:
    """Return glue's own stages, as `dvc.yaml` has them for the config."""
    stages: dict[str, dict[str, Any]] = {}
    for stage in STAGES:
        entry: dict[str, Any] = {"cmd": stage.command, "deps": stage.deps(config, root)}
        # DVC refuses a parameter that is not in the file; for a removed parameter, see `dvc.dropped`
        params = [key for key in stage.params(config) if is_set(config, key)]
        if params:
            entry["params"] = [{layout.CONFIG: params}]
        entry["outs"] = stage.outs(config, root)
        if stage.metrics is not None:
            entry["metrics"] = [stage.metrics]
        if stage.plots is not None:
            entry["plots"] = [stage.plots]
        stages[stage.name] = entry
    return stages


def is_set(config: Config, key: str) -> bool:
    """Return whether `glue.yaml` has a dotted key."""
    node: Any = config
    for part in key.split("."):
        if isinstance(node, dict):
            node = node.get(part)
        elif part in node.model_fields_set:
            node = getattr(node, part)
        else:
            return False
    return node is not None


def sync(config: Config, root: Path) -> None:
    """Bring glue's own stages in the file up to date."""
    text = stale(config, root)
    if text is not None:
        files.write_text(root / "dvc.yaml", text)


def stale(config: Config, root: Path) -> str | None:
    """Return the text that the file should have; None if it already has it."""
    before, after = _normalised(config, root, _read(root))
    return None if before == after else after


def is_current(config: Config, root: Path, base: str | None = None) -> bool:
    """Return whether the file is what `sync` writes, given the file itself or its earlier text `base`."""
    text = _read(root)
    before = None if text is None else dumped(*_parse(text))
    return before == _normalised(config, root, base or text)[1]


def check_names(root: Path) -> None:
    """Check that no stage of the user has the name of one of glue's stages.

    Raises:
        ConfigError: a stage has such a name, or the file cannot be read.
    """
    _parse(_read(root))


def check_readable(root: Path) -> None:
    """Check that no file of the pipeline contains git conflict markers, and that DVC can read `glue.yaml`.

    Raises:
        ConfigError: with the line.
    """
    for name in (layout.CONFIG, "dvc.yaml", "dvc.lock"):
        if (root / name).is_file():
            text = (root / name).read_text(encoding="utf-8-sig", errors="replace")
            refuse_conflict_markers(name, text)
            if name == layout.CONFIG:
                parse(text, strict=True)


def name_remote(config: Config, root: Path) -> None:
    """Write the remote of `glue.yaml`, outside its environments, to DVC's own config.

    A URL from variables may be secret and differ between clones, so it is written where git does not see it.
    """
    names = references(config.data.remote)
    if config.data.remote and all(os.environ.get(name) for name in names):
        dvc.name_remote(root, remote_url(config) or "", here_alone=bool(names))


def _read(root: Path) -> str | None:
    path = root / "dvc.yaml"
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else None
    except UnicodeDecodeError as error:
        raise ConfigError([f"dvc.yaml: is not YAML: {first_line(error)}"], hint=REPAIR) from error


def _normalised(config: Config, root: Path, text: str | None) -> tuple[str | None, str]:
    """Return the file's text as it is (None if there is none) and as it should be, both formatted alike."""
    yaml, tree = _parse(text)
    before = None if text is None else dumped(yaml, tree)
    if tree.get("stages") is None:
        tree["stages"] = {}
    tree["stages"].update(definition(config, root))
    return before, dumped(yaml, tree)


def _parse(text: str | None) -> tuple[Any, Any]:
    """Return the reader and writer of the file, and the tree of its text.

    Raises:
        ConfigError: it is not YAML, not in DVC's form, or a stage of the user has the name of one of glue's stages.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML(typ="rt")
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        tree = yaml.load(StringIO(text or "")) or {"stages": {}}
    except YAMLError as error:
        raise ConfigError([f"dvc.yaml: is not YAML: {first_line(error)}"], hint=REPAIR) from error
    if not isinstance(tree, dict):
        raise ConfigError(["dvc.yaml: is not a mapping"], hint=REPAIR)
    unknown = [key for key in tree if key not in DVC_KEYS]
    if unknown:
        raise ConfigError([f"dvc.yaml {unknown[0]}: unknown key ({did_you_mean(str(unknown[0]), list(DVC_KEYS))})"])
    entries = tree.get("stages") or {}
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise ConfigError(["dvc.yaml stages: must be a mapping of stages, each itself a mapping"], hint=REPAIR)
    for name in NAMES:
        if name in entries and not str(entries[name].get("cmd", "")).startswith("glue stage"):
            hint = "rename your stage, or keep glue's stages in a separate folder: glue adopt"
            raise ConfigError([f"dvc.yaml stages.{name}: glue uses this name for its own stage"], hint=hint)
    return yaml, tree
