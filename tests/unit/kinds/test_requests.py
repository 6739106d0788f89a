"""A row keeps a request as JSON; what was written is read back whole, and callers see no inner notes."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kinds import activate, add_service, create, delete, prolong, restore
from app.kinds.create import CreateRequest
from app.kinds.kind import Kind
from app.kinds.prolong import ProlongRequest
from app.operations.request import Step
from app.values import Period, PeriodUnit

STEP = {"id": "7", "service": "opt1", "expires_at": "2026-11-01T12:00:00.000250+00:00", "price": "3.50"}
CHANGE: dict[str, Any] = {"orders": [STEP]}
BARE = {"orders": [{"id": "7", "service": None, "expires_at": None, "price": None}]}
WEEK = {"unit": "week", "count": 1}
PURCHASE = {
    "country": "GB",
    "upstream_country": "UK",
    "services": ["opt1", "opt2"],
    "service_names": {"opt1": "Telegram"},
    "period": WEEK,
    "operator": None,
    "activate": True,
    "max_price": "0.345",
    "metadata": {"for": "tests"},
}
ADDED = {
    **CHANGE,
    "service": "opt2",
    "service_name": None,
    "days": None,
    "phone_number": "+447000000000",
    "country": None,
    "known_orders": ["7", "8"],
    "max_price": "10.00",
}


@pytest.mark.parametrize(
    ("kind", "record"),
    [
        (create.KIND, PURCHASE),
        (create.KIND, {**PURCHASE, "operator": "any", "activate": False, "max_price": None}),
        (activate.KIND, BARE),
        (restore.KIND, {**CHANGE, "phone_number": None, "max_price": "7.00"}),
        (prolong.KIND, {**CHANGE, "period": WEEK, "max_price": None, "automatic": True}),
        (add_service.KIND, ADDED),
        (delete.KIND, {"orders": [STEP, {**STEP, "id": "8"}]}),
    ],
)
def test_a_request_is_kept_as_it_was_read(kind: Kind, record: dict[str, Any]) -> None:
    assert kind.request.of(record).record() == record


def test_callers_are_shown_what_they_asked_for() -> None:
    inner = {"upstream_country", "service_names"}
    assert PURCHASE.keys() - CreateRequest.shown(PURCHASE).keys() == inner
    assert add_service.KIND.request.shown(ADDED) == ADDED


@given(
    st.decimals(min_value=0, max_value=10**6, places=4),
    st.datetimes(timezones=st.just(UTC)),
    st.sampled_from(PeriodUnit),
    st.integers(1, 90),
)
def test_prices_ends_and_periods_come_back_as_they_were(
    price: Decimal, end: datetime, unit: PeriodUnit, count: int
) -> None:
    step = Step(id="7", expires_at=end, price=price)
    asked = ProlongRequest(orders=(step,), period=Period(unit, count), max_price=price)
    assert ProlongRequest.of(asked.record()) == asked
    assert asked.record()["orders"][0]["expires_at"] == end.isoformat()
