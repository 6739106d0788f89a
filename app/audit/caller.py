"""Who acts: the identity that goes with every change into events and the audit trail."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Caller:
    """One tenant's caller (or the worker, or the shell, acting for the tenant) and where it came from."""

    tenant_id: UUID
    actor: str
    address: str | None = None
    request_id: str | None = None

    @property
    def is_background(self) -> bool:
        """Whether nobody waits for what is being done."""
        return self.actor == WORKER_ACTOR


WORKER_ACTOR = "worker"


def background(tenant_id: UUID) -> Caller:
    """The background worker, acting in a tenant's name."""
    return Caller(tenant_id, WORKER_ACTOR)
