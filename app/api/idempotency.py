"""The Idempotency-Key: a route whose POST and DELETE answer the same request again with the same answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from app.api.auth import authenticate
from app.api.context import claim_of, transaction_of
from app.api.guards import Require
from app.api.middleware import canonical
from app.api.problems import MEDIA_TYPE, problem_response, understood
from app.api.responses import GatewayRoute
from app.api.wired import services_of
from app.audit.caller import Caller
from app.errors import (
    FieldError,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    InvalidRequest,
    PurchaseNotMade,
    RentgateError,
)
from app.idempotency import repository as idempotency
from app.idempotency.repository import Claim, Remembered
from app.kinds.registry import kind_of
from app.operations import lookup
from app.operations.operation import Operation, error_of
from app.operations.states import State
from app.rentals.schemas import Rental
from app.telemetry.redaction import redacted

HEADER, REPLAYED = "Idempotency-Key", "Idempotency-Replayed"
LONGEST_KEY = 255

NEVER_REMEMBERED = frozenset({401, 408, 429})
"""Statuses of answers that are given anew each time."""
_PASSING = frozenset({"operation_pending", "spend_limit_exceeded", "idempotency_key_in_use"})
"""Codes of 4xx answers that tell of the moment rather than of the request."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class IdempotentRoute(GatewayRoute):
    """A route that takes an Idempotency-Key on POST and DELETE."""

    common = dict.fromkeys(("POST", "DELETE"), (IdempotencyKeyInUse, IdempotencyKeyReused))

    def get_route_handler(self) -> Handler:
        """The handler, wrapped where keys are taken."""
        handler = super().get_route_handler()
        if not (self.methods or set()) & {"POST", "DELETE"}:
            return handler
        guard = next(d.call for d in self.dependant.dependencies if isinstance(d.call, Require))

        async def idempotent(request: Request) -> Response:
            await authenticate(request)  # before anything that was sent is looked at
            if HEADER not in request.headers:
                return await handler(request)
            key = _key(request)
            caller = await guard.caller_of(request)
            found = await _claim(request, caller, key)
            if isinstance(found, Remembered):
                return await _replay(request, caller, found)
            request.state.claim = found
            response = await _answer(handler, request)
            await _keep(request, caller, found, response)
            return response

        return idempotent


def _key(request: Request) -> str:
    key = request.headers[HEADER]
    if not 1 <= len(key) <= LONGEST_KEY or not key.isprintable():
        message = f"This has to be 1 to {LONGEST_KEY} printable characters."
        raise InvalidRequest(fields=(FieldError(f"header.{HEADER}", message),))
    if redacted(key) != key:
        message = "This holds a token or a password, and would be kept in clear."
        raise InvalidRequest(fields=(FieldError(f"header.{HEADER}", message),))
    return key


async def _claim(request: Request, caller: Caller, key: str) -> Claim | Remembered:
    services = services_of(request)
    settings = services.settings
    scope = request.scope
    line = f"{request.method} {scope['path']}?".encode() + scope["query_string"]
    asked = line + b"\n" + canonical(await request.body())
    # A claim that lapses too soon costs its request a 409, never a second purchase.
    longest = 3 * settings.upstream_timeout + 2 * settings.purchase_wait + 5
    await services.keyring.make_ready(services.database)
    async with transaction_of(request, caller.tenant_id) as connection:
        fingerprint = await services.keyring.fingerprint(connection, "request", asked)
        return await idempotency.claim(connection, caller.tenant_id, key, fingerprint, longest)


async def _answer(handler: Handler, request: Request) -> Response:
    try:
        return await handler(request)
    except Exception as error:
        meant = understood(error)
        if meant is None:
            await _release(request)
            raise
        request.state.error_code = meant.code
        return problem_response(request, meant)


async def _keep(request: Request, caller: Caller, claim: Claim, response: Response) -> None:
    if getattr(request.state, "answer_kept", False):
        return
    if not _to_remember(response.status_code, getattr(request.state, "error_code", None)):
        await _release(request)
        return
    body = json.loads(bytes(response.body)) if response.body else None
    try:
        async with transaction_of(request, caller.tenant_id) as connection:
            await idempotency.remember(
                connection,
                claim,
                status=response.status_code,
                body=body,
                location=response.headers.get("Location"),
            )
    except RentgateError:
        return  # a change is remembered by its operation all the same, and a refusal can be met again


async def _release(request: Request) -> None:
    """Free the key, unless an operation hangs on it that may still have an outcome to tell."""
    claim = claim_of(request)
    if claim is None:
        return
    try:
        async with transaction_of(request, claim.tenant_id) as connection:
            operation_id = await idempotency.attached_operation(connection, claim)
            if operation_id is not None:
                operation = await lookup.get(connection, claim.tenant_id, operation_id)
                if operation.state is not State.FAILED:
                    return
            await idempotency.forget(connection, claim)
    except RentgateError:
        return


def _to_remember(status: int, code: str | None) -> bool:
    if code in _PASSING or status in NEVER_REMEMBERED:
        return False
    return 200 <= status < 300 or 400 <= status < 500 or code == "upstream_error"


async def _replay(request: Request, caller: Caller, known: Remembered) -> Response:
    response = await _remembered(request, caller, known)
    response.headers[REPLAYED] = "true"
    return response


async def _remembered(request: Request, caller: Caller, known: Remembered) -> Response:
    open_answer = known.status in (None, 202) and known.operation_id is not None
    if open_answer and known.operation_id is not None:
        async with transaction_of(request, caller.tenant_id) as connection:
            operation = await lookup.get(connection, caller.tenant_id, known.operation_id)
        if kind_of(operation).status != known.status:
            return await _present_state(request, caller, known, operation)
    status = known.status or 200
    if known.body is None:
        return Response(status_code=status, headers=_location(known.location))
    media_type = MEDIA_TYPE if status >= 400 else "application/json"
    return JSONResponse(known.body, status, _location(known.location), media_type)


async def _present_state(
    request: Request, caller: Caller, known: Remembered, operation: Operation
) -> Response:
    """How an operation stands now, as its own request would be answered."""
    if operation.state is State.FAILED:
        if known.status is not None or operation.answered_at is not None:
            return problem_response(request, operation.not_made)
        error = error_of(operation)
        surely_not_sent = operation.sent_at is None or error.code != PurchaseNotMade.code
        if surely_not_sent and not _to_remember(error.status, error.code):
            # Its process died before it could free the key of a request that came to nothing.
            async with transaction_of(request, caller.tenant_id) as connection:
                await idempotency.forget_operation(connection, caller.tenant_id, operation.id)
            raise IdempotencyKeyInUse(retry_after=1)
        return problem_response(request, error)
    if known.status is None and operation.state in (State.QUEUED, State.SENT):
        raise IdempotencyKeyInUse(retry_after=1)
    rental: Rental = await services_of(request).rentals.get(caller, operation.rental_id)
    status = 202 if operation.is_open else kind_of(operation).status
    if status == 204:
        return Response(status_code=204)
    location = f"/rentals/{rental.id}" if kind_of(operation).status == 201 else None
    return JSONResponse(rental.model_dump(mode="json"), status, _location(location))


def _location(location: str | None) -> dict[str, str]:
    return {} if location is None else {"Location": location}
