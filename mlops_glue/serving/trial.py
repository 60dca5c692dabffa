"""Tries a bundle: loads it and scores its example, in a process that the system kills at a deadline.

A bundle that hangs, exhausts memory or crashes harms no other process, even if the caller has stopped waiting.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from mlops_glue.errors import GlueError, brief, memory_error


def main(folder: str, digest: str, name: str, version: str, deadline_s: str, *trust: str) -> int:
    """Load the bundle and score its example; print a problem in one line, and return the exit code."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, float(deadline_s))
    from mlops_glue.serving.model import Model

    try:
        Model(Path(folder), digest, name=name, version=int(version), trust=trust).self_test()
    except Exception as error:
        cause = memory_error(error) or error
        sys.stderr.write(f"error: {cause.message if isinstance(cause, GlueError) else brief(cause)}\n")
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
