"""A Python client generated from the OpenAPI document goes through the whole journey."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import ADMIN_TOKEN, Gateway
from tests.acceptance.tenant import SCOPES, eventually
from tests.conftest import PROJECT
from tests.served import ServedSandbox

PACKAGE = "rentgate_client"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The client, made as clients/README.md says, and importable."""
    folder = tmp_path_factory.mktemp("client")
    tools = Path(sys.executable).parent  # the generator has `ruff` format what it made
    command = [
        str(tools / "openapi-python-client"),
        "generate",
        *("--path", str(PROJECT / "openapi" / "openapi.json")),
        *("--output-path", str(folder / PACKAGE)),
        *("--meta", "none"),
        "--fail-on-warning",
    ]
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(command, check=True, env={**os.environ, "PATH": path})
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.mark.usefixtures("generated")
def test_the_whole_journey(gateway: Gateway, sandbox: ServedSandbox) -> None:
    models: Any = importlib.import_module(f"{PACKAGE}.models")
    client_of: Any = importlib.import_module(f"{PACKAGE}.client").AuthenticatedClient

    def call(tag: str, operation: str, *path: Any, client: Any, **given: Any) -> Any:
        return importlib.import_module(f"{PACKAGE}.api.{tag}.{operation}").sync(*path, client=client, **given)

    admin = client_of(base_url=gateway.url, token=ADMIN_TOKEN)
    limit = models.MoneyIn(amount="100.00")
    tenant = call(
        "tenants", "create_tenant", client=admin, body=models.TenantRequest(name="gen", spend_limit=limit)
    )
    assert isinstance(tenant, models.Tenant)
    key = call(
        "api_keys",
        "create_api_key",
        tenant.id,
        client=admin,
        body=models.ApiKeyRequest(name="all", scopes=[models.Scope(scope) for scope in SCOPES]),
    )
    client = client_of(base_url=gateway.url, token=key.token)
    upstream_key = sandbox.new_account()
    call(
        "upstream_keys",
        "create_upstream_key",
        tenant.id,
        client=client,
        body=models.UpstreamKeyRequest(label="sandbox", api_key=upstream_key),
    )

    countries = call("catalog", "list_countries", client=client)
    assert "GB" in {country.code for country in countries.items}
    offers = call("catalog", "list_services", "GB", client=client)
    offer = next(offer for offer in offers.items if offer.service == "opt20")

    wanted = models.RentalRequest(
        country="GB",
        service="opt20",
        period=models.RentalPeriod(unit=models.RentalPeriodUnit.WEEK, count=1),
        max_price=offer.total_price.amount,
    )
    rental = call("rentals", "create_rental", client=client, body=wanted, idempotency_key="gen-1")
    assert isinstance(rental, models.Rental)
    again = call("rentals", "create_rental", client=client, body=wanted, idempotency_key="gen-1")
    assert again.id == rental.id
    assert call("rentals", "activate_rental", rental.id, client=client).id == rental.id
    eventually(
        lambda: call("rentals", "get_rental", rental.id, client=client),
        lambda found: found.number_state is models.RentalNumberState.ACTIVE,
    )
    feed = eventually(
        lambda: call("messages", "list_messages", rental.id, client=client, refresh=True),
        lambda found: bool(found.items),
    )
    assert isinstance(feed, models.MessageFeed)
    assert feed.items[0].text
    prolonged = call(
        "rentals",
        "prolong_rental",
        rental.id,
        client=client,
        body=models.ProlongRequest(period=models.ProlongPeriod(unit=models.ProlongPeriodUnit.WEEK, count=1)),
    )
    assert prolonged.expires_at > rental.expires_at
    added = call(
        "rentals",
        "add_rental_service",
        rental.id,
        client=client,
        body=models.ServiceRequest(service="opt1"),
    )
    assert {service.code for service in added.services} == {"opt20", "opt1"}

    events = call("events", "list_rental_events", rental.id, client=client)
    assert models.EventType.RENTAL_CREATED in {event.type_ for event in events.items}
    operations = call("operations", "list_operations", client=client, rental_id=rental.id)
    assert {operation.state for operation in operations.items} == {models.OperationState.SUCCEEDED}
    audit = call("audit", "list_audit_logs", client=client)
    assert audit.items
    me = call("about", "get_me", client=client)
    prices = [Decimal(operation.price.amount) for operation in operations.items if operation.price]
    assert Decimal(me.spending.spent.amount) == sum(prices)

    assert call("rentals", "delete_rental", rental.id, client=client) is None
    refused = call("rentals", "activate_rental", rental.id, client=client)
    assert isinstance(refused, models.Problem)
    assert refused.code == "rental_not_active"
