"""What an operation is asked to do, as its row keeps it. Each kind has its own `Request`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, PlainSerializer

from app.values import amount_text

Amount = Annotated[Decimal, PlainSerializer(amount_text, return_type=str)]
"""US dollars."""

Moment = Annotated[datetime, PlainSerializer(datetime.isoformat, return_type=str)]


class Step(BaseModel):
    """The order that one step of an operation is about, and how it was before the call.

    Attributes:
        price: what the step costs, in US dollars; None if that is nothing or can't be told.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    service: str | None = None
    expires_at: Moment | None = None
    price: Amount | None = None


class Request(BaseModel):
    """What a kind of operation is asked to do. A field that was added later has a default, for older rows.

    Attributes:
        INTERNAL: names of fields that callers aren't shown.
    """

    model_config = ConfigDict(frozen=True)

    INTERNAL: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """The request that a row keeps.

        Raises:
            pydantic.ValidationError: it is none of this kind.
        """
        return cls.model_validate(record)

    def record(self) -> dict[str, Any]:
        """As its row keeps it."""
        return self.model_dump(mode="json")

    @classmethod
    def shown(cls, record: Mapping[str, Any]) -> dict[str, Any]:
        """What callers are shown of a row's request."""
        return {name: value for name, value in record.items() if name not in cls.INTERNAL}
