"""`glue adopt`: a glue.yaml for a repository that glue did not make, from what is there.

All that is written lies in one new folder, `glue/`: what is there stays as it is, byte for byte, and taking that folder
away takes glue away.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_glue import config as configs
from mlops_glue import console, io, layout
from mlops_glue.adapters import dvc, git
from mlops_glue.assessment import training
from mlops_glue.assessment.tree import Tree, is_test, printable, scan
from mlops_glue.commands import generated, undo
from mlops_glue.commands.init import plan
from mlops_glue.errors import UsageError, did_you_mean
from mlops_glue.pipeline import runner

WRITTEN = (layout.CONFIG, layout.SCHEMA, ".gitignore", ".dvcignore", "model.py")


@dataclass
class Found:
    """What there is to build on, and what a person should know of it."""

    tree: Tree
    scripts: list[training.Script] = field(default_factory=list)
    stage_of: dict[str, str] = field(default_factory=dict)  # script: what runs it
    notes: list[str] = field(default_factory=list)


def adopt(
    path: str,
    data: str | None,
    target: str | None,
    *,
    dry_run: bool = False,
    ask: Callable[[str], bool] | None = None,
) -> int:
    """Read the repository, propose, show, and write where `ask` (None: without asking) says yes."""
    top = Path(path).resolve()
    root = free_place(top, path)
    found = look(top)
    try:
        script, table, column = _choose(top, found, data, target)
    finally:
        for note in found.notes:
            console.progress(note)
        found.notes.clear()
    builds = None
    if script is not None and script.estimator is not None:
        builds = (script.estimator, script.params)
        found.notes.append(f"{printable(script.path)}:{script.line} builds {script.estimator}")
        found.notes += [f"{name} of it is not told by the file: left at its default" for name in script.unknown]
        found.notes += [f"{printable(script.path)} builds {other} too: left out" for other in script.others[:5]]
    asked, notes = plan(root, [table], column, None, (), None, stays=top, builds=builds)
    made = generated.render(asked)
    files = {name: text for name, text in made.items() if name in WRITTEN}
    for note in [*found.notes, *notes]:
        console.progress(note)
    undo.check(root, files, ["dvc.yaml", "dvc.lock", ".dvc/config", layout.GENERATED])
    console.result(as_diff(files))
    if dry_run or not asked_for(ask, root):
        return 0
    _write(root, files, asked, made)
    console.result(f"{root}: written. Next: cd {shlex.quote(str(Path(path, layout.ADOPTED)))} && glue run")
    return 0


def free_place(top: Path, path: str) -> Path:
    """The folder that will hold all that is written.

    Raises:
        UsageError: it is there already, or the repository is not.
    """
    if not top.is_dir():
        raise UsageError(f"{path}: no such folder", hint="glue adopt .")
    root = top / layout.ADOPTED
    for there in (top / layout.CONFIG, root):
        if there.exists():
            raise UsageError(f"{there} is there already", hint="glue run" if (root / layout.CONFIG).is_file() else None)
    return root


def asked_for(ask: Callable[[str], bool] | None, root: Path) -> bool:
    """Does the person want it written? Without `ask` they said so before."""
    if ask is None:
        return True
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked", hint="glue adopt --yes")
    if ask(f"Write these into {root}?"):
        return True
    console.result("nothing written")
    return False


def look(top: Path) -> Found:
    """Read the training scripts and what says how they are run."""
    found = Found(scan(top))
    settings: dict[tuple[str, ...], Any] = {}
    for path in found.tree.files:
        name = path.rpartition("/")[2]
        if name in ("params.yaml", "params.yml"):
            settings |= flat(_yaml(found, path))
        elif name in ("dvc.yaml", "MLproject"):
            _pipeline(found, path, _yaml(found, path))
        elif name == "feature_store.yaml":
            said = f"{printable(path)}: a Feast repository; to join its features see features.use in the README"
            found.notes.append(said)
    for path in found.tree.files:
        if path.endswith((".py", ".ipynb")) and not is_test(path):
            text = found.tree.text(path)
            one = training.read(path, text.decode("utf-8", "replace"), settings) if text else None
            if one is not None and one.fits and one.estimator is not None:
                found.scripts.append(one)
    return found


def _yaml(found: Found, path: str) -> Any:
    from ruamel.yaml.error import YAMLError

    try:
        return io.read_yaml(found.tree.root / path)
    except (YAMLError, OSError, ValueError, RecursionError):
        found.notes.append(f"{printable(path)} is no YAML that can be read: left out")
        return None


def flat(value: Any, at: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """The leaves of a tree of mappings, by their path."""
    if not isinstance(value, dict):
        return {at: value} if at else {}
    out: dict[tuple[str, ...], Any] = {}
    for key, one in value.items():
        out |= flat(one, (*at, str(key)))
    return out


def _pipeline(found: Found, path: str, tree: Any) -> None:
    """Which scripts the repository's own pipeline runs."""
    entries = tree.get("stages" if path.endswith("dvc.yaml") else "entry_points") if isinstance(tree, dict) else None
    for name, entry in (entries if isinstance(entries, dict) else {}).items():
        command = entry.get("cmd") or entry.get("command") if isinstance(entry, dict) else None
        for word in str(command or "").split():
            if word.endswith(".py"):
                folder = path.rpartition("/")[0]
                found.stage_of[f"{folder}/{word}".lstrip("/")] = f"{path} {name}"


def _choose(top: Path, found: Found, data: str | None, target: str | None) -> tuple[training.Script | None, Path, str]:
    """The script that trains, the table it learns from, and the column: by what was said, then by what is there."""
    ranked = sorted(
        found.scripts, key=lambda s: (s.path not in found.stage_of, s.path.endswith(".ipynb"), not s.tables, s.path)
    )
    script = ranked[0] if ranked else None
    if script is not None and script.path in found.stage_of:
        found.notes.append(f"{printable(script.path)} is run by {found.stage_of[script.path]}, which stays as it is")
    if script is not None and script.server:
        found.notes.append("its runs go to a server; glue's too with tracking: {uri: ${MLFLOW_TRACKING_URI}}")
    found.notes += [f"{printable(other.path)} trains a model too: left out" for other in ranked[1:4]]
    candidates = _tables(top, found, script) if data is None else [_given(top, data)]
    targets = [target] if target is not None else script.targets if script is not None else []
    for table in candidates:
        names = io.column_names(table) or []
        column = next((name for name in targets if name in names or (data and target)), None)
        if column is not None:
            return script, table, column
    if not candidates:
        raise UsageError("no table is found to learn from", hint="glue adopt --data TABLE --target COLUMN")
    told = candidates[0].relative_to(top) if candidates[0].is_relative_to(top) else candidates[0]
    columns = io.column_names(candidates[0]) or []
    if target is not None:
        raise UsageError(f"--target {target}: no such column in {told}", hint=did_you_mean(target, columns))
    raise UsageError(
        f"which column of {told} is to be predicted?",
        hint=f"glue adopt --data {told} --target COLUMN; {did_you_mean('', columns)}",
    )


def _given(top: Path, data: str) -> Path:
    file = io.existing(f"--data {data}", Path(data), top / data)
    if not file.resolve().is_relative_to(top):
        raise UsageError(f"--data {data}: is not in {top}", hint="glue init --data takes any table")
    return file.resolve()


def _tables(top: Path, found: Found, script: training.Script | None) -> list[Path]:
    """The tables that the script reads, then any other one of the repository."""
    named: list[Path] = []
    for text in script.tables if script is not None else []:
        folder = (top / script.path).parent if script is not None else top
        named += [one for base in (top, folder) if (one := (base / text).resolve()).is_file()][:1]
        if not any((base / text).is_file() for base in (top, folder)) and "://" not in text:
            found.notes.append(f"{text}, which {script.path if script else ''} reads, is not there: dvc pull?")
    others = [top / path for path in found.tree.files if path.lower().endswith(io.SUFFIXES)]
    tables = [one for one in dict.fromkeys([*named, *others]) if one.is_relative_to(top) and one.stat().st_size]
    return [one for one in tables if one.name.lower().endswith(io.SUFFIXES)][:50]


def as_diff(files: dict[str, str]) -> str:
    """What is new, as `git diff` shows it."""
    import difflib

    out: list[str] = []
    for name, text in files.items():
        path = f"{layout.ADOPTED}/{name}"
        if name == layout.SCHEMA:
            out.append(f"+++ {path} ({len(text.splitlines())} lines: the JSON Schema of {layout.CONFIG})")
            continue
        out += difflib.unified_diff([], text.splitlines(), "/dev/null", path, lineterm="")
    return "\n".join(out)


def _write(root: Path, files: dict[str, str], asked: generated.Answers, made: dict[str, str]) -> None:
    with undo.undone_on_failure(root, [*files, layout.GENERATED]):
        root.mkdir()
        dvc.init(root, git=git.inside(root))
        git.forget(root)  # dvc init adds to the index, which is the user's
        for name, text in files.items():
            io.write_text(root / name, text)
        generated.remember(root, "init", asked, made, files)
        runner.write_definition(configs.load(root), root)
