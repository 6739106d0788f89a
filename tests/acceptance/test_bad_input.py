"""Bad input is told what is wrong with it, field by field, and never meets a 500."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.acceptance.tenant import PURCHASE, Tenant, ok, problem

JSON_TYPE = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("change", "location"),
    [
        ({"surprise": 1}, "body.surprise"),
        ({"period": {"unit": "week", "count": 1, "extra": 1}}, "body.period.extra"),
        ({"country": None}, "body.country"),
        ({"country": "R\0U"}, "body.country"),
        ({"country": "x" * 65}, "body.country"),
        ({"service": ""}, "body.service"),
        ({"service": ["opt1"]}, "body.service"),
        ({"services": ["opt1"]}, "body"),
        ({"service": None}, "body"),
        ({"service": None, "services": []}, "body.services"),
        ({"service": None, "services": ["opt1", "opt1"]}, "body"),
        ({"period": "week"}, "body.period"),
        ({"period": {"unit": "day", "count": 7}}, "body.period.unit"),
        ({"period": {"unit": "week", "count": 1.5}}, "body.period.count"),
        ({"period": {"unit": "week", "count": "1"}}, "body.period.count"),
        ({"period": {"unit": "week"}}, "body.period.count"),
        ({"activate": "yes"}, "body.activate"),
        ({"max_price": 5}, "body.max_price"),
        ({"max_price": "5,00"}, "body.max_price"),
        ({"max_price": "-5"}, "body.max_price"),
        ({"max_price": "NaN"}, "body.max_price"),
        ({"max_price": "1" * 400}, "body.max_price"),
        ({"upstream_key_id": "x"}, "body.upstream_key_id"),
        ({"operator": "\x07"}, "body.operator"),
        ({"metadata": {"a": 1}}, "body.metadata.a"),
        ({"metadata": {"a": "b\0c"}}, "body.metadata.a"),
        ({"metadata": {"": "b"}}, "body.metadata"),
        ({"metadata": {str(n): "x" for n in range(51)}}, "body.metadata"),
    ],
)
def test_wrong_fields_are_named(tenant: Tenant, change: dict[str, Any], location: str) -> None:
    body = problem(tenant.buy(**change), 422, "invalid_request")
    assert any(error["location"].startswith(location) for error in body["errors"]), body["errors"]
    assert tenant.charged == []


@pytest.mark.parametrize(
    "content",
    [b"{", b"", b"null", b"nothing", b"\xff\xfe", b'{"country": }', b"[" * 30_000, b'{"a": NaN', b"1" * 5000],
)
def test_broken_bodies(tenant: Tenant, content: bytes) -> None:
    answer = tenant.http.post("/rentals", content=content, headers=JSON_TYPE)
    assert answer.status_code in (400, 422)
    problem(answer, answer.status_code, answer.json()["code"])


def test_what_is_not_json_is_malformed(tenant: Tenant) -> None:
    for content in (b"{", b"[" * 30_000, b"nothing", b'{"count": ' + b"9" * 10_000 + b"}"):
        problem(tenant.http.post("/rentals", content=content, headers=JSON_TYPE), 400, "malformed_request")


def test_lone_surrogates(tenant: Tenant) -> None:
    content = json.dumps({**PURCHASE, "metadata": {"a": "\ud800"}}).encode()
    body = problem(tenant.http.post("/rentals", content=content, headers=JSON_TYPE), 422, "invalid_request")
    assert body["errors"][0]["location"].startswith("body.metadata.a")
    unknown = json.dumps({**PURCHASE, "\ud800\0": 1}).encode()
    for headers in (JSON_TYPE, {**JSON_TYPE, "Idempotency-Key": "u"}):
        problem(tenant.http.post("/rentals", content=unknown, headers=headers), 422, "invalid_request")
    strange_path = tenant.http.post("/rentals/%00%23%F0/activate", headers={"Idempotency-Key": "p"})
    problem(strange_path, 422, "invalid_request")
    with_key = tenant.http.post("/rentals", content=content, headers={**JSON_TYPE, "Idempotency-Key": "s"})
    problem(with_key, 422, "invalid_request")


def test_large_bodies(tenant: Tenant) -> None:
    problem(tenant.http.post("/rentals", content=b" " * 65_537, headers=JSON_TYPE), 413, "request_too_large")
    chunks = (b" " * 8192 for _ in range(10))
    problem(tenant.http.post("/rentals", content=chunks, headers=JSON_TYPE), 413, "request_too_large")
    padded = json.dumps(PURCHASE).encode().ljust(65_536)
    ok(tenant.http.post("/rentals", content=padded, headers=JSON_TYPE), 201)


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "", "a/b;charset=x"]
)
def test_other_media_types(tenant: Tenant, media_type: str) -> None:
    content = json.dumps(PURCHASE).encode()
    answer = tenant.http.post("/rentals", content=content, headers={"Content-Type": media_type})
    problem(answer, 415, "unsupported_media_type")


def test_a_charset_is_fine(tenant: Tenant) -> None:
    content = json.dumps(PURCHASE).encode()
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    ok(tenant.http.post("/rentals", content=content, headers=headers), 201)


def test_paths_and_methods_that_are_none(tenant: Tenant) -> None:
    problem(tenant.http.get("/nothing/here"), 404, "not_found")
    problem(tenant.http.get("/rentals/"), 404, "not_found")
    answer = tenant.http.put("/rentals", json={})
    problem(answer, 405, "method_not_allowed")
    assert {"GET", "POST"} <= {method.strip() for method in answer.headers["allow"].split(",")}


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/rentals/x", "path.rental_id"),
        ("/rentals/%00", "path.rental_id"),
        ("/rentals/" + "9" * 2000, "path.rental_id"),
        ("/operations/x", "path.operation_id"),
        ("/rentals?limit=0", "query.limit"),
        ("/rentals?limit=201", "query.limit"),
        ("/rentals?limit=" + "9" * 5000, "query.limit"),
        ("/rentals?limit=x", "query.limit"),
        ("/rentals?cursor=x", "query.cursor"),
        ("/rentals?cursor=%00", "query.cursor"),
        ("/rentals?cursor=" + "x" * 500, "query.cursor"),
        ("/rentals?status=gone", "query.status"),
        ("/rentals?country=%00", "query.country"),
        ("/rentals?service=a%00", "query.service"),
        ("/rentals?phone_number=abc", "query.phone_number"),
        ("/rentals?upstream_order_id=%00", "query.upstream_order_id"),
        ("/rentals?created_after=yesterday", "query.created_after"),
        ("/rentals?created_after=2026-01-01T00:00:00", "query.created_after"),
        ("/rentals?created_before=0001-01-01T00:00:00%2B14:00", "query.created_before"),
        ("/operations?rental_id=x", "query.rental_id"),
        ("/operations?kind=steal", "query.kind"),
        ("/audit-logs?actor=%00", "query.actor"),
        ("/audit-logs?cursor=!!", "query.cursor"),
        ("/countries/RU/services?count=1.5", "query.count"),
    ],
)
def test_wrong_paths_and_queries_are_named(tenant: Tenant, path: str, location: str) -> None:
    body = problem(tenant.http.get(path), 422, "invalid_request")
    assert body["errors"][0]["location"] == location


def test_wrong_query_of_messages(tenant: Tenant) -> None:
    rental = tenant.rent()
    for query, name in (
        ("scope=x", "scope"),
        ("order=x", "order"),
        ("refresh=x", "refresh"),
        ("cursor=x", "cursor"),
    ):
        body = problem(tenant.http.get(f"/rentals/{rental['id']}/sms?{query}"), 422, "invalid_request")
        assert body["errors"][0]["location"] == f"query.{name}"


@pytest.mark.parametrize("name", ["", " ", "x" * 201, "a\0b", "a\nb", "\u202e", 5, None])
def test_names(admin: httpx.Client, name: object) -> None:
    body = problem(admin.post("/tenants", json={"name": name}), 422, "invalid_request")
    assert body["errors"][0]["location"] == "body.name"


@pytest.mark.parametrize(
    "limit", ["5", 5, {"amount": 5}, {"amount": "x"}, {"amount": "5", "currency": "EUR"}, {"currency": "USD"}]
)
def test_spend_limits(admin: httpx.Client, limit: object) -> None:
    body = problem(admin.post("/tenants", json={"name": "x", "spend_limit": limit}), 422, "invalid_request")
    assert body["errors"][0]["location"].startswith("body.spend_limit")


@pytest.mark.parametrize("api_key", ["", "with space", "tab\t", "ключ", "x" * 257, None])
def test_upstream_keys_that_are_none(tenant: Tenant, api_key: object) -> None:
    body = problem(
        tenant.http.post(f"/tenants/{tenant.id}/upstream-keys", json={"label": "x", "api_key": api_key}),
        422,
        "invalid_request",
    )
    assert body["errors"][0]["location"] == "body.api_key"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    field=st.sampled_from(["country", "service", "services", "period", "max_price", "metadata", "operator"]),
    value=JSON,
)
def test_anything_in_a_field_is_an_answer(tenant: Tenant, field: str, value: Any) -> None:
    answer = tenant.buy(**{field: value, "max_price": "0"} if field != "max_price" else {field: value})
    assert answer.status_code < 500, answer.text
