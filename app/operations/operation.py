"""An operation as the ledger holds it: one paid or changing call, or one for each order of a rental."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString, Protocol
from uuid import UUID

from app.audit.caller import Caller
from app.errors import InternalError, PurchaseNotMade, RentgateError, UpstreamRefusal, catalogue
from app.operations.models import operations
from app.operations.request import Step
from app.operations.states import OPEN, State


class Kind(Protocol):
    """What the ledger asks of an operation's kind."""

    @property
    def name(self) -> str:
        """As rows keep it."""

    @property
    def spends(self) -> bool:
        """Whether it costs money, and so is held against the tenant's limit."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One paid or changing call; where a rental has several orders, one call after the other for each.

    `step` says which of them is next or under way: those before it are done, those after it were not sent.
    `request` is as the row keeps it, which its kind reads. `unexplained` is what the upstream said where it
    refused the present step in words that nobody knows.
    """

    tenant_id: UUID
    id: UUID
    kind: str
    state: State
    upstream_key_id: UUID
    rental_id: UUID
    request: Mapping[str, Any]
    step: int
    price: Decimal | None
    error: Mapping[str, Any] | None
    unexplained: Mapping[str, Any] | None
    candidates: Sequence[Mapping[str, Any]] | None
    actor: str
    request_id: str | None
    answered_at: datetime | None
    created_at: datetime
    sent_at: datetime | None
    settled_at: datetime | None
    absent_seconds: float
    absent_seen_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether its outcome is still to come."""
        return self.state in OPEN

    @property
    def order(self) -> Step:
        """The order that the present step is about; a purchase has none yet."""
        return Step.model_validate(self.request["orders"][self.step])

    @property
    def is_last_step(self) -> bool:
        """Whether nothing is left to be sent after the present step."""
        return self.step + 1 >= len(self.request.get("orders", ()))

    @property
    def charged_before(self) -> Decimal:
        """What the steps that are done cost, in US dollars, as far as prices are known."""
        done = (Step.model_validate(order) for order in self.request.get("orders", ())[: self.step])
        return sum((order.price for order in done if order.price), Decimal(0))

    @property
    def not_made(self) -> PurchaseNotMade:
        """The error if the present step proves not made, with what the upstream had said to it."""
        said = None if self.unexplained is None else UpstreamRefusal(**self.unexplained)
        return PurchaseNotMade(upstream=said, operation_id=str(self.id))

    @property
    def told(self) -> dict[str, str]:
        """What traces tell of it."""
        return {
            "rentgate.operation_id": str(self.id),
            "rentgate.operation.kind": self.kind,
            "rentgate.operation.state": self.state.value,
        }

    @property
    def caller(self) -> Caller:
        """In whose name it was made."""
        return Caller(self.tenant_id, self.actor, request_id=self.request_id)


COLUMNS = [operations.c[name] for name in Operation.__slots__]
"""The columns that make an Operation."""

COLUMN_NAMES: LiteralString = ", ".join(Operation.__slots__)
"""The same in plain SQL."""


def from_row(row: Iterable[Any]) -> Operation:
    """The operation of a row of COLUMNS."""
    values = dict(zip(Operation.__slots__, row, strict=True))
    return Operation(**{**values, "state": State(values["state"])})


def error_record(error: RentgateError) -> dict[str, Any]:
    """An error as the ledger keeps it."""
    # An error without a code is ours alone to mend, and so is its text.
    known = error if error.code else InternalError()
    record: dict[str, Any] = {"code": known.code, "detail": known.detail}
    if error.upstream is not None:
        record["upstream"] = {"method": error.upstream.method, "message": error.upstream.message}
    if error.required is not None:
        record["required"] = str(error.required)
    if error.retry_after is not None:
        record["retry_after"] = error.retry_after
    return record


def error_of(operation: Operation) -> RentgateError:
    """The error of a failed operation, as it was first raised."""
    record = operation.error or {"code": "purchase_not_made"}
    upstream = record.get("upstream")
    required = record.get("required")
    return catalogue()[record["code"]](
        record.get("detail"),
        upstream=UpstreamRefusal(**upstream) if upstream else None,
        required=Decimal(required) if required is not None else None,
        retry_after=record.get("retry_after"),
        operation_id=str(operation.id),
    )
