"""The running gateway against an upstream that answers oddly: what health tells of it, and for how long."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, running_gateway
from tests.acceptance.odd_answers import COUNTRIES, DAY, NOW, OFFERS, PURCHASE, listed, of_order, order
from tests.acceptance.tenant import eventually, ok, problem
from tests.acceptance.verbatim import Caller, serving, verbatim_gateway
from tests.conftest import MakeDatabase, new_vault_key, superuser_of
from tests.verbatim import Body, Verbatim

ANSWERS: dict[str, Body] = {
    "getcountries": COUNTRIES,
    "getdata": OFFERS,
    "orders": listed(order(0)),
    "sms": listed({"text": "code 1", "sender": "FACEBOOK", "date": NOW - 30}),
    "get_rent_history": listed(),
}

ARCHIVED = {
    "orderId": 517017,
    "resourceCode": "opt59",
    "number": "79020831944",
    "end": NOW - DAY,
    "closed": NOW,
}

ODD = order(0, lastonline="soon")


@pytest.fixture(scope="module")
def odd() -> Iterator[Verbatim]:
    """The upstream of this module's tests, one after the other."""
    with Verbatim() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def database_url(make_database: MakeDatabase) -> str:
    """The database of this module's gateway."""
    return make_database().app


@pytest.fixture(scope="module")
def odd_gateway(
    odd: Verbatim, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway in front of it."""
    with verbatim_gateway(odd, database_url, tmp_path_factory.mktemp("odd") / "log.jsonl") as gateway:
        yield gateway


@pytest.fixture
def caller(odd_gateway: Gateway, odd: Verbatim) -> Iterator[Caller]:
    """A tenant whose upstream shows one healthy order unless the test says otherwise."""
    with serving(odd_gateway, odd, ANSWERS) as found:
        yield found


def many_orders(count: int) -> list[dict[str, Any]]:
    """Living orders, each with a number of its own."""
    return [order(0, id=41000 + number, pnumber=str(9096068000 + number)) for number in range(count)]


def statuses(caller: Caller, kind: str) -> list[str]:
    """The statuses that the tenant's events of a type tell."""
    return [event["data"]["health"]["status"] for event in caller.events(kind)]


def test_odd_messages_of_twenty_orders_hide_neither_an_odd_list_nor_one_that_cant_be_read(
    caller: Caller, odd: Verbatim
) -> None:
    rows = many_orders(25)
    odd.answers["orders"] = listed(*rows)
    odd.answers["sms"] = listed({"text": "code", "sender": "X", "date": "soon"})
    caller.until_rentals(25, limit="100")
    eventually(lambda: {call.parameters["id"] for call in odd.of("sms")}, lambda ids: len(ids) == 25)
    assert caller.until_health("degraded")["problem"]["method"] == "sms"
    odd.answers["orders"] = listed(*rows[1:], dict(rows[0], until="soon"))
    found = eventually(lambda: caller.health["problem"], lambda told: told["method"] == "orders")
    assert found["field"] == "data[].until"
    odd.answers["orders"] = {"status": 7}
    assert caller.until_health("failing")["problem"]["method"] == "orders"
    odd.answers["orders"] = listed(*rows)
    assert caller.until_health("degraded")["problem"]["method"] == "sms"


def test_one_odd_row_among_many_is_told_before_anything_else_is_read(caller: Caller, odd: Verbatim) -> None:
    rows = many_orders(100)
    served, told = threading.Event(), []

    def orders(_parameters: dict[str, str]) -> dict[str, Any]:
        served.set()
        return listed(*rows[:50], {"scode": "opt16", "state": 1}, *rows[50:])

    def sms(_parameters: dict[str, str]) -> dict[str, Any]:
        if served.is_set():
            told.append(caller.health["problem"])
        return listed()

    odd.answers |= {"orders": orders, "sms": sms}
    eventually(lambda: told, bool)
    assert told[0]["field"] == "data[].id"
    assert {told_then["method"] for told_then in told} == {"orders"}


def test_an_odd_message_among_many_is_told_before_they_are_kept(caller: Caller, odd: Verbatim) -> None:
    (rental,) = caller.until_rentals(1, status="active")
    many = [{"text": f"code {number}", "sender": "X", "date": NOW - number} for number in range(1500)]
    odd.answers["sms"] = listed(*many[:750], {"sender": "X", "date": NOW}, *many[750:])
    read = eventually(
        lambda: (caller.health["problem"], ok(caller.http.get(f"/rentals/{rental['id']}/sms"))["items"]),
        lambda found: found[0] is not None,
    )
    assert read[0]["field"] == "data[].text"
    assert len(read[1]) <= 1


def test_an_odd_order_that_is_gone_takes_its_problem_along(caller: Caller, odd: Verbatim) -> None:
    bodies = {"40301": listed({"text": "code", "sender": "X", "date": "soon"})}
    odd.answers["orders"] = listed(order(0), order(1))
    odd.answers["sms"] = of_order(bodies)
    caller.until_rentals(2, status="active")
    assert caller.until_health("degraded")["problem"]["method"] == "sms"
    odd.answers["orders"] = listed(order(0))
    caller.until_rentals(1, status="deleted")
    assert caller.until_health("ok")["problem"] is None
    assert statuses(caller, "upstream_key.recovered") == ["ok"]


def test_an_odd_order_that_its_tenant_deletes_takes_its_problem_along(caller: Caller, odd: Verbatim) -> None:
    odd.answers["orders"] = listed(order(0), order(1))
    odd.answers["sms"] = of_order({"40301": listed({"text": "code", "sender": "X", "date": "soon"})})
    rentals = caller.until_rentals(2, status="active")
    caller.until_health("degraded")

    def delete(_parameters: dict[str, str]) -> dict[str, Any]:
        odd.answers["orders"] = listed(order(0))
        return {"status": 1, "data": True}

    odd.answers["delete"] = delete
    assert caller.http.delete(f"/rentals/{rentals[1]['id']}").status_code == 204
    assert caller.until_health("ok")["problem"] is None


def test_a_list_that_turns_clean_makes_the_account_well_again(caller: Caller, odd: Verbatim) -> None:
    odd.answers["orders"] = listed(ODD)
    degraded = caller.until_health("degraded")
    odd.answers["orders"] = listed(order(0))
    assert caller.until_health("ok")["since"] > degraded["since"]
    assert statuses(caller, "upstream_key.degraded") == ["degraded"]
    assert statuses(caller, "upstream_key.recovered") == ["ok"]


def test_a_key_is_deleted_while_its_account_is_degraded(
    caller: Caller, odd: Verbatim, odd_gateway: Gateway
) -> None:
    odd.answers["orders"] = listed(ODD)
    caller.until_rentals(1)
    caller.until_health("degraded")
    key = f"/tenants/{caller.tenant_id}/upstream-keys/{caller.key_id}"
    assert caller.http.delete(key).status_code == 409
    assert caller.http.delete(key, params={"force": "true"}).status_code == 204
    assert caller.http.get(key).status_code == 404
    eventually(
        odd_gateway.metrics,
        lambda text: 'rentgate_accounts{health="degraded"} 0.0' in text,
    )
    assert not [line for line in odd_gateway.log_lines() if line["level"] == "error"]


def test_a_degraded_account_is_so_after_a_restart_and_gets_well_then(
    odd: Verbatim, make_database: MakeDatabase, tmp_path: Path
) -> None:
    settings = {
        "RENTGATE_DATABASE_URL": make_database().app,
        "RENTGATE_VAULT_KEY": new_vault_key(),
        "RENTGATE_ADMIN_TOKEN": ADMIN_TOKEN,
        "RENTGATE_UPSTREAM_URL": odd.url,
        "RENTGATE_BALANCE_URL": "",
    }
    odd.answers.clear()
    odd.answers |= {**ANSWERS, "orders": listed(ODD)}
    with running_gateway(tmp_path / "first.jsonl", **settings) as gateway:
        caller = Caller(gateway, odd)
        caller.until_rentals(1)
        before = caller.until_health("degraded")
    with running_gateway(tmp_path / "second.jsonl", **settings) as gateway:
        caller.http.base_url = caller.admin.base_url = gateway.url
        assert caller.health == before
        caller.polls(4)
        assert caller.health == before
        odd.answers["orders"] = listed(order(0))
        caller.until_health("ok")
        assert (
            len(caller.events("upstream_key.degraded")) == len(caller.events("upstream_key.recovered")) == 1
        )
        caller.close()


def test_an_odd_quote_is_told_for_a_day_and_ends_by_itself(
    caller: Caller, odd: Verbatim, postgres: str, database_url: str
) -> None:
    odd.answers["get_rent_history"] = listed(ARCHIVED)
    (rental,) = eventually(lambda: caller.rentals(upstream_order_id="517017"), lambda found: len(found) == 1)
    odd.answers["restore_user_precalc"] = {"status": 1, "data": {"price": 0.01, "orderid": 317017}}
    problem(caller.http.get(f"/rentals/{rental['id']}/restore-quote"), 502, "upstream_bad_response")
    assert caller.until_health("degraded")["problem"]["method"] == "restore_user_precalc"
    caller.polls(5)
    assert caller.health["status"] == "degraded"
    with psycopg.connect(superuser_of(postgres, database_url)) as connection:
        age(connection, caller, 86_390)
    caller.polls(3)
    assert caller.health["status"] == "degraded"
    with psycopg.connect(superuser_of(postgres, database_url)) as connection:
        age(connection, caller, 20)
    assert caller.health["status"] == "ok"
    ok(caller.http.post(f"/tenants/{caller.tenant_id}/upstream-keys/{caller.key_id}/verify"))
    assert statuses(caller, "upstream_key.recovered") == ["ok"]


def test_clean_quotes_make_the_account_well_after_a_restart_too(
    odd: Verbatim, make_database: MakeDatabase, tmp_path: Path
) -> None:
    settings = {
        "RENTGATE_DATABASE_URL": make_database().app,
        "RENTGATE_VAULT_KEY": new_vault_key(),
        "RENTGATE_ADMIN_TOKEN": ADMIN_TOKEN,
        "RENTGATE_UPSTREAM_URL": odd.url,
        "RENTGATE_BALANCE_URL": "",
    }
    odd.answers.clear()
    odd.answers |= {**ANSWERS, "get_rent_history": listed(ARCHIVED)}
    odd.answers["restore_user_precalc"] = {"status": 1, "data": {"price": 0.01, "orderid": 317017}}
    with running_gateway(tmp_path / "first.jsonl", **settings) as gateway:
        caller = Caller(gateway, odd)
        (rental,) = eventually(
            lambda: caller.rentals(upstream_order_id="517017"), lambda found: len(found) == 1
        )
        quote = f"/rentals/{rental['id']}/restore-quote"
        problem(caller.http.get(quote), 502, "upstream_bad_response")
        caller.until_health("degraded")
    odd.answers["restore_user_precalc"] = {
        "status": 1,
        "data": {"price": 2.4, "orderid": 517017, "pnumber": "79020831944", "outdays": 3, "prolongTo": 30},
    }
    with running_gateway(tmp_path / "second.jsonl", **settings) as gateway:
        caller.http.base_url = caller.admin.base_url = gateway.url
        for _ in range(2):
            ok(caller.http.get(quote))
        assert caller.health["status"] == "degraded"
        ok(caller.http.get(quote))
        assert caller.health["status"] == "ok"
        caller.close()


def age(connection: psycopg.Connection[Any], caller: Caller, seconds: float) -> None:
    """Let so much time have passed for what is known of the account's health."""
    aged = connection.execute(
        """
        update account_health
        set since = since - make_interval(secs => %(seconds)s), problems = (
            select jsonb_agg(problem || jsonb_build_object(
                'ends_at', (problem->>'ends_at')::timestamptz - make_interval(secs => %(seconds)s)
            )) from jsonb_array_elements(problems) as problem
        )
        where upstream_key_id = %(account)s
        """,
        {"seconds": seconds, "account": caller.key_id},
    )
    assert aged.rowcount == 1


CHANGES: list[tuple[str, str, dict[str, Any] | None, Any]] = [
    ("activate", "/activate", None, "error"),
    ("prolong", "/prolong", {"period": {"unit": "week", "count": 1}}, [0]),
    ("add_service_to_order", "/services", {"service": "opt6"}, {"id": None}),
    ("delete", "", None, -1),
]


@pytest.mark.parametrize(("method", "path", "body", "data"), CHANGES)
def test_an_odd_answer_to_a_change_is_told_as_any_other(
    caller: Caller,
    odd: Verbatim,
    odd_gateway: Gateway,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    data: Any,
) -> None:
    offers = [{"name": code, "service": code, "price_day": 0.35, "count": 3} for code in ("opt16", "opt6")]
    odd.answers["getdata"] = {"status": 1, "data": offers}
    odd.answers["orders"] = listed(order(0, state=0))
    (rental,) = caller.until_rentals(1, status="active")
    odd.answers[method] = {"status": 1, "data": data}
    target = f"/rentals/{rental['id']}{path}"
    answer = caller.http.request("POST" if path else "DELETE", target, json=body)
    assert answer.status_code == 202, answer.text
    found = caller.until_health("degraded")
    assert found["problem"]["method"] == method
    assert len(odd.of(method)) == 1
    warned = [line for line in odd_gateway.log_lines() if line["event"] == "upstream.set_aside"]
    assert method in [line["method"] for line in warned]
    metrics = odd_gateway.metrics()
    assert f'method="{method}"' in "".join(
        line for line in metrics.splitlines() if line.startswith("rentgate_upstream_set_aside_total")
    )


def test_an_odd_field_of_a_purchase_is_told_and_the_purchase_is_made(caller: Caller, odd: Verbatim) -> None:
    caller.until_rentals(1, status="active")

    def create(_parameters: dict[str, str]) -> dict[str, Any]:
        odd.answers["orders"] = listed(order(0), order(1))
        return {"status": 1, "data": {"id": 40301, "pnumber": "9096068511", "ccode": "+7", "until": "soon"}}

    odd.answers["create"] = create
    rental = ok(caller.http.post("/rentals", json=PURCHASE), 201)
    assert rental["upstream_order_id"] == "40301"
    found = caller.until_health("degraded")
    assert found["problem"] | {"message": ""} == {"method": "create", "field": "data.until", "message": ""}
    assert len(odd.of("create")) == 1


def test_clean_answers_to_changes_end_the_problem_of_an_odd_one(caller: Caller, odd: Verbatim) -> None:
    odd.answers["orders"] = listed(order(0, state=0))
    (rental,) = caller.until_rentals(1, status="active")
    prolong = {"period": {"unit": "week", "count": 1}}
    answers: list[Any] = [{"status": 1, "data": [0]}, {"status": 1, "data": True}]
    odd.answers["prolong"] = answers
    pending = ok(caller.http.post(f"/rentals/{rental['id']}/prolong", json=prolong), 202)
    caller.until_health("degraded")
    odd.answers["orders"] = listed(order(0, until=NOW + 14 * DAY))
    eventually(
        lambda: ok(caller.http.get(f"/operations/{pending['pending_operation']}"))["state"],
        lambda state: state == "succeeded",
    )
    for weeks in (3, 4, 5):
        assert caller.health["status"] == "degraded"
        odd.answers["orders"] = listed(order(0, until=NOW + weeks * 7 * DAY))
        ok(caller.http.post(f"/rentals/{rental['id']}/prolong", json=prolong))
    caller.until_health("ok")
