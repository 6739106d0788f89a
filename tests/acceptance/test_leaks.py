"""No secret leaks: canaries go through everything that a gateway does, and then are looked for everywhere."""

from __future__ import annotations

import json
import secrets
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import psycopg
import pytest

from app.database.embedded import EmbeddedPostgres
from app.sandbox import SandboxOptions
from app.tenants.tokens import token_prefix
from tests.acceptance.commands import rentgate
from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, fresh_gateway
from tests.acceptance.tenant import Tenant, eventually, ok, problem
from tests.balance_server import Asked, BalanceServer, Reply
from tests.canaries import Canary, files_under, found_in, tables_of
from tests.conftest import new_vault_key
from tests.receiver import Receiver, receiving
from tests.served import ServedSandbox

ODD = "/+&=%\"<'"
"""What looks different in a URL, in JSON and in HTML."""

FAULTS = ["echo", "cut_json", "hang", "drop", "status_500", "proxy_403"]


def new_key(name: str) -> Canary:
    """An upstream key that no encoding leaves as it is."""
    return Canary(name, f"{secrets.token_urlsafe(15)}{ODD}{secrets.token_urlsafe(15)}")


def echoed(asked: Asked) -> Reply:
    """A refusal that repeats the whole request, key and all."""
    error = {"type": "Odd", "description": str(asked.headers)}
    return Reply(json.dumps({"statusCode": 400, "error": error}).encode())


@dataclass(slots=True)
class Journey:
    """A gateway with its own Postgres, and all that it said to anybody."""

    folder: Path
    sandbox: ServedSandbox
    receiver: Receiver
    balances: BalanceServer
    admin_token: Canary
    vault_key: Canary
    upstream_key: Canary
    others: list[Canary] = field(default_factory=list)
    said: dict[str, bytes] = field(default_factory=dict)

    @property
    def canaries(self) -> list[Canary]:
        """All secrets of the journey."""
        return [self.admin_token, self.vault_key, self.upstream_key, *self.others]

    @property
    def settings(self) -> dict[str, str]:
        """The gateway's settings; it logs all it can."""
        return {
            "RENTGATE_DATA_DIR": str(self.folder / "data"),
            "RENTGATE_VAULT_KEY": self.vault_key.text,
            "RENTGATE_ADMIN_TOKEN": self.admin_token.text,
            "RENTGATE_UPSTREAM_URL": self.sandbox.url,
            "RENTGATE_UPSTREAM_TIMEOUT": "1",
            "RENTGATE_BALANCE_URL": self.balances.url,
            "RENTGATE_BALANCE_RATE": "0",
            "RENTGATE_BALANCE_INTERVAL": "0.5",
            "RENTGATE_LOG_LEVEL": "DEBUG",
            "RENTGATE_WEBHOOK_ALLOW_PRIVATE": "true",
        }

    def client(self, gateway: Gateway, token: str | None) -> httpx.Client:
        """A client whose answers are kept."""
        client = gateway.client(token)
        client.event_hooks = {"response": [self.keep]}
        return client

    def keep(self, answer: httpx.Response) -> None:
        """Keep an answer, but for the one token or secret that it may show this once."""
        shown = answer.read()
        if answer.status_code == 201:
            body = answer.json()
            for name in ("token", "secret"):
                if name in body:
                    first = len(token_prefix(body[name]))
                    self.others.append(Canary(f"{name} {len(self.others)}", body[name], first, 0))
                    shown = shown.replace(body[name].encode(), b"")
        place = f"answer {len(self.said)} to {answer.request.method} {answer.request.url.path}"
        self.said[place] = str(answer.headers).encode() + shown

    def shell(self, *arguments: str, **settings: str) -> str:
        """Run a command, and keep what it prints."""
        done = rentgate(*arguments, **{**self.settings, **settings})
        assert done.returncode == 0, done.stdout + done.stderr
        self.said[f"output of {' '.join(arguments[:2])}"] = (done.stdout + done.stderr).encode()
        return done.stdout

    def processes(self, gateway: Gateway) -> None:
        """Keep the command lines of the gateway and of all that it started."""
        process = psutil.Process(gateway.process.pid)
        for one in [process, *process.children(recursive=True)]:
            self.said[f"command line of {one.pid}"] = Path(f"/proc/{one.pid}/cmdline").read_bytes()


@pytest.fixture
def journey(tmp_path: Path) -> Iterator[Journey]:
    options = SandboxOptions(activation_seconds=0.2, sms_seconds=0.3, stock=10_000)
    with ServedSandbox(options) as sandbox, receiving() as receiver, BalanceServer(echoed) as balances:
        admin_token = Canary("admin token", "admin-" + secrets.token_urlsafe(24), shown_last=0)
        vault_key = Canary("vault key", new_vault_key(), shown_last=0)
        upstream_key = new_key("upstream key")
        yield Journey(tmp_path, sandbox, receiver, balances, admin_token, vault_key, upstream_key)
        assert balances.asked_for(upstream_key.text)


@pytest.mark.parametrize("form", new_key("any").forms())
def test_the_search_finds_every_form(form: str) -> None:
    canary = new_key("upstream key")
    places = {"here": b"before " + canary.forms()[form] + b" after", "there": b"nothing"}
    assert f"upstream key {form} in here" in found_in([canary], places)
    assert not found_in([new_key("another")], places)


def test_a_token_is_not_taken_for_an_id(tenant: Tenant) -> None:
    for token in (tenant.token, ADMIN_TOKEN, f"rgp_{secrets.token_hex(25)}"):
        answer = tenant.http.get("/me", headers={"X-Request-ID": token})
        assert token not in str(answer.headers)
        body = problem(
            tenant.http.post("/rentals/import", headers={"Idempotency-Key": token}), 422, "invalid_request"
        )
        assert [error["location"] for error in body["errors"]] == ["header.Idempotency-Key"]


def test_no_secret_is_left_anywhere(journey: Journey) -> None:
    server = EmbeddedPostgres(journey.folder / "data", durable=False)
    superuser_url = server.start()
    began = time.time()
    try:
        with fresh_gateway(journey.folder / "first.log", **journey.settings) as gateway:
            tenant = moved_in(journey, gateway)
            rentals(tenant)
            bad_days(tenant)
            wrong_keys(journey, tenant)
            odd_places(journey, gateway, tenant)
            journey.processes(gateway)
            tenant.http.get("/metrics")
            killed_in_its_call(gateway, tenant)
        with fresh_gateway(journey.folder / "second.log", **journey.settings) as gateway:
            tenant.http = journey.client(gateway, tenant.token)
            settled(tenant)
            from_a_shell(journey, tenant)
            ok(tenant.http.post(f"/tenants/{tenant.id}/upstream-keys/{tenant.upstream_key_id}/verify"))
            journey.processes(gateway)
            journey.sandbox.__exit__(None, None, None)
            assert tenant.buy().status_code == 503
            for path in ("/rentals", "/operations", "/events", "/audit-logs", "/webhooks"):
                ok(tenant.http.get(path, params={"limit": 200}))
            eventually(lambda: "rental.restored" in journey.receiver.types, bool)
            tenant.http.get("/metrics")
        with psycopg.connect(superuser_url, autocommit=True) as connection:
            connection.execute("checkpoint")
        database_url = superuser_url.replace("@/postgres?", "@/rentgate?")
        places = {
            **journey.said,
            **dict(tables_of(database_url)),
            **dict(files_under(journey.folder / "data" / "postgres", since=began)),
            **{log: (journey.folder / log).read_bytes() for log in ("first.log", "second.log")},
            "webhooks": b"\n".join(str(one.headers).encode() + one.body for one in journey.receiver.received),
        }
    finally:
        server.stop()
    assert found_in(journey.canaries, places) == []
    only_the_last_four(journey, tenant)


def moved_in(journey: Journey, gateway: Gateway) -> Tenant:
    """A tenant with the canary account, a webhook, and a platform key beside it."""
    admin = journey.client(gateway, journey.admin_token.text)
    tenant = Tenant.create(
        lambda token: journey.client(gateway, token),
        admin,
        journey.sandbox,
        upstream_key=journey.upstream_key.text,
    )
    ok(admin.post("/platform-keys", json={"name": "vault", "scopes": ["vault:write"]}), 201)
    webhook = ok(tenant.http.post("/webhooks", json={"url": journey.receiver.url, "events": ["*"]}), 201)
    ok(tenant.http.post(f"/webhooks/{webhook['id']}/test"), 202)
    return tenant


def rentals(tenant: Tenant) -> None:
    """Rent, read, prolong, add a service, delete, restore."""
    rental = tenant.rent(activate=True)
    tenant.until(rental["id"], number_state="active")
    tenant.arrive("your code is 123")
    eventually(lambda: tenant.messages(rental["id"])["items"], bool)
    period = {"period": {"unit": "week", "count": 1}}
    ok(tenant.http.post(f"/rentals/{rental['id']}/prolong", json=period))
    ok(tenant.http.post(f"/rentals/{rental['id']}/services", json={"service": "opt29"}), 201)
    assert tenant.http.delete(f"/rentals/{rental['id']}").status_code == 204
    expired = tenant.expired()
    ok(tenant.http.get(f"/rentals/{expired['id']}/restore-quote"))
    ok(tenant.http.post(f"/rentals/{expired['id']}/restore"))


def bad_days(tenant: Tenant) -> None:
    """Whatever the upstream may answer, to a call that spends and to one that reads."""
    key = tenant.upstream_key
    forms = [
        key,
        quote(key, safe=""),
        key.upper(),
        f"https://upstream.invalid/rent.php?apikey={quote(key)}&x=1",
    ]
    for message in forms:
        tenant.fault("create", "refuse", message=f"Bad key {message} given")
        assert tenant.buy().status_code == 202
        tenant.fault("orders", "refuse", message=f"Bad key {message} given")
        tenant.http.post(f"/tenants/{tenant.id}/upstream-keys/{tenant.upstream_key_id}/verify")
    for kind in FAULTS:
        tenant.fault("create", kind, seconds=5)
        assert tenant.buy().status_code in (202, 502, 503)
        tenant.fault("orders", kind, seconds=2)
        tenant.http.post(f"/tenants/{tenant.id}/upstream-keys/{tenant.upstream_key_id}/verify")


def wrong_keys(journey: Journey, tenant: Tenant) -> None:
    """Keys that the upstream doesn't know: stored, tried, put in another's place."""
    unknown, replacement = new_key("unknown key"), new_key("replacement")
    journey.others += [unknown, replacement]
    stored = ok(tenant.add_upstream_key(unknown.text), 201)
    path = f"/tenants/{tenant.id}/upstream-keys/{stored['id']}"
    assert ok(tenant.http.post(f"{path}/verify"))["status"] == "rejected"
    for force in (False, True):
        body = {"api_key": replacement.text, "force": force}
        problem(tenant.http.put(f"{path}/secret", json=body), 502, "upstream_key_rejected")
    assert tenant.add_upstream_key(tenant.upstream_key).status_code == 409
    external = f"/tenants/{tenant.id}/upstream-keys-by-external-id/mine"
    assert tenant.http.put(external, json={"label": "x", "api_key": tenant.upstream_key}).status_code == 409


def odd_places(journey: Journey, gateway: Gateway, tenant: Tenant) -> None:
    """Requests that are wrong, with a token or a key where none belongs."""
    for token in (tenant.token, journey.admin_token.text):
        odd: list[dict[str, Any]] = [
            {"url": "/rentals", "params": {"token": token, "cursor": token}},
            {"url": "/rentals", "params": {"status": token, "phone_number": token}},
            {"url": f"/rentals/{token}"},
            {"url": f"/{token}"},
            {"url": f"/problems/{token}"},
            {"url": f"/countries/{token}/services"},
            {"url": "/me", "headers": {"X-Request-ID": token}},
            {"url": "/me", "headers": {"X-Tenant-ID": token}},
            {"url": "/me", "headers": {"X-Request-ID": f"Bearer {token}", "Authorization": f"Token {token}"}},
            {"url": "/me", "headers": {"Authorization": f"Bearer {token} {token}"}},
            {"url": "/me", "auth": (token, token)},
            {"url": "/rentals", "method": "POST", "json": {token: token, "country": token}},
            {
                "url": "/rentals",
                "method": "POST",
                "json": {"country": "RU", "service": token, "period": token},
            },
            {"url": "/rentals", "method": "POST", "content": f'{{"token": "{token}"'},
            {"url": "/rentals", "method": "POST", "content": token, "headers": {"Content-Type": token}},
            {"url": "/rentals/import", "method": "POST", "headers": {"Idempotency-Key": token}},
        ]
        for bearer in (token, None):
            with journey.client(gateway, bearer) as client:
                for request in odd:
                    assert client.request(**{"method": "GET", **request}).status_code < 500


def killed_in_its_call(gateway: Gateway, tenant: Tenant) -> None:
    """The gateway is killed while a paid call is under way."""
    calls = tenant.sandbox.sandbox.calls
    before = len([call for call in calls if call["method"] == "create"])
    tenant.fault("create", "late", seconds=0.7)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(tenant.buy)
        eventually(lambda: len([call for call in calls if call["method"] == "create"]), lambda n: n > before)
        gateway.process.send_signal(signal.SIGKILL)
        gateway.process.wait()
        assert asked.exception() is not None


def settled(tenant: Tenant) -> None:
    """All operations have an outcome."""
    eventually(
        lambda: [o for o in tenant.operations(limit="200") if o["state"] not in ("succeeded", "failed")],
        lambda found: not found,
        seconds=60,
    )


def from_a_shell(journey: Journey, tenant: Tenant) -> None:
    """Administration from a shell, the vault's commands among it."""
    added = new_key("added from a shell")
    journey.others.append(added)
    token = journey.shell("key", "create", tenant.id, "shell").strip()
    journey.others.append(Canary("token from a shell", token, len(token_prefix(token)), 0))
    del journey.said["output of key create"]
    journey.shell("key", "add-upstream", tenant.id, "shell", SMSPVA_API_KEY=added.text)
    journey.shell("vault", "rotate", "--tenants")
    journey.shell("vault", "rotate", "--key")
    looks = [("key", "list", tenant.id), ("vault", "status"), ("doctor",), ("operations", "list")]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda arguments: journey.shell(*arguments), [*looks, ("audit", "verify")]))


def only_the_last_four(journey: Journey, tenant: Tenant) -> None:
    """The last four characters are shown where keys are listed, and no more."""
    listed = [content for place, content in journey.said.items() if place.endswith("/upstream-keys")]
    assert any(f'"last_four":"{tenant.upstream_key[-4:]}"'.encode() in content for content in listed)
    assert not any(tenant.upstream_key[-5:].encode() in content for content in journey.said.values())
