"""API keys: which request may be answered."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence

from mlops_glue.serving.responses import Refused


class ApiKeys:
    """The hashes of the keys; the keys themselves stay in the environment.

    Args:
        references: `${NAME}` of each variable that holds a key. Space around a key is no part of it.
    """

    def __init__(self, references: Sequence[str]) -> None:
        self._hashes = [hashlib.sha256(os.environ[name[2:-1]].strip().encode()).digest() for name in references]

    def __bool__(self) -> bool:
        """Is a key needed?"""
        return bool(self._hashes)

    def check(self, header: bytes) -> None:
        """Check the header Authorization. Every key is compared, in constant time, whether or not one fits.

        Raises:
            Refused: no key fits.
        """
        scheme, _, secret = header.partition(b" ")
        given = hashlib.sha256(secret.strip()).digest()
        fits = [hmac.compare_digest(given, known) for known in self._hashes]
        if scheme.lower() != b"bearer" or not any(fits):
            raise Refused(401, "send the header Authorization: Bearer KEY", headers=[(b"www-authenticate", b"Bearer")])
