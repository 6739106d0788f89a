"""A gateway in front of an upstream that answers verbatim, and a tenant that uses it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, running_gateway
from tests.acceptance.tenant import SCOPES, eventually, ok
from tests.conftest import new_vault_key
from tests.verbatim import Body, Verbatim


@contextmanager
def verbatim_gateway(upstream: Verbatim, database_url: str, log: Path, **changes: str) -> Iterator[Gateway]:
    """A running gateway in front of the upstream, whose log has to be without errors in the end."""
    settings = {
        "RENTGATE_DATABASE_URL": database_url,
        "RENTGATE_VAULT_KEY": new_vault_key(),
        "RENTGATE_ADMIN_TOKEN": ADMIN_TOKEN,
        "RENTGATE_UPSTREAM_URL": upstream.url,
        "RENTGATE_BALANCE_URL": upstream.balance_url,
        "RENTGATE_BALANCE_RATE": "5",
        "RENTGATE_BALANCE_INTERVAL": "0.5",
        **changes,
    }
    with running_gateway(log, **settings) as gateway:
        yield gateway
    assert not [line for line in gateway.log_lines() if line["level"] == "error"]


@contextmanager
def serving(gateway: Gateway, upstream: Verbatim, answers: Mapping[str, Body]) -> Iterator[Caller]:
    """A new tenant, while the upstream answers so."""
    upstream.calls.clear()
    upstream.answers.clear()
    upstream.answers |= answers
    caller = Caller(gateway, upstream)
    try:
        yield caller
    finally:
        caller.close()


class Caller:
    """A tenant of the gateway with one account at an upstream that answers verbatim."""

    def __init__(self, gateway: Gateway, upstream: Verbatim) -> None:
        self.admin = gateway.client(ADMIN_TOKEN)
        self.upstream = upstream
        self.tenant_id = ok(self.admin.post("/tenants", json={"name": "odd"}), 201)["id"]
        made = ok(
            self.admin.post(f"/tenants/{self.tenant_id}/api-keys", json={"name": "all", "scopes": SCOPES}),
            201,
        )
        self.http = gateway.client(made["token"])
        body = {"label": "odd", "api_key": f"odd-{self.tenant_id}"}
        self.key_id = ok(self.http.post(f"/tenants/{self.tenant_id}/upstream-keys", json=body), 201)["id"]

    def close(self) -> None:
        """Have the account looked at no more."""
        self.admin.delete(f"/tenants/{self.tenant_id}/upstream-keys/{self.key_id}?force=true")
        self.http.close()
        self.admin.close()

    @property
    def upstream_key(self) -> dict[str, Any]:
        """The account's key as its tenant reads it."""
        found: dict[str, Any] = ok(self.http.get(f"/tenants/{self.tenant_id}/upstream-keys/{self.key_id}"))
        return found

    @property
    def health(self) -> dict[str, Any]:
        """The health of the account."""
        health: dict[str, Any] = self.upstream_key["health"]
        return health

    def import_again(self) -> None:
        """Have the archive read again."""
        ok(self.http.post("/rentals/import"), 202)

    def rentals(self, **query: str) -> list[dict[str, Any]]:
        """The tenant's rentals, by order."""
        found: list[dict[str, Any]] = ok(self.http.get("/rentals", params=query))["items"]
        return sorted(found, key=lambda rental: str(rental["upstream_order_id"]))

    def until_rentals(self, count: int, **query: str) -> list[dict[str, Any]]:
        """Wait until there are so many."""
        found: list[dict[str, Any]] = eventually(
            lambda: self.rentals(**query), lambda found: len(found) == count
        )
        return found

    def until_health(self, status: str) -> dict[str, Any]:
        """Wait until the health is so."""
        found: dict[str, Any] = eventually(lambda: self.health, lambda health: health["status"] == status)
        return found

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The tenant's events of a type, oldest first."""
        found: list[dict[str, Any]] = ok(self.http.get("/events", params={"types": kind}))["items"]
        return found

    def polls(self, count: int) -> None:
        """Wait for so many further lists of orders."""
        before = len(self.upstream.of("orders"))
        eventually(lambda: len(self.upstream.of("orders")), lambda found: found >= before + count)
