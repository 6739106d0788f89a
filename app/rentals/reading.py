"""Reading an account's orders in the middle of a request: before a first purchase, and after a change."""

from __future__ import annotations

from uuid import UUID

import structlog

from app.accounts import schedule
from app.accounts.calls import UpstreamCalls
from app.audit.caller import Caller
from app.database import Access, Database
from app.errors import RentgateError
from app.rentals import intake

log = structlog.get_logger(__name__)


class OrderReader:
    """Reads the orders of accounts, and takes them in as a look of the worker does."""

    def __init__(self, database: Database, calls: UpstreamCalls) -> None:
        self._database = database
        self._calls = calls

    async def read(self, caller: Caller, upstream_key_id: UUID) -> None:
        """Read an account's orders now.

        Raises:
            RentgateError: they can't be read, and why.
        """
        looked_from = await self._database.clock()
        orders = await self._calls.read(
            caller, upstream_key_id, "orders", lambda client, api_key: client.orders(api_key)
        )
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            await schedule.lock(connection, caller.tenant_id, upstream_key_id)
            await intake.take_in(connection, caller, upstream_key_id, orders, looked_from)
            await schedule.note_seen(connection, caller.tenant_id, upstream_key_id)

    async def read_back(self, caller: Caller, upstream_key_id: UUID) -> None:
        """Read an account's orders after a change; should that fail, the worker's next look does it."""
        try:
            await self.read(caller, upstream_key_id)
        except RentgateError as error:
            log.info("rental.read_back_failed", code=error.code)
