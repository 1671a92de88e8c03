"""The API's description: /openapi.json for programs, /docs for people.

Both are generated from the app's routes. A view's decorators say what it takes and gives; the rest
is its docstring.

    @native.post("/score")
    @takes({"prompt": TEXT, "top": parameter("logprobs")}, forms=True)
    def score(): ...
"""

import importlib.metadata
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec
from flask import Blueprint, Flask, Response, current_app, render_template, request
from werkzeug.routing import Rule

from app.engine import PARAMETERS, Params

from ..body.reply import reply
from ..errors import renderer, structs_of

Schema = dict[str, Any]
Schemas = dict[type, Schema]
View = TypeVar("View", bound=Callable[..., Any])

VERSION = importlib.metadata.version("continuo")

docs = Blueprint("docs", __name__)

TEXT: Schema = {"type": "string"}
TEXTS: Schema = {"type": "array", "items": TEXT, "minItems": 1}
IDS: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}


def takes(properties: Schema, required: tuple[str, ...] = (), forms: bool = False) -> Callable:
    """What a view's body may hold; `forms`: also as a form or plain text."""

    def describe(view: View) -> View:
        body: Schema = {"type": "object", "properties": properties}
        if required:
            body["required"] = list(required)
        vars(view).update(takes=body, forms=forms)
        return view

    return describe


def gives(*content_types: str) -> Callable:
    """The content types of a view that answers not only JSON."""

    def describe(view: View) -> View:
        vars(view).update(gives=content_types)
        return view

    return describe


def replies(*types: Any) -> Callable:
    """The structs that a view's JSON may hold."""

    def describe(view: View) -> View:
        vars(view).update(replies=types)
        return view

    return describe


# ---- the parameters, as JSON schemas


def _read_parameters() -> dict[str, Schema]:
    properties = msgspec.json.schema(Params)["$defs"]["Params"]["properties"]
    return {row.name: _bounded(properties[row.name], row) for row in PARAMETERS}


def _bounded(schema: Schema, row: Any) -> Schema:
    """Put the bounds at the number: the value itself, an item, or an entry."""
    whole = schema | {"description": row.help}
    numbers = [whole, whole.get("items", {}), whole.get("additionalProperties", {})]
    bounds = {"minimum": row.low, "maximum": row.high}
    for place in [*numbers, *whole.get("anyOf", [])]:
        if place.get("type") in ("integer", "number"):
            place.update({k: v for k, v in bounds.items() if v is not None})
    if row.max_items is not None:
        whole["maxProperties" if whole["type"] == "object" else "maxItems"] = row.max_items
    return whole


_PARAMETERS = _read_parameters()


def parameter(name: str, **changes: Any) -> Schema:
    """One of PARAMETERS as a schema, optionally with another default."""
    return _PARAMETERS[name] | changes


def parameters() -> dict[str, Schema]:
    return dict(_PARAMETERS)


# ---- the document


def document(app: Flask) -> Schema:
    paths: dict[str, Schema] = {}
    schemas, components = _read_replies(app)
    for rule, method, view in _routes(app):
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        paths.setdefault(path, {})[method.lower()] = _operation(rule, method, view, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Continuo", "version": VERSION, "description": "Continues text."},
        "servers": [{"url": request.root_path or "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
        "security": [{}, {"bearer": []}, {"header": []}],
    }


def _read_replies(app: Flask) -> tuple[Schemas, Schema]:
    """The schema of each reply and refusal of a view, and the parts they share."""
    views = app.view_functions.values()
    refusals = [t for rule in app.url_map.iter_rules() for t in structs_of(renderer(rule.rule))]
    given = [t for view in views for t in getattr(view, "replies", ())]
    types = list(dict.fromkeys([*refusals, *given]))
    template = "#/components/schemas/{name}"
    schemas, components = msgspec.json.schema_components(types, ref_template=template)
    return dict(zip(types, schemas, strict=True)), components


def _routes(app: Flask) -> Iterator[tuple[Rule, str, Callable]]:
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        for method in sorted(rule.methods or ()):
            if method not in ("HEAD", "OPTIONS"):
                yield rule, method, app.view_functions[rule.endpoint]


def _operation(rule: Rule, method: str, view: Callable, schemas: Schemas) -> Schema:
    head, _, rest = (inspect.getdoc(view) or rule.endpoint).partition("\n\n")
    # The view of static files is Flask's own, with a docstring not meant for our readers.
    summary = "A file of the page." if rule.endpoint == "static" else head.replace("\n", " ")
    operation: Schema = {
        "operationId": f"{rule.endpoint}.{method.lower()}.{_slug(rule.rule)}",
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": summary,
        "responses": _responses(rule, view, schemas),
    }
    if rest and rule.endpoint != "static":
        operation["description"] = rest
    if rule.arguments:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": TEXT}
            for name in sorted(rule.arguments)
        ]
    if method == "POST":
        operation["requestBody"] = _body(view)
    return operation


def _slug(rule: str) -> str:
    return re.sub(r"\W+", "_", rule).strip("_") or "root"


def _responses(rule: Rule, view: Callable, schemas: Schemas) -> Schema:
    kinds = getattr(view, "gives", ("application/json",))
    if rule.endpoint == "static":
        kinds = ("*/*",)
    refusal: Schema = {
        "application/json": {"schema": _any_of(structs_of(renderer(rule.rule)), schemas)},
        **{kind: {} for kind in kinds if kind == "text/html"},
    }
    failure = {"description": "Why it was refused, in one sentence.", "content": refusal}
    content: Schema = {kind: {} for kind in kinds}
    if types := getattr(view, "replies", ()):
        content["application/json"] = {"schema": _any_of(types, schemas)}
    return {
        "200": {"description": "As requested.", "content": content},
        "4XX": failure,
        "503": failure,
    }


def _any_of(types: tuple[Any, ...], schemas: Schemas) -> Schema:
    options = [schemas[type] for type in types]
    return options[0] if len(options) == 1 else {"anyOf": options}


def _body(view: Callable) -> Schema:
    schema = getattr(view, "takes", {"type": "object"})
    content: Schema = {"application/json": {"schema": schema}}
    if getattr(view, "forms", False):
        content["application/x-www-form-urlencoded"] = {"schema": schema}
        content["text/plain"] = {"schema": TEXT}
    return {"content": content, "required": "required" in schema}


# ---- the two views


@docs.get("/openapi.json")
@replies(dict)
def openapi() -> Response:
    """This API as an OpenAPI document."""
    return reply(document(current_app))


@docs.get("/docs")
@gives("text/html")
def readable() -> str:
    """This API as a page to read."""
    groups: dict[str, list[tuple[str, str, Schema]]] = {}
    for path, methods in document(current_app)["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append((method, path, operation))
    groups = {tag: groups[tag] for tag in sorted(groups, key=lambda tag: (tag != "native", tag))}
    return render_template("docs.html", groups=groups, parameters=PARAMETERS)
