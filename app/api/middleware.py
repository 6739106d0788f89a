"""What every request passes: its id, its log line, its metrics, and the guard before its body."""

from __future__ import annotations

import json
import logging
import re
import time
from typing import Any

import structlog
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from app.api.auth import actor_of
from app.api.problems import problem_response
from app.api.repeats import Repeat, repeats_of
from app.api.throttle import quota_headers
from app.errors import InternalError, RentgateError, RequestTooLarge, UnsupportedMediaType
from app.telemetry import Metrics, traces
from app.telemetry.redaction import redacted
from app.telemetry.traces import Span

LARGEST_BODY = 64 * 1024
_PRINTABLE = re.compile(r"[\x20-\x7e]{1,128}")
_SAFE_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]

log = structlog.get_logger("app.access")


class RequestContext:
    """Gives a request its id, logs and counts it, and answers what nobody caught with a problem."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        repeats = repeats_of(scope)
        if repeats is not None and (found := repeats.find(scope)) is not None:
            await _answer_from_memory(*found, scope, send)
            return
        request_id = _request_id(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started, status = time.monotonic(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name.lower() for name, _ in message["headers"]}
                added = [
                    *_SAFE_HEADERS,
                    (b"x-request-id", request_id.encode()),
                    *quota_headers(state.get("quotas", ())),
                ]
                message["headers"] = [
                    *message["headers"],
                    *(header for header in added if header[0] not in given),
                ]
            await send(message)

        told = {"http.request.method": _known_method(scope["method"]), "rentgate.request_id": request_id}
        parent = _header(scope, traces.TRACEPARENT.encode())
        with traces.span("request", told, kind=traces.SERVER, parent=parent) as span:
            try:
                await self._app(scope, receive, noting)
            except Exception as crash:
                log.exception("request.crashed")
                span.fail(type(crash).__name__)
                if not status:
                    await problem_response(Request(scope), InternalError())(scope, receive, noting)
            finally:
                self._note(scope, status, time.monotonic() - started, span)
                structlog.contextvars.unbind_contextvars("request_id")

    def _note(self, scope: Scope, status: int, seconds: float, span: Span) -> None:
        route = getattr(scope.get("route"), "path_format", "unmatched")
        span.rename(f"{_known_method(scope['method'])} {route}")
        span.note({"http.route": route, "http.response.status_code": status or None})
        if status >= 500:
            span.fail(str(status))
        metrics: Metrics | None = getattr(scope["app"].state, "metrics", None) if "app" in scope else None
        if metrics is not None:
            metrics.request(_known_method(scope["method"]), route, status, seconds)
        log.info(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            seconds=round(seconds, 4),
            tenant_id=scope["state"].get("tenant_id"),
            actor=scope["state"].get("actor"),
        )


async def _answer_from_memory(repeat: Repeat, unchanged: bool, scope: Scope, send: Send) -> None:
    """Answer as the long way would, and leave the same traces."""
    started, request_id = time.monotonic(), _request_id(scope)
    status, count = (304, repeat.count_unchanged) if unchanged else (200, repeat.count)
    headers = [*repeat.headers(unchanged=unchanged), *_SAFE_HEADERS, (b"x-request-id", request_id.encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if unchanged else repeat.rendered.body})
    seconds = time.monotonic() - started
    count(seconds)
    if log.isEnabledFor(logging.INFO):
        holder = repeat.holder
        log.info(
            "request",
            request_id=request_id,
            method="GET",
            route=repeat.route,
            status=status,
            seconds=round(seconds, 4),
            tenant_id=None if holder.tenant is None else str(holder.tenant.id),
            actor=actor_of(holder.key),
        )


class BodyGuard:
    """Reads a body whole before the application sees it: at most 64 KiB, and JSON by its content type."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        try:
            body = await _read(scope, receive)
        except RentgateError as error:
            await problem_response(Request(scope), error)(scope, receive, send)
            return
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)


async def _read(scope: Scope, receive: Receive) -> bytes:
    headers = {name.lower(): value for name, value in scope["headers"]}
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length[:20]) > LARGEST_BODY:
        raise RequestTooLarge
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > LARGEST_BODY:
            raise RequestTooLarge
    media_type = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if body and media_type != b"application/json":
        raise UnsupportedMediaType
    return bytes(body)


def canonical(body: bytes) -> bytes:
    """A JSON body in one form, whatever its spaces and the order of its fields; other bytes as they are."""
    try:
        parsed: Any = json.loads(body)
        return json.dumps(parsed, sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return body


def _request_id(scope: Scope) -> str:
    """The caller's id for the request if it can be printed and holds no token, else a new one."""
    given = _header(scope, b"x-request-id")
    usable = given is not None and _PRINTABLE.fullmatch(given) and redacted(given) == given
    return given if given is not None and usable else str(uuid7())


def _header(scope: Scope, wanted: bytes) -> str | None:
    """The first header of a name."""
    for name, value in scope["headers"]:
        if name.lower() == wanted:
            text: str = value.decode("latin-1")
            return text
    return None


def _known_method(method: str) -> str:
    return method if method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS") else "other"
