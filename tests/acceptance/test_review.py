"""Operations in review: shown with their candidates, settled by a person over HTTP and from the shell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.acceptance.conftest import ADMIN_TOKEN, QUICK, MakeTenant, running_gateway
from tests.acceptance.tenant import Tenant, eventually, ok, problem
from tests.processes import done
from tests.served import ServedSandbox


def resolve(tenant: Tenant, operation_id: str, **body: Any) -> Any:
    at = f"/operations/{operation_id}/resolve"
    return tenant.admin.post(at, json=body, headers={"X-Tenant-ID": tenant.id})


def test_a_review_shows_its_candidates_and_is_settled_by_choosing_one(tenant: Tenant) -> None:
    rental = tenant.in_review()
    (operation,) = tenant.operations(state="review")
    assert operation["id"] == rental["pending_operation"]
    candidates = operation["candidates"]
    assert len(candidates) == 2
    assert {candidate["service"] for candidate in candidates} == {"opt44"}
    problem(resolve(tenant, operation["id"], outcome="succeeded"), 422, "invalid_request")
    wrong = resolve(tenant, operation["id"], outcome="succeeded", upstream_order_id="1")
    assert problem(wrong, 422, "invalid_request")["errors"][0]["location"] == "body.upstream_order_id"
    spending = ok(tenant.http.get("/me"))["spending"]
    assert spending["held"]["amount"] != "0.00"
    chosen = candidates[0]["upstream_order_id"]
    settled = ok(resolve(tenant, operation["id"], outcome="succeeded", upstream_order_id=chosen))
    assert settled["state"] == "succeeded"
    found = tenant.rental(rental["id"])
    assert (found["status"], found["upstream_order_id"]) == ("active", chosen)
    assert found["pending_operation"] is None
    assert tenant.events(rental["id"])[-1] == "rental.recovered"
    (row,) = ok(tenant.http.get("/audit-logs?action=operation.resolve"))["items"]
    assert (row["actor"], row["target"], row["outcome"]) == ("admin", operation["id"], "succeeded")
    again = resolve(tenant, operation["id"], outcome="failed")
    assert "not in review" in problem(again, 422, "invalid_request")["detail"]


def test_a_review_that_proved_to_be_nothing(tenant: Tenant) -> None:
    rental = tenant.in_review()
    operation_id = rental["pending_operation"]
    wrong = resolve(tenant, operation_id, outcome="failed", upstream_order_id="1")
    problem(wrong, 422, "invalid_request")
    assert ok(resolve(tenant, operation_id, outcome="failed"))["error"]["code"] == "purchase_not_made"
    assert tenant.rental(rental["id"])["status"] == "failed"
    assert ok(tenant.http.get("/me"))["spending"]["held"]["amount"] == "0.00"


def test_only_the_administrator_resolves(make_tenant: MakeTenant) -> None:
    tenant, other = make_tenant(), make_tenant()
    rental = tenant.in_review()
    at = f"/operations/{rental['pending_operation']}/resolve"
    problem(tenant.http.post(at, json={"outcome": "failed"}), 403, "insufficient_scope")
    named = {"X-Tenant-ID": other.id}
    problem(tenant.admin.post(at, json={"outcome": "failed"}, headers=named), 404, "not_found")
    problem(tenant.admin.post(at, json={"outcome": "failed"}), 422, "invalid_request")
    assert tenant.rental(rental["id"])["status"] == "review"


def test_reviews_from_the_shell_and_in_the_metrics(
    settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    def rentgate(*arguments: str) -> str:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RENTGATE_")}
        ended = done(("operations", *arguments), {**inherited, **QUICK, **settings}, tmp_path)
        return ended.stdout + ended.stderr

    assert "Nothing is in review" in rentgate("review")
    with running_gateway(tmp_path / "log", **settings) as gateway:
        with gateway.client(ADMIN_TOKEN) as admin:
            tenant = Tenant.create(gateway.client, admin, sandbox)
            rental = tenant.in_review()
            operation_id = rental["pending_operation"]
            shown = rentgate("review")
            assert operation_id in shown
            assert shown.count("could be:") == 2
            assert operation_id in rentgate("list", "--state", "review", "--tenant", tenant.id)
            eventually(
                lambda: admin.get("/metrics").text,
                lambda text: 'rentgate_operations_open{state="review"} 1.0' in text,
            )
            assert "Name the order" in rentgate("resolve", tenant.id, operation_id, "succeeded")
            order = tenant.operations(state="review")[0]["candidates"][1]["upstream_order_id"]
            settled = rentgate("resolve", tenant.id, operation_id, "succeeded", "--order", order)
            assert "is succeeded" in settled
            assert tenant.rental(rental["id"])["upstream_order_id"] == order
            tenant.close()


def test_an_account_is_not_deleted_from_under_an_open_operation(tenant: Tenant) -> None:
    rental = tenant.expired()
    tenant.fault("restore_user", "drop", "before")
    tenant.fault("orders", "status_500", times=100)
    pending = ok(tenant.http.post(f"/rentals/{rental['id']}/restore"), 202)
    at = f"/tenants/{tenant.id}/upstream-keys/{tenant.upstream_key_id}"
    refused = problem(tenant.http.delete(at), 409, "upstream_key_has_rentals")
    assert "1 open operations" in refused["detail"]
    assert tenant.http.delete(f"{at}?force=true").status_code == 204
    operation = tenant.until_operation(pending["pending_operation"], state="review")
    assert operation["candidates"] is None
    ok(resolve(tenant, operation["id"], outcome="failed"))
    spending = ok(tenant.http.get("/me"))["spending"]
    assert spending["held"]["amount"] == "0.00"
    assert tenant.rental(rental["id"])["pending_operation"] is None
