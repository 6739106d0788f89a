"""The process's services, as routes ask for them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from app.wiring import Services


def services_of(request: Request) -> Services:
    """The services of the process that serves a request."""
    services: Services = request.app.state.services
    return services


async def _services(request: Request) -> Services:
    """Likewise, as a dependency: one that isn't async would be sent to a thread for each request."""
    return services_of(request)


Wired = Annotated[Services, Depends(_services)]
