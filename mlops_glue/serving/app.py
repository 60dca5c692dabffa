"""The pages beside /predict, and the OpenAPI document, which describes /predict from the model's own schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fastapi_offline  # noqa: F401 - Swagger UI's files, so that /docs needs no network
from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from mlops_glue import __version__
from mlops_glue.serving.contract import JSON_NAMES, LISTED, asked_rows, json_key

if TYPE_CHECKING:
    from mlops_glue.serving.worker import Worker

ROUTES = {"/", "/health", "/ready", "/metrics", "/model", "/docs", "/openapi.json"}
FILES = "/docs/files/"
OPEN = {"/", "/health", "/ready", "/docs", f"{FILES}swagger-ui-bundle.js", f"{FILES}swagger-ui.css"}  # without a key
# Every address is relative, so that the page works behind a proxy that takes a prefix away. A browser sends no key when
# it opens a page, so the page itself is open and asks for the key of what it shows.
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
MOST_SHARE = 1.000001  # float32 of a sum
PROBLEM = {
    "type": "object",
    "required": ["title", "status", "request_id"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "problems": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "row": {"type": ["integer", "null"], "description": "from 0"},
                    "field": {"type": ["string", "null"]},
                    "problem": {"type": "string"},
                },
            },
        },
    },
}
SAID = {
    400: "The body is not JSON",
    401: "An API key is needed",
    408: "The request did not arrive in time",
    413: "Too many bytes",
    415: "The body is not application/json",
    422: "Every problem of every row",
    503: "Too busy, or the online store does not answer; Retry-After says when to try again",
}


def application(worker: Worker) -> Any:
    """The FastAPI application of one worker."""
    model = worker.model
    secured = bool(worker.settings.keys)
    app = FastAPI(
        title=model.name,
        version=str(model.version),
        description=f"{model.schema.task}: predicts {model.schema.target}. Served by glue {__version__}.",
        openapi_url="/openapi.json",
        servers=[{"url": "."}],  # where this document is
        docs_url=None,
        redoc_url=None,
    )
    app.mount(FILES[:-1], StaticFiles(packages=[("fastapi_offline", "static")]))

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("docs")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = DOCS.replace("SECURED", str(secured).lower())
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})

    @app.get("/health", summary="The process answers")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready", summary="The model is loaded and warm; 503 when the server is about to end")
    async def ready(response: Response) -> dict[str, Any]:
        response.status_code = 503 if worker.draining else 200
        status = "ending" if worker.draining else "ready"
        return {"status": status, "model_version": worker.model.version, "degraded": worker.degraded()}

    @app.get("/metrics", summary="For Prometheus; of all workers", response_class=Response)
    async def metrics() -> Response:
        return Response(worker.metrics(), media_type="text/plain; version=0.0.4")

    @app.get("/model", summary="What is served")
    async def about() -> dict[str, Any]:
        return worker.about()

    made: dict[int, dict[str, Any]] = {}

    def document() -> dict[str, Any]:
        version = worker.model.version
        if version not in made:
            app.version, app.openapi_schema = str(version), None
            made.clear()
            made[version] = _with_predict(FastAPI.openapi(app), worker, secured)
        return made[version]

    app.openapi = document  # type: ignore[method-assign]
    return app


def _with_predict(document: dict[str, Any], worker: Worker, secured: bool) -> dict[str, Any]:
    """The document with /predict in it, as the model's schema has it."""
    model, settings = worker.model, worker.settings
    row = model.contract.json_schema
    answer = _answer(model.schema)
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= {
        "Row": row,
        "Rows": {
            "type": "object",
            "required": ["rows"],
            "additionalProperties": False,
            "properties": {
                "rows": {
                    "type": "array",
                    "items": {"$ref": "#/components/schemas/Row"},
                    "minItems": 1,
                    "maxItems": settings.max_rows,
                }
            },
        },
        "Answer": answer,
        "Problem": PROBLEM,
    }
    about = {"model_version": {"type": "integer"}, "request_id": {"type": "string"}}
    one = {**answer, "properties": {**answer["properties"], **about}, "required": [*answer["required"], *about]}
    many = {
        "type": "object",
        "required": ["predictions", *about],
        "properties": {"predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Answer"}}, **about},
    }
    examples = asked_rows(model.examples, model.features)
    forms = ["Rows", "Row"]
    shown = {
        "rows": {"summary": "rows of the training data", "value": {"rows": examples}},
        "row": {"summary": "one row", "value": examples[0]},
    }
    answers = [one, many]
    if model.features is None:
        order = model.contract.order
        schemas["Lists"] = _lists(order, row["properties"], settings.max_rows)
        forms.append("Lists")
        lists = [[example[name] for name in order] for example in examples]
        shown["lists"] = {"summary": f"values alone, in the order of the columns: {', '.join(order)}"}
        shown["lists"]["value"] = {LISTED: lists}
        answers.append(_plain(many, answer))
    body = {"schema": {"anyOf": [{"$ref": f"#/components/schemas/{form}"} for form in forms]}, "examples": shown}
    responses = {
        "200": {"description": "Predictions", "content": {"application/json": {"schema": {"anyOf": answers}}}},
        **{str(s): {"description": text, "content": problem} for s, text in SAID.items() if s != 401 or secured},
    }
    document["paths"]["/predict"] = {
        "post": {
            "summary": f"Predict {model.schema.target}",
            "operationId": "predict",
            "requestBody": {"required": True, "content": {"application/json": body}},
            "responses": responses,
        }
    }
    if secured:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for path, item in document["paths"].items():
            if path not in OPEN:
                next(iter(item.values()))["security"] = [{"key": []}]
                next(iter(item.values()))["responses"]["401"] = {"description": SAID[401], "content": problem}
    return document


def _lists(order: list[str], fields: dict[str, Any], max_rows: int) -> dict[str, Any]:
    """Rows without names, as clients of a plain FastAPI server send them; or one alone."""
    row = {"type": "array", "minItems": len(order), "maxItems": len(order), "prefixItems": [fields[n] for n in order]}
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": max_rows}
    return {
        "type": "object",
        "description": f"Each row has its values in this order: {', '.join(order)}",
        "required": [LISTED],
        "additionalProperties": False,
        "properties": {LISTED: {"anyOf": [rows, row]}},
    }


def _plain(many: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """The answer to rows without names: what a plain FastAPI server says of them, before the predictions."""
    prediction = answer["properties"]["prediction"]
    share = {"type": ["number", "null"], "minimum": 0, "maximum": MOST_SHARE}
    both = {
        "prediction": {"anyOf": [prediction, {"type": "array", "items": prediction}]},
        "probability": {
            "anyOf": [share, {"type": "array", "items": share}],
            "description": "of two classes that of the positive one, of more that of the predicted one",
        },
    }
    if "probabilities" not in answer["properties"]:
        del both["probability"]
    return {**many, "properties": {**both, **many["properties"]}, "required": ["prediction", *many["required"]]}


def _answer(schema: Any) -> dict[str, Any]:
    """Of one row."""
    if schema.labels is None:
        prediction: dict[str, Any] = {"type": ["number", "null"], "description": "null: the model gives no number"}
        return {"type": "object", "properties": {"prediction": prediction}, "required": ["prediction"]}
    said = "null: the model gives no number for such values"
    kinds = [JSON_NAMES[type(schema.labels[0])], "null"]
    prediction = {"type": kinds, "enum": [*schema.labels, None], "description": said}
    names = [json_key(one) for one in schema.labels]
    share = {"type": ["number", "null"], "minimum": 0, "maximum": MOST_SHARE}
    probabilities = {"type": "object", "properties": dict.fromkeys(names, share)}
    return {
        "type": "object",
        "properties": {"prediction": prediction, "probabilities": probabilities},
        "required": ["prediction"],
    }
