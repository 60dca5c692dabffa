"""Files: JSON, text and templates, written atomically through a temporary file in the same folder."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import math
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mlops_glue import layout
from mlops_glue.errors import DamagedError, first_line


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` if the block succeeds, and is removed otherwise.

    An existing file keeps its mode and, if the system allows it, its owner. A link stays, and its target is written. A
    device or a pipe is written to, not replaced.

    Raises:
        OSError: the system refused a write; the error always names the file.
    """
    target = Path(os.path.realpath(path))  # unlike `resolve`, accepts a link to itself
    place = target if path.is_symlink() and not _in_dvc_cache(target) else path
    before = place.stat() if place.exists() and not place.is_symlink() else None
    special = before is not None and not stat.S_ISREG(before.st_mode) and not stat.S_ISDIR(before.st_mode)
    folder = Path(tempfile.gettempdir()) if special else place.parent
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{place.name}.{os.urandom(4).hex()}.tmp"
    # an existing file may be private, so the new file is private until complete; otherwise, the umask decides
    mode = 0o666 if before is None else 0o600
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if special:
            with place.open("wb") as device, temporary.open("rb") as file:
                shutil.copyfileobj(file, device)
            return
        if before is not None:
            _copy_owner_and_mode(before, temporary)
        temporary.replace(place)
    except OSError as error:
        if error.filename is None or str(error.filename) == str(temporary):  # the error of a failed write names no file
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _copy_owner_and_mode(before: os.stat_result, file: Path) -> None:
    current = file.stat()
    if (current.st_uid, current.st_gid) != (before.st_uid, before.st_gid):
        with contextlib.suppress(PermissionError):
            os.chown(file, before.st_uid, before.st_gid)
    file.chmod(stat.S_IMODE(before.st_mode))  # last, because a change of owner clears mode bits


def _in_dvc_cache(place: Path) -> bool:
    """Return whether a path is in DVC's cache: project files may be links into it, and its files must not change."""
    return bool(re.search(r"/files/md5/[0-9a-f]{2}/[0-9a-f]{30}(\.dir)?$", place.as_posix()))


@contextlib.contextmanager
def swept(targets: Sequence[Path]) -> Iterator[None]:
    """Afterwards, remove incomplete files of processes on other machines that write the targets with `atomic`."""

    def temporaries() -> set[Path]:
        return {found for path in targets for found in path.parent.glob(f".{glob.escape(path.name)}.*.tmp")}

    before = temporaries()
    try:
        yield
    finally:
        for path in temporaries() - before:
            path.unlink(missing_ok=True)


def leftovers(root: Path) -> list[Path]:
    """Return temporary files of `atomic`, DVC and MLflow that a killed process left; no process may be running."""
    pattern = re.compile(r"\..+\.(tmp|tmp-journal|tmp-wal|tmp-shm)")
    folders = [root, root / layout.STATE, root / layout.RAW]
    found = [p for folder in folders if folder.is_dir() for p in folder.iterdir() if pattern.fullmatch(p.name)]
    found += [p for p in (root / layout.ARTIFACTS).rglob(".*") if pattern.fullmatch(p.name)]
    found += (root / ".dvc" / "cache" / "files").glob("*/*/*.tmp")
    rwlock = root / ".dvc" / "tmp" / "rwlock"  # DVC truncates the file before it writes
    with contextlib.suppress(FileNotFoundError):
        try:
            read_json(rwlock)
        except DamagedError:
            found.append(rwlock)
    return found


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically. Equal values yield equal bytes, keys keep their order, and NaN becomes null."""
    content = json.dumps(json_value(value), indent=1, ensure_ascii=False, default=_to_builtin, allow_nan=False)
    write_text(path, content + "\n")


def json_value(value: Any) -> Any:
    """Replace every float that is not finite by None."""
    if isinstance(value, dict):
        return {k: json_value(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _to_builtin(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        DamagedError: the file is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # text that is not UTF-8, or nested too deeply
        raise DamagedError(f"{path}: is not JSON: {first_line(error)}") from None


def set_aside(path: Path) -> Path:
    """Rename a damaged file, so that a new file can replace it; return the new name."""
    aside = path.with_name(f"{path.name}.torn")
    if os.path.lexists(aside):
        aside = path.with_name(f"{path.name}.{time.time_ns()}.torn")
    path.rename(aside)
    return aside


def read_yaml(path: Path) -> Any:
    """Read YAML, without its comments."""
    return parse_yaml(path.read_text(encoding="utf-8"))


def parse_yaml(content: str) -> Any:
    """Parse YAML without comments, as DVC does, with ruamel's C parser if available."""
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(content)


def render(
    template: Path,
    values: dict[str, Any],
    around: tuple[str, str] = ("{{", "}}"),
    filters: dict[str, Callable[..., str]] | None = None,
) -> str:
    """Render a Jinja template with values between the marks `around`; .html templates are escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        keep_trailing_newline=True,
        variable_start_string=around[0],
        variable_end_string=around[1],
        undefined=jinja2.StrictUndefined,
        autoescape=template.suffix == ".html",  # noqa: S701 - YAML and Markdown have no HTML entities
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "q": yaml_text,
        "block": yaml_block,
        "py": lambda text: json.dumps(text, ensure_ascii=False),
        **(filters or {}),
    }
    return environment.get_template(template.name).render(values)


def one_line(text: str) -> str:
    """Escape line ends and control characters, so that a text is one line and harmless in a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def yaml_text(value: str) -> str:
    """Format a string as a YAML scalar: plain if every parser reads it as a string, else quoted as in JSON."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*", value)
    words = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}
    if plain and value.lower() not in words and len(value) < 100:
        return value
    # a JSON string is a YAML string, except for the unprintable characters that JSON allows
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in json.dumps(value, ensure_ascii=False))


def yaml_block(text: str, indent: int) -> str:
    """Format a string like `yaml_text`; several lines become an indented block, if YAML preserves them."""
    lines = text.split("\n")
    plain = all(c.isprintable() or c == "\t" for line in lines for c in line)
    if len(lines) == 1 or not plain or not lines[-1] or not lines[0] or lines[0][0].isspace():
        return yaml_text(text)
    return "\n".join(["|-", *(" " * indent + line if line else "" for line in lines)])


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256s(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in a folder, by file name."""
    return {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.is_file()}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder (names and contents, sorted)."""
    total = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        total.update(f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n".encode())
    return total.hexdigest()
