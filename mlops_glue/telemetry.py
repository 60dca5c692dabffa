"""Disable the telemetry of the libraries that glue uses, unless the user has set their variables."""

from __future__ import annotations

import os

OFF = {
    "DO_NOT_TRACK": "true",  # Evidently and others; MLflow accepts only `true`
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "ITERATIVE_DO_NOT_TRACK": "1",  # used by libraries of DVC and Evidently
    "FEAST_USAGE": "False",
    "GX_ANALYTICS_ENABLED": "false",
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime from 1.32 on, read at import
    "RAY_USAGE_STATS_ENABLED": "0",
    "SCARF_NO_ANALYTICS": "true",
}


def off() -> None:
    """Disable telemetry in this process and its child processes."""
    for name, value in OFF.items():
        os.environ.setdefault(name, value)
