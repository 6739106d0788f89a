"""The sandbox's HTTP face: `rent.php` as the upstream has it, and `/control` beside it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from app.sandbox import shapes
from app.sandbox.control import control_router
from app.sandbox.faults import Fault, FaultKind
from app.sandbox.methods import perform
from app.sandbox.options import SandboxOptions, Shape
from app.sandbox.state import Sandbox
from app.sandbox.world import Refusal

PROXY_PAGE = "<html><head><title>Just a moment...</title></head><body>Checking your browser</body></html>"


class BrokenOff(Response):
    """An answer whose connection ends in its middle."""

    async def __call__(self, _scope: Any, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"4096")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"status', "more_body": True})


def create_sandbox(options: SandboxOptions | None = None) -> FastAPI:
    """A sandbox as an ASGI application; all its state lives in it."""
    sandbox = Sandbox(options or SandboxOptions())
    app = FastAPI(
        title="SMSPVA rental sandbox", docs_url="/control/docs", openapi_url="/control/openapi.json"
    )
    app.state.sandbox = sandbox
    app.include_router(control_router(sandbox))

    @app.get("/rent.php", include_in_schema=False)
    @app.get("/api/rent.php", include_in_schema=False)
    async def rent(request: Request) -> Response:
        parameters = dict(request.query_params)
        method = parameters.pop("method", "")
        fault = sandbox.faults.take(method, parameters.get("apikey", ""))
        sandbox.note_call(method, parameters, fault)
        return await _answer(sandbox, method, parameters, fault, str(request.url))

    return app


async def _answer(
    sandbox: Sandbox, method: str, parameters: dict[str, str], fault: Fault | None, url: str
) -> Response:
    chance = sandbox.chance if sandbox.shape is Shape.SEEN else None

    def act() -> dict[str, Any]:
        try:
            data = perform(sandbox.world, method, parameters)
        except Refusal as refusal:
            return shapes.refused(str(refusal), chance)
        return shapes.documented(method, data) if chance is None else shapes.seen(method, data, chance)

    if fault is None:
        return _json(act(), chance)
    if fault.kind is FaultKind.LATE:
        # A task of its own: the call acts even when its caller has hung up.
        late = asyncio.ensure_future(_later(fault.seconds, act))
        sandbox.late.add(late)
        late.add_done_callback(sandbox.late.discard)
        return _json(await asyncio.shield(late), chance)
    answer = act() if fault.when == "after" else None
    if fault.kind is FaultKind.ECHO:
        return Response(f"<html><body>Can't serve {url}</body></html>", media_type="text/html")
    return await _faulty(fault, answer, chance)


async def _later(seconds: float, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    await asyncio.sleep(seconds)
    return act()


async def _faulty(
    fault: Fault,
    answer: dict[str, Any] | None,
    chance: random.Random | None,
) -> Response:
    match fault.kind:
        case FaultKind.HANG:
            await asyncio.sleep(fault.seconds)
            return BrokenOff() if answer is None else _json(answer, chance)
        case FaultKind.DROP:
            return BrokenOff()
        case FaultKind.STATUS_500:
            return Response("Internal Server Error", 500)
        case FaultKind.PROXY_403:
            return Response(PROXY_PAGE, 403, media_type="text/html")
        case FaultKind.HTML:
            return Response(PROXY_PAGE, media_type="text/html")
        case FaultKind.CUT_JSON:
            return Response(
                json.dumps(answer or {"status": 1, "data": []})[:-1], media_type="application/json"
            )
        case FaultKind.EMPTY:
            return Response(b"", media_type="application/json")
        case FaultKind.RATE_LIMIT:
            return _json(shapes.refused("TOO MANY REQUESTS", chance), chance)
        case _:
            return _json(shapes.refused(fault.message, chance), chance)


def _json(body: dict[str, Any], chance: random.Random | None) -> Response:
    """A body as the upstream sends it; in the wild, sometimes under the wrong content type."""
    media_type = "application/json" if chance is None else chance.choice(["application/json", "text/html"])
    return Response(json.dumps(body, ensure_ascii=False), media_type=media_type)
