"""`/countries`: cached, shared, told with its age, and honest about what can't be had."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.acceptance.conftest import ADMIN_TOKEN, running_gateway
from tests.acceptance.tenant import Tenant, eventually, ok, problem
from tests.served import ServedSandbox


def test_countries_are_a_whole_list(tenant: Tenant) -> None:
    answer = tenant.http.get("/countries")
    body = ok(answer)
    assert body["next_cursor"] is None
    assert {country["code"] for country in body["items"]} >= {"GB", "RU", "US", "US3"}
    fields = {"code", "name", "upstream_code", "switch_type", "prolongable"}
    assert all(set(item) == fields for item in body["items"])
    assert answer.headers["age"].isdigit()


@pytest.mark.parametrize(
    ("unit", "count", "per_day", "total"),
    [("week", 1, "0.60", "4.20"), ("month", 1, "0.51", "15.30"), ("month", 3, "0.45", "40.50")],
)
def test_offers_are_priced_for_the_very_period(
    tenant: Tenant, unit: str, count: int, per_day: str, total: str
) -> None:
    query = {"unit": unit, "count": str(count)}
    offers = ok(tenant.http.get("/countries/ru/services", params=query))["items"]
    offer = next(offer for offer in offers if offer["service"] == "opt1")
    assert offer["price_per_day"]["amount"] == per_day
    assert offer["total_price"]["amount"] == total
    assert offer["available"] > 0
    assert offer["operators"] is None


def test_what_can_not_be_offered(tenant: Tenant) -> None:
    problem(tenant.http.get("/countries/XX/services"), 404, "country_unknown")
    problem(tenant.http.get("/countries/%00%F0%9F%98%80/services"), 404, "country_unknown")
    problem(tenant.http.get("/countries/RU/services?count=13"), 422, "period_invalid")
    body = problem(tenant.http.get("/countries/RU/services?unit=day"), 422, "invalid_request")
    assert body["errors"][0]["location"] == "query.unit"
    body = problem(tenant.http.get("/countries/RU/services?count=x"), 422, "invalid_request")
    assert body["errors"][0]["location"] == "query.count"


def test_misses_at_once_cost_one_call_and_old_answers_outlive_a_broken_upstream(
    settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    with (
        running_gateway(
            tmp_path / "log",
            "--no-worker",
            **settings,
            RENTGATE_COUNTRIES_TTL="1",
            RENTGATE_UPSTREAM_TIMEOUT="5",
        ) as gateway,
        gateway.client(ADMIN_TOKEN) as admin,
    ):
        tenant = Tenant.create(gateway.client, admin, sandbox, with_account=False)
        before = len(sandbox.sandbox.calls)
        tenant.fault_keyless("getcountries", "late", seconds=0.5)
        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(lambda _: tenant.http.get("/countries"), range(10)))
        assert {answer.status_code for answer in answers} == {200}
        calls = [call["method"] for call in sandbox.sandbox.calls[before:]]
        assert calls.count("getcountries") == 1

        tenant.fault_keyless("getcountries", "status_500", times=100)
        old = eventually(
            lambda: tenant.http.get("/countries"), lambda answer: int(answer.headers["age"]) >= 2
        )
        assert ok(old) == ok(answers[0])
        tenant.clear_faults()
        eventually(lambda: tenant.http.get("/countries"), lambda answer: int(answer.headers["age"]) < 2)
        tenant.close()


BROKEN = [
    ("status_500", 503, "upstream_unavailable"),
    ("proxy_403", 503, "upstream_unavailable"),
    ("drop", 503, "upstream_unavailable"),
    ("html", 502, "upstream_bad_response"),
    ("cut_json", 502, "upstream_bad_response"),
    ("empty", 502, "upstream_bad_response"),
    ("rate_limit", 503, "upstream_busy"),
    ("refuse", 502, "upstream_error"),
    ("hang", 504, "upstream_timeout"),
]


@pytest.mark.parametrize("weeks", range(2, 2 + len(BROKEN)))
def test_a_broken_upstream_is_told_as_what_it_is(tenant: Tenant, weeks: int) -> None:
    # A period that nobody asked for before, so that no old answer is at hand.
    kind, status, code = BROKEN[weeks - 2]
    path = f"/countries/ID/services?count={weeks}"
    tenant.http.get("/countries")
    tenant.fault_keyless("getdata", kind, seconds=20)
    body = problem(tenant.http.get(path), status, code)
    if status == 503:
        assert body["retry_after"] >= 1
    ok(tenant.http.get(path))
