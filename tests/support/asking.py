"""How the process of `warm.py` is asked. It imports little, so the `glue` that `command` makes starts at once."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def ask(
    place: str, words: Sequence[str], cwd: str, env: Mapping[str, str], streams: Sequence[int], program: str = "glue"
) -> int:
    """Run `glue`, or another program that `warm.py` knows, with stdin, stdout and stderr; its exit code."""
    answer, _ = begin(place, words, cwd, env, streams, program)
    with answer:
        return int(answer.recv(100))


def begin(
    place: str, words: Sequence[str], cwd: str, env: Mapping[str, str], streams: Sequence[int], program: str = "glue"
) -> tuple[socket.socket, int]:
    """Start such a program: where its exit code will come from, and its process id. Closed before, it is killed."""
    asked = {"program": program, "words": list(words), "cwd": cwd, "env": dict(env)}
    warm = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    warm.settimeout(600)
    warm.connect(place)
    socket.send_fds(warm, [json.dumps(asked).encode()], streams)
    return warm, int(warm.recv(100))


def command(file: Path, place: str) -> None:
    """Write a program that asks it for the program of that name: `glue` for who finds that in PATH, a shell or DVC."""
    lines = [
        f"#!{sys.executable} -S",
        f"import os, sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom asking import ask",
        f"sys.exit(ask({place!r}, sys.argv[1:], os.getcwd(), os.environ, [0, 1, 2], {file.name!r}) % 256)",
    ]
    file.write_text("\n".join(lines))
    file.chmod(0o755)
