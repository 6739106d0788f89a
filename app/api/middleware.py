"""What every request passes: its id, its log line, its metrics, and the guard before its body."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import structlog
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from app.api.problems import problem_response
from app.errors import InternalError, RentgateError, RequestTooLarge, UnsupportedMediaType
from app.telemetry import Metrics

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
                added = [*_SAFE_HEADERS, (b"x-request-id", request_id.encode())]
                message["headers"] = [
                    *message["headers"],
                    *(header for header in added if header[0] not in given),
                ]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:
            log.exception("request.crashed")
            if not status:
                await problem_response(Request(scope), InternalError())(scope, receive, noting)
        finally:
            self._note(scope, status, time.monotonic() - started)
            structlog.contextvars.unbind_contextvars("request_id")

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
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
    """The caller's id for the request if it can be printed, else a new one."""
    for name, value in scope["headers"]:
        if name.lower() == b"x-request-id":
            text: str = value.decode("latin-1")
            if _PRINTABLE.fullmatch(text):
                return text
    return str(uuid7())


def _known_method(method: str) -> str:
    return method if method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS") else "other"
