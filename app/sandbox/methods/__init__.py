"""The upstream's methods, each on the sandbox's world; a refusal carries the upstream's own words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.sandbox.methods import archive, catalog, orders, purchases
from app.sandbox.methods.call import Call, Purchase
from app.sandbox.options import Habits
from app.sandbox.refusals import Refusal
from app.sandbox.world import World

KEYLESS: Mapping[str, Callable[[Call], Any]] = {
    "getcountries": catalog.countries,
    "get_default_services": catalog.default_services,
    "get_country_by_service": catalog.countries_of_service,
    "getdata": catalog.offers,
    "getdataWithProviders": catalog.offers_by_operator,
    "getcount": catalog.counts,
    "getCountWithProviders": catalog.counts_by_operator,
    "get_count_multi": catalog.count_for_all,
    "get_min_paypal_days": catalog.minimum_paypal_days,
    "get_days_canada_paypal": catalog.canada_paypal_days,
}

KEYED: Mapping[str, Callable[[Call], Any]] = {
    "orders": orders.orders,
    "sms": orders.sms,
    "activate": orders.activate,
    "delete": orders.delete,
    "get_rent_history": archive.history,
    "restore_user_precalc": archive.restore_quote,
}

SPENDING: Mapping[str, Callable[[Call], Purchase]] = {
    "create": purchases.create,
    "create_multi": purchases.create_multi,
    "add_service_to_order": purchases.add_service,
    "prolong": purchases.prolong,
    "prolong_max": purchases.prolong_max,
    "restore_user": archive.restore,
}


def perform(
    world: World,
    method: str,
    parameters: Mapping[str, str],
    habits: Habits,
    *,
    make: bool = True,
) -> Any:
    """Do what a call asks for and return its `data`, in the types of today's form.

    Args:
        make: without it, a call that spends is charged and makes nothing.

    Raises:
        Refusal: with the message that the upstream would give.
    """
    world.settle()
    call = Call(world, parameters, habits)
    if method in KEYLESS:
        return KEYLESS[method](call)
    if method not in KEYED and method not in SPENDING:
        raise Refusal("Incorrect method")
    if call.account is None:
        raise Refusal("Invalid apikey")
    if method in KEYED:
        return KEYED[method](call)
    return _spend(call, method, make=make)


def _spend(call: Call, method: str, *, make: bool) -> Any:
    purchase, account = SPENDING[method](call), call.own
    if account.balance < purchase.price:
        raise Refusal(purchase.too_poor)
    made = purchase.make() if make else []
    call.world.charge(account, method, purchase.price, [order.id for order in made])
    return purchase.told(made) if made else None
