"""Webhooks: signed, in order for each rental, until the endpoint has them; never into our own network."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, MakeTenant, running_gateway, settings_for
from tests.acceptance.tenant import Answer, Tenant, eventually, ok, problem
from tests.conftest import MakeDatabase
from tests.receiver import Received, Receiver, Reply, receiving
from tests.served import ServedSandbox

OPEN = {"RENTGATE_WEBHOOK_ALLOW_PRIVATE": "true"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture(scope="module")
def open_gateway(
    make_database: MakeDatabase, served_sandbox: ServedSandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway that sends to private addresses too."""
    settings = {**settings_for(make_database().app, served_sandbox), **OPEN}
    log = tmp_path_factory.mktemp("hooks") / "log"
    with running_gateway(log, **settings) as gateway:
        yield gateway
    assert not [line for line in gateway.log_lines() if line["level"] == "error"]
    assert "whsec_" not in log.read_text()


@pytest.fixture
def owner(open_gateway: Gateway, sandbox: ServedSandbox) -> Iterator[Tenant]:
    with open_gateway.client(ADMIN_TOKEN) as admin:
        made = Tenant.create(open_gateway.client, admin, sandbox)
        yield made
        made.close()


def hook(owner: Tenant, receiver: Receiver, *events: str, path: str = "") -> Answer:
    body = {"url": receiver.url + path, "events": list(events) or ["*"], "description": "mine"}
    return ok(owner.http.post("/webhooks", json=body), 201)


def deliveries(owner: Tenant, webhook: Answer, **query: str) -> list[Answer]:
    found: list[Answer] = ok(owner.http.get(f"/webhooks/{webhook['id']}/deliveries", params=query))["items"]
    return found


def test_an_endpoint_is_told_signed_and_in_order(owner: Tenant, receiver: Receiver) -> None:
    webhook = hook(owner, receiver)
    assert webhook["secret"].startswith("whsec_")
    assert "secret" not in ok(owner.http.get(f"/webhooks/{webhook['id']}"))
    rental = owner.rent(activate=True)
    owner.until(rental["id"], number_state="active")
    owner.arrive("code 1")
    eventually(lambda: receiver.types, lambda types: "sms.received" in types)
    received, feed = eventually(
        lambda: (list(receiver.received), ok(owner.http.get("/events"))["items"]),
        lambda both: [one.id for one in both[0]] == [event["id"] for event in both[1]],
    )
    for one, event in zip(received, feed, strict=True):
        told = one.verified(webhook["secret"])
        assert set(told) == {"type", "timestamp", "data"}
        assert (told["type"], told["data"]) == (event["type"], event["data"])
    done = eventually(
        lambda: deliveries(owner, webhook), lambda d: all(x["status"] == "delivered" for x in d)
    )
    assert {d["event_id"] for d in done} >= {event["id"] for event in feed}  # further ones may come meanwhile
    assert all(d["response_status"] == 204 and d["attempts"] == 1 and d["duration_ms"] >= 0 for d in done)


def test_only_what_is_wanted_is_sent_and_only_to_the_own_tenant(
    owner: Tenant, receiver: Receiver, open_gateway: Gateway, sandbox: ServedSandbox
) -> None:
    webhook = hook(owner, receiver, "rental.deleted")
    with open_gateway.client(ADMIN_TOKEN) as admin:
        other = Tenant.create(open_gateway.client, admin, sandbox)
        assert other.http.delete(f"/rentals/{other.rent()['id']}").status_code == 204
        path = f"/webhooks/{webhook['id']}"
        for answer in (
            other.http.get(path),
            other.http.patch(path, json={"status": "disabled"}),
            other.http.delete(path),
            other.http.post(f"{path}/test"),
            other.http.post(f"{path}/rotate-secret"),
            other.http.get(f"{path}/deliveries"),
            other.http.post(f"{path}/retry", json={"since": "2026-01-01T00:00:00Z"}),
        ):
            problem(answer, 404, "not_found")
        assert ok(other.http.get("/webhooks"))["items"] == []
        other.close()
    assert owner.http.delete(f"/rentals/{owner.rent()['id']}").status_code == 204
    eventually(lambda: receiver.types, bool)
    assert receiver.types == ["rental.deleted"]


def test_a_later_event_of_a_rental_waits_for_the_earlier(owner: Tenant, receiver: Receiver) -> None:
    failures = iter([Reply(500, body=b"not \x00 now"), Reply(503, {"Retry-After": "3"}), Reply(302)])

    def reply(one: Received) -> Reply:
        return next(failures, Reply()) if one.event["type"] == "rental.created" else Reply()

    receiver.reply = reply
    webhook = hook(owner, receiver)
    rental = owner.rent()
    ok(owner.http.post(f"/rentals/{rental['id']}/activate"), 202)
    eventually(lambda: receiver.received, bool)
    (first, *_) = [d for d in deliveries(owner, webhook) if d["event_type"] == "rental.created"]
    eventually(lambda: receiver.types, lambda types: "rental.activating" in types, seconds=30)
    created = [one for one in receiver.received if one.event["type"] == "rental.created"]
    assert len({one.id for one in created}) == 1
    assert receiver.types[:4] == ["rental.created"] * 4
    waits = [later.at - earlier.at for earlier, later in itertools.pairwise(created)]
    assert waits[0] >= 1
    assert waits[1] >= 3  # as it was asked for
    assert waits[2] >= 5  # no redirect was followed: it counts as a failure
    after = next(d for d in deliveries(owner, webhook) if d["id"] == first["id"])
    assert (after["status"], after["attempts"], after["response_status"]) == ("delivered", 4, 204)


def test_a_slow_endpoint_keeps_no_other_waiting(owner: Tenant, receiver: Receiver) -> None:
    with receiving() as slow:
        slow.reply = lambda _one: Reply(after=4)
        hook(owner, slow)
        hook(owner, receiver)
        for _ in range(6):
            owner.rent()
        eventually(lambda: receiver.types, lambda types: types.count("rental.created") == 6, seconds=3)
        assert len(slow.received) <= 4


def test_who_answers_gone_is_told_nothing_more(owner: Tenant, receiver: Receiver) -> None:
    with receiving() as other:
        hook(owner, other, "webhook.disabled")
        receiver.reply = lambda _one: Reply(410, body=b"<b>moved</b>")
        webhook = hook(owner, receiver)
        owner.rent()
        path = f"/webhooks/{webhook['id']}"
        eventually(lambda: ok(owner.http.get(path))["status"], lambda status: status == "disabled")
        (told,) = eventually(lambda: other.received, bool)
        assert told.event["data"]["id"] == webhook["id"]
        assert "secret" not in told.event["data"]
        (failed,) = deliveries(owner, webhook, status="failed")
        assert (failed["response_status"], failed["response_body"]) == (410, "<b>moved</b>")
        before = len(receiver.received)
        owner.rent()
        receiver.reply = lambda _one: Reply()
        ok(owner.http.patch(path, json={"status": "enabled"}))
        again = owner.http.post(f"{path}/retry", json={"since": "2026-01-01T00:00:00Z"})
        assert ok(again, 202)["deliveries"] >= 2
        created = [
            e["id"] for e in ok(owner.http.get("/events", params={"types": "rental.created"}))["items"]
        ]
        eventually(lambda: {one.id for one in receiver.received[before:]}, lambda ids: set(created) <= ids)


def test_test_events_and_retries(owner: Tenant, receiver: Receiver) -> None:
    webhook = hook(owner, receiver, "rental.deleted")
    path = f"/webhooks/{webhook['id']}"
    queued = ok(owner.http.post(f"{path}/test"), 202)
    assert queued["event_type"] == "webhook.test"
    (one,) = eventually(lambda: receiver.received, bool)
    assert one.verified(webhook["secret"])["type"] == "webhook.test"
    assert one.id == queued["event_id"]
    eventually(lambda: deliveries(owner, webhook)[0]["status"], lambda status: status == "delivered")
    ok(owner.http.post(f"{path}/deliveries/{queued['id']}/retry"), 202)
    eventually(lambda: len(receiver.received), lambda count: count == 2)
    assert receiver.received[1].id == one.id
    nowhere = "01890000-0000-7000-8000-000000000000"
    problem(owner.http.post(f"{path}/deliveries/{nowhere}/retry"), 404, "not_found")
    assert ok(owner.http.get("/events"))["items"] == []


def test_a_rotated_secret_and_the_one_before_both_verify(owner: Tenant, receiver: Receiver) -> None:
    webhook = hook(owner, receiver)
    path = f"/webhooks/{webhook['id']}/rotate-secret"
    rotated = ok(owner.http.post(path, headers={"Idempotency-Key": "rotate"}))
    replayed = owner.http.post(path, headers={"Idempotency-Key": "rotate"})
    assert replayed.headers["Idempotency-Replayed"] == "true"
    assert "secret" not in ok(replayed)
    assert rotated["secret"] != webhook["secret"]
    ok(owner.http.post(f"/webhooks/{webhook['id']}/test"), 202)
    (one,) = eventually(lambda: receiver.received, bool)
    for secret in (webhook["secret"], rotated["secret"]):
        assert one.verified(secret)


def test_webhooks_are_listed_changed_and_deleted(owner: Tenant, receiver: Receiver) -> None:
    made = [hook(owner, receiver, "sms.received") for _ in range(3)]
    listed = ok(owner.http.get("/webhooks", params={"limit": 2}))
    assert [w["id"] for w in listed["items"]] == [made[2]["id"], made[1]["id"]]
    rest = ok(owner.http.get("/webhooks", params={"cursor": listed["next_cursor"]}))
    assert [w["id"] for w in rest["items"]] == [made[0]["id"]]
    path = f"/webhooks/{made[0]['id']}"
    change = {"events": ["*", "*"], "description": None, "status": "disabled"}
    changed = ok(owner.http.patch(path, json=change))
    assert (changed["events"], changed["description"], changed["status"]) == (["*"], None, "disabled")
    owner.rent()
    assert owner.http.delete(path).status_code == 204
    problem(owner.http.get(path), 404, "not_found")
    assert receiver.received == []
    actions = {row["action"] for row in ok(owner.http.get("/audit-logs", params={"limit": 200}))["items"]}
    assert {"webhook.create", "webhook.update", "webhook.delete"} <= actions
    for _ in range(18):
        hook(owner, receiver)
    body = {"url": receiver.url, "events": ["*"]}
    problem(owner.http.post("/webhooks", json=body), 422, "invalid_request")


def test_a_dead_workers_delivery_goes_on(
    settings: dict[str, str], sandbox: ServedSandbox, receiver: Receiver, tmp_path: Path
) -> None:
    settings = {**settings, **OPEN}
    hanging = [True]
    receiver.reply = lambda _one: Reply(after=14 if hanging[0] else 0)
    with running_gateway(tmp_path / "one", **settings) as one, one.client(ADMIN_TOKEN) as admin:
        owner = Tenant.create(one.client, admin, sandbox)
        hook(owner, receiver)
        owner.rent()
        eventually(lambda: receiver.received, bool)
        hanging[0] = False
        one.process.kill()
        one.process.wait()
    with running_gateway(tmp_path / "other", **settings):
        eventually(lambda: len(receiver.received), lambda count: count >= 2, seconds=15)
        assert len({received.id for received in receiver.received}) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "https://127.0.0.1/hook",
        "https://[::ffff:10.0.0.1]/",
        "https://2130706433/",
        "https://localhost/",
        "https://user:secret@example.com/",
        "nonsense",
        "",
    ],
)
def test_our_own_network_is_refused(make_tenant: MakeTenant, url: str) -> None:
    tenant = make_tenant()
    answer = problem(
        tenant.http.post("/webhooks", json={"url": url, "events": ["*"]}), 422, "invalid_request"
    )
    assert [error["location"] for error in answer["errors"]] == ["body.url"]
    unknown = {"url": "https://nobody-knows.invalid/", "events": ["*"]}
    webhook = ok(tenant.http.post("/webhooks", json=unknown), 201)
    problem(tenant.http.patch(f"/webhooks/{webhook['id']}", json={"url": url}), 422, "invalid_request")


def test_what_a_webhook_has_to_be(make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    url = "https://nobody-knows.invalid/"
    wrong: list[dict[str, Any]] = [
        {"url": url, "events": []},
        {"url": url, "events": ["rental.born"]},
        {"url": url},
        {"events": ["*"]},
        {"url": url, "events": ["*"], "secret": "mine"},
    ]
    for body in wrong:
        problem(tenant.http.post("/webhooks", json=body), 422, "invalid_request")
    reader = ok(
        tenant.admin.post(f"/tenants/{tenant.id}/api-keys", json={"name": "r", "scopes": ["rentals:read"]}),
        201,
    )
    with httpx.Client(
        base_url=tenant.http.base_url, headers={"Authorization": f"Bearer {reader['token']}"}
    ) as c:
        problem(c.get("/webhooks"), 403, "insufficient_scope")
