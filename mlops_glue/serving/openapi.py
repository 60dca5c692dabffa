"""What the OpenAPI document says of /predict: made from the model's own schema."""

from __future__ import annotations

from typing import Any

from mlops_glue.serving.contract import without_looked_up
from mlops_glue.serving.diagnose import LISTED
from mlops_glue.serving.fields import JSON_NAMES, json_key
from mlops_glue.serving.model import Model

MOST_SHARE = 1.000001  # float32 of a sum
SHARE = {"type": ["number", "null"], "minimum": 0, "maximum": MOST_SHARE}
ABOUT = {"model_version": {"type": "integer"}, "request_id": {"type": "string"}}
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
DESCRIPTIONS = {
    400: "The body is not JSON",
    401: "An API key is needed",
    408: "The request did not arrive in time",
    413: "Too many bytes",
    415: "The body is not application/json",
    422: "Every problem of every row",
    503: "Too busy, or the online store does not answer; Retry-After says when to try again",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers that are no 200."""
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    return {status: {"description": DESCRIPTIONS[status], "content": content} for status in statuses}


def operation(model: Model) -> dict[str, Any]:
    """POST /predict."""
    rows = without_looked_up(model.examples, model.features)
    bodies, answers = ["Rows", "Row"], ["OneAnswer", "Answers"]
    examples = {
        "rows": {"summary": "rows of the training data", "value": {"rows": rows}},
        "row": {"summary": "one row", "value": rows[0]},
    }
    if model.features is None:
        order = model.contract.order
        bodies.append("Lists")
        answers.append("PlainAnswer")
        lists = [[row[name] for name in order] for row in rows]
        summary = f"values alone, in the order of the columns: {', '.join(order)}"
        examples["lists"] = {"summary": summary, "value": {LISTED: lists}}
    body = {"schema": {"anyOf": [_ref(name) for name in bodies]}, "examples": examples}
    answer = {"schema": {"anyOf": [_ref(name) for name in answers]}}
    statuses = [status for status in DESCRIPTIONS if status != 401]
    return {
        "summary": f"Predict {model.schema.target}",
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {
            "200": {"description": "Predictions", "content": {"application/json": answer}},
            **{str(status): about for status, about in problems(*statuses).items()},
        },
    }


def schemas(model: Model, max_rows: int) -> dict[str, Any]:
    """The components that `operation` names."""
    answer = _answer(model)
    rows = {"type": "array", "items": _ref("Row"), "minItems": 1, "maxItems": max_rows}
    one = {**answer, "properties": {**answer["properties"], **ABOUT}, "required": [*answer["required"], *ABOUT]}
    many = _object({"predictions": {"type": "array", "items": _ref("Answer")}, **ABOUT}, ["predictions", *ABOUT])
    components = {
        "Row": model.contract.json_schema,
        "Rows": _object({"rows": rows}, ["rows"]) | {"additionalProperties": False},
        "Answer": answer,
        "OneAnswer": one,
        "Answers": many,
        "Problem": PROBLEM,
    }
    if model.features is None:
        components |= {"Lists": _lists(model, max_rows), "PlainAnswer": _plain_answer(many, answer)}
    return components


def _lists(model: Model, max_rows: int) -> dict[str, Any]:
    """Rows without names, as clients of a plain FastAPI server send them; or one alone."""
    order, fields = model.contract.order, model.contract.json_schema["properties"]
    row = {
        "type": "array",
        "minItems": len(order),
        "maxItems": len(order),
        "prefixItems": [fields[name] for name in order],
    }
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": max_rows}
    description = f"Each row has its values in this order: {', '.join(order)}"
    body = _object({LISTED: {"anyOf": [rows, row]}}, [LISTED])
    return {**body, "description": description, "additionalProperties": False}


def _answer(model: Model) -> dict[str, Any]:
    """Of one row."""
    labels = model.schema.labels
    if labels is None:
        value = {"type": ["number", "null"], "description": "null: the model gives no number"}
        return _object({"prediction": value}, ["prediction"])
    label = {
        "type": [JSON_NAMES[type(labels[0])], "null"],
        "enum": [*labels, None],
        "description": "null: the model gives no number for such values",
    }
    shares = {"type": "object", "properties": dict.fromkeys([json_key(name) for name in labels], SHARE)}
    return _object({"prediction": label, "probabilities": shares}, ["prediction"])


def _plain_answer(many: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """The answer to rows without names: what a plain FastAPI server says of them, before the predictions."""
    prediction = answer["properties"]["prediction"]
    plain: dict[str, Any] = {"prediction": {"anyOf": [prediction, {"type": "array", "items": prediction}]}}
    if "probabilities" in answer["properties"]:
        plain["probability"] = {
            "anyOf": [SHARE, {"type": "array", "items": SHARE}],
            "description": "of two classes that of the positive one, of more that of the predicted one",
        }
    return _object({**plain, **many["properties"]}, ["prediction", *many["required"]])


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
