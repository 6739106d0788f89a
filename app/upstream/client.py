"""The upstream's API, a method a call. Every call is made once and raises nothing but CallFailed.

The methods and their parameters are those of the provider's rental page; `create_multi`, `prolong_max` and
`getdataWithProviders` are from its newer pages and from public clients.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from app.errors import RentgateError, UpstreamBadResponse, UpstreamRefusal
from app.upstream import wire
from app.upstream.envelope import Answer, opened
from app.upstream.errors import CallFailed, Outcome, cleaned, refusal, unexplained
from app.upstream.meanings import CHANGING, is_certain
from app.upstream.scalars import Unreadable
from app.upstream.transport import Transport
from app.values import Period, PeriodUnit

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class News(Generic[T]):
    """An answer with its digest; `content` is None if it is the very answer that was known."""

    digest: bytes
    content: T | None


class UpstreamClient:
    """Speaks to the upstream through one transport. `send_by` is a reading of `time.monotonic()`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def get_countries(self) -> tuple[wire.Country, ...]:
        """Where numbers can be rented; needs no key."""

        def read(answer: Answer) -> Answer:
            # Seen: a whole, valid list beside status 0.
            return Answer(True, answer.data, "") if answer.data and isinstance(answer.data, list) else answer

        return await self._call("getcountries", {}, wire.countries, forgive=read)

    async def get_offers(self, country: str, period: Period) -> tuple[wire.Offer, ...]:
        """What a country offers for a period; needs no key."""
        return await self._call("getdata", {"country": country, **_duration(period)}, wire.offers)

    async def get_offers_with_operators(self, country: str, period: Period) -> tuple[wire.Offer, ...]:
        """Likewise, with the numbers that each operator has."""
        return await self._call(
            "getdataWithProviders", {"country": country, **_duration(period)}, wire.offers
        )

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
        return await self._call(
            "create",
            {"country": country, "service": service, "provider": operator, **_duration(period)},
            lambda data: wire.purchased(data, country),
            api_key=api_key,
            send_by=send_by,
        )

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
        return await self._call(
            "create_multi",
            {"country": country, "services": ",".join(services), "provider": operator, **_duration(period)},
            lambda data: wire.purchased(data, country),
            api_key=api_key,
            send_by=send_by,
        )

    async def orders(self, api_key: str) -> tuple[wire.Order, ...]:
        """The account's living orders."""
        return await self._call("orders", {}, wire.orders, api_key=api_key)

    async def orders_if_new(self, api_key: str, known: bytes | None) -> News[tuple[wire.Order, ...]]:
        """The account's living orders, unless the answer is the very one that is known by its digest."""
        return await self._call_if_new("orders", {}, wire.orders, known, api_key=api_key)

    async def sms_if_new(self, api_key: str, known: bytes | None, *, order_id: str) -> News[wire.SmsLists]:
        """All messages of an order, unless the answer is the very one that is known by its digest."""
        return await self._call_if_new("sms", {"id": order_id}, wire.sms_lists, known, api_key=api_key)

    async def activate(self, api_key: str, *, order_id: str, send_by: float | None = None) -> None:
        """Queue an order's number for activation."""
        await self._call("activate", {"id": order_id}, _nothing, api_key=api_key, send_by=send_by)

    async def prolong(
        self, api_key: str, *, order_id: str, period: Period, send_by: float | None = None
    ) -> None:
        """Prolong an order by weeks or months. Spends."""
        await self._call(
            "prolong", {"id": order_id, **_duration(period)}, _nothing, api_key=api_key, send_by=send_by
        )

    async def prolong_max(
        self, api_key: str, *, order_id: str, days: int, send_by: float | None = None
    ) -> None:
        """Prolong an order by 1 to 6 days. Spends."""
        parameters = {"id": order_id, **_duration(Period(PeriodUnit.DAY, days))}
        await self._call("prolong_max", parameters, _nothing, api_key=api_key, send_by=send_by)

    async def add_service(
        self, api_key: str, *, order_id: str, service: str, phone_number: str, send_by: float | None = None
    ) -> wire.PurchasedOrder | None:
        """Rent an order's number (E.164) for another service too. Spends."""
        return await self._call(
            "add_service_to_order",
            {"id": order_id, "service": service, "pnumber": phone_number.removeprefix("+")},
            wire.added_order,
            api_key=api_key,
            send_by=send_by,
        )

    async def delete(self, api_key: str, *, order_id: str, send_by: float | None = None) -> None:
        """Give an order up."""
        await self._call("delete", {"id": order_id}, _nothing, api_key=api_key, send_by=send_by)

    async def history(self, api_key: str, *, skip: int, take: int) -> tuple[wire.HistoryEntry, ...]:
        """A page of the account's archive."""
        return await self._call(
            "get_rent_history", {"skip": str(skip), "take": str(take)}, wire.history, api_key=api_key
        )

    async def restore_quote(self, api_key: str, *, order_id: str) -> wire.RestoreQuote:
        """What restoring an order of the archive would cost now."""
        return await self._call("restore_user_precalc", {"id": order_id}, wire.restore_quote, api_key=api_key)

    async def restore(self, api_key: str, *, order_id: str, send_by: float | None = None) -> wire.Restored:
        """Restore an order of the archive. Spends."""
        return await self._call(
            "restore_user", {"id": order_id}, wire.restored, api_key=api_key, send_by=send_by
        )

    async def _call(
        self,
        method: str,
        parameters: Mapping[str, str | None],
        read: Callable[[Any], T],
        *,
        api_key: str | None = None,
        send_by: float | None = None,
        forgive: Callable[[Answer], Answer] = lambda answer: answer,
    ) -> T:
        body = await self._fetched(method, parameters, api_key, send_by)
        return _content(method, body, read, api_key, forgive)

    async def _call_if_new(
        self,
        method: str,
        parameters: Mapping[str, str | None],
        read: Callable[[Any], T],
        known: bytes | None,
        *,
        api_key: str,
    ) -> News[T]:
        body = await self._fetched(method, parameters, api_key, None)
        digest = hashlib.sha256(body).digest()
        if digest == known:
            return News(digest, None)
        return News(digest, _content(method, body, read, api_key))

    async def _fetched(
        self, method: str, parameters: Mapping[str, str | None], api_key: str | None, send_by: float | None
    ) -> bytes:
        given = {name: value for name, value in parameters.items() if value is not None}
        if api_key is not None:
            given["apikey"] = api_key
        return await self._transport.get(method, given, send_by=send_by)


def _content(
    method: str,
    body: bytes,
    read: Callable[[Any], T],
    api_key: str | None,
    forgive: Callable[[Answer], Answer] = lambda answer: answer,
) -> T:
    try:
        answer = forgive(opened(body))
        if answer.succeeded:
            return read(answer.data)
    except Unreadable as error:
        said = UpstreamRefusal(method, cleaned(str(error), api_key))
        outcome, failure = Outcome.UNKNOWN, _unreadable(said)
    else:
        outcome, failure = _refused(method, answer, api_key)
    raise CallFailed(outcome, failure, method)


def _refused(method: str, answer: Answer, api_key: str | None) -> tuple[Outcome, RentgateError]:
    """What a refusal comes to: that of a call which spends or changes has to be certain."""
    if method in CHANGING and (answer.has_data or not is_certain(method, answer.message)):
        return Outcome.UNKNOWN, unexplained(method, answer.message, secret=api_key)
    return Outcome.REFUSED, refusal(method, answer.message, secret=api_key)


def _unreadable(said: UpstreamRefusal) -> RentgateError:
    return UpstreamBadResponse(f"The upstream's answer can't be read: {said.message}.", upstream=said)


def _duration(period: Period) -> dict[str, str]:
    return {"dtype": period.unit.value, "dcount": str(period.count)}


def _nothing(_data: Any) -> None:
    """For calls whose success says all there is; their data was seen as `{id}`, `[{id}]`, `[]` and `{}`."""
