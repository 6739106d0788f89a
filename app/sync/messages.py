"""Reading the messages of an account's orders, within a look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import background
from app.database import Access, Database
from app.errors import (
    DatabaseUnavailable,
    NotFound,
    RentgateError,
    UpstreamBusy,
    UpstreamKeyRejected,
    VaultUnavailable,
)
from app.messages import repository as messages
from app.messages.deduplication import Sighting, sightings
from app.rentals import message_reads, repository
from app.sync.watch import Reading, Watch
from app.upstream.client import News
from app.upstream.wire import SmsLists

_OF_ALL_ORDERS = (DatabaseUnavailable, VaultUnavailable, UpstreamBusy, UpstreamKeyRejected, NotFound)
"""What goes wrong with one order would go wrong with the others too."""

log = structlog.get_logger(__name__)


class MessageReader:
    """Reads the messages of all accounts' orders, some of one account a call."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(
        self,
        watch: Watch,
        readings: Iterable[Reading],
        ask: Callable[[Reading], Awaitable[News[SmsLists]]],
        keep_on: Callable[[Reading], Awaitable[bool]],
    ) -> None:
        """Read the messages of these orders and keep what is new. An order whose messages can't be read
        keeps no other waiting: its turn comes again later. Where some of them can't be read, the others are
        kept, and the order does not count as read.

        Args:
            ask: makes the call, in its turn.
            keep_on: asked before each; false when this look has to end.

        Raises:
            NotYet: the pace leaves no room now.
            RentgateError: none can be read.
        """
        for reading in readings:
            if not await keep_on(reading):
                break
            try:
                shown = await ask(reading)
            except _OF_ALL_ORDERS:
                raise
            except RentgateError as error:
                watch.note_unreadable(reading, error)
                await self._note_failure(watch, reading, error)
                log.info("messages.not_read", order_id=reading.order_id, code=error.code)
                continue
            if shown.content is not None and (seen := sightings([shown.content])):
                async with self._database.transaction(Access.tenant(watch.account.tenant_id)) as connection:
                    await _keep(connection, watch.account.tenant_id, reading.rental_id, seen)
            watch.note_read(reading, shown.digest, complete=shown.content is None or shown.content.complete)
            if reading.failed:
                await self._note_readable(watch, reading)

    async def _note_failure(self, watch: Watch, reading: Reading, error: RentgateError) -> None:
        """Note that none of an order's messages can be read, for whoever asks for them at once."""
        account = watch.account
        async with self._database.transaction(Access.tenant(account.tenant_id)) as connection:
            await message_reads.note_messages_failure(
                connection, account.tenant_id, account.upstream_key_id, reading.order_id, error.code
            )
        reading.failed = True

    async def _note_readable(self, watch: Watch, reading: Reading) -> None:
        """Note that an order's messages can be read again, at least in part."""
        async with self._database.transaction(Access.tenant(watch.account.tenant_id)) as connection:
            await message_reads.note_messages_read(connection, watch.unwritten_reads())
        reading.failed = False


async def _keep(
    connection: AsyncConnection, tenant_id: UUID, rental_id: UUID, shown: Sequence[Sighting]
) -> None:
    """Keep those of a rental's messages that are new."""
    rental = await repository.locked(connection, tenant_id, rental_id)
    last = await messages.keep(connection, background(tenant_id), rental_id, rental.message_count, shown)
    if last != rental.message_count:
        await repository.store(connection, tenant_id, rental_id, message_count=last)
