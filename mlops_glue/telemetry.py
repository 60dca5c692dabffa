"""No library that glue composes sends home what is done with it, unless the user has set its switch."""

from __future__ import annotations

import os

OFF = {
    "DO_NOT_TRACK": "true",  # Evidently and others; MLflow takes `true` alone
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "ITERATIVE_DO_NOT_TRACK": "1",  # what DVC and Evidently are built on
    "FEAST_USAGE": "False",
    "GX_ANALYTICS_ENABLED": "false",
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime, from 1.32 on; read when it is imported
    "RAY_USAGE_STATS_ENABLED": "0",
    "SCARF_NO_ANALYTICS": "true",
}


def off() -> None:
    """Switch it off, in this process and those that it starts."""
    for name, value in OFF.items():
        os.environ.setdefault(name, value)
