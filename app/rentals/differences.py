"""What lists make of the rows of orders, these of their rentals, and which events tell of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from app.events.types import EventType
from app.rentals.repository import Row
from app.upstream.wire import NumberState, Order
from app.values import utc_now

_ARRIVALS = {
    NumberState.ACTIVATING: EventType.RENTAL_ACTIVATING,
    NumberState.ACTIVE: EventType.RENTAL_ACTIVATED,
}


def rental_values(rental: Row, orders: Sequence[Row], first: Order | None) -> dict[str, Any]:
    """What a rental's row becomes by its orders' rows, and by its first order as just listed, if it was."""
    listed = [order for order in orders if order.status == "listed"]
    if not listed:
        expired = any(order.status == "expired" for order in orders)
        return {
            "status": "expired" if expired else "deleted",
            "number_state": NumberState.INACTIVE.value,
            "has_new_sms": False,
            "can_prolong": False,
            "activate_after": None,
            "expires_at": max((o.expires_at for o in orders if o.expires_at), default=rental.expires_at),
            "services": _services(rental, orders),
            "synced_at": utc_now(),
        }
    states = [order.number_state for order in listed]
    busiest = next((s.value for s in (NumberState.ACTIVE, NumberState.ACTIVATING) if s in states), states[0])
    values: dict[str, Any] = {
        "status": "active",
        "number_state": busiest,
        "phone_number": next((o.phone_number for o in listed if o.phone_number), rental.phone_number),
        "expires_at": min((o.expires_at for o in listed if o.expires_at), default=rental.expires_at),
        "has_new_sms": any(order.has_new_sms for order in listed),
        "services": _services(rental, listed),
    }
    if first is not None:
        values |= _told(
            can_prolong=first.can_prolong,
            prolong_max=first.prolong_max,
            prolong_until=first.prolong_until,
            last_online_at=first.last_online_at,
        )
    return values


def _services(rental: Row, orders: Sequence[Row]) -> list[dict[str, Any]]:
    """A rental's services: those that it had, by the names that its orders know, and those of its orders."""
    names = {order.service: order.service_name for order in orders if order.service}
    names |= {further["code"]: further["name"] for order in orders for further in order.further_services}
    codes = [service["code"] for service in rental.services]
    return [{"code": s["code"], "name": names.get(s["code"]) or s["name"]} for s in rental.services] + [
        {"code": code, "name": name} for code, name in names.items() if code not in codes
    ]


def _told(**values: Any) -> dict[str, Any]:
    """Those of the values that the upstream tells readably; the others stay what they were."""
    return {name: value for name, value in values.items() if value is not None}


def differences(row: Row, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that a row doesn't have yet."""
    return {key: value for key, value in values.items() if getattr(row, key) != value}


def events_of(rental: Row, changed: Mapping[str, Any], *, prolonged: bool) -> list[EventType]:
    """What is announced of these changes of a rental; `prolonged`: an order's end has moved."""
    found: list[EventType] = []
    match changed.get("status"):
        case "expired":
            return [EventType.RENTAL_EXPIRED]
        case "deleted":
            return [EventType.RENTAL_DELETED]
        # With an operation open, that announces it when it settles.
        case "active" if rental.status in ("expired", "deleted") and rental.pending_operation_id is None:
            found.append(EventType.RENTAL_RESTORED)
    if prolonged and "status" not in changed and later(rental.expires_at, changed.get("expires_at")):
        found.append(EventType.RENTAL_PROLONGED)
    state = changed.get("number_state")
    if state in _ARRIVALS:
        found.append(_ARRIVALS[NumberState(state)])
    elif state is not None and rental.number_state in (NumberState.ACTIVE, NumberState.ACTIVATING):
        found.append(EventType.RENTAL_DEACTIVATED)
    return found


def later(before: datetime | None, end: datetime | None) -> bool:
    """Whether an end has moved on by more than what clocks differ by."""
    return before is not None and end is not None and end - before > timedelta(hours=1)


def order_values(order: Order) -> dict[str, Any]:
    """What an order's row becomes by the order as it is listed."""
    further = [{"code": service.code, "name": service.name} for service in order.further_services]
    return {"missed_looks": 0, "status": "listed"} | _told(
        service=order.service,
        service_name=order.service_name,
        further_services=further or None,
        phone_number=order.phone_number,
        country=order.country,
        number_state=order.state and order.state.value,
        expires_at=order.expires_at,
        end_outdated=None if order.expires_at is None else False,
        has_new_sms=order.has_new_sms,
    )
