"""What a tenant spends in a calendar month (UTC): held at intent, then spent or released.

The month's row is locked while a hold is added, so that held + spent never passes the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import PriceUnknown, SpendLimitExceeded
from app.operations.models import spending_holds, spending_months
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


async def hold(
    connection: AsyncConnection, tenant_id: UUID, operation_id: UUID, price: Decimal | None
) -> None:
    """Hold an operation's price against the tenant's limit.

    Raises:
        SpendLimitExceeded: it doesn't fit; `required` is the price, and the detail tells what is left.
        PriceUnknown: there is a limit, but no price.
    """
    month = utc_now().date().replace(day=1)
    await connection.execute(
        insert(spending_months).values(tenant_id=tenant_id, month=month).on_conflict_do_nothing()
    )
    query = sa.select(spending_months).where(*_this(tenant_id, month)).with_for_update()
    row = (await connection.execute(query)).one()
    limit = await connection.scalar(sa.select(tenants.c.spend_limit).where(tenants.c.id == tenant_id))
    if price is None:
        if limit is not None:
            raise PriceUnknown("The tenant has a spend limit, but no price could be had to check it.")
        return
    if limit is not None and row.held + row.spent + price > limit:
        left = max(NOTHING, limit - row.held - row.spent)
        raise SpendLimitExceeded(
            f"The price is {amount_text(price)} USD; {amount_text(left)} USD of this month's limit are left.",
            required=price,
        )
    await connection.execute(
        spending_holds.insert().values(
            tenant_id=tenant_id, operation_id=operation_id, month=month, amount=price
        )
    )
    await connection.execute(
        spending_months.update().where(*_this(tenant_id, month)).values(held=spending_months.c.held + price)
    )


async def settle(connection: AsyncConnection, tenant_id: UUID, operation_id: UUID, *, spent: bool) -> None:
    """Spend or release what an operation holds, once; an operation without a hold is none of its business."""
    state = "spent" if spent else "released"
    # A released hold may still be spent: an order that was thought not made can turn up late.
    query = (
        sa.select(spending_holds)
        .where(
            spending_holds.c.tenant_id == tenant_id,
            spending_holds.c.operation_id == operation_id,
            spending_holds.c.state.in_(["held", "released"] if spent else ["held"]),
        )
        .with_for_update()
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return
    await connection.execute(
        spending_holds.update()
        .where(spending_holds.c.tenant_id == tenant_id, spending_holds.c.operation_id == operation_id)
        .values(state=state)
    )
    await connection.execute(
        spending_months.update()
        .where(*_this(tenant_id, row.month))
        .values(
            held=spending_months.c.held - (row.amount if row.state == "held" else NOTHING),
            spent=spending_months.c.spent + (row.amount if spent else NOTHING),
        )
    )


def _this(tenant_id: UUID, month: date) -> tuple[sa.ColumnElement[bool], ...]:
    return spending_months.c.tenant_id == tenant_id, spending_months.c.month == month
