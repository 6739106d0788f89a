"""The OpenAPI document: made from the code, checked in, and compared with it by the tests."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI

from app.api.problems import Problem

DESCRIPTION = """\
A REST gateway in front of SMSPVA's number rental API. It rents phone numbers that receive SMS, and never buys
twice, loses a message, or shows a key.

Errors are `application/problem+json`; `code` is stable, and `type` is a page that explains it. POST and
DELETE take an `Idempotency-Key`: the same request again gets the same answer, and nothing happens twice.
"""

TAGS = [
    {"name": "catalog", "description": "What can be rented, and for how much."},
    {"name": "rentals", "description": "Numbers: rented, activated, restored."},
    {"name": "messages", "description": "The SMS that came."},
    {"name": "events", "description": "What happened to a rental."},
    {"name": "operations", "description": "Every paid or changing call, and how it ended."},
    {"name": "tenants", "description": "The platform's tenants; for its administrator."},
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
    return json.dumps(document(app), indent=2, ensure_ascii=False) + "\n"


HEADERS = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "The same request again under the same key gets the same answer; kept 30 days.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
    "TenantID": {
        "name": "X-Tenant-ID",
        "in": "header",
        "required": False,
        "description": "The tenant that the administrator acts for; an API key has its own.",
        "schema": {"type": "string", "format": "uuid"},
    },
}


def install(app: FastAPI) -> None:
    """Have the document name what FastAPI can't know: the problem's schema, and the headers we read."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(make())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(made: dict[str, Any]) -> dict[str, Any]:
    schemas = made["components"]["schemas"]
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    # FastAPI's own shape of validation errors; ours are problems.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    made["components"]["parameters"] = HEADERS
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
            if operation.get("security"):
                operation["parameters"] = [*operation.get("parameters", []), *_headers(method, path)]
    return made


def _headers(method: str, path: str) -> list[dict[str, str]]:
    names = []
    if method in ("post", "delete"):
        names.append("IdempotencyKey")
    if not path.startswith("/tenants"):
        names.append("TenantID")
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]
