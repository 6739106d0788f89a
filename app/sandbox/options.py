"""How a sandbox is set up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum


class Shape(StrEnum):
    """In which forms the sandbox answers: as the provider's page says, or in all forms that were seen."""

    DOCUMENTED = "documented"
    SEEN = "seen"


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """The settings of a sandbox; times are in seconds.

    Attributes:
        accounts: balances in US dollars by API key.
        activation_seconds: from `activate` until a number can receive.
        active_seconds: how long it then can.
        sms_seconds: from then until an SMS comes by itself; 0 for never.
        stock: numbers of each service in each country.
        shape: the form of the answers.
        seed: makes numbers, texts and the choice of forms repeatable.
    """

    accounts: Mapping[str, Decimal] = field(default_factory=dict)
    activation_seconds: float = 5.0
    active_seconds: float = 1200.0
    sms_seconds: float = 8.0
    stock: int = 50
    shape: Shape = Shape.DOCUMENTED
    seed: int = 1
