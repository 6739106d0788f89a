"""The sandbox's state: accounts, numbers, orders, and the ledger of what was charged."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from app.sandbox.options import SandboxOptions
from app.sandbox.shop import COUNTRIES, SoldCountry, discounted, list_price, new_number
from app.sandbox.stock import Stock
from app.sandbox.texts import sample

DAY = 86_400.0
CLOSING_SECONDS = 60.0
"""How long after its end an order is closed."""


@dataclass(slots=True)
class Account:
    """An account at the provider; `balance` in US dollars."""

    api_key: str
    balance: Decimal


@dataclass(slots=True)
class Arrived:
    """An SMS that comes to a number for a service at a time; None is a message without a date."""

    service: str
    sender: str | None
    text: str
    at: float
    dated: bool = True


@dataclass(slots=True)
class Number:
    """A phone number, which several orders may share. `active_from` is None while it sleeps."""

    national: str
    country: SoldCountry
    operator: str = ""
    active_from: float | None = None
    active_until: float = 0.0
    messages: list[Arrived] = field(default_factory=list)
    coming: list[Arrived] = field(default_factory=list)

    def state(self, now: float) -> int:
        """The upstream's state: 0 not active, 1 active, 2 activating."""
        if self.active_from is None or now >= self.active_until:
            return 0
        return 1 if now >= self.active_from else 2


@dataclass(slots=True)
class Order:
    """A number rented for a service, or under one id for several.

    `also` are the further services. `rows` tells whether the list shows a row for each. `seen` counts the
    messages that were read. `closed` is when the order went to the archive: after its end, or before it if it
    was given up. `restored` tells that it lives on under another id.
    """

    id: int
    account: Account
    number: Number
    service: str
    begin: float
    until: float
    also: tuple[str, ...] = ()
    rows: bool = True
    seen: int = 0
    closed: float | None = None
    restored: bool = False
    restore_error: str | None = None

    @property
    def services(self) -> tuple[str, ...]:
        """All services that the order is for."""
        return (self.service, *self.also)

    @property
    def given_up(self) -> bool:
        """Whether it was deleted before its end."""
        return self.closed is not None and self.closed < self.until


@dataclass(slots=True)
class World:
    """Everything the sandbox knows; times are Unix seconds by this machine's clock."""

    options: SandboxOptions
    chance: random.Random = field(init=False)
    stock: Stock = field(init=False)
    accounts: dict[str, Account] = field(default_factory=dict)
    living: dict[int, Order] = field(default_factory=dict)
    archive: dict[int, Order] = field(default_factory=dict)
    prices: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    ledger: list[dict[str, Any]] = field(default_factory=list)
    next_id: int = 100_001

    def __post_init__(self) -> None:
        self.chance = random.Random(self.options.seed)
        self.stock = Stock(self.options.stock)
        for api_key, balance in self.options.accounts.items():
            self.accounts[api_key] = Account(api_key, balance)

    @property
    def orders(self) -> list[Order]:
        """All orders, the living ones first."""
        return [*self.living.values(), *self.archive.values()]

    def price_of_day(self, country: str, service: str, days: int) -> Decimal:
        """The price of one day when so many are bought."""
        listed = self.prices.get((country, service)) or list_price(COUNTRIES[country], service)
        return discounted(listed, days)

    def charge(self, account: Account, method: str, amount: Decimal, order_ids: list[int]) -> None:
        """Take money from an account and write it down."""
        account.balance -= amount
        self.ledger.append(
            {
                "at": time.time(),
                "account": account.api_key[-4:],
                "method": method,
                "amount": str(amount),
                "orders": [str(order_id) for order_id in order_ids],
            }
        )

    def new_number(self, country: SoldCountry, operator: str = "") -> Number:
        """A number that nobody has yet."""
        taken = {order.number.national for order in self.orders}
        while (national := new_number(country, self.chance)) in taken:
            pass
        return Number(national, country, operator)

    def new_order(
        self, account: Account, number: Number, service: str, days: int, also: tuple[str, ...] = ()
    ) -> Order:
        """A new living order, free of charge."""
        now = time.time()
        order = Order(self.next_id, account, number, service, now, now + days * DAY, also)
        self.next_id += 1
        self.living[order.id] = order
        return order

    def activate(self, order: Order) -> None:
        """Queue the order's number for activation; an SMS comes by itself some time after it is active."""
        number, now = order.number, time.time()
        if number.state(now) != 0:
            return
        number.active_from = now + self.options.activation_seconds
        number.active_until = number.active_from + self.options.active_seconds
        if self.options.sms_seconds:
            sender, text = sample(order.service, self.chance)
            at = number.active_from + self.options.sms_seconds
            number.coming.append(Arrived(order.service, sender, text, at))

    def settle(self) -> None:
        """Let happen what is due: messages that arrive, orders that end."""
        now = time.time()
        for order in list(self.living.values()):
            number = order.number
            due = [message for message in number.coming if message.at <= now]
            for message in sorted(due, key=lambda message: message.at):
                number.coming.remove(message)
                number.messages.append(message)
            if order.until <= now and self.living.pop(order.id, None) is not None:
                order.closed = max(order.until + 1, min(now, order.until + CLOSING_SECONDS))
                self.archive[order.id] = order

    def age(self, seconds: float) -> None:
        """Let time pass, by moving everything that has a time into the past: clocks elsewhere go on."""
        for number in {id(order.number): order.number for order in self.orders}.values():
            if number.active_from is not None:
                number.active_from -= seconds
                number.active_until -= seconds
            for message in (*number.messages, *number.coming):
                message.at -= seconds
        for order in self.orders:
            order.begin -= seconds
            order.until -= seconds
            if order.closed is not None:
                order.closed -= seconds
        self.settle()
