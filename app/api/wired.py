"""The process's services, as requests find them."""

from __future__ import annotations

from fastapi import Request

from app.wiring import Services


def services_of(request: Request) -> Services:
    """The services of the process that serves a request."""
    services: Services = request.app.state.services
    return services
