"""What the sandbox sells: countries, services, prices, and numbers that look right."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

import phonenumbers


@dataclass(frozen=True, slots=True)
class SoldCountry:
    """A country: the upstream's code and name, its letters, its price level, how numbers are switched on, the
    operators that have numbers there, and whether a rental can be prolonged.
    """

    code: str
    name: str
    letters: str
    level: Decimal
    switch_type: str = ""
    operators: tuple[str, ...] = ("vodafone", "orange")
    prolongable: bool = True

    @property
    def dial_code(self) -> str:
        """As the upstream writes it: `+7`."""
        return f"+{phonenumbers.country_code_for_region(self.letters)}"


_AMERICAN = ("T-Mobile", "Verizon", "vodafone")

COUNTRIES = {
    country.code: country
    for country in (
        SoldCountry(
            "RU", "Russian Federation ", "RU", Decimal("0.60"), operators=("MTS", "Beeline", "vodafone")
        ),
        SoldCountry("UK", "United Kingdom", "GB", Decimal("1.10"), "FAST"),
        SoldCountry("US", "United States", "US", Decimal("1.40"), "FAST", _AMERICAN),
        SoldCountry("US3", "United States (pool 3)", "US", Decimal("1.20"), operators=_AMERICAN),
        SoldCountry("CA", "Canada", "CA", Decimal("1.25"), "FAST", _AMERICAN),
        SoldCountry("DE", "Germany", "DE", Decimal("1.50")),
        SoldCountry("FR", "France", "FR", Decimal("1.30")),
        SoldCountry("ES", "Spain", "ES", Decimal("1.00")),
        SoldCountry("PL", "Poland", "PL", Decimal("0.80")),
        SoldCountry("UA", "Украина", "UA", Decimal("0.70")),
        SoldCountry("KZ", "Kazakhstan", "KZ", Decimal("0.70"), operators=("Kcell", "Beeline")),
        SoldCountry("ID", "Indonesia", "ID", Decimal("0.50")),
        SoldCountry("CN2", "China (pool 2)", "CN", Decimal("0.90"), prolongable=False),
    )
}

SERVICES = {
    "opt1": "Google (YouTube, Gmail)",
    "opt2": "Facebook",
    "opt6": "Fiverr",
    "opt16": "Instagram",
    "opt20": "WhatsApp",
    "opt29": "Telegram",
    "opt44": "Amazon",
    "opt45": "Discord",
    "opt46": "Airbnb",
    "opt59": "Avito",
    "opt83": "PayPal",
    "opt19": "Other",
}

SHORTEST_DAYS, LONGEST_DAYS = 7, 90
MINIMUM_DAYS = {("CA", "opt83"): 30}
"""Services that are rented for more than the usual least number of days, by country."""

DISCOUNT_DAYS, DISCOUNT_PERCENT = 30, 15
"""The first step of the discount: from so many days on, so much off the price of a day."""
_DISCOUNTS = ((60, 25), (DISCOUNT_DAYS, DISCOUNT_PERCENT), (0, 0))

_WEIGHT = {
    "opt20": Decimal("1.5"),
    "opt29": Decimal("1.3"),
    "opt83": Decimal("2.0"),
    "opt19": Decimal("0.8"),
}
_CENT = Decimal("0.01")


def minimum_days(country: str, services: Sequence[str]) -> int:
    """For how many days these services have to be rented at least."""
    return max(MINIMUM_DAYS.get((country, service), SHORTEST_DAYS) for service in services)


def list_price(country: SoldCountry, service: str) -> Decimal:
    """The price of one day without discount, in US dollars."""
    return (country.level * _WEIGHT.get(service, Decimal(1))).quantize(_CENT, ROUND_HALF_UP)


def discounted(price: Decimal, days: int) -> Decimal:
    """The price of one day when so many are bought at once."""
    percent = next(percent for least, percent in _DISCOUNTS if days >= least)
    return (price * (100 - percent) / 100).quantize(_CENT, ROUND_HALF_UP)


def new_number(country: SoldCountry, chance: random.Random) -> str:
    """A mobile number of the country without its dial code, valid by its number plan."""
    example = phonenumbers.example_number_for_type(country.letters, phonenumbers.PhoneNumberType.MOBILE)
    if example is None:
        raise ValueError(f"{country.letters} has no mobile numbers")
    national = str(example.national_number)
    while True:
        digits = national[:-6] + "".join(chance.choice("0123456789") for _ in range(6))
        candidate = phonenumbers.PhoneNumber(country_code=example.country_code, national_number=int(digits))
        if phonenumbers.is_valid_number(candidate):
            return digits
