"""The sandbox's HTTP face: the upstream's own paths, and `/control` beside them."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI, Request
from fastapi.responses import Response

from app.sandbox.control import control_router
from app.sandbox.faces import Activation, Face, Rent
from app.sandbox.faults import Fault, FaultKind
from app.sandbox.options import SandboxOptions
from app.sandbox.playing import played
from app.sandbox.state import Sandbox


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
        method, api_key = parameters.pop("method", ""), parameters.get("apikey", "")
        fault = sandbox.faults.take(method, api_key)
        sandbox.note_call(method, api_key, parameters, fault)
        return await _answer(sandbox, Rent(sandbox, method, parameters), fault, str(request.url))

    @app.get("/activation/{method}", include_in_schema=False)
    async def activation(method: str, request: Request) -> Response:
        if method not in ("balance", "userinfo"):
            return Response("Not Found", 404)
        api_key = request.headers.get("apikey", "")
        fault = sandbox.faults.take(method, api_key)
        sandbox.note_call(method, api_key, {}, fault)
        face = Activation(sandbox, method, api_key)
        return await _answer(sandbox, face, fault, f"{request.url} apikey: {api_key}")

    return app


async def _answer(sandbox: Sandbox, face: Face, fault: Fault | None, request: str) -> Response:
    if fault is None:
        return face.act()
    if fault.kind is FaultKind.LATE:
        # A task of its own: the call acts even when its caller has hung up.
        late = asyncio.ensure_future(_later(fault.seconds, face))
        sandbox.late.add(late)
        late.add_done_callback(sandbox.late.discard)
        return await asyncio.shield(late)
    return await played(face, fault, request)


async def _later(seconds: float, face: Face) -> Response:
    await asyncio.sleep(seconds)
    return face.act()
