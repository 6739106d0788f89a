"""`/audit-logs`: who did what, from where, with what outcome."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from app.api.context import Context
from app.api.fields import FilterText, Moment
from app.api.guards import Require
from app.api.paging import Page, Paging, paged
from app.api.responses import GatewayRoute
from app.audit import repository as audit
from app.audit.repository import AuditFilter
from app.schemas import View
from app.tenants.scopes import PlatformScope, Scope

router = APIRouter(tags=["audit"], route_class=GatewayRoute)

Reader = Annotated[
    Context, Depends(Require(Scope.AUDIT_READ, platform=PlatformScope.AUDIT_READ, tenantless=True))
]


class AuditLog(View):
    """One row of the audit trail. `outcome` is `succeeded`, a state, or an error's code."""

    id: UUID
    created_at: datetime
    actor: str
    action: str
    target: str | None
    outcome: str
    address: str | None
    request_id: str | None
    details: dict[str, Any]


class AuditLogList(Page[AuditLog]):
    """A page of the audit trail."""


@router.get("/audit-logs", summary="Read the audit trail")
async def list_audit_logs(
    context: Reader,
    paging: Annotated[Paging, paged("audit")],
    actor: Annotated[FilterText | None, Query()] = None,
    action: Annotated[FilterText | None, Query()] = None,
    target: Annotated[FilterText | None, Query()] = None,
    outcome: Annotated[FilterText | None, Query()] = None,
    created_after: Annotated[Moment | None, Query()] = None,
    created_before: Annotated[Moment | None, Query()] = None,
) -> AuditLogList:
    """The tenant's audit trail, newest first."""
    wanted = AuditFilter(
        actor=actor,
        action=action,
        target=target,
        outcome=outcome,
        created_after=created_after,
        created_before=created_before,
    )
    async with context.reading() as connection:
        rows = await audit.listed(
            connection, context.tenant_id, wanted, limit=paging.fetch, before=paging.before
        )
    return paging.page(AuditLogList, rows)
