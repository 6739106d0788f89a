"""`/healthz`, `/readyz` and `/metrics`: for probes and scrapers, without a token."""

from __future__ import annotations

import asyncio
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.responses import answers
from app.api.wired import services_of
from app.errors import DatabaseUnavailable, NotReady, VaultUnavailable
from app.migrate import head, mismatch
from app.vault.cipher import VaultKeyUnusable

router = APIRouter(tags=["about"])


class Health(BaseModel):
    """This process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """This process can do its work."""

    status: Literal["ready"] = "ready"
    migration: str


@router.get("/healthz", summary="Does this process answer?")
async def healthz() -> Health:
    """Whether this process answers; nothing else is asked."""
    return Health()


@router.get(
    "/readyz",
    summary="Can this process work?",
    responses=answers(NotReady, DatabaseUnavailable),
)
async def readyz(request: Request) -> Readiness:
    """Whether the database answers, is migrated to what this release needs, and the vault opens."""
    services = services_of(request)
    found = await services.database.revision()
    if wrong := await asyncio.to_thread(mismatch, found):
        raise NotReady(wrong, retry_after=5)
    try:
        await services.keyring.check(services.database)
    except (VaultKeyUnusable, VaultUnavailable) as error:
        raise NotReady(f"The vault can't be opened. {error.detail}") from None
    return Readiness(migration=head())


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
async def metrics(request: Request) -> Response:
    """This process's metrics in Prometheus' text format."""
    found = services_of(request).metrics
    return Response(found.render(), media_type=found.content_type)
