"""How each kind of operation is carried out: its upstream call, and what its outcome changes."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from app.operations.executor import Plan
from app.operations.ledger import Operation
from app.rentals import settlement
from app.upstream.client import UpstreamClient
from app.upstream.wire import PurchasedOrder, Restored
from app.values import Period, PeriodUnit


def purchase_plan(operation: Operation) -> Plan[Sequence[PurchasedOrder]]:
    """How a purchase is made: by `create` for one service, by `create_multi` for several on one number."""
    request = operation.request
    services: list[str] = request["services"]
    period = Period(PeriodUnit(request["period"]["unit"]), request["period"]["count"])

    async def call(client: UpstreamClient, api_key: str, send_by: float) -> Sequence[PurchasedOrder]:
        if len(services) == 1:
            return await client.create(
                api_key,
                country=request["upstream_country"],
                service=services[0],
                period=period,
                operator=request["operator"],
                send_by=send_by,
            )
        return await client.create_multi(
            api_key,
            country=request["upstream_country"],
            services=services,
            period=period,
            operator=request["operator"],
            send_by=send_by,
        )

    async def succeeded(
        connection: AsyncConnection, settled: Operation, orders: Sequence[PurchasedOrder]
    ) -> None:
        bought = [settlement.BoughtOrder(o.order_id, o.phone_number, o.service, o.expires_at) for o in orders]
        await settlement.purchased(connection, settled, bought)

    return Plan(
        method="create" if len(services) == 1 else "create_multi",
        call=call,
        succeeded=succeeded,
        failed=settlement.purchase_failed,
        pending=settlement.purchase_pending,
    )


def activation_plan(operation: Operation) -> Plan[None]:
    """How a number is activated."""

    async def call(client: UpstreamClient, api_key: str, send_by: float) -> None:
        order_id = operation.request["upstream_order_id"]
        await client.activate(api_key, order_id=order_id, send_by=send_by)

    async def succeeded(connection: AsyncConnection, settled: Operation, _result: None) -> None:
        await settlement.activated(connection, settled)

    return Plan("activate", call, succeeded, settlement.activation_failed, settlement.still_pending)


def restore_plan(operation: Operation) -> Plan[Restored]:
    """How a rental is restored."""

    async def call(client: UpstreamClient, api_key: str, send_by: float) -> Restored:
        order_id = operation.request["upstream_order_id"]
        return await client.restore(api_key, order_id=order_id, send_by=send_by)

    async def succeeded(connection: AsyncConnection, settled: Operation, result: Restored) -> None:
        await settlement.restored(connection, settled, result.order_id)

    return Plan("restore_user", call, succeeded, settlement.restore_failed, settlement.still_pending)
