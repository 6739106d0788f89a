"""The bodies of the control API."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field

from app.sandbox.forms.variations import Variation
from app.sandbox.options import HistoryForm, MultiForm, Shape


class Body(BaseModel):
    """A body of the control API; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class AccountBody(Body):
    """An account to make, or to give another balance."""

    api_key: str = Field(min_length=1)
    balance: Decimal = Field(ge=0)


class OrderBody(Body):
    """An order made elsewhere, such as on the provider's website; free of charge."""

    api_key: str
    country: str
    service: str
    days: int = Field(default=7, ge=1, le=400)


class OrderChange(Body):
    """What becomes of an order: the refusal that restoring meets, or its vanishing from the lists.

    `restore_error` is the code of a documented message, such as NOORDERCOUNTRY, or any text.
    """

    restore_error: str | None = None
    vanished: bool = False


class SmsBody(Body):
    """An SMS to an order's number; without sender and text, plausible ones. `service` may be another's."""

    order_id: int
    text: str | None = None
    sender: str | None = None
    service: str | None = None
    dated: bool = True
    received_at: float | None = None


class TimeBody(Body):
    """Seconds that pass."""

    seconds: float = Field(ge=0)


class StockBody(Body):
    """How many numbers of a service are left in a country; its operators share them."""

    country: str
    service: str
    count: int = Field(ge=0)


class PriceBody(Body):
    """The price of one day, before discounts, in US dollars."""

    country: str
    service: str
    price_day: Decimal = Field(gt=0)


class ShapeBody(Body):
    """The form of the answers, and which variations the seen form may use; all of them if not given."""

    shape: Shape
    variations: frozenset[Variation] | None = None


class HabitsBody(Body):
    """What the sandbox does where nothing is promised; what isn't given becomes the default."""

    multi: MultiForm = MultiForm.ORDERS
    history: HistoryForm = HistoryForm.NEWEST_FIRST
    restore_new_id: bool = False
