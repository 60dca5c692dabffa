"""GitHub Actions: facts about the running job, and who approved it.

Variables: https://docs.github.com/actions/reference/workflows-and-actions/variables. Reviews: "Get the review history
for a workflow run" at https://docs.github.com/rest/actions/workflow-runs, which needs `actions: read`.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote, urlsplit

from mlops_glue.errors import ToolError

ANSWER_S = 10.0
TOKEN = "GITHUB_TOKEN"  # noqa: S105 - the name of the variable
LOOPBACK = ("127.0.0.1", "::1", "localhost")
VARIABLES = {
    "ci": "GITHUB_ACTOR",
    "triggered_by": "GITHUB_TRIGGERING_ACTOR",  # differs if another person re-ran the job
    "run": "GITHUB_RUN_ID",
    "attempt": "GITHUB_RUN_ATTEMPT",
    "repository": "GITHUB_REPOSITORY",
    "job": "GITHUB_JOB",
}


def is_job() -> bool:
    """Does this process run in a job of GitHub Actions?"""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def job() -> dict[str, str]:
    """Return who started this job, and its URL; empty outside GitHub Actions."""
    found = {key: os.environ.get(name, "") for key, name in VARIABLES.items()} if is_job() else {}
    if found.get("run") and found["repository"]:
        found["url"] = f"{_server()}/{found['repository']}/actions/runs/{found['run']}"
    return {key: value for key, value in found.items() if value}


def reviewers(environment: str) -> list[str] | None:
    """Return the logins of those who approved this run for an environment; None if the job has no token.

    Raises:
        ToolError: GitHub does not answer.
    """
    token, found = os.environ.get(TOKEN), job()
    if not token or "url" not in found:
        return None
    api = os.environ.get("GITHUB_API_URL", "https://api.github.com")
    parts = urlsplit(api)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise ToolError("GITHUB_API_URL is not https, so the job's token is not sent there")
    reviews = _get(f"{api}/repos/{quote(found['repository'])}/actions/runs/{quote(found['run'])}/approvals", token)
    try:
        of = [
            review["user"]["login"]
            for review in reviews
            if review["state"] == "approved" and environment in [one["name"] for one in review["environments"]]
        ]
    except (KeyError, TypeError) as error:
        raise ToolError("GitHub's answer is not a list of reviews") from error
    return list(dict.fromkeys(map(str, of)))


def _get(url: str, token: str) -> Any:
    import requests

    def authorized(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"  # requests would prefer an entry of .netrc
        return request

    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    try:
        # following a redirect would send the token to another server
        answer = requests.get(url, headers=headers, auth=authorized, timeout=ANSWER_S, allow_redirects=False)
        if answer.status_code != 200:
            hint = "permissions: {actions: read}" if answer.status_code in (401, 403, 404) else None
            raise ToolError(f"GitHub answered {answer.status_code}", hint=hint)
        return answer.json()
    except (requests.RequestException, ValueError) as error:
        raise ToolError(f"GitHub did not answer ({type(error).__name__})") from None


def _server() -> str:
    return os.environ.get("GITHUB_SERVER_URL", "https://github.com")
