"""`/services`, a service's countries, stock and restrictions, against an upstream that answers verbatim."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, running_gateway
from tests.acceptance.tenant import Answer, ok, problem
from tests.conftest import MakeDatabase, new_vault_key
from tests.verbatim import Verbatim

COUNTRIES = [
    {
        "name": "Canada ",
        "code": "CA",
        "url_country_name": "canada",
        "rent_switch_type": "FAST",
        "rent_avail_prolong": "1",
    },
    {
        "name": "United Kingdom",
        "code": "UK",
        "url_country_name": "uk",
        "rent_switch_type": "",
        "rent_avail_prolong": "0",
    },
    {"name": "Kazakhstan", "code": "KZ", "url_country_name": "kz", "rent_switch_type": "SLOW"},
]

SERVICES = [
    {"name": name, "service": code, "priceForDay": "0.5", "img": "x.png", "DAYP": "1", "PROC": "5"}
    for code, name in [("opt1", "Google"), ("opt20", "WhatsApp"), ("opt83", "PayPal")]
]

AT_ONCE = "0.000001"
"""Seconds after which an answer is so old that a new one is waited for. Only if there is none it is given."""


def service_country(country: str, price: str, amount: Any = 7) -> Answer:
    """A row of `get_country_by_service`, with the types of the provider's client."""
    return {
        "service_name": "WhatsApp",
        "price": price,
        "procent_days": "10",
        "procent": "5",
        "day_step": "1",
        "country": country,
        "phoneAmount": amount,
    }


@pytest.fixture(scope="module")
def served_upstream() -> Iterator[Verbatim]:
    """The upstream of this module's tests."""
    with Verbatim() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def scripted_gateway(
    make_database: MakeDatabase,
    served_upstream: Verbatim,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """A gateway before that upstream, which keeps next to nothing of the catalog."""
    log = tmp_path_factory.mktemp("scripted") / "log.jsonl"
    settings = {
        "RENTGATE_DATABASE_URL": make_database().app,
        "RENTGATE_VAULT_KEY": new_vault_key(),
        "RENTGATE_ADMIN_TOKEN": ADMIN_TOKEN,
        "RENTGATE_UPSTREAM_URL": served_upstream.url,
        "RENTGATE_COUNTRIES_TTL": AT_ONCE,
        "RENTGATE_OFFERS_TTL": AT_ONCE,
    }
    with running_gateway(log, "--no-worker", **settings) as gateway:
        yield gateway
    assert not [line for line in gateway.log_lines() if line["level"] == "error"]


@pytest.fixture
def upstream(served_upstream: Verbatim) -> Verbatim:
    """The upstream, which knows the catalog's lists and nothing else yet."""
    served_upstream.calls.clear()
    served_upstream.answers = {
        "getcountries": {"status": 1, "data": COUNTRIES},
        "get_default_services": {"status": 1, "data": SERVICES},
    }
    return served_upstream


@pytest.fixture(scope="module")
def reader(scripted_gateway: Gateway) -> Iterator[httpx.Client]:
    """Who may read the catalog, and nothing else."""
    with client_with(scripted_gateway, "catalog:read") as client:
        yield client


def client_with(gateway: Gateway, *scopes: str) -> httpx.Client:
    """A client of a new tenant, with a key of these scopes."""
    with gateway.client(ADMIN_TOKEN) as admin:
        tenant_id = ok(admin.post("/tenants", json={"name": "catalog"}), 201)["id"]
        body = {"name": "key", "scopes": list(scopes)}
        key = ok(admin.post(f"/tenants/{tenant_id}/api-keys", json=body), 201)
    return gateway.client(key["token"])


def parameters_of(upstream: Verbatim, method: str) -> list[dict[str, str]]:
    """What each call of a method asked for."""
    return [call.parameters for call in upstream.of(method)]


def items(answer: httpx.Response) -> list[Answer]:
    """The items of a list that has to be whole."""
    body = ok(answer)
    assert body["next_cursor"] is None
    assert answer.headers["age"].isdigit()
    found: list[Answer] = body["items"]
    return found


def usd(amount: str) -> Answer:
    return {"amount": amount, "currency": "USD"}


PATHS = [
    "/countries",
    "/countries/CA/services",
    "/services",
    "/services/opt20/countries",
    "/countries/CA/stock",
    "/countries/CA/stock?services=opt1,opt20",
    "/countries/CA/services/opt83/restrictions",
]


@pytest.mark.parametrize("path", PATHS)
def test_the_catalog_is_for_who_may_read_it(path: str, scripted_gateway: Gateway) -> None:
    with client_with(scripted_gateway, "rentals:read") as client:
        problem(client.get(path), 403, "insufficient_scope")
    with scripted_gateway.client() as nobody:
        problem(nobody.get(path), 401, "unauthenticated")


def test_countries_tell_whether_rentals_can_be_prolonged(upstream: Verbatim, reader: httpx.Client) -> None:
    found = items(reader.get("/countries"))
    assert found[0] == {
        "code": "CA",
        "name": "Canada",
        "upstream_code": "CA",
        "switch_type": "FAST",
        "prolongable": True,
    }
    assert [(c["code"], c["switch_type"], c["prolongable"]) for c in found[1:]] == [
        ("GB", None, False),
        ("KZ", "SLOW", None),
    ]
    assert parameters_of(upstream, "getcountries")


def test_offers_tell_operators_and_counts_that_can_not_be_read(
    upstream: Verbatim, reader: httpx.Client
) -> None:
    rows = [
        {"name": "Google", "service": "opt1", "price_day": 0.5, "count": {"Rogers": 3, "Bell": 4}},
        {"name": "WhatsApp", "service": "opt20", "price_day": 0.6, "count": "many"},
        {"name": "odd", "service": "opt5", "price_day": "free", "count": 3},
        {"service": "opt83", "price_day": 0.7, "count": 0, "img": None, "procent": 5, "day_step": 1.5},
    ]
    upstream.answers["getdata"] = {"status": 1, "data": {"services": rows, "totalAmount": 7}}
    found = items(reader.get("/countries/ca/services"))
    assert [(o["service"], o["name"], o["available"], o["operators"]) for o in found] == [
        ("opt1", "Google", 7, {"Rogers": 3, "Bell": 4}),
        ("opt20", "WhatsApp", None, None),
        ("opt83", "opt83", 0, None),
    ]


def test_services_with_their_usual_price(upstream: Verbatim, reader: httpx.Client) -> None:
    odd = [{}, None, {"name": "no code", "priceForDay": "1"}, {"service": "opt9", "priceForDay": "?"}]
    upstream.answers["get_default_services"] = {"status": 1, "data": [SERVICES[0], *odd, SERVICES[0]]}
    assert items(reader.get("/services")) == [
        {"service": "opt1", "name": "Google", "price_per_day": usd("0.50")},
        {"service": "opt9", "name": "opt9", "price_per_day": None},
    ]
    assert parameters_of(upstream, "get_default_services") == [{}]


def test_where_a_service_can_be_rented_the_cheapest_first(upstream: Verbatim, reader: httpx.Client) -> None:
    upstream.answers["get_country_by_service"] = {
        "status": 1,
        "data": {
            "CA": service_country("CA", "1.5"),
            "UK": service_country("UK", "0.75", "12"),
            "9": service_country("Kazakhstan", "0.9", -1),
            "ZZ": service_country("ZZ", "1.10", 0),
            "5": "odd",
            "7": {"price": "0.1"},
        },
    }
    answer = reader.get("/services/opt20/countries", params={"unit": "month", "count": 2})
    assert items(answer) == [
        {
            "country": "GB",
            "upstream_code": "UK",
            "name": "United Kingdom",
            "price_per_day": usd("0.75"),
            "available": 12,
        },
        {
            "country": "KZ",
            "upstream_code": "KZ",
            "name": "Kazakhstan",
            "price_per_day": usd("0.90"),
            "available": None,
        },
        {
            "country": "ZZ",
            "upstream_code": "ZZ",
            "name": None,
            "price_per_day": usd("1.10"),
            "available": 0,
        },
        {
            "country": "CA",
            "upstream_code": "CA",
            "name": "Canada",
            "price_per_day": usd("1.50"),
            "available": 7,
        },
    ]
    asked = {"service": "opt20", "dtype": "month", "dcount": "2"}
    assert parameters_of(upstream, "get_country_by_service") == [asked]


def test_without_a_list_of_countries_there_are_no_names(
    upstream: Verbatim, scripted_gateway: Gateway, reader: httpx.Client
) -> None:
    items(reader.get("/countries"))
    upstream.answers["getcountries"] = {"status": 1, "data": [{"code": "KZ"}]}
    upstream.answers["get_country_by_service"] = {
        "status": 1,
        "data": {"KZ": service_country("KZ", "1")},
    }
    (found,) = items(reader.get("/services/opt1/countries"))
    assert (found["country"], found["name"]) == ("KZ", None)
    (shown,) = items(reader.get("/countries"))
    assert shown["name"] == "KZ"


@pytest.mark.parametrize(
    "body",
    [
        {"status": 1, "data": {}},
        {"status": 1, "data": []},
        {"status": 1},
        {"status": 0, "msg": "No data found"},
        {"status": 0, "msg": "No numbers available"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/services/opt999/countries", "/countries/KZ/stock"])
def test_an_empty_answer_is_an_empty_list(
    upstream: Verbatim, reader: httpx.Client, path: str, body: Answer
) -> None:
    for method in ("get_country_by_service", "getCountWithProviders", "getcount"):
        upstream.answers[method] = body
    assert items(reader.get(path)) == []


def test_stock_by_service_and_operator(upstream: Verbatim, reader: httpx.Client) -> None:
    upstream.answers["getCountWithProviders"] = {
        "status": 1,
        "data": {
            "opt1": {"Amount": {"Rogers": 3, "Bell": 4}, "Total": 7},
            "opt20": {"Amount": [], "Total": 0},
            "opt83": {"Amount": {"Rogers": "?"}, "Total": "?"},
            "opt5": "?",
            "7": {"Amount": {"Rogers": 1}, "Total": 1},
        },
    }
    answer = reader.get("/countries/uk/stock", params={"unit": "week", "count": 3})
    assert items(answer) == [
        {"service": "opt1", "available": 7, "operators": {"Rogers": 3, "Bell": 4}},
        {"service": "opt20", "available": 0, "operators": {}},
        {"service": "opt83", "available": None, "operators": {}},
        {"service": "opt5", "available": None, "operators": None},
    ]
    asked = {"country": "UK", "dtype": "week", "dcount": "3"}
    assert parameters_of(upstream, "getCountWithProviders") == [asked]
    assert parameters_of(upstream, "getcount") == []


@pytest.mark.parametrize(
    "first",
    [{"status": 0, "msg": "Incorrect method"}, {"status": 1, "data": "?"}, {"status": 1, "data": 9}, b"<"],
)
def test_stock_that_is_not_told_by_operator_is_told_by_service(
    upstream: Verbatim, reader: httpx.Client, first: Any
) -> None:
    upstream.answers["getCountWithProviders"] = first
    upstream.answers["getcount"] = {"status": 1, "data": {"opt1": 3, "opt20": "4"}}
    assert items(reader.get("/countries/CA/stock")) == [
        {"service": "opt1", "available": 3, "operators": None},
        {"service": "opt20", "available": 4, "operators": None},
    ]
    assert parameters_of(upstream, "getcount") == [{"country": "CA", "dtype": "week", "dcount": "1"}]
    upstream.answers["getcount"] = {"status": 1, "data": 0}
    assert items(reader.get("/countries/CA/stock?count=2")) == []


def test_of_one_number_no_stock_by_service_is_made_up(upstream: Verbatim, reader: httpx.Client) -> None:
    upstream.answers["getcount"] = {"status": 1, "data": 12}
    problem(reader.get("/countries/CA/stock?count=4"), 502, "upstream_bad_response")


def test_how_many_numbers_can_take_several_services(upstream: Verbatim, reader: httpx.Client) -> None:
    upstream.answers["get_count_multi"] = {"status": 1, "data": {"count": 5}}
    answer = reader.get("/countries/GB/stock", params={"services": "opt1,opt20,opt1"})
    assert ok(answer) == {"services": ["opt1", "opt20"], "available": 5}
    assert answer.headers["age"] == "0"
    asked = {"country": "UK", "services": "opt1,opt20", "dtype": "week", "dcount": "1"}
    assert parameters_of(upstream, "get_count_multi") == [asked]
    answer = reader.get("/countries/GB/stock", params={"services": "opt1", "unit": "month", "count": 3})
    assert ok(answer) == {"services": ["opt1"], "available": 5}
    assert parameters_of(upstream, "get_count_multi")[1]["dcount"] == "3"


@pytest.mark.parametrize(
    "body", [{"status": 1, "data": {"count": 0}}, {"status": 0, "msg": "No numbers available"}], ids=str
)
def test_a_service_that_no_list_has_is_unknown_where_there_is_nothing_of_it(
    upstream: Verbatim, reader: httpx.Client, body: Answer
) -> None:
    upstream.answers["get_count_multi"] = body
    path = "/countries/KZ/stock?services="
    assert ok(reader.get(f"{path}opt1,OPT20"))["available"] == 0
    problem(reader.get(f"{path}opt1,opt999"), 422, "service_unknown")
    # What a list lacks of which a row can't be read may be in that row.
    upstream.answers["get_default_services"] = {"status": 1, "data": [*SERVICES, {"name": "?"}]}
    assert ok(reader.get(f"{path}opt1,opt999"))["available"] == 0
    for broken in ({"status": 1, "data": []}, {"status": 0, "msg": "?"}):
        upstream.answers["get_default_services"] = broken
        assert ok(reader.get(f"{path}opt998"))["available"] == 0


def test_restrictions_are_the_upstreams(upstream: Verbatim, reader: httpx.Client) -> None:
    told = {"Days": 30, "Status": 1, "Message": "At least 30 days"}
    upstream.answers["get_min_paypal_days"] = {"status": 1, "data": told}
    upstream.answers["get_days_canada_paypal"] = {
        "status": 1,
        "data": [{"Days": 60, "Amount": 4}, {"Days": "30", "Amount": "?"}, {"Days": "?"}, None],
    }
    answer = reader.get("/countries/ca/services/opt83/restrictions")
    assert ok(answer) == {
        "minimum_days": 30,
        "choices": [{"days": 30, "available": None}, {"days": 60, "available": 4}],
        "message": "At least 30 days",
    }
    assert answer.headers["age"] == "0"
    assert parameters_of(upstream, "get_min_paypal_days") == [{"country": "CA", "service": "opt83"}]
    assert parameters_of(upstream, "get_days_canada_paypal") == [{}]


@pytest.mark.parametrize(("country", "service"), [("CA", "opt20"), ("GB", "opt83")])
def test_choices_are_canadas_paypals_alone(
    upstream: Verbatim, reader: httpx.Client, country: str, service: str
) -> None:
    upstream.answers["get_min_paypal_days"] = {"status": 1, "data": {"Days": 0, "Status": 0, "Message": ""}}
    found = ok(reader.get(f"/countries/{country}/services/{service}/restrictions"))
    assert found == {"minimum_days": None, "choices": None, "message": None}
    assert parameters_of(upstream, "get_days_canada_paypal") == []


def test_choices_that_can_not_be_read_hide_no_least_period(upstream: Verbatim, reader: httpx.Client) -> None:
    upstream.answers["get_min_paypal_days"] = {"status": 1, "data": {"Days": 30}}
    upstream.answers["get_days_canada_paypal"] = {"status": 1, "data": "?"}
    found = ok(reader.get("/countries/CA/services/opt83/restrictions"))
    assert found == {"minimum_days": 30, "choices": None, "message": None}


def test_what_is_unknown(upstream: Verbatim, reader: httpx.Client) -> None:
    nothing = {"status": 1, "data": []}
    upstream.answers |= {
        "get_min_paypal_days": nothing,
        "get_count_multi": {"status": 1, "data": {"count": 0}},
    }
    for path in ("stock", "stock?services=opt1", "services/opt1/restrictions"):
        problem(reader.get(f"/countries/XX/{path}"), 404, "country_unknown")
    problem(reader.get("/countries/CA/services/opt999/restrictions"), 422, "service_unknown")
    refusal = {"status": 0, "msg": "Service not found"}
    for method in ("get_country_by_service", "get_count_multi", "get_min_paypal_days"):
        upstream.answers[method] = refusal
    for path in (
        "/services/opt997/countries",
        "/countries/CA/stock?services=opt997",
        "/countries/CA/services/opt997/restrictions",
    ):
        problem(reader.get(path), 422, "service_unknown")


@pytest.mark.parametrize("path", ["/services/opt1/countries", "/countries/CA/stock"])
def test_periods_are_those_of_rentals(upstream: Verbatim, reader: httpx.Client, path: str) -> None:
    for period in ("count=0", "count=13", "unit=month&count=4"):
        problem(reader.get(f"{path}?{period}"), 422, "period_invalid")
    body = problem(reader.get(path, params={"unit": "day"}), 422, "invalid_request")
    assert body["errors"][0]["location"] == "query.unit"
    assert not parameters_of(upstream, "get_country_by_service") + parameters_of(
        upstream, "getCountWithProviders"
    )


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/services/opt%201/countries", "path.service"),
        (f"/services/{'x' * 65}/countries", "path.service"),
        ("/countries/CA/services/%2A/restrictions", "path.service"),
        ("/countries/CA/stock?services=", "query.services"),
        ("/countries/CA/stock?services=opt1,", "query.services"),
        ("/countries/CA/stock?services=opt1,,opt2", "query.services"),
        (f"/countries/CA/stock?services={','.join(f'opt{n}' for n in range(21))}", "query.services"),
    ],
)
def test_codes_that_can_be_none(upstream: Verbatim, reader: httpx.Client, path: str, location: str) -> None:
    body = problem(reader.get(path), 422, "invalid_request")
    assert body["errors"][0]["location"] == location
    assert not upstream.calls


def test_an_odd_row_hides_no_country_that_was_seen_before(upstream: Verbatim, reader: httpx.Client) -> None:
    upstream.answers["getdata"] = {"status": 1, "data": []}
    assert len(items(reader.get("/countries"))) == 3
    upstream.answers["getcountries"] = {"status": 1, "data": [{"name": "United Kingdom"}, COUNTRIES[0]]}
    assert [country["code"] for country in items(reader.get("/countries"))] == ["CA"]
    assert items(reader.get("/countries/GB/services")) == []
    assert parameters_of(upstream, "getdata")[-1]["country"] == "UK"
    problem(reader.get("/countries/XX/services"), 502, "upstream_bad_response")
    upstream.answers["getcountries"] = {"status": 1, "data": COUNTRIES[:1]}
    problem(reader.get("/countries/GB/services"), 404, "country_unknown")
