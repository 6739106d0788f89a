"""The feed of events: in the order of commit, each once, none left out; as pages, a stream, or waited for."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.acceptance.conftest import ADMIN_TOKEN, MakeTenant, fresh_gateway, running_gateway
from tests.acceptance.tenant import Answer, Tenant, eventually, ok, problem
from tests.served import ServedSandbox


def feed(tenant: Tenant, cursor: str | None = None, **query: str) -> Answer:
    return ok(tenant.http.get("/events", params={**query, **({"cursor": cursor} if cursor else {})}))


def types(page: Answer) -> list[str]:
    return [event["type"] for event in page["items"]]


@contextmanager
def stream(tenant: Tenant, last_event_id: str | None = None) -> Iterator[Queue[Answer]]:
    """The events of a stream, as they come."""
    came: Queue[Answer] = Queue()
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_event_id} if last_event_id else {})}
    with tenant.http.stream("GET", "/events", headers=headers, timeout=30) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")

        def read() -> None:
            event: dict[str, Any] = {}
            try:
                for line in answer.iter_lines():
                    name, _, value = line.partition(": ")
                    if name in ("id", "event", "data"):
                        event[name] = value
                    elif not line and event:
                        came.put({**event, "data": json.loads(event["data"])})
                        event = {}
            except (httpx.HTTPError, httpx.StreamError):
                return

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        yield came


def test_the_feed_goes_on_where_it_was_left(tenant: Tenant) -> None:
    empty = feed(tenant)
    assert (empty["items"], empty["has_more"]) == ([], False)
    rental = tenant.rent()
    first = feed(tenant, empty["next_cursor"])
    assert types(first) == ["rental.created"]
    assert first["items"][0]["data"]["id"] == first["items"][0]["rental_id"] == rental["id"]
    assert first["items"][0]["actor"].startswith("api_key:")
    ok(tenant.http.post(f"/rentals/{rental['id']}/activate"), 202)
    found = eventually(lambda: feed(tenant, first["next_cursor"]), lambda page: "sms.received" in types(page))
    assert types(found)[:2] == ["rental.activating", "rental.activated"]
    message = next(event for event in found["items"] if event["type"] == "sms.received")
    assert message["data"] == tenant.messages(rental["id"])["items"][0]
    nothing = feed(tenant, found["next_cursor"])
    assert (nothing["items"], nothing["next_cursor"]) == ([], found["next_cursor"])


def test_pages_join_without_a_gap_and_types_can_be_chosen(tenant: Tenant) -> None:
    for _ in range(3):
        tenant.rent(activate=True)
    eventually(lambda: types(feed(tenant, limit="200")), lambda found: found.count("sms.received") == 3)
    whole = feed(tenant, limit="200")["items"]
    gathered: list[Answer] = []
    page = feed(tenant, limit="2")
    while True:
        gathered += page["items"]
        if not page["has_more"]:
            break
        page = feed(tenant, page["next_cursor"], limit="2")
    assert gathered[: len(whole)] == whole
    chosen = feed(tenant, types="sms.received,rental.created", limit="200")
    assert set(types(chosen)) == {"sms.received", "rental.created"}
    wrong = problem(tenant.http.get("/events?types=sms.received,nonsense"), 422, "invalid_request")
    assert wrong["errors"][0]["location"] == "query.types"


def test_another_tenants_events_are_not_in_it(make_tenant: MakeTenant) -> None:
    one, other = make_tenant(), make_tenant()
    one.rent()
    assert types(feed(one)) == ["rental.created"]
    assert types(feed(other)) == []


def test_a_reader_misses_nothing_however_many_write(make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    tenant.account.balance *= 100
    seen: list[str] = []
    with ThreadPoolExecutor(8) as pool:
        buying = [
            pool.submit(tenant.rent, service=service) for service in ("opt1", "opt2", "opt16", "opt19") * 5
        ]
        cursor = None
        while not all(task.done() for task in buying):
            page = feed(tenant, cursor, limit="3")
            seen += [event["id"] for event in page["items"]]
            cursor = page["next_cursor"]
    rest = feed(tenant, cursor, limit="200")
    seen += [event["id"] for event in rest["items"]]
    assert seen[:20] == [event["id"] for event in feed(tenant, limit="200")["items"]][: len(seen)][:20]
    assert len(set(seen)) == len(seen) >= 20


def test_what_is_no_longer_kept_is_said(
    settings: dict[str, str], sandbox: ServedSandbox, postgres: str, tmp_path: Path
) -> None:
    with running_gateway(tmp_path / "log", **settings) as gateway, gateway.client(ADMIN_TOKEN) as admin:
        tenant = Tenant.create(gateway.client, admin, sandbox)
        start = feed(tenant)["next_cursor"]
        rental = tenant.rent()
        database = make_url(settings["RENTGATE_DATABASE_URL"]).database
        url = make_url(postgres).set(database=database).render_as_string(hide_password=False)
        with psycopg.connect(url) as connection:
            connection.execute("update events set timestamp = timestamp - interval '91 days'")
        problem(tenant.http.get("/events", params={"cursor": start}), 410, "cursor_expired")
        headers = {"Accept": "text/event-stream", "Last-Event-ID": start}
        problem(tenant.http.get("/events", headers=headers), 410, "cursor_expired")
        assert feed(tenant)["items"] == []
        assert tenant.events(rental["id"]) == ["rental.created"]
        tenant.close()


def test_a_stream_tells_at_once_and_goes_on_after_a_break(tenant: Tenant) -> None:
    tenant.rent()
    with stream(tenant) as came:
        with pytest.raises(Empty):
            came.get(timeout=0.5)  # it starts now, not at the beginning
        rental = tenant.rent(service="opt2")
        told = came.get(timeout=5)
        assert (told["event"], told["data"]["rental_id"]) == ("rental.created", rental["id"])
    third = tenant.rent(service="opt16")
    with stream(tenant, told["id"]) as came:
        again = came.get(timeout=5)
        assert again["data"]["rental_id"] == third["id"]
    assert feed(tenant, again["id"])["items"] == []


def test_a_revoked_keys_stream_ends(tenant: Tenant) -> None:
    made = ok(
        tenant.http.post(
            f"/tenants/{tenant.id}/api-keys", json={"name": "short", "scopes": ["rentals:read"]}
        ),
        201,
    )
    headers = {"Authorization": f"Bearer {made['token']}", "Accept": "text/event-stream"}
    with tenant.http.stream("GET", "/events", headers=headers, timeout=30) as answer:
        assert tenant.http.delete(f"/tenants/{tenant.id}/api-keys/{made['id']}").status_code == 204
        tenant.rent()
        assert not [line for line in answer.iter_lines() if line.startswith("data: ")]


def test_waiting_ends_with_the_message(tenant: Tenant) -> None:
    rental = tenant.rent()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(tenant.messages, rental["id"], wait="20")
        time.sleep(0.3)
        assert not asked.done()
        tenant.arrive("here it is")
        started = time.monotonic()
        (message,) = asked.result()["items"]
    assert message["text"] == "here it is"
    assert time.monotonic() - started < 10
    cursor = tenant.messages(rental["id"])["next_cursor"]
    started = time.monotonic()
    assert tenant.messages(rental["id"], wait="0.5", cursor=cursor)["items"] == []
    assert 0.4 < time.monotonic() - started < 5
    path = f"/rentals/{rental['id']}/sms"
    problem(tenant.http.get(path, params={"wait": "61"}), 422, "invalid_request")
    problem(tenant.http.get(path, params={"wait": "1", "order": "desc"}), 422, "invalid_request")


def test_who_waits_is_looked_for_at_the_short_interval(
    settings: dict[str, str], sandbox: ServedSandbox, tmp_path: Path
) -> None:
    slow = {**settings, "RENTGATE_SYNC_IDLE_INTERVAL": "60", "RENTGATE_SYNC_INTERVAL": "0.3"}
    with running_gateway(tmp_path / "log", **slow) as gateway, gateway.client(ADMIN_TOKEN) as admin:
        tenant = Tenant.create(gateway.client, admin, sandbox)
        rental = tenant.rent()
        eventually(lambda: tenant.rental(rental["id"])["upstream_orders"], bool)
        time.sleep(1)
        tenant.arrive("nobody looks")
        time.sleep(1)
        assert tenant.messages(rental["id"])["items"] == []
        assert len(tenant.messages(rental["id"], wait="10")["items"]) == 1
        tenant.close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_does_not_wait_for_those_who_wait(
    settings: dict[str, str], sandbox: ServedSandbox, tmp_path: Path, workers: str
) -> None:
    with fresh_gateway(tmp_path / "log", "--workers", workers, **settings) as gateway:
        with gateway.client(ADMIN_TOKEN) as admin:
            tenant = Tenant.create(gateway.client, admin, sandbox)
            rental = tenant.rent()
        with ThreadPoolExecutor(1) as pool, stream(tenant):
            asked = pool.submit(tenant.http.get, f"/rentals/{rental['id']}/sms?wait=60")
            time.sleep(0.5)
            started = time.monotonic()
            gateway.process.terminate()
            gateway.process.wait(30)
            assert time.monotonic() - started < 15
            assert ok(asked.result())["items"] == []


def test_the_end_of_a_rental_is_told_of_7_days_and_1_day_before(tenant: Tenant) -> None:
    def told(rental: Answer) -> int:
        return tenant.events(rental["id"]).count("rental.expiring")

    week = tenant.rent()  # it ends in 7 days from the first, which is no news
    month = tenant.rent(period={"unit": "week", "count": 4})
    tenant.age(5)
    eventually(lambda: tenant.rental(month["id"])["expires_at"], lambda end: end < month["expires_at"])
    tenant.age(17)
    eventually(lambda: told(month), lambda count: count == 1)
    tenant.age(5.5)
    eventually(lambda: told(month), lambda count: count == 2)
    (newest, *_) = ok(tenant.http.get("/events", params={"types": "rental.expiring"}))["items"]
    assert newest["data"]["id"] == month["id"]
    assert told(week) == 0
