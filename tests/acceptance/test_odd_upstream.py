"""The running gateway against an upstream that answers oddly: what can be read is used, and the rest is told.

The upstream answers verbatim what each test says, so nothing in its answers comes from the project's sandbox.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.conftest import Gateway
from tests.acceptance.odd_answers import COUNTRIES, DAY, NOW, OFFERS, PURCHASE, listed, offering, order
from tests.acceptance.tenant import eventually, ok, problem
from tests.acceptance.verbatim import Caller, serving, verbatim_gateway
from tests.conftest import MakeDatabase
from tests.verbatim import Body, Verbatim


@pytest.fixture(scope="module")
def odd() -> Iterator[Verbatim]:
    """The upstream of this module's tests, one after the other."""
    with Verbatim() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def odd_gateway(
    odd: Verbatim, make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway in front of it."""
    log = tmp_path_factory.mktemp("odd") / "log.jsonl"
    with verbatim_gateway(odd, make_database().app, log) as gateway:
        yield gateway


@pytest.fixture
def caller(odd_gateway: Gateway, odd: Verbatim) -> Iterator[Caller]:
    """A tenant whose upstream shows one healthy order unless the test says otherwise."""
    answers = {
        "getcountries": COUNTRIES,
        "getdata": OFFERS,
        "orders": listed(order(0)),
        "sms": listed({"text": "code 1", "sender": "FACEBOOK", "date": NOW - 30}),
        "get_rent_history": listed(),
    }
    with serving(odd_gateway, odd, answers) as found:
        yield found


ODD_ROWS: list[Any] = [
    {"id": None, "scode": "opt16", "state": 1},
    order(5, id="40*05"),
    order(5, id={"value": 5}),
    "a row",
    7,
]
"""Rows with content of which nobody can tell which order they are."""


@pytest.mark.parametrize("row", ODD_ROWS)
def test_a_row_that_cant_be_read_closes_nothing_and_hides_nothing(
    caller: Caller, odd: Verbatim, row: Any
) -> None:
    odd.answers["orders"] = listed(order(0), order(1))
    caller.until_rentals(2, status="active")
    odd.answers["orders"] = listed(row, order(0), order(2))
    assert len(caller.until_rentals(3)) == 3
    health = caller.until_health("degraded")
    assert health["problem"]["method"] == "orders"
    assert health["since"]
    caller.polls(8)
    assert [rental["status"] for rental in caller.rentals()] == ["active"] * 3
    odd.answers["orders"] = listed(order(0), order(2))
    assert caller.until_health("ok")["problem"] is None
    (gone,) = caller.until_rentals(1, status="deleted")
    assert gone["upstream_order_id"] == "40301"
    assert [event["data"]["health"]["status"] for event in caller.events("upstream_key.degraded")] == [
        "degraded"
    ]
    assert len(caller.events("upstream_key.recovered")) == 1


ODD_FIELDS: list[dict[str, Any]] = [
    {"state": None},
    {"lastonline": "2026-01-20 09:47:53"},
    {"canprolongmax": 10**30},
    {"canprolongmax": 2**31},
    {"until": "soon"},
    {"pnumber": "7909***8511"},
    {"hasnewsms": [1]},
    {"sname": {"a": 1}, "cname": 7.5, "ccode": []},
]


@pytest.mark.parametrize("changes", ODD_FIELDS)
def test_an_odd_field_leaves_the_last_value_and_every_other_row(
    caller: Caller, odd: Verbatim, changes: dict[str, Any]
) -> None:
    odd.answers["orders"] = listed(order(0), order(1))
    before = caller.until_rentals(2, status="active")[0]
    odd.answers["orders"] = listed(order(0, **changes), order(1), order(2))
    caller.until_rentals(3, status="active")
    caller.polls(4)
    after = caller.rentals()[0]
    for name in ("phone_number", "number_state", "expires_at", "services", "country", "last_online_at"):
        assert after[name] == before[name], name
    assert after["prolongation"] == before["prolongation"]
    problem_ = caller.until_health("degraded")["problem"]
    assert problem_["field"].split(".")[-1] in changes
    assert ok(caller.http.get(f"/rentals/{after['id']}/sms", params={"refresh": "true"}))["items"]


@pytest.mark.parametrize("rows", [(order(0), order(0)), (order(0), order(0, scode="opt6", sname="Fiverr"))])
def test_an_order_that_is_listed_twice_stays_one_living_rental(
    caller: Caller, odd: Verbatim, rows: tuple[Any, ...]
) -> None:
    odd.answers["orders"] = listed(*rows)
    caller.until_rentals(1, status="active")
    caller.polls(6)
    odd.answers["orders"] = listed(*(dict(row, hasnewsms=False) for row in rows))
    caller.polls(6)
    assert [found["status"] for found in caller.rentals()] == ["active"]
    services = [service["code"] for service in caller.rentals()[0]["services"]]
    assert services == list(dict.fromkeys(row["scode"] for row in rows))


@pytest.mark.parametrize(
    "body",
    [
        {"status": 1, "data": "down for maintenance"},
        {"status": 1, "data": {"error": "x"}},
        {"status": 0, "msg": "Something that nobody has seen"},
        b"<html>Just a moment</html>",
        {"status": 7},
    ],
)
def test_a_list_that_cant_be_read_at_all_takes_no_message_away(
    caller: Caller, odd: Verbatim, body: Body
) -> None:
    (rental,) = caller.until_rentals(1, status="active")
    odd.answers["orders"] = body
    assert caller.until_health("failing")["problem"]["method"] == "orders"
    odd.answers["sms"] = listed({"text": "code 2", "sender": "X", "date": NOW - 5})
    sms = f"/rentals/{rental['id']}/sms"
    found = ok(caller.http.get(sms, params={"refresh": "true"}))
    assert "code 2" in [message["text"] for message in found["items"]]
    assert caller.rentals()[0]["status"] == "active"
    odd.answers["orders"] = listed(order(0))
    ok(caller.http.get(sms, params={"refresh": "true"}))
    caller.until_health("ok")


def test_a_list_that_stays_unreadable_is_asked_with_growing_pauses(caller: Caller, odd: Verbatim) -> None:
    caller.until_rentals(1, status="active")
    odd.answers["orders"] = {"status": 1, "data": "nothing"}
    odd.calls.clear()
    time.sleep(6)
    at = [call.at for call in odd.of("orders")]
    pauses = [later - earlier for earlier, later in pairwise(at)]
    assert len(pauses) >= 2
    assert all(later > earlier for earlier, later in pairwise(pauses))


def test_messages_that_can_be_read_are_served_beside_one_that_cant(caller: Caller, odd: Verbatim) -> None:
    (rental,) = caller.until_rentals(1, status="active")
    sms = f"/rentals/{rental['id']}/sms"
    synced_at = eventually(lambda: ok(caller.http.get(sms))["synced_at"], lambda at: at is not None)
    odd.answers["sms"] = listed(
        {"text": "code 1", "sender": "FACEBOOK", "date": NOW - 30},
        {"sender": "odd", "date": NOW},
        {"text": "code 3", "sender": "FACEBOOK", "date": "2026-01-20 09:47:53"},
    )
    found = eventually(
        lambda: ok(caller.http.get(sms, params={"refresh": "true"})), lambda found: len(found["items"]) > 1
    )
    assert [message["text"] for message in found["items"]] == ["code 1", "code 3"]
    assert found["items"][1]["received_at"] is None
    stands = found["synced_at"]
    assert stands >= synced_at
    time.sleep(0.5)
    again = ok(caller.http.get(sms, params={"refresh": "true"}))
    assert again["synced_at"] == stands
    assert caller.until_health("degraded")["problem"]["field"] == "data[].text"
    odd.answers["sms"] = listed({"text": "code 1", "sender": "FACEBOOK", "date": NOW - 30})
    time.sleep(0.3)
    assert ok(caller.http.get(sms, params={"refresh": "true"}))["synced_at"] > stands


@pytest.mark.parametrize("body", [listed({"sender": "odd"}), {"status": 1, "data": 7}, b"<html>"])
def test_where_no_message_can_be_read_a_refresh_says_so(caller: Caller, odd: Verbatim, body: Body) -> None:
    (rental,) = caller.until_rentals(1, status="active")
    odd.answers["sms"] = body
    time.sleep(0.3)
    problem(
        caller.http.get(f"/rentals/{rental['id']}/sms", params={"refresh": "true"}),
        502,
        "upstream_bad_response",
    )


def test_many_who_want_to_see_messages_now_get_them_though_the_list_and_some_are_odd(
    caller: Caller, odd: Verbatim
) -> None:
    (rental,) = caller.until_rentals(1, status="active")
    odd.answers["orders"] = b"<html>"
    odd.answers["sms"] = listed(
        {"text": "code 1", "sender": "FACEBOOK", "date": NOW - 30},
        {"sender": "odd", "date": NOW},
        {"text": "code 2", "sender": "FACEBOOK", "date": NOW - 20},
    )
    time.sleep(0.5)
    odd.calls.clear()

    def refresh(_number: int) -> list[str]:
        with httpx.Client(base_url=caller.http.base_url, headers=caller.http.headers, timeout=30) as http:
            found = ok(http.get(f"/rentals/{rental['id']}/sms", params={"refresh": "true"}))
        return [message["text"] for message in found["items"]]

    with ThreadPoolExecutor(20) as threads:
        found = list(threads.map(refresh, range(20)))
    assert found == [["code 1", "code 2"]] * 20
    assert len(odd.of("sms")) < 20


def test_many_who_want_to_see_messages_now_are_told_why_none_can_be_read(
    caller: Caller, odd: Verbatim
) -> None:
    (rental,) = caller.until_rentals(1, status="active")
    odd.answers["orders"] = odd.answers["sms"] = b"<html>"
    time.sleep(0.5)
    odd.calls.clear()

    def refresh(_number: int) -> None:
        with httpx.Client(base_url=caller.http.base_url, headers=caller.http.headers, timeout=30) as http:
            response = http.get(f"/rentals/{rental['id']}/sms", params={"refresh": "true"})
        problem(response, 502, "upstream_bad_response")

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(refresh, range(20)))
    assert len(odd.of("sms")) < 20


def test_a_rental_whose_end_cant_be_read_is_not_prolonged_and_says_why(caller: Caller, odd: Verbatim) -> None:
    odd.answers["orders"] = listed(order(0, until="soon"))
    (rental,) = caller.until_rentals(1, status="active")
    wanted = {"period": {"unit": "week", "count": 1}}
    problem(caller.http.post(f"/rentals/{rental['id']}/prolong", json=wanted), 502, "upstream_bad_response")
    assert not odd.of("prolong")


def test_a_price_of_nothing_passes_no_bound(caller: Caller, odd: Verbatim) -> None:
    odd.answers["getdata"] = listed({"name": "Instagram", "service": "opt16", "price_day": 0, "count": 3})
    odd.answers["create"] = {"status": 0, "msg": "No numbers available"}
    problem(caller.http.post("/rentals", json={**PURCHASE, "max_price": "9.00"}), 409, "price_unknown")
    assert not odd.of("create")
    problem(caller.http.post("/rentals", json=PURCHASE), 409, "no_numbers_available")


def test_an_archive_that_ignores_what_is_asked_for_is_read_twice_not_for_ever(
    caller: Caller, odd: Verbatim
) -> None:
    entry = {
        "orderId": 857191,
        "resourceCode": "opt59",
        "number": "37067787324",
        "haveSms": True,
        "isAvailForRestore": True,
        "days": 30,
        "country": "LT",
        "begin": NOW - 40 * DAY,
        "end": NOW - 10 * DAY,
        "closed": NOW - 40 * DAY + 1448,
    }
    odd.answers["get_rent_history"] = listed(entry)
    (found,) = eventually(lambda: caller.rentals(upstream_order_id="857191"), lambda found: len(found) == 1)
    assert (found["status"], found["phone_number"], found["restorable"]) == ("expired", "+37067787324", True)
    caller.polls(10)
    assert len(odd.of("get_rent_history")) <= 4


def test_an_order_closed_elsewhere_is_closed_by_the_archives_own_words(caller: Caller, odd: Verbatim) -> None:
    odd.answers["orders"] = listed(order(0), order(1))
    caller.until_rentals(2, status="active")
    odd.answers["get_rent_history"] = listed(
        {"orderId": 40301, "resourceCode": "opt16", "number": "79096068511", "end": NOW - 5, "closed": NOW}
    )
    odd.answers["orders"] = listed(order(0))
    (gone,) = caller.until_rentals(1, status="expired")
    assert gone["upstream_order_id"] == "40301"


def test_an_account_without_orders_can_buy_its_first_one(caller: Caller, odd: Verbatim) -> None:
    odd.answers["orders"] = {"status": 0, "msg": "Orders not found"}
    bought = {"id": 40399, "pnumber": "9096068599", "ccode": "+7", "service": "opt16", "until": NOW + 7 * DAY}

    def create(_parameters: dict[str, str]) -> dict[str, Any]:
        odd.answers["orders"] = listed(order(99, id=40399, pnumber="9096068599"))
        return {"status": 1, "data": bought}

    odd.answers["create"] = create
    rental = ok(caller.http.post("/rentals", json=PURCHASE), 201)
    assert (rental["phone_number"], rental["price"]["amount"]) == ("+79096068599", "2.45")


def test_a_purchase_answered_under_other_names_is_read_back(caller: Caller, odd: Verbatim) -> None:
    def create(_parameters: dict[str, str]) -> dict[str, Any]:
        odd.answers["orders"] = listed(order(0), order(1))
        return {
            "status": 1,
            "data": {"id": 40301, "number": "79096068511", "expireAt": "2027-01-31 12:00:00"},
        }

    odd.answers["create"] = create
    rental = ok(caller.http.post("/rentals", json=PURCHASE), 201)
    assert rental["phone_number"] == "+79096068511"
    assert rental["expires_at"] is not None


@pytest.mark.parametrize(
    ("countries", "offers"),
    [
        ([{"code": "RU"}, {"name": "no code"}, {"code": "LT", "name": None}], None),
        ([{"name": 7, "code": "RU"}, None, "x"], None),
        (
            None,
            [{"service": "opt16", "price_day": "0.3", "count": {}}, {"service": "opt1"}, {"price_day": 1}],
        ),
        (None, {"opt16": {"service": "opt16", "price_day": 0.3, "count": "many"}, "x": 5}),
    ],
)
def test_odd_rows_of_the_catalog_stop_no_purchase(
    caller: Caller, odd: Verbatim, countries: Any, offers: Any
) -> None:
    if countries is not None:
        odd.answers["getcountries"] = {"status": 1, "data": countries}
    if offers is not None:
        odd.answers["getdata"] = {"status": 1, "data": offers}
    assert "RU" in [country["code"] for country in ok(caller.http.get("/countries"))["items"]]
    offered = ok(caller.http.get("/countries/RU/services"))["items"]
    assert "opt16" in [offer["service"] for offer in offered]
    odd.answers["create"] = {"status": 0, "msg": "No numbers available"}
    problem(caller.http.post("/rentals", json=PURCHASE), 409, "no_numbers_available")


def test_a_quote_for_another_order_is_no_quote_and_buys_nothing(caller: Caller, odd: Verbatim) -> None:
    odd.answers["get_rent_history"] = listed(
        {"orderId": 517017, "resourceCode": "opt59", "number": "79020831944", "end": NOW - DAY, "closed": NOW}
    )
    (rental,) = eventually(lambda: caller.rentals(upstream_order_id="517017"), lambda found: len(found) == 1)
    quote = {
        "ccode": "EN",
        "scode": "opt59",
        "price": 0.01,
        "pnumber": "79929831844",
        "outdays": 32,
        "orderid": 317017,
        "prolongTo": 30,
    }
    odd.answers["restore_user_precalc"] = {"status": 1, "data": quote}
    odd.answers["restore_user"] = {"status": 1, "data": True}
    problem(caller.http.get(f"/rentals/{rental['id']}/restore-quote"), 502, "upstream_bad_response")
    problem(
        caller.http.post(f"/rentals/{rental['id']}/restore", json={"max_price": "5.00"}),
        502,
        "upstream_bad_response",
    )
    assert not odd.of("restore_user")
    odd.answers["restore_user_precalc"] = {"status": 1, "data": {**quote, "orderid": 517017}}
    told = ok(caller.http.get(f"/rentals/{rental['id']}/restore-quote"))
    assert (told["price"]["amount"], told["days_overdue"], told["prolonged_days"]) == ("0.01", 32, 30)


def test_what_is_set_aside_is_counted_and_logged_once_without_its_value(
    caller: Caller, odd: Verbatim, odd_gateway: Gateway
) -> None:
    secret = "a-text-that-nobody-must-see"
    odd.answers["orders"] = listed(order(0, lastonline=secret), order(1))
    caller.until_health("degraded")
    caller.polls(5)
    log = odd_gateway.log.read_text()
    assert secret not in log
    warned = [
        line
        for line in odd_gateway.log_lines()
        if line["event"] == "upstream.set_aside"
        and (line["field"], line["kind"]) == ("data[].lastonline", "text")
    ]
    assert len(warned) == 1
    assert {line["level"] for line in warned} == {"warning"}
    metrics = odd_gateway.metrics()
    assert 'rentgate_upstream_set_aside_total{field="data[].lastonline",method="orders"}' in metrics
    assert secret not in metrics
    assert secret not in json.dumps(caller.health)
    health = eventually(
        odd_gateway.metrics,
        lambda text: 'rentgate_accounts{health="degraded"}' in text,
    )
    assert caller.key_id not in health


def test_a_balance_that_cant_be_read_is_counted_and_logged_without_its_value(
    caller: Caller, odd: Verbatim, odd_gateway: Gateway
) -> None:
    caller.until_rentals(1, status="active")
    odd.answers["balance"] = {"statusCode": 200, "data": {"balance": "a-lot-of-money"}}
    counted = 'rentgate_upstream_set_aside_total{field="data.balance",method="balance"}'
    eventually(odd_gateway.metrics, lambda text: counted in text)
    assert "a-lot-of-money" not in odd_gateway.log.read_text()
    assert any(
        (line["event"], line.get("method")) == ("upstream.set_aside", "balance")
        for line in odd_gateway.log_lines()
    )


EXAMPLES = Path(__file__).parents[1] / "upstream_examples"

RESTORING: dict[str, tuple[int, str]] = {
    "NOAVAILDAYS": (409, "restore_not_available"),
    "NOTOWNER": (403, "order_not_owned"),
    "NOREMOTEDATA": (404, "archived_order_not_found"),
    "NOORDERCOUNTRY": (409, "restore_needs_support"),
    "DATEDIFFINVERT": (409, "rental_not_expired"),
    "NOSERVICEDATA": (409, "restore_needs_support"),
    "NOBALANCE": (402, "insufficient_balance"),
    "the user had not this order": (403, "order_not_owned"),
    "Service not found": (409, "restore_needs_support"),
    "Balance is not enough": (402, "insufficient_balance"),
}


@pytest.mark.parametrize("name", ["msg", "message", "error", "error_msg"])
def test_each_documented_refusal_is_told_as_what_it_means(caller: Caller, odd: Verbatim, name: str) -> None:
    odd.answers["get_rent_history"] = listed(
        {"orderId": 517017, "resourceCode": "opt59", "number": "79020831944", "end": NOW - DAY, "closed": NOW}
    )
    (rental,) = eventually(lambda: caller.rentals(upstream_order_id="517017"), lambda found: len(found) == 1)
    quote = {"price": 2.4, "orderid": 517017, "pnumber": "79020831944"}
    refusals: list[str] = json.loads((EXAMPLES / "documented_refusals.json").read_text())
    assert len(refusals) == len(RESTORING)
    for text in refusals:
        status, code = RESTORING[text.split(":")[0]]
        odd.answers["restore_user_precalc"] = {"status": 0, name: text}
        told = problem(caller.http.get(f"/rentals/{rental['id']}/restore-quote"), status, code)
        assert told["upstream"] == {"method": "restore_user_precalc", "message": text}
        odd.answers["restore_user_precalc"] = {"status": 1, "data": quote}
        odd.answers["restore_user"] = {"status": 0, name: text}
        told = problem(caller.http.post(f"/rentals/{rental['id']}/restore", json={}), status, code)
        assert told["upstream"] == {"method": "restore_user", "message": text}


def settled(caller: Caller, operation_id: str) -> dict[str, Any]:
    """The operation once its outcome is known."""
    found: dict[str, Any] = eventually(
        lambda: ok(caller.http.get(f"/operations/{operation_id}")),
        lambda operation: operation["state"] not in ("queued", "sent", "unknown"),
    )
    return found


def test_an_added_service_whose_number_cant_be_read_is_not_called_absent(
    caller: Caller, odd: Verbatim
) -> None:
    odd.answers["getdata"] = offering("opt16", "opt6")
    odd.answers["add_service_to_order"] = b"<html>moment</html>"
    (rental,) = caller.until_rentals(1, status="active")
    pending = ok(caller.http.post(f"/rentals/{rental['id']}/services", json={"service": "opt6"}), 202)
    new = order(7, scode="opt6", pnumber="909***8510")
    odd.answers["orders"] = listed(order(0), new)
    caller.polls(12)  # more than RENTGATE_RECONCILE_SECONDS of readable lists
    operation = ok(caller.http.get(f"/operations/{pending['pending_operation']}"))
    assert operation["state"] == "unknown"
    assert len(caller.rentals()) == 1
    odd.answers["orders"] = listed(order(0), dict(new, pnumber="9096068510"))
    assert settled(caller, operation["id"])["state"] == "succeeded"
    assert len(caller.rentals()) == 1
    assert len(odd.of("add_service_to_order")) == 1


@pytest.mark.parametrize("new_row_first", [False, True])
def test_an_added_service_that_is_a_second_row_of_the_same_order_is_found(
    caller: Caller, odd: Verbatim, new_row_first: bool
) -> None:
    odd.answers["getdata"] = offering("opt16", "opt6")
    odd.answers["add_service_to_order"] = b"<html>moment</html>"
    (rental,) = caller.until_rentals(1, status="active")
    pending = ok(caller.http.post(f"/rentals/{rental['id']}/services", json={"service": "opt6"}), 202)
    rows = [order(0), order(0, scode="opt6", sname="Fiverr")]
    odd.answers["orders"] = listed(*(rows[::-1] if new_row_first else rows))
    assert settled(caller, pending["pending_operation"])["state"] == "succeeded"
    (found,) = caller.rentals()
    assert {service["code"] for service in found["services"]} == {"opt16", "opt6"}
    assert [one["id"] for one in found["upstream_orders"]] == ["40300"]


def test_a_purchase_whose_service_is_a_second_row_of_one_order_is_found(
    caller: Caller, odd: Verbatim
) -> None:
    caller.until_rentals(1, status="active")
    odd.answers["create"] = b"<html>moment</html>"
    pending = ok(caller.http.post("/rentals", json=PURCHASE), 202)
    odd.answers["orders"] = listed(order(0), order(8, scode="opt0", sname="Other"), order(8))
    assert settled(caller, pending["pending_operation"])["state"] == "succeeded"
    assert ok(caller.http.get(f"/rentals/{pending['id']}"))["upstream_order_id"] == "40308"
    assert len(caller.rentals()) == 2


NOT_DONE: list[Any] = [-1, "-1", "error", "no", 40399, [40399], [-1], [0], [False], 0, False]
NOT_DONE += [{"orderId": 40399}, {"id": -1}, {"id": 0}, {"id": "abc"}, {"id": False}, {"success": False}]


@pytest.mark.parametrize("data", NOT_DONE)
def test_what_does_not_say_that_it_was_done_is_not_taken_for_it(
    caller: Caller, odd: Verbatim, data: Any
) -> None:
    odd.answers["orders"] = listed(order(0, state=0))
    (rental,) = caller.until_rentals(1, status="active")
    odd.answers["activate"] = {"status": 1, "data": data}
    answer = ok(caller.http.post(f"/rentals/{rental['id']}/activate"), 202)
    assert answer["number_state"] == "inactive"
    (operation,) = ok(caller.http.get("/operations", params={"kind": "activate"}))["items"]
    assert operation["state"] in ("unknown", "failed")
