"""The API process: `create_app()`, and what starts and stops with it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route

from app import __version__
from app.api import ROUTERS, WEBHOOK_EVENTS, openapi, problems
from app.api.middleware import BodyGuard, RequestContext
from app.api.rendered import RenderedAnswers
from app.api.repeats import Repeats
from app.api.throttle import Throttle
from app.api.windows import Windows
from app.migrate import database_urls
from app.settings import Settings
from app.telemetry import configure_logging, traces
from app.wiring import services
from app.worker import Worker

WORKER_SWITCH = "RENTGATE_INTERNAL_WITHOUT_WORKER"
"""Tells the processes that `rentgate serve --workers` starts whether they run the worker too."""


def create_app(settings: Settings, *, with_worker: bool = True) -> FastAPI:
    """The gateway as an ASGI application; with its background worker unless told otherwise."""
    app = FastAPI(
        title="rentgate",
        version=__version__,
        description=openapi.DESCRIPTION,
        openapi_tags=openapi.TAGS,
        lifespan=lambda started: _lifespan(started, settings, with_worker=with_worker),
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        separate_input_output_schemas=False,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        # The framework's own would tell paths, addresses and what exceptions say; ours is app/telemetry.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.streams = Counter()
    for router in ROUTERS:
        app.include_router(router)
    app.webhooks.include_router(WEBHOOK_EVENTS)
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, Route)]
    problems.install(app, routes)
    openapi.install(app, routes)
    app.add_middleware(BodyGuard)
    app.add_middleware(RequestContext)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI, settings: Settings, *, with_worker: bool) -> AsyncIterator[None]:
    async with (
        traces.exporting(),
        database_urls(settings) as urls,
        services(settings, urls.app) as built,
    ):
        app.state.services = built
        app.state.metrics = built.metrics
        app.state.rendered = RenderedAnswers(built.notifications)
        windows = Windows(settings.redis_url.get_secret_value() if settings.redis_url else None)
        built.metrics.watch_limits(lambda: windows.away)
        app.state.throttle = Throttle(windows, key=settings.rate_limit, tenant=settings.tenant_rate_limit)
        app.state.repeats = Repeats(built.recognition, app.state.throttle, built.metrics)
        gc.collect()
        gc.freeze()  # what is there by now stays; searching it for garbage would hold requests for many ms
        stop = asyncio.Event()
        worker = asyncio.ensure_future(Worker(built).run(stop)) if with_worker else None
        try:
            yield
        finally:
            stop.set()
            if worker is not None:
                await worker
            await windows.aclose()


def app_from_environment() -> FastAPI:
    """The application as a server process makes it: from environment variables alone."""
    settings = Settings()
    configure_logging(settings.log_level)
    app = create_app(settings, with_worker=WORKER_SWITCH not in os.environ)
    _close_waiting_on_signals(app)
    return app


def close_waiting(app: FastAPI) -> None:
    """Send home who waits for news, when the process is asked to end: the server waits for them to go."""
    if built := getattr(app.state, "services", None):
        built.notifications.close_waiting()


def _close_waiting_on_signals(app: FastAPI) -> None:
    """Do so before the server's own handler of the signal, which is in place already."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)

        def stop(received: int, frame: FrameType | None, before: Any = before) -> None:
            loop.call_soon_threadsafe(close_waiting, app)
            before(received, frame)

        signal.signal(number, stop)
