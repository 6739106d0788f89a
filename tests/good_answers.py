"""Answers of the upstream, a method each, in which the gateway can read everything."""

from __future__ import annotations

from typing import Any

WHEN = 1_771_494_473


def success(data: Any, **beside: Any) -> dict[str, Any]:
    return {"status": 1, "data": data, **beside}


ORDER = {
    "id": 40300,
    "scode": "opt16",
    "sname": "Instagram",
    "state": 0,
    "pnumber": "9096068511",
    "ccode": "+7",
    "cname": "RU",
    "hasnewsms": False,
    "until": WHEN,
    "canprolong": True,
    "canprolongmax": 6,
    "canprolonguntil": WHEN,
    "lastonline": WHEN,
}
ARCHIVED = {
    "orderId": 517017,
    "resourceCode": "opt59",
    "number": "79020831944",
    "days": 7,
    "country": "RU",
    "begin": WHEN,
    "end": WHEN,
    "closed": WHEN,
    "isAvailForRestore": True,
}
OFFER = {"name": "Avito", "service": "opt59", "price_day": 0.35, "count": 3, "procent_days": 7}
QUOTE = {
    "ccode": "RU",
    "scode": "opt59",
    "price": 2.4,
    "sname": "Avito",
    "pnumber": "79020831944",
    "outdays": 32,
    "orderid": 517017,
    "prolongTo": 30,
}
GOOD: dict[str, Any] = {
    "getcountries": success(
        [{"name": "Россия", "code": "RU", "rent_switch_type": "FAST", "rent_avail_prolong": "1"}]
    ),
    "orders": success([ORDER]),
    "sms": success(
        {"SmsList": [{"text": "Code: 671 094", "sender": "FACEBOOK", "date": WHEN}], "OtherSms": []}
    ),
    "get_rent_history": success([ARCHIVED]),
    "restore_user_precalc": success(QUOTE),
    "get_default_services": success([{"name": "Avito", "service": "opt59", "priceForDay": "0.35"}]),
    "getdata": success({"services": [OFFER], "totalAmount": 3}),
    "getdataWithProviders": success(
        {"services": [{**OFFER, "count": {"MTS": 3}, "totalCount": 3}], "allOperators": ["MTS"]}
    ),
    "get_country_by_service": success({"RU": {"country": "RU", "price": "0.35", "phoneAmount": 3}}),
    "getcount": success({"opt59": 3}),
    "getCountWithProviders": success({"opt59": {"Amount": {"MTS": 3}, "Total": 3}}),
    "get_count_multi": success({"count": 3}),
    "get_min_paypal_days": success({"Days": 7, "Status": 1, "Message": "at least a week"}),
    "get_days_canada_paypal": success([{"Days": 30, "Amount": 2}]),
}
