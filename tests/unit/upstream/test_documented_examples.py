"""Every example of the provider's page and of public code, through the real client: read as what it means."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.upstream.errors import CallFailed, Outcome
from app.upstream.rows import Listing
from app.upstream.wire import (
    Country,
    HistoryEntry,
    NumberState,
    Offer,
    Order,
    PurchasedOrder,
    Restored,
    RestoreQuote,
    Sms,
    SmsLists,
)
from tests.unit.upstream.canned import ORDER_ID, read_now

EXAMPLES = Path(__file__).parents[2] / "upstream_examples"
DOCUMENTED: dict[str, Any] = json.loads((EXAMPLES / "documented.json").read_text())
SEEN: list[dict[str, Any]] = [
    example for example in json.loads((EXAMPLES / "seen.json").read_text()) if example["method"] != "balance"
]
REFUSALS: list[str] = json.loads((EXAMPLES / "documented_refusals.json").read_text())


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def of_this_order(body: Any) -> Any:
    """The example as an answer about the order that the calls of these tests are about."""
    return json.loads(json.dumps(body).replace("317017", ORDER_ID).replace('"id": 123', f'"id": {ORDER_ID}'))


MEANINGS: dict[str, Any] = {
    "getcountries": Listing((Country("Россия", "RU", None, None),)),
    "getdata": Listing((Offer("opt46", "Airbnb", Decimal(6), 359, None),)),
    "create": (PurchasedOrder("40370", "+79096037108", "opt6", at(1587633960)),),
    "orders": Listing(
        (
            Order(
                order_id="40300",
                service="opt16",
                service_name="Instagram",
                state=NumberState.INACTIVE,
                phone_number="+79096068511",
                country="RU",
                has_new_sms=False,
                expires_at=at(1587552240),
                can_prolong=True,
                prolong_max=162,
                prolong_until=at(1634883780),
                last_online_at=at(1586947920),
            ),
        )
    ),
    "add_service_to_order": None,
    "sms": SmsLists((Sms("Code Instagram: 671 094.", "FACEBOOK", at(1586948100)),)),
    "prolong": None,
    "activate": None,
    "delete": None,
    "get_rent_history": Listing(
        (
            HistoryEntry(
                order_id="517017",
                service="opt59",
                phone_number="+79020831944",
                country=None,  # the example says EN beside a Russian number
                days=7,
                began_at=at(1222222231),
                ended_at=at(1611111931),
                closed=True,
                closed_at=at(1632445144),
            ),
        ),
        size=1,
    ),
    "restore_user_precalc": RestoreQuote(
        ORDER_ID, None, "opt59", "Avito", Decimal("2.4"), "+79929831844", 32, 30
    ),
    "restore_user": Restored(None),
}


def without_size(content: Any) -> Any:
    return Listing(content.rows, content.complete) if isinstance(content, Listing) else content


@pytest.mark.parametrize("method", DOCUMENTED)
def test_each_documented_example_means_what_the_page_says(method: str) -> None:
    content, set_aside = read_now(method, of_this_order(DOCUMENTED[method]))
    assert without_size(content) == without_size(MEANINGS[method])
    assert set_aside == ()


@pytest.mark.parametrize("message", REFUSALS)
@pytest.mark.parametrize("method", ["restore_user", "restore_user_precalc"])
def test_each_documented_refusal_is_known(method: str, message: str) -> None:
    with pytest.raises(CallFailed) as failed:
        read_now(method, {"status": 0, "msg": message})
    assert failed.value.outcome is Outcome.REFUSED
    assert failed.value.error.code not in ("upstream_error", "internal_error")


def seen(why: str) -> tuple[Any, tuple[Any, ...]]:
    """What the client makes of the example of public code that this is said of."""
    (example,) = [example for example in SEEN if example["why"].startswith(why)]
    body = example["raw"].encode() if "raw" in example else of_this_order(example["body"])
    return read_now(example["method"], body)


def test_an_order_that_was_given_up_early() -> None:
    (entry,) = seen("closed is a time")[0]
    assert entry == HistoryEntry(
        order_id="857191",
        service="opt59",
        phone_number="+37067787324",
        country="LT",
        days=30,
        began_at=at(1768902473),
        ended_at=at(1771494473),
        closed=True,
        closed_at=at(1768903921),
        restorable=True,
    )


@pytest.mark.parametrize(
    ("why", "expected"),
    [
        ("data is a list with an empty object", None),
        ("status 0 beside an empty row", SmsLists(())),
        ("the sample of a copy", Listing(())),
        ("count by operator", Listing((Offer("opt29", "Telegram", Decimal("0.75"), 26, {"Claro_AR": 26}),))),
        ("services keyed by their code", Listing((Offer("opt29", "Telegram", Decimal("1.10"), 12, None),))),
        (
            "other messages under other names",
            SmsLists(
                (Sms("code 1234", "FACEBOOK", at(1768902600)),),
                (Sms("hello", "X", None), Sms("hi", None, None)),
            ),
        ),
        ("a date as text", SmsLists((Sms("code 1234", "FACEBOOK", None),))),
        ("other names for number and end", (PurchasedOrder("40370", None, None, None),)),
        ("two services, one id", (PurchasedOrder("50001", "+4915112345678", "opt6", at(1771494473)),)),
        ("status 0 for an account without orders", Listing(())),
        ("PHP writes floats", Listing((Offer("opt59", "Avito", Decimal("0.35"), 3, None),))),
    ],
)
def test_each_example_of_public_code_is_read(why: str, expected: Any) -> None:
    content, set_aside = seen(why)
    assert without_size(content) == expected
    assert [finding.field for finding in set_aside] == (["data[].date"] if why == "a date as text" else [])


def test_a_list_that_php_wrote_as_an_object() -> None:
    orders = seen("a list that PHP wrote")[0]
    assert orders.complete
    assert [(order.order_id, order.state, order.has_new_sms) for order in orders] == [
        ("40300", NumberState.INACTIVE, False),
        ("40301", NumberState.ACTIVE, True),
    ]


def test_a_refusal_under_another_name() -> None:
    with pytest.raises(CallFailed) as failed:
        seen("a refusal under another name")
    assert (failed.value.outcome, failed.value.error.code) == (Outcome.REFUSED, "insufficient_balance")


def test_no_example_is_left_out() -> None:
    assert len(SEEN) == 14
    assert set(MEANINGS) == set(DOCUMENTED)
