"""Carrying an outcome through, however it was learnt: the operation, its rental, its event.

Each function runs in a transaction that has locked the account, settles the operation's present step, and
gives None if it was settled already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import balance_schedule
from app.errors import RentgateError, UpstreamRefusedError
from app.events.types import EventType
from app.kinds.registry import kind_of
from app.operations import ledger
from app.operations.operation import Operation
from app.operations.states import State
from app.rentals import views
from app.rentals.schemas import Rental
from app.upstream.wire import PurchasedOrder
from app.vault.models import upstream_keys


async def made(
    connection: AsyncConnection,
    operation: Operation,
    orders: Sequence[PurchasedOrder],
    event: EventType | None = None,
) -> Operation | None:
    """The present step was carried out, and these orders show it; the next one, if any, is queued.

    Args:
        event: what is announced instead of what is usual.
    """
    done = await _done(connection, operation, orders, event)
    return None if done is None else done[0]


async def made_late(
    connection: AsyncConnection, operation: Operation, orders: Sequence[PurchasedOrder]
) -> Operation | None:
    """As `made`, of an operation that was given up. If it has further steps, they are not sent: whoever looks
    after it may have done them by hand.
    """
    if operation.is_last_step:
        return await made(connection, operation, orders, event=EventType.RENTAL_RECOVERED)
    if await ledger.advance_in_review(connection, operation) is not None:
        await kind_of(operation).step_done(connection, operation, orders)
    return None


async def made_and_shown(
    connection: AsyncConnection, operation: Operation, orders: Sequence[PurchasedOrder]
) -> tuple[Operation, Rental] | None:
    """As `made`, with the rental as it is then."""
    done = await _done(connection, operation, orders, None)
    if done is None:
        return None
    reached, announced = done
    return reached, announced or await shown(connection, reached)


async def _done(
    connection: AsyncConnection,
    operation: Operation,
    orders: Sequence[PurchasedOrder],
    event: EventType | None,
) -> tuple[Operation, Rental | None] | None:
    """The operation after its present step, with the rental if that was announced."""
    kind = kind_of(operation)
    if operation.is_last_step:
        reached = await _settle(connection, operation, State.SUCCEEDED)
    else:
        reached = _note_charge(connection, await ledger.advance(connection, operation))
    if reached is None:
        return None
    await kind.step_done(connection, operation, orders)
    return reached, await kind.done(connection, reached, event) if operation.is_last_step else None


async def accepted(connection: AsyncConnection, operation: Operation) -> Operation | None:
    """A person says that an operation in review is done as it stands."""
    settled = await _settle(connection, operation, State.SUCCEEDED)
    if settled is not None:
        await kind_of(settled).done(connection, settled, None)
    return settled


async def not_made(
    connection: AsyncConnection, operation: Operation, error: RentgateError | None = None
) -> Operation | None:
    """The present step was surely not carried out. An operation of which another step was can't be called
    failed: it came apart, and a person has to see to the rest.
    """
    if not operation.step:
        return await failed(connection, operation, error)
    why = error or operation.not_made
    settled = await _settle(connection, operation, State.REVIEW, error=why)
    if settled is not None:
        await views.announce(connection, settled.caller, EventType.RENTAL_REVIEW, settled.rental_id)
    return settled


async def unknown(
    connection: AsyncConnection, operation: Operation, error: RentgateError | None = None
) -> Operation | None:
    """Neither a readable success nor a known refusal came of the call: it is looked up, if anybody can.

    Args:
        error: what came of the call; what the upstream said in words that nobody knows is kept.
    """
    if isinstance(error, UpstreamRefusedError) and error.upstream is not None:
        await ledger.keep_unexplained(connection, operation, error.upstream)
    is_deleted = sa.select(upstream_keys.c.deleted_at.is_not(None)).where(
        upstream_keys.c.tenant_id == operation.tenant_id, upstream_keys.c.id == operation.upstream_key_id
    )
    if await connection.scalar(is_deleted):
        return await to_review(connection, operation)
    settled = await _settle(connection, operation, State.UNKNOWN)
    if settled is not None:
        await left_open(connection, settled)
    return settled


async def to_review(
    connection: AsyncConnection, operation: Operation, candidates: Sequence[Mapping[str, Any]] | None = None
) -> Operation | None:
    """Only a person can tell what came of the operation: more than one order fits, or nobody can look."""
    settled = await _settle(connection, operation, State.REVIEW, candidates=candidates)
    if settled is not None:
        await kind_of(settled).in_review(connection, settled)
        await views.announce(connection, settled.caller, EventType.RENTAL_REVIEW, settled.rental_id)
    return settled


async def failed(
    connection: AsyncConnection, operation: Operation, error: RentgateError | None = None
) -> Operation | None:
    """The operation as a whole was not carried out. Orders that a person found to be none of its making are
    kept with it, so that they are not taken for its late ones.
    """
    why = error or operation.not_made
    settled = await _settle(connection, operation, State.FAILED, error=why, candidates=operation.candidates)
    if settled is not None:
        await kind_of(settled).failed(connection, settled, why)
    return settled


async def shown(connection: AsyncConnection, operation: Operation) -> Rental:
    """The rental of an operation, as its caller is shown it."""
    return await views.get(connection, operation.tenant_id, operation.rental_id)


async def left_open(connection: AsyncConnection, operation: Operation) -> None:
    """Its caller is told that the outcome is open; of a review that was told when it began."""
    if operation.state is not State.REVIEW:
        await kind_of(operation).left_open(connection, operation)


async def _settle(
    connection: AsyncConnection, operation: Operation, state: State, **found: Any
) -> Operation | None:
    """As `ledger.settle`, and has the balance read if it was charged."""
    return _note_charge(connection, await ledger.settle(connection, operation, state, **found))


def _note_charge(connection: AsyncConnection, reached: Operation | None) -> Operation | None:
    """Have the balance read after a paid call that was sent, whatever came of it."""
    if reached is not None and kind_of(reached).spends and reached.sent_at is not None:
        balance_schedule.note_moved(connection, reached.tenant_id, reached.upstream_key_id)
    return reached
