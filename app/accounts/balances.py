"""What is left on each account: its readings, and the mark that they are held against."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from uuid import UUID

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.balance_schedule import Due, claimed
from app.accounts.models import account_balances, balance_readings
from app.audit.caller import Caller, background
from app.database import NOW, this_account
from app.events import repository as events
from app.events.types import EventType
from app.schemas import Balance, Money
from app.values import amount_text

KEPT = timedelta(days=365)
"""For how long readings are kept."""


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """What is known of an account's balance: the newest reading, and the mark below which it is low."""

    amount: Decimal | None = None
    read_at: datetime | None = None
    low_balance_below: Decimal | None = None

    @property
    def shown(self) -> Balance | None:
        """The reading as callers read it."""
        if self.amount is None or self.read_at is None:
            return None
        return Balance(amount=amount_text(self.amount), read_at=self.read_at)


_this = partial(this_account, account_balances)

UNKNOWN = AccountBalance()


class LowBalance(BaseModel):
    """An account's balance fell below its mark, or the mark was raised above it."""

    upstream_key_id: UUID
    balance: Balance
    low_balance_below: Money


def is_low(amount: Decimal | None, mark: Decimal | None) -> bool:
    """Whether a balance is below a mark, if there are both."""
    return amount is not None and mark is not None and amount < mark


def crosses(found: AccountBalance, *, was_low: bool) -> bool:
    """Whether a balance is low now and was not before, be it that it fell or that the mark was raised."""
    return is_low(found.amount, found.low_balance_below) and not was_low


async def note_reading(
    connection: AsyncConnection, due: Due, amount: Decimal, asked_at: datetime, next_in: float
) -> bool:
    """Keep a reading, and tell the tenant if with it the balance falls below its mark.

    Args:
        asked_at: the moment before it was asked for, by the database's clock. What was charged since may be
            in it or not, so if a call was settled since, the balance is due again.
        next_in: seconds until the next one else.

    Returns:
        whether it was kept; it is not if the account is another's to read by now, or deleted.
    """
    held = sa.select(account_balances, NOW.label("now")).where(*claimed(due)).with_for_update()
    row = (await connection.execute(held)).one_or_none()
    if row is None:
        return False
    moved_since = row.moved_at is not None and row.moved_at >= asked_at
    found = AccountBalance(amount, row.now, row.low_balance_below)
    await connection.execute(
        account_balances.update()
        .where(*_this(due.tenant_id, due.upstream_key_id))
        .values(
            amount=amount,
            read_at=row.now,
            is_low=is_low(amount, row.low_balance_below),
            claimed_until=None,
            due_at=row.now if moved_since else row.now + timedelta(seconds=next_in),
            failures=0,
            error_code=None,
        )
    )
    await connection.execute(
        balance_readings.insert().values(
            tenant_id=due.tenant_id,
            upstream_key_id=due.upstream_key_id,
            asked_at=asked_at,
            read_at=row.now,
            amount=amount,
        )
    )
    _tell_crossing(connection, background(due.tenant_id), due.upstream_key_id, found, was_low=row.is_low)
    return True


async def set_mark(
    connection: AsyncConnection, caller: Caller, upstream_key_id: UUID, mark: Decimal | None
) -> None:
    """Set the mark below which an account's balance is low, or with None have none, and tell the tenant if
    the balance is below it now and was not before.
    """
    this = _this(caller.tenant_id, upstream_key_id)
    row = (await connection.execute(sa.select(account_balances).where(*this).with_for_update())).one_or_none()
    if row is None:
        return  # the key was deleted at this moment
    low = is_low(row.amount, mark)
    await connection.execute(
        account_balances.update().where(*this).values(low_balance_below=mark, is_low=low)
    )
    found = AccountBalance(row.amount, row.read_at, mark)
    _tell_crossing(connection, caller, upstream_key_id, found, was_low=row.is_low)


def _tell_crossing(
    connection: AsyncConnection,
    caller: Caller,
    upstream_key_id: UUID,
    found: AccountBalance,
    *,
    was_low: bool,
) -> None:
    balance, mark = found.shown, Money.of(found.low_balance_below)
    if balance and mark and crosses(found, was_low=was_low):
        told = LowBalance(upstream_key_id=upstream_key_id, balance=balance, low_balance_below=mark)
        events.emit(connection, caller, EventType.UPSTREAM_KEY_BALANCE_LOW, told.model_dump(mode="json"))


async def of_account(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> AccountBalance:
    """What is known of an account's balance."""
    return (await of_accounts(connection, tenant_id, [upstream_key_id])).get(upstream_key_id, UNKNOWN)


async def of_accounts(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_ids: Collection[UUID]
) -> Mapping[UUID, AccountBalance]:
    """What is known of the balances of a tenant's accounts, by their ids."""
    query = sa.select(account_balances).where(
        account_balances.c.tenant_id == tenant_id, account_balances.c.upstream_key_id.in_(upstream_key_ids)
    )
    return {
        row.upstream_key_id: AccountBalance(row.amount, row.read_at, row.low_balance_below)
        for row in await connection.execute(query)
    }


async def forget(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    """Read an account's balance no more: its key is deleted. Its readings stay."""
    await connection.execute(account_balances.delete().where(*_this(tenant_id, upstream_key_id)))


async def delete_old(connection: AsyncConnection) -> int:
    """Delete the readings that are no longer kept, of all tenants; for the worker."""
    result = await connection.execute(
        balance_readings.delete().where(balance_readings.c.read_at < sa.func.now() - KEPT)
    )
    return int(result.rowcount)
