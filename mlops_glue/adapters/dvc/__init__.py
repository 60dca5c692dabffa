"""DVC: initialise, track, reproduce, and move data to and from a remote."""

from mlops_glue.adapters.dvc.changes import differences
from mlops_glue.adapters.dvc.lock import REGENERATE_LOCK, REGENERATE_STAGES, locked
from mlops_glue.adapters.dvc.remote import default_remote, get, has_remote, name_remote, pull, push, send, try_remote
from mlops_glue.adapters.dvc.reproduce import in_process_supported, reproduce
from mlops_glue.adapters.dvc.restore import restore
from mlops_glue.adapters.dvc.status import changed_data, pending, status
from mlops_glue.adapters.dvc.track import about, add, init, keep, metrics, pointer

__all__ = [
    "REGENERATE_LOCK",
    "REGENERATE_STAGES",
    "about",
    "add",
    "changed_data",
    "default_remote",
    "differences",
    "get",
    "has_remote",
    "in_process_supported",
    "init",
    "keep",
    "locked",
    "metrics",
    "name_remote",
    "pending",
    "pointer",
    "pull",
    "push",
    "reproduce",
    "restore",
    "send",
    "status",
    "try_remote",
]
