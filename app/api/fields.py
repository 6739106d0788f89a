"""The kinds of fields that requests share: each says by itself what it takes."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from starlette.convertors import StringConvertor, register_url_convertor

from app.errors import FieldError, InvalidRequest
from app.values import Period, PeriodUnit


class _RentalId(StringConvertor):
    """A path's rental id: anything but the name of the collection's own action."""

    regex = "(?!import$)[^/]+"


register_url_convertor("rental", _RentalId())


class RequestBody(BaseModel):
    """A request's body; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


def _plain(text: str) -> str:
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("NUL characters and lone surrogates are not allowed")
    return text


def _named(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("has to hold printable characters")
    return text


Text = Annotated[str, AfterValidator(_plain)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_named)]
Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
"""A country's, a service's or an operator's code, as the catalog has it."""

Operator = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_named)]

DecimalText = Annotated[str, StringConstraints(pattern=r"^\d{1,9}(\.\d{1,4})?$"), Field(examples=["42.00"])]
"""US dollars as a decimal string."""

FilterText = Annotated[str, StringConstraints(max_length=200), AfterValidator(_plain)]

_PERIOD_RANGE = 10**9


def _readable_time(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is too far away") from None


Moment = Annotated[AwareDatetime, AfterValidator(_readable_time)]


class MoneyIn(RequestBody):
    """An amount of money."""

    amount: DecimalText
    currency: Annotated[str, StringConstraints(pattern=r"^USD$")] = "USD"

    @property
    def dollars(self) -> Decimal:
        """The amount in US dollars."""
        return Decimal(self.amount)


def dollars(text: str | None) -> Decimal | None:
    """A decimal string in US dollars; None stays None."""
    return None if text is None else Decimal(text)


def period(unit: PeriodUnit, count: int) -> Period:
    """A period; whether it can be rented is decided where it is used."""
    return Period(unit, max(-_PERIOD_RANGE, min(count, _PERIOD_RANGE)))


def phone_filter(text: str | None) -> str | None:
    """A phone number from a query, where a bare plus arrives as a space."""
    if text is None:
        return None
    digits = re.sub(r"[\s()-]", "", text).lstrip("+")
    if not digits.isdecimal() or not digits.isascii() or len(digits) > 15:
        raise InvalidRequest(fields=(FieldError("query.phone_number", "This is no E.164 phone number."),))
    return f"+{digits}"
