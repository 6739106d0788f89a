"""What was bought or closed elsewhere becomes rentals: once, siblings together, to the last page."""

from __future__ import annotations

from decimal import Decimal

from app.sandbox.shop import COUNTRIES
from app.sandbox.world import DAY, Order
from tests.acceptance.conftest import MakeTenant
from tests.acceptance.tenant import Answer, Tenant, eventually, ok, problem


def outside(tenant: Tenant, *services: str, days: int = 7) -> list[Order]:
    """Orders on one number, bought on the website."""
    world = tenant.sandbox.sandbox.world
    number = world.new_number(COUNTRIES["RU"])
    return [world.new_order(tenant.account, number, service, days) for service in services]


def bury(tenant: Tenant, orders: list[Order], days_ago: float) -> None:
    """Orders that ended long ago."""
    for order in orders:
        order.begin -= (days_ago + 7) * DAY
        order.until = order.begin + 7 * DAY
    tenant.sandbox.sandbox.world.settle()


def rentals(tenant: Tenant, **filters: str) -> list[Answer]:
    found: list[Answer] = ok(tenant.http.get("/rentals", params={"limit": "200", **filters}))["items"]
    return found


def ids(rental: Answer) -> set[str]:
    return {order["id"] for order in rental["upstream_orders"]}


def test_orders_of_the_website_become_rentals(tenant: Tenant) -> None:
    orders = outside(tenant, "opt1", "opt29")
    alone = outside(tenant, "opt2")
    found = eventually(lambda: rentals(tenant), lambda items: len(items) == 2)
    by_size = {len(rental["upstream_orders"]): rental for rental in found}
    assert ids(by_size[2]) == {str(order.id) for order in orders}
    assert ids(by_size[1]) == {str(alone[0].id)}
    rental = by_size[2]
    assert (rental["source"], rental["status"], rental["country"]) == ("imported", "active", "RU")
    assert rental["price"] is None
    assert rental["period"] is None
    assert rental["expires_at"]
    assert {service["code"] for service in rental["services"]} == {"opt1", "opt29"}
    assert tenant.events(rental["id"])[0] == "rental.imported"
    assert ok(tenant.http.post(f"/rentals/{rental['id']}/activate"), 202)["number_state"] == "activating"


def test_what_the_gateway_bought_is_never_imported(tenant: Tenant) -> None:
    rental = tenant.rent()
    outside(tenant, "opt1")
    found = eventually(lambda: rentals(tenant), lambda items: len(items) == 2)
    assert [item["source"] for item in found if item["id"] == rental["id"]] == ["gateway"]


def test_the_archive_is_imported_to_its_last_page(make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    tenant.account.balance = Decimal(0)
    archived = [outside(tenant, "opt1")[0] for _ in range(230)]
    bury(tenant, archived, 100)
    siblings = outside(tenant, "opt1", "opt2")
    bury(tenant, siblings, 40)
    again = outside(tenant, "opt1")  # the same number, at another time
    again[0].number = siblings[0].number
    bury(tenant, again, 10)
    started = ok(tenant.http.post("/rentals/import"), 202)
    assert started == {"accounts": 1}

    def all_of_them() -> list[Answer]:
        first = ok(tenant.http.get("/rentals?limit=200"))
        rest = (
            ok(tenant.http.get(f"/rentals?limit=200&cursor={first['next_cursor']}"))
            if first["next_cursor"]
            else {}
        )
        return [*first["items"], *rest.get("items", [])]

    def all_ended(items: list[Answer]) -> bool:
        # A poll may have seen some of them before they were buried; what ended is read from the archive.
        return len(items) >= 232 and {rental["status"] for rental in items} == {"expired"}

    found = eventually(all_of_them, all_ended, seconds=60)
    assert len(found) == 232
    assert {order_id for rental in found for order_id in ids(rental)} == {
        str(order.id) for order in (*archived, *siblings, *again)
    }
    assert [len(rental["upstream_orders"]) for rental in found].count(2) == 1
    ok(tenant.http.post("/rentals/import"), 202)
    assert len(all_of_them()) == 232


def test_an_imported_rental_can_be_restored(tenant: Tenant) -> None:
    order = outside(tenant, "opt1")[0]
    bury(tenant, [order], 3)
    ok(tenant.http.post("/rentals/import"), 202)
    (rental,) = eventually(lambda: rentals(tenant, status="expired"), lambda items: len(items) == 1)
    restored = ok(tenant.http.post(f"/rentals/{rental['id']}/restore"))
    assert (restored["status"], restored["source"]) == ("active", "imported")
    assert len(rentals(tenant)) == 1


def test_an_order_that_may_be_an_open_purchases_is_left_for_it(tenant: Tenant) -> None:
    tenant.rent()
    tenant.fault("create", "drop", "after")
    pending = ok(tenant.buy(service="opt2"), 202)
    tenant.until(pending["id"], status="active")
    assert {rental["source"] for rental in rentals(tenant)} == {"gateway"}


def test_importing_needs_an_account(make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    tenant.admin.delete(f"/tenants/{tenant.id}/upstream-keys/{tenant.upstream_key_id}")
    problem(tenant.http.post("/rentals/import"), 409, "no_upstream_key")


def test_the_imports_own_path_is_no_rental(tenant: Tenant) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        answer = tenant.http.request(method, "/rentals/import")
        problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == "POST"
