"""Sign with the team's own keys: an in-toto statement in a DSSE envelope, through `cryptography`.

DSSE is described at https://github.com/secure-systems-lab/dsse; any DSSE verifier can check these envelopes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue.errors import DataError, MissingExtra, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

NO_ENVELOPE = "the signature is not a DSSE envelope"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
PASSWORD = "GLUE_KEY_PASSWORD"  # noqa: S105 - the name of the variable


def sign(statement: Mapping[str, Any], key: Path) -> dict[str, Any]:
    """Sign a statement and return it in a DSSE envelope.

    Args:
        statement: the statement to sign.
        key: a private key in PEM format: Ed25519 or ECDSA P-256. Its password, if it has one, is in
            `GLUE_KEY_PASSWORD`.

    Raises:
        UsageError: the key cannot be read, or has another type.
        MissingExtra: `cryptography` is not installed.
    """
    private = _private_key(key)
    body = json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()
    payload = base64.b64encode(body).decode()
    return {"payload": payload, "payloadType": PAYLOAD_TYPE, "signatures": [_signed(private, body)]}


def add(envelope: Any, key: Path) -> dict[str, Any]:
    """Add another signature of the same statement to an envelope.

    Raises:
        DataError: `envelope` is not a DSSE envelope.
        UsageError: the key cannot be read.
    """
    private, (body, _) = _private_key(key), _parts(envelope)
    return {**envelope, "signatures": [*envelope["signatures"], _signed(private, body)]}


def has_signed(envelope: Any, key: Path) -> bool:
    """Check whether one of the signatures was made with this private key.

    Raises:
        DataError: `envelope` is not a DSSE envelope.
        UsageError: the key cannot be read.
    """
    public, (body, signatures) = _private_key(key).public_key(), _parts(envelope)
    return any(_is_valid(public, one, _pae(body)) for one in signatures)


def statement(envelope: Any) -> dict[str, Any]:
    """Return the statement of an envelope without verifying its signatures.

    Raises:
        DataError: `envelope` is not a DSSE envelope of a statement.
    """
    try:
        made = json.loads(_parts(envelope)[0])
    except ValueError:
        made = None
    if not isinstance(made, dict):
        raise DataError(NO_ENVELOPE)
    return made


def _parts(envelope: Any) -> tuple[bytes, list[bytes]]:
    """Return the signed bytes of an envelope, and the signatures.

    Raises:
        DataError: `envelope` is not a DSSE envelope.
    """
    try:
        signatures = [base64.b64decode(found["sig"], validate=True) for found in envelope["signatures"]]
        if envelope["payloadType"] == PAYLOAD_TYPE:
            return base64.b64decode(envelope["payload"], validate=True), signatures
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise DataError(NO_ENVELOPE) from error
    raise DataError(NO_ENVELOPE)


def verify(envelope: Any, key: Path) -> dict[str, Any]:
    """Verify an envelope with a public key and return its statement.

    Args:
        envelope: an envelope as returned by `sign`.
        key: the public key, in PEM format.

    Raises:
        DataError: the envelope is not signed with the key, or was altered.
        UsageError: the key cannot be read.
    """
    public = _public_key(key)
    body, signatures = _parts(envelope)
    if not any(_is_valid(public, one, _pae(body)) for one in signatures):
        raise DataError(f"it is not signed with {key.name}, or was altered after signing")
    return statement(envelope)


def _signed(key: PrivateKeyTypes, body: bytes) -> dict[str, str]:
    signature = base64.b64encode(_signature(key, _pae(body))).decode()
    return {"keyid": _key_id(key.public_key()), "sig": signature}


def _pae(body: bytes) -> bytes:
    """Encode the statement for signing: DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(body), body)


def _signature(key: PrivateKeyTypes, message: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.hashes import SHA256

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(SHA256()))
    raise UsageError(f"keys of type {type(key).__name__} are not supported", hint=_HOW)


def _is_valid(key: PublicKeyTypes, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, message)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(SHA256()))
        else:
            return False
    except InvalidSignature:
        return False
    return True


_HOW = "openssl genpkey -algorithm ed25519 -out glue.key && openssl pkey -in glue.key -pubout -out glue.pub"


def _private_key(path: Path) -> PrivateKeyTypes:
    serialization = _serialization()
    password = os.environ.get(PASSWORD)
    try:
        return serialization.load_pem_private_key(path.read_bytes(), password.encode() if password else None)  # type: ignore[no-any-return]
    except (OSError, ValueError, TypeError) as error:
        problem = (
            error.strerror
            if isinstance(error, OSError)
            else f"is not a private key in PEM format, or {PASSWORD} is not its password"
        )
        raise UsageError(f"{path}: {problem}", hint=_HOW) from None


def _public_key(path: Path) -> PublicKeyTypes:
    serialization = _serialization()
    try:
        return serialization.load_pem_public_key(path.read_bytes())  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else "is not a public key in PEM format"
        raise UsageError(f"{path}: {problem}", hint=_HOW) from None


def _serialization() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise MissingExtra("cryptography", "signing") from error
    return serialization


def _key_id(key: PublicKeyTypes) -> str:
    serialization = _serialization()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest()
