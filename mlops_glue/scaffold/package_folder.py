"""Rebuild a folder that glue wrote: glue's files are replaced one by one, the user's files stay.

The folder's record (`manifest.py`) has the digest of each file that glue wrote there, and the text of the files that
are merged. The digests of the new files are added before anything is replaced: if the process is killed, the next call
still knows all of glue's files, old and new, and finishes.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlops_glue import files
from mlops_glue.errors import UsageError
from mlops_glue.scaffold import manifest, undo
from mlops_glue.scaffold.merge import File, check_resolved, merge, write
from mlops_glue.version import __version__

MERGED, WRITTEN = "package", "written"  # the parts of the record
EMPTY = manifest.Part(__version__, {}, {})


@contextlib.contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """Return an empty folder next to `out`; what a killed process left in it is removed."""
    place = out.with_name(f".glue-package-{out.name}")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    try:
        yield place
    finally:
        shutil.rmtree(place)


def replace(out: Path, made: Path, texts: Mapping[str, str]) -> list[str]:
    """Move the new files to their folder; return the merged files that are in conflict with edits there.

    Args:
        out: the folder; it does not exist, or an earlier call made it.
        made: a folder on the same disk that contains every file.
        texts: the texts of the files that are merged with the user's edits.

    Raises:
        UsageError: one of glue's files that cannot be merged was edited, or a file of the user's is in the way.
        CheckFailed: a file contains a conflict of an earlier call.
    """
    paths = sorted(p.relative_to(made).as_posix() for p in made.rglob("*") if p.is_file())
    digests = {path: files.digest(made / path) for path in paths}
    new = _as_part({path: [digest] for path, digest in digests.items()})
    after = {MERGED: manifest.Part(__version__, {}, dict(texts)), WRITTEN: new}
    if not out.exists():
        manifest.write(made, after)
        made.rename(out)
        return []
    parts = manifest.load(out)
    before = parts.get(MERGED, EMPTY)
    check_resolved(out, {MERGED: before})
    undo.check_places(out, digests)
    known = {path: (text or "").split() for path, text in parts.get(WRITTEN, EMPTY).files.items()}
    _remove_temporary(out)
    own = {path for path, recorded in known.items() if _digest(out, path) in recorded}
    merged = {path: merge(out, path, before, text) for path, text in texts.items() if path not in own}
    for path in digests.keys() - own:
        _check_free(out, path, digests[path], merged.get(path))
    both = {path: [*known.get(path, ()), *filter(None, [digests.get(path)])] for path in sorted({*known, *digests})}
    manifest.write(out, {**parts, WRITTEN: _as_part(both)})
    for path, digest in digests.items():
        if path in merged:
            if merged[path].text is not None and merged[path].outcome != "unchanged":
                write(out / path, merged[path])
        elif _digest(out, path) != digest:
            with files.atomic(out / path) as temporary:
                shutil.copy(made / path, temporary)
    for path in own - digests.keys():
        _remove(out, path)
    manifest.write(out, after)
    return [file.path for file in merged.values() if file.outcome == "conflict"]


def _as_part(digests: Mapping[str, list[str]]) -> manifest.Part:
    lines = {path: "".join(f"{digest}\n" for digest in known) for path, known in digests.items()}
    return manifest.Part(__version__, {}, dict(lines))


def _digest(out: Path, path: str) -> str | None:
    """Return the digest of a plain file in plain folders; None for anything else, which glue did not write."""
    place = out / path
    return files.digest(place) if place.is_file() and place.resolve() == out.resolve() / path else None


def _check_free(out: Path, path: str, digest: str, merged: File | None) -> None:
    """Check that no file of the user's is at the path of one of glue's files.

    Raises:
        UsageError: the user has a file there.
    """
    place = out / path
    is_linked = place.parent.resolve() != (out.resolve() / path).parent
    fits = place.is_file() if merged is not None else _digest(out, path) == digest
    if is_linked or (os.path.lexists(place) and not fits):
        wrong = f"{place}: differs from what glue package wrote, and would be replaced"
        raise UsageError(wrong, hint=f"mv {shlex.quote(str(place))} ELSEWHERE, then run it again")


def _remove_temporary(out: Path) -> None:
    """Remove the temporary files that `files.atomic` of a killed process left."""
    for left in out.rglob(".*.tmp"):
        if re.fullmatch(r"\..+\.[0-9a-f]{8}\.tmp", left.name):
            left.unlink()


def _remove(out: Path, path: str) -> None:
    """Remove a file that is no longer needed, and the folders that become empty."""
    (out / path).unlink()
    for folder in list(Path(path).parents)[:-1]:
        with contextlib.suppress(OSError):  # the folder is not empty
            (out / folder).rmdir()
