"""`glue ui`: serve the current pages of a project on this machine. It only reads, and runs no code of the project.

Each page contains a stamp of the files it was built from. A short script polls the current stamp, and the status of
the run and of the model server.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from mlops_glue import config as configs
from mlops_glue import layout, pages
from mlops_glue.adapters import dvc
from mlops_glue.errors import GlueError, brief
from mlops_glue.pipeline import dvc_yaml
from mlops_glue.pipeline.session import running
from mlops_glue.report import site
from mlops_glue.report.project import collect
from mlops_glue.secrets import redacted
from mlops_glue.serving.listening import asked_at, is_loopback, url_of

WATCHED = (  # files that the pages are built from
    *(layout.CONFIG, "dvc.yaml", "dvc.lock", layout.LAST_RUN, layout.DELIVERY, layout.LATEST, layout.TRACKING_DB),
    *(layout.PAGE, layout.COLUMNS, layout.AUDIT, ".git/HEAD", ".git/logs/HEAD", ".git/refs/glue/audit"),
)
OLDEST_S = 300.0  # maximum age of data from a registry server
SERVER_S = 0.5  # timeout for the model server
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
EVIDENTLY = "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
EVIDENTLY += "style-src 'unsafe-inline'; img-src data: blob:; font-src data:"


class Ui:
    """The pages of a project, each rendered on its first request, and again after a change."""

    def __init__(self, root: Path, env: str | None) -> None:
        self._root, self._env = root, env
        self._lock = threading.Lock()
        self._source: site.Source | None = None
        self._stamp, self._pages, self._deps = "", dict[str, str](), list[str]()

    def page(self, name: str) -> str:
        """Return a page; if the project cannot be read, a page with the reason and the next command."""
        with self._lock:
            if (now := self._now()) != self._stamp or name not in self._pages:
                try:
                    text = self._rendered(name, now)
                except Exception as error:  # a bug is shown on the page, and the server continues
                    return self._problem(name, now, error)
                self._pages[name] = text
            return self._pages[name]

    def _rendered(self, name: str, now: str) -> str:
        if now != self._stamp or self._source is None:
            config = configs.load(self._root, self._env, tables=False, needs=configs.ANYTHING)
            self._deps = [dep["path"] for stage in dvc.locked(self._root).values() for dep in stage.get("deps", ())]
            evidently = "evidently" if (self._root / layout.PAGE).is_file() else None
            dvc_yaml.check_readable(self._root)
            now = self._now()  # later changes are not in this page
            self._source = site.Source(config, self._root, collect(config, self._root), evidently)
            self._pages, self._stamp = {}, now
        return site.page(name, self._source, self._links(name), now)

    def _problem(self, name: str, now: str, error: Exception) -> str:
        self._stamp = ""
        hint = (error.hint if isinstance(error, GlueError) else "glue doctor") or ""
        message = error.message if isinstance(error, GlueError) else f"this page cannot be rendered: {brief(error)}"
        frame = pages.Frame(self._root.name, links=self._links(name), live=now)
        title = pages.NAMES[name].lower()
        return pages.render("text.html", frame, title, {"problem": redacted(message), "hint": redacted(hint)})

    @staticmethod
    def _links(name: str) -> list[pages.Link]:
        return [pages.Link("./" if n == "index" else f"{n}.html", text, n == name) for n, text in pages.NAMES.items()]

    def _now(self) -> str:
        """Return the current stamp. It does not change during a run, when the files are from two runs."""
        if self._stamp and running(self._root) is not None:
            return self._stamp
        parts: list[Any] = []
        for name in (*WATCHED, *self._deps):
            with contextlib.suppress(OSError):
                at = (self._root / name).stat()
                parts.append((name, at.st_mtime_ns, at.st_size))
        if self._source is not None and self._source.config.tracking.uri is not None:
            parts.append(time.time() // OLDEST_S)
        return sha256(repr(parts).encode()).hexdigest()[:16]

    def live(self) -> dict[str, Any]:
        """Return the current stamp, and a line each for the run and for the model server."""
        return {"stamp": self._now(), "lines": [redacted(line) for line in (*self._run(), *self._server())]}

    def _run(self) -> Iterator[str]:
        at = running(self._root)
        if at is not None:
            stage, since = at
            elapsed = max(0, time.time() - since)
            yield f"glue run: stage {stage}, running for {elapsed:.0f} s" if stage else "glue run has started"

    def _server(self) -> Iterator[str]:
        """Yield the status of the project's model server."""
        source = self._source
        if source is None or not site.serves(source.config):
            return
        serve = source.config.serve
        url = asked_at(url_of(serve.host, serve.port))
        try:
            with _asked(f"{url}/ready") as reply:
                status, text = reply.status, reply.read(1 << 16)
        except (OSError, http.client.HTTPException):
            yield f"no server answers at {url}"
            return
        answer: Any = None
        with contextlib.suppress(ValueError):
            answer = json.loads(text)
        model, version = (
            (answer.get("model"), answer.get("model_version")) if isinstance(answer, dict) else (None, None)
        )
        if model is None:
            yield f"the server at {url} is not glue serve"
        elif model != source.config.model_name:
            yield f"the server at {url} belongs to another project: it serves {model} v{version}"
        elif status != 200:
            yield f"the server at {url} is not ready"
        else:
            yield "; ".join([f"the server at {url} serves v{version}", *answer.get("degraded", [])])


def _asked(url: str) -> Any:
    """Open a URL, and return the response whatever its status."""
    try:
        return urllib.request.urlopen(url, timeout=SERVER_S)  # noqa: S310 - http alone
    except urllib.error.HTTPError as error:
        return error


def application(root: Path, env: str | None, *, local: bool) -> Any:
    """Build the web application. With `local`, it accepts only requests to this machine's loopback names."""
    ui = Ui(root, env)
    script = (layout.templates() / "report" / "live.js").read_text(encoding="utf-8")

    def page(request: Request) -> Response:
        name = request.path_params.get("name", "index")
        if name not in pages.NAMES:
            return PlainTextResponse("Page not found.", 404, HEADERS)
        return Response(ui.page(name), media_type="text/html", headers=HEADERS)

    def live(_: Request) -> Response:
        return Response(json.dumps(ui.live()), media_type="application/json", headers=HEADERS)

    def live_script(_: Request) -> Response:
        return Response(script, media_type="text/javascript", headers=HEADERS)

    def evidently(_: Request) -> Response:
        """Serve Evidently's report, which needs scripts, in a sandbox without access to this server."""
        path = root / layout.PAGE
        if not path.is_file():
            return PlainTextResponse("glue monitor has not created a page.", 404, HEADERS)
        return FileResponse(path, media_type="text/html", headers={**HEADERS, "Content-Security-Policy": EVIDENTLY})

    routes = [
        Route("/", page),
        Route("/live.json", live),
        Route("/live.js", live_script),
        Route("/evidently", evidently),
        Route("/reports/{name}.html", lambda asked: RedirectResponse(f"/{asked.path_params['name']}.html")),
        Route("/{name}.html", page),
    ]
    return _checked(Starlette(routes=routes), local=local)


def _checked(app: Any, *, local: bool) -> Any:
    """Accept only loopback host names if `local`: another site could point its own name here to read the pages."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and local and not _is_named_here(dict(scope["headers"]).get(b"host", b"")):
            refusal = PlainTextResponse("This server accepts requests only to 127.0.0.1 and localhost.", 421)
            await refusal(scope, receive, send)
        else:
            await app(scope, receive, send)

    return answer


def _is_named_here(host: bytes) -> bool:
    try:
        return is_loopback(urlsplit(f"//{host.decode('latin-1')}").hostname or "")
    except ValueError:
        return False


def serve(root: Path, env: str | None, listening: Any, *, local: bool) -> None:
    """Serve until Ctrl-C."""
    config = uvicorn.Config(
        application(root, env, local=local),
        access_log=False,
        log_level="warning",
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])
