"""What the executor asks of whoever knows the subject of an operation, once its outcome is known."""

from __future__ import annotations

from typing import Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import RentgateError
from app.operations.operation import Operation
from app.upstream.wire import PurchasedOrder

S_co = TypeVar("S_co", covariant=True)


class Outcomes(Protocol[S_co]):
    """What an operation's outcome changes beside the ledger, and what its caller is shown of it, of type S.
    Each function runs in a transaction of the executor's; those that settle the operation's present step
    give None if another process did so before.
    """

    async def made_and_shown(
        self, connection: AsyncConnection, operation: Operation, orders: tuple[PurchasedOrder, ...]
    ) -> tuple[Operation, S_co] | None:
        """The call was carried out, and told of these orders."""

    async def not_made(
        self, connection: AsyncConnection, operation: Operation, error: RentgateError
    ) -> Operation | None:
        """The call was surely not carried out."""

    async def unknown(
        self, connection: AsyncConnection, operation: Operation, error: RentgateError
    ) -> Operation | None:
        """Nobody knows yet whether the call was carried out, of which this is all that came."""

    async def left_open(self, connection: AsyncConnection, operation: Operation) -> None:
        """Its caller is told that the outcome is open."""

    async def shown(self, connection: AsyncConnection, operation: Operation) -> S_co:
        """What the caller is shown of an operation as it is now."""
