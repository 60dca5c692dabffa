"""GitLab CI: what a job knows of itself.

Variables: https://docs.gitlab.com/ci/variables/predefined_variables/. Who starts a manual job is its user.
"""

from __future__ import annotations

import os

VARIABLES = {
    "ci": "GITLAB_USER_LOGIN",
    "run": "CI_PIPELINE_ID",
    "repository": "CI_PROJECT_PATH",
    "job": "CI_JOB_NAME",
    "url": "CI_JOB_URL",
}


def is_job() -> bool:
    """Does this process run in a job of GitLab CI?"""
    return os.environ.get("GITLAB_CI") == "true"


def job() -> dict[str, str]:
    """Who started this job, and where to read of it; empty outside GitLab CI."""
    return {key: os.environ[name] for key, name in VARIABLES.items() if os.environ.get(name)} if is_job() else {}
