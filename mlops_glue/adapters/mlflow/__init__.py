"""MLflow: runs, model versions and aliases of one tracking server or database."""

from mlops_glue.adapters.mlflow.logged_model import ModelFiles, example_rows, load_sklearn
from mlops_glue.adapters.mlflow.registry import BUNDLE_DIGEST, ENTRY, FINGERPRINT, REGISTRY
from mlops_glue.adapters.mlflow.runs import Logged, RunContent
from mlops_glue.adapters.mlflow.store import Store

__all__ = [
    "BUNDLE_DIGEST",
    "ENTRY",
    "FINGERPRINT",
    "REGISTRY",
    "Logged",
    "ModelFiles",
    "RunContent",
    "Store",
    "example_rows",
    "load_sklearn",
]
