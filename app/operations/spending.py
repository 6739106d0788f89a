"""What a tenant spends in a calendar month (UTC): held at intent, then spent or released.

The month's row is locked while a hold is added, so that held + spent never passes the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database.at_commit import DeferredWrite, LockOrder, at_commit
from app.database.pipeline import Query
from app.errors import PriceUnknown, RentgateError, SpendLimitExceeded
from app.operations.models import spending_months
from app.tenants.models import tenants
from app.values import amount_text, utc_now

NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Spending:
    """A month's figures in US dollars; `limit` is None where there is none."""

    month: date
    limit: Decimal | None
    held: Decimal
    spent: Decimal


async def this_month(connection: AsyncConnection, tenant_id: UUID) -> Spending:
    """What the tenant has held and spent in the present month."""
    month = utc_now().date().replace(day=1)
    row = (await connection.execute(sa.select(spending_months).where(*_this(tenant_id, month)))).one_or_none()
    limit = await connection.scalar(sa.select(tenants.c.spend_limit).where(tenants.c.id == tenant_id))
    return Spending(month, limit, row.held if row else NOTHING, row.spent if row else NOTHING)


_HOLD = """
    with fits as (
        select id, spend_limit from tenants
        where id = %(tenant_id)s and (spend_limit is null or %(price)s::numeric <= spend_limit)
    ), held as (
        insert into spending_months as m (tenant_id, month, held)
        select id, %(month)s, %(price)s::numeric from fits where %(price)s::numeric is not null
        on conflict (tenant_id, month) do update set held = m.held + excluded.held
        where m.held + m.spent + excluded.held
            <= coalesce((select spend_limit from tenants where id = %(tenant_id)s), 'infinity')
        returning 1
    ), noted as (
        insert into spending_holds (tenant_id, operation_id, month, amount)
        select %(tenant_id)s, %(operation_id)s, %(month)s, %(price)s::numeric from held
    )
    select exists (select from held) or (%(price)s::numeric is null and exists (select from fits)) as fits
"""
"""Adds to the month what its row, locked by that, still has room for; holds nothing else. What has no price
holds nothing, and fits only where there is no limit.
"""


def holding(tenant_id: UUID, operation_id: UUID, price: Decimal | None) -> Query[bool]:
    """Hold an operation's price (US dollars) against the tenant's limit; whether it fits."""
    month = utc_now().date().replace(day=1)
    values = {"tenant_id": tenant_id, "operation_id": operation_id, "month": month, "price": price}
    return Query(_HOLD, values, lambda answer: bool(answer.row.fits))


async def refusal(connection: AsyncConnection, tenant_id: UUID, price: Decimal | None) -> RentgateError:
    """Why a price doesn't fit: `required` is the price, and the detail tells what is left."""
    if price is None:
        return PriceUnknown("The tenant has a spend limit, but no price could be had to check it.")
    now = await this_month(connection, tenant_id)
    left = max(NOTHING, (now.limit or NOTHING) - now.held - now.spent)
    return SpendLimitExceeded(
        f"The price is {amount_text(price)} USD; {amount_text(left)} USD of this month's limit are left.",
        required=price,
    )


_SETTLE = DeferredWrite(
    LockOrder.SPENDING,
    """
    with was as (
        select month, amount, state = 'held' as is_held,
            case state when 'spent' then amount else 0 end as spent
        from spending_holds where tenant_id = %(tenant_id)s and operation_id = %(operation_id)s for update
    ), now as (
        update spending_holds h
        set state = case when %(spent)s::numeric > 0 then 'spent' else 'released' end,
            amount = case when %(spent)s::numeric > 0 then %(spent)s::numeric else h.amount end
        from was where h.tenant_id = %(tenant_id)s and h.operation_id = %(operation_id)s
            and (was.is_held or %(spent)s::numeric > was.spent)
        returning was.*
    )
    update spending_months m
    set held = m.held - case when now.is_held then now.amount else 0 end,
        spent = m.spent + %(spent)s::numeric - now.spent
    from now where m.tenant_id = %(tenant_id)s and m.month = now.month
    """,
)


def settle(connection: AsyncConnection, tenant_id: UUID, operation_id: UUID, *, spent: Decimal) -> None:
    """Spend or release with the commit what an operation holds; one without a price holds nothing.

    What was settled already only ever grows: an order that was thought not made can turn up late.

    Args:
        spent: how much of it was spent, in US dollars.
    """
    values = {"tenant_id": tenant_id, "operation_id": operation_id, "spent": spent}
    at_commit(connection, _SETTLE, values)


def _this(tenant_id: UUID, month: date) -> tuple[sa.ColumnElement[bool], ...]:
    return spending_months.c.tenant_id == tenant_id, spending_months.c.month == month
