"""Tokens: without a valid one nothing is said; wrong ones are slowed down, right ones never."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, running_gateway
from tests.acceptance.tenant import Tenant, ok, problem
from tests.conftest import PROJECT
from tests.served import ServedSandbox

DOCUMENT = json.loads((PROJECT / "openapi" / "openapi.json").read_text())
SOMETHING = "01890a5d-ac96-774b-bcce-b302099a8057"

PROTECTED = [
    (method.upper(), re.sub(r"\{\w+\}", SOMETHING, path))
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if operation["security"]
]
PUBLIC = {"/healthz", "/readyz", "/metrics", "/problems/{code}"}


def test_only_these_need_no_token() -> None:
    assert {
        path
        for path, operations in DOCUMENT["paths"].items()
        if not all(operation["security"] for operation in operations.values())
    } == PUBLIC


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_without_a_token(gateway: Gateway, method: str, path: str) -> None:
    with gateway.client() as client:
        answer = client.request(method, path, json={} if method in ("POST", "PUT", "PATCH") else None)
        problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_with_a_wrong_token(settings: dict[str, str], tmp_path: Path) -> None:
    with running_gateway(tmp_path / "log", "--no-worker", **settings) as gateway:
        with gateway.client("rg_wrong") as client:
            for count, (method, path) in enumerate(PROTECTED):
                answer = client.request(method, path, json={} if method in ("POST", "PUT", "PATCH") else None)
                problem(answer, *((401, "unauthenticated") if count < 20 else (429, "rate_limited")))


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
            refused = tenant.http.get("/me")
            assert "key" in problem(refused, 429, "rate_limited")["detail"]
            assert refused.headers["RateLimit"].startswith('"key";r=0;t=')
            assert all(admin.get("/me").status_code == 200 for _ in range(10))
        log = (tmp_path / "log").read_text()
        assert "rg_wrong" not in log
        assert tenant.token not in log


def test_a_tenants_limit_is_for_all_its_keys_and_for_no_other_tenant(
    settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    settings |= {"RENTGATE_RATE_LIMIT": "4", "RENTGATE_TENANT_RATE_LIMIT": "6"}
    with running_gateway(tmp_path / "log", "--no-worker", **settings) as gateway:
        with gateway.client(ADMIN_TOKEN) as admin:
            tenant, other = (
                Tenant.create(gateway.client, admin, sandbox, with_account=False) for _ in range(2)
            )
            body = {"name": "second", "scopes": ["catalog:read"]}
            second = ok(admin.post(f"/tenants/{tenant.id}/api-keys", json=body), 201)["token"]
            answers = [tenant.http.get("/me") for _ in range(5)]
            assert [answer.status_code for answer in answers] == [200] * 4 + [429]
            assert re.fullmatch(r'"key";r=3;t=\d+, "tenant";r=5;t=\d+', answers[0].headers["RateLimit"])
            assert answers[0].headers["RateLimit-Policy"] == '"key";q=4;w=60, "tenant";q=6;w=60'
            with gateway.client(second) as client:
                assert [client.get("/me").status_code for _ in range(2)] == [200] * 2
                assert "tenant" in problem(client.get("/me"), 429, "rate_limited")["detail"]
            assert other.http.get("/me").status_code == 200
            assert admin.get("/me", headers={"X-Tenant-ID": tenant.id}).status_code == 200
