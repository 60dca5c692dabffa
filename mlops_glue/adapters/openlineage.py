"""OpenLineage: events to a server, by its HTTP API, or to a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlops_glue.errors import ToolError

ANSWER_S = 5.0  # for one answer


def emit(made: list[dict[str, Any]], target: str, token: str | None = None) -> None:
    """Send events to a server of OpenLineage, or append them to a file, one JSON a line.

    Args:
        made: the events.
        target: http:// or https:// of the server, or a path.
        token: the server's key.

    Raises:
        ToolError: they are not taken.
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
