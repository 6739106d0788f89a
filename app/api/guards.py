"""What a route asks of its caller: a dependency that gives the request's Context, or refuses it."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response

from app.api.auth import ADMIN, TENANT_HEADER, Credentials, Principal, address_of, authenticate
from app.api.context import Context, transaction_of
from app.audit.caller import Caller
from app.database import PLATFORM, Access
from app.errors import FieldError, InsufficientScope, InvalidRequest, NotFound
from app.idempotency.repository import NO_TENANT
from app.tenants import service as tenants
from app.tenants.platform_keys import PlatformKey
from app.tenants.scopes import PlatformScope, Scope


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

    async def __call__(self, request: Request, response: Response, _: Credentials = None) -> Context:
        """The request as its route sees it.

        Raises:
            RentgateError: as `caller_of`.
        """
        caller = await self.caller_of(request)
        return Context(caller, self._access(caller), request, response)

    async def caller_of(self, request: Request) -> Caller:
        """Who makes the request; asked once a request.

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

    def _access(self, caller: Caller) -> Access:
        return Access.tenant(caller.tenant_id)

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
        async with transaction_of(request, named) as connection:
            await tenants.get_tenant(connection, named)
        return named


RentalsReader = Annotated[Context, Depends(Require(Scope.RENTALS_READ))]
RentalsWriter = Annotated[Context, Depends(Require(Scope.RENTALS_WRITE))]


class RequirePlatform(Require):
    """A dependency: the administrator, or a platform key with a scope, acting on the platform itself."""

    def __init__(self, platform: PlatformScope | None = None, *, in_tenant: bool = False) -> None:
        """Ask for a platform key's scope, or with None for the administrator.

        Args:
            in_tenant: it acts on the tenant that it names.
        """
        super().__init__(None, platform=platform)
        self._in_tenant = in_tenant

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

    def _access(self, caller: Caller) -> Access:
        return super()._access(caller) if self._in_tenant else PLATFORM

    def _admit(self, principal: Principal) -> None:
        held = principal.is_platform and self._platform is not None and self._platform in principal.scopes
        if not held and not principal.is_admin:
            raise InsufficientScope(f"This request needs {self._needed}.")

    async def _tenant_id(self, request: Request, principal: Principal) -> UUID:
        if self._in_tenant or (not principal.is_platform and "tenant_id" in request.path_params):
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
