"""One tenant's webhooks: stored, listed, changed, and their secrets opened only to sign."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import new_id
from app.errors import FieldError, InvalidRequest, NotFound
from app.events import queueing
from app.vault.keyring import Keyring
from app.vault.rotation import Turn
from app.webhooks.models import webhook_schedules, webhooks

ENABLED, DISABLED = "enabled", "disabled"
MOST = 20
"""Webhooks that a tenant may have."""

OVERLAP = timedelta(hours=24)
"""How long deliveries are signed with the former secret too, after it was rotated."""

SECRET_MARK, SECRET_BYTES = "whsec_", 32


@dataclass(frozen=True, slots=True)
class Webhook:
    """An endpoint; never its secret."""

    id: UUID
    url: str
    events: Sequence[str]
    description: str | None
    status: str
    created_at: datetime

    @property
    def shown(self) -> dict[str, Any]:
        """It as events and audit rows tell of it."""
        return {
            "id": str(self.id),
            "url": self.url,
            "events": list(self.events),
            "description": self.description,
            "status": self.status,
            "created_at": self.created_at.isoformat(),
        }


_KNOWN = [webhooks.c[name] for name in Webhook.__slots__]


async def add(
    connection: AsyncConnection,
    keyring: Keyring,
    tenant_id: UUID,
    *,
    url: str,
    events: Sequence[str],
    description: str | None,
) -> tuple[Webhook, str]:
    """Store an endpoint; returns it with its secret, which is not shown again.

    Raises:
        InvalidRequest: the tenant has as many as it may have.
    """
    count = sa.select(sa.func.count()).select_from(webhooks).where(webhooks.c.tenant_id == tenant_id)
    if (await connection.scalar(count) or 0) >= MOST:
        message = f"A tenant has at most {MOST} webhooks; delete one first."
        raise InvalidRequest(fields=(FieldError("body", message),))
    webhook_id, secret = new_id(), _new_secret()
    await connection.execute(
        webhooks.insert().values(
            tenant_id=tenant_id,
            id=webhook_id,
            url=url,
            events=list(events),
            description=description,
            secret=await keyring.seal(connection, tenant_id, _place(tenant_id, webhook_id, 1), secret),
        )
    )
    await connection.execute(webhook_schedules.insert().values(tenant_id=tenant_id, webhook_id=webhook_id))
    return await get(connection, tenant_id, webhook_id), secret


async def get(connection: AsyncConnection, tenant_id: UUID, webhook_id: UUID) -> Webhook:
    """One webhook.

    Raises:
        NotFound: the tenant has no such webhook.
    """
    row = (await connection.execute(sa.select(*_KNOWN).where(*_this(tenant_id, webhook_id)))).one_or_none()
    if row is None:
        raise NotFound("There is no such webhook.")
    return Webhook(*row)


async def listed(
    connection: AsyncConnection, tenant_id: UUID, *, limit: int, before: UUID | None
) -> Sequence[Webhook]:
    """The tenant's webhooks, newest first, older than the webhook `before`."""
    query = sa.select(*_KNOWN).where(webhooks.c.tenant_id == tenant_id)
    if before is not None:
        query = query.where(webhooks.c.id < before)
    rows = await connection.execute(query.order_by(webhooks.c.id.desc()).limit(limit))
    return [Webhook(*row) for row in rows]


async def change(
    connection: AsyncConnection, tenant_id: UUID, webhook_id: UUID, values: Mapping[str, Any]
) -> Webhook:
    """Change what is given of a webhook.

    Raises:
        NotFound: the tenant has no such webhook.
    """
    if values:
        await connection.execute(webhooks.update().where(*_this(tenant_id, webhook_id)).values(**values))
    if values.get("status") == ENABLED:
        queueing.make_due(connection, tenant_id, webhook_id)
    return await get(connection, tenant_id, webhook_id)


async def disable(connection: AsyncConnection, tenant_id: UUID, webhook_id: UUID) -> Webhook | None:
    """Send nothing more to an endpoint; None if it was so already, or is gone."""
    done = await connection.execute(
        webhooks.update()
        .where(*_this(tenant_id, webhook_id), webhooks.c.status == ENABLED)
        .values(status=DISABLED)
    )
    return await get(connection, tenant_id, webhook_id) if done.rowcount else None


async def delete(connection: AsyncConnection, tenant_id: UUID, webhook_id: UUID) -> None:
    """Forget a webhook, its secrets and its deliveries.

    Raises:
        NotFound: the tenant has no such webhook.
    """
    done = await connection.execute(webhooks.delete().where(*_this(tenant_id, webhook_id)))
    if not done.rowcount:
        raise NotFound("There is no such webhook.")
    schedule = webhook_schedules.c.tenant_id == tenant_id, webhook_schedules.c.webhook_id == webhook_id
    await connection.execute(webhook_schedules.delete().where(*schedule))


async def rotate_secret(
    connection: AsyncConnection, keyring: Keyring, tenant_id: UUID, webhook_id: UUID
) -> tuple[Webhook, str]:
    """Give a webhook another secret; the former one signs too for a day.

    Raises:
        NotFound: the tenant has no such webhook.
    """
    await keyring.hold(connection, tenant_id)  # before the row, as a rotation of the keyset takes them
    query = sa.select(webhooks.c.secret, webhooks.c.secret_version).where(*_this(tenant_id, webhook_id))
    row = (await connection.execute(query.with_for_update())).one_or_none()
    if row is None:
        raise NotFound("There is no such webhook.")
    secret, version = _new_secret(), row.secret_version + 1
    place = _place(tenant_id, webhook_id, version)
    values = {
        "secret": await keyring.seal(connection, tenant_id, place, secret),
        "secret_version": version,
        "old_secret": row.secret,
        "old_secret_until": sa.func.now() + OVERLAP,
    }
    return await change(connection, tenant_id, webhook_id, values), secret


async def signing_secrets(
    connection: AsyncConnection, keyring: Keyring, tenant_id: UUID, webhook_id: UUID
) -> list[str]:
    """The secrets to sign with now, the newest first; none if the webhook is gone.

    Raises:
        VaultKeyUnusable: they are not of this vault, tenant and place.
        VaultUnavailable: the vault key is another service's, and the tenant was not made ready.
    """
    keyset = await keyring.hold(connection, tenant_id)
    query = sa.select(
        webhooks.c.secret,
        webhooks.c.secret_version,
        webhooks.c.old_secret,
        (webhooks.c.old_secret_until > sa.func.now()).label("overlaps"),
    ).where(*_this(tenant_id, webhook_id))
    row = (await connection.execute(query)).one_or_none()
    if row is None or keyset is None:
        return []
    sealed = [(row.secret, row.secret_version)]
    if row.old_secret is not None and row.overlaps:
        sealed.append((row.old_secret, row.secret_version - 1))
    return [
        keyring.unseal(keyset, tenant_id, _place(tenant_id, webhook_id, version), ciphertext)
        for ciphertext, version in sealed
    ]


async def seal_anew(connection: AsyncConnection, tenant_id: UUID, turn: Turn) -> None:
    """Have the tenant's webhook secrets sealed by another keyset, each for the place that it has."""
    query = sa.select(
        webhooks.c.id, webhooks.c.secret, webhooks.c.secret_version, webhooks.c.old_secret
    ).where(webhooks.c.tenant_id == tenant_id)
    for row in (await connection.execute(query.order_by(webhooks.c.id).with_for_update())).all():
        values = {"secret": turn(_place(tenant_id, row.id, row.secret_version), row.secret)}
        if row.old_secret is not None:
            former = _place(tenant_id, row.id, row.secret_version - 1)
            values["old_secret"] = turn(former, row.old_secret)
        await connection.execute(webhooks.update().where(*_this(tenant_id, row.id)).values(**values))


def _new_secret() -> str:
    return SECRET_MARK + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def _place(tenant_id: UUID, webhook_id: UUID, version: int) -> bytes:
    """The associated data: a secret opens only in its own tenant, row and version."""
    return f"{tenant_id}/webhooks/{webhook_id}/secret/{version}".encode()


def _this(tenant_id: UUID, webhook_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return webhooks.c.tenant_id == tenant_id, webhooks.c.id == webhook_id
