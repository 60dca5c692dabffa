"""Send signed messages to webhooks with requests, as standardwebhooks.com specifies."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

from mlops_glue.errors import ToolError

ANSWER_S = 5.0  # limit for one answer


def send(url: str, body: bytes, message: str, secret: str | None) -> None:
    """POST a message as JSON, signed if a secret is given; a user in the URL is sent as basic authentication.

    Raises:
        ToolError: the message was not accepted. The error never contains the URL, which may be secret.
    """
    import requests

    headers = {"Content-Type": "application/json", "User-Agent": "mlops-glue"}
    headers |= signature(secret, message, int(time.time()), body) if secret is not None else {}
    try:
        answer = requests.post(url, data=body, headers=headers, timeout=ANSWER_S, allow_redirects=False)
    except requests.RequestException as error:
        raise ToolError(f"did not answer ({type(error).__name__})") from None
    if answer.status_code >= 300:  # a redirected POST would become a GET without the body
        raise ToolError(f"answered {answer.status_code}")


def signature(secret: str, message: str, at: int, body: bytes) -> dict[str, str]:
    """Return the headers of a signed message.

    `webhook-signature` is `v1,` and the base64 form of HMAC-SHA256 over `id.timestamp.body`. A secret that begins with
    `whsec_` is the base64 form of the key; any other secret is the key itself.
    """
    is_base64 = secret.startswith("whsec_")
    key = base64.b64decode(secret.removeprefix("whsec_")) if is_base64 else secret.encode()
    digest = hmac.new(key, f"{message}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": message,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
