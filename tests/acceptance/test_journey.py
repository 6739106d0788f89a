"""The main job from end to end: rent, activate, read SMS, expire, restore; with history, ledger and audit."""

from __future__ import annotations

import re
from datetime import datetime
from functools import partial

from app.sandbox.options import Shape
from tests.acceptance.conftest import MakeTenant
from tests.acceptance.tenant import Tenant, eventually, ok

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

FIELDS = {
    "id",
    "status",
    "number_state",
    "phone_number",
    "country",
    "services",
    "period",
    "created_at",
    "expires_at",
    "prolongation",
    "last_online_at",
    "has_new_sms",
    "restorable",
    "price",
    "source",
    "upstream_orders",
    "upstream_order_id",
    "upstream_key_id",
    "pending_operation",
    "auto_prolong",
    "metadata",
    "synced_at",
}


def test_the_whole_journey(tenant: Tenant) -> None:
    countries = ok(tenant.http.get("/countries"))["items"]
    (britain,) = [country for country in countries if country["code"] == "GB"]
    assert (britain["name"], britain["upstream_code"]) == ("United Kingdom", "UK")
    offers = ok(tenant.http.get("/countries/UK/services", params={"unit": "week", "count": 1}))["items"]
    offer = next(offer for offer in offers if offer["service"] == "opt20")
    assert offer["total_price"] == {"amount": "11.55", "currency": "USD"}

    answer = tenant.buy(
        country="GB", service="opt20", activate=True, max_price="11.55", metadata={"order": "42"}
    )
    rental = ok(answer, 201)
    assert set(rental) == FIELDS
    assert UUID7.fullmatch(rental["id"])
    assert answer.headers["location"] == f"/rentals/{rental['id']}"
    assert rental["status"] == "active"
    assert rental["number_state"] == "activating"
    assert re.fullmatch(r"\+44\d{10}", rental["phone_number"])
    assert rental["services"] == [{"code": "opt20", "name": "WhatsApp"}]
    assert rental["price"] == {"amount": "11.55", "currency": "USD"}
    assert rental["metadata"] == {"order": "42"}
    assert rental["period"] == {"unit": "week", "count": 1}
    assert (rental["source"], rental["auto_prolong"]) == ("gateway", None)
    assert rental["upstream_key_id"] == tenant.upstream_key_id
    assert rental["upstream_orders"][0]["id"] == rental["upstream_order_id"]

    tenant.until(rental["id"], number_state="active")
    messages = eventually(partial(tenant.messages, rental["id"]), lambda feed: feed["items"])
    (message,) = messages["items"]
    assert message["sender"] == "WhatsApp"
    assert message["scope"] == "rented"
    assert message["rental_id"] == rental["id"]
    assert messages["has_more"] is False

    tenant.age(8)
    tenant.until(rental["id"], status="expired")
    quote = ok(tenant.http.get(f"/rentals/{rental['id']}/restore-quote"))
    assert quote["upstream_order_id"] == rental["upstream_order_id"]
    assert quote["phone_number"] == rental["phone_number"]
    assert (quote["country"], quote["service"], quote["prolonged_days"]) == ("GB", "opt20", 30)
    restored = ok(
        tenant.http.post(f"/rentals/{rental['id']}/restore", json={"max_price": quote["price"]["amount"]})
    )
    assert restored["status"] == "active"
    assert restored["id"] == rental["id"]
    (order,) = tenant.orders
    assert int(datetime.fromisoformat(restored["expires_at"]).timestamp()) == int(order.until)
    assert [m["id"] for m in ok(tenant.http.get(f"/rentals/{rental['id']}/sms"))["items"]] == [message["id"]]

    history = tenant.events(rental["id"])
    assert history.count("sms.received") == 1
    assert [event for event in history if event not in ("rental.deactivated", "sms.received")] == [
        "rental.created",
        "rental.activating",
        "rental.activated",
        "rental.expired",
        "rental.restored",
    ]
    assert tenant.charged == ["create", "restore_user"]
    assert [(o["kind"], o["state"]) for o in reversed(tenant.operations())] == [
        ("create", "succeeded"),
        ("activate", "succeeded"),
        ("restore", "succeeded"),
    ]
    actions = {log["action"] for log in ok(tenant.http.get("/audit-logs?limit=200"))["items"]}
    assert {"operation.create", "operation.activate", "operation.restore", "upstream.create"} <= actions
    spending = ok(tenant.http.get("/me"))["spending"]
    spent = 11.55 + float(quote["price"]["amount"])
    assert abs(float(spending["spent"]["amount"]) - spent) < 0.005
    assert spending["held"]["amount"] == "0.00"


def test_several_services_share_one_number(tenant: Tenant) -> None:
    rental = ok(
        tenant.http.post(
            "/rentals",
            json={"country": "RU", "services": ["opt1", "opt2"], "period": {"unit": "month", "count": 1}},
        ),
        201,
    )
    assert tenant.charged == ["create_multi"]
    both = eventually(lambda: tenant.rental(rental["id"]), lambda found: len(found["upstream_orders"]) == 2)
    assert {order["service"] for order in both["upstream_orders"]} == {"opt1", "opt2"}
    for order in both["upstream_orders"]:
        found = ok(tenant.http.get("/rentals", params={"upstream_order_id": order["id"]}))["items"]
        assert [item["id"] for item in found] == [rental["id"]]


def test_the_journey_in_all_forms_that_were_seen(make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    tenant.sandbox.sandbox.shape = Shape.SEEN
    for _ in range(3):
        rental = tenant.rent(activate=True)
        assert re.fullmatch(r"\+7\d{10}", rental["phone_number"])
        tenant.until(rental["id"], number_state="active")
        eventually(partial(tenant.messages, rental["id"]), lambda feed: feed["items"])
    ids = {item["upstream_order_id"] for item in ok(tenant.http.get("/rentals"))["items"]}
    assert ids == {str(order.id) for order in tenant.orders}
