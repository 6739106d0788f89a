"""The upstream call of each kind of operation, for its present step."""

from __future__ import annotations

from collections.abc import Callable

from app.operations.executor import Call
from app.operations.operation import Operation
from app.operations.states import Kind
from app.upstream.client import UpstreamClient
from app.upstream.wire import PurchasedOrder
from app.values import Period, PeriodUnit


def call_of(operation: Operation) -> Call:
    """The call that carries out an operation's present step."""
    return _CALLS[operation.kind](operation)


def period_of(operation: Operation) -> Period:
    """The period that an operation buys."""
    wanted = operation.request["period"]
    return Period(PeriodUnit(wanted["unit"]), wanted["count"])


def _create(operation: Operation) -> Call:
    """`create` for one service, `create_multi` for several on one number."""
    request = operation.request
    services: list[str] = request["services"]
    country, operator, period = request["upstream_country"], request["operator"], period_of(operation)

    async def one(client: UpstreamClient, api_key: str, send_by: float) -> tuple[PurchasedOrder, ...]:
        return await client.create(
            api_key, country=country, service=services[0], period=period, operator=operator, send_by=send_by
        )

    async def several(client: UpstreamClient, api_key: str, send_by: float) -> tuple[PurchasedOrder, ...]:
        return await client.create_multi(
            api_key, country=country, services=services, period=period, operator=operator, send_by=send_by
        )

    return Call("create", one) if len(services) == 1 else Call("create_multi", several)


def _activate(operation: Operation) -> Call:
    async def make(client: UpstreamClient, api_key: str, send_by: float) -> tuple[PurchasedOrder, ...]:
        await client.activate(api_key, order_id=operation.order["id"], send_by=send_by)
        return ()

    return Call("activate", make)


def _restore(operation: Operation) -> Call:
    async def make(client: UpstreamClient, api_key: str, send_by: float) -> tuple[PurchasedOrder, ...]:
        order_id: str = operation.order["id"]
        restored = await client.restore(api_key, order_id=order_id, send_by=send_by)
        return (PurchasedOrder(restored.order_id or order_id, None, None, None),)

    return Call("restore_user", make)


def _prolong(operation: Operation) -> Call:
    """`prolong_max` for days, `prolong` for weeks and months."""
    period = period_of(operation)

    async def by_days(client: UpstreamClient, api_key: str, send_by: float) -> tuple[PurchasedOrder, ...]:
        order_id = operation.order["id"]
        await client.prolong_max(api_key, order_id=order_id, days=period.count, send_by=send_by)
        return ()

    async def by_more(client: UpstreamClient, api_key: str, send_by: float) -> tuple[PurchasedOrder, ...]:
        order_id = operation.order["id"]
        await client.prolong(api_key, order_id=order_id, period=period, send_by=send_by)
        return ()

    return Call("prolong_max", by_days) if period.unit is PeriodUnit.DAY else Call("prolong", by_more)


def _add_service(operation: Operation) -> Call:
    request = operation.request

    async def make(client: UpstreamClient, api_key: str, send_by: float) -> tuple[PurchasedOrder, ...]:
        made = await client.add_service(
            api_key,
            order_id=operation.order["id"],
            service=request["service"],
            phone_number=request["phone_number"],
            days=request.get("days"),  # operations of before it could be said have none
            send_by=send_by,
        )
        return () if made is None else (made,)

    return Call("add_service_to_order", make)


def _delete(operation: Operation) -> Call:
    async def make(client: UpstreamClient, api_key: str, send_by: float) -> tuple[PurchasedOrder, ...]:
        await client.delete(api_key, order_id=operation.order["id"], send_by=send_by)
        return ()

    return Call("delete", make)


_CALLS: dict[Kind, Callable[[Operation], Call]] = {
    Kind.CREATE: _create,
    Kind.ACTIVATE: _activate,
    Kind.RESTORE: _restore,
    Kind.PROLONG: _prolong,
    Kind.ADD_SERVICE: _add_service,
    Kind.DELETE: _delete,
}
