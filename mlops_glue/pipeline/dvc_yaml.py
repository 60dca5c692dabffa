"""`dvc.yaml`: glue writes its own stages into it from `glue.yaml`; the user's stages and comments stay."""

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
    """Glue's own stages, as `dvc.yaml` has them for this config."""
    stages: dict[str, dict[str, Any]] = {}
    for stage in STAGES:
        entry: dict[str, Any] = {"cmd": stage.command, "deps": stage.deps(config, root)}
        # DVC refuses a parameter that is not in the file; of one that no longer is, see `dvc.dropped`
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
    """Does `glue.yaml` have this dotted key?"""
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
    """The text that the file should have; None where it has it."""
    before, after = _normalised(config, root, _read(root))
    return None if before == after else after


def is_current(config: Config, root: Path, base: str | None = None) -> bool:
    """Is the file what `sync` makes of it, or of the text that it was before?"""
    text = _read(root)
    before = None if text is None else dumped(*_parse(text))
    return before == _normalised(config, root, base or text)[1]


def check_names(root: Path) -> None:
    """Check that no stage of the user's has the name of one of glue's.

    Raises:
        ConfigError: one has, or the file cannot be read.
    """
    _parse(_read(root))


def check_readable(root: Path) -> None:
    """Check that no file that says what to run holds both sides of a git merge, and that DVC takes the YAML of ours.

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
    """Let DVC's own config name the remote that `glue.yaml` names, outside its environments.

    A URL out of variables may be secret and differ between clones, so it goes where git does not see it.
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
    """A text of the file as it is (None where there is none) and as it should be, both formatted alike."""
    yaml, tree = _parse(text)
    before = None if text is None else dumped(yaml, tree)
    if tree.get("stages") is None:
        tree["stages"] = {}
    tree["stages"].update(definition(config, root))
    return before, dumped(yaml, tree)


def _parse(text: str | None) -> tuple[Any, Any]:
    """The reader and writer of the file, and the tree of a text of it.

    Raises:
        ConfigError: it is no YAML, not of DVC's form, or a stage of the user's has the name of one of glue's.
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
        raise ConfigError(["dvc.yaml stages: should be a section, and each stage one"], hint=REPAIR)
    for name in NAMES:
        if name in entries and not str(entries[name].get("cmd", "")).startswith("glue stage"):
            hint = "rename your stage, or keep glue's in a folder of its own: glue adopt"
            raise ConfigError([f"dvc.yaml stages.{name}: the name is glue's own"], hint=hint)
    return yaml, tree
