"""Signed bundles: a provenance statement, signed with the team's key and checked before a bundle is used."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import files
from mlops_glue.adapters import signing
from mlops_glue.delivery import provenance, statement
from mlops_glue.delivery.provenance import Provenance
from mlops_glue.errors import DataError, GlueError

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store

FOLDER, FILE = "attestation", "bundle.intoto.json"  # of the run's artifacts


def write(model: str, record: Provenance | None, bundle: Path, key: Path, folder: Path) -> Path:
    """Write the signed statement of a bundle to a folder.

    Raises:
        UsageError: the key cannot be read.
        MissingExtra: `cryptography` is not installed.
    """
    made = statement.of_build(model, record, files.sha256s(bundle))
    files.write_json(folder / FILE, signing.sign(made, key))
    return folder / FILE


def add(store: Store, model: str, version: int, key: Path, trusted: Path | None) -> bool:
    """Sign the bundle of a registered version. Return False if the key has already signed it.

    Args:
        store: the registry.
        model: the registered model.
        version: its number.
        key: the private key.
        trusted: the public key of `serve.verify`. Its signature is kept in addition to the new one; any other signature
            is replaced, because its owner is unknown.

    Raises:
        DataError: the bundle has changed since it was registered or signed.
        UsageError: a key cannot be read.
    """
    store.check_bundle = None  # the key has not signed the bundle yet
    before = store.attestation(model, version)
    envelope = None if before is None else _json(before)
    already = envelope is not None and signing.has_signed(envelope, key)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        bundle = store.download_bundle(model, version, folder)
        if envelope is not None:
            try:
                _check(signing.statement(envelope), bundle)
            except DataError as error:
                raise DataError(f"{model} v{version}: {error.message}") from error
        if already:
            return False
        if envelope is not None and trusted is not None and _is_signed(envelope, trusted):
            file = folder / "made" / FILE
            files.write_json(file, signing.add(envelope, key))
        else:
            file = write(model, _record(store, model, version, folder), bundle, key, folder / "made")
        store.attach(model, version, file, FOLDER)
    store.record_signature(model, version)
    return True


def _is_signed(envelope: Any, key: Path) -> bool:
    try:
        signing.verify(envelope, key)
    except DataError:
        return False
    return True


def _record(store: Store, model: str, version: int, folder: Path) -> Provenance | None:
    """Read the version's provenance; None if it has no record."""
    try:
        return provenance.read(store.download_artifact(model, version, provenance.FOLDER, folder))[0]
    except (GlueError, OSError):
        return None


def checker(key: Path) -> Callable[[Path, str | None], None]:
    """Return the function for `Store.check_bundle`, which refuses a bundle without a valid signature by the key."""

    def check_bundle(bundle: Path, signed: str | None) -> None:
        if signed is None:
            raise DataError(
                "its bundle is not signed",
                hint="glue sign VERSION; to sign each new version, set registry: {sign: KEY}",
            )
        _check(signing.verify(_json(signed), key), bundle)

    return check_bundle


def _check(made: dict[str, Any], bundle: Path) -> None:
    """Check that a bundle matches its statement."""
    names = {subject["name"]: subject["digest"]["sha256"] for subject in made["subject"]}
    there = files.sha256s(bundle)
    if there != names:
        unlike = sorted(name for name in {*there, *names} if there.get(name) != names.get(name))
        raise DataError(f"its bundle has changed since it was signed: {', '.join(unlike)}")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise DataError("its signature is not JSON") from None
