"""Envelopes that any DSSE verifier takes; a byte that differs is found."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from mlops_glue.adapters import signing
from mlops_glue.errors import DataError, UsageError

STATEMENT = {"_type": "https://in-toto.io/Statement/v1", "subject": [{"name": "model.onnx"}], "é": "ü"}


def made(folder: Path, name: str, kind: str = "ed25519", password: str = "") -> tuple[Path, Path]:
    key = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    lock = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    private.write_bytes(key.private_bytes(pem, form, lock))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture(params=["ed25519", "ec"])
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    return made(tmp_path, "a", request.param)


def test_what_is_signed_is_what_comes_back(keys: tuple[Path, Path]) -> None:
    assert signing.verify(json.loads(json.dumps(signing.sign(STATEMENT, keys[0]))), keys[1]) == STATEMENT


def test_another_verifier_agrees(keys: tuple[Path, Path]) -> None:
    envelope = signing.sign(STATEMENT, keys[0])
    key_id = envelope["signatures"][0]["keyid"]
    key = SSlibKey.from_crypto(serialization.load_pem_public_key(keys[1].read_bytes()), key_id)
    assert Envelope.from_dict(json.loads(json.dumps(envelope))).verify([key], 1)
    envelope["payload"] = base64.b64encode(b"{}").decode()
    with pytest.raises(VerificationError):
        Envelope.from_dict(envelope).verify([key], 1)


def altered(envelope: dict[str, Any], **change: Any) -> dict[str, Any]:
    return {**envelope, **change}


def test_what_was_altered_or_signed_by_others_is_refused(keys: tuple[Path, Path], tmp_path: Path) -> None:
    envelope = signing.sign(STATEMENT, keys[0])
    body = bytearray(base64.b64decode(envelope["payload"]))
    body[-2] ^= 1
    others = made(tmp_path, "b")
    bad: list[tuple[Any, Path]] = [
        (altered(envelope, payload=base64.b64encode(bytes(body)).decode()), keys[1]),
        (altered(envelope, payloadType="text/plain"), keys[1]),
        (altered(envelope, signatures=[]), keys[1]),
        (altered(envelope, signatures=[{"sig": "%%%"}]), keys[1]),
        (altered(envelope, payload=None), keys[1]),
        ([], keys[1]),
        (envelope, others[1]),
    ]
    for found, key in bad:
        with pytest.raises(DataError):
            signing.verify(found, key)


def test_a_key_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.key").write_text("no key")
    for call in (lambda key: signing.sign(STATEMENT, key), lambda key: signing.verify({}, key)):
        with pytest.raises(UsageError, match=r"x\.key: is not a (private|public) key in PEM format"):
            call(tmp_path / "x.key")
        with pytest.raises(UsageError, match="No such file"):
            call(tmp_path / "y.key")


def test_a_key_with_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private, public = made(tmp_path, "a", password="secret")
    with pytest.raises(UsageError, match="GLUE_KEY_PASSWORD"):
        signing.sign(STATEMENT, private)
    monkeypatch.setenv("GLUE_KEY_PASSWORD", "secret")
    assert signing.verify(signing.sign(STATEMENT, private), public) == STATEMENT


def test_a_key_signs_beside_another(tmp_path: Path) -> None:
    first, second = made(tmp_path, "first"), made(tmp_path, "second", "ec")
    envelope = signing.sign(STATEMENT, first[0])
    assert signing.has_signed(envelope, first[0]) and not signing.has_signed(envelope, second[0])
    both = json.loads(json.dumps(signing.add(envelope, second[0])))
    assert signing.verify(both, first[1]) == signing.verify(both, second[1]) == signing.statement(both) == STATEMENT
    keys = [
        SSlibKey.from_crypto(serialization.load_pem_public_key(k[1].read_bytes()), s["keyid"])
        for k, s in zip((first, second), both["signatures"], strict=True)
    ]
    assert len(Envelope.from_dict(both).verify(keys, 2)) == 2  # another verifier agrees
    none: list[Any] = [
        {},
        [],
        None,
        "x",
        {**both, "payloadType": "text"},
        {**both, "payload": "é"},
        {**both, "signatures": 3},
    ]
    for damaged in none:
        for asked in (signing.statement, lambda e: signing.add(e, first[0]), lambda e: signing.has_signed(e, first[0])):
            with pytest.raises(DataError, match="not a DSSE envelope"):
                asked(damaged)
