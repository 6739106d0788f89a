"""What the sandbox sells: countries, services, prices, and numbers that look right."""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

import phonenumbers


@dataclass(frozen=True, slots=True)
class SoldCountry:
    """A country: the upstream's code and name, its letters, its price level, how numbers are switched on."""

    code: str
    name: str
    letters: str
    level: Decimal
    switch_type: str | None = None

    @property
    def dial_code(self) -> str:
        """As the upstream writes it: `+7`."""
        return f"+{phonenumbers.country_code_for_region(self.letters)}"


COUNTRIES = {
    country.code: country
    for country in (
        SoldCountry("RU", "Russian Federation ", "RU", Decimal("0.60")),
        SoldCountry("UK", "United Kingdom", "GB", Decimal("1.10"), "FAST"),
        SoldCountry("US", "United States", "US", Decimal("1.40"), "FAST"),
        SoldCountry("US3", "United States (pool 3)", "US", Decimal("1.20")),
        SoldCountry("DE", "Germany", "DE", Decimal("1.50")),
        SoldCountry("FR", "France", "FR", Decimal("1.30")),
        SoldCountry("ES", "Spain", "ES", Decimal("1.00")),
        SoldCountry("PL", "Poland", "PL", Decimal("0.80")),
        SoldCountry("UA", "Украина", "UA", Decimal("0.70")),
        SoldCountry("KZ", "Kazakhstan", "KZ", Decimal("0.70")),
        SoldCountry("ID", "Indonesia", "ID", Decimal("0.50")),
    )
}

SERVICES = {
    "opt1": "Google (YouTube, Gmail)",
    "opt2": "Facebook",
    "opt16": "Instagram",
    "opt20": "WhatsApp",
    "opt29": "Telegram",
    "opt44": "Amazon",
    "opt45": "Discord",
    "opt19": "Other",
}

_WEIGHT = {"opt20": Decimal("1.5"), "opt29": Decimal("1.3"), "opt19": Decimal("0.8")}
_CENT = Decimal("0.01")


def list_price(country: SoldCountry, service: str) -> Decimal:
    """The price of one day without discount, in US dollars."""
    return (country.level * _WEIGHT.get(service, Decimal(1))).quantize(_CENT, ROUND_HALF_UP)


def discounted(price: Decimal, days: int) -> Decimal:
    """The price of one day when so many are bought at once."""
    factor = Decimal("0.75") if days >= 60 else Decimal("0.85") if days >= 30 else Decimal(1)
    return (price * factor).quantize(_CENT, ROUND_HALF_UP)


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
