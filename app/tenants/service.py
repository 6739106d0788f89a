"""Tenants and their API keys: made, listed, changed, revoked, and recognised by their tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import Access, Database, new_id
from app.errors import NotFound, TenantSuspended, Unauthenticated
from app.tenants import tokens
from app.tenants.models import api_keys, tenants
from app.tenants.scopes import Scope

ACTIVE, SUSPENDED = "active", "suspended"


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant; `spend_limit` is US dollars a calendar month, None for no limit."""

    id: UUID
    name: str
    status: str
    spend_limit: Decimal | None
    created_at: datetime


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


_KEY = [api_keys.c[name] for name in ApiKey.__slots__]


async def create_tenant(connection: AsyncConnection, *, name: str, spend_limit: Decimal | None) -> Tenant:
    """Make a tenant."""
    statement = tenants.insert().values(id=new_id(), name=name, spend_limit=spend_limit)
    return Tenant(*(await connection.execute(statement.returning(tenants))).one())


async def get_tenant(connection: AsyncConnection, tenant_id: UUID) -> Tenant:
    """One tenant.

    Raises:
        NotFound: there is none, or none that this transaction may see.
    """
    row = (await connection.execute(sa.select(tenants).where(tenants.c.id == tenant_id))).one_or_none()
    if row is None:
        raise NotFound("There is no such tenant.")
    return Tenant(*row)


async def list_tenants(connection: AsyncConnection, *, limit: int, before: UUID | None) -> list[Tenant]:
    """All tenants, newest first, older than the tenant `before`."""
    query = sa.select(tenants)
    if before is not None:
        query = query.where(tenants.c.id < before)
    return [
        Tenant(*row) for row in await connection.execute(query.order_by(tenants.c.id.desc()).limit(limit))
    ]


async def change_tenant(connection: AsyncConnection, tenant_id: UUID, changes: dict[str, Any]) -> Tenant:
    """Change a tenant's name, status or spend limit.

    Raises:
        NotFound: there is no such tenant.
    """
    if changes:
        await connection.execute(tenants.update().where(tenants.c.id == tenant_id).values(**changes))
    return await get_tenant(connection, tenant_id)


async def create_api_key(
    connection: AsyncConnection,
    tenant_id: UUID,
    *,
    name: str,
    scopes: Iterable[Scope],
    expires_at: datetime | None,
) -> tuple[ApiKey, str]:
    """Make an API key; returns it and its token, which is nowhere kept and so shown but once."""
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
    return _api_key((await connection.execute(statement.returning(*_KEY))).one()), token


async def list_api_keys(
    connection: AsyncConnection, tenant_id: UUID, *, limit: int, before: UUID | None
) -> Sequence[ApiKey]:
    """The tenant's keys that are not revoked, newest first, older than the key `before`."""
    query = sa.select(*_KEY).where(api_keys.c.tenant_id == tenant_id, api_keys.c.revoked_at.is_(None))
    if before is not None:
        query = query.where(api_keys.c.id < before)
    rows = await connection.execute(query.order_by(api_keys.c.id.desc()).limit(limit))
    return [_api_key(row) for row in rows]


async def rotate_api_key(
    connection: AsyncConnection, tenant_id: UUID, key_id: UUID, overlap: timedelta
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
                api_keys.c.tenant_id == tenant_id,
                api_keys.c.id == key_id,
                api_keys.c.revoked_at.is_(None),
                sa.or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > sa.func.now()),
            )
            .values(expires_at=sa.func.least(sa.func.coalesce(api_keys.c.expires_at, ends), ends))
            .returning(*_KEY)
        )
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such API key.")
    old = _api_key(row)
    scopes = [Scope(scope) for scope in old.scopes]
    return await create_api_key(connection, tenant_id, name=old.name, scopes=scopes, expires_at=None)


async def revoke_api_key(connection: AsyncConnection, tenant_id: UUID, key_id: UUID) -> None:
    """End a key at once.

    Raises:
        NotFound: the tenant has no such key, or it is revoked already.
    """
    result = await connection.execute(
        api_keys.update()
        .where(api_keys.c.tenant_id == tenant_id, api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=sa.func.now())
    )
    if not result.rowcount:
        raise NotFound("There is no such API key.")


async def recognise(database: Database, token: str) -> tuple[Tenant, ApiKey]:
    """Whose token this is; the key's use is noted, to the minute.

    Raises:
        Unauthenticated: no key has this token now.
        TenantSuspended: its tenant is suspended.
    """
    if not tokens.well_formed(token):
        raise Unauthenticated("The token is unknown, expired or revoked.")
    hashed = tokens.token_hash(token)
    async with database.transaction(Access.bearer(hashed)) as connection:
        row = (
            await connection.execute(
                sa.select(
                    api_keys.c.tenant_id,
                    *_KEY,
                    sa.func.coalesce(
                        api_keys.c.last_used_at < sa.func.now() - sa.text("interval '1 minute'"), sa.true()
                    ).label("use_is_news"),
                ).where(
                    api_keys.c.token_hash == hashed,
                    api_keys.c.revoked_at.is_(None),
                    sa.or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > sa.func.now()),
                )
            )
        ).one_or_none()
        if row is None:
            raise Unauthenticated("The token is unknown, expired or revoked.")
        await connection.execute(
            sa.text("select set_config('rentgate.tenant_id', :id, true)"), {"id": str(row.tenant_id)}
        )
        tenant = await get_tenant(connection, row.tenant_id)
        if row.use_is_news:
            await connection.execute(
                api_keys.update()
                .where(api_keys.c.tenant_id == row.tenant_id, api_keys.c.id == row.id)
                .values(last_used_at=sa.func.now())
            )
    if tenant.status == SUSPENDED:
        raise TenantSuspended
    return tenant, _api_key(row)


def _api_key(row: sa.Row[*tuple[Any, ...]]) -> ApiKey:
    values = {name: row._mapping[name] for name in ApiKey.__slots__}
    return ApiKey(**{**values, "scopes": tuple(values["scopes"])})
