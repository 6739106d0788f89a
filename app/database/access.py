"""In whose name a transaction acts.

Row-level security in Postgres stands behind every query. A transaction acts under one of three roles, none
of which can pass the policies, and both the role and the tenant are set for the transaction only, so that a
pooler in transaction mode never hands one tenant's rights to another.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Role(StrEnum):
    """The database roles that the gateway acts as; each sees only what its policies grant."""

    APP = "rentgate_app"
    WORKER = "rentgate_worker"
    PLATFORM = "rentgate_platform"


LOGIN_ROLE = "none"
"""What Postgres calls the role of the login itself."""


@dataclass(frozen=True, slots=True)
class Access:
    """In whose name a transaction acts."""

    role: Role | None
    tenant_id: UUID | None = None
    token_hash: bytes | None = None

    @classmethod
    def tenant(cls, tenant_id: UUID) -> Access:
        """One tenant's rows, and nothing else."""
        return cls(Role.APP, tenant_id)

    @classmethod
    def sealer(cls, tenant_id: UUID) -> Access:
        """One tenant's audit trail, to seal and to verify."""
        return cls(Role.WORKER, tenant_id)

    @classmethod
    def owner(cls, tenant_id: UUID) -> Access:
        """One tenant's audit trail, to prune; only the owner's own login has this right."""
        return cls(None, tenant_id)

    @classmethod
    def bearer(cls, token_hash: bytes) -> Access:
        """The one API key whose token hashes to this; what a request has before its tenant is known."""
        return cls(Role.APP, token_hash=token_hash)


WORKER = Access(Role.WORKER)
"""Finding what is due, over all tenants; the work itself is then done in the tenant's name."""

PLATFORM = Access(Role.PLATFORM)
"""Making and listing tenants."""
