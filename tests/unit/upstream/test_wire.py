"""Every form in which the upstream was seen to write its payloads parses, and garbage never does by guess."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.upstream import wire
from app.upstream.envelope import opened
from app.upstream.scalars import Unreadable
from app.upstream.wire import NumberState, Sms

UNTIL = datetime(2026, 12, 1, tzinfo=UTC)
SECONDS = int(UNTIL.timestamp())


def order(**changes: Any) -> dict[str, Any]:
    """A row of `orders` as the provider's page documents it."""
    row = {
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
    return {**row, **changes}


def test_documented_order() -> None:
    (found,) = wire.orders([order()])
    assert found.order_id == "77"
    assert found.phone_number == "+79161234567"
    assert found.state is NumberState.ACTIVE
    assert found.country == "RU"
    assert (found.expires_at, found.prolong_max, found.has_new_sms) == (UNTIL, 162, True)


@pytest.mark.parametrize(
    ("written", "state"),
    [
        (0, NumberState.INACTIVE),
        ("1", NumberState.ACTIVE),
        ("2", NumberState.ACTIVATING),
        (-1, NumberState.OFFLINE),
        ("-1", NumberState.OFFLINE),
        (9, NumberState.UNKNOWN),
    ],
)
def test_states_as_numbers_and_as_strings(written: object, state: NumberState) -> None:
    assert wire.orders([order(state=written)])[0].state is state


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
    ],
)
def test_one_number_comes_out_of_every_form(number: str, code: str | None) -> None:
    assert wire.orders([order(pnumber=number, ccode=code)])[0].phone_number == "+79161234567"


def test_missing_members_and_flags_as_numbers() -> None:
    row = order(hasnewsms="0", canprolong=1, id="77", until=str(SECONDS))
    del row["lastonline"], row["ccode"]
    (found,) = wire.orders([row])
    assert (found.has_new_sms, found.can_prolong, found.last_online_at) == (False, True, None)
    assert found.expires_at == UNTIL
    assert found.phone_number == "+79161234567"


def test_united_kingdom_is_gb_and_pools_keep_their_code() -> None:
    assert wire.orders([order(cname="UK", pnumber="7400123456", ccode="+44")])[0].country == "GB"
    assert wire.orders([order(cname="US3", pnumber="2015550123", ccode="+1")])[0].country == "US3"


@pytest.mark.parametrize(
    "data",
    [
        {"id": 5, "pnumber": "9161234567", "ccode": "+7", "service": "opt1", "until": SECONDS},
        [{"id": "5", "pnumber": "+79161234567", "ccode": "+7", "service": "opt1", "until": str(SECONDS)}],
    ],
)
def test_create_as_object_and_as_list_of_one(data: Any) -> None:
    (found,) = wire.purchased(data)
    assert (found.order_id, found.phone_number) == ("5", "+79161234567")
    assert (found.service, found.expires_at) == ("opt1", UNTIL)


def test_create_multi_gives_an_order_for_each_service() -> None:
    rows = [{"id": n, "pnumber": "9161234567", "ccode": "+7", "service": f"opt{n}"} for n in (1, 2)]
    assert [o.service for o in wire.purchased(rows)] == ["opt1", "opt2"]


@pytest.mark.parametrize("data", [None, [], {}, "ok", [{"pnumber": "9161234567"}], {"id": ""}, {"id": True}])
def test_a_purchase_without_an_id_is_never_guessed(data: Any) -> None:
    with pytest.raises(Unreadable):
        wire.purchased(data)


OFFER = {"name": "Google", "service": "opt1", "price_day": "0.60", "count": 3}


@pytest.mark.parametrize("data", [[OFFER], {"services": [OFFER], "currency": "USD"}])
def test_offers_as_list_and_nested(data: Any) -> None:
    (found,) = wire.offers(data)
    assert (found.price_per_day, found.available, found.operators) == (Decimal("0.60"), 3, None)


@pytest.mark.parametrize("price", ["0.60", Decimal("0.6"), " 0.60 "])
def test_prices_in_each_writing(price: object) -> None:
    assert wire.offers([{**OFFER, "price_day": price}])[0].price_per_day == Decimal("0.60")


@pytest.mark.parametrize("price", [None, "", "free", "-1", "1e3", Decimal("NaN"), True, [], "0.60 USD"])
def test_a_price_is_never_made_up(price: object) -> None:
    with pytest.raises(Unreadable):
        wire.offers([{**OFFER, "price_day": price}])


def test_counts_by_operator() -> None:
    (found,) = wire.offers([{**OFFER, "count": {"mts": "2", "any": 1, "totalCount": "3"}}])
    assert (found.available, found.operators) == (3, {"mts": 2, "any": 1})
    (summed,) = wire.offers([{**OFFER, "count": {"mts": 2, "any": 1}}])
    assert summed.available == 3


MESSAGE = {"text": "code 1", "sender": "Google", "date": SECONDS}
READ = Sms("code 1", "Google", UNTIL)


def test_messages_as_list() -> None:
    assert wire.sms_lists([MESSAGE]).rented == (READ,)


def test_messages_for_other_services_are_kept() -> None:
    found = wire.sms_lists({"SmsList": [MESSAGE], "OtherSms": [{**MESSAGE, "text": "code 2"}]})
    assert found.rented == (READ,)
    assert found.other == (Sms("code 2", "Google", UNTIL),)


@pytest.mark.parametrize(
    "data", [{}, [], {"SmsList": [], "OtherSms": []}, {"SmsList": None}, {"SmsList": {}}]
)
def test_no_messages(data: Any) -> None:
    assert wire.sms_lists(data) == wire.SmsLists((), ())


def test_messages_without_date_or_sender_and_bare_strings() -> None:
    found = wire.sms_lists([{"text": "a"}, "b", {"text": 123456, "sender": None, "date": "0"}])
    assert found.rented == (Sms("a", None, None), Sms("b", None, None), Sms("123456", None, None))


def test_characters_that_no_database_takes_are_replaced() -> None:
    assert wire.sms_lists(["a\0b\ud800c"]).rented[0].text == "a\ufffdb?c"


@pytest.mark.parametrize("data", [None, "none", 7, {"messages": []}, {"SmsList": "x"}, [[1]], [{"date": 1}]])
def test_a_broken_list_is_not_an_empty_one(data: Any) -> None:
    with pytest.raises(Unreadable):
        wire.sms_lists(data)


def test_countries_with_trailing_spaces_in_russian_and_with_switch_type() -> None:
    found = wire.countries(
        [{"name": "Россия ", "code": "ru"}, {"name": "UK", "code": "UK", "rent_switch_type": "FAST"}]
    )
    assert [(c.name, c.upstream_code, c.switch_type) for c in found] == [
        ("Россия", "RU", None),
        ("UK", "UK", "FAST"),
    ]


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
    "closed": False,
}


def test_history_with_and_without_what_was_seen() -> None:
    (found,) = wire.history([HISTORY])
    assert (found.order_id, found.phone_number, found.ended_at) == ("9", "+79161234567", UNTIL)
    assert found.restorable is None
    bare = {key: value for key, value in HISTORY.items() if key != "branchId"}
    assert wire.history([{**bare, "isAvailForRestore": 1}])[0].restorable is True


def test_restore_quote_has_letters_for_a_country_and_a_full_number() -> None:
    quote = wire.restore_quote(
        {
            "ccode": "UK",
            "scode": "opt1",
            "price": "52.80",
            "sname": "Google",
            "pnumber": "447400123456",
            "outdays": "2",
            "orderid": 9,
            "prolongTo": 30,
        }
    )
    assert (quote.country, quote.phone_number, quote.price) == ("GB", "+447400123456", Decimal("52.80"))
    assert (quote.days_overdue, quote.prolonged_days) == (2, 30)


@pytest.mark.parametrize(
    ("data", "order_id"),
    [(True, None), (1, None), ("true", None), ([], None), ({}, None), ({"id": 5}, "5"), ([{"id": "6"}], "6")],
)
def test_restored_in_each_form(data: Any, order_id: str | None) -> None:
    assert wire.restored(data).order_id == order_id


@pytest.mark.parametrize("data", [None, False, 0, "no", 7, [1, 2]])
def test_restored_is_never_guessed(data: Any) -> None:
    with pytest.raises(Unreadable):
        wire.restored(data)


@pytest.mark.parametrize("data", [None, True, [], {}])
def test_added_service_without_data(data: Any) -> None:
    assert wire.added_order(data) is None


def test_added_service_with_the_child_order() -> None:
    child = wire.added_order({"id": 8, "service": "opt2", "pnumber": "9161234567", "ccode": "+7"})
    assert child is not None
    assert child.order_id == "8"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)  # the envelope refuses the others
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
ROW = st.dictionaries(
    st.sampled_from(
        [
            "id",
            "scode",
            "state",
            "pnumber",
            "ccode",
            "cname",
            "hasnewsms",
            "until",
            "text",
            "date",
            "sender",
            "service",
            "price_day",
            "count",
            "name",
            "code",
            "orderId",
            "price",
            "orderid",
            "SmsList",
        ]
    ),
    JSON,
)


@given(st.one_of(JSON, ROW, st.lists(ROW, max_size=3)))
def test_garbage_is_read_or_refused_and_nothing_else(data: Any) -> None:
    for read in (
        wire.countries,
        wire.offers,
        wire.purchased,
        wire.orders,
        wire.sms_lists,
        wire.history,
        wire.restore_quote,
        wire.restored,
        wire.added_order,
    ):
        try:
            read(data)
        except Unreadable:
            continue


@given(
    order_id=st.integers(1, 10**12),
    as_text=st.booleans(),
    in_list=st.booleans(),
    number=st.sampled_from(["9161234567", "+79161234567", "79161234567"]),
    code=st.sampled_from(["+7", "7", "+7 ", ""]),
)
def test_mixtures_of_the_seen_shapes_of_a_purchase(
    *, order_id: int, as_text: bool, in_list: bool, number: str, code: str
) -> None:
    row = {
        "id": str(order_id) if as_text else order_id,
        "pnumber": number,
        "ccode": code,
        "until": str(SECONDS) if as_text else SECONDS,
    }
    (found,) = wire.purchased([row] if in_list else row, "RU")
    assert found.order_id == str(order_id)
    assert found.phone_number == "+79161234567"
    assert found.expires_at == UNTIL


@given(st.binary(max_size=300))
def test_bodies_are_json_or_refused(body: bytes) -> None:
    try:
        opened(body)
    except Unreadable:
        return
