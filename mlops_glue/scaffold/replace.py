"""A folder that glue made is made again: what is glue's is replaced file by file, what is the user's stays.

The folder's record (`manifest.py`) has the digest of each file that glue wrote there, and the text of those which are
merged. Before anything is replaced it gets the digests of what is to come, too: where the process is killed, the next
one still knows every file of glue's, the old ones and the new ones, and finishes.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlops_glue import __version__, files, layout
from mlops_glue.errors import ToolError, UsageError
from mlops_glue.scaffold import manifest
from mlops_glue.scaffold.merge import File, as_it_was, check_resolved, merge

MERGED, WRITTEN = "package", "written"  # the parts of the record
EMPTY = manifest.Part(__version__, {}, {})


@contextlib.contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """An empty folder beside `out`, for one process at a time; what a killed one left in it goes.

    Raises:
        ToolError: another process has it.
    """
    place = out.with_name(f".glue-package-{out.name}")
    place.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = place.exists() and os.path.samestat(os.fstat(lock), place.stat())
        except BlockingIOError:
            ours = False
        if not ours:  # another process has it, or has just removed it
            raise ToolError(f"{out}: another glue package writes there", hint="wait until it has ended")
        stack.callback(shutil.rmtree, place)
        for left in place.iterdir():
            _remove(left)
        yield place


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def replace(out: Path, made: Path, texts: Mapping[str, str]) -> list[str]:
    """Bring what was made to its place; returns which of the texts are in conflict with edits there.

    Args:
        out: the folder; not there, or made by an earlier call.
        made: a folder on the same disk that holds every file.
        texts: those of the files that are merged with the user's edits.

    Raises:
        UsageError: a file of glue's that cannot be merged was edited, or something of the user's is in the way.
        CheckFailed: a file holds a conflict of an earlier call.
    """
    digests = {path: files.digest(made / path) for path in _files(made)}
    after = {MERGED: manifest.Part(__version__, {}, dict(texts)), WRITTEN: _as_part(digests)}
    if not out.exists():
        manifest.write(made, after)
        made.rename(out)
        return []
    parts = manifest.load(out)
    before = parts.get(MERGED, EMPTY)
    check_resolved(out, {MERGED: before})
    known = {path: (text or "").split() for path, text in parts.get(WRITTEN, EMPTY).files.items()}
    _clean(out, {*known, *digests, layout.GENERATED})
    own = {path for path, told in known.items() if _digest(out, path) in told}
    edited = [merge(out, path, before, text) for path, text in texts.items() if path not in own]
    merged = {file.path: file for file in edited}
    _check_in_the_way(out, {path for path in digests if path not in own}, digests, merged)
    both = {path: [*known.get(path, ()), *filter(None, [digests.get(path)])] for path in sorted({*known, *digests})}
    manifest.write(out, {**parts, WRITTEN: _as_part({path: "\n".join(told) for path, told in both.items()})})
    for path, digest in digests.items():
        if path in merged:
            _write(out / path, merged[path])
        elif _digest(out, path) != digest:
            with files.atomic(out / path) as temporary:
                shutil.copy(made / path, temporary)
    for path in own - set(digests):
        _take_away(out, path)
    manifest.write(out, after)
    return [file.path for file in edited if file.outcome == "conflict"]


def _files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def _as_part(digests: Mapping[str, str]) -> manifest.Part:
    return manifest.Part(__version__, {}, {path: f"{told}\n" for path, told in digests.items()})


def _digest(out: Path, path: str) -> str | None:
    """Of a plain file in plain folders; None for anything else, which glue did not make."""
    place = out / path
    plain = place.is_file() and not place.is_symlink() and _other_folder(out, path) is None
    return files.digest(place) if plain else None


def _other_folder(out: Path, path: str) -> Path | None:
    """The first of the folders above a file that is a link or a file."""
    folders = [out / folder for folder in list(Path(path).parents)[-2::-1]]
    return next((f for f in folders if os.path.lexists(f) and (f.is_symlink() or not f.is_dir())), None)


def _clean(out: Path, paths: set[str]) -> None:
    """What `files.atomic` of a killed process left beside these."""
    for path in paths:
        place = out / path
        for left in place.parent.glob(f".{glob.escape(place.name)}.{'[0-9a-f]' * 8}.tmp"):
            left.unlink()


def _check_in_the_way(out: Path, paths: set[str], digests: Mapping[str, str], merged: Mapping[str, File]) -> None:
    """Nothing of the user's stands where a file of glue's is to be.

    Raises:
        UsageError: something does.
    """
    for path in sorted(paths):
        place = out / path
        folder = _other_folder(out, path)
        if folder is not None:
            wrong = f"{folder}: is no folder of glue's, and {path} is to be in it"
            raise UsageError(wrong, hint="move it away, then again")
        fits = place.is_file() if path in merged else _digest(out, path) == digests[path]
        if os.path.lexists(place) and not fits:
            wrong = f"{place}: is not as glue package wrote it, and would be replaced"
            raise UsageError(wrong, hint=f"mv {shlex.quote(str(place))} ELSEWHERE, then again")


def _write(place: Path, file: File) -> None:
    if file.text is not None and file.outcome != "unchanged":
        with files.atomic(place) as temporary:
            temporary.write_bytes(as_it_was(place, file.text))


def _take_away(out: Path, path: str) -> None:
    """A file of glue's that is not asked for any more, what Python made of it, and the folders that are empty then."""
    place = out / path
    place.unlink()
    for left in (place.parent / "__pycache__").glob(f"{glob.escape(place.stem)}.*.pyc"):
        left.unlink()
    for folder in (place.parent / "__pycache__", *(out / p for p in list(Path(path).parents)[:-1])):
        with contextlib.suppress(OSError):  # it holds something
            folder.rmdir()
