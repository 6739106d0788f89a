"""The Idempotency-Key at the HTTP face: the same answer again, and nothing twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, MakeTenant, running_gateway
from tests.acceptance.tenant import PURCHASE, Tenant, ok, problem
from tests.served import ServedSandbox

KEY, REPLAYED = "Idempotency-Key", "idempotency-replayed"


def test_the_same_request_gets_the_same_answer(tenant: Tenant) -> None:
    first, second = tenant.buy(key="a"), tenant.buy(key="a")
    assert ok(first, 201) == ok(second, 201)
    assert REPLAYED not in first.headers
    assert second.headers[REPLAYED] == "true"
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert tenant.charged == ["create"]


def test_spaces_and_the_order_of_fields_make_no_other_request(tenant: Tenant) -> None:
    headers = {KEY: "a", "Content-Type": "application/json"}
    first = '{"country": "RU", "service": "opt1", "period": {"unit": "week", "count": 1}}'
    second = '{"period":{"count":1,"unit":"week"},"service":"opt1","country":"RU"}'
    one = tenant.http.post("/rentals", content=first, headers=headers)
    two = tenant.http.post("/rentals", content=second, headers=headers)
    assert ok(one, 201) == ok(two, 201)


def test_another_request_under_the_same_key_is_refused(tenant: Tenant) -> None:
    ok(tenant.buy(key="a"), 201)
    problem(tenant.buy(key="a", service="opt2"), 422, "idempotency_key_reused")
    rental_id = uuid4()
    answer = tenant.http.post(f"/rentals/{rental_id}/activate", headers={KEY: "a"})
    problem(answer, 422, "idempotency_key_reused")


def test_of_many_at_once_one_is_made(tenant: Tenant) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: tenant.buy(key="a"), range(8)))
    made = [answer for answer in answers if answer.status_code == 201]
    waiting = [answer for answer in answers if answer.status_code != 201]
    assert made
    assert len({ok(answer, 201)["id"] for answer in made}) == 1
    for answer in waiting:
        assert problem(answer, 409, "idempotency_key_in_use")["retry_after"] >= 1
    assert tenant.charged == ["create"]


def test_refusals_are_remembered(tenant: Tenant) -> None:
    first = tenant.buy(key="a", max_price="1")
    again = tenant.buy(key="a", max_price="1")
    assert problem(first, 409, "price_above_max") == again.json()
    assert again.headers[REPLAYED] == "true"
    tenant.fault("create", "refuse", message="Incorrect method")
    problem(tenant.buy(key="b"), 502, "upstream_error")
    again = tenant.buy(key="b")
    assert (again.status_code, again.headers[REPLAYED]) == (502, "true")
    invalid = {"country": 5}
    first = tenant.http.post("/rentals", json=invalid, headers={KEY: "c"})
    again = tenant.http.post("/rentals", json=invalid, headers={KEY: "c"})
    assert (first.status_code, again.status_code, again.headers[REPLAYED]) == (422, 422, "true")


def test_what_passes_is_not_remembered(make_tenant: MakeTenant) -> None:
    tenant = make_tenant(spend_limit={"amount": "1.00"})
    problem(tenant.buy(key="a"), 402, "spend_limit_exceeded")
    ok(tenant.admin.patch(f"/tenants/{tenant.id}", json={"spend_limit": None}))
    tenant.fault("create", "rate_limit")
    problem(tenant.buy(key="a"), 503, "upstream_busy")
    ok(tenant.buy(key="a"), 201)
    rental = tenant.rent()
    tenant.fault("activate", "hang", seconds=20)
    at = f"/rentals/{rental['id']}/activate"
    ok(tenant.http.post(at), 202)
    problem(tenant.http.post(at, headers={KEY: "b"}), 409, "operation_pending")
    tenant.until(rental["id"], pending_operation=None)
    ok(tenant.http.post(at, headers={KEY: "b"}), 202)


def test_an_open_outcome_is_answered_as_it_is_now(tenant: Tenant) -> None:
    tenant.fault("create", "drop", "after")
    pending = ok(tenant.buy(key="a"), 202)
    tenant.until(pending["id"], status="active")
    answer = tenant.buy(key="a")
    assert ok(answer, 201)["status"] == "active"
    assert answer.headers["location"] == f"/rentals/{pending['id']}"


def test_an_activations_202_stays_as_it_was(tenant: Tenant) -> None:
    rental = tenant.rent()
    at = f"/rentals/{rental['id']}/activate"
    first = ok(tenant.http.post(at, headers={KEY: "a"}), 202)
    tenant.until(rental["id"], number_state="active")
    again = tenant.http.post(at, headers={KEY: "a"})
    assert ok(again, 202) == first
    assert again.headers[REPLAYED] == "true"


def test_secrets_come_once(tenant: Tenant, admin: httpx.Client) -> None:
    at = f"/tenants/{tenant.id}/api-keys"
    body = {"name": "x", "scopes": ["rentals:read"]}
    first = ok(tenant.http.post(at, json=body, headers={KEY: "a"}), 201)
    again = ok(tenant.http.post(at, json=body, headers={KEY: "a"}), 201)
    assert first.pop("token")
    assert again == first
    assert len(ok(tenant.http.get(at))["items"]) == 2
    made = [ok(admin.post("/tenants", json={"name": "x"}, headers={KEY: first["id"]}), 201) for _ in "ab"]
    assert made[0] == made[1]


def test_deleting_again_is_answered_again(tenant: Tenant) -> None:
    at = f"/tenants/{tenant.id}/api-keys"
    key = ok(tenant.http.post(at, json={"name": "x", "scopes": ["rentals:read"]}), 201)
    for replayed in (None, "true"):
        answer = tenant.http.delete(f"{at}/{key['id']}", headers={KEY: "d"})
        assert (answer.status_code, answer.headers.get(REPLAYED)) == (204, replayed)


def test_keys_belong_to_their_tenant(make_tenant: MakeTenant) -> None:
    mine, theirs = make_tenant(), make_tenant()
    assert ok(mine.buy(key="a"), 201)["id"] != ok(theirs.buy(key="a"), 201)["id"]


def test_a_replay_needs_the_same_rights(tenant: Tenant, gateway: Gateway) -> None:
    ok(tenant.buy(key="a"), 201)
    made = ok(
        tenant.http.post(f"/tenants/{tenant.id}/api-keys", json={"name": "r", "scopes": ["rentals:read"]}),
        201,
    )
    with gateway.client(made["token"]) as reader:
        problem(reader.post("/rentals", json=PURCHASE, headers={KEY: "a"}), 403, "insufficient_scope")


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there"])
def test_keys_that_are_none(tenant: Tenant, key: str) -> None:
    body = problem(tenant.http.post("/rentals", json=PURCHASE, headers={KEY: key}), 422, "invalid_request")
    assert body["errors"][0]["location"] == "header.Idempotency-Key"
    assert tenant.charged == []


def test_fifty_repeats_over_several_processes_make_one_operation(
    settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    with ExitStack() as stack:
        gateways = [stack.enter_context(running_gateway(tmp_path / f"log-{n}", **settings)) for n in range(3)]
        admin = stack.enter_context(gateways[0].client(ADMIN_TOKEN))
        tenant = Tenant.create(gateways[0].client, admin, sandbox)
        clients = [stack.enter_context(gateway.client(tenant.token)) for gateway in gateways]
        tenant.fault("create", "late", seconds=0.5)

        def ask(number: int) -> httpx.Response:
            client = clients[number % len(clients)]
            return client.post("/rentals", json=PURCHASE, headers={KEY: "the same"})

        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(ask, range(50)))
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
        for answer in answers:
            if answer.status_code == 409:
                problem(answer, 409, "idempotency_key_in_use")
        assert len(tenant.operations()) == 1
        assert tenant.charged == ["create"]
        assert {ok(ask(n), 201)["id"] for n in range(6)} == {tenant.operations()[0]["rental_id"]}
        tenant.close()
