"""The shapes of values that many answers share, as callers read them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from app.values import CURRENCY, amount_text


class View(BaseModel):
    """What callers read of an object, from its attributes of the same names."""

    model_config = ConfigDict(from_attributes=True)


class Money(BaseModel):
    """An amount of money; the amount is a decimal string."""

    amount: str
    currency: Literal["USD"] = CURRENCY

    @model_validator(mode="before")
    @classmethod
    def _from_dollars(cls, value: Any) -> Any:
        """A view's attribute in US dollars, as callers read it."""
        return {"amount": amount_text(value)} if isinstance(value, Decimal) else value

    @classmethod
    def of(cls, amount: Decimal | None) -> Money | None:
        """The amount as callers read it; None stays None."""
        return None if amount is None else cls(amount=amount_text(amount))


class Balance(Money):
    """What was left on an account when it was last read; below 0 if it owes."""

    read_at: datetime
