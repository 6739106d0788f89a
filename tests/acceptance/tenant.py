"""A tenant as the tests drive it: its client, its account at the upstream, and the steps of the journey."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx

from app.sandbox.faults import Fault
from app.sandbox.shop import COUNTRIES
from app.sandbox.world import Account, Arrived, Order
from tests.served import ServedSandbox

SCOPES = ["catalog:read", "rentals:read", "rentals:write", "audit:read", "keys:manage", "webhooks:manage"]

PURCHASE: dict[str, Any] = {"country": "RU", "service": "opt1", "period": {"unit": "week", "count": 1}}

Answer = dict[str, Any]


@dataclass(slots=True)
class Tenant:
    """A tenant; `http` carries its API key, which holds all scopes."""

    id: str
    http: httpx.Client
    admin: httpx.Client
    sandbox: ServedSandbox
    upstream_key: str
    upstream_key_id: str
    token: str

    @classmethod
    def create(
        cls,
        client: Callable[[str], httpx.Client],
        admin: httpx.Client,
        sandbox: ServedSandbox,
        *,
        with_account: bool = True,
        upstream_key: str | None = None,
        **body: Any,
    ) -> Tenant:
        """Make a tenant, an API key, and an account unless told otherwise."""
        tenant_id = ok(admin.post("/tenants", json={"name": "test", **body}), 201)["id"]
        key = ok(admin.post(f"/tenants/{tenant_id}/api-keys", json={"name": "all", "scopes": SCOPES}), 201)
        upstream_key = upstream_key or sandbox.new_key()
        sandbox.add_account(upstream_key, Decimal(500))
        made = cls(tenant_id, client(key["token"]), admin, sandbox, upstream_key, "", key["token"])
        if with_account:
            stored = made.add_upstream_key(upstream_key)
            made.upstream_key_id = ok(stored, 201)["id"]
        return made

    def add_upstream_key(self, api_key: str) -> httpx.Response:
        """Store an upstream key."""
        body = {"label": "sandbox", "api_key": api_key}
        return self.http.post(f"/tenants/{self.id}/upstream-keys", json=body)

    def in_review(self) -> Answer:
        """A purchase that was made while somebody bought the same thing elsewhere."""
        self.rent(service="opt45")
        self.fault("create", "drop", "after")
        self.fault("orders", "status_500", times=2)
        world = self.sandbox.sandbox.world
        world.new_order(self.account, world.new_number(COUNTRIES["RU"]), "opt44", 7)
        pending = ok(self.buy(service="opt44"), 202)
        return self.until(pending["id"], status="review")

    def gets_another_secret(self, secret: str) -> None:
        """The provider gives the account another key."""
        accounts = self.sandbox.sandbox.world.accounts
        account = accounts.pop(self.upstream_key)
        accounts[secret] = account
        account.api_key = self.upstream_key = secret

    def close(self) -> None:
        """Stop the worker's looks at the account."""
        if self.upstream_key_id:
            self.admin.delete(f"/tenants/{self.id}/upstream-keys/{self.upstream_key_id}?force=true")
        self.http.close()

    @property
    def account(self) -> Account:
        """The account at the upstream."""
        return self.sandbox.sandbox.world.accounts[self.upstream_key]

    @property
    def orders(self) -> list[Order]:
        """The account's living orders at the upstream."""
        return [o for o in list(self.sandbox.sandbox.world.living.values()) if o.account is self.account]

    @property
    def charged(self) -> list[str]:
        """The methods that the account was charged for."""
        own = self.upstream_key[-4:]
        return [entry["method"] for entry in self.sandbox.sandbox.world.ledger if entry["account"] == own]

    def fault(self, method: str, kind: str, when: str = "before", **more: Any) -> None:
        """Have the next call of a method on this account go wrong."""
        self.sandbox.sandbox.faults.waiting.append(
            Fault.model_validate(
                {"method": method, "kind": kind, "when": when, "account": self.upstream_key[-8:], **more}
            )
        )

    def fault_keyless(self, method: str, kind: str, **more: Any) -> None:
        """Have the next keyless call of a method go wrong."""
        self.sandbox.sandbox.faults.waiting.append(
            Fault.model_validate({"method": method, "kind": kind, **more})
        )

    def clear_faults(self) -> None:
        """Take back what was to go wrong."""
        self.sandbox.sandbox.faults.waiting.clear()

    def until_operation(self, operation_id: str, **wanted: Any) -> Answer:
        """Wait until an operation looks as wanted."""
        found: Answer = eventually(
            lambda: ok(self.http.get(f"/operations/{operation_id}")),
            lambda found: all(found[name] == value for name, value in wanted.items()),
        )
        return found

    def buy(self, *, key: str | None = None, **changes: Any) -> httpx.Response:
        """Ask for a rental."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.http.post("/rentals", json={**PURCHASE, **changes}, headers=headers)

    def rent(self, **changes: Any) -> Answer:
        """Rent a number."""
        return ok(self.buy(**changes), 201)

    def rental(self, rental_id: str) -> Answer:
        """Read a rental."""
        return ok(self.http.get(f"/rentals/{rental_id}"))

    def until(self, rental_id: str, **wanted: Any) -> Answer:
        """Wait until the rental looks as wanted."""
        found: Answer = eventually(
            lambda: self.rental(rental_id),
            lambda found: all(found[name] == value for name, value in wanted.items()),
        )
        return found

    def messages(self, rental_id: str, **query: str) -> Answer:
        """Read a rental's SMS."""
        return ok(self.http.get(f"/rentals/{rental_id}/sms", params=query))

    def arrive(self, text: str, *, service: str = "opt1", sender: str = "Google") -> None:
        """An SMS comes to the account's first number."""
        self.orders[0].number.messages.append(Arrived(service, sender, text, time.time()))

    def age(self, days: float) -> None:
        """Let time pass for this account's orders only."""
        seconds = days * 86_400
        for order in self.orders:
            order.begin -= seconds
            order.until -= seconds
        self.sandbox.sandbox.world.settle()

    def expired(self) -> Answer:
        """A rental whose end has passed, as the gateway knows already."""
        rental = self.rent()
        self.age(8)
        return self.until(rental["id"], status="expired")

    def events(self, rental_id: str) -> list[str]:
        """The types of a rental's events, oldest first."""
        found = ok(self.http.get(f"/rentals/{rental_id}/events"))["items"]
        return [event["type"] for event in reversed(found)]

    def operations(self, **filters: str) -> list[Answer]:
        """The tenant's operations, newest first."""
        found: list[Answer] = ok(self.http.get("/operations", params=filters))["items"]
        return found


def ok(response: httpx.Response, status: int = 200) -> Answer:
    """The body of an answer that has to have this status."""
    assert response.status_code == status, f"{response.status_code}: {response.text}"
    body: Answer = response.json()
    return body


def problem(response: httpx.Response, status: int, code: str) -> Answer:
    """The body of an error that has to be this one, and a whole problem."""
    assert response.status_code == status, f"{response.status_code}: {response.text}"
    assert response.headers["content-type"] == "application/problem+json"
    body: Answer = response.json()
    assert body["code"] == code
    assert body["status"] == status
    assert body["type"] == f"/problems/{code.replace('_', '-')}"
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == response.headers["x-request-id"]
    if "retry_after" in body:
        assert response.headers["retry-after"] == str(body["retry_after"])
    return body


def eventually(read: Callable[[], Any], good: Callable[[Any], bool], seconds: float = 20) -> Any:
    """What `read` gives once it is good; asked for ever more seldom, so as not to slow it down."""
    deadline = time.monotonic() + seconds
    interval = 0.03
    while True:
        found = read()
        if good(found):
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s; last seen: {found}"
        time.sleep(interval)
        interval = min(interval * 1.3, 0.3)
