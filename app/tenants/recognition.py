"""Whose token a request carries. What was recognised is remembered for a moment, in this process only."""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.cache import BoundedCache
from app.database import PLATFORM, Access, Database
from app.errors import NotFound, TenantSuspended, Unauthenticated
from app.tenants import platform_keys, tokens
from app.tenants.issuer import Issuer, ServiceToken, may_be_jwt
from app.tenants.models import api_keys
from app.tenants.platform_keys import PlatformKey
from app.tenants.service import KEY, SUSPENDED, ApiKey, Tenant, api_key_of, get_tenant
from app.values import utc_now

REMEMBERED_SECONDS = 0.5
"""How long another process may take to see a revocation; this one sees its own at once."""

REMEMBERED_TOKENS = 10_000

UNKNOWN = "The token is unknown, expired or revoked."


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a token: a tenant's API key, a service within a tenant, or a platform key, which has none."""

    key: ApiKey | PlatformKey | ServiceToken
    tenant: Tenant | None = None


class Recognition:
    """Recognises tokens; of thousands of requests a second, few have to ask the database."""

    def __init__(self, database: Database, issuer: Issuer | None) -> None:
        """Recognise keys, and with an issuer its tokens too."""
        self._database = database
        self._issuer = issuer
        self._remembered: BoundedCache[bytes, tuple[Holder, float]] = BoundedCache(REMEMBERED_TOKENS)
        self._changes = 0

    def forget(self) -> None:
        """Ask the database again for everybody: a key or a tenant was changed."""
        self._remembered.clear()
        self._changes += 1

    def remembered(self, token: str) -> Holder | None:
        """Who holds a token, if that was recognised a moment ago and may be answered without asking."""
        holder, until = self._remembered.get(tokens.token_hash(token), (None, 0.0))
        if holder is None or time.monotonic() >= until or _has_expired(holder.key):
            return None
        return None if holder.tenant is not None and holder.tenant.status == SUSPENDED else holder

    async def holder_of(self, token: str) -> Holder:
        """Who holds a token; the key's use is noted, to the minute.

        Raises:
            Unauthenticated: no key has this token now, or it is none of the issuer's that is valid now.
            TenantSuspended: its tenant is suspended.
            NotReady: it may be the issuer's, whose keys could not be fetched so far.
        """
        if not tokens.well_formed(token) and not (self._issuer is not None and may_be_jwt(token)):
            raise Unauthenticated(UNKNOWN)
        hashed = tokens.token_hash(token)
        holder, until = self._remembered.get(hashed, (None, 0.0))
        if holder is None or time.monotonic() >= until or _has_expired(holder.key):
            asked_at, changes = time.monotonic(), self._changes
            holder = await self._look_up(token, hashed)
            if changes == self._changes:  # else the answer may be from before a change
                self._remembered[hashed] = (holder, asked_at + REMEMBERED_SECONDS)
        if holder.tenant is not None and holder.tenant.status == SUSPENDED:
            raise TenantSuspended
        return holder

    async def _look_up(self, token: str, hashed: bytes) -> Holder:
        if self._issuer is not None and may_be_jwt(token):
            return await self._service(await self._issuer.read(token))
        if tokens.is_platform_token(token):
            async with self._database.transaction(PLATFORM) as connection:
                found = await platform_keys.find(connection, hashed)
            if found is None:
                raise Unauthenticated(UNKNOWN)
            return Holder(found)
        async with self._database.transaction(Access.bearer(hashed)) as connection:
            return await _tenants_key(connection, hashed)

    async def _service(self, service: ServiceToken) -> Holder:
        try:
            async with self._database.transaction(Access.tenant(service.tenant_id)) as connection:
                return Holder(service, await get_tenant(connection, service.tenant_id))
        except NotFound:
            raise Unauthenticated("The tenant that the token names does not exist.") from None


def _has_expired(key: ApiKey | PlatformKey | ServiceToken) -> bool:
    return not isinstance(key, PlatformKey) and key.expires_at is not None and key.expires_at <= utc_now()


async def _tenants_key(connection: AsyncConnection, hashed: bytes) -> Holder:
    row = (
        await connection.execute(
            sa.select(
                api_keys.c.tenant_id,
                *KEY,
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
        raise Unauthenticated(UNKNOWN)
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
    return Holder(api_key_of(row), tenant)
