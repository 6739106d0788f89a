"""Tokens: without a valid one nothing is said; wrong ones are slowed down, right ones never."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, running_gateway
from tests.acceptance.tenant import Tenant, ok, problem
from tests.served import ServedSandbox

PROTECTED = [
    ("GET", "/countries"),
    ("GET", "/countries/RU/services"),
    ("POST", "/rentals"),
    ("GET", "/rentals"),
    ("GET", "/rentals/01890a5d-ac96-774b-bcce-b302099a8057"),
    ("GET", "/operations"),
    ("GET", "/audit-logs"),
    ("GET", "/me"),
    ("GET", "/tenants"),
    ("POST", "/tenants"),
    ("GET", "/tenants/01890a5d-ac96-774b-bcce-b302099a8057/api-keys"),
]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_without_a_token(gateway: Gateway, method: str, path: str) -> None:
    with gateway.client() as client:
        answer = client.request(method, path, json={} if method == "POST" else None)
        problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("authorization", ["", "Bearer", "Basic abc", "Token x"])
def test_headers_that_carry_none(gateway: Gateway, authorization: str) -> None:
    with gateway.client() as client:
        problem(client.get("/me", headers={"Authorization": authorization}), 401, "unauthenticated")


def test_the_scheme_is_written_as_one_likes(tenant: Tenant, gateway: Gateway) -> None:
    with gateway.client() as client:
        ok(client.get("/me", headers={"Authorization": f"bEARER {tenant.token}"}))


def test_wrong_tokens_are_slowed_down_and_right_ones_never(
    settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    with running_gateway(
        tmp_path / "log",
        "--no-worker",
        **settings,
        RENTGATE_RATE_LIMIT="5",
    ) as gateway:
        with gateway.client(ADMIN_TOKEN) as admin, gateway.client("rg_wrong") as wrong:
            codes = [wrong.get("/me").json()["code"] for _ in range(25)]
            assert codes == ["unauthenticated"] * 20 + ["rate_limited"] * 5
            assert problem(wrong.get("/me"), 429, "rate_limited")["retry_after"] >= 1
            tenant = Tenant.create(gateway.client, admin, sandbox, with_account=False)
            assert [tenant.http.get("/me").status_code for _ in range(5)] == [200] * 5
            problem(tenant.http.get("/me"), 429, "rate_limited")
            assert all(admin.get("/me").status_code == 200 for _ in range(10))
        log = (tmp_path / "log").read_text()
        assert "rg_wrong" not in log
        assert tenant.token not in log
