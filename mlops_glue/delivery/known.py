"""The versions known to this machine, so that scheduled work continues while the registry does not answer.

Each fetched and checked bundle is stored in `layout.SERVED`. A file for each environment maps version numbers to
digests, because the same number may be another version in another registry.
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
    """The last known champion."""

    version: int
    bundle: Path
    asked: str  # when the registry reported it: ISO 8601, UTC


def note(root: Path, config: Config, version: int, bundle: Path) -> None:
    """Store a bundle that was just fetched and checked."""
    digest = files.digest(bundle)
    kept_folder(root, version, bundle, digest)
    _write(root, config, {"digests": {**_read(root, config).get("digests", {}), str(version): digest}})


def note_champion(root: Path, config: Config, version: int) -> None:
    """Record the champion that the registry just reported."""
    _write(root, config, {"champion": version, "asked": datetime.now(UTC).isoformat(timespec="seconds")})


def bundle_of(root: Path, config: Config, version: int) -> Path | None:
    """Return the stored bundle of a version, if it is unchanged; else None."""
    digest = _read(root, config).get("digests", {}).get(str(version))
    folder = root / layout.SERVED / f"v{version}-{str(digest)[:12]}"
    return folder if folder.is_dir() and files.digest(folder) == digest else None


def champion(root: Path, config: Config) -> Champion | None:
    """Return the last known champion with its bundle; None if this machine knows none."""
    known = _read(root, config)
    version = known.get("champion")
    bundle = bundle_of(root, config, version) if version is not None else None
    return None if version is None or bundle is None else Champion(version, bundle, known["asked"])


def _file(root: Path, config: Config) -> Path:
    return root / layout.SERVED / f"known-{config.environment or 'default'}.json"


def _read(root: Path, config: Config) -> dict[str, Any]:
    with suppress(OSError, ValueError, LookupError, TypeError):  # the file is missing or damaged
        found: dict[str, Any] = files.read_json(_file(root, config))
        if found["of"] == [config.model_name, config.tracking.uri]:
            return found
    return {}


def _write(root: Path, config: Config, what: dict[str, Any]) -> None:
    with suppress(OSError):  # a full disk must not stop work that uses the registry
        about = {"of": [config.model_name, config.tracking.uri]}  # the URI as in glue.yaml, without resolved secrets
        files.write_json(_file(root, config), {**_read(root, config), **about, **what})
