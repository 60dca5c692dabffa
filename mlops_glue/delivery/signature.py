"""Signed bundles: a statement of what a bundle was made of, signed by a key of the team's, and checked before use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlops_glue import files
from mlops_glue.adapters import signing
from mlops_glue.delivery import statement
from mlops_glue.delivery.provenance import Provenance
from mlops_glue.errors import DataError

FOLDER, FILE = "attestation", "bundle.intoto.json"  # of the run's artifacts


def write(model: str, record: Provenance, bundle: Path, key: Path, folder: Path) -> Path:
    """The signed statement of a bundle, as a file in a folder.

    Raises:
        UsageError: the key cannot be read.
        MissingExtra: `cryptography` is not installed.
    """
    made = statement.of_build(model, record, files.sha256s(bundle))
    files.write_json(folder / FILE, signing.sign(made, key))
    return folder / FILE


def checker(key: Path) -> Callable[[Path, str | None], None]:
    """What `Store.check_bundle` is: it refuses a bundle that the key's owner has not signed as it is."""

    def check_bundle(bundle: Path, signed: str | None) -> None:
        if signed is None:
            raise DataError("its bundle is not signed", hint="registry: {sign: KEY} signs each new version")
        made = signing.verify(_json(signed), key)
        names = {subject["name"]: subject["digest"]["sha256"] for subject in made["subject"]}
        there = files.sha256s(bundle)
        if there != names:
            unlike = sorted(name for name in {*there, *names} if there.get(name) != names.get(name))
            raise DataError(f"its bundle is not the one that was signed: {', '.join(unlike)}")

    return check_bundle


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise DataError("its signature is not JSON") from None
