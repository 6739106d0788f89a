"""What the gateway would not see, or not do, because of what is set aside; in sentences for operators."""

from __future__ import annotations

from collections.abc import Iterator

from app.probe.report import MethodReport, Result

INCOMPLETE = {
    "orders": "The list of orders would be incomplete: what it doesn't show may be there, so no rental would"
    " be closed by it, and no purchase settled as not made. Rows without a readable id are not seen.",
    "get_rent_history": "The archive would be incomplete: it would prove no purchase as not made. Orders"
    " without a readable id would be neither closed nor imported by it.",
    "sms": "Messages without a readable text would not be seen, and synced_at of the rental's messages would"
    " stand still.",
    "getcountries": "Countries without a readable code would be missing: nothing could be rented there.",
    "getdata": "Offers without a readable service or price would be missing: they could not be bought.",
    "getdataWithProviders": "Offers without a readable service or price would be missing.",
    "get_default_services": "Services without a readable code would be missing from the list of services.",
    "get_country_by_service": "Countries without a readable code or price would be missing from the list of"
    " where a service can be rented.",
    "getcount": "Services whose count can't be read would be missing from a country's stock.",
    "getCountWithProviders": "Services that can't be read would be missing from a country's stock.",
    "get_days_canada_paypal": "Choices without a readable number of days would be missing.",
}
"""By method: what it means that its list can't be read whole."""

FIELDS = {
    ("orders", "until"): "The end of such an order would be unknown, or stay as it was last read.",
    ("orders", "state"): "Whether such a number can receive would be unknown, or stay as it was last read.",
    ("orders", "pnumber"): "The phone number of such an order would be unknown, or stay as it was last read.",
    ("orders", "scode"): "The service of such an order would be unknown, or stay as it was last read.",
    (
        "orders",
        "hasnewsms",
    ): "Whether such an order has new messages would be unknown, or stay as it was last read.",
    ("get_rent_history", "closed"): "Whether such an order was closed would be unknown.",
    ("get_rent_history", "end"): "When such an order ended would be unknown.",
    ("sms", "date"): "Such a message would have no time.",
    ("sms", "sender"): "Such a message would have no sender.",
    ("restore_user_precalc", "price"): "Nothing could be restored: there would be no price.",
    ("restore_user_precalc", "orderid"): "Nothing could be restored: the price is another order's.",
}
"""By method and the last name of the path: what it means that a field can't be read."""

UNREADABLE = "Nothing of such an answer is used: what was read before stays, and the call counts as failed."

OTHER_FIELD = "What can't be read would be unknown; the rest is read."


def consequences(report: MethodReport) -> Iterator[str]:
    """The sentences that fit what was found of a method, each once."""
    if any(call.complete is False for call in report.calls) and report.method in INCOMPLETE:
        yield INCOMPLETE[report.method]
    unreadable = any(call.result is Result.UNREADABLE for call in report.calls)
    if unreadable:
        yield UNREADABLE
    names = {finding.field.rpartition(".")[2] for finding in report.set_aside}
    told = [FIELDS[report.method, name] for name in sorted(names) if (report.method, name) in FIELDS]
    yield from told
    incomplete = any(call.complete is False for call in report.calls)
    if report.set_aside and not told and not incomplete and not unreadable:
        yield OTHER_FIELD
