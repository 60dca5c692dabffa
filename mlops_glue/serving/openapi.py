"""The part of the OpenAPI document that describes /predict, generated from the model's schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from mlops_glue.schema import Schema
from mlops_glue.serving.contract import without_looked_up
from mlops_glue.serving.diagnose import LISTED
from mlops_glue.serving.fields import JSON_NAMES, json_key
from mlops_glue.serving.model import MAX_EXPLAINED, Model
from mlops_glue.serving.responses import STATUSES, Problem

COMPONENTS = "#/components/schemas/{name}"
MAX_SHARE = 1.000001  # float32 of a sum
SHARE = {"type": ["number", "null"], "minimum": 0, "maximum": MAX_SHARE}
OPTIONAL = ("probabilities", "explanation")  # of an answer
ABOUT = {"model_version": {"type": "integer"}, "request_id": {"type": "string"}}

JsonSchema = dict[str, Any]


def problems(*statuses: int) -> dict[int | str, JsonSchema]:
    """Describe the answers that are not 200."""
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    return {status: {"description": STATUSES[status][1], "content": content} for status in statuses}


def operation(model: Model) -> JsonSchema:
    """Describe POST /predict."""
    rows = without_looked_up(model.examples, model.features)
    bodies, answers = ["Rows", "Row"], ["OneAnswer", "Answers"]
    examples = {
        "rows": {"summary": "rows from the training data", "value": {"rows": rows}},
        "row": {"summary": "one row", "value": rows[0]},
    }
    if model.features is None:
        order = model.contract.order
        bodies.append("Lists")
        answers.append("PlainAnswer")
        lists = [[row[name] for name in order] for row in rows]
        summary = f"values without names, in the order of the columns: {', '.join(order)}"
        examples["lists"] = {"summary": summary, "value": {LISTED: lists}}
    why = {"name": "explain", "in": "query", "schema": {"type": "boolean", "default": False}}
    why["description"] = f"true: add each column's contribution to the answer, for at most {MAX_EXPLAINED} rows"
    body = {"schema": {"anyOf": [_ref(name) for name in bodies]}, "examples": examples}
    answer = {"schema": {"anyOf": [_ref(name) for name in answers]}}
    return {
        "summary": f"Predict {model.schema.target}",
        "parameters": [why] if model.explains else [],
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {
            "200": {"description": "Predictions", "content": {"application/json": answer}},
            **{str(status): about for status, about in problems(400, 408, 413, 415, 422, 503).items()},
        },
    }


def schemas(model: Model, max_rows: int) -> JsonSchema:
    """Return the components that `operation` refers to."""
    row, answer = model.contract.json_schema, _answer(model.schema)
    if model.explains:
        number = {"type": ["number", "null"]}
        columns = dict.fromkeys([column.name for column in model.schema.columns], number)
        contributions = {"type": "object", "properties": columns}
        answer["explanation"] = _object({"base": number, "contributions": contributions})
    components = {
        "Row": row,
        "Rows": _object({"rows": _array(_ref("Row"), 1, max_rows)}) | {"additionalProperties": False},
        "Answer": _object(answer, optional=OPTIONAL),
        "OneAnswer": _object({**answer, **ABOUT}, optional=OPTIONAL),
        "Answers": _object({"predictions": _array(_ref("Answer")), **ABOUT}),
        **msgspec.json.schema_components([Problem], ref_template=COMPONENTS)[1],
    }
    if model.features is None:
        order = model.contract.order
        listed = _array({}, len(order), len(order)) | {"prefixItems": [row["properties"][name] for name in order]}
        lists = _object({LISTED: {"anyOf": [_array(listed, 1, max_rows), listed]}})
        description = f"Each row has its values in this order: {', '.join(order)}"
        components["Lists"] = lists | {"description": description, "additionalProperties": False}
        plain = {"prediction": answer["prediction"]} | ({"probability": SHARE} if "probabilities" in answer else {})
        either = {name: {"anyOf": [of_row, _array(of_row)]} for name, of_row in plain.items()}
        whole = {**either, "predictions": _array(_ref("Answer")), **ABOUT}
        components["PlainAnswer"] = _object(whole, optional=("probability",))
    return components


def _answer(schema: Schema) -> JsonSchema:
    """Describe the answer for one row."""
    labels = schema.labels
    if labels is None:
        return {"prediction": {"type": ["number", "null"], "description": "null: the model's answer is not a number"}}
    how = "null: the model's answer for such values is not a number"
    how = "; ".join(filter(None, [how, schema.decides]))
    label = {"type": [JSON_NAMES[type(labels[0])], "null"], "enum": [*labels, None], "description": how}
    shares = {"type": "object", "properties": dict.fromkeys([json_key(name) for name in labels], SHARE)}
    return {"prediction": label, "probabilities": shares}


def _object(properties: JsonSchema, *, optional: Sequence[str] = ()) -> JsonSchema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _array(items: JsonSchema, fewest: int = 0, most: int | None = None) -> JsonSchema:
    limits = {} if most is None else {"minItems": fewest, "maxItems": most}
    return {"type": "array", "items": items, **limits}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": COMPONENTS.format(name=name)}
