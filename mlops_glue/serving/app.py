"""Every page except /predict, with FastAPI, and an OpenAPI document that describes /predict from the model's schema."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import fastapi_offline  # noqa: F401 - Swagger UI's files, so that /docs needs no network
from fastapi import FastAPI, Response, Security
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles

from mlops_glue.config import Serve
from mlops_glue.serving import openapi
from mlops_glue.serving.model import Model
from mlops_glue.version import __version__

ROUTES = {"/", "/health", "/ready", "/metrics", "/model", "/docs", "/openapi.json"}
FILES = "/docs/files/"
OPEN = {"/", "/health", "/ready", "/docs", f"{FILES}swagger-ui-bundle.js", f"{FILES}swagger-ui.css"}  # without a key
# Every URL is relative, so that the page works behind a proxy that strips a prefix. A browser sends no key when it
# opens a page, so the page itself needs none and asks for the key itself. It is a constant here because a folder that
# glue package writes has no templates.
DOCS = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/files/swagger-ui.css">
<form hidden style="font: 1rem sans-serif; padding: 1rem">
<label>API key <input type="password" autocomplete="off" required></label> <button>Show</button>
</form>
<div id="ui"></div>
<script src="docs/files/swagger-ui-bundle.js"></script>
<script>
const form = document.querySelector("form"), secured = SECURED;
const show = key => SwaggerUIBundle({
  url: "openapi.json", dom_id: "#ui", deepLinking: true, validatorUrl: null,
  requestInterceptor: request => {
    if (key) request.headers.Authorization ??= `Bearer ${key}`;
    return request;
  },
});
form.hidden = !secured;
form.onsubmit = event => { event.preventDefault(); show(form.querySelector("input").value); };
if (!secured) show();
</script>
"""
POLICY = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"

About = dict[str, Any]


def application(
    model: Model,
    options: Serve,
    *,
    readiness: Callable[[], tuple[int, About]],
    render_metrics: Callable[[], bytes],
    describe: Callable[[], About],
) -> FastAPI:
    """Build the pages of one worker, which describe one model version.

    Args:
        model: the version to describe.
        options: the section `serve`.
        readiness: returns the status and body of /ready.
        render_metrics: returns Prometheus' text format.
        describe: returns the body of /model.
    """
    secured = bool(options.api_keys)
    app = FastAPI(
        title=model.name,
        version=str(model.version),
        description=f"{model.schema.task}: predicts {model.schema.target}. Served by glue {__version__}.",
        servers=[{"url": "."}],  # the folder of this document
        docs_url=None,
        redoc_url=None,
    )
    app.mount(FILES[:-1], StaticFiles(packages=[("fastapi_offline", "static")]))
    key = Security(HTTPBearer(scheme_name="key", auto_error=False))  # for the document: the worker checks the key
    with_key: dict[str, Any] = {"dependencies": [key], "responses": openapi.problems(401)} if secured else {}

    page, headers = DOCS.replace("SECURED", str(secured).lower()), {"Content-Security-Policy": POLICY}
    app.add_route("/", lambda _: RedirectResponse("docs"))
    app.add_route("/docs", lambda _: HTMLResponse(page, headers=headers))

    @app.get("/health", summary="The process is alive")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready", summary="The model is loaded and warm; 503 while the server shuts down")
    async def ready(response: Response) -> About:
        response.status_code, body = readiness()
        return body

    @app.get("/metrics", summary="Metrics of all workers, for Prometheus", response_class=Response, **with_key)
    async def metrics() -> Response:
        return Response(render_metrics(), media_type="text/plain; version=0.0.4")

    @app.get("/model", summary="The model that is served", **with_key)
    async def about() -> About:
        return describe()

    @app.post("/predict", operation_id="predict", openapi_extra=openapi.operation(model), **with_key)
    async def predict() -> None:
        raise AssertionError("the worker answers /predict before FastAPI sees it")

    app.openapi = partial(_document, app, model, options.max_rows)  # type: ignore[method-assign]
    return app


def _document(app: FastAPI, model: Model, max_rows: int) -> dict[str, Any]:
    made = FastAPI.openapi(app)
    made.setdefault("components", {})["schemas"] = openapi.schemas(model, max_rows)
    return made


def with_cors(application: Any, origins: list[str]) -> Any:
    """Wrap the application so that browser pages of these origins may call it."""
    if not origins:
        return application
    return CORSMiddleware(
        application,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "X-Request-Id"],
        expose_headers=["X-Request-Id"],
    )
