"""The API process: `create_app()`, and what starts and stops with it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.routing import Route

from app import __version__
from app.api import ROUTERS, openapi, problems
from app.api.middleware import BodyGuard, RequestContext
from app.api.throttle import Throttle
from app.settings import Settings
from app.telemetry import configure_logging
from app.wiring import database_urls, services
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
    )
    app.state.throttle = Throttle(settings.rate_limit)
    for router in ROUTERS:
        app.include_router(router)
    problems.install(
        app, [route for router in ROUTERS for route in router.routes if isinstance(route, Route)]
    )
    openapi.install(app)
    app.add_middleware(BodyGuard)
    app.add_middleware(RequestContext)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI, settings: Settings, *, with_worker: bool) -> AsyncIterator[None]:
    async with database_urls(settings) as urls, services(settings, urls.app) as built:
        app.state.services = built
        app.state.metrics = built.metrics
        stop = asyncio.Event()
        worker = asyncio.ensure_future(Worker(built).run(stop)) if with_worker else None
        try:
            yield
        finally:
            stop.set()
            if worker is not None:
                await worker


def app_from_environment() -> FastAPI:
    """The application as a server process makes it: from environment variables alone."""
    settings = Settings()
    configure_logging(settings.log_level)
    return create_app(settings, with_worker=WORKER_SWITCH not in os.environ)
