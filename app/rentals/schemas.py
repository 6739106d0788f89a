"""A rental as callers read it, in answers and in events."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from app.schemas import Money

RentalStatus = Literal["pending", "active", "expired", "deleted", "failed", "review"]
NumberStateName = Literal["inactive", "activating", "active", "offline", "unknown"]


class RentedService(BaseModel):
    """A service that the number was rented for; `code` is the upstream's, such as `opt1`."""

    code: str
    name: str | None


class PeriodOut(BaseModel):
    """The period that was bought."""

    unit: Literal["day", "week", "month"]
    count: int


class Prolongation(BaseModel):
    """What the upstream says of prolonging, passed on as it is; only it decides."""

    available: bool | None
    max_days: int | None
    until: datetime | None


class UpstreamOrder(BaseModel):
    """One of the upstream's orders behind the rental: one for each service."""

    id: str
    service: str | None
    number_state: NumberStateName
    expires_at: datetime | None


class AutoProlong(BaseModel):
    """How the rental is prolonged by itself, a day before each end; `max_price` is US dollars each time."""

    unit: Literal["day", "week", "month"]
    count: int
    max_price: str | None


class Rental(BaseModel):
    """One number, of one upstream account, for one time."""

    id: UUID
    status: RentalStatus
    number_state: NumberStateName
    phone_number: str | None
    country: str | None
    services: list[RentedService]
    period: PeriodOut | None
    created_at: datetime
    expires_at: datetime | None
    prolongation: Prolongation
    last_online_at: datetime | None
    has_new_sms: bool
    restorable: bool | None
    price: Money | None
    source: Literal["gateway", "imported"]
    upstream_orders: list[UpstreamOrder]
    upstream_order_id: str | None
    upstream_key_id: UUID
    pending_operation: UUID | None
    auto_prolong: AutoProlong | None
    metadata: dict[str, str]
    synced_at: datetime | None
