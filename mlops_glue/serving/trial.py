"""In a process of its own, which the system ends at a deadline: a bundle is loaded and its own example is scored.

What hangs there, takes all memory or crashes ends this process and no other, also where nobody waits for it any more.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from mlops_glue.errors import GlueError, brief, memory_error


def main(folder: str, digest: str, name: str, version: str, deadline_s: str) -> int:
    """Returns the exit code; what is wrong is said in one line."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, float(deadline_s))
    from mlops_glue.serving.model import Model

    try:
        Model(Path(folder), digest, name=name, version=int(version)).self_test()
    except Exception as error:
        told = memory_error(error) or error
        sys.stderr.write(f"error: {told.message if isinstance(told, GlueError) else brief(told)}\n")
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
