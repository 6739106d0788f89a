"""`/healthz`, `/readyz` and `/metrics`: for probes and scrapers, without a token."""

from __future__ import annotations

import asyncio
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from app.api.responses import answers
from app.api.wired import Wired
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
async def readyz(services: Wired) -> Readiness:
    """Whether the database answers, is migrated to what this release needs, and the vault opens."""
    found = await services.database.revision()
    if wrong := await asyncio.to_thread(mismatch, found):
        raise NotReady(wrong, retry_after=5)
    try:
        await services.keyring.check(services.database)
    except (VaultKeyUnusable, VaultUnavailable) as error:
        raise NotReady(f"The vault can't be opened. {error.detail}") from None
    return Readiness(migration=head())


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
async def metrics(services: Wired) -> Response:
    """This process's metrics in Prometheus' text format."""
    return Response(services.metrics.render(), media_type=services.metrics.content_type)
