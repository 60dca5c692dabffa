"""A trial of each bundle from the registry: it must score its example within a deadline, in a separate process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_glue import bundle, files, layout
from mlops_glue.errors import DataError

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store

TRIED = f"{layout.SERVED}/tried"  # a file for each digest
DEADLINE_S = 60.0


def brought(store: Store, root: Path, model: str, version: int, folder: Path) -> Path:
    """Fetch the bundle of a version into a folder of the caller, check it, and try it.

    Raises:
        DataError: the bundle has changed, must not be loaded, or does not answer.
        ToolError: the registry cannot be read.
    """
    found = store.download_bundle(model, version, folder)
    try:
        bundle.check(found).trust.check(store.trust)
    except DataError as error:
        raise DataError(f"{model} v{version}: {error.message}", hint=error.hint) from error
    answers(root, found, files.digest(found), model, version, trust=store.trust)
    return found


def answers(root: Path, folder: Path, digest: str, model: str, version: int, *, trust: Sequence[str] = ()) -> None:
    """Check that a bundle scores its example in time. This takes half a second, once for each digest.

    Raises:
        DataError: it does not.
    """
    if (root / TRIED / digest).is_file():
        return
    deadline = float(os.environ.get("GLUE_TRIAL_TIMEOUT_S", DEADLINE_S))
    words = [
        sys.executable,
        "-P",
        "-m",
        "mlops_glue.serving.trial",
        str(folder),
        digest,
        model,
        str(version),
        str(deadline),
        *trust,
    ]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == -signal.SIGALRM:
        problem = f"{model} v{version}: does not answer: its own example is not scored within {deadline:g} s"
        raise DataError(problem, hint="glue rollback, or set a longer limit: export GLUE_TRIAL_TIMEOUT_S=600")
    if done.returncode < 0:
        how = signal.Signals(-done.returncode).name
        raise DataError(f"{model} v{version}: scoring its own example ended the process ({how})")
    if done.returncode:
        errors = [line.removeprefix("error: ") for line in done.stderr.splitlines() if line.startswith("error: ")]
        raise DataError(f"{model} v{version}: {errors[0] if errors else 'its own example cannot be scored'}")
    known(root, digest)


def known(root: Path, digest: str) -> None:
    """Record that a bundle with this digest answers, so that it need not be tried again."""
    (root / layout.SERVED).mkdir(mode=0o700, parents=True, exist_ok=True)
    (root / TRIED).mkdir(exist_ok=True)
    (root / TRIED / digest).touch()
