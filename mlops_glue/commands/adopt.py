"""`glue adopt`: a glue.yaml for a repository that glue did not make, from what is there.

All that is written lies in one new folder, `glue/`: what is there stays as it is, byte for byte, and taking that folder
away takes glue away.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path, PureWindowsPath
from typing import Any

from mlops_glue import config as configs
from mlops_glue import console, files, layout, tables
from mlops_glue.adapters import dvc, git
from mlops_glue.assessment.tree import Tree, is_test, printable, scan
from mlops_glue.commands.init import plan
from mlops_glue.errors import GlueError, UsageError
from mlops_glue.pipeline import dvc_yaml
from mlops_glue.pipeline.train import unfit_kind
from mlops_glue.scaffold import feast, manifest, undo
from mlops_glue.scaffold import script as scripts
from mlops_glue.scaffold.feast import FeastView
from mlops_glue.suggest import did_you_mean

WRITTEN = (layout.CONFIG, layout.SCHEMA, ".gitignore", ".dvcignore", "model.py")


@dataclass
class Found:
    """What there is to build on, and what a person should know of it."""

    tree: Tree
    scripts: list[scripts.Script] = field(default_factory=list)
    stage_of: dict[str, tuple[str, list[str]]] = field(default_factory=dict)  # script: what runs it, with which words
    notes: list[str] = field(default_factory=list)
    feast: list[FeastView] = field(default_factory=list)

    @property
    def tables(self) -> list[str]:
        """Every file whose name is a table's."""
        return [path for path in self.tree.files if path.lower().endswith(tables.SUFFIXES)]


def adopt(
    path: str,
    data: str | None,
    target: str | None,
    *,
    task: str | None = None,
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
    builds = _builds(found, script, task)
    drops = _drops(found, script, tables.column_names(table) or [], column)
    views, keys = _joined(top, found, script, table)
    clock = feast.CLOCK if views and feast.CLOCK in (tables.column_names(table) or []) else None
    try:
        sources = list(dict.fromkeys([table, *(view.path for view in views)]))
        asked, notes = plan(
            root, sources, column, clock, keys, task, stays=top, builds=builds, drops=drops, feast=views
        )
    except GlueError as error:
        if not views:
            raise
        found.notes.append(f"the features of Feast are not joined: {error.message}")
        asked, notes = plan(root, [table], column, None, (), task, stays=top, builds=builds, drops=drops)
    made = manifest.render(asked)
    files = {name: text for name, text in made.items() if name in WRITTEN or name.startswith("feature_repo/")}
    for note in [*found.notes, *notes]:
        console.progress(note)
    undo.check(root, files, ["dvc.yaml", "dvc.lock", ".dvc/config", layout.GENERATED])
    console.result(as_diff(files))
    if dry_run or not asked_for(ask, root):
        return 0
    _write(root, files, asked, made)
    console.result(f"{root}: written. Next: cd {shlex.quote(str(Path(path, layout.ADOPTED)))} && glue run")
    return 0


def _builds(found: Found, script: scripts.Script | None, task: str | None) -> tuple[str, dict[str, Any]] | None:
    """The script's estimator; none where it is not for the task that is asked for."""
    if script is None or script.estimator is None:
        return None
    found.notes.append(f"{printable(script.path)}:{script.line} builds {script.estimator}")
    others = [f"{printable(script.path)}:{line} builds {other} too: left out" for other, line in script.others]
    found.notes += others[:5] + ([f"and {len(others) - 5} more"] if len(others) > 5 else [])
    package = script.estimator.partition(".")[0]
    found.notes += [f"{package} is not installed here: pip install {package}"] if find_spec(package) is None else []
    if (kind := unfit_kind(script.estimator, task)) is not None:
        found.notes.append(f"--task {task}: {script.estimator} is a {kind}, and is left out")
        return None
    found.notes += [f"{name} of it is not told by the file: left at its default" for name in script.unknown]
    return script.estimator, script.params


def _joined(
    top: Path, found: Found, script: scripts.Script | None, table: Path
) -> tuple[list[FeastView], tuple[str, ...]]:
    """The views whose features are joined to the table, and by which of its columns."""
    columns = tables.column_names(table) or []
    views = [view for view in found.feast if view.path.is_relative_to(top) and view.path != table]
    for view in views:
        lacking = [key for key in view.entities if key not in columns] if view.entities else ["an entity"]
        if lacking:
            found.notes.append(f"view {view.name} is not joined: {_from(top, table)} has no column {lacking[0]}")
    views = [view for view in views if view.entities and {*view.entities} <= {*columns}]
    named = {ref.partition(":")[0] for ref in script.refs} if script is not None else set()
    if named & {view.name for view in views}:  # what the script asks Feast for
        views = [replace(view, fields=_asked(view, script)) for view in views if view.name in named]
    if views:
        said = ", ".join(view.name for view in views)
        found.notes.append(f"features of {said} are joined: glue/feature_repo has these views over glue's own tables")
    return views, tuple(dict.fromkeys(key for view in views for key in view.entities))


def _asked(view: FeastView, script: scripts.Script | None) -> list[str]:
    refs = [ref.partition(":")[2] for ref in sorted(script.refs if script else ()) if ref.startswith(f"{view.name}:")]
    return [name for name in refs if not view.fields or name in view.fields] or view.fields


def _drops(found: Found, script: scripts.Script | None, columns: list[str], target: str) -> dict[str, str]:
    """The columns that the script does not learn from, with the reason."""
    if script is None:
        return {}
    name = printable(script.path)
    out = {c: f"{name} drops it" for c in columns if c in script.drops}
    if script.uses is not None and script.uses & {*columns} - {target, *out}:
        out |= {c: f"{name} does not use it" for c in columns if c not in script.uses and c not in out}
    out.pop(target, None)
    if len(out) >= len(columns) - 1:
        found.notes.append(f"{name} seems to drop every column: none is left out")
        return {}
    return out


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
            views, notes = feast.views((found.tree.root / path).parent)
            found.feast += views
            found.notes += [f"{printable(path)}: {note}" for note in notes]
    for path in found.tree.files:
        if path.endswith((".py", ".ipynb")) and not is_test(path):
            text = found.tree.text(path)
            words = found.stage_of.get(path, ("", []))[1]
            one = scripts.read(path, text, settings, words) if text else None
            if text and one is None:
                found.notes.append(f"{printable(path)} is no Python that can be read: left out")
            elif one is not None and one.fits and (one.estimator is not None or one.targets):
                found.scripts.append(one)
                skipped = f": {', '.join(one.skipped)} cannot be read as Python: left out"
                found.notes += [printable(path) + skipped] if one.skipped else []
    return found


def _yaml(found: Found, path: str) -> Any:
    from ruamel.yaml.error import YAMLError

    try:
        return files.read_yaml(found.tree.root / path)
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
        words = str(command or "").split()
        for at, word in enumerate(words):
            if word.endswith(".py"):
                folder = path.rpartition("/")[0]
                found.stage_of[f"{folder}/{word}".lstrip("/")] = (f"{path} {name}", words[at + 1 :])


def _choose(top: Path, found: Found, data: str | None, target: str | None) -> tuple[scripts.Script | None, Path, str]:
    """The script that trains, the table it learns from, and the column: by what was said, then by what is there."""
    asked = _given(top, data) if data is not None else None
    ranked = sorted(found.scripts, key=lambda one: _rank(found, one, asked, target))
    first = ranked[0] if ranked else None
    own, missing = _named(top, found, first) if first is not None else ([], [])
    script, candidates = first, _tables(top, found, own) if asked is None else [asked]
    hit = _match(candidates, [[target]] if target is not None else first.tiers() if first is not None else [])
    for one in ranked[1:] if hit is None and target is None else []:
        its, lacking = _named(top, found, one)
        among = [asked] if asked is not None else own or _tables(top, found, its)
        other = _match(among, [[name for name in tier if isinstance(name, str)] for tier in one.tiers()[:1]])
        if other is not None and len({*other[1]}) == 1:  # labels made of several columns are none of them
            hit, script, candidates, missing = other, one, among, lacking
            break
    _tell(found, script, [one for one in ranked if one is not script])
    found.notes += missing
    if hit is None and data and target:
        hit = candidates[0], [target]  # it is told there that the table has none
    if hit is None:
        raise _not_found(top, found, first, candidates, target)
    table, fit = hit
    others = [one for one in candidates if one != table]
    _guessed(found, "the table", _from(top, table), [_from(top, one) for one in others], "--data")
    _guessed(found, "the target", fit[0], list(dict.fromkeys(fit[1:])) if target is None else [], "--target")
    return script, table, fit[0]


def _rank(found: Found, one: scripts.Script, data: Path | None, target: str | None) -> tuple[Any, ...]:
    """What sorts the scripts: the likeliest to be the one that trains first."""
    reads = data is None or any(PureWindowsPath(text).name == data.name for text in one.tables)
    return (
        one.estimator is None,
        not reads,
        target is not None and all(target not in tier for tier in one.tiers()),
        one.path not in found.stage_of,
        one.path.endswith(".ipynb"),
        scripts.place(one.path),
        not one.tables,
        one.path,
    )


def _match(sources: list[Path], tiers: Sequence[Sequence[str | int]]) -> tuple[Path, list[str]] | None:
    """The first table that has a column of the likeliest tier, with all such columns of it."""
    for tier in tiers:
        for table in sources:
            names = tables.column_names(table) or []
            fit = [column for one in tier if (column := _column(one, names)) is not None]
            if fit and len(names) > 1:  # a file of labels alone is nothing to learn from
                return table, fit
    return None


def _tell(found: Found, script: scripts.Script | None, others: list[scripts.Script]) -> None:
    """Which script is followed, and which are not."""
    if script is not None and script.path in found.stage_of:
        found.notes.append(f"{printable(script.path)} is run by {found.stage_of[script.path][0]}, which stays as it is")
    if script is not None and script.server:
        found.notes.append("its runs go to a server; glue's too with tracking: {uri: ${MLFLOW_TRACKING_URI}}")
    found.notes += [f"{printable(other.path)} trains a model too: left out" for other in others[:3] if other.estimator]


def _not_found(
    top: Path, found: Found, script: scripts.Script | None, candidates: list[Path], target: str | None
) -> UsageError:
    """Why there is nothing to learn from, with what can be done about it."""
    if not candidates:
        given = "glue adopt --data TABLE --target COLUMN"
        pull, track = f"dvc pull && glue adopt; or {given}", f"{given}; or glue adopt --tracking, which needs none"
        return UsageError("no table is found to learn from", hint=pull if feast.has_dvc(top) else track)
    told = _from(top, candidates[0])
    columns = tables.column_names(candidates[0]) or []
    if target is not None:
        return UsageError(f"--target {target}: no such column in {told}", hint=did_you_mean(target, columns))
    tiers = script.tiers() if script is not None else []
    named = [one for tier in (tiers[1:2], tiers[:1]) for names in tier for one in names if isinstance(one, str)]
    why = f" {printable(script.path)} predicts {named[0]!r}, which no table here has" if script and named else ""
    more = f"; other tables: {', '.join(_from(top, one) for one in candidates[1:4])}" if candidates[1:] else ""
    return UsageError(
        f"which column of {told} is to be predicted?{why}",
        hint=f"glue adopt --data {shlex.quote(told)} --target COLUMN; {did_you_mean('', columns)}{more}",
    )


def _column(target: str | int, names: list[str]) -> str | None:
    """The column that a script's target is, by name or by place."""
    if isinstance(target, int):
        return names[target] if -len(names) <= target < len(names) else None
    return target if target in names else None


def _guessed(found: Found, what: str, taken: str, others: list[str], option: str) -> None:
    """A guess is told with what else it could have been."""
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        found.notes.append(f"{what} is taken to be {taken}, not {', '.join(others[:3])}{more}: {option} says otherwise")


def _from(top: Path, table: Path) -> str:
    return printable(str(table.relative_to(top) if table.is_relative_to(top) else table))


def _given(top: Path, data: str) -> Path:
    file = tables.find_table(f"--data {data}", Path(data), top / data)
    if not file.resolve().is_relative_to(top):
        raise UsageError(f"--data {data}: is not in {top}", hint="glue init --data takes any table")
    return file.resolve()


def _named(top: Path, found: Found, script: scripts.Script) -> tuple[list[Path], list[str]]:
    """The tables that a script reads, those that it fits on first, and what is told of those that are not there."""
    by_name: dict[str, list[str]] = {}
    for path in found.tables:
        by_name.setdefault(path.rpartition("/")[2], []).append(path)
    named: list[Path] = []
    notes: list[str] = []
    for text in script.tables:
        there = [one for base in (top, (top / script.path).parent) if (one := (base / text).resolve()).is_file()]
        twins = by_name.get(PureWindowsPath(text).name, [])  # which takes both kinds of slash
        if not there and len(twins) == 1 and "://" not in text:  # `/kaggle/input/titanic/train.csv`
            there = [(top / twins[0]).resolve()]
            notes.append(f"{text}, which {printable(script.path)} reads, is taken to be {printable(twins[0])}")
        elif not there:
            notes.append(f"{text}, which {printable(script.path)} reads, {feast.absent(top, text)}")
        named += there[:1]
    return [one for one in dict.fromkeys(named) if _is_table(top, one)], notes


def _tables(top: Path, found: Found, named: list[Path]) -> list[Path]:
    """Those tables, then any other one of the repository."""
    others = [top / path for path in sorted(found.tables, key=scripts.place)]
    return [one for one in dict.fromkeys([*named, *others]) if _is_table(top, one)][:50]


def _is_table(top: Path, file: Path) -> bool:
    return file.is_relative_to(top) and file.name.lower().endswith(tables.SUFFIXES) and file.stat().st_size > 0


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


def _write(root: Path, contents: dict[str, str], asked: manifest.Answers, made: dict[str, str]) -> None:
    with undo.undone_on_failure(root, [*contents, layout.GENERATED]):
        root.mkdir()
        dvc.init(root, git=git.is_work_tree(root))
        git.untrack(root)  # dvc init adds to the index, which is the user's
        for name, text in contents.items():
            files.write_text(root / name, text)
        manifest.record(root, "init", asked, made, contents)
        dvc_yaml.sync(configs.load(root), root)
