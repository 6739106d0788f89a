"""The OpenAPI document: made from the code, checked in, and compared with it by the tests."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from app.api.components import shared
from app.api.examples import EXAMPLES
from app.api.guards import Require
from app.api.idempotency import NEVER_REMEMBERED, REPLAYED
from app.api.layout import laid_out
from app.api.problems import MEDIA_TYPE, Problem
from app.api.responses import PROBLEM, answers
from app.errors import InternalError

DESCRIPTION = """\
A REST gateway in front of SMSPVA's number rental API. It rents phone numbers that receive SMS, and never buys
twice, loses a message, or shows a key.

Errors are `application/problem+json`; `code` is stable, and `type` is a page that explains it. POST and
DELETE take an `Idempotency-Key`: the same request again gets the same answer, and nothing happens twice.
"""

TAGS = [
    {"name": "catalog", "description": "What can be rented, and for how much."},
    {"name": "rentals", "description": "Numbers: rented, activated, prolonged, restored, deleted."},
    {"name": "messages", "description": "The SMS that came."},
    {"name": "events", "description": "What happened to a rental."},
    {"name": "webhooks", "description": "Endpoints that are told of events."},
    {"name": "operations", "description": "Every paid or changing call, and how it ended."},
    {"name": "tenants", "description": "The platform's tenants; for its administrator."},
    {"name": "platform keys", "description": "Keys for the platform's own services, over all tenants."},
    {"name": "api keys", "description": "The keys that a tenant's services call with."},
    {"name": "upstream keys", "description": "A tenant's accounts at the upstream."},
    {"name": "audit", "description": "Who did what, from where, with what outcome."},
    {"name": "about", "description": "The caller, and this process."},
]


def document(app: FastAPI) -> dict[str, Any]:
    """The application's OpenAPI document."""
    return app.openapi()


def rendered(app: FastAPI) -> str:
    """The document as it is checked in."""
    return laid_out(document(app))


PARAMETERS = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "The same request again under the same key gets the same answer; kept 30 days.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x20-\x7e]+$"},
        "example": "order-4711",
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "required": False,
        "description": "The `ETag` of what the caller has already.",
        "schema": {"type": "string", "maxLength": 1000},
        "example": '"6f1ed002ab5595859014ebf0951522d9"',
    },
    "TenantID": {
        "name": "X-Tenant-ID",
        "in": "header",
        "required": False,
        "description": "The tenant that the administrator acts for; an API key has its own.",
        "schema": {"type": "string", "format": "uuid"},
    },
}
"""Headers that requests may carry and FastAPI doesn't know of."""

HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "The request's id, the caller's own if it gave one; it is in every log line too.",
        "schema": {"type": "string", "maxLength": 128},
        "example": "checkout-4711",
    },
    "RateLimit": {
        "description": "How many requests the key, and its tenant, have left (r), for so many seconds (t).",
        "schema": {"type": "string", "maxLength": 100},
        "example": '"key";r=99;t=60, "tenant";r=480;t=60',
    },
    "RateLimit-Policy": {
        "description": "How many requests (q) the key, and its tenant, have in so many seconds (w).",
        "schema": {"type": "string", "maxLength": 100},
        "example": '"key";q=100;w=60, "tenant";q=500;w=60',
    },
    "Retry-After": {
        "description": "Seconds after which a retry makes sense.",
        "schema": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 86400},
        "example": 5,
    },
    "Location": {
        "description": "Where what was made can be read.",
        "schema": {"type": "string", "format": "uri-reference", "maxLength": 300},
        "example": "/rentals/01938f6e-7b2a-7c11-9d52-5f0c8a1e4b10",
    },
    "Idempotency-Replayed": {
        "description": "`true` on an answer that was given before to the same Idempotency-Key.",
        "schema": {"type": "string", "enum": ["true"]},
        "example": "true",
    },
    "ETag": {
        "description": "What `If-None-Match` compares.",
        "schema": {"type": "string", "maxLength": 100},
        "example": '"6f1ed002ab5595859014ebf0951522d9"',
    },
    "WWW-Authenticate": {
        "description": "How to authenticate.",
        "schema": {"type": "string", "maxLength": 100},
        "example": 'Bearer realm="rentgate"',
    },
}
"""Headers that answers may carry."""

_SCHEMAS = "#/components/schemas/"
_NAMES = {"KindName": "OperationKind", "State": "OperationState", "Resolution": "OperationResolution"}

_PUBLIC_PROBLEM = {
    "description": "The request itself can't be read or is not allowed.",
    "content": {MEDIA_TYPE: {"schema": PROBLEM}},
}


def install(app: FastAPI, routes: Iterable[BaseRoute]) -> None:
    """Have the document of an application with these routes say what FastAPI can't know: the problem's
    schema, scopes, headers and examples.
    """
    make = app.openapi
    guards = {
        (route.path_format, method.lower()): _guard(route)
        for route in routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = shared(_untitled(_completed(make(), guards)))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _guard(route: APIRoute) -> Require | None:
    """What a route asks of its caller."""
    return next((d.call for d in route.dependant.dependencies if isinstance(d.call, Require)), None)


def _renamed(made: dict[str, Any]) -> dict[str, Any]:
    """The document with its schemas named as callers would name them; classes are named for our house."""
    schemas: dict[str, Any] = made["components"]["schemas"]
    names = {name: _NAMES.get(name, name.removesuffix("Out")) for name in schemas}

    def reference(old: str) -> str:
        name = old.removeprefix(_SCHEMAS)
        return _SCHEMAS + names.get(name, name)

    def walk(node: Any) -> Any:
        if isinstance(node, list):
            return [walk(item) for item in node]
        if not isinstance(node, dict):
            return node
        return {key: reference(value) if key == "$ref" else walk(value) for key, value in node.items()}

    made["components"]["schemas"] = {
        names[name]: {**schema, "title": names[name]} for name, schema in schemas.items()
    }
    renamed: dict[str, Any] = walk(made)
    return renamed


def _completed(made: dict[str, Any], guards: Mapping[tuple[str, str], Require | None]) -> dict[str, Any]:
    _complete_components(made["components"])
    made = _renamed(made)
    made["components"] |= {"parameters": PARAMETERS, "headers": HEADERS}
    made["info"]["contact"] = {"name": "The maintainers of rentgate"}
    made["servers"] = [{"url": "/", "description": "The gateway that serves this document."}]
    for operation in (item["post"] for item in made["webhooks"].values()):
        operation["security"] = []
        del operation["responses"]["422"]
        _add_example(operation["requestBody"]["content"]["application/json"])
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
            guard = guards[path, method]
            if guard is None:
                operation["security"] = []
                operation["responses"].setdefault("4XX", _PUBLIC_PROBLEM)
                operation["responses"] |= {str(s): a for s, a in answers(InternalError).items()}
            else:
                operation["x-required-scope"] = guard.wants
                operation["description"] += guard.explained
                operation["parameters"] = [
                    *operation.get("parameters", []),
                    *_parameters(method, path, operation["responses"]),
                ]
            _complete_answers(method, operation["responses"])
            for content in operation.get("requestBody", {}).get("content", {}).values():
                _add_example(content)
    return made


def _untitled(node: Any) -> Any:
    """The document without the titles that only say a field's name again, in other letters."""
    if isinstance(node, list):
        return [_untitled(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _untitled(value) for key, value in node.items()}
    named = list(node["properties"].items()) if isinstance(node.get("properties"), dict) else []
    if {"in", "name", "schema"} <= node.keys():
        named.append((node["name"], node["schema"]))
    for name, schema in named:
        if isinstance(schema, dict) and schema.get("title") == name.title().replace("_", " "):
            del schema["title"]
    return node


def _complete_components(components: dict[str, Any]) -> None:
    schemas = components["schemas"]
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    # FastAPI's own shape of validation errors; ours are problems.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)


def _complete_answers(method: str, answers: dict[str, Any]) -> None:
    for status, answer in answers.items():
        for content in answer.get("content", {}).values():
            _add_example(content)
        names = ["X-Request-ID"]
        if status[0] in "24":
            names += ["RateLimit", "RateLimit-Policy"]
        if method in ("post", "delete") and status not in map(str, NEVER_REMEMBERED):
            names.append(REPLAYED)
        if status == "201":
            names.append("Location")
        if "304" in answers and status in ("200", "304"):
            names.append("ETag")
        if status == "401":
            names.append("WWW-Authenticate")
        if status in ("409", "429", "503"):
            names.append("Retry-After")
        answer.setdefault("headers", {}).update(
            {name: {"$ref": f"#/components/headers/{name}"} for name in names}
        )


def _add_example(content: dict[str, Any]) -> None:
    """Show the example of a body's schema."""
    schema = content.get("schema", {})
    forms = [schema, *schema.get("anyOf", ())]
    names = [form["$ref"].rsplit("/", 1)[1] for form in forms if "$ref" in form]
    example = next((EXAMPLES[name] for name in names if name in EXAMPLES), None)
    if example is not None:
        content["example"] = example


def _parameters(method: str, path: str, answers: Container[str]) -> list[dict[str, str]]:
    names = []
    if "304" in answers:
        names.append("IfNoneMatch")
    if method in ("post", "delete"):
        names.append("IdempotencyKey")
    if not path.startswith(("/tenants", "/platform-keys")):
        names.append("TenantID")
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]
