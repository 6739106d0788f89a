"""The walls between tenants: every operation of the document is called with what belongs to somebody else."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest

from app.models import metadata
from tests.acceptance.conftest import ADMIN_TOKEN, running_gateway, settings_for
from tests.acceptance.tenant import PURCHASE, Tenant, eventually, ok
from tests.acceptance.trespass import OPERATIONS, Request, Trespasser
from tests.conftest import MakeDatabase, superuser_of
from tests.receiver import Receiver, receiving
from tests.served import ServedSandbox

ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(slots=True)
class Household:
    """A tenant that has one of everything."""

    tenant: Tenant
    things: dict[str, str]
    marks: set[str]


@dataclass(slots=True)
class Neighbours:
    """Two tenants of a gateway that does nothing by itself any more: what changes is its callers' doing."""

    superuser_url: str
    sandbox: ServedSandbox
    victim: Household
    trespasser: Household
    said: str = ""
    """All that the trespasser ever sent; its own audit trail may repeat it."""

    def dump(self) -> dict[str, list[Any]]:
        """All rows of the victim's, and all that was called and charged in its name."""
        rows: dict[str, list[Any]] = {}
        with psycopg.connect(self.superuser_url) as connection:
            for name, table in metadata.tables.items():
                column = "id" if name == "tenants" else "tenant_id"
                if column == "id" or column in table.columns:
                    query = f"select to_jsonb(t) from {name} t where {column} = %s order by t::text"
                    rows[name] = connection.execute(query, [self.victim.tenant.id]).fetchall()
        account = self.victim.tenant.upstream_key[-4:]
        rows["calls"] = [call for call in self.sandbox.sandbox.calls if call["account"] == account]
        rows["charges"] = list(self.victim.tenant.charged)
        return rows


def settle(tenant: Tenant, receiver: Receiver, platform_key_id: str) -> Household:
    """Give a tenant one of everything, and wait until all of it has come."""
    mark = secrets.token_hex(8)
    hook = {"url": f"{receiver.url}/{mark}", "events": ["*"], "description": mark}
    webhook = ok(tenant.http.post("/webhooks", json=hook), 201)
    body = {**PURCHASE, "metadata": {"mark": mark}, "activate": True}
    rental = ok(tenant.http.post("/rentals", json=body), 201)
    tenant.until(rental["id"], number_state="active")
    tenant.arrive(f"your code is {mark}")
    eventually(lambda: tenant.messages(rental["id"], limit="200")["items"], bool)
    external_id = f"vault-{secrets.token_hex(8)}"
    upserted = f"/tenants/{tenant.id}/upstream-keys-by-external-id/{external_id}"
    ok(tenant.http.put(upserted, json={"label": mark, "api_key": f"second-{mark}"}), 201)
    key = {"name": mark, "scopes": ["rentals:read"]}
    deliveries = eventually(
        lambda: ok(tenant.http.get(f"/webhooks/{webhook['id']}/deliveries?limit=200"))["items"],
        lambda found: len(found) > 3 and all(one["status"] == "delivered" for one in found),
    )
    things = {
        "tenant_id": tenant.id,
        "rental_id": rental["id"],
        "operation_id": tenant.operations()[0]["id"],
        "webhook_id": webhook["id"],
        "delivery_id": deliveries[0]["id"],
        "external_id": external_id,
        "api-keys.key_id": ok(tenant.http.post(f"/tenants/{tenant.id}/api-keys", json=key), 201)["id"],
        "upstream-keys.key_id": tenant.upstream_key_id,
        "platform-keys.key_id": platform_key_id,
        "upstream_key_id": tenant.upstream_key_id,
        "phone_number": rental["phone_number"],
        "upstream_order_id": rental["upstream_order_id"],
        "target": rental["id"],
        "actor": f"api_key:{ok(tenant.http.get('/me'))['api_key']['id']}",
        "api_key": tenant.upstream_key,
        "event_cursor": ok(tenant.http.get("/events?limit=1"))["next_cursor"],
    }
    return Household(tenant, things, {mark, rental["phone_number"], tenant.upstream_key})


@pytest.fixture(scope="module")
def neighbours(
    make_database: MakeDatabase,
    postgres: str,
    served_sandbox: ServedSandbox,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Neighbours]:
    folder = tmp_path_factory.mktemp("walls")
    settings = settings_for(make_database().app, served_sandbox) | {"RENTGATE_WEBHOOK_ALLOW_PRIVATE": "true"}
    made: list[Household] = []
    with receiving() as receiver, running_gateway(folder / "furnished", **settings) as gateway:
        with gateway.client(ADMIN_TOKEN) as admin:
            key = ok(admin.post("/platform-keys", json={"name": "vault", "scopes": ["vault:write"]}), 201)
            for _ in range(2):
                tenant = Tenant.create(gateway.client, admin, served_sandbox)
                made.append(settle(tenant, receiver, key["id"]))
    with running_gateway(folder / "still", "--no-worker", **settings) as gateway:
        for household in made:
            household.tenant.http = gateway.client(household.tenant.token)
        superuser_url = superuser_of(postgres, settings["RENTGATE_DATABASE_URL"])
        victim, trespasser = made
        found = Neighbours(superuser_url, served_sandbox, victim, trespasser)
        victim.marks |= set(ID.findall(json.dumps(found.dump(), default=str)))
        yield found
        for household in made:
            household.tenant.http.close()
    assert not [line for line in gateway.log_lines() if line["level"] == "error"]


def told(neighbours: Neighbours, sent: str, answer: httpx.Response) -> set[str]:
    """What an answer tells of the victim that the trespasser did not say itself."""
    shown = answer.text + str(answer.headers)
    found = {mark for mark in neighbours.victim.marks if mark in shown}
    order_id = neighbours.victim.things["upstream_order_id"]
    found |= set(re.findall(rf"(?<![\w.-]){order_id}(?![\w-])", shown))
    return {mark for mark in found if mark not in sent}


def outcomes(answer: httpx.Response) -> set[int]:
    """The status of an answer, and of each of the things that it tells of one by one."""
    body = answer.json() if "json" in answer.headers.get("Content-Type", "") else {}
    return {answer.status_code, *(result["status"] for result in body.get("results", ()))}


def cursor_of(neighbours: Neighbours, name: str) -> str | None:
    """The victim's own place in a list, after the first item."""
    parameters = OPERATIONS[name].get("parameters", ())
    if not any(parameter.get("name") == "cursor" for parameter in parameters):
        return None
    things = neighbours.victim.things
    own = Trespasser(things, things)
    (first, *_) = [request for request in own.requests(name, None) if request.why == "its own"]
    answer = neighbours.victim.tenant.http.get(first.path, params={"limit": 1})
    found: str | None = answer.json().get("next_cursor")
    return found


def send(client: httpx.Client, request: Request) -> httpx.Response:
    return client.request(
        request.method,
        request.path,
        params=dict(request.query),
        headers=dict(request.headers),
        json=request.body,
    )


@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_of_another_tenant_is_seen_or_changed(name: str, neighbours: Neighbours) -> None:
    trespasser = Trespasser(neighbours.trespasser.things, neighbours.victim.things)
    cursor = cursor_of(neighbours, name)
    before = neighbours.dump()
    requests = list(trespasser.requests(name, cursor))
    assert requests
    for request in requests:
        neighbours.said += request.sent
        sent = neighbours.said if request.path == "/audit-logs" else request.sent
        answer = send(neighbours.trespasser.tenant.http, request)
        assert answer.status_code < 500, (request, answer.text)
        assert request.statuses is None or request.statuses & outcomes(answer), (request, answer.text)
        if request.nothing_listed:
            assert ok(answer)["items"] == [], request
        assert told(neighbours, sent, answer) == set(), (request, answer.text)
    after = neighbours.dump()
    if any(neighbours.victim.tenant.upstream_key in request.sent for request in requests):
        before["calls"] = after["calls"]  # who holds the account's key itself can have it tried
    assert after == before


def test_the_victim_has_what_was_tried(neighbours: Neighbours) -> None:
    """The same requests by the owner find it all: what is refused above is refused for being another's."""
    things, tenant = neighbours.victim.things, neighbours.victim.tenant
    for path in (
        f"/rentals/{things['rental_id']}",
        f"/operations/{things['operation_id']}",
        f"/webhooks/{things['webhook_id']}",
        f"/tenants/{tenant.id}/upstream-keys/{things['upstream_key_id']}",
    ):
        ok(tenant.http.get(path))
    filtered = {
        "/rentals": ("phone_number", "upstream_order_id"),
        "/operations": ("rental_id",),
        "/audit-logs": ("actor",),
    }
    for path, names in filtered.items():
        for name in names:
            assert ok(tenant.http.get(path, params={name: things[name]}))["items"], name
    deliveries = ok(tenant.http.get(f"/webhooks/{things['webhook_id']}/deliveries?limit=200"))["items"]
    assert things["delivery_id"] in {one["id"] for one in deliveries}


def test_anothers_idempotency_key_is_ones_own(neighbours: Neighbours) -> None:
    body = {**PURCHASE, "metadata": {"mark": "mine"}, "activate": True}
    before = neighbours.dump()
    tenant = neighbours.trespasser.tenant
    other = ok(tenant.http.post("/rentals", json=body, headers={"Idempotency-Key": "another"}), 201)
    victims = neighbours.victim.tenant.http.post(
        "/rentals", json=body, headers={"Idempotency-Key": "another"}
    )
    assert "Idempotency-Replayed" not in victims.headers
    assert ok(victims, 201)["id"] != other["id"]
    assert [row for row in neighbours.dump()["rentals"] if row in before["rentals"]] == before["rentals"]


def test_a_stream_tells_only_of_the_own_tenant(neighbours: Neighbours) -> None:
    tenant, place = neighbours.trespasser.tenant, neighbours.victim.things["event_cursor"]
    own = ok(tenant.http.get("/events", params={"cursor": place, "limit": 200}))["items"]
    headers = {"Accept": "text/event-stream", "Last-Event-ID": place}
    told_of: list[str] = []
    with tenant.http.stream("GET", "/events", headers=headers) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                told_of.append(line)
            if len(told_of) == len(own):
                break
    assert own
    assert not [mark for mark in neighbours.victim.marks if mark in "".join(told_of)]
