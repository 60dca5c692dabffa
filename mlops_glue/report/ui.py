"""`glue ui`: the pages of a project as they are now, on this machine. It only reads, and runs nothing of the project's.

A page tells the browser what it was made from, its stamp; a few lines of script ask for the stamp of now, and for what
the run and the server are doing.
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

WATCHED = (  # files that what the pages show is made of
    *(layout.CONFIG, "dvc.yaml", "dvc.lock", layout.LAST_RUN, layout.DELIVERY, layout.LATEST, layout.TRACKING_DB),
    *(layout.PAGE, layout.COLUMNS, layout.AUDIT, ".git/HEAD", ".git/logs/HEAD", ".git/refs/glue/audit"),
)
OLDEST_S = 300.0  # of what a registry elsewhere is said to hold
SERVER_S = 0.5  # to wait for the server of the model
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
    """The pages of a project, each made when it is first asked for, and again when something has changed."""

    def __init__(self, root: Path, env: str | None) -> None:
        self._root, self._env = root, env
        self._lock = threading.Lock()
        self._source: site.Source | None = None
        self._stamp, self._pages, self._deps = "", dict[str, str](), list[str]()

    def page(self, name: str) -> str:
        """A page; where the project cannot be read, why and what to type."""
        with self._lock:
            if (now := self._now()) != self._stamp or name not in self._pages:
                try:
                    text = self._made(name, now)
                except Exception as error:  # a bug is told where it is looked at, and the server goes on
                    return self._problem(name, now, error)
                self._pages[name] = text
            return self._pages[name]

    def _made(self, name: str, now: str) -> str:
        if now != self._stamp or self._source is None:
            config = configs.load(self._root, self._env, tables=False, needs=configs.ANYTHING)
            self._deps = [dep["path"] for stage in dvc.locked(self._root).values() for dep in stage.get("deps", ())]
            evidently = "evidently" if (self._root / layout.PAGE).is_file() else None
            dvc_yaml.check_readable(self._root)
            now = self._now()  # what changes from here on is not in it
            self._source = site.Source(config, self._root, collect(config, self._root), evidently)
            self._pages, self._stamp = {}, now
        return site.page(name, self._source, self._links(name), now)

    def _problem(self, name: str, now: str, error: Exception) -> str:
        self._stamp = ""
        hint = (error.hint if isinstance(error, GlueError) else "glue doctor") or ""
        message = error.message if isinstance(error, GlueError) else f"this page cannot be made: {brief(error)}"
        frame = pages.Frame(self._root.name, links=self._links(name), live=now)
        title = pages.NAMES[name].lower()
        return pages.render("text.html", frame, title, {"problem": redacted(message), "hint": redacted(hint)})

    @staticmethod
    def _links(name: str) -> list[pages.Link]:
        return [pages.Link("./" if n == "index" else f"{n}.html", text, n == name) for n, text in pages.NAMES.items()]

    def _now(self) -> str:
        """The stamp of now. While a run is at work it stays: what lies there meanwhile is of two runs."""
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
        """The stamp of now, and a line for the run and for the server."""
        return {"stamp": self._now(), "lines": [redacted(line) for line in (*self._run(), *self._server())]}

    def _run(self) -> Iterator[str]:
        at = running(self._root)
        if at is not None:
            stage, since = at
            yield f"glue run is at {stage}, for {max(0, time.time() - since):.0f} s" if stage else "glue run has begun"

    def _server(self) -> Iterator[str]:
        """What the server of the project says of itself, if one answers."""
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
        said: Any = None
        with contextlib.suppress(ValueError):
            said = json.loads(text)
        model, version = (said.get("model"), said.get("model_version")) if isinstance(said, dict) else (None, None)
        if model is None:
            yield f"what answers at {url} is no glue serve"
        elif model != source.config.model_name:
            yield f"the server at {url} is not this project's: it serves {model} v{version}"
        elif status != 200:
            yield f"the server at {url} is not ready"
        else:
            yield "; ".join([f"the server at {url} serves v{version}", *said.get("degraded", [])])


def _asked(url: str) -> Any:
    """An answer, whatever its status."""
    try:
        return urllib.request.urlopen(url, timeout=SERVER_S)  # noqa: S310 - http alone
    except urllib.error.HTTPError as error:
        return error


def application(root: Path, env: str | None, *, local: bool) -> Any:
    """What answers. With `local` it takes requests to this machine's own names alone."""
    ui = Ui(root, env)
    script = (layout.templates() / "report" / "live.js").read_text(encoding="utf-8")

    def page(request: Request) -> Response:
        name = request.path_params.get("name", "index")
        if name not in pages.NAMES:
            return PlainTextResponse("There is no such page.", 404, HEADERS)
        return Response(ui.page(name), media_type="text/html", headers=HEADERS)

    def live(_: Request) -> Response:
        return Response(json.dumps(ui.live()), media_type="application/json", headers=HEADERS)

    def live_script(_: Request) -> Response:
        return Response(script, media_type="text/javascript", headers=HEADERS)

    def evidently(_: Request) -> Response:
        """Evidently's own page needs its scripts: they run as of another origin, and can ask nothing here."""
        path = root / layout.PAGE
        if not path.is_file():
            return PlainTextResponse("glue monitor has drawn no page.", 404, HEADERS)
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
    """Only names of this machine: a page elsewhere may have its own name point here, to read what is shown."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and local and not _is_named_here(dict(scope["headers"]).get(b"host", b"")):
            refusal = PlainTextResponse("This server answers to 127.0.0.1 and localhost.", 421)
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
    """Answer until a ^C."""
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
