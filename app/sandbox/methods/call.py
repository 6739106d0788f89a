"""One call of a method: its parameters read as the upstream reads them, and what it is about to buy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.sandbox.options import Habits
from app.sandbox.refusals import Refusal
from app.sandbox.shop import COUNTRIES, LONGEST_DAYS, SERVICES, minimum_days
from app.sandbox.world import Account, Order, World

UNIT_DAYS = {"day": 1, "week": 7, "month": 30}


@dataclass(frozen=True, slots=True)
class Purchase:
    """What a call that spends is about to do.

    Attributes:
        price: in US dollars.
        make: does it, and returns the orders that it made or changed.
        told: the answer's `data` for those orders.
        too_poor: the refusal if the balance is too small.
    """

    price: Decimal
    make: Callable[[], list[Order]]
    told: Callable[[list[Order]], Any]
    too_poor: str = "Insufficient balance"


@dataclass(frozen=True, slots=True)
class Call:
    """A call's parameters. Each reading raises Refusal with the upstream's words if they are of no use."""

    world: World
    parameters: Mapping[str, str]
    habits: Habits

    @property
    def account(self) -> Account | None:
        """The account of the call's key."""
        return self.world.accounts.get(self.parameters.get("apikey", ""))

    @property
    def own(self) -> Account:
        """The account of a call that needs one."""
        if self.account is None:
            raise Refusal("Invalid apikey")
        return self.account

    def text(self, name: str) -> str:
        """A parameter, empty if it is missing."""
        return self.parameters.get(name, "")

    def country(self) -> str:
        """The code of the country."""
        if self.text("country") not in COUNTRIES:
            raise Refusal("Incorrect country")
        return self.text("country")

    def service(self) -> str:
        """The code of the service."""
        return self.known((self.text("service"),))[0]

    def services(self) -> tuple[str, ...]:
        """The codes of several services, each once."""
        return self.known(tuple(dict.fromkeys(self.text("services").split(","))))

    def known(self, services: tuple[str, ...]) -> tuple[str, ...]:
        """The same services, if the shop has them."""
        if not all(service in SERVICES for service in services):
            raise Refusal("Service not found")
        return services

    def days(self) -> int:
        """How long: `dtype` and `dcount`, both of them."""
        unit, count = self.text("dtype"), self.text("dcount")
        if unit not in UNIT_DAYS or not count.isdecimal() or not 1 <= int(count[:4]) <= 365:
            raise Refusal("Incorrect dtype or dcount")
        return UNIT_DAYS[unit] * int(count)

    def days_or_week(self) -> int:
        """Likewise; a week where they are missing."""
        unit, count = self.text("dtype") or "week", self.text("dcount") or "1"
        return Call(self.world, {"dtype": unit, "dcount": count}, self.habits).days()

    def living(self) -> Order:
        """The account's living order that the call names."""
        order = self.world.living.get(self.order_id())
        if order is None or order.account is not self.account:
            raise Refusal("order not found")
        return order

    def order_id(self) -> int:
        """The order's id."""
        written = self.text("id")
        if not written.isdecimal() or len(written) > 18:
            raise Refusal("incorrect order id")
        return int(written)


def check_length(country: str, services: Sequence[str], days: int) -> None:
    """Refuse a rental that is too short or too long for what is rented."""
    least = minimum_days(country, services)
    if not least <= days <= LONGEST_DAYS:
        raise Refusal(f"Incorrect duration count. Min {least} days. Max {LONGEST_DAYS} days.")


def price_of(world: World, country: str, services: Sequence[str], days: int) -> Decimal:
    """What so many days of these services cost, in US dollars."""
    return sum((world.price_of_day(country, service, days) * days for service in services), Decimal(0))


def whole_number(order: Order) -> str:
    """The order's number with its dial code and without a plus."""
    return order.number.country.dial_code.lstrip("+") + order.number.national
