"""What this machine knows of the registry's versions: with that, scheduled work goes on while the registry is away.

Each bundle that was brought and checked is kept in `layout.SERVED`, and a file for each environment says by digest
which version it is: the same number is another version in another registry.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_glue import files, layout
from mlops_glue.config import Config
from mlops_glue.delivery.fetch import kept_folder


@dataclass(frozen=True)
class Champion:
    """The last one that is known."""

    version: int
    bundle: Path
    asked: str  # when the registry named it: ISO 8601, UTC


def note(root: Path, config: Config, version: int, bundle: Path) -> None:
    """Keep a bundle that the registry has just given, and that was checked."""
    digest = files.digest(bundle)
    kept_folder(root, version, bundle, digest)
    _write(root, config, {"digests": {**_read(root, config).get("digests", {}), str(version): digest}})


def note_champion(root: Path, config: Config, version: int) -> None:
    """Note which version the registry has just named."""
    _write(root, config, {"champion": version, "asked": datetime.now(UTC).isoformat(timespec="seconds")})


def bundle_of(root: Path, config: Config, version: int) -> Path | None:
    """The bundle of a version, as it was when it was kept; None where there is none."""
    digest = _read(root, config).get("digests", {}).get(str(version))
    folder = root / layout.SERVED / f"v{version}-{str(digest)[:12]}"
    return folder if folder.is_dir() and files.digest(folder) == digest else None


def champion(root: Path, config: Config) -> Champion | None:
    """The last champion that is known, with its bundle; None where this machine has not seen one."""
    known = _read(root, config)
    version = known.get("champion")
    bundle = bundle_of(root, config, version) if version is not None else None
    return None if version is None or bundle is None else Champion(version, bundle, known["asked"])


def _file(root: Path, config: Config) -> Path:
    return root / layout.SERVED / f"known-{config.environment or 'default'}.json"


def _read(root: Path, config: Config) -> dict[str, Any]:
    with suppress(OSError, ValueError, LookupError, TypeError):  # it is not there, or damaged
        found: dict[str, Any] = files.read_json(_file(root, config))
        if found["of"] == [config.model_name, config.tracking.uri]:
            return found
    return {}


def _write(root: Path, config: Config, what: dict[str, Any]) -> None:
    with suppress(OSError):  # a full disk must not end what goes on with the registry
        about = {"of": [config.model_name, config.tracking.uri]}  # a URI as it stands in the file, without secrets
        files.write_json(_file(root, config), {**_read(root, config), **about, **what})
