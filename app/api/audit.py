"""`/audit-logs`: who did what, from where, with what outcome."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from app.api.auth import Require
from app.api.fields import FilterText, Moment
from app.api.paging import Cursor, Limit, Page, after_id, next_cursor
from app.api.responses import problems
from app.api.wired import Wired
from app.audit import repository as audit
from app.audit.caller import Caller
from app.audit.repository import AuditFilter
from app.database import Access
from app.tenants.scopes import PlatformScope, Scope

router = APIRouter(tags=["audit"])

CURSOR = "audit"
Reader = Require(Scope.AUDIT_READ, platform=PlatformScope.AUDIT_READ, tenantless=True)


class AuditLog(BaseModel):
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


@router.get("/audit-logs", summary="Read the audit trail", responses=problems())
async def list_audit_logs(
    caller: Annotated[Caller, Depends(Reader)],
    services: Wired,
    actor: Annotated[FilterText | None, Query()] = None,
    action: Annotated[FilterText | None, Query()] = None,
    target: Annotated[FilterText | None, Query()] = None,
    outcome: Annotated[FilterText | None, Query()] = None,
    created_after: Annotated[Moment | None, Query()] = None,
    created_before: Annotated[Moment | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
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
    before = after_id(CURSOR, cursor)
    async with services.database.transaction(Access.tenant(caller.tenant_id)) as connection:
        rows = await audit.listed(connection, caller.tenant_id, wanted, limit=limit + 1, before=before)
    items = [
        AuditLog(
            id=row.id,
            created_at=row.created_at,
            actor=row.actor,
            action=row.action,
            target=row.target,
            outcome=row.outcome,
            address=row.address,
            request_id=row.request_id,
            details=row.details,
        )
        for row in rows[:limit]
    ]
    return AuditLogList(items=items, next_cursor=next_cursor(CURSOR, rows, limit, lambda row: row.id))
