"""The shapes of values that many answers share: money and periods as callers read them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel

from app.values import CURRENCY, amount_text


class Money(BaseModel):
    """An amount of money; the amount is a decimal string."""

    amount: str
    currency: Literal["USD"] = CURRENCY

    @classmethod
    def of(cls, amount: Decimal | None) -> Money | None:
        """The amount as callers read it; None stays None."""
        return None if amount is None else cls(amount=amount_text(amount))


class Balance(Money):
    """What was left on an account when it was last read; below 0 if it owes."""

    read_at: datetime
