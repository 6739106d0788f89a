"""What the probe asks, in this order: the methods of the upstream that cost and change nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from app.probe import account, catalog
from app.probe.report import MethodReport
from app.probe.session import Session


@dataclass(frozen=True, slots=True)
class Probed:
    """A method that the probe asks.

    Attributes:
        method: the upstream's method.
        keyed: whether it is called with the account's key.
        ask: makes its calls in a session, one after the other, or notes why it makes none.
    """

    method: str
    keyed: bool
    ask: Callable[[Session], Awaitable[None]]


METHODS = (
    Probed("getcountries", False, catalog.countries),
    Probed("orders", True, account.orders),
    Probed("sms", True, account.sms),
    Probed("get_rent_history", True, account.history),
    Probed("restore_user_precalc", True, account.restore_precalc),
    Probed("balance", True, account.balance),
    Probed("get_default_services", False, catalog.default_services),
    Probed("getdata", False, catalog.offers),
    Probed("getdataWithProviders", False, catalog.offers_with_operators),
    Probed("get_country_by_service", False, catalog.countries_of_service),
    Probed("getcount", False, catalog.stock),
    Probed("getCountWithProviders", False, catalog.stock_by_operator),
    Probed("get_count_multi", False, catalog.stock_of_all),
    Probed("get_min_paypal_days", False, catalog.minimum_days),
    Probed("get_days_canada_paypal", False, catalog.day_choices),
)
"""Each method once."""


async def run(session: Session, methods: Sequence[Probed], tell: Callable[[MethodReport], None]) -> None:
    """Ask each method, and tell what was found of it; `session.report` holds it all in the end."""
    for probed in methods:
        session.begin(probed.method, keyed=probed.keyed)
        await probed.ask(session)
        tell(session.current)
