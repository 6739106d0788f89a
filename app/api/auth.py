"""Who calls, and what for: from a bearer token to a Caller with the rights that its request needs."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.throttle import Throttle
from app.api.wired import services_of
from app.errors import (
    Unauthenticated,
)
from app.tenants.issuer import ServiceToken
from app.tenants.platform_keys import PlatformKey
from app.tenants.recognition import Holder
from app.tenants.scopes import ALL_SCOPES, MEANINGS, PlatformScope
from app.tenants.service import ApiKey, Tenant

ADMIN = "admin"
TENANT_HEADER = "X-Tenant-ID"

bearer_scheme = HTTPBearer(
    auto_error=False,
    scheme_name="bearer",
    description="A tenant's API key (`rg_…`), a platform key (`rgp_…`), a token of the platform's own issuer"
    " where the gateway is set up for one (a JSON Web Token that names tenant and scopes), or the"
    " administrator's token, which may do everything. Keys and the issuer's tokens hold scopes; each"
    " operation tells which one it needs: "
    + ", ".join(f"`{scope.value}` ({meaning})" for scope, meaning in MEANINGS.items())
    + ".",
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(bearer_scheme)]


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose token a request came with: the administrator's, a platform or API key's, or a service's."""

    scopes: frozenset[str]
    holder: Holder | None = None

    @property
    def key(self) -> ApiKey | PlatformKey | ServiceToken | None:
        """The key or token itself; the administrator's is none."""
        return None if self.holder is None else self.holder.key

    @property
    def tenant(self) -> Tenant | None:
        """The tenant that it belongs to."""
        return None if self.holder is None else self.holder.tenant

    @property
    def is_admin(self) -> bool:
        """Whether it may do everything for every tenant."""
        return self.holder is None

    @property
    def is_platform(self) -> bool:
        """Whether it belongs to no tenant, and has to name the one that it acts for."""
        return self.tenant is None

    @property
    def actor(self) -> str:
        """How it is called in events and in the audit trail."""
        return ADMIN if self.key is None else actor_of(self.key)


def actor_of(key: ApiKey | PlatformKey | ServiceToken) -> str:
    """How who holds a key or a token is called in events and in the audit trail."""
    if isinstance(key, ServiceToken):
        return f"service:{key.subject}"
    return f"{'platform_key' if isinstance(key, PlatformKey) else 'api_key'}:{key.id}"


async def authenticate(request: Request) -> Principal:
    """Whose token the request carries; asked once a request.

    Raises:
        Unauthenticated: nobody's.
        TenantSuspended: that of a suspended tenant.
        NotReady: perhaps the issuer's, whose keys could not be fetched so far.
        RateLimited: too many requests of this key or its tenant, or too many wrong tokens from this address.
    """
    known: Principal | None = getattr(request.state, "principal", None)
    if known is None:
        known = await _recognise(request)
        request.state.principal = known
        request.state.actor = known.actor
    return known


async def reauthenticate(request: Request) -> None:
    """See that the token of a request that goes on for long is still good.

    Raises:
        Unauthenticated: it was revoked or has expired.
        TenantSuspended: its tenant was suspended.
    """
    principal = await authenticate(request)
    if not principal.is_admin:
        token = request.headers["Authorization"].partition(" ")[2].strip()
        await services_of(request).recognition.holder_of(token)


async def _recognise(request: Request) -> Principal:
    services = services_of(request)
    throttle: Throttle = request.app.state.throttle
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("The request carries no bearer token.")
    admin = services.settings.admin_token
    if admin is not None and hmac.compare_digest(token.encode(), admin.get_secret_value().encode()):
        return Principal(ALL_SCOPES | frozenset(PlatformScope))
    try:
        holder = await services.recognition.holder_of(token)
    except Unauthenticated:
        await throttle.count_wrong_token(address_of(request))
        raise
    principal = Principal(frozenset(holder.key.scopes), holder)
    tenant_id = None if holder.tenant is None else str(holder.tenant.id)
    request.state.quotas = quotas = await throttle.count_request(principal.actor, tenant_id)
    for quota in quotas:
        quota.check()
    return principal


def address_of(request: Request) -> str:
    """Where a request came from."""
    return request.client.host if request.client else "unknown"
