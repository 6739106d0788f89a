"""Who calls, and what for: from a bearer token to a Caller with the rights that its request needs."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.throttle import Throttle
from app.api.wired import services_of
from app.audit.caller import Caller
from app.database import Access
from app.errors import (
    FieldError,
    InsufficientScope,
    InvalidRequest,
    NotFound,
    Unauthenticated,
)
from app.idempotency.repository import NO_TENANT
from app.tenants import service as tenants
from app.tenants.issuer import ServiceToken
from app.tenants.platform_keys import PlatformKey
from app.tenants.recognition import Holder
from app.tenants.scopes import ALL_SCOPES, MEANINGS, PlatformScope, Scope
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


class Require:
    """A dependency: the request's Caller, who may do what it asks in the tenant that it is about."""

    def __init__(
        self, scope: Scope | None, *, platform: PlatformScope | None = None, tenantless: bool = False
    ) -> None:
        """Ask for a scope.

        Args:
            scope: what an API key has to hold; None for any.
            platform: what a platform key has to hold; with None no platform key will do, unless any will.
            tenantless: whether who belongs to no tenant may leave it open which one the request is about.
        """
        self._scope = scope
        self._platform = platform
        self._tenantless = tenantless

    @property
    def wants(self) -> str | None:
        """The scope that is asked for, as the OpenAPI document tells it; None where any token will do."""
        return None if self._scope is None else self._scope.value

    @property
    def explained(self) -> str:
        """What the document adds to an operation's description."""
        if self._scope is None:
            return ""
        platform = "" if self._platform is None else f", or a platform key with `{self._platform.value}`"
        return f"\n\nNeeds the scope `{self._scope.value}`{platform}."

    async def __call__(self, request: Request, _: Credentials = None) -> Caller:
        """The caller; asked once a request.

        Raises:
            InsufficientScope: the key lacks the scope.
            NotFound: the tenant is not the key's own, or there is none such.
            InvalidRequest: who belongs to no tenant did not name one.
            RentgateError: as `authenticate`.
        """
        known: Caller | None = getattr(request.state, "caller", None)
        if known is not None:
            return known
        principal = await authenticate(request)
        if principal.is_platform:
            self._admit(principal)
        tenant_id = await self._tenant_id(request, principal)
        if not principal.is_platform:
            self._admit(principal)
        caller = Caller(tenant_id, principal.actor, address_of(request), request.state.request_id)
        request.state.caller = caller
        request.state.tenant_id = str(tenant_id)
        return caller

    def _admit(self, principal: Principal) -> None:
        """Let a principal pass that holds what is asked for.

        Raises:
            InsufficientScope: it does not.
        """
        if isinstance(principal.key, PlatformKey):
            if self._scope is None and self._platform is None:
                return
            wanted: Scope | PlatformScope | None = self._platform
        else:
            wanted = self._scope
            if wanted is None:
                return
        if wanted is None:
            raise InsufficientScope("This request is not for platform keys.")
        if wanted not in principal.scopes:
            raise InsufficientScope(f"This request needs the scope {wanted}.")

    async def _tenant_id(self, request: Request, principal: Principal) -> UUID:
        named = _named_tenant(request)
        if principal.tenant is not None:
            if named not in (None, principal.tenant.id):
                raise NotFound("There is no such tenant.")
            return principal.tenant.id
        if named is None:
            if self._tenantless:
                return NO_TENANT
            message = "Who belongs to no tenant has to name one in this header."
            raise InvalidRequest(fields=(FieldError(f"header.{TENANT_HEADER}", message),))
        async with services_of(request).database.transaction(Access.tenant(named)) as connection:
            await tenants.get_tenant(connection, named)
        return named


class RequireAdminFor(Require):
    """A dependency: the administrator, acting for the tenant that it names."""

    def __init__(self) -> None:
        super().__init__(None)

    @property
    def wants(self) -> str | None:
        """The administrator's token, which no scope stands for."""
        return ADMIN

    @property
    def explained(self) -> str:
        """What the document adds to an operation's description."""
        return "\n\nNeeds the administrator's token."

    def _admit(self, principal: Principal) -> None:
        if not principal.is_admin:
            raise InsufficientScope("This request needs the administrator's token.")


class RequirePlatform(Require):
    """A dependency: the administrator, or a platform key with a scope, acting on the platform itself."""

    def __init__(self, platform: PlatformScope | None = None) -> None:
        """Ask for a platform key's scope, or with None for the administrator."""
        super().__init__(None, platform=platform)

    @property
    def wants(self) -> str | None:
        """The platform key's scope, or the administrator's token."""
        return ADMIN if self._platform is None else self._platform.value

    @property
    def explained(self) -> str:
        """What the document adds to an operation's description."""
        return f"\n\nNeeds {self._needed}."

    @property
    def _needed(self) -> str:
        if self._platform is None:
            return "the administrator's token"
        return f"the administrator's token, or a platform key with `{self._platform.value}`"

    def _admit(self, principal: Principal) -> None:
        held = principal.is_platform and self._platform is not None and self._platform in principal.scopes
        if not held and not principal.is_admin:
            raise InsufficientScope(f"This request needs {self._needed}.")

    async def _tenant_id(self, request: Request, principal: Principal) -> UUID:
        if not principal.is_platform and "tenant_id" in request.path_params:
            return await super()._tenant_id(request, principal)
        return NO_TENANT


def _named_tenant(request: Request) -> UUID | None:
    """The tenant that the path or the header names.

    Raises:
        InvalidRequest: that is no id.
    """
    in_path = request.path_params.get("tenant_id")
    text = in_path if in_path is not None else request.headers.get(TENANT_HEADER)
    if text is None:
        return None
    try:
        return UUID(str(text))
    except ValueError:
        place = "path.tenant_id" if in_path is not None else f"header.{TENANT_HEADER}"
        raise InvalidRequest(fields=(FieldError(place, "This is no id."),)) from None
