"""The upstream's API, a method a call. Every call is made once and raises nothing but CallFailed.

The methods and their parameters are those of the provider's rental page and of its own Python client
(smspva-sdk 0.1.0a2, October 2026).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from app.errors import RentgateError, UpstreamBadResponse, UpstreamRefusal
from app.upstream import account_answers, catalog_answers, message_answers, stock_answers, wire
from app.upstream.emptiness import with_listed_data
from app.upstream.envelope import Answer, opened
from app.upstream.errors import CallFailed, Outcome, cleaned, refusal, unexplained
from app.upstream.meanings import CHANGING, is_certain
from app.upstream.rows import Listing
from app.upstream.scalars import Unreadable
from app.upstream.set_aside import Findings
from app.upstream.transport import Transport
from app.values import Period, PeriodUnit

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class News(Generic[T]):
    """An answer with its digest; `content` is None if it is the very answer that was known."""

    digest: bytes
    content: T | None


Read = Callable[[Any, Findings], T]
"""Reads the data of an answer that succeeded; notes in the findings what of it can't be read."""

Observe = Callable[[Findings], None]
"""Is told what an answer holds that can't be read, once it was read."""


def ignore(_findings: Findings) -> None:
    """For calls that nobody observes."""


class UpstreamClient:
    """Speaks to the upstream through one transport. `send_by` is a reading of `time.monotonic()`."""

    def __init__(self, transport: Transport, *, observe: Observe = ignore, inspect: bool = False) -> None:
        """Speak through `transport`.

        Args:
            observe: is told the findings of each answer that is read.
            inspect: the findings also hold each field's kinds of value.
        """
        self._transport = transport
        self._observe = observe
        self._inspect = inspect

    def observed_by(self, observe: Observe) -> UpstreamClient:
        """The same client, telling somebody what it can't read."""
        return UpstreamClient(self._transport, observe=observe, inspect=self._inspect)

    async def get_countries(self) -> Listing[wire.Country]:
        """Where numbers can be rented; needs no key."""
        return await self._call("getcountries", catalog_answers.countries)

    async def get_offers(self, country: str, period: Period) -> Listing[wire.Offer]:
        """What a country offers for a period; needs no key."""
        return await self._call("getdata", catalog_answers.offers, country=country, **_duration(period))

    async def get_offers_with_operators(self, country: str, period: Period) -> Listing[wire.Offer]:
        """Likewise, with the numbers that each operator has."""
        return await self._call(
            "getdataWithProviders", catalog_answers.offers, country=country, **_duration(period)
        )

    async def get_default_services(self) -> Listing[wire.DefaultService]:
        """All services with a price per day; needs no key."""
        return await self._call("get_default_services", catalog_answers.default_services)

    async def get_countries_of_service(self, service: str, period: Period) -> Listing[wire.ServiceCountry]:
        """Where a service can be rented for a period; needs no key."""
        read = catalog_answers.countries_of_service
        return await self._call("get_country_by_service", read, service=service, **_duration(period))

    async def get_stock(self, country: str, period: Period) -> Listing[wire.Stock] | int:
        """How many numbers a country has, by service or in all; needs no key."""
        return await self._call("getcount", stock_answers.stock, country=country, **_duration(period))

    async def get_stock_by_operator(self, country: str, period: Period) -> Listing[wire.Stock] | int:
        """Likewise, with the numbers that each operator has; needs no key."""
        return await self._call(
            "getCountWithProviders", stock_answers.stock, country=country, **_duration(period)
        )

    async def get_stock_of_all(self, country: str, services: Sequence[str], period: Period) -> int:
        """How many numbers of a country can take all of some services; needs no key."""
        asked = {"services": ",".join(services), "country": country, **_duration(period)}
        return await self._call("get_count_multi", stock_answers.stock_of_all, **asked)

    async def get_minimum_days(self, country: str, service: str) -> wire.MinimumDays:
        """For how many days at least a service is rented in a country; needs no key."""
        read = stock_answers.minimum_days
        return await self._call("get_min_paypal_days", read, country=country, service=service)

    async def get_day_choices(self) -> Listing[wire.DayChoice]:
        """The periods that PayPal is rented for in Canada; needs no key."""
        return await self._call("get_days_canada_paypal", stock_answers.day_choices)

    async def create(
        self,
        api_key: str,
        *,
        country: str,
        service: str,
        period: Period,
        operator: str | None = None,
        send_by: float | None = None,
    ) -> tuple[wire.PurchasedOrder, ...]:
        """Rent a number. Spends."""
        asked = {"country": country, "service": service, "provider": operator, **_duration(period)}
        return await self._call("create", _purchased(country), api_key, send_by, **asked)

    async def create_multi(
        self,
        api_key: str,
        *,
        country: str,
        services: Sequence[str],
        period: Period,
        operator: str | None = None,
        send_by: float | None = None,
    ) -> tuple[wire.PurchasedOrder, ...]:
        """Rent one number for several services. Spends."""
        codes = ",".join(services)
        asked = {"country": country, "services": codes, "provider": operator, **_duration(period)}
        return await self._call("create_multi", _purchased(country), api_key, send_by, **asked)

    async def orders(self, api_key: str) -> Listing[wire.Order]:
        """The account's living orders."""
        return await self._call("orders", account_answers.orders, api_key)

    async def orders_if_new(self, api_key: str, known: bytes | None) -> News[Listing[wire.Order]]:
        """The account's living orders, unless the answer is the very one that is known by its digest."""
        return await self._call_if_new("orders", account_answers.orders, api_key, known)

    async def sms_if_new(self, api_key: str, known: bytes | None, *, order_id: str) -> News[wire.SmsLists]:
        """All messages of an order, unless the answer is the very one that is known by its digest."""
        return await self._call_if_new("sms", message_answers.sms_lists, api_key, known, id=order_id)

    async def activate(self, api_key: str, *, order_id: str, send_by: float | None = None) -> None:
        """Queue an order's number for activation."""
        await self._call("activate", _done(order_id), api_key, send_by, id=order_id)

    async def prolong(
        self, api_key: str, *, order_id: str, period: Period, send_by: float | None = None
    ) -> None:
        """Prolong an order by weeks or months. Spends."""
        asked = {"id": order_id, **_duration(period)}
        await self._call("prolong", _done(order_id), api_key, send_by, **asked)

    async def prolong_max(
        self, api_key: str, *, order_id: str, days: int, send_by: float | None = None
    ) -> None:
        """Prolong an order by 1 to 6 days. Spends."""
        asked = {"id": order_id, **_duration(Period(PeriodUnit.DAY, days))}
        await self._call("prolong_max", _done(order_id), api_key, send_by, **asked)

    async def add_service(
        self,
        api_key: str,
        *,
        order_id: str,
        service: str,
        phone_number: str,
        days: int | None = None,
        send_by: float | None = None,
    ) -> wire.PurchasedOrder | None:
        """Rent an order's number (E.164) for another service too. Spends.

        Args:
            days: for how long; to the order's end if None.
        """
        asked = {
            "id": order_id,
            "service": service,
            "pnumber": phone_number.removeprefix("+"),
            "rent_days": None if days is None else str(days),
        }
        read = account_answers.added_order
        return await self._call("add_service_to_order", read, api_key, send_by, **asked)

    async def delete(self, api_key: str, *, order_id: str, send_by: float | None = None) -> None:
        """Give an order up."""
        await self._call("delete", _done(order_id), api_key, send_by, id=order_id)

    async def history(self, api_key: str, *, skip: int, take: int) -> Listing[wire.HistoryEntry]:
        """A page of the account's archive."""
        read = account_answers.history
        return await self._call("get_rent_history", read, api_key, skip=str(skip), take=str(take))

    async def restore_quote(self, api_key: str, *, order_id: str) -> wire.RestoreQuote:
        """What restoring an order of the archive would cost now."""
        read = partial(account_answers.restore_quote, order_id=order_id)
        return await self._call("restore_user_precalc", read, api_key, id=order_id)

    async def restore(self, api_key: str, *, order_id: str, send_by: float | None = None) -> wire.Restored:
        """Restore an order of the archive. Spends."""
        return await self._call("restore_user", account_answers.restored, api_key, send_by, id=order_id)

    async def _call(
        self,
        method: str,
        read: Read[T],
        api_key: str | None = None,
        send_by: float | None = None,
        /,
        **asked: str | None,
    ) -> T:
        body = await self._fetched(method, api_key, send_by, asked)
        return self._content(method, body, read, api_key)

    async def _call_if_new(
        self, method: str, read: Read[T], api_key: str, known: bytes | None, /, **asked: str
    ) -> News[T]:
        body = await self._fetched(method, api_key, None, asked)
        digest = hashlib.sha256(body).digest()
        content = None if digest == known else self._content(method, body, read, api_key)
        return News(digest, content)

    async def _fetched(
        self, method: str, api_key: str | None, send_by: float | None, asked: Mapping[str, str | None]
    ) -> bytes:
        """The answer's body; what is None is not asked."""
        given = {name: value for name, value in {**asked, "apikey": api_key}.items() if value is not None}
        return await self._transport.get(method, given, send_by=send_by)

    def _content(self, method: str, body: bytes, read: Read[T], api_key: str | None) -> T:
        findings = Findings(method, inspect=self._inspect)
        try:
            answer = with_listed_data(method, opened(body))
            if answer.succeeded:
                content = read(answer.data, findings)
                self._observe(findings)
                return content
        except Unreadable as error:
            findings.put_aside_answer()
            self._observe(findings)
            said = UpstreamRefusal(method, cleaned(str(error), api_key))
            detail = f"The upstream's answer can't be read: {said.message}."
            outcome = Outcome.UNKNOWN
            failure: RentgateError = UpstreamBadResponse(detail, upstream=said)
        else:
            outcome, failure = _refused(method, answer, api_key)
        raise CallFailed(outcome, failure, method)


def _refused(method: str, answer: Answer, api_key: str | None) -> tuple[Outcome, RentgateError]:
    """What a refusal comes to: that of a call which spends or changes has to be certain."""
    if method in CHANGING and (answer.has_data or not is_certain(method, answer.message)):
        return Outcome.UNKNOWN, unexplained(method, answer.message, secret=api_key)
    return Outcome.REFUSED, refusal(method, answer.message, secret=api_key)


def _duration(period: Period) -> dict[str, str]:
    return {"dtype": period.unit.value, "dcount": str(period.count)}


def _done(order_id: str) -> Read[None]:
    return partial(account_answers.done, order_id=order_id)


def _purchased(country: str) -> Read[tuple[wire.PurchasedOrder, ...]]:
    return partial(account_answers.purchased, country=country)
