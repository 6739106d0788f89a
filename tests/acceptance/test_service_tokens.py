"""Services with tokens of the platform's own issuer, over HTTP: they act as a key of their tenant would."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, running_gateway, settings_for
from tests.acceptance.tenant import Tenant, eventually, ok, problem
from tests.conftest import MakeDatabase
from tests.issuer import TokenIssuer, served_issuer
from tests.served import ServedSandbox

LIMIT = 12


@pytest.fixture(scope="module")
def issuer() -> Iterator[TokenIssuer]:
    """The platform's issuer."""
    with served_issuer() as served:
        yield served


@pytest.fixture(scope="module")
def trusting(
    issuer: TokenIssuer,
    make_database: MakeDatabase,
    served_sandbox: ServedSandbox,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """A gateway that takes the issuer's tokens."""
    log = tmp_path_factory.mktemp("trusting") / "log"
    settings = {**settings_for(make_database().app, served_sandbox), **issuer.settings}
    with running_gateway(log, "--no-worker", **settings, RENTGATE_RATE_LIMIT=str(LIMIT)) as gateway:
        yield gateway
    assert "eyJ" not in log.read_text()


@pytest.fixture
def tenant(trusting: Gateway, sandbox: ServedSandbox) -> Iterator[Tenant]:
    """A tenant with an account."""
    with trusting.client(ADMIN_TOKEN) as admin:
        made = Tenant.create(trusting.client, admin, sandbox)
        yield made
        made.close()


def get(gateway: Gateway, token: str, path: str = "/me", **headers: str) -> httpx.Response:
    """The answer to a service's request."""
    with gateway.client(token, **headers) as client:
        return client.get(path)


def test_a_service_is_told_who_it_is(trusting: Gateway, issuer: TokenIssuer, tenant: Tenant) -> None:
    token = issuer.token(tenant.id, scope="rentals:read catalog:read openid tenants:manage")
    me = ok(get(trusting, token))
    assert (me["tenant"]["id"], me["subject"], me["api_key"]) == (tenant.id, "orders", None)
    assert me["scopes"] == ["catalog:read", "rentals:read"]
    assert ok(tenant.http.get("/me"))["subject"] is None


def test_a_service_rents_and_stands_in_the_trail_under_its_own_name(
    trusting: Gateway, issuer: TokenIssuer, tenant: Tenant
) -> None:
    token = issuer.token(tenant.id, sub="checkout service/7")
    with trusting.client(token) as client:
        body = {"country": "RU", "service": "opt1", "period": {"unit": "week", "count": 1}}
        rental = ok(client.post("/rentals", json=body, headers={"Idempotency-Key": "once"}), 201)
        again = client.post("/rentals", json=body, headers={"Idempotency-Key": "once"})
        assert ok(again, 201)["id"] == rental["id"]
    assert tenant.charged == ["create"]
    trail = ok(tenant.http.get("/audit-logs", params={"actor": "service:checkout service/7"}))["items"]
    assert {row["actor"] for row in trail} == {"service:checkout service/7"}
    assert "upstream.create" in {row["action"] for row in trail}
    (event,) = ok(tenant.http.get(f"/rentals/{rental['id']}/events"))["items"]
    assert event["actor"] == "service:checkout service/7"


def test_a_service_may_do_what_its_token_says_in_its_tenant_alone(
    trusting: Gateway, issuer: TokenIssuer, tenant: Tenant, sandbox: ServedSandbox
) -> None:
    other = Tenant.create(trusting.client, tenant.admin, sandbox, with_account=False)
    token = issuer.token(tenant.id, sub="scopes", scope="rentals:read tenants:manage vault:write admin")
    problem(get(trusting, token, "/countries"), 403, "insufficient_scope")
    problem(get(trusting, token, "/tenants"), 403, "insufficient_scope")
    problem(get(trusting, token, f"/tenants/{tenant.id}/api-keys"), 403, "insufficient_scope")
    problem(get(trusting, token, "/rentals", **{"X-Tenant-ID": other.id}), 404, "not_found")
    with trusting.client(issuer.token(tenant.id, sub="keys", scope=["keys:manage"])) as client:
        keys = f"/tenants/{tenant.id}/api-keys"
        ok(client.post(keys, json={"name": "own", "scopes": ["keys:manage"]}), 201)
        more = client.post(keys, json={"name": "more", "scopes": ["rentals:read"]})
        problem(more, 403, "insufficient_scope")
        problem(client.get(f"/tenants/{other.id}/api-keys"), 404, "not_found")


def test_tokens_that_are_no_good_are_refused_and_told_why(
    trusting: Gateway, issuer: TokenIssuer, tenant: Tenant
) -> None:
    wrong = {
        "has expired": issuer.token(tenant.id, exp=int(time.time()) - 60),
        "another audience": issuer.token(tenant.id, aud="billing"),
        "another issuer": issuer.token(tenant.id, iss="https://elsewhere.example"),
        "names no tenant": issuer.token(None),
        "tenant that the token names does not exist": issuer.token(str(uuid4())),
        "not a valid one": issuer.token(tenant.id)[:-6] + "AAAAAA",
    }
    for told, token in wrong.items():
        answer = get(trusting, token)
        assert told in problem(answer, 401, "unauthenticated")["detail"]
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_suspended_tenants_services_are_shut_out_at_once(
    trusting: Gateway, issuer: TokenIssuer, tenant: Tenant
) -> None:
    token = issuer.token(tenant.id, sub="suspended")
    ok(get(trusting, token))
    ok(tenant.admin.patch(f"/tenants/{tenant.id}", json={"status": "suspended"}))
    problem(get(trusting, token), 403, "tenant_suspended")
    ok(tenant.admin.patch(f"/tenants/{tenant.id}", json={"status": "active"}))
    ok(get(trusting, token))


def test_each_service_has_a_limit_of_its_own_in_each_tenant(
    trusting: Gateway, issuer: TokenIssuer, tenant: Tenant, sandbox: ServedSandbox
) -> None:
    other = Tenant.create(trusting.client, tenant.admin, sandbox, with_account=False)
    # Another token of the same service counts with the first one.
    tokens = [issuer.token(tenant.id, sub="busy", jti=str(number)) for number in range(LIMIT + 1)]
    answers = [get(trusting, token) for token in tokens]
    assert [answer.status_code for answer in answers] == [200] * LIMIT + [429]
    problem(answers[-1], 429, "rate_limited")
    ok(get(trusting, issuer.token(tenant.id, sub="idle")))
    ok(get(trusting, issuer.token(other.id, sub="busy")))


def test_a_stream_ends_with_its_token(trusting: Gateway, issuer: TokenIssuer, tenant: Tenant) -> None:
    ends = int(time.time()) + 2  # which the clocks' leeway prolongs by some seconds
    token = issuer.token(tenant.id, sub="stream", exp=ends)
    with trusting.client(token, Accept="text/event-stream") as client:
        with client.stream("GET", "/events", timeout=30) as answer:
            assert answer.status_code == 200
            eventually(lambda: get(trusting, token).status_code, lambda status: status == 401)
            tenant.rent()
            assert not [line for line in answer.iter_lines() if line.startswith("data: ")]


def test_keys_may_rotate_and_the_issuer_may_be_away(
    settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    with served_issuer() as issuer:
        issuer.broken = True
        with running_gateway(tmp_path / "log", "--no-worker", **settings, **issuer.settings) as gateway:
            with gateway.client(ADMIN_TOKEN) as admin:
                tenant = Tenant.create(gateway.client, admin, sandbox, with_account=False)
                first = issuer.token(tenant.id)
                told = problem(get(gateway, first), 503, "not_ready")
                assert told["retry_after"] >= 1
                ok(tenant.http.get("/me"))
                issuer.broken = False
                eventually(lambda: get(gateway, first).status_code, lambda status: status == 200)
                issuer.add_key("second", "RS256")
                second = issuer.token(tenant.id, key_id="second")
                eventually(lambda: get(gateway, second).status_code, lambda status: status == 200)
                issuer.broken = True
                issuer.add_key("third")
                answer = get(gateway, issuer.token(tenant.id, key_id="third"))
                assert answer.status_code in (401, 429)  # how many were wrong before is up to the clock
                ok(get(gateway, first))
                ok(get(gateway, second))


def test_a_gateway_without_an_issuer_takes_no_such_token(
    gateway: Gateway, issuer: TokenIssuer, admin: httpx.Client
) -> None:
    made = ok(admin.post("/tenants", json={"name": "test"}), 201)
    problem(get(gateway, issuer.token(made["id"])), 401, "unauthenticated")
