"""DVC: initialise, track, reproduce. A stage whose command is `glue stage X` runs in this process.

Two names of DVC's internals make that possible, `Repo.reproduce(repro_fn=…)` and `dvc.stage.run.cmd_run`. Where they
are missing, stages run as subprocesses, as `dvc repro` runs them. More are used where they are there: two save
time (`_parameters_parsed_once`), two keep `dvc.lock` whole and spare parsing it anew (`_files_written_whole`), one
mends what a kill leaves (`_after_a_kill`).
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlops_glue import telemetry
from mlops_glue.errors import GlueError, MissingExtra, ToolError, first_line
from mlops_glue.files import atomic, read_yaml

# "" before the work, "outside" before a command that runs as a subprocess; executed, restored, unchanged, failed
Outcome = str
Event = Callable[[str, Outcome, float, list[str]], None]  # stage, outcome, seconds, reasons

REMOTE = "glue"  # what `.dvc/config` calls the remote that glue.yaml names
LOCK_ANEW = "rm dvc.lock; glue run: what stands in the cache is restored"
SHOWN = 60  # characters of a value
STAGES_ANEW = "rm dvc.yaml; glue run: glue's own stages are written anew"


def _silenced() -> None:
    for name in ("dvc", "dvc_data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def _repo(root: Path, remote: str | None = None) -> Iterator[Any]:
    """A new Repo (its caches are per instance), with the working folder in it and DVC's talk silenced.

    Its default remote is `remote`, a URL or a folder, or what `.dvc/config` says.
    """
    telemetry.off()
    try:
        from dvc.exceptions import DvcException
        from dvc.lock import LockError
        from dvc.repo import Repo
    except ImportError as error:
        raise MissingExtra("dvc", "pipeline") from error
    _silenced()
    here = Path.cwd()
    os.chdir(root)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            _files_written_whole(),
            Repo(str(root), config=_with_remote(root, remote)) as repo,
        ):
            yield repo
    except sqlite3.Error as error:  # its state, in .dvc/tmp
        raise ToolError(f"DVC's state: {error}", hint=f"make room, or look at {root / '.dvc' / 'tmp'}") from error
    except ImportError as error:  # of a remote's file system
        extra = re.search(r"requires 'dvc-(?:gs|(\w+))'", str(error))
        hint = f'pip install "mlops-glue[{extra.group(1) or "gcs"}]"' if extra else None
        raise ToolError(f"DVC: {first_line(error)}", hint=hint) from error
    except LockError as error:
        raise ToolError("DVC's lock is held by another process", hint="wait for it to end, then again") from error
    except DvcException as error:
        said: list[str] = []
        cause: BaseException | None = error
        while cause is not None:  # a stage's own error says more than DVC's
            if isinstance(cause, GlueError):
                raise cause from error
            line = first_line(cause, 1000)
            said += [] if said and said[-1].endswith(line) else [line]
            cause = cause.__cause__
        raise _told(root, ": ".join(said)) from error
    finally:
        os.chdir(here)


def _told(root: Path, said: str) -> ToolError:
    """What DVC says as one line, and where one of its files is broken or gone, what mends that."""
    if not (root / ".dvc").is_dir():
        git = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), None)
        how = " --no-scm" if git is None else " --subdir" if git != root else ""
        hint = f"git checkout .dvc, or: dvc init{how}; glue run"
        return ToolError(f"{root / '.dvc'} is not there, where DVC keeps its settings and its cache", hint=hint)
    if said.startswith("config file error"):
        return ToolError(f".dvc/config: {said}", hint="git checkout .dvc/config")
    if "is not a git repository" in said:
        return ToolError(f"DVC: {said}", hint="git init")
    named = re.search(r"'(?:\./)?([^']*(?:dvc\.lock|dvc\.yaml|\.dvc))'", said)
    if named is None:
        return ToolError(f"DVC: {said}")
    file = named[1]
    anew = {"dvc.lock": LOCK_ANEW, "dvc.yaml": STAGES_ANEW}.get(
        file, f"rm {file}; dvc add {file.removesuffix('.dvc')}" if file.endswith(".dvc") else ""
    )
    what = re.sub(r"^.*?'[^']*'(?: validation failed:|,)? *", "", said)
    return ToolError(
        f"{file}: DVC cannot read it: {what}", hint=f"git checkout {file}" + (f", or: {anew}" if anew else "")
    )


def _with_remote(root: Path, remote: str | None) -> dict[str, Any] | None:
    if remote is None:
        return None
    url = remote if "://" in remote else str(root / remote)
    return {"core": {"remote": REMOTE}, "remote": {REMOTE: {"url": url}}}


@contextlib.contextmanager
def _files_written_whole() -> Iterator[None]:
    """DVC empties `dvc.lock` after each stage and then writes it; killed in between, nothing could read it again.

    What was written is what it would read before the next stage: a third of its own time goes to parsing that. Internal
    names, `_dump_data` and `_load_data` of `dvc.utils.serialize._common`; where one is gone, DVC does as it likes.
    """
    from dvc.utils.serialize import _common, _yaml

    original, original_load = getattr(_common, "_dump_data", None), getattr(_common, "_load_data", None)
    if original is None or original_load is None:
        yield
        return
    written: dict[str, tuple[Any, Any]] = {}  # by path: the state of the file, and what it holds

    def dump(path: Any, data: Any, dumper: Any, fs: Any = None, **arguments: Any) -> None:
        if not _is_local(fs):
            original(path, data, dumper, fs=fs, **arguments)
            return
        with atomic(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as stream:
            dumper(data, stream, **arguments)
        written[os.fspath(path)] = (_state(path), data)

    def load(path: Any, parser: Any, fs: Any = None, **arguments: Any) -> Any:  # called before a change alone
        if _is_local(fs) and os.fspath(path) in written:
            state, data = written.pop(os.fspath(path))  # what is changed and then not written is not kept
            if state == _state(path):
                return data
        return original_load(path, parser, fs=fs, **arguments)

    places = [place for place in (_common, _yaml) if getattr(place, "_dump_data", None) is original]
    for place in places:
        place._dump_data = dump
    _common._load_data = load
    try:
        yield
    finally:
        _common._load_data = original_load
        for place in places:
            place._dump_data = original


def _is_local(fs: Any) -> bool:
    """Is a file system of DVC's this machine's? None is, as `open` takes it."""
    return fs is None or getattr(fs, "protocol", None) == "local"


def _state(path: Any) -> tuple[int, ...]:
    """What of a local file differs once it is written to again."""
    at = Path(path).stat()
    return at.st_mtime_ns, at.st_ctime_ns, at.st_size, at.st_ino


def init(root: Path, *, git: bool) -> None:
    """`dvc init`, with analytics and update checks off; nothing where it was done already."""
    if (root / ".dvc" / "config").is_file():
        return
    try:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
    except ImportError as error:
        raise MissingExtra("dvc", "pipeline") from error
    _silenced()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            # a project in a folder of a bigger git repository needs subdir
            Repo.init(str(root), no_scm=not git, subdir=git and not (root / ".git").exists()).close()
    except DvcException as error:
        raise ToolError(f"dvc init: {error}") from error
    with _repo(root) as repo, repo.config.edit("repo") as config:
        config["core"].update(analytics=False, check_update=False, autostage=False)


def pointer(root: Path, path: str) -> str | None:
    """The file by which DVC has a path already, as a file of its own or in a folder; None where it does not."""
    if not (root / ".dvc").is_dir():
        return None
    with _repo(root) as repo:
        out = _out_of(repo, root, path)
        return Path(os.path.relpath(out.stage.path, root)).as_posix() if out is not None else None


def _out_of(repo: Any, root: Path, path: str) -> Any:
    """What DVC tracks that a path is, or is in; None where there is no such."""
    local = (out for out in repo.index.outs if out.protocol == "local")
    return next((out for out in local if Path(root, path).is_relative_to(out.fs_path)), None)


def add(root: Path, path: str) -> None:
    """Track a file by DVC: its content goes to the cache, `path.dvc` says which it is; nothing where it is tracked."""
    with _repo(root) as repo:
        if _out_of(repo, root, path) is None:
            repo.add(path)


def metrics(folder: Path) -> dict[str, Any]:
    """What the files of metrics of the repository around a folder hold, by path from there: those that DVC finds.

    Raises:
        ToolError: DVC cannot read its own files.
    """
    with _repo(folder) as repo:
        # without errors: a file that is not there, or is no file of metrics
        held = repo.metrics.show(hide_workspace=False).get("", {}).get("data", {})
        return {path: found["data"] for path, found in held.items() if found.get("data")}


def has_remote(root: Path) -> bool:
    """Does DVC's own config name a default remote?"""
    if not (root / ".dvc").is_dir():
        return False
    with _repo(root) as repo:
        return bool(repo.config["core"].get("remote"))


def name_remote(root: Path, url: str, *, here_alone: bool) -> None:
    """Write a remote into DVC's own config, so that a bare `dvc pull` finds it; every other setting stays.

    It is the default remote where the project has no other.

    Args:
        root: the project folder.
        url: a URL, or a folder, relative to the project's.
        here_alone: in `.dvc/config.local`, which git does not take.
    """
    from configobj import ConfigObj, ConfigObjError

    folder = root / ".dvc"
    places = [folder / name for name in ("config", "config.local")]
    try:
        shared, own = (ConfigObj(_lines(place)) for place in places)
    except (ConfigObjError, UnicodeDecodeError):  # DVC itself is about to tell
        return
    place, kept = (places[1], own) if here_alone else (places[0], shared)
    before = kept.dict()
    is_folder = "://" not in url and not Path(url).expanduser().is_absolute()
    kept.setdefault(f'remote "{REMOTE}"', {})["url"] = os.path.relpath(root / url, folder) if is_folder else url
    if not any(one.get("core", {}).get("remote") for one in (shared, own)):
        kept.setdefault("core", {})["remote"] = REMOTE
    if kept.dict() == before or not folder.is_dir():
        return
    with atomic(place) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in kept.write()), encoding="utf-8")
        if here_alone:
            temporary.chmod(0o600)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def pull(root: Path, remote: str | None) -> tuple[str, list[str]]:
    """Bring every table that DVC tracks and no stage makes from the remote, and the run-cache.

    Returns:
        What came from where, and the tables that stay as they are, as what they hold is nowhere else.

    Raises:
        ToolError: there is no remote, it does not answer, or it lacks one of them.
    """
    with _repo(root, remote) as repo:
        from dvc.exceptions import CheckoutError

        _check_remote(repo)
        tables = {stage.addressing: stage.outs for stage in repo.index.stages if stage.cmd is None}
        changed = {name: [str(o) for o in outs if _only_here(repo, o)] for name, outs in tables.items()}
        came = 0
        try:
            if wanted := [name for name in tables if not changed[name]]:
                came = repo.pull(targets=wanted)["stats"]["fetched"]
        except CheckoutError as error:
            said = f"{', '.join(map(str, error.target_infos))}: neither in DVC's cache nor in its remote"
            raise ToolError(said, hint="glue run --push, where it is") from error
        repo.stage_cache.pull(None)
        tracked = [out for outs in tables.values() for out in outs]
        return _moved(repo, "pulled", came, "from", tracked), [path for paths in changed.values() for path in paths]


def _moved(repo: Any, verb: str, files: int, way: str, outs: Iterable[Any]) -> str:
    """How many files went which way, and how much data is in the remote now that this project has."""
    name = repo.config["core"]["remote"]
    held = sum(out.meta.size or 0 for out in outs if out.use_cache and out.meta is not None)
    there = f"{held / 1e6:,.1f} MB" if held >= 1e5 else f"{held:,} bytes"
    url = repo.config["remote"][name]["url"]
    where = url if "://" in url else os.path.normpath(url)
    return f"{verb} {files:,} file{'s' * (files != 1)} {way} {where}, where {there} of this project are now"


def _only_here(repo: Any, out: Any) -> bool:
    """Was it changed, and is not in the cache?"""
    if not out.exists:
        return False
    found = out.get_hash()
    return found != out.hash_info and not repo.cache.local.exists(found.value)


def push(root: Path, remote: str | None) -> str:
    """Send the tables, what the stages made of them, and the run-cache to the remote; what went where."""
    with _repo(root, remote) as repo:
        from dvc.stage.cache import RunCacheNotSupported

        _check_remote(repo)
        with contextlib.suppress(RunCacheNotSupported):  # as `dvc push --run-cache`, which counts it as sent each time
            repo.stage_cache.push(None)
        return _moved(repo, "pushed", repo.push(), "to", repo.index.outs)


def get(root: Path, rev: str, paths: list[str], into: Path, remote: str | None) -> None:
    """Copy files as they were in a commit, from the cache or the remote; one that was not there then is left out.

    Raises:
        ToolError: one was there and is in neither.
    """
    with _repo(root, remote) as repo, repo.switch(rev):
        files = repo.dvcfs
        for path in paths:
            where = f"/{path}"
            if files.exists(where):
                (into / path).parent.mkdir(parents=True, exist_ok=True)
                try:
                    (into / path).write_bytes(files.open(where, "rb").read())
                except OSError as error:
                    raise ToolError(f"{path} is neither in DVC's cache nor in its remote") from error


def _check_remote(repo: Any) -> None:
    if not repo.config["core"].get("remote"):
        raise ToolError("DVC has no remote", hint="data: {remote: ...} in glue.yaml, or: dvc remote add --default ...")


def in_process_supported() -> bool:
    """Are the two internal names there, in the form they are used in?"""
    import inspect

    try:
        from dvc.repo.reproduce import _reproduce_stage, reproduce
        from dvc.stage import run

        return (
            "kwargs" in inspect.signature(reproduce).parameters
            and callable(_reproduce_stage)
            and hasattr(run, "cmd_run")
        )
    except ImportError:
        return False


def reproduce(
    root: Path,
    here: Mapping[str, Callable[[], None]],
    event: Event,
    *,
    until: str | None = None,
    force: bool = False,
    pull: bool = False,
    remote: str | None = None,
) -> None:
    """DVC's reproduce.

    Args:
        root: the project folder.
        here: by command: what runs a stage in this process. Every other command is run as a subprocess.
        event: called before and after each stage.
        until: stop after this stage.
        force: run even what is unchanged.
        pull: bring what the run-cache knows of from the remote, instead of making it again.
        remote: where, if not where DVC's own config says.

    Raises:
        GlueError: what the stage raised.
        ToolError: DVC could not do its work.
    """
    with _repo(root, remote) as repo:
        from dvc.repo.reproduce import _reproduce_stage

        executed: set[str] = set()
        lock = locked(root)
        _after_a_kill(repo)

        def repro(stage: Any, **kwargs: Any) -> Any:
            name = stage.addressing
            own = stage.cmd is not None
            if own and dropped(stage, lock):
                stage.cmd_changed = True  # so DVC runs it, or restores it from its run-cache
            reasons = _reasons(stage, lock) if own and not force else []
            if own:
                event(name, "", 0.0, reasons)
            started = time.perf_counter()
            try:
                with _put_back(stage):
                    done = _reproduce_stage(stage, **kwargs)
            except BaseException:
                if own:
                    event(name, "failed", time.perf_counter() - started, reasons)
                raise
            if own:
                outcome = "unchanged" if done is None else "executed" if name in executed else "restored"
                event(name, outcome, time.perf_counter() - started, reasons)
            return done

        with _commands(here, executed, event), _parameters_parsed_once():
            repo.reproduce(targets=[until] if until else None, force=force, pull=pull, repro_fn=repro)


@contextlib.contextmanager
def _put_back(stage: Any) -> Iterator[None]:
    """A stage that fails before it has written anything leaves what it made before, which DVC takes away first."""
    there = [out for out in stage.outs if out.exists]
    uncached = {out: Path(out.fs_path).read_bytes() for out in there if not out.use_cache and out.isfile()}
    try:
        yield
    except BaseException:
        for out in [] if any(out.exists for out in stage.outs) else there:
            with contextlib.suppress(Exception):  # DVC's cache is gone, perhaps: the first error counts
                if out in uncached:
                    Path(out.fs_path).write_bytes(uncached[out])
                else:
                    out.checkout(force=True)
        raise


def _after_a_kill(repo: Any) -> None:
    """Mend what makes DVC fail ever after: a list of who reads and writes that was emptied and not written again, and a
    folder of its run-cache with nothing in it; and take away what it had not finished writing there."""
    reading = Path(repo.tmp_dir) / "rwlock"
    try:
        if reading.is_file():
            json.loads(reading.read_bytes())
    except ValueError:
        reading.unlink()
    cache = repo.stage_cache
    with repo.lock:  # or another DVC may be at work on it
        for unfinished in Path(cache.cache_dir).glob("*/*/*.tmp"):
            unfinished.unlink()
    load = getattr(cache, "_load_cache", None)
    if load is not None:
        cache._load_cache = lambda key, value: None if value is None else load(key, value)


@contextlib.contextmanager
def _commands(here: Mapping[str, Callable[[], None]], executed: set[str], event: Event) -> Iterator[None]:
    from dvc.stage import run as dvc_run
    from dvc.stage.exceptions import StageCmdFailedError

    original = dvc_run.cmd_run

    def cmd_run(stage: Any, dry: bool = False, run_env: dict[str, str] | None = None) -> None:
        executed.add(stage.addressing)
        # the whole command: one that does more is DVC's to run
        run = here.get(stage.cmd) if isinstance(stage.cmd, str) and not dry else None
        if run is None:
            event(stage.addressing, "outside", 0.0, [])
            original(stage, dry=dry, run_env=run_env)
            return
        before = dict(os.environ)
        try:
            run()
        except GlueError as error:
            raise StageCmdFailedError(stage.cmd, error.exit_code) from error
        finally:
            os.chdir(stage.repo.root_dir)
            os.environ.clear()
            os.environ.update(before)

    dvc_run.cmd_run = cmd_run
    try:
        yield
    finally:
        dvc_run.cmd_run = original


@contextlib.contextmanager
def _parameters_parsed_once() -> Iterator[None]:
    """DVC parses `glue.yaml` anew for each of some fifty looks at its parameters; here once for each state of the file.

    Two more internal names, which may go: then parameters are parsed as often as DVC likes.
    """
    from copy import deepcopy

    from dvc.dependency import param

    parse, look = getattr(param, "load_path", None), getattr(param, "read_param_file", None)
    if parse is None or look is None:
        yield
        return
    known: dict[tuple[Any, ...], Any] = {}

    def once(fs: Any, path: Any, asked: Any, make: Callable[[], Any]) -> Any:
        if not _is_local(fs):
            return make()
        key = (os.fspath(path), *_state(path), repr(asked))
        if key not in known:
            known[key] = make()
        return known[key]

    def load_path(path: Any, fs: Any, **named: Any) -> Any:
        return once(fs, path, named, lambda: parse(path, fs, **named))

    def read_param_file(fs: Any, path: Any, *more: Any, **named: Any) -> Any:
        # who gets it may change it
        return deepcopy(once(fs, path, (more, named), lambda: look(fs, path, *more, **named)))

    param.load_path, param.read_param_file = load_path, read_param_file
    try:
        yield
    finally:
        param.load_path, param.read_param_file = parse, look


def dropped(stage: Any, lock: dict[str, Any]) -> list[str]:
    """The parameters that one of glue's stages had in `dvc.lock` and has no more: their defaults are back.

    DVC looks at those alone that `dvc.yaml` names now, and that cannot name what is not in the file.
    """
    kept = lock.get(stage.addressing, {})
    if not str(stage.cmd).startswith("glue stage ") or kept.get("cmd") != stage.cmd:
        return []
    named = {dep.def_path: set(dep.params) for dep in stage.deps if hasattr(dep, "read_params")}
    before = kept.get("params", {})
    gone = {key: value for path, had in before.items() for key, value in had.items() if key not in named.get(path, ())}
    return [f"{k} {a} -> {b}" for key, value in gone.items() for k, a, b in differences(key, value, None)]


def _reasons(stage: Any, lock: dict[str, Any]) -> list[str]:
    """Why DVC would run the stage: the file, parameter or command that changed. Empty when it would not."""
    if not any(dep.hash_info for dep in stage.deps):
        return ["first run"]  # nothing is in dvc.lock
    found = dropped(stage, lock)
    for entry in stage.status().get(stage.addressing, []):
        if entry == "changed command" and not found:
            found.append("command changed")
        if not isinstance(entry, dict):
            continue
        for path, what in {**entry.get("changed deps", {}), **entry.get("changed outs", {})}.items():
            if isinstance(what, dict):
                found += _params(stage, path, what)
            else:
                found.append(f"{path} {what}")
    return found


def _params(stage: Any, path: str, changed: dict[str, Any]) -> list[str]:
    """Each changed parameter with its old and new value."""
    out: list[str] = []
    for dep in stage.deps:
        if dep.def_path != path or not hasattr(dep, "read_params"):
            continue
        old, new = (dep.hash_info.value or {}) if dep.hash_info else {}, dep.read_params()
        for name in changed:
            out += [f"{k} {a} -> {b}" for k, a, b in differences(name, old.get(name), new.get(name))]
    return out or [f"{path}: {', '.join(changed)}"]


def differences(key: str, old: Any, new: Any) -> Iterator[tuple[str, str, str]]:
    """Each dotted key below `key` that has another value, with both; of lists what went and what came."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(n for n in new if n not in old)]:
            yield from differences(f"{key}.{name}", old.get(name), new.get(name))
    elif (
        isinstance(old, list)
        and isinstance(new, list)
        and (moved := [v for v in old + new if (v in old) != (v in new)])
    ):
        gone, came = ([v for v in moved if v in side] for side in (old, new))
        for value in gone:
            about = _about(value)
            twin = next((v for v in came if about and _about(v) == about), None)
            if twin is not None:
                came.remove(twin)
            columns = [column for column in about.values() if column is not None]
            yield from differences(f"{key}[{columns[0]}]" if twin is not None and columns else key, value, twin)
        for value in came:
            yield from differences(key, None, value)
    elif old != new:
        yield key, _shown(old), _shown(new)


def _about(entry: Any) -> dict[str, Any]:
    """What makes two entries of a list the same one, with other values: their keys and, of expectations, the column."""
    if not isinstance(entry, dict):
        return {}
    return {name: value.get("column") if isinstance(value, dict) else None for name, value in entry.items()}


def _shown(value: Any) -> str:
    """A value of `glue.yaml` in a line, as YAML has it."""
    if value is None:
        return "absent"
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def locked(root: Path) -> dict[str, Any]:
    """The stages of `dvc.lock`, read without DVC; none where it is not there.

    Raises:
        ToolError: it is broken.
    """
    from ruamel.yaml.error import YAMLError

    path = root / "dvc.lock"
    if not path.is_file():
        return {}
    try:
        lock = read_yaml(path)
    except (YAMLError, UnicodeDecodeError) as error:
        lock = first_line(error)
    stages = lock.get("stages") if isinstance(lock, dict) else None
    if not isinstance(stages, dict) or not all(isinstance(stage, dict) for stage in stages.values()):
        said = lock if isinstance(lock, str) else "it does not have the stages of a run"
        raise ToolError(f"dvc.lock: cannot be read: {said}", hint=f"git checkout dvc.lock, or: {LOCK_ANEW}")
    return stages


def changed_data(root: Path) -> dict[str, str]:
    """For each file that DVC tracks and no stage makes: what happened to it, where something did."""
    with _repo(root) as repo, repo.lock:
        out: dict[str, str] = {}
        for stage in repo.index.stages:
            if stage.cmd is None:
                for entry in stage.status().get(stage.addressing, []):
                    out |= entry.get("changed outs", {}) if isinstance(entry, dict) else {}
        return {path: str(what) for path, what in out.items()}


def status(root: Path, text: str | None = None) -> dict[str, list[str]]:
    """For each stage of the pipeline in order: why it would run; empty when it would not.

    Args:
        root: the project folder.
        text: what `dvc.yaml` is taken to hold; default what it holds.
    """
    return pending(root, text)[0]


def pending(root: Path, text: str | None = None) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What `status` gives; and for each stage without a reason the stages that it depends on, at any depth, with one.

    What those make decides whether it runs.
    """
    with _repo(root) as repo, repo.lock, _taken_for(repo, root / "dvc.yaml", text):
        from networkx import descendants  # DVC's own graph

        lock = locked(root)
        stages = {s.addressing: s for s in repo.index.stages if s.cmd is not None}
        reasons = {name: _reasons(stage, lock) for name, stage in stages.items()}
        upstream: dict[str, list[str]] = {}
        for name, stage in stages.items():
            needed = set() if reasons[name] else descendants(repo.index.graph, stage)
            if found := [other for other, one in stages.items() if reasons[other] and one in needed]:
                upstream[name] = found
        return reasons, upstream


@contextlib.contextmanager
def _taken_for(repo: Any, path: Path, text: str | None) -> Iterator[None]:
    """DVC reads this text where it would read that file of the project; None: the file as it is."""
    if text is None:
        yield
        return
    files, there = repo.fs, path.is_file()
    asked = {name: getattr(files, name) for name in ("open", "exists", "isfile", "walk")}

    def is_it(other: Any) -> bool:
        return bool(os.path.realpath(os.fspath(other)) == os.path.realpath(path))

    def walk(top: Any, **options: Any) -> Iterator[Any]:
        for folder, folders, names in asked["walk"](top, **options):
            new = not there and os.path.realpath(folder) == os.path.realpath(path.parent)
            yield folder, folders, [*names, path.name] if new else names

    files.open = lambda other, *more, **options: (
        io.StringIO(text) if is_it(other) else asked["open"](other, *more, **options)
    )
    files.exists = lambda other, **options: is_it(other) or asked["exists"](other, **options)
    files.isfile = lambda other: is_it(other) or asked["isfile"](other)
    files.walk = walk
    try:
        yield
    finally:
        for name in asked:
            delattr(files, name)
