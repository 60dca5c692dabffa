"""A bundle that the team's key has not signed, or that was altered since, is used by no command."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from mlops_glue import files
from tests.support.project import Glue, on_penguins


def keys(folder: Path, name: str) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / f"{name}.key").write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / f"{name}.pub").write_bytes(key.public_key().public_bytes(pem, public))


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, glue: Glue, empty_store: Path) -> Path:
    root = on_penguins(tmp_path_factory.mktemp("signed"), "p", glue, empty_store)
    keys(root.parent, "glue")
    keys(root.parent, "other")
    text = (root / "glue.yaml").read_text().replace("registry:\n", "registry:\n  sign: ../glue.key\n")
    (root / "glue.yaml").write_text(text.replace("serve:\n", "serve:\n  verify: ../glue.pub\n"))
    glue("run", cwd=root)
    return root


@pytest.fixture
def project(signed: Path, tmp_path: Path) -> Path:
    shutil.copytree(signed.parent, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy/p"


COMMANDS = (["predict", "data/raw/penguins.csv", "out.csv"], ["package", "served"], ["serve", "--check"])


def bundle(root: Path) -> Path:
    (found,) = (root / "mlartifacts").glob("*/artifacts/bundle")
    return found


def test_what_is_signed_is_used(project: Path, glue: Glue) -> None:
    for words in COMMANDS:
        glue(*words, cwd=project)
    envelope = json.loads((bundle(project).parent / "attestation/bundle.intoto.json").read_text())
    assert envelope["payloadType"] == "application/vnd.in-toto+json"


def refused(project: Path, glue: Glue, problem: str) -> None:
    for words in COMMANDS:
        done = glue(*words, cwd=project, code=None)
        assert done.returncode != 0 and problem in done.stderr, (words, done.stderr)
    assert not (project / "out.csv").exists() and not (project / "served").exists()


def test_one_byte_is_found_though_the_registry_was_changed_too(project: Path, glue: Glue) -> None:
    """Whoever can write to the registry can change the digest that it keeps."""
    example = bundle(project) / "input_example.json"
    example.write_bytes(example.read_bytes().replace(b"Torgersen", b"Torgersem", 1).replace(b"Biscoe", b"Biscof", 1))
    with sqlite3.connect(project / "mlflow.db") as store:
        words = "update model_version_tags set value = ? where key = 'glue.bundle_sha256'"
        store.execute(words, [files.digest(bundle(project))])
    store.close()
    refused(project, glue, "its bundle has changed since it was signed: input_example.json")


def test_without_a_signature_or_by_another_key(project: Path, glue: Glue) -> None:
    config = project / "glue.yaml"
    config.write_text(config.read_text().replace("../glue.pub", "../other.pub"))
    refused(project, glue, "p v1: it is not signed with other.pub, or was altered after signing")
    config.write_text(config.read_text().replace("../other.pub", "../nowhere.pub"))
    refused(project, glue, "nowhere.pub: No such file or directory")
    shutil.rmtree(bundle(project).parent / "attestation")
    refused(project, glue, "p v1: its bundle is not signed")


def test_an_older_version_is_signed_and_a_key_is_replaced(project: Path, glue: Glue) -> None:
    shutil.rmtree(bundle(project).parent / "attestation")
    refused(project, glue, "p v1: its bundle is not signed")
    said = glue("audit", cwd=project, code=1).stdout
    assert "p  " in said and "v1, sign by " in said and "the signature of v1 has since been removed" in said
    assert glue("sign", "1", cwd=project).stdout == "p v1 is signed\n"
    statement = bundle(project).parent / "attestation/bundle.intoto.json"
    first = statement.read_bytes()
    assert glue("sign", cwd=project).stdout == "p v1 is signed with this key already\n"
    assert statement.read_bytes() == first and glue("audit", cwd=project).returncode == 0
    config = project / "glue.yaml"
    config.write_text(config.read_text().replace("sign: ../glue.key", "sign: ../other.key"))
    assert glue("sign", "1", cwd=project).stdout == "p v1 is signed\n"
    for key in ("glue", "other"):  # the old key goes on being taken beside the new one
        config.write_text(config.read_text().replace("verify: ../glue.pub", f"verify: ../{key}.pub"))
        glue("serve", "--check", cwd=project)
    assert len(json.loads(statement.read_text())["signatures"]) == 2
    assert glue("audit", cwd=project).stdout.count(", sign by ") == 3
    made = json.loads(first) | {"signatures": [{"keyid": "x", "sig": "AAAA"}]}
    statement.write_text(json.dumps(made))  # of a key that nobody knows: it does not stay
    glue("sign", "1", cwd=project)
    assert len(json.loads(statement.read_text())["signatures"]) == 1
    glue("serve", "--check", cwd=project)
    statement.write_bytes(first)  # the older one, put back
    assert "the signature of v1 has since been replaced" in glue("audit", cwd=project, code=1).stdout


def test_what_is_not_signed(project: Path, glue: Glue) -> None:
    """A bundle that is not the one another key has signed, a version that is not there, no key."""
    example = bundle(project) / "input_example.json"
    whole = example.read_bytes()
    example.write_bytes(whole.replace(b"Torgersen", b"Torgersem", 1).replace(b"Biscoe", b"Biscof", 1))
    assert "p v1: its bundle is not the one that was registered" in glue("sign", cwd=project, code=4).stderr
    with sqlite3.connect(project / "mlflow.db") as store:
        words = "update model_version_tags set value = ? where key = 'glue.bundle_sha256'"
        store.execute(words, [files.digest(bundle(project))])
    store.close()
    said = glue("sign", cwd=project, code=4).stderr
    assert "p v1: its bundle has changed since it was signed: input_example.json" in said
    assert "p has no such version" in glue("sign", "9", cwd=project, code=2).stderr
    config = project / "glue.yaml"
    text = config.read_text()
    config.write_text(text.replace("  sign: ../glue.key\n", ""))
    assert "registry.sign is not set, so there is no key to sign with" in glue("sign", cwd=project, code=2).stderr
    config.write_text(text.replace("../glue.key", "${NO_KEY_HERE}"))
    assert "NO_KEY_HERE" in glue("sign", cwd=project, code=2).stderr
    config.write_text(text.replace("../glue.key", "../glue.pub"))
    assert "is not a private key in PEM format" in glue("sign", cwd=project, code=2).stderr
