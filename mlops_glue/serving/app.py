"""The pages beside /predict, and the OpenAPI document, which describes /predict from the model's own schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Response

from mlops_glue import __version__
from mlops_glue.serving.contract import JSON_NAMES, asked_rows, json_key

if TYPE_CHECKING:
    from mlops_glue.serving.worker import Worker

ROUTES = {"/health", "/ready", "/metrics", "/model", "/docs", "/redoc", "/openapi.json"}
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
    400: "The body is no JSON",
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
    )

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
    body = {
        "schema": {"anyOf": [{"$ref": "#/components/schemas/Rows"}, {"$ref": "#/components/schemas/Row"}]},
        "examples": {
            "rows": {"summary": "rows of the training data", "value": {"rows": examples}},
            "row": {"summary": "one row", "value": examples[0]},
        },
    }
    responses = {
        "200": {"description": "Predictions", "content": {"application/json": {"schema": {"anyOf": [one, many]}}}},
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
            if path not in ("/health", "/ready"):
                next(iter(item.values()))["security"] = [{"key": []}]
                next(iter(item.values()))["responses"]["401"] = {"description": SAID[401], "content": problem}
    return document


def _answer(schema: Any) -> dict[str, Any]:
    """Of one row."""
    if schema.labels is None:
        prediction: dict[str, Any] = {"type": ["number", "null"], "description": "null: the model gives no number"}
        return {"type": "object", "properties": {"prediction": prediction}, "required": ["prediction"]}
    said = "null: the model gives no number for such values"
    kinds = [JSON_NAMES[type(schema.labels[0])], "null"]
    prediction = {"type": kinds, "enum": [*schema.labels, None], "description": said}
    names = [json_key(one) for one in schema.labels]
    share = {"type": ["number", "null"], "minimum": 0, "maximum": 1.000001}
    probabilities = {"type": "object", "properties": dict.fromkeys(names, share)}
    return {
        "type": "object",
        "properties": {"prediction": prediction, "probabilities": probabilities},
        "required": ["prediction"],
    }
