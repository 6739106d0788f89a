"""Tenants and their API keys: made, listed, changed and revoked, each change with its audit row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit import repository as audit
from app.audit.caller import Caller
from app.database import new_id
from app.errors import NotFound
from app.tenants import tokens
from app.tenants.models import api_keys, tenants
from app.tenants.scopes import Scope

ACTIVE, SUSPENDED = "active", "suspended"


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant; `spend_limit` is US dollars a calendar month, None for no limit. `reference_prefixes`: under
    which its upstream keys may be references to secrets that are kept elsewhere.
    """

    id: UUID
    name: str
    status: str
    spend_limit: Decimal | None
    created_at: datetime
    reference_prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What may be known of an API key; never its token."""

    id: UUID
    name: str
    prefix: str
    scopes: tuple[str, ...]
    expires_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime


KEY = [api_keys.c[name] for name in ApiKey.__slots__]
"""The columns that make an ApiKey."""


TENANT = [tenants.c[name] for name in Tenant.__slots__]
"""The columns that make a Tenant."""


async def create_tenant(
    connection: AsyncConnection,
    caller: Caller,
    *,
    name: str,
    spend_limit: Decimal | None = None,
    reference_prefixes: Sequence[str] = (),
) -> Tenant:
    """Make a tenant."""
    statement = tenants.insert().values(
        id=new_id(), name=name, spend_limit=spend_limit, reference_prefixes=list(reference_prefixes)
    )
    made = _tenant_of((await connection.execute(statement.returning(*TENANT))).one())
    audit.record(connection, replace(caller, tenant_id=made.id), "tenant.create", target=made.id)
    return made


async def get_tenant(connection: AsyncConnection, tenant_id: UUID) -> Tenant:
    """One tenant.

    Raises:
        NotFound: there is none, or none that this transaction may see.
    """
    row = (await connection.execute(sa.select(*TENANT).where(tenants.c.id == tenant_id))).one_or_none()
    if row is None:
        raise NotFound("There is no such tenant.")
    return _tenant_of(row)


async def reference_prefixes(connection: AsyncConnection, tenant_id: UUID) -> Sequence[str]:
    """Under which prefixes a tenant may name references to secrets; none for a tenant that isn't there."""
    query = sa.select(tenants.c.reference_prefixes).where(tenants.c.id == tenant_id)
    return await connection.scalar(query) or ()


async def list_tenants(connection: AsyncConnection, *, limit: int, before: UUID | None) -> list[Tenant]:
    """All tenants, newest first, older than the tenant `before`."""
    query = sa.select(*TENANT)
    if before is not None:
        query = query.where(tenants.c.id < before)
    rows = await connection.execute(query.order_by(tenants.c.id.desc()).limit(limit))
    return [_tenant_of(row) for row in rows]


async def tenant_ids(connection: AsyncConnection) -> Sequence[UUID]:
    """The ids of all tenants, newest first."""
    return list(await connection.scalars(sa.select(tenants.c.id).order_by(tenants.c.id.desc())))


async def change_tenant(
    connection: AsyncConnection, caller: Caller, tenant_id: UUID, changes: dict[str, Any]
) -> Tenant:
    """Change a tenant's name, status, spend limit or reference prefixes.

    Raises:
        NotFound: there is no such tenant.
    """
    if changes:
        await connection.execute(tenants.update().where(tenants.c.id == tenant_id).values(**changes))
        details = {name: None if value is None else str(value) for name, value in changes.items()}
        within = replace(caller, tenant_id=tenant_id)
        audit.record(connection, within, "tenant.update", target=tenant_id, details=details)
    return await get_tenant(connection, tenant_id)


async def create_api_key(
    connection: AsyncConnection,
    caller: Caller,
    *,
    name: str,
    scopes: Iterable[Scope],
    expires_at: datetime | None,
) -> tuple[ApiKey, str]:
    """Make an API key; returns it and its token, which is nowhere kept and so shown but once."""
    key, token = await _add_key(connection, caller.tenant_id, name, scopes, expires_at)
    details = {"name": key.name, "scopes": list(key.scopes)}
    audit.record(connection, caller, "api_key.create", target=key.id, details=details)
    return key, token


async def _add_key(
    connection: AsyncConnection,
    tenant_id: UUID,
    name: str,
    scopes: Iterable[str],
    expires_at: datetime | None,
) -> tuple[ApiKey, str]:
    token = tokens.new_token()
    statement = api_keys.insert().values(
        tenant_id=tenant_id,
        id=new_id(),
        name=name,
        prefix=tokens.token_prefix(token),
        token_hash=tokens.token_hash(token),
        scopes=sorted(set(scopes)),
        expires_at=expires_at,
    )
    return api_key_of((await connection.execute(statement.returning(*KEY))).one()), token


async def list_api_keys(
    connection: AsyncConnection, tenant_id: UUID, *, limit: int, before: UUID | None
) -> Sequence[ApiKey]:
    """The tenant's keys that are not revoked, newest first, older than the key `before`."""
    query = sa.select(*KEY).where(api_keys.c.tenant_id == tenant_id, api_keys.c.revoked_at.is_(None))
    if before is not None:
        query = query.where(api_keys.c.id < before)
    rows = await connection.execute(query.order_by(api_keys.c.id.desc()).limit(limit))
    return [api_key_of(row) for row in rows]


async def rotate_api_key(
    connection: AsyncConnection, caller: Caller, key_id: UUID, overlap: timedelta
) -> tuple[ApiKey, str]:
    """Make a key like another one, which ends after the overlap; returns the new one and its token.

    Raises:
        NotFound: the tenant has no such key, or it has ended.
    """
    ends = sa.func.now() + overlap
    row = (
        await connection.execute(
            api_keys.update()
            .where(
                api_keys.c.tenant_id == caller.tenant_id,
                api_keys.c.id == key_id,
                api_keys.c.revoked_at.is_(None),
                sa.or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > sa.func.now()),
            )
            .values(expires_at=sa.func.least(sa.func.coalesce(api_keys.c.expires_at, ends), ends))
            .returning(*KEY)
        )
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such API key.")
    old = api_key_of(row)
    key, token = await _add_key(connection, caller.tenant_id, old.name, old.scopes, None)
    details = {"new_key": str(key.id), "overlap_seconds": int(overlap.total_seconds())}
    audit.record(connection, caller, "api_key.rotate", target=key_id, details=details)
    return key, token


async def revoke_api_key(connection: AsyncConnection, caller: Caller, key_id: UUID) -> None:
    """End a key at once.

    Raises:
        NotFound: the tenant has no such key, or it is revoked already.
    """
    result = await connection.execute(
        api_keys.update()
        .where(
            api_keys.c.tenant_id == caller.tenant_id,
            api_keys.c.id == key_id,
            api_keys.c.revoked_at.is_(None),
        )
        .values(revoked_at=sa.func.now())
    )
    if not result.rowcount:
        raise NotFound("There is no such API key.")
    audit.record(connection, caller, "api_key.revoke", target=key_id)


def _tenant_of(row: sa.Row[*tuple[Any, ...]]) -> Tenant:
    values = {name: row._mapping[name] for name in Tenant.__slots__}
    return Tenant(**{**values, "reference_prefixes": tuple(values["reference_prefixes"])})


def api_key_of(row: sa.Row[*tuple[Any, ...]]) -> ApiKey:
    """The key of a row that has KEY's columns."""
    values = {name: row._mapping[name] for name in ApiKey.__slots__}
    return ApiKey(**{**values, "scopes": tuple(values["scopes"])})
