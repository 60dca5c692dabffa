"""The real `glue` in a real pseudo-terminal, and what stands on its screen at the end."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import termios
import threading
from dataclasses import dataclass


@dataclass
class Screen:
    """Lines as a person sees them, and what was sent."""

    columns: int
    raw: str = ""
    code: int = 0

    @property
    def lines(self) -> list[str]:
        """What is left once every return, erasure and colour has done its work."""
        lines, at = [""], 0
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+|\x1b", self.raw):
            if part == "\n":
                lines.append("")
                at = 0
            elif part == "\r":
                at = 0
            elif part in ("\x1b[K", "\x1b[0K"):
                lines[-1] = lines[-1][:at]
            elif part.startswith("\x1b"):
                assert part.endswith("m"), f"{part!r} moves the cursor"
            else:
                lines[-1] = lines[-1][:at].ljust(at) + part + lines[-1][at + len(part) :]
                at += len(part)
        return [line.rstrip() for line in lines]

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)


class Terminal:
    """A pseudo-terminal; `end` is the file descriptor that a program takes for its stdout and stderr."""

    def __init__(self, columns: int = 80) -> None:
        self.screen = Screen(columns)
        self.ours, self.end = os.openpty()
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._read: list[bytes] = []
        self._reader = threading.Thread(target=self._keep, daemon=True)
        self._reader.start()

    def _keep(self) -> None:
        try:
            while data := os.read(self.ours, 1 << 16):
                self._read.append(data)
        except OSError:  # every program has closed it
            return

    def sent(self) -> str:
        """What was sent so far."""
        return b"".join(self._read).decode().replace("\r\n", "\n")

    def close(self, code: int) -> Screen:
        """What it showed, once the program has ended."""
        os.close(self.end)
        self._reader.join(30)
        os.close(self.ours)
        self.screen.code = code
        self.screen.raw = self.sent()
        return self.screen
