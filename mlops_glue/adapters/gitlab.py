"""GitLab CI: facts about the running job.

Variables: https://docs.gitlab.com/ci/variables/predefined_variables/. The user of a manual job is whoever started it.
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
    """Return who started this job, and its URL; empty outside GitLab CI."""
    return {key: os.environ[name] for key, name in VARIABLES.items() if os.environ.get(name)} if is_job() else {}
