"""What is sold: countries, services, prices, stock, and the least number of days. No key is needed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from app.sandbox.methods.call import Call
from app.sandbox.shop import (
    COUNTRIES,
    DISCOUNT_DAYS,
    DISCOUNT_PERCENT,
    LONGEST_DAYS,
    MINIMUM_DAYS,
    SERVICES,
    list_price,
)

_PAYPAL = ("CA", "opt83")


def countries(_call: Call) -> Any:
    """Where numbers can be rented."""
    return [
        {
            "name": country.name,
            "code": country.code,
            "url_country_name": country.name.strip().lower().replace(" ", "-"),
            "rent_switch_type": country.switch_type,
            "rent_avail_prolong": "1" if country.prolongable else "0",
        }
        for country in COUNTRIES.values()
    ]


def default_services(_call: Call) -> Any:
    """All services, each with the lowest price of a day."""
    return [
        {
            "name": name,
            "service": service,
            "priceForDay": str(min(list_price(country, service) for country in COUNTRIES.values())),
            "img": f"{service}.png",
            "DAYP": str(DISCOUNT_DAYS),
            "PROC": str(DISCOUNT_PERCENT),
        }
        for service, name in SERVICES.items()
    ]


def countries_of_service(call: Call) -> Any:
    """Where a service can be rented, by the country's code."""
    service, days = call.service(), call.days_or_week()
    return {
        code: {
            "service_name": SERVICES[service],
            "price": str(call.world.price_of_day(code, service, days)),
            "procent_days": str(DISCOUNT_DAYS),
            "procent": str(DISCOUNT_PERCENT),
            "day_step": "1",
            "country": code,
            "phoneAmount": call.world.stock[code, service],
        }
        for code in COUNTRIES
    }


def offers(call: Call) -> Any:
    """What a country offers for a period. `extend` is taken, and nobody knows what it is for."""
    country, days = call.country(), call.days_or_week()
    rows = [
        {
            "name": name,
            "service": service,
            "price_day": number(call.world.price_of_day(country, service, days)),
            "count": call.world.stock[country, service],
            "img": f"{service}.png",
            "procent_days": DISCOUNT_DAYS,
            "procent": DISCOUNT_PERCENT,
            "day_step": 1,
        }
        for service, name in SERVICES.items()
    ]
    return {"services": rows, "totalAmount": sum(row["count"] for row in rows)}


def offers_by_operator(call: Call) -> Any:
    """Likewise, with the numbers of each operator."""
    data, country = offers(call), call.country()
    for row in data["services"]:
        row["totalCount"] = row["count"]
        row["count"] = call.world.stock.by_operator(country, row["service"])
    return {**data, "allOperators": list(COUNTRIES[country].operators)}


def counts(call: Call) -> Any:
    """How many numbers there are, by service; the number 0 where there are none at all."""
    country, _ = call.country(), call.days_or_week()
    left = {service: call.world.stock[country, service] for service in SERVICES}
    return left if any(left.values()) else 0


def counts_by_operator(call: Call) -> Any:
    """Likewise, with the numbers of each operator."""
    country, _ = call.country(), call.days_or_week()
    stock = call.world.stock
    return {
        service: {"Amount": stock.by_operator(country, service), "Total": stock[country, service]}
        for service in SERVICES
    }


def count_for_all(call: Call) -> Any:
    """How many numbers can take all of some services.

    The provider's client warns that `dtype` and `dcount` must always be sent: without them, only the first of
    the services is counted here.
    """
    country, services = call.country(), call.services()
    if not (call.text("dtype") and call.text("dcount")):
        return {"count": call.world.stock[country, services[0]]}
    call.days()
    return {"count": sum(call.world.stock.for_all(country, services).values())}


def minimum_paypal_days(call: Call) -> Any:
    """For how many days a service has to be rented at least in a country; 0 where there is no such rule."""
    country, service = call.country(), call.service()
    days = MINIMUM_DAYS.get((country, service), 0)
    message = f"Min {days} days for {SERVICES[service]}" if days else ""
    return {"Days": days, "Status": 1 if days else 0, "Message": message}


def canada_paypal_days(call: Call) -> Any:
    """For how many days PayPal can be rented in Canada, and how many numbers there are for that."""
    least = MINIMUM_DAYS[_PAYPAL]
    return [
        {"Days": days, "Amount": call.world.stock[_PAYPAL]}
        for days in range(least, LONGEST_DAYS + 1, DISCOUNT_DAYS)
    ]


def number(amount: Decimal) -> int | float:
    """An amount as JSON's number."""
    return int(amount) if amount == amount.to_integral_value() else float(amount)
