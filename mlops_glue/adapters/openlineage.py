"""Send OpenLineage events to a server's HTTP API, or append them to a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlops_glue.errors import ToolError

ANSWER_S = 5.0  # limit for one answer


def emit(made: list[dict[str, Any]], target: str, token: str | None = None) -> None:
    """Send events to an OpenLineage server, or append them to a file, one JSON object per line.

    Args:
        made: the events.
        target: the http:// or https:// URL of the server, or a path.
        token: the server's API key.

    Raises:
        ToolError: the server does not accept them.
    """
    if not target.startswith(("http://", "https://")):
        with Path(target).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(event, sort_keys=True) + "\n" for event in made)
        return
    import requests

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = target if target.rstrip("/").endswith("/lineage") else f"{target.rstrip('/')}/api/v1/lineage"
    try:
        for event in made:
            answer = requests.post(url, json=event, headers=headers, timeout=ANSWER_S, allow_redirects=False)
            if answer.status_code >= 300:
                raise ToolError(f"the OpenLineage server answered {answer.status_code}")
    except requests.RequestException as error:
        raise ToolError(f"the OpenLineage server did not answer ({type(error).__name__})") from None
