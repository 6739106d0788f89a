"""Who calls, and what for: from a bearer token to a Caller with the rights that its request needs."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.throttle import Throttle
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
from app.tenants.scopes import ALL_SCOPES, Scope
from app.tenants.service import ApiKey, Tenant
from app.wiring import Services

ADMIN = "admin"
TENANT_HEADER = "X-Tenant-ID"

bearer_scheme = HTTPBearer(
    auto_error=False,
    scheme_name="bearer",
    description="A tenant's API key (`rg_…`), or the administrator's token.",
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(bearer_scheme)]


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose token a request came with: the administrator's, or an API key's."""

    tenant: Tenant | None
    api_key: ApiKey | None
    scopes: frozenset[str]

    @property
    def is_admin(self) -> bool:
        """Whether it may do everything for every tenant."""
        return self.api_key is None

    @property
    def actor(self) -> str:
        """How it is called in events and in the audit trail."""
        return ADMIN if self.api_key is None else f"api_key:{self.api_key.id}"


def services_of(request: Request) -> Services:
    """The process's services."""
    services: Services = request.app.state.services
    return services


async def authenticate(request: Request) -> Principal:
    """Whose token the request carries; asked once a request.

    Raises:
        Unauthenticated: nobody's.
        TenantSuspended: that of a suspended tenant.
        RateLimited: too many requests of this key, or too many wrong tokens from this address.
    """
    known: Principal | None = getattr(request.state, "principal", None)
    if known is None:
        known = await _recognise(request)
        request.state.principal = known
        request.state.actor = known.actor
    return known


async def _recognise(request: Request) -> Principal:
    services = services_of(request)
    throttle: Throttle = request.app.state.throttle
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("The request carries no bearer token.")
    admin = services.settings.admin_token
    if admin is not None and hmac.compare_digest(token.encode(), admin.get_secret_value().encode()):
        return Principal(None, None, frozenset(ALL_SCOPES))
    try:
        tenant, api_key = await tenants.recognise(services.database, token)
    except Unauthenticated:
        throttle.count_wrong_token(address_of(request))
        raise
    throttle.count_request(str(api_key.id))
    return Principal(tenant, api_key, frozenset(api_key.scopes))


def address_of(request: Request) -> str:
    """Where a request came from."""
    return request.client.host if request.client else "unknown"


class Require:
    """A dependency: the request's Caller, who holds a scope in the tenant that the request is about."""

    def __init__(self, scope: Scope | None) -> None:
        """Ask for `scope`, or for any valid token with None."""
        self._scope = scope

    async def __call__(self, request: Request, _: Credentials = None) -> Caller:
        """The caller; asked once a request.

        Raises:
            InsufficientScope: the key lacks the scope.
            NotFound: the tenant is not the key's own, or there is none such.
            InvalidRequest: the administrator did not name a tenant.
            RentgateError: as `authenticate`.
        """
        known: Caller | None = getattr(request.state, "caller", None)
        if known is not None:
            return known
        principal = await authenticate(request)
        tenant_id = await self._tenant_id(request, principal)
        if self._scope is not None and self._scope not in principal.scopes:
            raise InsufficientScope(f"This request needs the scope {self._scope}.")
        caller = Caller(tenant_id, principal.actor, address_of(request), request.state.request_id)
        request.state.caller = caller
        request.state.tenant_id = str(tenant_id)
        return caller

    async def _tenant_id(self, request: Request, principal: Principal) -> UUID:
        named = _named_tenant(request)
        if principal.tenant is not None:
            if named not in (None, principal.tenant.id):
                raise NotFound("There is no such tenant.")
            return principal.tenant.id
        if named is None:
            message = "The administrator has to name the tenant in this header."
            raise InvalidRequest(fields=(FieldError(f"header.{TENANT_HEADER}", message),))
        async with services_of(request).database.transaction(Access.tenant(named)) as connection:
            await tenants.get_tenant(connection, named)
        return named


class RequireAdmin(Require):
    """A dependency: the administrator, acting on the tenants themselves."""

    def __init__(self) -> None:
        super().__init__(None)

    async def _tenant_id(self, request: Request, principal: Principal) -> UUID:
        if principal.is_admin:
            return NO_TENANT
        if "tenant_id" in request.path_params:
            await super()._tenant_id(request, principal)
        raise InsufficientScope("This request needs the administrator's token.")


class RequireAdminFor(Require):
    """A dependency: the administrator, acting for the tenant that it names."""

    def __init__(self) -> None:
        super().__init__(None)

    async def _tenant_id(self, request: Request, principal: Principal) -> UUID:
        if not principal.is_admin:
            raise InsufficientScope("This request needs the administrator's token.")
        return await super()._tenant_id(request, principal)


class RequireAnyone(Require):
    """A dependency: any valid token; the administrator may, but need not, name a tenant."""

    def __init__(self) -> None:
        super().__init__(None)

    async def _tenant_id(self, request: Request, principal: Principal) -> UUID:
        if principal.is_admin and _named_tenant(request) is None:
            return NO_TENANT
        return await super()._tenant_id(request, principal)


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
