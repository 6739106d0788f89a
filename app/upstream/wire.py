"""What the upstream tells, as dataclasses. None stands for what it doesn't tell or what can't be read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from app.values import iso_country


class NumberState(StrEnum):
    """Whether a number can receive now; `offline` is what the upstream calls not in the system."""

    INACTIVE = "inactive"
    ACTIVATING = "activating"
    ACTIVE = "active"
    OFFLINE = "offline"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Country:
    """A row of `getcountries`."""

    name: str | None
    upstream_code: str
    switch_type: str | None
    prolongable: bool | None = None

    @property
    def code(self) -> str:
        """The code that callers know the country by."""
        return iso_country(self.upstream_code)


@dataclass(frozen=True, slots=True)
class Offer:
    """A row of `getdata`; the price is that of one day, in US dollars, for the period asked for. A service
    without a readable name goes by its code.
    """

    service: str
    name: str
    price_per_day: Decimal
    available: int | None
    operators: dict[str, int] | None


@dataclass(frozen=True, slots=True)
class DefaultService:
    """A row of `get_default_services`; the price is that of one day, in US dollars. A service without a
    readable name goes by its code.
    """

    service: str
    name: str
    price_per_day: Decimal | None


@dataclass(frozen=True, slots=True)
class ServiceCountry:
    """A row of `get_country_by_service`; the price is that of one day, in US dollars.

    Attributes:
        country: its code, in upper case; or what else the upstream calls it, such as its name.
    """

    country: str
    price_per_day: Decimal
    available: int | None


@dataclass(frozen=True, slots=True)
class Stock:
    """How many numbers of a service a country has, and of which operators where that is told."""

    service: str
    available: int | None
    operators: dict[str, int] | None = None


@dataclass(frozen=True, slots=True)
class MinimumDays:
    """The data of `get_min_paypal_days`: for how many days at least a service is rented in a country."""

    days: int | None
    message: str | None


@dataclass(frozen=True, slots=True)
class DayChoice:
    """A row of `get_days_canada_paypal`: so many days can be rented, and so many numbers are there for it."""

    days: int
    available: int | None


@dataclass(frozen=True, slots=True)
class PurchasedOrder:
    """What `create` made."""

    order_id: str
    phone_number: str | None
    service: str | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Service:
    """A service that an order is for; the code is the upstream's."""

    code: str
    name: str | None


@dataclass(frozen=True, slots=True)
class Order:
    """A row of `orders`; or several, since a list may show one order once for each of its services.

    Attributes:
        further_services: those beside `service`, where one id stands for several.
    """

    order_id: str
    service: str | None = None
    service_name: str | None = None
    state: NumberState | None = None
    phone_number: str | None = None
    country: str | None = None
    has_new_sms: bool | None = None
    expires_at: datetime | None = None
    can_prolong: bool | None = None
    prolong_max: int | None = None
    prolong_until: datetime | None = None
    last_online_at: datetime | None = None
    further_services: tuple[Service, ...] = ()

    @property
    def codes(self) -> frozenset[str]:
        """The codes of all its services that can be read."""
        further = (service.code for service in self.further_services)
        return frozenset(further if self.service is None else (self.service, *further))


@dataclass(frozen=True, slots=True)
class Sms:
    """One message; none has an id."""

    text: str
    sender: str | None
    received_at: datetime | None


@dataclass(frozen=True, slots=True)
class SmsLists:
    """The messages of an order: for its own service, and those that came for other ones.

    Attributes:
        complete: whether all of them could be read.
    """

    rented: tuple[Sms, ...]
    other: tuple[Sms, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A row of `get_rent_history`.

    Attributes:
        ended_at: when it ends, or would have ended.
        closed: whether it was closed: at `closed_at`, which may lie before the end, if that is told.
    """

    order_id: str
    service: str | None = None
    phone_number: str | None = None
    country: str | None = None
    days: int | None = None
    began_at: datetime | None = None
    ended_at: datetime | None = None
    closed: bool | None = None
    closed_at: datetime | None = None
    restorable: bool | None = None


@dataclass(frozen=True, slots=True)
class RestoreQuote:
    """What restoring an order would cost now, in US dollars.

    Attributes:
        order_id: the one that the answer names; the one that was asked for if it names none.
    """

    order_id: str
    country: str | None
    service: str | None
    service_name: str | None
    price: Decimal
    phone_number: str | None
    days_overdue: int | None
    prolonged_days: int | None

    def costing(self, price: Decimal) -> RestoreQuote:
        """The same quote with another price."""
        return replace(self, price=price)


@dataclass(frozen=True, slots=True)
class Restored:
    """What `restore_user` did; the order may live on under a new id."""

    order_id: str | None
