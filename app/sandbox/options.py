"""How a sandbox is set up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from app.sandbox.forms.variations import EVERY_VARIATION, Variation


class Shape(StrEnum):
    """In which form the sandbox answers.

    today: as the provider's own client, smspva-sdk 0.1.0a2, has it. documented: as the provider's page shows
    it. seen: in all forms that public clients were seen to handle, a different one each time.
    """

    TODAY = "today"
    DOCUMENTED = "documented"
    SEEN = "seen"


class MultiForm(StrEnum):
    """What `create_multi` makes.

    orders: an order for each service. rows: one order, which the list shows once for each service. row: one
    order, which the list shows once, with its first service.
    """

    ORDERS = "orders"
    ROWS = "rows"
    ROW = "row"


class HistoryForm(StrEnum):
    """How the archive is read: the newest end first, the oldest first, or with `skip` ignored."""

    NEWEST_FIRST = "newest_first"
    OLDEST_FIRST = "oldest_first"
    SKIP_IGNORED = "skip_ignored"


@dataclass(frozen=True, slots=True)
class Habits:
    """What the upstream does in one way or another, and nobody has promised which.

    Attributes:
        multi: what `create_multi` makes.
        history: how the archive is read.
        restore_new_id: whether a restored order gets a new id.
    """

    multi: MultiForm = MultiForm.ORDERS
    history: HistoryForm = HistoryForm.NEWEST_FIRST
    restore_new_id: bool = False


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
        variations: those that the seen form may use.
        habits: what it does where nothing is promised.
        seed: makes numbers, texts and the choice of forms repeatable.
    """

    accounts: Mapping[str, Decimal] = field(default_factory=dict)
    activation_seconds: float = 5.0
    active_seconds: float = 1200.0
    sms_seconds: float = 8.0
    stock: int = 50
    shape: Shape = Shape.TODAY
    variations: frozenset[Variation] = EVERY_VARIATION
    habits: Habits = field(default_factory=Habits)
    seed: int = 1
