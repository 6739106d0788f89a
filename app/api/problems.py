"""The one place that turns errors into HTTP: `application/problem+json` by RFC 9457."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Route

from app.errors import (
    FieldError,
    InternalError,
    InvalidRequest,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    RentgateError,
    RequestTooLarge,
    Unauthenticated,
    UnsupportedMediaType,
)
from app.schemas import Money, View
from app.telemetry.redaction import redacted

MEDIA_TYPE = "application/problem+json"
MOST_FIELDS = 50
"""Wrong fields that one answer names."""


class FieldProblem(View):
    """A wrong field: where it stands, such as `body.period.count`, and what is wrong with it."""

    location: str
    message: str


class UpstreamSaid(View):
    """What the upstream said, cleaned of anything that looks like a key."""

    method: str
    message: str


class Problem(BaseModel):
    """An error, by RFC 9457. `code` is stable; `type` is a page that explains it."""

    type: str = Field(examples=["/problems/rental-not-found"])
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(examples=["rental_not_found"])
    request_id: str
    errors: list[FieldProblem] | None = None
    upstream: UpstreamSaid | None = None
    required: Money | None = None
    retry_after: int | None = Field(default=None, description="Seconds after which a retry makes sense.")
    operation_id: str | None = Field(default=None, description="The operation that tells the rest.")


def problem_path(code: str) -> str:
    """Where the gateway explains an error's code."""
    return f"/problems/{code.replace('_', '-')}"


def problem(error: RentgateError, *, instance: str, request_id: str) -> Problem:
    """An error as callers read it."""
    shown = error if error.code else InternalError()
    return Problem(
        type=problem_path(shown.code),
        title=shown.title,
        status=shown.status,
        detail=shown.detail,
        instance=instance,
        code=shown.code,
        request_id=request_id,
        errors=[FieldProblem.model_validate(field) for field in shown.fields] or None,
        upstream=shown.upstream and UpstreamSaid.model_validate(shown.upstream),
        required=Money.of(shown.required),
        retry_after=None if shown.retry_after is None else max(1, math.ceil(shown.retry_after)),
        operation_id=shown.operation_id,
    )


def problem_response(request: Request, error: RentgateError) -> Response:
    """The answer to a request that met an error."""
    path = quote(redacted(request.scope["path"]), safe="/:@!$&'()*+,;=~")
    body = problem(error, instance=path, request_id=request.state.request_id)
    headers: dict[str, str] = {}
    if body.retry_after is not None:
        headers["Retry-After"] = str(body.retry_after)
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="rentgate"'
    return JSONResponse(body.model_dump(exclude_none=True), body.status, headers, MEDIA_TYPE)


def understood(error: Exception) -> RentgateError | None:
    """What an exception means to the caller; None for one that only we can mend."""
    if isinstance(error, RentgateError):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _of_status(error)
    return None


def _invalid(error: RequestValidationError) -> RentgateError:
    found = error.errors()
    if any(wrong["type"] == "json_invalid" for wrong in found):
        return MalformedRequest("The body is not valid JSON.")
    fields = tuple(FieldError(_location(wrong), _message(wrong)) for wrong in found[:MOST_FIELDS])
    return InvalidRequest(fields=fields)


def _location(wrong: Mapping[str, Any]) -> str:
    parts = (redacted(str(part))[:100] for part in wrong["loc"] if not str(part).startswith("function-"))
    return _printable(".".join(parts))


def _message(wrong: Mapping[str, Any]) -> str:
    message = str(wrong["msg"]).removeprefix("Value error, ")
    return "This field is not known." if wrong["type"] == "extra_forbidden" else _printable(message)


def _printable(text: str) -> str:
    """A text that may repeat what the caller sent, without what can be neither shown nor kept."""
    return redacted("".join(char if char.isprintable() else "?" for char in text))


def _of_status(error: HTTPException) -> RentgateError:
    match error.status_code:
        case 404:
            return NotFound()
        case 405:
            return MethodNotAllowed()
        case 413:
            return RequestTooLarge()
        case 415:
            return UnsupportedMediaType()
        case status if status < 500:
            return MalformedRequest()
        case _:
            return InternalError()


def _methods_at(routes: Sequence[Route], path: str) -> list[str]:
    """The methods that some route takes at a path."""
    found: set[str] = set()
    for route in routes:
        if route.path_regex.match(path):
            found |= route.methods or set()
    return sorted(found) or ["GET"]  # the framework's own pages are no routes of ours


def install(app: FastAPI, routes: Sequence[Route]) -> None:
    """Have every error of the application, whose routes these are, answered as a problem."""

    async def answer(request: Request, error: Exception) -> Response:
        response = problem_response(request, understood(error) or InternalError())
        if response.status_code == 405:
            response.headers["Allow"] = ", ".join(_methods_at(routes, request.scope["path"]))
        return response

    for kind in (RentgateError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)
