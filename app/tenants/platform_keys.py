"""Platform keys: for the platform's own services, over all tenants; made by the administrator."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit import repository as audit
from app.audit.caller import Caller
from app.database import new_id
from app.errors import NotFound
from app.tenants import tokens
from app.tenants.models import platform_keys
from app.tenants.scopes import PlatformScope


@dataclass(frozen=True, slots=True)
class PlatformKey:
    """What may be known of a platform key; never its token."""

    id: UUID
    name: str
    prefix: str
    scopes: tuple[str, ...]
    last_used_at: datetime | None
    created_at: datetime


_KEY = [platform_keys.c[name] for name in PlatformKey.__slots__]
_LIVING = platform_keys.c.revoked_at.is_(None)


async def create(
    connection: AsyncConnection, caller: Caller, *, name: str, scopes: Iterable[PlatformScope]
) -> tuple[PlatformKey, str]:
    """Make a key; returns it and its token, which is nowhere kept and so shown but once."""
    token = tokens.new_token(tokens.PLATFORM_MARK)
    statement = platform_keys.insert().values(
        id=new_id(),
        name=name,
        prefix=tokens.token_prefix(token),
        token_hash=tokens.token_hash(token),
        scopes=sorted(set(scopes)),
    )
    key = _key((await connection.execute(statement.returning(*_KEY))).one())
    audit.record(connection, caller, "platform_key.create", target=key.id)
    return key, token


async def listed(connection: AsyncConnection, *, limit: int, before: UUID | None) -> Sequence[PlatformKey]:
    """The keys that are not revoked, newest first, older than the key `before`."""
    query = sa.select(*_KEY).where(_LIVING)
    if before is not None:
        query = query.where(platform_keys.c.id < before)
    return [
        _key(row) for row in await connection.execute(query.order_by(platform_keys.c.id.desc()).limit(limit))
    ]


async def revoke(connection: AsyncConnection, caller: Caller, key_id: UUID) -> None:
    """End a key at once.

    Raises:
        NotFound: there is no such key, or it is revoked already.
    """
    result = await connection.execute(
        platform_keys.update().where(platform_keys.c.id == key_id, _LIVING).values(revoked_at=sa.func.now())
    )
    if not result.rowcount:
        raise NotFound("There is no such platform key.")
    audit.record(connection, caller, "platform_key.revoke", target=key_id)


async def find(connection: AsyncConnection, token_hash: bytes) -> PlatformKey | None:
    """The key whose token hashes to this; its use is noted, to the minute."""
    row = (
        await connection.execute(
            sa.select(
                *_KEY,
                sa.func.coalesce(
                    platform_keys.c.last_used_at < sa.func.now() - sa.text("interval '1 minute'"), sa.true()
                ).label("use_is_news"),
            ).where(platform_keys.c.token_hash == token_hash, _LIVING)
        )
    ).one_or_none()
    if row is None:
        return None
    if row.use_is_news:
        await connection.execute(
            platform_keys.update().where(platform_keys.c.id == row.id).values(last_used_at=sa.func.now())
        )
    return _key(row)


def _key(row: sa.Row[*tuple[Any, ...]]) -> PlatformKey:
    values = {name: row._mapping[name] for name in PlatformKey.__slots__}
    return PlatformKey(**{**values, "scopes": tuple(values["scopes"])})
