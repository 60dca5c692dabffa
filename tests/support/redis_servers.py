"""Servers of Redis for a test: on free ports, ended with it."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"


def free_port() -> int:
    """One that is free, as is the one 10,000 above it, where a node of a cluster listens too.

    Both lie below 32,768, where the system gives no port to a client.
    """
    while True:
        port = random.randrange(10_000, 22_000)
        with (
            contextlib.suppress(OSError),
            socket.create_server((HOST, port)),
            socket.create_server((HOST, port + 10_000)),
        ):
            return port


@contextlib.contextmanager
def redis_server(folder: Path, port: int, *options: str) -> Iterator[None]:
    """One that listens."""
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server")
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        ["redis-server", *options], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: is_listening(port) or process.poll() is not None)
        assert process.poll() is None, f"redis-server {options} ended with {process.returncode}"
        yield
    finally:
        process.kill()
        process.wait()


def plain(port: int) -> list[str]:
    return ["--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no"]


def is_listening(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection((HOST, port), 1).close()
        return True
    return False


def until(is_so: Callable[[], bool]) -> None:
    for _ in range(600):
        if is_so():
            return
        time.sleep(0.1)
    raise AssertionError("it does not become so")


def cli(port: int, *words: str) -> str:
    done = subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, text=True, check=True)
    return done.stdout


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of this machine's address, which signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "server.pem", folder / "server.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    kind = serialization.PrivateFormat.PKCS8
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()))
    return pem, secret
