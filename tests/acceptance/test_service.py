"""The service around the resources: health, metrics, problem pages, request ids, the document, the log."""

from __future__ import annotations

import json
import re

import pytest

from app.errors import catalogue
from app.main import create_app
from app.settings import Settings
from tests.acceptance.conftest import Gateway
from tests.acceptance.tenant import Tenant, eventually, ok, problem
from tests.conftest import PROJECT


def test_health_and_readiness_need_no_token(gateway: Gateway) -> None:
    with gateway.client() as client:
        assert ok(client.get("/healthz")) == {"status": "ok"}
        assert ok(client.get("/readyz"))["status"] == "ready"


def test_metrics(tenant: Tenant, gateway: Gateway) -> None:
    tenant.rent()
    with gateway.client() as client:
        text = eventually(lambda: client.get("/metrics").text, lambda text: 'method="sms"' in text)
    assert 'rentgate_http_requests_total{method="POST",route="/rentals",status="201"}' in text
    assert 'rentgate_upstream_calls_total{method="create",outcome="succeeded"}' in text
    assert re.search(r"^rentgate_oldest_look_age_seconds \d", text, re.MULTILINE)
    assert re.search(r"^rentgate_database_connections_in_use \d", text, re.MULTILINE)
    assert tenant.id not in text


@pytest.mark.parametrize("code", sorted(catalogue()))
def test_every_error_has_its_page(gateway: Gateway, code: str) -> None:
    with gateway.client() as client:
        page = client.get(f"/problems/{code.replace('_', '-')}")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert f"<code>{code}</code>" in page.text
    assert "What to do" in page.text


def test_an_error_that_is_none_has_no_page(gateway: Gateway) -> None:
    with gateway.client() as client:
        problem(client.get("/problems/<script>"), 404, "not_found")
        assert client.get("/problems").status_code == 200


@pytest.mark.parametrize("request_id", ["abc", "x" * 128, "with space", "{}~!"])
def test_a_request_id_is_taken_over_everywhere(tenant: Tenant, gateway: Gateway, request_id: str) -> None:
    answer = tenant.http.post(
        "/rentals",
        json={"country": "RU", "service": "opt1", "period": {"unit": "week", "count": 1}},
        headers={"X-Request-ID": request_id},
    )
    assert answer.headers["x-request-id"] == request_id
    rows = ok(tenant.http.get("/audit-logs", params={"action": "operation.create"}))["items"]
    assert {row["request_id"] for row in rows} == {request_id}
    lines = eventually(
        lambda: [line for line in gateway.log_lines() if line.get("request_id") == request_id],
        lambda lines: lines,
    )
    line = next(line for line in lines if line["event"] == "request" and line["tenant_id"] == tenant.id)
    assert (line["method"], line["route"], line["status"]) == ("POST", "/rentals", 201)
    assert line["seconds"] > 0


@pytest.mark.parametrize("request_id", [b"", b"x" * 129, "ümlaut".encode()])
def test_a_request_id_that_can_not_be_printed_is_replaced(tenant: Tenant, request_id: bytes) -> None:
    answer = tenant.http.get("/me", headers=[(b"X-Request-ID", request_id)])
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-request-id"])


def test_answers_are_neither_sniffed_nor_stored(tenant: Tenant) -> None:
    for answer in (tenant.http.get("/me"), tenant.http.get("/nothing")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


def test_the_checked_in_document_is_the_one_that_is_served(gateway: Gateway) -> None:
    checked_in = json.loads((PROJECT / "openapi" / "openapi.json").read_text())
    with gateway.client() as client:
        assert ok(client.get("/openapi.json")) == checked_in
        assert client.get("/docs").status_code == 200
    assert create_app(Settings(_env_file=None)).openapi() == checked_in


def test_every_operation_has_an_id_a_summary_and_its_errors() -> None:
    document = json.loads((PROJECT / "openapi" / "openapi.json").read_text())
    ids = set()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            ids.add(operation["operationId"])
            assert operation["summary"]
            assert operation["description"]
            assert operation["tags"]
            if operation.get("security"):
                assert {"401", "403", "422", "503"} <= operation["responses"].keys(), path
    assert {"create_rental", "list_rentals", "get_rental", "list_messages", "restore_rental"} <= ids
    assert "HTTPValidationError" not in json.dumps(document)
    create = document["paths"]["/rentals"]["post"]["parameters"]
    assert {"$ref": "#/components/parameters/IdempotencyKey"} in create


def test_every_reference_of_the_document_leads_somewhere() -> None:
    text = (PROJECT / "openapi" / "openapi.json").read_text()
    document = json.loads(text)
    for kind, name in set(re.findall(r'"#/components/(\w+)/([^"]+)"', text)):
        assert name in document["components"][kind]
