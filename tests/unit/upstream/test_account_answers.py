"""Orders, archives, purchases, quotes: every form that was seen, and what can't be read beside what can."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.upstream import account_answers as answers
from app.upstream.rows import Listing
from app.upstream.scalars import Unreadable
from app.upstream.set_aside import Findings, SetAside
from app.upstream.wire import HistoryEntry, NumberState, Order, PurchasedOrder, RestoreQuote, Service

UNTIL = datetime(2026, 12, 1, tzinfo=UTC)
SECONDS = int(UNTIL.timestamp())


def row(**changes: Any) -> dict[str, Any]:
    """A row of `orders` as the provider's page documents it."""
    documented = {
        "id": 77,
        "scode": "opt1",
        "sname": "Google",
        "state": 1,
        "pnumber": "9161234567",
        "ccode": "+7",
        "cname": "RU",
        "hasnewsms": True,
        "until": SECONDS,
        "canprolong": False,
        "canprolongmax": 162,
        "canprolonguntil": SECONDS,
        "lastonline": SECONDS,
    }
    return {**documented, **changes}


def listed(data: Any) -> Listing[Order]:
    return answers.orders(data, Findings("orders"))


def order(**changes: Any) -> Order:
    (found,) = listed([row(**changes)])
    return found


def set_aside(data: Any) -> list[tuple[str, str]]:
    findings = Findings("orders")
    answers.orders(data, findings)
    return [(finding.field, finding.kind) for finding in findings.set_aside]


@pytest.mark.parametrize(
    ("written", "state"),
    [
        (0, NumberState.INACTIVE),
        ("1", NumberState.ACTIVE),
        ("2", NumberState.ACTIVATING),
        (-1, NumberState.OFFLINE),
        ("-1", NumberState.OFFLINE),
        (Decimal("1.0"), NumberState.ACTIVE),
        (9, NumberState.UNKNOWN),
        (None, None),
        ("active", None),
    ],
)
def test_states_in_each_writing(written: object, state: NumberState | None) -> None:
    assert order(state=written).state is state


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("9161234567", "+7"),
        ("9161234567", "7"),
        ("+79161234567", "+7"),
        ("79161234567", "+7"),
        ("+79161234567", ""),
        ("79161234567", ""),
        ("9161234567", ""),
        ("79161234567", None),
        ("+7 916 123-45-67", "+7"),
        (9161234567, 7),
    ],
)
def test_one_number_comes_out_of_every_form(number: object, code: object) -> None:
    assert order(pnumber=number, ccode=code).phone_number == "+79161234567"


@pytest.mark.parametrize("number", ["37067787324", "7916***4567", "9161234567, 9161234568", "916", True, {}])
def test_no_number_is_put_together_from_parts_that_dont_fit(number: object) -> None:
    assert order(pnumber=number, ccode="+7").phone_number is None


def test_missing_members_and_flags_as_numbers() -> None:
    written = row(hasnewsms="0", canprolong=1, id="77", until=str(SECONDS))
    del written["lastonline"], written["ccode"]
    (found,) = listed([written])
    assert (found.has_new_sms, found.can_prolong, found.last_online_at) == (False, True, None)
    assert (found.expires_at, found.phone_number) == (UNTIL, "+79161234567")
    assert set_aside([written]) == []


def test_united_kingdom_is_gb_and_pools_keep_their_code() -> None:
    assert order(cname="UK", pnumber="7400123456", ccode="+44").country == "GB"
    assert order(cname="US3", pnumber="2015550123", ccode="+1").country == "US3"


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("lastonline", "2026-01-20 09:47:53", "text like a date"),
        ("canprolongmax", 2**31, "number like a time"),
        ("until", -5, "negative number"),
        ("hasnewsms", {"a": 1}, "object"),
        ("state", [1], "list"),
        ("pnumber", "7909***11", "text with asterisks"),
        ("until", Decimal("NaN"), "number out of bounds"),
    ],
)
def test_what_cant_be_read_is_told_by_place_and_kind(field: str, value: object, kind: str) -> None:
    assert set_aside([row(**{field: value}), row(id=78)]) == [(f"data[].{field}", kind)]


@pytest.mark.parametrize("field", ["id", "state", "until", "pnumber", "scode"])
def test_what_something_hangs_on_is_told_when_it_is_missing(field: str) -> None:
    assert (f"data[].{field}", "missing") in set_aside([row(**{field: None})])


def test_an_order_that_the_list_shows_twice_is_one_with_both_services() -> None:
    (found,) = listed([row(hasnewsms=False, lastonline=None), row(scode="opt2", sname="Facebook")])
    assert (found.service, found.further_services) == ("opt1", (Service("opt2", "Facebook"),))
    assert (found.has_new_sms, found.last_online_at) == (True, UNTIL)


def test_the_very_same_row_twice_is_one_order() -> None:
    assert listed([row(), row()]).rows == (order(),)


@pytest.mark.parametrize("data", [None, "", [], {}, [{}], [None, "", []], {"0": {}}])
def test_nothing_is_an_empty_list(data: Any) -> None:
    found = listed(data)
    assert (found.rows, found.complete) == ((), True)


@pytest.mark.parametrize("data", ["none", 7, True, {"error": 1}, {"orders": [1]}])
def test_what_is_no_list_is_no_empty_list(data: Any) -> None:
    with pytest.raises(Unreadable):
        listed(data)


@pytest.mark.parametrize(
    "data", [[row(), "x"], [row(), {"id": "", "scode": "opt1"}], [[1]], {"0": row(), "n": 2}]
)
def test_a_list_that_cant_be_read_whole_says_so(data: Any) -> None:
    assert not listed(data).complete


@pytest.mark.parametrize(
    "data",
    [
        {"id": 5, "pnumber": "9161234567", "ccode": "+7", "service": "opt1", "until": SECONDS},
        [{"id": "5", "pnumber": "+79161234567", "ccode": "+7", "service": "opt1", "until": str(SECONDS)}],
        {"0": {"id": 5, "pnumber": "79161234567", "ccode": "", "service": "opt1", "until": SECONDS * 1000}},
    ],
)
def test_create_in_each_form(data: Any) -> None:
    (found,) = answers.purchased(data, Findings("create"))
    assert found == PurchasedOrder("5", "+79161234567", "opt1", UNTIL)


def test_create_multi_gives_an_order_for_each_service_or_one_for_all() -> None:
    rows = [{"id": n, "pnumber": "9161234567", "ccode": "+7", "service": f"opt{n}"} for n in (1, 2)]
    assert [o.service for o in answers.purchased(rows, Findings("create_multi"))] == ["opt1", "opt2"]
    same = [{**written, "id": 1} for written in rows]
    assert [o.order_id for o in answers.purchased(same, Findings("create_multi"))] == ["1"]


NO_IDS = [None, [], {}, "ok", [{"pnumber": "9161234567"}], {"id": ""}, {"id": True}, {"id": 0}, {"id": "4*3"}]


@pytest.mark.parametrize("data", NO_IDS)
def test_a_purchase_without_an_id_is_never_guessed(data: Any) -> None:
    with pytest.raises(Unreadable):
        answers.purchased(data, Findings("create"))


HISTORY = {
    "orderId": 9,
    "resourceCode": "opt1",
    "number": "79161234567",
    "branchId": 1,
    "haveSms": True,
    "days": 7,
    "country": "RU",
    "begin": SECONDS - 7 * 86400,
    "end": SECONDS,
    "closed": SECONDS - 86400,
}


def entry(**changes: Any) -> HistoryEntry:
    (found,) = answers.history([{**HISTORY, **changes}], Findings("get_rent_history"))
    return found


def test_history_with_and_without_what_was_seen() -> None:
    found = entry()
    assert (found.order_id, found.phone_number, found.ended_at) == ("9", "+79161234567", UNTIL)
    assert found.restorable is None
    bare = {key: value for key, value in HISTORY.items() if key != "branchId"}
    (seen,) = answers.history([{**bare, "isAvailForRestore": 1}], Findings("get_rent_history"))
    assert seen.restorable is True


def digest(*rows: Any) -> bytes:
    return answers.history(list(rows), Findings("get_rent_history")).digest


def test_pages_that_cant_be_read_are_told_apart_by_what_they_hold_in_any_order() -> None:
    odd, other = {**HISTORY, "orderId": None}, {**HISTORY, "orderId": None, "days": 8}
    assert digest(odd, other, HISTORY) == digest(HISTORY, other, odd)
    assert len({digest(odd), digest(odd, odd), digest(other), digest("a row"), digest(7), digest([7])}) == 6
    keyed = answers.history({"1": odd, "2": HISTORY}, Findings("get_rent_history"))
    assert keyed.digest == digest(odd, HISTORY)
    assert digest(dict(reversed(odd.items()))) == digest(odd)


def test_a_page_that_is_nested_too_deep_can_be_read_all_the_same() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    found = answers.history([{**HISTORY, "orderId": deep}, HISTORY], Findings("get_rent_history"))
    assert ([entry.order_id for entry in found], found.complete) == (["9"], False)


def test_that_an_end_is_missing_is_told() -> None:
    findings = Findings("get_rent_history")
    (found,) = answers.history([{**HISTORY, "end": None}], findings)
    assert found.ended_at is None
    assert [(one.field, one.kind) for one in findings.set_aside] == [("data[].end", "missing")]


@pytest.mark.parametrize(
    ("written", "closed", "closed_at"),
    [
        (SECONDS, True, UNTIL),
        (str(SECONDS), True, UNTIL),
        (True, True, None),
        (1, True, None),
        (False, False, None),
        (0, False, None),
        ("0", False, None),
        (None, None, None),
        ("yesterday", None, None),
    ],
)
def test_closed_is_a_time_or_a_flag(written: object, closed: bool | None, closed_at: datetime | None) -> None:
    found = entry(closed=written)
    assert (found.closed, found.closed_at) == (closed, closed_at)


def test_a_country_that_contradicts_the_number_is_unknown() -> None:
    assert entry(country="EN").country is None
    assert entry(country="LT", number="37067787324").country == "LT"
    assert entry(country="LT", number="37067787324").phone_number == "+37067787324"
    assert entry(country="EN", number="37067787324").phone_number == "+37067787324"


QUOTE = {
    "ccode": "UK",
    "scode": "opt1",
    "price": "52.80",
    "sname": "Google",
    "pnumber": "447400123456",
    "outdays": "2",
    "orderid": 9,
    "prolongTo": 30,
}


def quote(**changes: Any) -> RestoreQuote:
    return answers.restore_quote({**QUOTE, **changes}, Findings("restore_user_precalc"), "9")


def test_restore_quote_has_letters_for_a_country_and_a_full_number() -> None:
    found = quote()
    assert (found.country, found.phone_number, found.price) == ("GB", "+447400123456", Decimal("52.80"))
    assert (found.days_overdue, found.prolonged_days) == (2, 30)


def test_a_quote_for_another_order_is_none() -> None:
    findings = Findings("restore_user_precalc")
    with pytest.raises(Unreadable, match="another order"):
        answers.restore_quote({**QUOTE, "orderid": 317017}, findings, "9")
    assert findings.set_aside == (SetAside("restore_user_precalc", "data.orderid", "whole number"),)


@pytest.mark.parametrize("price", [None, "", "free", "-1", True, [], "0.60 USD", "1e9", Decimal("Infinity")])
def test_a_quote_without_a_price_is_none(price: object) -> None:
    with pytest.raises(Unreadable):
        quote(price=price)


@pytest.mark.parametrize(
    ("written", "price"),
    [
        (2.4, "2.4"),
        ("2.40", "2.4"),
        (Decimal("0.34999999999999998"), "0.35"),
        ("0.00005", "0.0001"),
        (0, "0"),
    ],
)
def test_prices_are_rounded_half_up_to_four_decimals(written: Any, price: str) -> None:
    written = Decimal(str(written)) if isinstance(written, float) else written
    assert quote(price=written).price == Decimal(price)


@pytest.mark.parametrize(
    ("data", "order_id"),
    [(True, None), (1, None), ("true", None), ({"id": 5}, "5"), ([{"id": "6"}], "6")],
)
def test_restored_in_each_form(data: Any, order_id: str | None) -> None:
    assert answers.restored(data, Findings("restore_user")).order_id == order_id


@pytest.mark.parametrize(
    "data", [None, False, 0, "no", 7, [1, 2], [], {}, {"id": 0}, {"id": -5}, {"id": False}]
)
def test_what_is_not_positive_is_no_restored_order(data: Any) -> None:
    with pytest.raises(Unreadable):
        answers.restored(data, Findings("restore_user"))


@pytest.mark.parametrize("data", [None, True, [], {}, "", "true"])
def test_added_service_without_data(data: Any) -> None:
    assert answers.added_order(data, Findings("add_service_to_order")) is None


def test_added_service_with_the_child_order() -> None:
    child = answers.added_order(
        {"id": 8, "service": "opt2", "pnumber": "79161234567", "until": SECONDS},
        Findings("add_service_to_order"),
    )
    assert child == PurchasedOrder("8", "+79161234567", "opt2", UNTIL)


@pytest.mark.parametrize(
    "data", [None, "", [], {}, [{}], {"id": 123}, [{"id": "123"}], True, 1, "1", "true", 123, "123", [123]]
)
def test_a_call_is_done_whatever_form_says_so(data: Any) -> None:
    answers.done(data, Findings("prolong"), "123")


@pytest.mark.parametrize(
    "data",
    [
        *({"id": 124}, [{"id": "5"}], False, 0, -1, "-1", "ok", "error", 124, [124], [-1], [0], [False]),
        *({"orderId": 123}, {"id": -1}, {"id": 0}, {"id": "abc"}, {"id": False}, {"success": False}, [[123]]),
    ],
)
def test_a_call_that_does_not_say_so_is_not_done(data: Any) -> None:
    with pytest.raises(Unreadable):
        answers.done(data, Findings("prolong"), "123")
