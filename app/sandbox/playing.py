"""Faults as the caller sees them."""

from __future__ import annotations

import asyncio
import gzip
import math
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi.responses import Response

from app.sandbox.faces import Face
from app.sandbox.faults import Fault, FaultKind

PROXY_PAGE = "<html><head><title>Just a moment...</title></head><body>Checking your browser</body></html>"
MEBIBYTE = b" " * 2**20


class BrokenOff(Response):
    """An answer whose connection ends in its middle."""

    async def __call__(self, _scope: Any, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"4096")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"status', "more_body": True})


async def played(face: Face, fault: Fault, request: str) -> Response:
    """The answer of a call that goes wrong.

    Args:
        request: what came in, for the fault that repeats it.
    """
    if fault.kind is FaultKind.CHARGED_NOT_MADE:
        as_answered = fault.model_copy(update={"kind": fault.answered})
        return face.charge() or await _shown(face, as_answered, None, request)
    return await _shown(face, fault, face.act() if fault.when == "after" else None, request)


async def _shown(face: Face, fault: Fault, answer: Response | None, request: str) -> Response:
    match fault.kind:
        case FaultKind.HANG:
            await asyncio.sleep(fault.seconds)
            return answer or BrokenOff()
        case FaultKind.CUT_JSON:
            return Response(bytes((answer or face.nothing()).body)[:-1], media_type="application/json")
        case FaultKind.COMPRESSED:
            return await asyncio.to_thread(_packed, answer or face.nothing(), fault)
        case FaultKind.ECHO:
            return Response(f"<html><body>Can't serve {request}</body></html>", media_type="text/html")
        case FaultKind.RATE_LIMIT:
            return face.refused("TOO MANY REQUESTS")
        case kind if kind in _PAGES:
            return _PAGES[kind](fault)
        case _:
            return face.refused(fault.message)


_PAGES: Mapping[FaultKind, Callable[[Fault], Response]] = {
    FaultKind.DROP: lambda _fault: BrokenOff(),
    FaultKind.STATUS_500: lambda _fault: Response("Internal Server Error", 500),
    FaultKind.STATUS_429: lambda fault: Response(
        "Too Many Requests", 429, {"Retry-After": str(math.ceil(fault.seconds))}, "text/plain"
    ),
    FaultKind.PROXY_403: lambda _fault: Response(PROXY_PAGE, 403, media_type="text/html"),
    FaultKind.HTML: lambda _fault: Response(PROXY_PAGE, media_type="text/html"),
    FaultKind.EMPTY: lambda _fault: Response(b"", media_type="application/json"),
    FaultKind.BODY: lambda fault: Response(fault.body, fault.status, media_type=fault.content_type),
}


def _packed(answer: Response, fault: Fault) -> Response:
    """The answer with blanks at its end, packed some times; its blanks never stand in memory all at once."""
    packer = zlib.compressobj(wbits=31)
    parts = [packer.compress(bytes(answer.body))]
    parts += [packer.compress(MEBIBYTE) for _ in range(fault.mebibytes)]
    body = b"".join([*parts, packer.flush()])
    for _ in range(fault.layers - 1):
        body = gzip.compress(body)
    encoding = {"Content-Encoding": ", ".join(["gzip"] * fault.layers)}
    return Response(body, answer.status_code, encoding, answer.media_type)
