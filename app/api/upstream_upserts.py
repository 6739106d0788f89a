"""`…/upstream-keys-by-external-id`: for a key vault with ids of its own; one or many."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field, StrictBool, StringConstraints

from app.accounts import balances, schedule
from app.accounts.balances import AccountBalance
from app.api.fields import Name, RequestBody, dollars
from app.api.problems import Problem, problem
from app.api.responses import UPSTREAM, WITH_BODY, problems
from app.api.secret_source import SecretSource, secret_of
from app.api.vault import LowBalanceBelow, Manager, UpstreamKeyOut
from app.api.wired import Wired
from app.audit import repository as audit
from app.audit.caller import Caller
from app.database import Access
from app.errors import NotFound, RentgateError, UpstreamAccountDiffers, UpstreamKeyInUse
from app.vault.stored import UpstreamKey
from app.wiring import Services

router = APIRouter(tags=["upstream keys"])

MOST_ITEMS = 100
_EXTERNAL_ID = r"^[A-Za-z0-9_.:-]{1,128}$"

ExternalId = Annotated[
    str,
    Path(
        pattern=_EXTERNAL_ID,
        description="What the caller's own system calls the key.",
        examples=["vault-4711"],
    ),
]


class UpstreamKeyUpsert(SecretSource):
    """How the key is to be, whether it is there already or not."""

    label: Name
    default: StrictBool | None = None
    low_balance_below: LowBalanceBelow = None
    force: Annotated[StrictBool, Field(description="Take a secret that shows another account's orders.")] = (
        False
    )


class UpstreamKeyItem(UpstreamKeyUpsert):
    """How one of many keys is to be."""

    external_id: Annotated[str, StringConstraints(pattern=_EXTERNAL_ID)]


class UpstreamKeyItems(RequestBody):
    """How many keys are to be."""

    items: Annotated[list[UpstreamKeyItem], Field(min_length=1, max_length=MOST_ITEMS)]


class ExternalUpstreamKey(UpstreamKeyOut):
    """A stored key, and what the caller's own system calls it."""

    external_id: str


class UpstreamKeyResult(BaseModel):
    """What came of one item: 201 stored, 200 brought to this or so already, else the error's own status."""

    external_id: str
    status: int
    upstream_key: ExternalUpstreamKey | None = None
    error: Problem | None = None


class UpstreamKeyResults(BaseModel):
    """What came of each item, in the items' order."""

    results: list[UpstreamKeyResult]


@router.put(
    "/tenants/{tenant_id}/upstream-keys-by-external-id/{external_id}",
    summary="Store or replace an upstream key by an external id",
    responses={
        201: {"model": ExternalUpstreamKey, "description": "It was not there, and is stored."},
        **problems(NotFound, UpstreamAccountDiffers, UpstreamKeyInUse, *WITH_BODY, *UPSTREAM),
    },
)
async def upsert_upstream_key(
    tenant_id: UUID,
    external_id: ExternalId,
    body: UpstreamKeyUpsert,
    caller: Manager,
    services: Wired,
    response: Response,
) -> ExternalUpstreamKey:
    """Store a key under an id of the caller's, or bring the one that has it to this. Saying so again changes
    nothing; another secret is tried at the upstream before it replaces the one that is stored.
    """
    status, key = await _upsert(services, caller, external_id, body, "body")
    response.status_code = status
    if status == 201:
        response.headers["Location"] = f"/tenants/{tenant_id}/upstream-keys/{key.id}"
    return key


@router.put(
    "/tenants/{tenant_id}/upstream-keys-by-external-id",
    summary="Store or replace many upstream keys by external ids",
    responses=problems(NotFound, *WITH_BODY),
)
async def upsert_upstream_keys(
    tenant_id: UUID, body: UpstreamKeyItems, caller: Manager, services: Wired, request: Request
) -> UpstreamKeyResults:
    """Do for each item, one after another, what is done for a single one. An item that fails takes no other
    with it; the answer tells of each. A body that breaks the schema is refused as a whole.
    """
    results = []
    for number, item in enumerate(body.items):
        try:
            status, key = await _upsert(services, caller, item.external_id, item, f"body.items.{number}")
        except RentgateError as error:
            at = f"/tenants/{tenant_id}/upstream-keys-by-external-id/{item.external_id}"
            told = problem(error, instance=at, request_id=request.state.request_id)
            results.append(UpstreamKeyResult(external_id=item.external_id, status=told.status, error=told))
        else:
            results.append(UpstreamKeyResult(external_id=item.external_id, status=status, upstream_key=key))
    return UpstreamKeyResults(results=results)


async def _upsert(
    services: Services, caller: Caller, external_id: str, body: UpstreamKeyUpsert, where: str
) -> tuple[Literal[200, 201], ExternalUpstreamKey]:
    """Bring the caller's tenant's key of this id to what is wanted; 201 tells that it is new."""
    tenant_id = caller.tenant_id
    api_key = await secret_of(services, tenant_id, body, where)
    await services.vault.make_ready(tenant_id)
    async with services.database.transaction(Access.tenant(tenant_id)) as connection:
        stored = await services.vault.by_external_id(connection, tenant_id, external_id)
        if stored is None:
            made = await services.vault.add(
                connection,
                tenant_id,
                label=body.label,
                api_key=api_key,
                default=body.default,
                external_id=external_id,
                reference=body.reference,
            )
            await schedule.enrol(connection, tenant_id, made.id)
            mark = dollars(body.low_balance_below)
            await balances.set_mark(connection, caller, made.id, mark)
            details = {"label": made.label, "external_id": external_id}
            audit.record(connection, caller, "upstream_key.create", target=made.id, details=details)
            return 201, ExternalUpstreamKey.of(made, AccountBalance(low_balance_below=mark))
        same_secret = await services.vault.holds(connection, tenant_id, stored.id, api_key)
    if not same_secret or stored.reference != body.reference:
        await services.calls.trials.replace(
            caller, stored.id, api_key, reference=body.reference, force=body.force
        )
    return 200, await _bring_to(services, caller, stored, body)


async def _bring_to(
    services: Services, caller: Caller, stored: UpstreamKey, body: UpstreamKeyUpsert
) -> ExternalUpstreamKey:
    """Change what is said of a stored key beside its secret, as far as it is not so already."""
    tenant_id = caller.tenant_id
    wanted: dict[str, object] = {}
    if body.label != stored.label:
        wanted["label"] = body.label
    if body.default and not stored.default:  # saying again that it need not be one takes no default away
        wanted["default"] = True
    async with services.database.transaction(Access.tenant(tenant_id)) as connection:
        key = await services.vault.change(
            connection,
            tenant_id,
            stored.id,
            label=body.label if "label" in wanted else None,
            default=True if "default" in wanted else None,
        )
        if "low_balance_below" in body.model_fields_set:
            mark = dollars(body.low_balance_below)
            before = await balances.of_account(connection, tenant_id, stored.id)
            if mark != before.low_balance_below:
                await balances.set_mark(connection, caller, stored.id, mark)
                wanted["low_balance_below"] = body.low_balance_below
        if wanted:
            audit.record(connection, caller, "upstream_key.update", target=key.id, details=wanted)
        return await ExternalUpstreamKey.read(connection, tenant_id, key)
