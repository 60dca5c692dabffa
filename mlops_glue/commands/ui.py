"""`glue ui`: show the current pages of a project in a browser."""

from __future__ import annotations

import webbrowser

from mlops_glue import config as configs
from mlops_glue import console, layout
from mlops_glue.errors import MissingExtra, UsageError
from mlops_glue.serving.listening import asked_at, is_loopback, listen, url_of


def ui(*, host: str, port: int, insecure: bool = False, show: bool = False, env: str | None = None) -> int:
    """Serve the pages until ^C."""
    root = layout.find_root()
    configs.load(root, env, tables=False, needs=configs.ANYTHING)
    local = is_loopback(host)
    if not local and not insecure:
        raise UsageError(
            f"--host {host} is open to other machines, and glue ui requires no key",
            hint=f"from the other machine: ssh -L {port}:127.0.0.1:{port} HOST; or --insecure behind a login proxy",
        )
    try:
        from mlops_glue.report.ui import serve
    except ImportError as error:
        raise MissingExtra(str(error.name), "serving") from error
    with listen(host, port, "glue ui") as listening:
        url = asked_at(url_of(*listening.getsockname()[:2]))
        console.progress(f"{root.name} on {url} (read-only); press ^C to stop")
        if show and not webbrowser.open(url):
            console.progress("no browser found")
        serve(root, env, listening, local=local)
    return 0
