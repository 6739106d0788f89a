"""Buying a number: the call, what shows that it was made, and the rental that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from psycopg.types.json import Jsonb
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import NOW
from app.database.pipeline import Query, run, run_together
from app.errors import RentgateError
from app.events.notifications import notify
from app.events.types import EventType
from app.kinds.kind import END_TOLERANCE, Evidence, Kind, announce, may_hide
from app.operations.call import Call
from app.operations.operation import Operation
from app.operations.request import Amount, Request
from app.rentals import repository
from app.rentals.models import rentals
from app.rentals.schemas import Rental
from app.upstream.wire import NumberState, Order, PurchasedOrder
from app.values import Period

_DIGITS = "0123456789"


class CreateRequest(Request):
    """What a purchase is asked to do; `max_price` is US dollars for the whole of it."""

    INTERNAL: ClassVar[frozenset[str]] = frozenset({"upstream_country", "service_names"})

    country: str
    upstream_country: str
    services: tuple[str, ...]
    service_names: dict[str, str]
    period: Period
    operator: str | None
    activate: bool
    max_price: Amount | None = None
    metadata: dict[str, str]


_RIVAL = """
    select exists (
        select from operations
        where tenant_id = %(tenant_id)s and upstream_key_id = %(upstream_key_id)s
            and state in ('sent', 'unknown') and kind = 'create' and id <> %(operation_id)s
            and request ->> 'country' = %(country)s and request -> 'services' ?| %(services)s
    ) as found
"""


def _call(operation: Operation) -> Call:
    """`create` for one service, `create_multi` for several on one number."""
    request = CreateRequest.of(operation.request)
    services, period, operator = request.services, request.period, request.operator
    country, rival = request.upstream_country, _rival(operation, request)
    if len(services) > 1:
        return Call(
            "create_multi",
            lambda client, key, by: client.create_multi(
                key, country=country, services=services, period=period, operator=operator, send_by=by
            ),
            rival,
            len(services),
        )
    return Call(
        "create",
        lambda client, key, by: client.create(
            key, country=country, service=services[0], period=period, operator=operator, send_by=by
        ),
        rival,
        1,
    )


def _rival(operation: Operation, request: CreateRequest) -> Query[bool]:
    """Whether an order of this purchase could be taken for that of one whose outcome is open."""
    values = {
        "tenant_id": operation.tenant_id,
        "upstream_key_id": operation.upstream_key_id,
        "operation_id": operation.id,
        "country": request.country,
        "services": list(request.services),
    }
    return Query(_RIVAL, values, lambda answer: bool(answer.row.found))


def _fitting(evidence: Evidence) -> list[list[Order]]:
    request = CreateRequest.of(evidence.operation.request)
    groups: dict[str, list[Order]] = {}
    for order in evidence.new:
        if _is_purchase(request, evidence.sent_at, order):
            groups.setdefault(order.phone_number or order.order_id, []).append(order)
    return list(groups.values())


def _is_purchase(request: CreateRequest, sent_at: datetime, order: Order) -> bool:
    """By country, service and end."""
    if order.codes.isdisjoint(request.services) or not _is_of(request.country, order):
        return False
    if order.expires_at is None:
        return True
    return abs(order.expires_at - sent_at - timedelta(days=request.period.days)) <= END_TOLERANCE


def _is_of(country: str, order: Order) -> bool:
    """Whether an order may be of a country. Those of a pool such as `US3` may well be listed as of `US`: what
    isn't known for another's must not be lost.
    """
    return order.country is None or order.country.rstrip(_DIGITS) == country.rstrip(_DIGITS)


def _would_show(evidence: Evidence) -> bool:
    services = set(CreateRequest.of(evidence.operation.request).services)
    return not any(may_hide(order, services, None) for order in evidence.new)


ACTIVATION_GRACE = timedelta(seconds=60)
"""How long the request that bought a number has to activate it before the worker does."""


_WANTED = """
    tenant_id, id, upstream_key_id, country, services, period_unit, period_count, price, metadata, created_at,
    source"""
_WANTED_VALUES = """
    %(tenant_id)s, %(id)s, %(upstream_key_id)s, %(country)s, %(services)s, %(period_unit)s, %(period_count)s,
    %(price)s, %(metadata)s, %(created_at)s, 'gateway'"""
"""What a purchase's request tells of its rental."""

_SAVE_BOUGHT = f"""
    insert into rentals ({_WANTED}, status, number_state, phone_number, expires_at, activate_after,
        changed_at, synced_at)
    values ({_WANTED_VALUES}, 'active', 'inactive', %(phone_number)s, %(expires_at)s,
        clock_timestamp() + %(activate_in)s::interval, clock_timestamp(), clock_timestamp())
    on conflict (tenant_id, id) do update
    set status = excluded.status, number_state = excluded.number_state, pending_operation_id = null,
        phone_number = excluded.phone_number, expires_at = excluded.expires_at,
        activate_after = excluded.activate_after, changed_at = excluded.changed_at,
        synced_at = excluded.synced_at
"""  # noqa: S608 - put together of our own words

_SAVE_PENDING = f"""
    insert into rentals ({_WANTED}, status, pending_operation_id)
    values ({_WANTED_VALUES}, 'pending', %(operation_id)s)
    on conflict (tenant_id, id) do update
    set status = excluded.status, pending_operation_id = excluded.pending_operation_id
    returning xmax = 0 as inserted
"""  # noqa: S608 - put together of our own words
"""xmax is 0 only in a row that this very statement inserted."""


async def _bought(
    connection: AsyncConnection, operation: Operation, orders: Sequence[PurchasedOrder]
) -> None:
    """The purchase was made: its rental is active, whether it was pending before or not there yet."""
    request = CreateRequest.of(operation.request)
    told = {
        "phone_number": next((order.phone_number for order in orders if order.phone_number), None),
        "expires_at": min((order.expires_at for order in orders if order.expires_at), default=None),
        "activate_in": ACTIVATION_GRACE if request.activate else None,
    }
    saving_orders = [
        repository.saving_order(
            operation.tenant_id,
            operation.upstream_key_id,
            order.order_id,
            rental_id=operation.rental_id,
            service=order.service or request.services[0],
            phone_number=order.phone_number,
            country=request.country,
            expires_at=order.expires_at,
            number_state=NumberState.INACTIVE.value,
        )
        for order in orders
    ]
    saving = Query(_SAVE_BOUGHT, _wanted(operation, request) | told, lambda _: None)
    await run_together(connection, saving, *saving_orders)
    notify(connection, operation.rental_id)


async def _done(connection: AsyncConnection, operation: Operation, event: EventType | None) -> Rental:
    """The rental is there: tell of it."""
    return await announce(connection, operation, event or EventType.RENTAL_CREATED)


async def _pending(connection: AsyncConnection, operation: Operation) -> None:
    """The outcome is open: the caller gets a pending rental to look at."""
    values = _wanted(operation, CreateRequest.of(operation.request)) | {"operation_id": operation.id}
    inserted = await run(connection, Query(_SAVE_PENDING, values, lambda answer: answer.row.inserted))
    notify(connection, operation.rental_id)
    if inserted:
        await announce(connection, operation, EventType.RENTAL_PENDING)


async def _in_review(connection: AsyncConnection, operation: Operation) -> None:
    """Only a person can tell whether the purchase was made: its rental says so."""
    await _pending(connection, operation)
    await repository.update(connection, operation.tenant_id, operation.rental_id, status="review")


async def _failed(connection: AsyncConnection, operation: Operation, _error: RentgateError) -> None:
    """The purchase was not made: a pending rental fails; where there was none, none is left."""
    result = await connection.execute(
        rentals.update()
        .where(rentals.c.tenant_id == operation.tenant_id, rentals.c.id == operation.rental_id)
        .values(status="failed", pending_operation_id=None, changed_at=NOW)
    )
    if result.rowcount:
        await announce(connection, operation, EventType.RENTAL_FAILED)


def _wanted(operation: Operation, request: CreateRequest) -> dict[str, Any]:
    """The values of _WANTED."""
    return {
        "tenant_id": operation.tenant_id,
        "id": operation.rental_id,
        "upstream_key_id": operation.upstream_key_id,
        "country": request.country,
        "services": Jsonb(
            [{"code": code, "name": request.service_names.get(code)} for code in request.services]
        ),
        "period_unit": request.period.unit.value,
        "period_count": request.period.count,
        "price": operation.price,
        "metadata": Jsonb(request.metadata),
        "created_at": operation.created_at,
    }


KIND = Kind(
    name="create",
    spends=True,
    status=201,
    request=CreateRequest,
    call=_call,
    fitting=_fitting,
    would_show=_would_show,
    step_done=_bought,
    done=_done,
    failed=_failed,
    left_open=_pending,
    in_review=_in_review,
)
