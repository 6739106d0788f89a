"""Which orders can be what an operation made: by service, country, end, number, and when they appeared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.kinds.kind import END_TOLERANCE, Stranger
from app.kinds.registry import KindName
from app.operations.operation import Operation
from app.operations.states import State
from app.settlement.matching import fitting
from app.upstream.wire import NumberState, Order

SENT = datetime(2026, 11, 1, 12, tzinfo=UTC)
NOBODY = UUID(int=0)
PURCHASE = {
    "country": "RU",
    "upstream_country": "RU",
    "services": ["opt1", "opt2"],
    "service_names": {},
    "period": {"unit": "week", "count": 1},
    "operator": None,
    "activate": False,
    "metadata": {},
}
RESTORE = {"orders": [{"id": "7", "service": "opt1"}], "phone_number": "+79160000000"}


def operation(kind: KindName, request: dict[str, Any], sent_at: datetime | None = SENT) -> Operation:
    return Operation(
        tenant_id=NOBODY,
        id=NOBODY,
        kind=kind,
        state=State.UNKNOWN,
        upstream_key_id=NOBODY,
        rental_id=NOBODY,
        request=request,
        step=0,
        price=Decimal(1),
        error=None,
        unexplained=None,
        candidates=None,
        actor="x",
        request_id=None,
        answered_at=None,
        created_at=SENT,
        sent_at=sent_at,
        settled_at=None,
        absent_seconds=0.0,
        absent_seen_at=None,
    )


def order(order_id: str = "1", **changes: Any) -> Order:
    values: dict[str, Any] = {
        "order_id": order_id,
        "service": "opt1",
        "service_name": None,
        "state": NumberState.INACTIVE,
        "phone_number": "+79160000000",
        "country": "RU",
        "has_new_sms": False,
        "expires_at": SENT + timedelta(days=7),
        "can_prolong": None,
        "prolong_max": None,
        "prolong_until": None,
        "last_online_at": None,
    }
    return Order(**{**values, **changes})


def seen(found: Order, seconds: float = 1.0) -> Stranger:
    return Stranger(found, SENT + timedelta(seconds=seconds))


def ids(groups: list[list[Order]]) -> list[list[str]]:
    return [[found.order_id for found in group] for group in groups]


@pytest.mark.parametrize(
    ("change", "seconds", "fits"),
    [
        ({}, 1, True),
        ({"service": "opt2"}, 1, True),
        ({"service": "opt3"}, 1, False),
        ({"service": None}, 1, False),
        ({"country": "PL"}, 1, False),
        ({"country": None}, 1, True),
        ({"expires_at": None}, 1, True),
        ({"expires_at": SENT + timedelta(days=7) + END_TOLERANCE}, 1, True),
        ({"expires_at": SENT + timedelta(days=7) + 2 * END_TOLERANCE}, 1, False),
        ({"expires_at": SENT + timedelta(days=30)}, 1, False),
        ({}, 0, True),
        ({}, -1, False),
    ],
)
def test_what_can_be_a_purchase(change: dict[str, Any], seconds: float, *, fits: bool) -> None:
    groups = fitting(operation(KindName.CREATE, PURCHASE), {}, [seen(order(**change), seconds)])
    assert bool(groups) is fits


def test_orders_of_one_number_are_one_possibility() -> None:
    strangers = [
        seen(order("1")),
        seen(order("2", service="opt2")),
        seen(order("3", phone_number="+79160000001")),
    ]
    assert ids(fitting(operation(KindName.CREATE, PURCHASE), {}, strangers)) == [["1", "2"], ["3"]]


def test_orders_without_a_number_are_possibilities_of_their_own() -> None:
    strangers = [seen(order("1", phone_number=None)), seen(order("2", phone_number=None))]
    assert ids(fitting(operation(KindName.CREATE, PURCHASE), {}, strangers)) == [["1"], ["2"]]


def test_what_was_never_sent_made_nothing() -> None:
    assert fitting(operation(KindName.CREATE, PURCHASE, sent_at=None), {}, [seen(order())]) == []


@pytest.mark.parametrize(
    ("state", "found"),
    [
        (NumberState.ACTIVE, True),
        (NumberState.ACTIVATING, True),
        (NumberState.INACTIVE, False),
        (NumberState.UNKNOWN, False),
    ],
)
def test_an_activation_is_told_by_the_state(state: NumberState, *, found: bool) -> None:
    listed = {"7": order("7", state=state)}
    assert bool(fitting(operation(KindName.ACTIVATE, {"orders": [{"id": "7"}]}), listed, [])) is found


def test_a_restore_is_told_by_its_order_being_back_or_by_its_number_under_a_new_id() -> None:
    restore = operation(KindName.RESTORE, RESTORE)
    assert ids(fitting(restore, {"7": order("7")}, [])) == [["7"]]
    assert ids(fitting(restore, {}, [seen(order("8"))])) == [["8"]]
    assert fitting(restore, {}, [seen(order("8"), -1)]) == []
    assert fitting(restore, {}, [seen(order("8", service="opt2"))]) == []
    assert fitting(restore, {}, [seen(order("8", phone_number="+79160000001"))]) == []
    assert fitting(restore, {}, [seen(order("8", phone_number=None))]) == []
