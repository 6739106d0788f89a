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

from app.closing import ClosingWrite, Rank, at_commit
from app.database import Money
from app.errors import PriceUnknown, SpendLimitExceeded
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


_HOLD = sa.text("""
    with held as (
        insert into spending_months as m (tenant_id, month, held)
        select t.id, :month, :price from tenants t
        where t.id = :tenant_id and (t.spend_limit is null or :price <= t.spend_limit)
        on conflict (tenant_id, month) do update set held = m.held + excluded.held
        where m.held + m.spent + excluded.held
            <= coalesce((select spend_limit from tenants where id = :tenant_id), 'infinity')
        returning 1
    )
    insert into spending_holds (tenant_id, operation_id, month, amount)
    select :tenant_id, :operation_id, :month, :price from held
""").bindparams(
    sa.bindparam("tenant_id", type_=sa.Uuid),
    sa.bindparam("operation_id", type_=sa.Uuid),
    sa.bindparam("month", type_=sa.Date),
    sa.bindparam("price", type_=Money),
)
"""Adds to the month what its row, locked by that, still has room for; holds nothing else."""


async def hold(
    connection: AsyncConnection, tenant_id: UUID, operation_id: UUID, price: Decimal | None
) -> None:
    """Hold an operation's price against the tenant's limit.

    Raises:
        SpendLimitExceeded: it doesn't fit; `required` is the price, and the detail tells what is left.
        PriceUnknown: there is a limit, but no price.
    """
    if price is None:
        if (await this_month(connection, tenant_id)).limit is not None:
            raise PriceUnknown("The tenant has a spend limit, but no price could be had to check it.")
        return
    month = utc_now().date().replace(day=1)
    values = {"tenant_id": tenant_id, "operation_id": operation_id, "month": month, "price": price}
    result = await connection.execute(_HOLD, values)
    if result.rowcount:
        return
    now = await this_month(connection, tenant_id)
    left = max(NOTHING, (now.limit or NOTHING) - now.held - now.spent)
    raise SpendLimitExceeded(
        f"The price is {amount_text(price)} USD; {amount_text(left)} USD of this month's limit are left.",
        required=price,
    )


_SETTLE = ClosingWrite(
    Rank.SPENDING,
    """
    with was as (
        select month, state, amount, coalesce(%(spent)s::numeric, amount) as spent from spending_holds
        where tenant_id = %(tenant_id)s and operation_id = %(operation_id)s
            and (state = 'held' or state = 'released' and %(spent)s::numeric is null)
        for update
    ), now as (
        update spending_holds h
        set state = case when was.spent > 0 then 'spent' else 'released' end,
            amount = case when was.spent > 0 then was.spent else h.amount end
        from was where h.tenant_id = %(tenant_id)s and h.operation_id = %(operation_id)s
    )
    update spending_months m
    set held = m.held - case when was.state = 'held' then was.amount else 0 end, spent = m.spent + was.spent
    from was where m.tenant_id = %(tenant_id)s and m.month = was.month
    """,
)


def settle(
    connection: AsyncConnection, tenant_id: UUID, operation_id: UUID, *, spent: Decimal | None
) -> None:
    """Spend or release with the commit what an operation holds, once; one without a hold is left alone.

    A released hold may still be spent whole: an order that was thought not made can turn up late.

    Args:
        spent: how much of it was spent, in US dollars; None means all.
    """
    values = {"tenant_id": tenant_id, "operation_id": operation_id, "spent": spent}
    at_commit(connection, _SETTLE, values)


def _this(tenant_id: UUID, month: date) -> tuple[sa.ColumnElement[bool], ...]:
    return spending_months.c.tenant_id == tenant_id, spending_months.c.month == month
