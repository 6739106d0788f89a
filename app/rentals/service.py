"""A tenant's rentals as they are noted here: reading one, and changing what is noted on it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import UUID

from app.audit import repository as audit
from app.audit.caller import Caller
from app.database import Access, Database
from app.errors import RentalNotActive
from app.rentals import repository, schemas, views
from app.rentals.auto_prolong import Plan


class Keep(Enum):
    """Stands for what is not to be changed, where None says something else."""

    KEEP = "keep"


KEEP = Keep.KEEP


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What to note on a rental.

    Attributes:
        metadata: in the place of what was noted before; None keeps that.
        prolonging: how it is prolonged by itself; None for not at all.
    """

    metadata: dict[str, str] | None = None
    prolonging: Plan | Keep | None = KEEP


class Rentals:
    """The rentals of all tenants, one caller a call."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, caller: Caller, rental_id: UUID) -> schemas.Rental:
        """One rental.

        Raises:
            RentalNotFound: the tenant has no such rental.
        """
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            return await views.get(connection, caller.tenant_id, rental_id)

    async def describe(self, caller: Caller, rental_id: UUID, change: Change) -> schemas.Rental:
        """Change what is noted on a rental.

        Raises:
            RentalNotFound: the tenant has no such rental.
            RentalNotActive: it is to be prolonged by itself, but has come to its end.
        """
        noted: dict[str, Any] = {}
        if change.metadata is not None:
            noted["metadata"] = change.metadata
        if change.prolonging is not KEEP:
            plan = change.prolonging
            noted["auto_prolong"] = None if plan is None else plan.record()
            noted |= {"auto_prolong_tried_end": None, "auto_prolong_retry_at": None}
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            rental = await repository.locked(connection, caller.tenant_id, rental_id)
            if noted.get("auto_prolong") and rental.status not in repository.LIVING:
                raise RentalNotActive
            if noted:
                await repository.store(connection, caller.tenant_id, rental_id, **noted)
                audit.record(
                    connection, caller, "rental.update", target=rental_id, details={"changed": sorted(noted)}
                )
            return await views.get(connection, caller.tenant_id, rental_id)
