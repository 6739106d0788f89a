"""Upstream keys that are references: read at their source when needed, and never past a tenant's prefixes."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import boto3
import httpx
import psycopg
import pytest
from moto.server import ThreadedMotoServer
from sqlalchemy.engine import make_url

from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, running_gateway, settings_for
from tests.acceptance.tenant import Answer, Tenant, eventually, ok, problem
from tests.conftest import MakeDatabase
from tests.keyservices import TOKEN, KvStore, served_kv
from tests.served import ServedSandbox

PREFIXES = ["vault:kv/data/acme/", "vault:old/acme/", "aws-sm:acme/", "env:ACME_"]
REGION = "eu-central-1"
IN_ENVIRONMENT = f"environment-{secrets.token_hex(12)}"


@pytest.fixture(scope="module")
def kv() -> Iterator[KvStore]:
    with served_kv() as store:
        yield store


@pytest.fixture(scope="module")
def aws_settings() -> Iterator[dict[str, str]]:
    """What leads boto3 to moto's server."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
    }
    server.stop()


@pytest.fixture(scope="module")
def app_url(make_database: MakeDatabase) -> str:
    return make_database().app


@pytest.fixture(scope="module")
def house(
    app_url: str,
    served_sandbox: ServedSandbox,
    kv: KvStore,
    aws_settings: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """A gateway with all kinds of references; it logs whatever there is to log."""
    log = tmp_path_factory.mktemp("references") / "log.jsonl"
    settings = {
        **settings_for(app_url, served_sandbox),
        **aws_settings,
        "RENTGATE_LOG_LEVEL": "DEBUG",
        "RENTGATE_REFERENCE_KINDS": "vault,aws-sm,env",
        "RENTGATE_REFERENCE_CACHE_SECONDS": "0.3",
        "RENTGATE_HCVAULT_ADDR": kv.address,
        "RENTGATE_HCVAULT_TOKEN": TOKEN,
        "ACME_API_KEY": IN_ENVIRONMENT,
    }
    with running_gateway(log, **settings) as running:
        yield running
    text = log.read_text()
    assert TOKEN not in text
    for account in served_sandbox.sandbox.world.accounts:
        assert account not in text


@pytest.fixture
def chief(house: Gateway) -> Iterator[httpx.Client]:
    """The administrator of that gateway."""
    with house.client(ADMIN_TOKEN) as client:
        yield client


@pytest.fixture
def acme(house: Gateway, chief: httpx.Client, sandbox: ServedSandbox) -> Iterator[Tenant]:
    """A tenant that may name references, and has an account whose secret is at none yet."""
    tenant = Tenant.create(house.client, chief, sandbox, with_account=False, reference_prefixes=PREFIXES)
    yield tenant
    tenant.close()


@pytest.fixture
def place(acme: Tenant, kv: KvStore) -> str:
    """Where the KV engine keeps the tenant's secret."""
    path = f"kv/data/acme/{acme.id}"
    kv.put(path, api_key=acme.upstream_key)
    return path


def refer(tenant: Tenant, reference: str, **more: Any) -> httpx.Response:
    body = {"label": "referred", "reference": reference, **more}
    return tenant.http.post(f"/tenants/{tenant.id}/upstream-keys", json=body)


def referred(tenant: Tenant, reference: str) -> Answer:
    """Have the tenant's account known by a reference."""
    made = ok(refer(tenant, reference), 201)
    tenant.upstream_key_id = made["id"]
    return made


def status_of(tenant: Tenant) -> str:
    found = ok(tenant.http.get(f"/tenants/{tenant.id}/upstream-keys/{tenant.upstream_key_id}"))
    return str(found["status"])


def dumped(postgres: str, app_url: str) -> str:
    """All that a superuser sees in the gateway's database."""
    url = make_url(postgres).set(database=make_url(app_url).database)
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        tables = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        return "\n".join(
            row for (table,) in tables for (row,) in connection.execute(f'select t::text from "{table}" t')
        )


def test_a_secret_is_used_where_it_is_and_stored_nowhere(
    acme: Tenant, place: str, postgres: str, app_url: str
) -> None:
    reference = f"vault:{place}#api_key"
    made = referred(acme, reference)
    assert (made["reference"], made["last_four"]) == (reference, acme.upstream_key[-4:])
    rental = acme.rent()
    assert len(acme.orders) == 1
    shown = acme.http.get(f"/tenants/{acme.id}/upstream-keys")
    assert ok(shown)["items"][0]["reference"] == reference
    assert ok(shown)["items"][0]["last_used_at"] is not None
    trail = acme.http.get("/audit-logs", params={"target": made["id"]})
    assert {"upstream_key.create", "upstream.create"} <= {row["action"] for row in ok(trail)["items"]}
    history = acme.http.get(f"/rentals/{rental['id']}/events")
    everything = dumped(postgres, app_url)
    assert reference in everything
    for text in (shown.text, trail.text, history.text, everything):
        assert acme.upstream_key not in text
        assert acme.upstream_key.encode().hex() not in text


def test_the_kinds_of_sources(
    acme: Tenant, kv: KvStore, sandbox: ServedSandbox, aws_settings: dict[str, str]
) -> None:
    manager = boto3.client(
        "secretsmanager",
        region_name=REGION,
        endpoint_url=aws_settings["AWS_ENDPOINT_URL"],
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    whole, field, old = sandbox.new_account(), sandbox.new_account(), sandbox.new_account()
    manager.create_secret(Name="acme/whole", SecretString=whole)
    manager.create_secret(Name="acme/fields", SecretString=json.dumps({"key": field}))
    kv.put("old/acme/key", value=old)
    sandbox.add_account(IN_ENVIRONMENT, Decimal(500))
    for reference, secret in {
        "aws-sm:acme/whole": whole,
        "aws-sm:acme/fields#key": field,
        "vault:old/acme/key#value": old,
        "env:ACME_API_KEY": IN_ENVIRONMENT,
    }.items():
        made = ok(refer(acme, reference), 201)
        assert (made["reference"], made["last_four"]) == (reference, secret[-4:])
        ok(acme.buy(upstream_key_id=made["id"]), 201)
        account = sandbox.sandbox.world.accounts[secret]
        assert [o for o in sandbox.sandbox.world.living.values() if o.account is account], reference
    for nothing in (
        "aws-sm:acme/none",
        "aws-sm:acme/whole#key",
        "aws-sm:acme/fields#none",
        "aws-sm:acme/fields",
        "vault:old/acme/none#value",
        "vault:old/acme/key#none",
        "env:ACME_NONE",
    ):
        errors = problem(refer(acme, nothing), 422, "invalid_request")["errors"]
        assert errors == [
            {"location": "body.reference", "message": "There is no usable secret at this reference."}
        ], nothing


@pytest.mark.parametrize(
    "reference",
    [
        "vault:kv/data/beta/there#api_key",
        "vault:kv/data/beta/none#api_key",
        "vault:kv/data/acme#api_key",
        "vault:kv/data/acme2/x#api_key",
        "vault:kv/data/acme/../beta/there#api_key",
        "vault:kv/data/acme/%2e%2e/beta/there#api_key",
        "vault:kv/data/acme//there#api_key",
        "vault:kv/metadata/acme/there#api_key",
        "vault:sys/seal-status#version",
        "aws-sm:beta/key",
        "env:PATH",
        "env:ACMEPATH",
        "env:RENTGATE_ADMIN_TOKEN",
    ],
)
def test_nothing_is_asked_past_the_prefixes(
    acme: Tenant, chief: httpx.Client, kv: KvStore, reference: str
) -> None:
    kv.put("kv/data/beta/there", api_key="somebody-elses-secret")
    asked = len(kv.asked)
    for client in (acme.http, chief):
        body = {"label": "x", "reference": reference}
        answer = client.post(f"/tenants/{acme.id}/upstream-keys", json=body)
        (error,) = problem(answer, 422, "invalid_request")["errors"]
        assert error["location"] == "body.reference"
        assert error["message"] in {
            "This is not under the tenant's reference_prefixes.",
            "This is no reference, such as vault:kv/data/acme#api_key.",
        }
    forbidden = ("/beta/there", "/beta/none", "/acme2/", "/metadata/", "/sys/", "//", "..", "%")
    assert not [path for path in kv.asked[asked:] if any(part in path for part in forbidden)]
    assert "/v1/kv/data/acme" not in kv.asked


def test_only_the_administrator_gives_prefixes(house: Gateway, chief: httpx.Client, acme: Tenant) -> None:
    at = f"/tenants/{acme.id}"
    assert ok(chief.get(at))["reference_prefixes"] == PREFIXES
    problem(acme.http.patch(at, json={"reference_prefixes": []}), 403, "insufficient_scope")
    key = ok(chief.post("/platform-keys", json={"name": "p", "scopes": ["tenants:manage"]}), 201)
    with house.client(key["token"]) as platform:
        for answer in (
            platform.patch(at, json={"reference_prefixes": ["env:B_"]}),
            platform.post("/tenants", json={"name": "x", "reference_prefixes": ["env:B_"]}),
        ):
            problem(answer, 403, "insufficient_scope")
        assert ok(platform.patch(at, json={"name": "y"}))["reference_prefixes"] == PREFIXES
    for wrong in (["vault:kv/data/acme"], ["vault:"], ["env:RENTGATE_"], ["vault:kv/../"], None):
        problem(chief.patch(at, json={"reference_prefixes": wrong}), 422, "invalid_request")
    assert ok(chief.patch(at, json={"reference_prefixes": []}))["reference_prefixes"] == []


def test_a_prefix_that_is_taken_away_stops_its_keys_before_anything_is_bought(
    acme: Tenant, chief: httpx.Client, place: str
) -> None:
    referred(acme, f"vault:{place}#api_key")
    acme.rent()
    ok(chief.patch(f"/tenants/{acme.id}", json={"reference_prefixes": ["vault:kv/data/beta/"]}))
    problem(acme.buy(), 503, "vault_unavailable")
    assert len(acme.orders) == 1
    ok(chief.patch(f"/tenants/{acme.id}", json={"reference_prefixes": PREFIXES}))
    acme.rent()


def test_references_that_are_not_turned_on(tenant: Tenant) -> None:
    for client in (tenant.http, tenant.admin):
        body = {"label": "x", "reference": "env:ACME_API_KEY"}
        answer = client.post(f"/tenants/{tenant.id}/upstream-keys", json=body)
        assert problem(answer, 422, "invalid_request")["errors"] == [
            {
                "location": "body.reference",
                "message": "References of the kind env are not turned on here.",
            }
        ]


def test_exactly_one_of_secret_and_reference(acme: Tenant) -> None:
    at = f"/tenants/{acme.id}/upstream-keys"
    for more in ({}, {"api_key": "a", "reference": "env:ACME_API_KEY"}):
        (error,) = problem(acme.http.post(at, json={"label": "x", **more}), 422, "invalid_request")["errors"]
        assert error["message"] == "Exactly one of api_key and reference has to be given."


def test_a_source_that_is_away(acme: Tenant, kv: KvStore, place: str) -> None:
    reference = f"vault:{place}#api_key"
    referred(acme, reference)
    rental = acme.rent()
    kv.away = True
    try:
        eventually(acme.buy, lambda answer: answer.status_code == 503)
        bought, intended = len(acme.orders), len(acme.operations())
        body = problem(acme.buy(), 503, "vault_unavailable")
        assert body["retry_after"] >= 1
        problem(acme.http.post(f"/rentals/{rental['id']}/activate"), 503, "vault_unavailable")
        problem(refer(acme, reference), 503, "vault_unavailable")
        assert (len(acme.orders), len(acme.operations())) == (bought, intended)
        assert acme.rental(rental["id"])["id"] == rental["id"]
    finally:
        kv.away = False
    acme.rent()
    kv.delete(place)
    eventually(acme.buy, lambda answer: answer.status_code == 503)
    assert status_of(acme) == "active"


def test_a_value_that_is_replaced_at_its_source_is_tried_and_used(
    acme: Tenant, kv: KvStore, place: str
) -> None:
    made = referred(acme, f"vault:{place}#api_key")
    acme.rent()
    acme.gets_another_secret(acme.sandbox.new_key())
    kv.put(place, api_key=acme.upstream_key)
    at = f"/tenants/{acme.id}/upstream-keys/{made['id']}"
    wanted = (acme.upstream_key[-4:], "active")
    eventually(lambda: ok(acme.http.get(at)), lambda key: (key["last_four"], key["status"]) == wanted)
    acme.rent()
    assert len(acme.orders) == 2
    trail = ok(
        acme.http.get("/audit-logs", params={"target": made["id"], "action": "upstream_key.replace_secret"})
    )
    (row,) = trail["items"]
    assert row["actor"] == "worker"
    assert row["details"]["rotated_at_source"] is True


def test_a_value_of_another_account_is_refused_until_it_is_mended(
    acme: Tenant, kv: KvStore, place: str, sandbox: ServedSandbox, house: Gateway, chief: httpx.Client
) -> None:
    referred(acme, f"vault:{place}#api_key")
    rental = acme.rent()
    acme.until(rental["id"], status="active")
    # Another account that nobody has stored, and then one that another tenant has stored.
    other = Tenant.create(house.client, chief, sandbox)
    for wrong in (sandbox.new_account(), other.upstream_key, "nobody-knows-me"):
        kv.put(place, api_key=wrong)
        eventually(lambda: status_of(acme), lambda status: status == "rejected")
        problem(acme.buy(), 502, "upstream_key_rejected")
        assert len(acme.orders) == 1
        kv.put(place, api_key=acme.upstream_key)
        eventually(lambda: status_of(acme), lambda status: status == "active")
    other.close()
    assert other.orders == []
    acme.rent()


def test_one_account_serves_one_tenant_however_it_is_named(
    acme: Tenant, kv: KvStore, place: str, house: Gateway, chief: httpx.Client, sandbox: ServedSandbox
) -> None:
    referred(acme, f"vault:{place}#api_key")
    other = Tenant.create(
        house.client, chief, sandbox, with_account=False, reference_prefixes=["vault:kv/data/beta/"]
    )
    kv.put(f"kv/data/beta/{other.id}", api_key=acme.upstream_key)
    problem(refer(other, f"vault:kv/data/beta/{other.id}#api_key"), 409, "upstream_key_in_use")
    problem(other.add_upstream_key(acme.upstream_key), 409, "upstream_key_in_use")
    problem(refer(acme, f"vault:{place}#api_key"), 409, "upstream_key_in_use")
    other.close()


def test_a_stored_secret_becomes_a_reference_and_back(acme: Tenant, place: str) -> None:
    acme.upstream_key_id = ok(acme.add_upstream_key(acme.upstream_key), 201)["id"]
    acme.rent()
    at = f"/tenants/{acme.id}/upstream-keys/{acme.upstream_key_id}"
    changed = ok(acme.http.put(f"{at}/secret", json={"reference": f"vault:{place}#api_key"}))
    assert changed["reference"] == f"vault:{place}#api_key"
    acme.rent()
    assert ok(acme.http.post(f"{at}/verify"))["status"] == "active"
    assert ok(acme.http.put(f"{at}/secret", json={"api_key": acme.upstream_key}))["reference"] is None
    acme.rent()
    assert len(acme.orders) == 3
    problem(acme.http.put(f"{at}/secret", json={"reference": "env:PATH"}), 422, "invalid_request")


def test_upserts_of_references(acme: Tenant, kv: KvStore, place: str) -> None:
    at = f"/tenants/{acme.id}/upstream-keys-by-external-id/main"
    body = {"label": "pushed", "reference": f"vault:{place}#api_key"}
    made = ok(acme.http.put(at, json=body), 201)
    acme.upstream_key_id = made["id"]
    eventually(lambda: ok(acme.http.put(at, json=body))["last_used_at"], lambda used: used is not None)
    again = ok(acme.http.put(at, json=body))
    assert {**again, "last_used_at": None} == {**made, "last_used_at": None}
    kv.put(f"{place}-2", api_key=acme.upstream_key)
    moved = ok(acme.http.put(at, json={**body, "reference": f"vault:{place}-2#api_key"}))
    assert (moved["id"], moved["reference"]) == (made["id"], f"vault:{place}-2#api_key")
    plain = ok(acme.http.put(at, json={"label": "pushed", "api_key": acme.upstream_key}))
    assert plain["reference"] is None
    rows = ok(acme.http.get("/audit-logs", params={"action": "upstream_key.replace_secret"}))["items"]
    assert len(rows) == 2
